# SPDX-License-Identifier: GPL-2.0-only
"""harness/kcsan finds what stock does not report, and tests that fail."""

import contextlib
import importlib.machinery
import io
import pathlib
import tempfile
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
kcsan = importlib.machinery.SourceFileLoader("kcsan", str(HERE / "kcsan")).load_module()
RACE = "[    1.5][   T12] BUG: KCSAN: data-race in {} / {}\n"


class Kcsan(unittest.TestCase):
    def main(self, stock, series, **verdict):
        """The exit status where each row on a kernel leaves this log and verdict."""
        done = {"passed": 1, "failed": 0, "skipped": 0, "seconds": 1, "good": True,
                "outcome": "FAIL", "why": ""} | verdict
        with (tempfile.TemporaryDirectory() as build, unittest.mock.patch.object(kcsan.vm, "BUILD", build),
              unittest.mock.patch.object(kcsan.vm, "run_row", return_value=done),
              contextlib.redirect_stdout(io.StringIO())):
            for name in [n for n in kcsan.vm.load_table().sections() if n.startswith("kcsan")]:
                for kernel, log in ("stock+kcsan", stock), ("series+kcsan", series):
                    path = pathlib.Path(build, "runs", kernel, name)
                    path.mkdir(parents=True)
                    (path / "console.log").write_text(log)
            return kcsan.main()

    def test_races(self):
        race = RACE.format("a", "b")
        self.assertEqual(self.main("", ""), 0)
        self.assertEqual(self.main(race, race), 0)
        self.assertEqual(self.main(race, ""), 0)
        self.assertEqual(self.main("", race), 1)
        self.assertEqual(self.main(race, race + RACE.format("a", "c")), 1)

    def test_rows(self):
        self.assertEqual(self.main("", "", failed=1), 1)
        self.assertEqual(self.main("", "", passed=0), 1)
        self.assertEqual(self.main("", "", good=False), 1)


if __name__ == "__main__":
    unittest.main()
