#!/usr/bin/env python3
"""Whether tests/FAULTS.md names tests that there are. Usage: .ci/fault_tests.py ROOT

A name is `Suite.Test`, `Suite.Te*` or `…Test`, whose suite is that of the name before it in its line; `Prefix/SuiteTest…/Test`;
`something_fuzz`; or a Python test. Prints those that are not there. Exit code 1 if there is one.
"""
import fnmatch
import pathlib
import re
import subprocess
import sys

MACRO = re.compile(r"\b(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)")
CASE = re.compile(r'\{\.name = "(\w+)"')  # of a parameterised suite
CTEST = re.compile(r"\b((?:Deployment|Hub|Contract)\.\w+)")  # up to a variable of CMake
PYTHON = re.compile(r"^\s*(?:class|def) (\w+)", re.MULTILINE)
NAME = re.compile(r"(?:\w+/)?(\w+)(?:…/|\.)([\w*-]+)")


def known(root):
    """Tests of C++ as (suite, test), and all other names."""
    listed = subprocess.run(["git", "ls-files", "tests"], cwd=root, capture_output=True, text=True, check=True)
    tests, others = set(), set()
    for name in listed.stdout.split():
        path = root / name
        if path.suffix in (".cc", ".h", ".cu"):
            text = path.read_text()
            tests.update(MACRO.findall(text))
            others.update(CASE.findall(text))
            others.add(path.stem)  # of a fuzz target
        elif path.suffix == ".py":
            others.update(PYTHON.findall(path.read_text()))
        elif path.name == "CMakeLists.txt":
            others.update(CTEST.findall(path.read_text()))
    return tests, others


def main():
    root = pathlib.Path(sys.argv[1])
    tests, others = known(root)

    def there(suite, test):
        return any(fnmatch.fnmatchcase(one, test) for known_suite, one in tests if fnmatch.fnmatchcase(known_suite, suite))

    missing = []
    for number, line in enumerate((root / "tests/FAULTS.md").read_text().splitlines(), 1):
        suite = ""
        for token in re.findall(r"`([^`]+)`", line):
            found = NAME.fullmatch(token)
            if token.startswith("…"):
                ok = there(suite, token[1:]) or token[1:] in others
            elif token.endswith("_fuzz") or token.startswith("test_"):
                ok = token in others
            elif found:
                suite, test = found.groups()
                ok = there(suite, test) or not others.isdisjoint({token, test, suite, token.rpartition("_")[0] + "_"})
            else:
                continue  # a file, an option, a field
            if not ok:
                missing.append(f"tests/FAULTS.md:{number}: there is no test {token}")
    print("\n".join(missing) or "faults: every test that is named is there")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
