# SPDX-License-Identifier: GPL-2.0-only
"""How harness/vm judges what a machine left behind: each way to be falsely green."""

import importlib.machinery
import pathlib
import re
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
vm = importlib.machinery.SourceFileLoader("vm", str(HERE / "vm")).load_module()

CASES = """KTAP version 1
1..1
    KTAP version 1
    1..2
    ok 1 one
    {two}
{top} 1 test -r two{end}
# end of results
"""
GOOD = CASES.format(two="ok 2 two", top="ok", end="")
BAD = CASES.format(two="not ok 2 two", top="not ok", end=" # exit status 1")
BARE = "KTAP version 1\n1..1\nnot ok 1 test -r two # exit status 127\n# end of results\n"
OOPS = "BUG: kernel NULL pointer dereference\nRIP: 0010:here+0x1/0x2\n---[ end trace 0000000000000000 ]---\n"


class Verdicts(unittest.TestCase):
    def conclude(self, ktap, expect="PASS", console="", status=0, **settings):
        table = vm.load_table()
        table["x"] = {"tests": "10 test -r two", "expect": expect, **settings}
        with tempfile.TemporaryDirectory() as out:
            pathlib.Path(out, "results.ktap").write_text(ktap, encoding="utf-8")
            pathlib.Path(out, "console.log").write_text(console, encoding="utf-8")
            return vm.conclude(table["x"], out, status, 1.0, "key")

    def good(self, *args, **settings):
        return self.conclude(*args, **settings)["good"]

    def test_passes(self):
        self.assertTrue(self.good(GOOD))
        self.assertFalse(self.good(BAD))
        self.assertFalse(self.good(GOOD, expect="FAIL two"))

    def test_expected_failure(self):
        """The words of a reason are not those of the command line."""
        self.assertTrue(self.good(BAD, expect="FAIL two"))
        self.assertFalse(self.good(BAD, expect="FAIL one"))
        self.assertFalse(self.good(BARE, expect="FAIL two"))
        self.assertTrue(self.good(BARE, expect="FAIL exit status 127"))

    def test_expected_failure_with_another_complaint(self):
        log = "[    1.0] WARNING: CPU: 0 at nowhere\n"
        self.assertFalse(self.good(BAD, expect="FAIL two", console=log))
        self.assertTrue(self.good(BAD, expect="FAIL two", console=log, log="1 WARNING: CPU: 0 at nowhere"))
        self.assertTrue(self.good(GOOD, expect="FAIL kernel log", console=log))

    def test_expected_crash(self):
        """Its symbol stands in its own trace."""
        self.assertTrue(self.good("", expect="CRASH here", console=OOPS))
        self.assertFalse(self.good("", expect="CRASH there", console=OOPS))
        self.assertFalse(self.good("", expect="CRASH there", console=f"WARNING: there+0x1/0x2\n{OOPS}"))
        self.assertFalse(self.good("", expect="CRASH there", console=f"{OOPS}there+0x1/0x2\n"))

    def test_end_of_qemu(self):
        self.assertFalse(self.good(GOOD, status=1))
        self.assertEqual(self.conclude(GOOD, status=None)["outcome"], "TIMEOUT")

    def test_xfail(self):
        self.assertFalse(self.good(GOOD.replace("ok 2 two", "ok 2 two # XFAIL known")))

    def test_skip_before_a_case_of_its_name(self):
        self.assertFalse(self.good(GOOD.replace("ok 1 one", "ok 1 two # SKIP no reason")))

    def test_bad_pud(self):
        """Addresses do not count when a line is allowed."""
        log = "mm/x.c:4: bad pud 00000000a130e39e(80000001000002b7)\n"
        self.assertFalse(self.good(GOOD, console=log))
        self.assertTrue(self.good(GOOD, console=log, log="1 mm/x.c:4: bad pud"))
        self.assertFalse(self.good(GOOD, console=log * 2, log="1 mm/x.c:4: bad pud"))


