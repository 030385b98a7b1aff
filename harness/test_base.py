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

    def test_unreadable_config(self):
        self.refused("cannot be read: give a kernel's .config", "deb", CONFIG_FROM="/nonexistent")

    def test_unknown_row(self):
        self.refused("no row nothing", "vm", "nothing")


if __name__ == "__main__":
    unittest.main()
