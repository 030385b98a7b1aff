#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The report must not look good by accident: each way for a result to be wrong or missing shows."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

REPORT = pathlib.Path(__file__).with_name("report")

LEVELS = {"table": "levels", "row": "vfio-null", "bytes": 1 << 30, "va_mod_1g": 0, "n4k": 0, "n2m": 512,
          "n1g": 0, "faults": 512, "host_faults": 512, "first_insns": 1000000, "mapped_insns": 900000,
          "mmap_insns": 4000, "munmap_insns": 5000, "pt_kb": 4}


def ktap(result="ok 1 it works", **changes):
    return f"TAP version 13\n1..1\n{result}\n# json {json.dumps(LEVELS | changes)}\n"


class Report(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir, self.out = pathlib.Path(tmp.name, "in"), pathlib.Path(tmp.name, "out")
        self.dir.mkdir()
        self.boot("stock-vfio-null-1", ktap())
        self.boot("series-vfio-null-1", ktap())

    def boot(self, name, text):
        (self.dir / f"{name}.ktap").write_text(text)

    def report(self, *args):
        return subprocess.run([sys.executable, REPORT, "--out", self.out, *args], capture_output=True,
                              text=True, check=False)

    def expect_problem(self, text):
        run = self.report(self.dir)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertIn(text, run.stdout)
        self.assertIn("Not valid", (self.out / "index.html").read_text())

    def test_good(self):
        run = self.report(self.dir)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_redraw_is_the_same(self):
        self.report(self.dir)
        page = (self.out / "index.html").read_bytes()
        (self.out / "index.html").unlink()
        self.assertEqual(self.report().returncode, 0)
        self.assertEqual((self.out / "index.html").read_bytes(), page)

    def test_failed_check(self):
        self.boot("stock-vfio-null-1", ktap("not ok 1 it works"))
        self.expect_problem("0 of 1 checks")

    def test_skip_is_no_pass(self):
        self.boot("stock-vfio-null-1", ktap("ok 1 it works # SKIP no device"))
        self.expect_problem("0 of 1 checks")

    def test_truncated(self):
        self.boot("stock-vfio-null-1", "TAP version 13\n1..1\n")
        self.expect_problem("0 results")

    def test_missing_on_one_kernel(self):
        (self.dir / "series-vfio-null-1.ktap").unlink()
        self.expect_problem("measured on stock, not on series")

    def test_boots_disagree(self):
        self.boot("stock-vfio-null-2", ktap(n2m=511))
        self.expect_problem("n2m differs between boots")

    def test_spread_is_marked(self):
        self.boot("stock-vfio-null-2", ktap(first_insns=1010000))
        run = self.report(self.dir)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("~", run.stdout.split("ratio: stock")[0])

    def test_ept_and_guests_are_shown(self):
        guest = {"table": "guest", "row": "qemu-10", "faults": 5, "toggle_faults": 225, "all_1g_after": 4,
                 "vmpte_kb": 472, "ready_ms": 900, "map_dma_first_ns": 17121, "map_dma_ns": 77903}
        for kernel in "stock", "series":
            self.boot(f"{kernel}-ept-1", ktap(table="ept", row="devmem"))
            self.boot(f"{kernel}-guest-10-1", ktap(**guest))
        run = self.report(self.dir)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        drawn = (self.out / "index.html").read_text()
        for text in (run.stdout, drawn):
            self.assertIn("EPT", text)
            self.assertIn("devmem", text)
            self.assertIn("qemu-10", text)
        self.assertLessEqual(max(map(len, run.stdout.splitlines())), 100)

    def test_nothing(self):
        for path in self.dir.iterdir():
            path.unlink()
        self.expect_problem("no results")


if __name__ == "__main__":
    unittest.main()
