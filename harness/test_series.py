# SPDX-License-Identifier: GPL-2.0-only
"""Tests of harness/series on a base of a few text files that each test makes."""
import importlib.machinery
import importlib.util
import io
import os
import shutil
import subprocess
import tempfile
import unittest
import unittest.mock as mock
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

TOOL = Path(__file__).resolve().with_name('series')
LINES = ''.join(f'line {i}\n' for i in range(60))
BASE = {'mm/memory.c': LINES, 'virt/kvm/kvm_main.c': LINES, 'tools/Makefile': 'all:\n',
        'mm/odd.c': LINES + 'no newline', '.gitattributes': '*.c diff=cpp\n',
        '.gitignore': '*.o\n', 'mm/forced.o': 'ignored, but of the base\n', 'script.sh': 'x\n'}
TEST = 'tools/testing/selftests/mm/leaf.c'
BODY = '''First paragraph, with "quotes" and a UTF-8 dash \u2013 here.

# a line that starts with a hash
diff of a kind, and a From here on
From here on nothing is cut off.
Title
-----
\tindented, then the end of signatures:
--
> quoted
'''
TEST_V1 = '// leaf\n' + ''.join(f'case {i}\n' for i in range(20))
TEST_V2 = TEST_V1.replace('case 9\n', 'case nine\n').replace('// leaf\n', '// leaf, grown\n')
COMMITS = (     # subject, body, files
    ('mm: keep the \u00fcber leaf', BODY, {
        'mm/memory.c': LINES.replace('line 9\n', 'line nine\nline 9a\n').replace('line 50\n', ''),
        'mm/leaf.c': 'int leaf;\n', 'script.sh': 'x\ny\n'}),
    ('selftests/mm: test the leaf', 'Indented:\n  #include <x>\n', {
        TEST: TEST_V1, 'tools/testing/selftests/mm/run.sh': '#!/bin/sh\n',
        'mm/odd.c': LINES + 'newline now\n'}),
    ('KVM: ask for the level =?UTF-8?q?x?=', '', {
        'virt/kvm/kvm_main.c': 'first\n' + LINES + 'last, no newline',
        'mm/memory.c': LINES.replace('line 9\n', 'line 10\n')}),
    ('selftests/mm: test more, ' + 'long ' * 30 + 'subject', '  Starts indented.\n', {
        TEST: TEST_V2, 'virt/kvm/pfn.h': 'no newline at the end'}),
)
for _key in [key for key in os.environ if key.startswith('GIT_')]:
    del os.environ[_key]
os.environ.update(GIT_CONFIG_GLOBAL='/dev/null', GIT_CONFIG_SYSTEM='/dev/null', LC_ALL='C')

_loader = importlib.machinery.SourceFileLoader('series', str(TOOL))
series = importlib.util.module_from_spec(importlib.util.spec_from_loader('series', _loader))
_loader.exec_module(series)


def git(tree, *args, text=None):
    done = subprocess.run(['git', '-c', 'user.name=N', '-c', 'user.email=n@n', '-c',
                           'core.fsync=none', '-C', tree, *args], input=text, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise AssertionError(f'git {args}: {done.stdout}{done.stderr}')
    return done.stdout


def put(tree, files):
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).unlink(missing_ok=True)
        (tree / path).write_text(text, newline='')
        (tree / path).chmod(0o755 if path.endswith('run.sh') else 0o644)


def commit(tree, subject, body, files=None):
    put(tree, files or {})
    git(tree, 'add', '-A', '-f', '.')
    git(tree, 'commit', '-q', '--cleanup=whitespace', '--allow-empty', '-F', '-',
        text=f'{subject}\n\n{body}')


