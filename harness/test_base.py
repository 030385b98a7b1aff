# SPDX-License-Identifier: GPL-2.0-only
"""What a person sees when the base, a package or a kernel cannot be had."""

import os
import pathlib
import subprocess
import tempfile
import unittest

HARNESS = pathlib.Path(__file__).parent


class Refusal(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = pathlib.Path(tmp.name)

    def refused(self, words, *command, **env):
        """One line that says what and what to do, status not 0, nothing left."""
        done = subprocess.run([HARNESS / command[0], *command[1:]], capture_output=True, text=True,
                              env=os.environ | {"XDG_CACHE_HOME": str(self.dir)} | env, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(words, done.stderr)
        self.assertRegex(done.stderr.strip().splitlines()[-1], r"^[a-z-]+: .+: .+")
        left = [p for p in self.dir.rglob("*") if p.is_file() and p.parent.name != "given"]
        self.assertEqual(left, [])

    def given(self, name, text):
        path = self.dir / "given" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def instead(self, name, text):
        """An environment in which the command NAME is this shell text."""
        path = self.given(name, f"#!/bin/sh\n{text}\n")
        return {"PATH": f"{path.parent}:{os.environ['PATH']}"}

    def test_unreadable_tarball(self):
        self.refused("cannot be read", "base", KERNEL_TARBALL="/nonexistent")

    def test_wrong_tarball(self):
        tarball = self.given("tarball", "not a kernel")
        self.refused("is not the pinned tarball", "base", KERNEL_TARBALL=str(tarball))

    def test_not_a_tarball(self):
        tarball = self.given("tarball", "not a kernel")
        self.refused("unpacking the base failed", "base",
                     KERNEL_TARBALL=str(tarball), BASE_ANY="1")

    def test_no_mirror(self):
        self.refused("apt knows no Debian mirror", "base", **self.instead("apt-get", "exit 0"))

    def test_full_disk(self):
        self.refused("7 MiB are free: make room", "base",
                     **self.instead("df", "echo Filesystem; echo /dev/x 1 1 7 1% /"))

    def test_unknown_kernel(self):
        self.refused("no kernel nothing", "kernel", "nothing")

    def test_unknown_fragment(self):
        self.refused("no config/nothing", "kernel", "stock+nothing")

    def test_unknown_row(self):
        self.refused("no row nothing", "vm", "nothing")


class Rebase(unittest.TestCase):
    """The series on the base with changes of which each can come with a newer one."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.tree = pathlib.Path(tmp.name)
        base = subprocess.run([HARNESS / "base"], capture_output=True, text=True, check=True)
        self.patch = HARNESS.parent / next(
            line for line in (HARNESS.parent / "series").read_text().splitlines()
            if line.endswith(".patch"))
        for name in HARNESS.parent.rglob("*.patch"):
            for line in name.read_text().splitlines():
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
