# SPDX-License-Identifier: GPL-2.0-only
"""harness/rebase-check says whether the series applies to a base that is not its own."""

import pathlib
import subprocess
import tempfile
import unittest

HARNESS = pathlib.Path(__file__).parent


class Rebase(unittest.TestCase):
    """The series on the base with changes of which each can come with a newer one."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.tree = pathlib.Path(tmp.name)
        base = subprocess.run([HARNESS / "base"], capture_output=True, text=True, check=True)
        patches = [HARNESS.parent / line
                   for line in (HARNESS.parent / "series").read_text().splitlines()
                   if line.endswith(".patch")]
        self.patch = patches[0]
        for patch in patches:
            for line in patch.read_text().splitlines():
                if line.startswith("--- a/"):
                    path = line[len("--- a/"):]
                    file = pathlib.Path(base.stdout.strip(), path)
                    if file.exists():
                        (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
                        (self.tree / path).write_bytes(file.read_bytes())
        (self.tree / "Kbuild").touch()

    def check(self):
        done = subprocess.run([HARNESS / "rebase-check", self.tree], capture_output=True,
                              text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def first_hunk(self):
        """The file that the first patch changes, and a line that it expects there."""
        lines = self.patch.read_text().split("\n---\n", 1)[1].splitlines()
        path = next(line[6:] for line in lines if line.startswith("--- a/"))
        text = (self.tree / path).read_text().splitlines()
        return path, next(line[1:] for line in lines
                          if line[:1] in " -" and text.count(line[1:]) == 1)

    def test_unchanged(self):
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertIn(", 0 of ", said)

    def test_moved(self):
        path, _ = self.first_hunk()
        text = (self.tree / path).read_text()
        (self.tree / path).write_text("/* new */\n" * 7 + text)
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertNotIn(", 0 of ", said)

    def test_changed(self):
        path, line = self.first_hunk()
        text = (self.tree / path).read_text()
        self.assertIn(f"\n{line}\n", text)
        (self.tree / path).write_text(text.replace(f"\n{line}\n", "\n\tchanged();\n"))
        status, said = self.check()
        self.assertEqual(status, 1)
        self.assertIn(f"{self.patch.relative_to(HARNESS.parent)} does not apply to {path}:", said)

    def test_no_tree(self):
        (self.tree / "Kbuild").unlink()
        self.assertIn("is no kernel tree", self.check()[1])


if __name__ == "__main__":
    unittest.main()