def content(tree):
    """{path: (is executable, content)}"""
    return {str(file.relative_to(tree)): (file.stat().st_mode & 0o100, file.read_bytes())
            for file in tree.rglob('*') if file.is_file() and '.git' not in file.parts}


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = Path(scratch.name)
        self.base, self.dev, self.root = (self.dir / name for name in ('base', 'dev', 'root'))
        put(self.base, BASE)
        self.root.mkdir()
        git(self.root, 'init', '-q')
        git(self.root, 'config', 'user.name', 'Zo\u00eb D. Doe')
        git(self.root, 'config', 'user.email', 'zoe@example.org')
        shutil.copytree(self.base, self.dev)
        git(self.dev, 'init', '-q', '-b', 'work')
        commit(self.dev, 'base', '')
        git(self.dev, 'tag', 'base')

    def run_tool(self, *args, fails=None):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = series.main(['--root', str(self.root), *map(str, args)])
        if fails:
            self.assertRegex(err.getvalue(), f'(?s)^series: .*({fails})')
            self.assertEqual(status, 1)
        else:
            self.assertEqual((status, err.getvalue()), (0, ''))
        return out.getvalue()

    def start(self):
        """The series of COMMITS in the repository, in two parts."""
        for one in COMMITS:
            commit(self.dev, *one)
        self.run_tool('import', self.dev)
        lines = (self.root / 'series').read_text().splitlines()
        lines = lines[:1] + ['# part: fixes'] + lines[1:3] + ['', '# part: kvm'] + lines[3:]
        put(self.root, {'series': '\n'.join(lines) + '\n'})


class RoundTrip(Case):
    def test_import_is_the_inverse_of_export(self):
        self.start()
        before = content(self.root)
        self.assertEqual((self.root / TEST).read_text(), TEST_V2)
        self.assertIn('mm/mm-keep-the-ber-leaf.patch', before)
        self.assertIn('virt/kvm/kvm-ask-for-the-level-utf-8-q-x.patch', before)
        self.run_tool('check', '--base', self.base)
        tree = self.dir / 'tree'
        shutil.copytree(self.base, tree)
        self.run_tool('git', tree)
        log = '--format=%T%n%B'
        self.assertEqual(git(tree, 'log', log, 'series'), git(self.dev, 'log', log))
        self.assertEqual(git(tree, 'log', '-1', '--format=%an <%ae>').strip(),
                         'Zo\u00eb D. Doe <zoe@example.org>')
        self.assertEqual(git(tree, 'status', '--porcelain'), '')
        self.assertEqual(self.run_tool('import', tree), '')
        self.assertEqual(content(self.root), before)

    def test_empty_series(self):
        self.run_tool('import', self.dev)
        self.run_tool('check', '--base', self.base)
        self.assertEqual((self.root / 'series').read_text(), f'# {series.SPDX}\n')

    def test_import_follows_the_tree(self):
        self.start()
        git(self.dev, 'reset', '-q', '--hard', 'base')
        for one in COMMITS[1:]:
            commit(self.dev, *one)
        commit(self.dev, 'lib: new', '', {'lib/new.c': 'x\n'})
        commit(self.dev, 'Two places', '', {'lib/new.h': 'x\n', 'init/x.c': 'x\n'})
        self.run_tool('import', self.dev)
        names = [series.slug(subject, [TEST]) for subject, _, _ in COMMITS]
        self.assertEqual((self.root / 'series').read_text().splitlines(), [
            f'# {series.SPDX}', '# part: fixes', names[1], '', '# part: kvm', *names[2:],
            'lib/lib-new.patch', 'two-places.patch'])
        self.assertFalse((self.root / names[0]).exists() or (self.root / 'mm').exists())
        self.run_tool('check', '--base', self.base)
        self.assertEqual(self.run_tool('import', self.dev), '')

    def test_settings_of_the_user_change_nothing(self):
        self.start()
        before = content(self.root)
        for key, value in (('diff.noprefix', 'true'), ('diff.context', '9'),
                           ('diff.algorithm', 'patience'), ('color.ui', 'always')):
            git(self.dev, 'config', key, value)
        self.assertEqual(self.run_tool('import', self.dev), '')
        self.assertEqual(content(self.root), before)


