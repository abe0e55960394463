"""Runs the peer tests, as `python3 -m unittest discover` does, but treats a skipped test as a failure, unless tests/may-skip
allows it (harness.require), or another run does the test.

    run.py [PATTERN...]    patterns of file names; default: all

GSSNTLM_PEERS_OPTIONAL=1 allows every skip.
"""

import collections
import os
import sys
import unittest

import harness


def main(patterns):
    # A pattern without a test is misspelled.
    suites = [unittest.TestLoader().discover(harness.HERE, pattern=pattern) for pattern in patterns]
    result = unittest.TextTestRunner(verbosity=1).run(unittest.TestSuite(suites))
    skipped = collections.Counter(reason for _, reason in result.skipped)
    for reason, count in sorted(skipped.items()):
        print("run: %d skipped: %s" % (count, reason), file=sys.stderr)
    unknown = [] if os.environ.get("GSSNTLM_PEERS_OPTIONAL") == "1" else sorted(set(skipped) - harness.allowed_skips)
    for reason in unknown:
        print("run: not allowed to skip: %s; see tests/may-skip" % reason, file=sys.stderr)
    empty = [pattern for pattern, suite in zip(patterns, suites) if not suite.countTestCases()]
    for pattern in empty:
        print("run: no test matches %s" % pattern, file=sys.stderr)
    return 0 if result.wasSuccessful() and not unknown and not empty else 1


sys.exit(main(sys.argv[1:] or ["test_*.py"]))
