#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""README.md says what was measured, and is left alone when that is not valid."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

README = pathlib.Path(__file__).with_name("readme")
TEXT = "before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n"
LEVELS = {"bytes": 1 << 32, "n4k": 1 << 20, "n2m": 0, "n1g": 0, "faults": 1 << 20, "host_faults": 1 << 20,
          "first_insns": 4591564392, "mapped_insns": 2795655448, "mmap_insns": 4275, "pt_kb": 8208}
GOOD = LEVELS | {"n4k": 0, "n1g": 4, "faults": 4, "host_faults": 4, "first_insns": 16586, "pt_kb": 0}
META = {"base": "Linux 7.3.4 (x)", "date": "2026-01-01", "command": "make measure", "qemu": "7.2 (x)",
        "series": "0123", "config": "4567"}


def rows(names, stock, series):
    return [row | {"kernel": kernel, "row": name, "spread": {}, "boots": 3} for name in names
            for kernel, row in (("stock", stock), ("series", series))]


class Readme(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.files = [pathlib.Path(tmp.name, name) for name in ("results", "README.md", "picture.svg")]
        walks = {"walks": 3, "mmap_locks": 2, "ptl_locks": 1}
        self.results = {"meta": META, "problems": [], "tables": {
            "levels": rows(("vfio-null", "sysfs-congruent", "sysfs-off-4k", "anon-4k", "vfio-off-2m"),
                           LEVELS, GOOD),
            "walks": rows(["pfnmap-1g-mapped"], walks, walks | {"walks": 1}),
            "waiting": rows(["pfnmap-1g-mapped"], {"held_ms": 20, "ns_held": 20 * 10 ** 6},
                            {"held_ms": 20, "ns_held": 2301})}}
        self.files[1].write_text(TEXT)

    def run_tool(self):
        self.files[0].write_text(json.dumps(self.results))
        return subprocess.run([sys.executable, README, *self.files], capture_output=True, text=True,
                              check=False)

    def test_good(self):
        self.assertEqual(self.run_tool().returncode, 0)
        text = self.files[1].read_text()
        self.assertRegex(text, r"(?s)^before\n.*1,048,576 × 4K \| 4 × 1G \|.*\nafter\n$")
        self.assertIn("| 4,592 M | 20,861 |", text)
        self.assertIn("| 3 / 2 / 1 | 1 / 2 / 1 |", text)
        self.assertNotIn("old", text)
        self.assertEqual(self.files[2].read_text().count("<rect"), 2 * 4 - 1 + 2 + 1)
        self.assertEqual(self.run_tool().returncode, 0)
        self.assertEqual(self.files[1].read_text(), text)

    def refused(self, words):
        before = self.files[1].read_text()
        done = self.run_tool()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(words, done.stderr)
        self.assertEqual(self.files[1].read_text(), before)
        self.assertFalse(self.files[2].exists())

    def test_problem(self):
        self.results["problems"] = ["a boot failed"]
        self.refused("not valid: a boot failed")

    def test_missing_row(self):
        self.results["tables"]["walks"].pop()
        self.refused("pfnmap-1g-mapped")

    def test_one_boot(self):
        self.results["tables"]["levels"][0]["boots"] = 1
        self.refused("less than 3 boots")

    def test_no_marks(self):
        self.files[1].write_text("text\n")
        self.refused("needs the marks")


if __name__ == "__main__":
    unittest.main()