class Export(Case):
    def test_mailbox(self):
        self.start()
        for name in 'one', 'two':
            self.run_tool('mbox', '-o', self.dir / f'{name}.mbox')
        box = (self.dir / 'one.mbox').read_bytes()
        self.assertEqual(box, (self.dir / 'two.mbox').read_bytes())
        head = git(self.dev, 'rev-parse', 'HEAD^{tree}')
        git(self.dev, 'checkout', '-q', 'base')
        git(self.dev, 'am', '-q', self.dir / 'one.mbox')
        self.assertEqual(git(self.dev, 'rev-parse', 'HEAD^{tree}'), head)

    def test_what_is_missing_for_mails(self):
        self.start()
        git(self.root, 'config', '--unset', 'user.name')
        box = self.dir / 'mbox'
        self.run_tool('mbox', '-o', box, fails='set git config user.name')
        self.assertFalse(box.exists())
        with mock.patch.dict(os.environ, GIT_AUTHOR_NAME='N'):
            self.run_tool('mbox', '-o', box)

    def test_prefixes(self):
        def hashes():
            return [line.split()[1] for line in self.run_tool('prefixes').splitlines()]
        self.start()
        before = hashes()
        self.assertEqual(len(set(before)), 5)
        put(self.root, {TEST: TEST_V2 + 'more\n'})      # whole files count from their patch on
        after = hashes()
        self.assertEqual([a == b for a, b in zip(before, after)], [True] * 2 + [False] * 3)
        put(self.root, {TEST: TEST_V2})
        name = series.slug(COMMITS[1][0], [])
        put(self.root, {name: (self.root / name).read_text().replace('Indented', 'Reworded')})
        self.assertEqual(hashes(), before)

    def test_files(self):
        self.start()
        each = [self.run_tool('files', '--patch', str(n)).split() for n in range(1, 5)]
        self.assertTrue(all(each) and TEST in sum(each, []))
        self.assertEqual(self.run_tool('files').split(), sorted({*sum(each, [])}))

    def test_git_refuses(self):
        self.start()
        self.run_tool('git', self.dev, fails='has a .git')
        linked = self.dir / 'linked'
        shutil.copytree(self.base, linked, copy_function=os.link)
        self.run_tool('git', linked, fails='hard links')
        self.run_tool('git', self.dir / 'nix', fails='not a directory')
        spoilt = self.dir / 'spoilt'
        shutil.copytree(self.base, spoilt)
        put(spoilt, {'mm/memory.c': 'other\n'})
        self.run_tool('git', spoilt, fails='does not apply')
        self.assertFalse((spoilt / '.git').exists())

    def test_git_shows_new_files(self):
        put(self.base, {'.gitignore': '*.o\n/*\n!/debian/\n'})
        self.run_tool('git', self.base)
        put(self.base, {'mm/new.c': 'x\n', 'mm/new.o': 'x\n'})
        self.assertEqual(git(self.base, 'status', '--short'), '?? mm/new.c\n')


class Apply(Case):
    def setUp(self):
        super().setUp()
        self.start()
        self.tree = self.dir / 'tree'
        shutil.copytree(self.base, self.tree, copy_function=os.link)

    def test_every_prefix_leaves_the_base_alone(self):
        before = content(self.base)
        for i in range(len(COMMITS) + 1):
            shutil.rmtree(self.tree)
            shutil.copytree(self.base, self.tree, copy_function=os.link)
            self.run_tool('apply', self.tree, '--upto', str(i))
            self.assertEqual(content(self.base), before)
            git(self.dev, 'checkout', '-q', f'work~{len(COMMITS) - i}')
            self.assertEqual(content(self.tree), content(self.dev))
        self.assertTrue((self.tree / 'tools/Makefile').samefile(self.base / 'tools/Makefile'))
        self.assertFalse((self.tree / 'mm/memory.c').samefile(self.base / 'mm/memory.c'))

    def refused(self, *args, fails):
        before = content(self.tree)
        self.run_tool('apply', self.tree, *args, fails=fails)
        self.assertEqual(content(self.tree), before)

    def test_offset_is_refused(self):
        put(self.tree, {'virt/kvm/kvm_main.c': 'one more\n' + LINES})
        self.refused(fails='kvm-ask.* does not apply to virt/kvm/kvm_main.c:1, ')

    def test_fits(self):
        self.assertIn(' 0 of 10 hunks', self.run_tool('fits', self.tree))
        before = content(self.tree)
        put(self.tree, {'mm/memory.c': 'new\n' * 3 + LINES})
        self.assertIn(', 4 of 10 hunks at another line\n', self.run_tool('fits', self.tree))
        put(self.tree, {'mm/memory.c': LINES.replace('line 49\n', 'line x\n')})
        self.run_tool('fits', self.tree,
                      fails='mm/mm-keep-the-ber-leaf.patch does not apply to mm/memory.c:48,')
        put(self.tree, {'mm/memory.c': LINES})
        self.assertEqual(content(self.tree), before)

    def test_fuzz_is_refused(self):
        put(self.tree, {'mm/memory.c': LINES.replace('line 7\n', 'line seven\n')})
        self.refused(fails='does not apply to mm/memory.c')

    def test_missing_and_surplus_files_are_refused(self):
        self.refused('--upto', '5', fails='no prefix 5, take 0 to 4')
        put(self.tree, {TEST: 'x'})
        self.refused(fails='adds .*leaf.c, but .* has it')
        (self.tree / 'mm/odd.c').unlink()
        self.refused(fails='changes mm/odd.c, which .* lacks')

    def test_twice_is_refused(self):
        self.run_tool('apply', self.tree)
        self.refused(fails='does not apply|has it')


