# SPDX-License-Identifier: GPL-2.0-only
"""Tests of harness/post on the small series of test_series.py."""
import importlib.machinery
import io
import shutil
import unittest
import unittest.mock as mock
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from test_series import Case, git, put

post = importlib.machinery.SourceFileLoader(
    'post', str(Path(__file__).resolve().with_name('post'))).load_module()
COVER = f"""{post.series.SPDX}
Subject: Huge leaves

Why it is so.

# part: fixes
Subject: Mend leaves

They broke.

# part: kvm
Subject: Look once

It looked twice.
"""


class Post(Case):
    def setUp(self):
        super().setUp()
        self.start()
        self.out = self.dir / 'post'
        put(self.root, {'cover.txt': COVER})
        put(self.base, {'scripts/get_maintainer.pl': 'print "A <a\\@b> (maintainer)\\n";'})

    def post(self, *args, fails=''):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = post.main(['--root', str(self.root), '--base', str(self.base),
                                '-o', str(self.out), *args])
        self.assertEqual(status, bool(fails), err.getvalue())
        self.assertIn(fails, err.getvalue())
        return out.getvalue()

    def test_parts(self):
        self.assertIn('sign off', self.post())
        names = sorted(path.name for path in self.out.iterdir())
        self.assertEqual(names, [f'{part}.{end}' for part in ('1-fixes', '2-kvm')
                                 for end in ('cover', 'mbox', 'recipients')])
        self.assertEqual((self.out / names[2]).read_text(), 'A <a@b> (maintainer)\n')
        head = git(self.dev, 'rev-parse', 'HEAD^{tree}')
        git(self.dev, 'checkout', '-q', 'base')
        for name in names[1::3]:
            git(self.dev, 'am', '-q', self.out / name)
        self.assertEqual(git(self.dev, 'rev-parse', 'HEAD^{tree}'), head)
        shutil.rmtree(self.out)
        self.post('--part', 'kvm')
        self.assertEqual(len(list(self.out.iterdir())), 3)
        self.post('--part', 'fixes')
        self.assertEqual(len(list(self.out.iterdir())), 6)

    def test_letter(self):
        self.post()
        letter = (self.out / '2-kvm.cover').read_text()
        self.assertRegex(letter, r'(?s)Subject: \[PATCH 0/2\] Look once\n.*\nIt looked twice.\n'
                         r'\nPart 2 of 2 .*\nHuge leaves\n\nWhy it is so.\n\nZo\u00eb D. Doe \(2\):\n'
                         '  KVM: ask')
        self.assertRegex(letter, r'\n virt/kvm/kvm_main.c +\| +\+2 +-0\n')
        self.assertTrue(letter.endswith(' of these in KVM: 3 insertions(+), 0 deletions(-)\n\n'))
        self.assertNotIn('in KVM', (self.out / '1-fixes.cover').read_text())

    def test_refused(self):
        self.post('--part', 'nix', fails='no part nix, take one of: fixes kvm')
        for cover, fails in ((COVER.replace('part: kvm', 'part: gpu'), 'mend one: fixes kvm / fixes gpu'),
                             (COVER.replace('Subject: Look', 'Look'), 'cover.txt, part kvm is not in')):
            put(self.root, {'cover.txt': cover})
            self.post(fails=fails)
        (self.root / 'cover.txt').unlink()
        self.post(fails='cover.txt is missing')
        self.assertFalse(self.out.exists())

    def test_too_many_patches(self):
        with mock.patch.object(post.series, 'MOST', 1):
            self.post(fails='part fixes has 2 patches and a posting at most 1')

    def test_no_recipients(self):
        self.post()
        put(self.base, {'scripts/get_maintainer.pl': 'die "no such file\\n";'})
        self.post(fails='get_maintainer.pl fails: no such file')
        self.assertEqual(len(list(self.out.iterdir())), 6)


if __name__ == '__main__':
    unittest.main()
