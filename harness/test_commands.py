#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Every command in README.md is one of these and does what it should.

"run" is run as it stands, other text instead of it; "dry" stands for what takes
too long, needs a person, or is run by what runs this; "host" changes the host:
packages are installed by harness/deb-test in a fresh Debian, a device is taken in
the tests' VMs; what gives it back is not run. Without README_RUN=1 nothing is run,
but each make target must exist.
"""
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
TREE = "build/tree-git/linux"
HOW = {
    "make": "run",
    "make measure": "run",
    "make test": "dry",
    "make boot-guest": "dry",
    "make deb CONFIG_FROM=/boot/config-$(uname -r)": "CONFIG_ONLY=1 make deb",
    "sudo dpkg -i build/deb/linux-image-*.deb": "host",
    "sudo reboot": "host",
    "sudo build/deb/vfio-bars": "host",
    "sudo dpkg --purge linux-image-7.3.4-huge-pfnmap": "host",
    "make tests": "run",
    "modprobe vfio-pci": "host",
    "./levels --map vfio --null --bdf 0000:00:10.0 --bar 2 --size 4G --levels-only --leaf 1G":
        "harness/vm levels-hardware",
    "echo 0000:00:10.0 > /sys/bus/pci/drivers/vfio-pci/unbind": "host",
    "echo > /sys/bus/pci/devices/0000:00:10.0/driver_override": "host",
    "echo 0000:00:10.0 > /sys/bus/pci/drivers_probe": "host",
    f"make tree-git TREE={TREE}": "make tree-git TREE=@/tree",
    f"make import TREE={TREE}": "make import TREE=@/tree && git diff --exit-code",
    "harness/kernel series && harness/tests": "run",
    "harness/vm vfio-huge-leaf": "run",
    "make lint": "dry",
    "make bisect": "dry",
    "make series": "run",
    "make rebase-check": "run",
    "make readme": "cp README.md @ && bench/readme build/report/results.json @/README.md @/svg",
    "make series PART=fixes": "run",
    "git mailsplit -oDIR N-PART.cover N-PART.mbox":
        "mkdir @/mails && git mailsplit -o@/mails build/post/1-fixes.{cover,mbox} && ls @/mails/0002",
    "git am build/post/*.mbox": "make series && git -C @/tree checkout -q base && "
        "git -C @/tree -c user.name=a -c user.email=a@a am -q $PWD/build/post/*.mbox && git -C @/tree diff --exit-code series",
}


def commands():
    """Those of the indented blocks, and what `quotes` as a command with arguments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [line.split("#")[0].strip() for line in re.findall(r"(?m)^    (\S.*)$", text)]
    quoted = re.findall(r"`((?:make|git|sudo) [^`]+)`", text.split("<!-- end of results -->")[1])
    return list(dict.fromkeys(found + [" ".join(line.split()) for line in quoted]))


class Commands(unittest.TestCase):
    def sh(self, command):
        done = subprocess.run(["bash", "-euc", command], cwd=ROOT, text=True, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              env=os.environ | {f"GIT_{who}_{what}": "readme@localhost"
                                                for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")})
        self.assertEqual(done.returncode, 0, f"{command}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def test_each_is_known(self):
        self.assertGreater(len(commands()), 15)
        self.assertEqual(sorted(commands()), sorted(HOW))

    def test_targets(self):
        for command in commands():
            if command.startswith("make"):
                with self.subTest(command):
                    self.sh(command.replace("make", "make -n", 1))

    @unittest.skipUnless(os.environ.get("README_RUN"), "README_RUN=1 runs them")
    def test_run(self):
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as scratch:
            for command in commands():
                how = HOW[command]
                if how in ("dry", "host"):
                    continue
                print(f"README: {command}", flush=True)
                with self.subTest(command):
                    self.sh(command if how == "run" else how.replace("@", shlex.quote(scratch)))


if __name__ == "__main__":
    unittest.main()