class Hangs(unittest.TestCase):
    """What QEMU's monitor says of a CPU that should have been woken."""
    REGISTERS = "RIP=ffffffff81000000 RFL=00000{flags:03x} [---] CPL=0 II=0 A20=1 SMM=0 HLT={halted}\n"
    LAPIC = "ISR\t (none)\nIRR\t {irr}\n\nAPR 0x00 TPR 0x00 DFR 0x0f LDR 0x00 PPR 0x{ppr:02x}\n"

    def kept(self, halted=1, flags=0x246, irr="49 236(level) ", ppr=0):
        return vm.kept(self.REGISTERS.format(halted=halted, flags=flags), self.LAPIC.format(irr=irr, ppr=ppr))

    def test_kept(self):
        self.assertEqual(self.kept(), 236)
        for other in {"halted": 0}, {"flags": 0x46}, {"irr": "(none)"}, {"ppr": 0xe0}:
            with self.subTest(other):
                self.assertIsNone(self.kept(**other))

    def test_machine(self):
        """A machine that hangs and has lost nothing, and one that ends."""
        machine = "qemu-system-x86_64 -nodefaults -display none -accel tcg -smp 2 -m 16M".split()
        with tempfile.TemporaryDirectory() as out:
            self.assertEqual(vm.run_machine(machine, 2, f"{out}/log"), (None, []))
            self.assertIn("CPU 1\n", pathlib.Path(out, "log").read_text(encoding="utf-8"))
            self.assertEqual(vm.run_machine(machine + ["-no-such-option"], 2, f"{out}/log"), (1, []))
            self.assertEqual(vm.run_machine(["sleep", "9"], 0.1, f"{out}/log"), (None, []))


class Again(unittest.TestCase):
    """A row is started again if it tested nothing, not if it failed."""

    def why(self, tries=0, lost=(), hangs="0", **done):
        table = vm.load_table()
        table["x"] = {"hangs": hangs}
        done = {"good": False, "status": 0, "skipped": 0, "outcome": "FAIL", "why": "skips differ: x"} | done
        return vm.why_again(table["x"], done, list(lost), tries)

    def test_race(self):
        self.assertIn("race", self.why(skipped=1))
        self.assertIn("race", self.why(skipped=1, tries=1, outcome="PASS", why=""))
        for other in {"good": True}, {"why": "Bail out!"}, {"skipped": 0}, {"tries": 2}:
            with self.subTest(other):
                self.assertEqual("", self.why(**{"skipped": 1} | other))

    def test_hang(self):
        self.assertEqual("", self.why(status=None, skipped=1))
        self.assertIn("not known", self.why(status=None, hangs="1"))
        self.assertEqual("", self.why(status=None, hangs="1", tries=1))
        self.assertIn("236 of CPU 1", self.why(status=None, lost=["236 of CPU 1"], tries=1))
        self.assertEqual("", self.why(status=None, lost=["236 of CPU 1"], tries=2))


class Table(unittest.TestCase):
    """A misspelt word in harness/runs would leave a row out, or a setting unused."""
    GROUPS = {"test", "harness", "full", "matrix", "mutation", "upstream", "kcsan", "kcsan-stock",
              "soak", "measure", "guest", "ept", "measure-full", "guest-full", "boot"}

    def setUp(self):
        self.text = (HERE / "runs").read_text(encoding="utf-8")
        self.table = vm.load_table()

    def test_patience(self):
        """It multiplies each limit once, also of a row that takes its tests from another."""
        for name in "zap-race-kvm", "mutant-fork-split":
            with self.subTest(name):
                row, patient = self.table[name], vm.load_table(3)[name]
                self.assertEqual(3 * row.getint("timeout"), patient.getint("timeout"))
                self.assertEqual([f"{3 * int(limit)} {test}" for limit, test in
                                  (line.split(None, 1) for line in vm.lines(row["tests"]))],
                                 vm.lines(patient["tests"]))

    def test_groups(self):
        patches = (HERE.parent / "series").read_text(encoding="utf-8").split()
        for name in self.table.sections():
            for group in self.table[name]["group"].split():
                with self.subTest(name):
                    self.assertTrue(group in self.GROUPS or group in patches, f"no group or patch {group}")

    def test_misspelt(self):
        """What is not there is said, not passed over."""
        for name in "nosuch", "@nosuch":
            done = subprocess.run([HERE / "vm", name], check=False, capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "^vm: no row .*nosuch: see harness/runs\n$")

    def test_settings(self):
        """A setting that no other row has is used, by a row that names it."""
        known = {"kernel", "group", "machine", "cpu", "smp", "memory", "devices", "cmdline", "icount", "timeout",
                 "require", "tests", "env", "modules", "files", "plugin", "log", "skips", "threads", "hangs", "expect",
                 "variants", "variant"}
        for name in self.table.sections():
            for key in set(self.table[name]) - known:
                with self.subTest(f"{name}: {key}"):
                    self.assertRegex(self.text, rf"\$\{{([\w.-]+:)?{re.escape(key)}\}}")


if __name__ == "__main__":
    unittest.main()
