"""Lists the cycles of more than three files of the crates named as arguments; fails if there are any.

`cargo modules` resolves each `use`, field and signature to the item's definition, through re-exports. It ignores tests and
paths inside function bodies, and files methods under their type: those may be written in any file, so they are left out, and
the `use` lines beside them count. A module without a file of its own belongs to the file of its parent.
"""

import pathlib
import re
import subprocess
import sys

MOST = 3
NODE = re.compile(r'^\s*"([^"]+)" \[.*// "(.+)" node')
EDGE = re.compile(r'^\s*"([^"]+)" -> "([^"]+)" \[label="uses"')
LISTING = "--lib --no-externs --no-sysroot --no-owns --layout dot"


def file_of(item, source):
    """The file that contains an item: of the closest ancestor that has one."""
    names = item.split("::")[1:]
    while names:
        folder = source.joinpath(*names)
        for file in (folder.with_suffix(".rs"), folder / "mod.rs"):
            if file.is_file():
                return file.relative_to(source).as_posix()
        names.pop()
    return "lib.rs"


def is_method(item, kinds):
    """Whether an item belongs to a type, possibly of another crate, rather than to a module."""
    return kinds[item].endswith("fn") and kinds.get(item.rpartition("::")[0]) not in ("mod", "crate")


def dependencies(crate):
    """The files of a crate, each with the files that it uses."""
    listing = subprocess.run(
        ["cargo", "modules", "dependencies", "--package", f"kiln-{crate}", *LISTING.split()],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    source = pathlib.Path("crates", crate, "src")
    kinds = dict(node.groups() for node in map(NODE.match, listing.splitlines()) if node)
    files = {}
    for line in listing.splitlines():
        edge = EDGE.match(line)
        if edge and not is_method(edge[1], kinds):
            user, used = (file_of(item, source) for item in edge.groups())
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
