"""Lists the cycles of more than three files of the crates named as arguments; fails if there are any.

`cargo modules` resolves each `use`, field and signature to the module that defines the item, through re-exports; paths
inside function bodies and tests are not counted. A module without a file of its own belongs to the file of its parent.
"""

import pathlib
import re
import subprocess
import sys

MOST = 3
EDGE = re.compile(r'^\s*"([^"]+)" -> "([^"]+)" \[label="uses"')
LISTING = "--lib --no-externs --no-sysroot --no-owns --no-fns --no-traits --no-types --layout dot"


def file_of(module, source):
    """The file that contains a module: of the closest ancestor that has one."""
    names = module.split("::")[1:]
    while names:
        folder = source.joinpath(*names)
        for file in (folder.with_suffix(".rs"), folder / "mod.rs"):
            if file.is_file():
                return file.relative_to(source).as_posix()
        names.pop()
    return "lib.rs"


def dependencies(crate):
    """The files of a crate, each with the files that it uses."""
    listing = subprocess.run(
        ["cargo", "modules", "dependencies", "--package", f"kiln-{crate}", *LISTING.split()],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    source = pathlib.Path("crates", crate, "src")
    files = {}
    for line in listing.splitlines():
        if edge := EDGE.match(line):
            user, used = (file_of(module, source) for module in edge.groups())
            files.setdefault(user, set())
            files.setdefault(used, set())
            if user != used:
                files[user].add(used)
    if not files:
        sys.exit(f"cargo modules lists no dependencies in {crate}")
    return files


def components(files):
    """The strongly connected components, by Tarjan's algorithm."""
    index, lowest, stack, found = {}, {}, [], []

    def visit(file):
        index[file] = lowest[file] = len(index)
        stack.append(file)
        for used in sorted(files[file]):
            if used not in index:
                visit(used)
                lowest[file] = min(lowest[file], lowest[used])
            elif used in stack:
                lowest[file] = min(lowest[file], index[used])
        if lowest[file] == index[file]:
            start = stack.index(file)
            found.append(sorted(stack[start:]))
            del stack[start:]

    for file in sorted(files):
        if file not in index:
            visit(file)
    return found


def main():
    failed = False
    for crate in sys.argv[1:]:
        files = dependencies(crate)
        cycles = [component for component in components(files) if len(component) > MOST]
        print(f"{crate}: {len(cycles)} cycles of more than {MOST} files, in {len(files)} files", flush=True)
        for cycle in cycles:
            failed = True
            for file in cycle:
                print(f"  {file} uses {', '.join(sorted(files[file] & set(cycle)))}")
            print()
    sys.exit(failed)


main()
