"""check.py BUILD TEST: compares the features of the dependencies in two of cargo's unit graphs."""

import json
import sys


def dependencies(path):
    """Returns each library that is built, by name, version and whether it is for a build script, with its features."""
    with open(path) as file:
        units = json.load(file)["units"]
    found = {}
    for unit in units:
        if unit["mode"] == "build" and "path+file" not in unit["pkg_id"]:
            package = unit["pkg_id"].rsplit("#", 1)[-1]
            key = (package, unit["target"]["kind"][0], unit["platform"], unit["profile"]["opt_level"])
            found.setdefault(key, set()).add(frozenset(unit["features"]))
    return found


def main():
    build, test = map(dependencies, sys.argv[1:])
    failed = False
    for key, features in sorted(build.items(), key=str):
        for missing in features - test.get(key, set()):
            failed = True
            found = sorted(frozenset().union(*test.get(key, set())) ^ missing)
            print(f"{key[0]} ({key[1]}): built with different features for the tests: {', '.join(found) or 'not built at all'}")
    if failed:
        sys.exit("request the same features in both, as the unused dependencies in Cargo.toml do")
    print(f"{len(build)} dependencies have the same features in the build and in the tests")


main()
