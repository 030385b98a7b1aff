# SPDX-License-Identifier: GPL-2.0-only
"""harness/long-runs says when its page is out of date, or a row is missing."""

import importlib.machinery
import pathlib
import unittest

HERE = pathlib.Path(__file__).resolve().parent
long_runs = importlib.machinery.SourceFileLoader("long_runs", str(HERE / "long-runs")).load_module()

NOW = "Series 0123456789abcdef, config 0123456789abcdef."
PAGE = f"""# Results
{NOW}

| row | kernel | outcome | passed | failed | skipped | s | counts |
|---|---|---|---|---|---|---|---|
| a | series | PASS | 3 | 0 | 0 | 17 | 5 faults |
"""


class LongRuns(unittest.TestCase):
    def check(self, page, now=NOW):
        return list(long_runs.check(page, now))

    def test_good(self):
        self.assertEqual(self.check(PAGE), [])

    def test_other_series(self):
        self.assertEqual(len(self.check(PAGE, NOW.replace("0", "f"))), 1)

    def test_no_page(self):
        self.assertEqual(len(self.check("")), 1)

    def test_bad_rows(self):
        self.assertEqual(self.check(PAGE + "| b | stock | not run | | | | | |\n"), ["not run: b (stock)"])
        self.assertEqual(self.check(PAGE.replace("PASS", "NOT AS EXPECTED")), ["NOT AS EXPECTED: a (series)"])

    def test_counts(self):
        self.assertEqual(long_runs.counts("    # 12 accesses, 3 faults\nok 1 9 faults\n# 4 faults, 2 x\n"),
                         "12 accesses, 7 faults")

    def test_rows(self):
        """Each upstream row on both kernels, none of make test."""
        rows = list(long_runs.rows(long_runs.vm.load_table()))
        kernels = {kernel for name, kernel in rows if name.startswith("upstream-mm-")}
        self.assertEqual(kernels, {"stock", "series"})
        self.assertNotIn("vfio-huge-leaf", {name for name, _ in rows})


if __name__ == "__main__":
    unittest.main()
