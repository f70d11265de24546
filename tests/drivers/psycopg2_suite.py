"""Runs psycopg2's own tests, but for those in a list of what does not apply.

Usage: psycopg2_suite.py SUITE LIST

SUITE is the directory of psycopg2's source distribution, whose tests find their server through PSYCOPG2_TESTDB*. LIST has
a line for each test that is left out: its name without "tests." (with * for any characters), and why. The run fails if a
test fails, and if a line of the list is about no test.
"""

import fnmatch
import os
import sys
import unittest


def left_out(path):
    """The patterns in a list."""
    with open(path, encoding="utf-8") as lines:
        lines = [line.split("#", 1)[0].split(maxsplit=1) for line in lines]
    for line in lines:
        if len(line) == 1:
            sys.exit(f"{path}: {line[0]} is left out without a reason")
    return [line[0] for line in lines if line]


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def main(directory, list_path):
    patterns = dict.fromkeys(left_out(list_path), 0)
    sys.path.insert(0, directory)
    os.chdir(directory)
    import tests

    chosen = unittest.TestSuite()
    skipped = 0
    for test in flatten(tests.test_suite()):
        name = test.id().removeprefix("tests.")
        matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)]
        for pattern in matching:
            patterns[pattern] += 1
        if matching:
            skipped += 1
        else:
            chosen.addTest(test)
    result = unittest.TextTestRunner(verbosity=1, buffer=True).run(chosen)
    stale = [pattern for pattern, count in patterns.items() if count == 0]
    for pattern in stale:
        print(f"{list_path}: {pattern} is the name of no test")
    print(f"psycopg2: {result.testsRun - len(result.skipped)} tests run, {len(result.skipped)} skipped by the suite, "
          f"{skipped} left out")
    return 0 if result.wasSuccessful() and result.testsRun and not stale else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])))