class Refused(Case):
    """What import must not take: the repository stays as it was."""
    def refused(self, fails):
        before = content(self.root)
        self.run_tool('import', self.dev, fails=fails)
        self.assertEqual(content(self.root), before)

    def test_messages(self):
        long = 'a line to begin with\n\n'
        for subject, body in (
                ('mm: x', long + '---\nmore\n'), ('mm: x', long + '--- a/file\n'),
                ('mm: x', long + 'diff --git a/b a/b\n'), ('mm: x', long + 'Index: b\n'),
                ('mm: x', long + 'From n Mon Sep 17 00:00:00 2001\n'),
                ('mm: x', 'Subject: other\n'), ('mm: x', 'From: n <n@n>\n'),
                ('[RFC] mm: x', ''), ('Re: mm: x', ''), ('mm:  x', ''), ('mm:\tx', '')):
            with self.subTest(subject=subject, body=body):
                git(self.dev, 'checkout', '-q', '-f', '--detach', 'base')
                commit(self.dev, subject, body, {'mm/memory.c': 'x\n'})
                self.refused('git am would not keep')
        git(self.dev, 'checkout', '-q', '-f', '--detach', 'base')
        commit(self.dev, 'mm: x\nsecond line', '', {'mm/memory.c': 'x\n'})
        self.refused('no subject line of its own')

    def test_changes(self):
        def move(old, new):
            (self.dev / old).rename(self.dev / new)
        for fails, action in (
                ('deletes', (self.dev / 'mm/odd.c').unlink),
                ('renames', lambda: move('mm/odd.c', 'mm/even.c')),
                ('mode', lambda: (self.dev / 'script.sh').chmod(0o755)),
                ('type', lambda: (self.dev / 'mm/link').symlink_to('odd.c')),
                ('empty', lambda: None),
                ('empty, binary', lambda: put(self.dev, {'mm/none.c': ''})),
                ('binary', lambda: put(self.dev, {'mm/odd.c': 'a\0b'})),
                ('empty, binary', lambda: put(self.dev, {'mm/new.c': 'a\0b'})),
                ('CR LF', lambda: put(self.dev, {'mm/new.c': 'a\r\nb\n'})),
                ('CR LF', lambda: put(self.dev, {'mm/odd.c': 'a\r\nb\n'})),
                ('odd characters', lambda: put(self.dev, {'mm/a b.c': 'a\n'}))):
            with self.subTest(fails=fails):
                git(self.dev, 'checkout', '-q', '-f', '--detach', 'base')
                git(self.dev, 'clean', '-qfdx')
                action()
                commit(self.dev, 'mm: x', '')
                self.refused(fails)

    def test_history(self):
        commit(self.dev, 'mm: x', '', {'mm/memory.c': 'x\n'})
        commit(self.dev, 'mm: X', '', {'mm/memory.c': 'y\n'})
        self.refused('two patches')
        git(self.dev, 'checkout', '-q', '-b', 'side', 'base')
        commit(self.dev, 'mm: y', '', {'mm/odd.c': 'x\n'})
        git(self.dev, 'merge', '-q', '-m', 'merge', 'work')
        self.refused('merge commits')
        git(self.dev, 'tag', '-d', 'base')
        self.refused('git merge-base')
        (self.dev / 'sub').mkdir()
        self.run_tool('import', self.dev / 'sub', fails='not the top')

    def test_files_in_the_way(self):
        commit(self.dev, 'mm: x', '', {'mm/leaf.c': 'x\n'})
        put(self.root, {'mm/leaf.c': 'mine\n'})
        self.refused('mm/leaf.c is in the way')

    def test_uncommitted_changes_are_told(self):
        put(self.dev, {'mm/memory.c': 'x\n'})
        self.assertIn('not committed', self.run_tool('import', self.dev))


