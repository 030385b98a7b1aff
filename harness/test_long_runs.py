# SPDX-License-Identifier: GPL-2.0-only
"""harness/long-runs says when its page is out of date, or a row is missing."""

import importlib.machinery
import pathlib
import tempfile
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
long_runs = importlib.machinery.SourceFileLoader("long_runs", str(HERE / "long-runs")).load_module()

PAGE = """# Results

| row | kernel | of | series | outcome | passed | failed | skipped | s | counts |
|---|---|---|---|---|---|---|---|---|---|
| a | series | 01234567 | 89abcdef | PASS | 3 | 0 | 0 | 17 | 5 faults |
"""


class LongRuns(unittest.TestCase):
    def check(self, page, *wanted):
        return list(long_runs.check(page, [("a", "series", "01234567"), *wanted]))

    def test_good(self):
        self.assertEqual(self.check(PAGE), [])

    def test_older_state(self):
        self.assertEqual(self.check(PAGE.replace("01234567", "01234568")), ["of an older state: a (series)"])

    def test_not_there(self):
        self.assertEqual(self.check(""), ["not run: a (series)"])
        self.assertEqual(self.check(PAGE, ("a", "stock", "01234567")), ["not run: a (stock)"])

    def test_bad_rows(self):
        self.assertEqual(self.check(PAGE + "| b | stock | 0 | - | not run | | | | | |\n", ("b", "stock", "0")),
                         ["not run: b (stock)"])
        self.assertEqual(self.check(PAGE.replace("PASS", "NOT AS EXPECTED")), ["NOT AS EXPECTED: a (series)"])

    def test_kept(self):
        """What did not run here stays, of whatever state."""
        table = long_runs.vm.load_table()
        table["x"] = {}
        line = "| x | none | 01234567 | 0 | PASS | 1 | 0 | 0 | 5 | |"
        self.assertEqual(long_runs.line_of(table, "x", "none", [line]), line)
        self.assertIn("| not run |", long_runs.line_of(table, "x", "none", ["| x | other | 01234567 | 0 | PASS |"]))

    def test_what_a_row_is_of(self):
        """A test program changes the rows that run it, and a library all rows; neither is kernel code."""
        real = long_runs.diffs
        texts, programs = real("")
        program = next(path for path in programs if path.endswith("/pfnmap_race_test.c"))
        library = next(path for path, _ in texts if path.endswith("/Makefile.kvm"))
        kernel = next(path for path, _ in texts if path.startswith("mm/") and path not in programs)
        kunit = next(path for path in programs if path.endswith("/user_leaf_kunit.c"))

        def now(changed=None):
            other = [(path, text + b"+x\n" * (path == changed)) for path, text in texts]
            with unittest.mock.patch.object(long_runs, "diffs", lambda last: (other, programs) if not last else real(last)):
                table = long_runs.vm.load_table()
                return [long_runs.of_row(table, *row) for row in (
                    ("soak-race-1", "series"), ("upstream-kvm-full", "series"), ("kcsan-walk", "series"),
                    ("upstream-kvm-full", "stock+upstream"))]

        for changed, same in ((program, [False, True, True, True]), (library, [False] * 4),
                              (kernel, [False, False, False, True]), (kunit, [True, True, False, True])):
            self.assertEqual([a == b for a, b in zip(now(), now(changed))], same)

    def test_prefixes(self):
        """A row of a later part, and what it runs, is nothing to the prefixes before."""
        table = long_runs.vm.load_table()
        run = {part: long_runs.rows_of_other(table, f"bisect-{part}") for part in long_runs.PARTS}
        last = list(run.values())[-1]
        self.assertLess(len(run["fixes"]), len(last))
        for rows, more in zip(run.values(), list(run.values())[1:]):
            self.assertLessEqual(set(rows), set(more))
        self.assertIn("boot", {group for row in run["fixes"] for group in table[row]["group"].split()})
        later = next(row for row in last if row not in run["fixes"])
        keys = {name: long_runs.of_other(table, name) for name in long_runs.OTHERS}
        table[later]["tests"] += "x"
        self.assertEqual({name for name in keys if long_runs.of_other(table, name) != keys[name]},
                         {f"bisect-{part}" for part, rows in run.items() if later in rows})

    def test_others(self):
        """What builds many kernels is of its files and rows, and only a whole pass counts."""
        keys = {name: long_runs.key(name) for name in long_runs.OTHERS}
        read = long_runs.vm.read
        with unittest.mock.patch.object(long_runs.vm, "read",
                                        lambda path: read(path) + "x" * path.endswith("harness/targets")):
            self.assertEqual({name for name in keys if long_runs.key(name) != keys[name]}, {"cross"})
        with tempfile.TemporaryDirectory() as build, unittest.mock.patch.object(long_runs.vm, "BUILD", build):
            self.assertIn("| not run |", long_runs.line_of_other("cross", []))
            (pathlib.Path(build) / "long-runs").mkdir()
            (pathlib.Path(build) / "long-runs" / keys["cross"]).write_text("9\n")
            line = long_runs.line_of_other("cross", [])
            self.assertIn("| PASS | 9 | 0 | 0 |", line)
            (pathlib.Path(build) / "long-runs" / keys["cross"]).unlink()
            self.assertEqual(long_runs.line_of_other("cross", [line]), line)
        states = [long_runs.state(part) for part in ("stock", *long_runs.PARTS)]
        self.assertLess(3, len(set(states)))
        self.assertEqual(states[-1], long_runs.state())

    def test_comments(self):
        """To mend a comment changes nothing."""
        for line in "", "/* x */", "/*", " * x", " */", "\t * x", "/** x", "\t/* x":
            self.assertEqual(long_runs.code(b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n x\n+%s\n" % line.encode()),
                             b"" if line else b"+\n")
        for line in "\t*p = 1;", "+x", "--x;", "x; /* y */", "/* x */ y":
            self.assertEqual(long_runs.code(b"+%s\n" % line.encode()), b"+%s\n" % line.encode())

    def test_counts(self):
        self.assertEqual(long_runs.counts("    # 12 accesses, 3 faults\nok 1 9 faults\n# 4 faults, 2 x\n"),
                         "12 accesses, 7 faults")
        self.assertEqual(long_runs.counts("# pressure: 60 s, 5 injections\n# pressure: 8 injections\n"), "8 injections")

    def test_rows(self):
        """Each upstream row on both kernels, none of make test."""
        rows = list(long_runs.rows(long_runs.vm.load_table()))
        kernels = {kernel for name, kernel in rows if name.startswith("upstream-mm-")}
        self.assertEqual(kernels, {"stock+upstream", "series+upstream"})
        self.assertNotIn("vfio-huge-leaf", {name for name, _ in rows})


if __name__ == "__main__":
    unittest.main()
