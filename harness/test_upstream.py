# SPDX-License-Identifier: GPL-2.0-only
"""harness/upstream finds what is worse on one kernel than on the other."""

import importlib.machinery
import pathlib
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
upstream = importlib.machinery.SourceFileLoader("upstream", str(HERE / "upstream")).load_module()

KTAP = """KTAP version 1
1..3
    KTAP version 1
    # Subtest: mm/a
    1..4
    ok 1 - one
    not ok 2 two at 0x7f00
    ok 3 # SKIP three
    ok 4 one
not ok 1 mm/a # exit status 1
ok 2 mm/b # SKIP
not ok 3 mm/c -x 1 # TIMEOUT 9 s
# end of results
"""
FOUND = {"mm/a: one": "PASS", "mm/a: two at 0x*": "FAIL", "mm/a: three": "SKIP",
         "mm/a: one (2)": "PASS", "mm/a": "FAIL", "mm/b": "SKIP", "mm/c -x 1": "TIMEOUT"}


class Upstream(unittest.TestCase):
    def test_results(self):
        self.assertEqual(upstream.results(KTAP), FOUND)

    def test_measured_numbers(self):
        self.assertEqual(upstream.results("ok 1 t Extra pages 2 (0.1%), extra thread faults 3.\n"),
                         {"t Extra pages, extra thread faults.": "PASS"})

    def test_same(self):
        self.assertEqual(list(upstream.worse(FOUND, FOUND, ["x"], ["x"])), [])

    def test_better(self):
        self.assertEqual(list(upstream.worse(FOUND, FOUND | {"mm/a": "PASS"}, ["x"])), [])

    def test_worse(self):
        """Each status but PASS, and none at all."""
        for status in "FAIL", "SKIP", "XFAIL", "TIMEOUT":
            self.assertEqual(list(upstream.worse(FOUND, FOUND | {"mm/a: one": status})),
                             [f"mm/a: one: PASS on stock, {status} on the series"])
        self.assertEqual(len(list(upstream.worse(FOUND, {}))), 2)

    def test_nothing_passes(self):
        self.assertEqual(len(list(upstream.worse({"a": "FAIL"}, {"a": "FAIL"}))), 1)
        self.assertEqual(len(list(upstream.worse({}, {}))), 1)

    def test_log(self):
        self.assertEqual(len(list(upstream.worse(FOUND, FOUND, ["x"], ["x", "WARNING: y"]))), 1)

    def test_end(self):
        """A row that must come to its end: it did not where the end is missing."""
        vm, row = upstream.vm, {"expect": "END"}
        with tempfile.TemporaryDirectory() as out:
            for text, outcome, good in ((KTAP, "FAIL", True), (KTAP, "PASS", True),
                                        (KTAP, "CRASH", False), (KTAP, "TIMEOUT", False),
                                        (KTAP.replace("# end", "#"), "FAIL", False)):
                pathlib.Path(out, "results.ktap").write_text(text)
                verdict = vm.Verdict(outcome, "", 0, 0, 0)
                self.assertEqual(vm.as_expected(row, verdict, out), good, outcome)


if __name__ == "__main__":
    unittest.main()