class Check(Case):
    def test_size_of_parts(self):
        self.start()
        with mock.patch.object(series, 'MOST', 1):
            self.run_tool('check', '--base', self.base,
                          fails='part fixes has 2 patches and a posting at most 1: begin another')

    def test_failures(self):
        self.start()
        name = series.slug(COMMITS[2][0], [])
        listing = (self.root / 'series').read_text()
        patch = (self.root / name).read_text()
        before = content(self.root)
        for files, fails in (
                ({'mm/stray.patch': patch}, 'mm/stray.patch is not of the series'),
                ({'stray.patch': patch}, 'stray.patch is not of the series'),
                ({'tools/stray.c': 'x'}, 'tools/stray.c is not of the series'),
                ({'series': listing.replace(name + '\n', '')}, f'{name} is not of the series'),
                ({'series': listing + 'mm/nix.patch\n'}, 'mm/nix.patch is missing'),
                ({'series': listing + name + '\n'}, 'listed twice'),
                ({'series': listing.replace('# SPDX', '#SPDX')}, 'series differs'),
                ({'mm/leaf.c': None}, 'mm/leaf.c, which is missing'),
                ({'script.sh': 'x\n', name: patch.replace('\n\n', '\nAdds: script.sh\n\n', 1)},
                 'adds script.sh, but'),
                ({TEST: TEST_V1}, 'does not apply in reverse'),
                ({'mm/leaf.c': ''}, 'is empty'),
                ({name: patch.replace('@@ -1,', '@@ -2,')}, 'does not apply'),
                ({name: patch.replace('-line nine\n', '')}, 'damaged'),
                ({name: patch.replace('---\n', '', 1)}, 'not in the format'),
                ({name: patch.replace(' @@', ' @@ noise', 1)}, 'differs after a round trip'),
                ({name: patch.replace('Subject: KVM', 'Subject: mm')}, 'differs after a round'),
                ({name: patch.replace('\n\n', '\n\n\nx\n', 1)}, 'white space'),
        ):
            with self.subTest(fails=fails):
                for path, text in files.items():
                    if text is None:
                        (self.root / path).unlink()
                    else:
                        put(self.root, {path: text})
                self.run_tool('check', '--base', self.base, fails=fails)
                for path in files:
                    (self.root / path).unlink(missing_ok=True)
                    if path in before:
                        put(self.root, {path: before[path][1].decode()})
                self.assertEqual(content(self.root), before)
        (self.root / 'mm/leaf.c').chmod(0o755)
        self.run_tool('prefixes')
        (self.root / 'mm/leaf.c').chmod(0o644)
        self.run_tool('check', '--base', self.base)

    def test_directories(self):
        for subject, directory in (
                ('mm: x', 'mm'), ('mm/gup: x', 'mm'), ('x86/mm: x', 'arch/x86/mm'),
                ('KVM: x86/mmu: x', 'arch/x86/kvm'), ('KVM: SVM: x', 'arch/x86/kvm'),
                ('KVM: LoongArch: x', 'arch/loongarch/kvm'), ('KVM: x', 'virt/kvm'),
                ('KVM: RISC-V: x', 'arch/riscv/kvm'), ('fork: x', 'kernel'),
                ('KVM: selftests: x', 'tools/testing/selftests/kvm'),
                ('vfio/pci: x', 'drivers/vfio/pci'), ('vfio/type1: x', 'drivers/vfio'),
                ('selftests/vfio: x', 'tools/testing/selftests/vfio'),
                ('selftests: mm: x', 'tools/testing/selftests/mm'),
                ('Documentation/mm: x', 'Documentation'), ('docs: x', 'Documentation'),
                ('kernfs: x', 'fs/kernfs'), ('PCI/sysfs: x', 'drivers/pci'),
                ('char: mem: x', 'drivers/char'), ('/dev/mem: x', 'drivers/char'),
                ('tools/testing/vma: x', 'tools/testing/vma'), ('other: x', 'a/b')):
            path = Path(series.slug(subject, ['a/b/c.c', 'a/b/d/e.c']))
            self.assertEqual(str(path.parent), directory, subject)


if __name__ == '__main__':
    unittest.main()
