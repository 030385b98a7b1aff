// SPDX-License-Identifier: GPL-2.0-only
/*
 * The size of the leaves of a PFNMAP mapping must not show: the same random
 * operations on a mapping with PUD and PMD leaves and on one that consists of
 * PTEs, because its address does not fit the pfn, have the same results and
 * leave the same VMAs, contents, permissions and signals.
 *
 *   --seed N   what to do (default: the time)
 *   --ops N    how many operations, for both layouts together
 *   --fail     allocations fail for operations on large leaves, as set up in
 *              debugfs (failslab, fail_page_alloc) with task-filter; done again
 *              the result must be the same
 *
 * A sequence of operations that tells the two apart is cut down to those that
 * it takes, and printed. The memory is that of a file, see huge_pfnmap.c; of
 * that it takes 66 MiB and a page more than 3 GiB.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../../../lib/test_pfnmap_uapi.h"
#include "kselftest_harness.h"
#include "vm_util.h"

#define SZ_4K	0x1000UL
#define SZ_2M	0x200000UL
#define SZ_16M	0x1000000UL
#define SZ_1G	0x40000000UL

#define ALIGN_DOWN(x, to)	((x) & ~((to) - 1))
#define ALIGN(x, to)		ALIGN_DOWN((x) + (to) - 1, to)

#define PAGE_TABLES	"/sys/kernel/debug/page_tables/current_kernel"

static unsigned long seed, nr_ops = 2000;
static unsigned long file_offset;
static int fd, mem_fd, fail_fd;
static bool want_failures;
static bool can_unmap;		/* the file is the test module's */
static bool has_l1tf;		/* what is not accessible is mapped by PTEs */

/*
 * Places are offsets in a space that each arm has at another address. Of its
 * part [lo, hi) that operations may use, the file is mapped at [start, end).
 */
struct layout {
	unsigned long lo, hi, start, end;
	unsigned long other;	/* in the file, from the first arm to the second */
	int length;		/* operations in a sequence */
};

static const struct layout *layout;

enum { HUGE, SMALL, NR_ARMS };

static char * const base[NR_ARMS] = {
	(char *)0x100000000000UL, (char *)0x180000000000UL + SZ_4K,
};

static off_t file_pos(int arm, unsigned long place)
{
	return file_offset + place + arm * layout->other;
}

enum kind {
	UNMAP, PROTECT, MOVE, RESIZE, ADVISE, BIND, ANON, FILE_SHARED, FILE_PRIVATE,
	FORK, PEEK, POKE, SYNC, LOCK, UNLOCK, INCORE, CLEAR_REFS, SMAPS, UNMAP_FILE,
	NR_KINDS
};

/* How often each, and its name. */
static const struct {
	const char *name;
	int weight;
} kinds[NR_KINDS] = {
	[UNMAP]		= { "munmap", 8 },
	[PROTECT]	= { "mprotect", 20 },
	[MOVE]		= { "mremap to", 12 },
	[RESIZE]	= { "mremap size", 3 },
	[ADVISE]	= { "madvise", 8 },
	[BIND]		= { "mbind", 4 },
	[ANON]		= { "mmap anonymous", 4 },
	[FILE_SHARED]	= { "mmap shared", 14 },
	[FILE_PRIVATE]	= { "mmap private", 2 },
	[FORK]		= { "fork, munmap", 1 },
	[PEEK]		= { "read mem", 5 },
	[POKE]		= { "write mem", 5 },
	[SYNC]		= { "msync", 2 },
	[LOCK]		= { "mlock", 1 },
	[UNLOCK]	= { "munlock", 1 },
	[INCORE]	= { "mincore", 2 },
	[CLEAR_REFS]	= { "clear_refs", 1 },
	[SMAPS]		= { "smaps", 1 },
	[UNMAP_FILE]	= { "unmap_mapping_range", 4 },
};

struct op {
	enum kind kind;
	unsigned long start, len;
	unsigned long to;	/* MOVE: place; RESIZE: length; FILE_*: what is mapped */
	int arg;
	uint64_t rnd;		/* for what is looked at afterwards */
};

static const int protections[] = {
	PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
};

#define pick(array, n) ((array)[(n) % ARRAY_SIZE(array)])

static int mmap_prot(const struct op *op)
{
	if (op->kind == ANON || op->arg % 3)
		return PROT_READ | PROT_WRITE;
	return pick(protections, op->arg);
}

/* What a sequence, which runs in a process of its own, has to say. */
static struct report {
	bool failed;
	char why[256];
	unsigned long checks, puds, pmds, ptes, signals, failures, succeeded[NR_KINDS];
} *report;

__printf(1, 2)
static void fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(report->why, sizeof(report->why), fmt, args);
	va_end(args);
	report->failed = true;
	_exit(1);
}

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dULL >> 8;
}

/* Access to a page of both arms. */

struct result {
	int sig, code;
	unsigned long where;
	uint64_t val;
};

static sigjmp_buf fault_env;
static siginfo_t fault_info;

static void fault_handler(int sig, siginfo_t *info, void *context)
{
	fault_info = *info;
	siglongjmp(fault_env, sig);
}

static void access_page(struct result *r, int arm, unsigned long place, bool write,
			uint64_t val)
{
	volatile uint64_t *p = (uint64_t *)(base[arm] + place);

	memset(r, 0, sizeof(*r));
	r->sig = sigsetjmp(fault_env, 0);
	if (r->sig) {
		r->code = fault_info.si_code;
		r->where = (char *)fault_info.si_addr - base[arm];
		report->signals++;
	} else if (write) {
		*p = val;
	} else {
		r->val = *p;
	}
}

static void check_access(unsigned long place, bool write, uint64_t val)
{
	struct result r[NR_ARMS];
	int arm;

	for (arm = 0; arm < NR_ARMS; arm++)
		access_page(&r[arm], arm, place, write, val);
	if (memcmp(&r[HUGE], &r[SMALL], sizeof(r[0])))
		fail("%s at 0x%lx: %d/%d at 0x%lx, value 0x%lx, not %d/%d at 0x%lx, value 0x%lx",
		     write ? "store" : "load", place,
		     r[HUGE].sig, r[HUGE].code, r[HUGE].where, r[HUGE].val,
		     r[SMALL].sig, r[SMALL].code, r[SMALL].where, r[SMALL].val);
}

static void check_page(unsigned long place, uint64_t *rnd)
{
	place &= -SZ_4K;
	if (place < layout->lo || place >= layout->hi)
		return;
	check_access(place, false, 0);
	if (next(rnd) & 1) {
		check_access(place, true, next(rnd));
		check_access(place, false, 0);
	}
}

static void check_around(unsigned long place, uint64_t *rnd)
{
	check_page(place - SZ_4K, rnd);
	check_page(place, rnd);
	check_page(place + SZ_4K, rnd);
}

static void check_some(const struct op *op)
{
	uint64_t rnd = op->rnd;
	int i;

	check_around(op->start, &rnd);
	check_around(op->start + op->len, &rnd);
	check_page(op->start + next(&rnd) % op->len, &rnd);
	if (op->kind == MOVE || op->kind == FILE_SHARED) {
		check_around(op->to, &rnd);
		check_around(op->to + op->len, &rnd);
		check_page(op->to + next(&rnd) % op->len, &rnd);
	}
	for (i = 0; i < 4; i++)
		check_page(layout->lo + next(&rnd) % (layout->hi - layout->lo), &rnd);
}

/* VMAs */

struct vma {
	unsigned long start, end;
	char perms[8];
	unsigned long pos;
};

#define MAX_VMAS	1000

static struct vma vmas[NR_ARMS][MAX_VMAS];

/* After failures, one VMA can be several. */
static bool continues(const struct vma *before, const struct vma *vma)
{
	return fail_fd && before->end == vma->start && !strcmp(before->perms, vma->perms) &&
	       vma->pos == (before->pos ? before->pos + vma->start - before->start : 0);
}

static int read_vmas(void)
{
	int arm, nr[NR_ARMS] = { };
	char line[256], perms[8];
	unsigned long start, end, pos;
	FILE *f = fopen("/proc/self/maps", "r");

	if (!f)
		fail("no maps");
	while (fgets(line, sizeof(line), f)) {
		struct vma *vma;

		if (sscanf(line, "%lx-%lx %7s %lx", &start, &end, perms, &pos) != 4)
			fail("maps: %s", line);
		for (arm = 0; arm < NR_ARMS; arm++) {
			if (start - (unsigned long)base[arm] >= layout->hi)
				continue;
			if (nr[arm] == MAX_VMAS)
				fail("too many VMAs");
			vma = &vmas[arm][nr[arm]++];
			memset(vma, 0, sizeof(*vma));
			vma->start = start - (unsigned long)base[arm];
			vma->end = end - (unsigned long)base[arm];
			memcpy(vma->perms, perms, sizeof(perms));
			vma->pos = pos ? pos - arm * layout->other : 0;
			if (nr[arm] > 1 && continues(vma - 1, vma)) {
				vma[-1].end = vma->end;
				nr[arm]--;
			}
		}
	}
	fclose(f);

	if (nr[HUGE] != nr[SMALL])
		fail("%d VMAs, should be %d", nr[HUGE], nr[SMALL]);
	for (arm = 0; arm < nr[HUGE]; arm++)
		if (memcmp(&vmas[HUGE][arm], &vmas[SMALL][arm], sizeof(struct vma)))
			fail("VMA 0x%lx-0x%lx %s 0x%lx, should be 0x%lx-0x%lx %s 0x%lx",
			     vmas[HUGE][arm].start, vmas[HUGE][arm].end,
			     vmas[HUGE][arm].perms, vmas[HUGE][arm].pos,
			     vmas[SMALL][arm].start, vmas[SMALL][arm].end,
			     vmas[SMALL][arm].perms, vmas[SMALL][arm].pos);
	return nr[HUGE];
}

/*
 * Every page that can be loaded is, and every page of a shared mapping that can
 * be stored to is. Of what is not accessible: the ends and a page in each 2M.
 */
static void check_everything(uint64_t rnd)
{
	unsigned long place = layout->lo, at;
	int i, nr = read_vmas();

	for (i = 0; i <= nr; i++) {
		const struct vma *vma = &vmas[HUGE][i];
		unsigned long start = i < nr ? vma->start : layout->hi;

		if (place < start) {
			check_around(place, &rnd);
			for (at = place; at < start; at += SZ_2M)
				check_page(at, &rnd);
			check_around(start, &rnd);
		}
		if (i == nr)
			break;
		place = vma->end;
		if (vma->perms[0] != 'r') {
			check_around(vma->start, &rnd);
			for (at = vma->start; at < vma->end; at += SZ_2M)
				check_page(at, &rnd);
			continue;
		}
		for (at = vma->start; at < vma->end; at += SZ_4K) {
			check_access(at, false, 0);
			if (vma->perms[1] == 'w' && vma->perms[3] == 's')
				check_access(at, true, at ^ rnd);
		}
		if (vma->perms[1] != 'w')
			check_page(vma->end - SZ_4K, &rnd);
	}
}

/*
 * Levels of the leaves: those that must be there in the first arm, since
 * nothing has cut them. A table that has been needed stays.
 */
#define NR_2M		(3 * SZ_1G / SZ_2M)
#define NR_1G		3

static bool large[NR_2M], large_1g[NR_1G];	/* is a leaf for sure */
static bool table[NR_2M], table_1g[NR_1G];	/* may be a table */
static bool displaced;				/* file and space do not match */

static void cut(unsigned long place)
{
	if (place % SZ_2M) {
		table[place / SZ_2M] = true;
		large[place / SZ_2M] = false;
	}
	if (place % SZ_1G) {
		table_1g[place / SZ_1G] = true;
		large_1g[place / SZ_1G] = false;
	}
}

static void cut_out(unsigned long start, unsigned long end)
{
	unsigned long at;

	cut(start);
	cut(end);
	for (at = ALIGN_DOWN(start, SZ_2M); at < end; at += SZ_2M)
		large[at / SZ_2M] = false;
	for (at = ALIGN_DOWN(start, SZ_1G); at < end; at += SZ_1G)
		large_1g[at / SZ_1G] = false;
}

static void fill_small(unsigned long start, unsigned long end)
{
	unsigned long at;

	cut_out(start, end);
	for (at = ALIGN_DOWN(start, SZ_2M); at < end; at += SZ_2M)
		table[at / SZ_2M] = true;
	for (at = ALIGN_DOWN(start, SZ_1G); at < end; at += SZ_1G)
		table_1g[at / SZ_1G] = true;
}

static void fill_large(unsigned long start, unsigned long end, unsigned long from)
{
	unsigned long at;

	cut_out(start, end);
	for (at = ALIGN(start, SZ_2M); at + SZ_2M <= end; at += SZ_2M)
		large[at / SZ_2M] = !table[at / SZ_2M];
	for (at = ALIGN_DOWN(start, SZ_1G); at < end; at += SZ_1G) {
		bool whole = at >= start && at + SZ_1G <= end && !((start - from) % SZ_1G);

		large_1g[at / SZ_1G] = whole && !table_1g[at / SZ_1G];
		table_1g[at / SZ_1G] |= !whole;
	}
}

static void move_large(unsigned long start, unsigned long to, unsigned long len)
{
	bool old[NR_2M], old_1g[NR_1G];
	unsigned long at, from;

	cut(start);
	cut(start + len);
	memcpy(old, large, sizeof(old));
	memcpy(old_1g, large_1g, sizeof(old_1g));
	cut_out(start, start + len);
	cut_out(to, to + len);

	for (at = ALIGN_DOWN(start, SZ_2M); at < start + len; at += SZ_2M)
		table[at / SZ_2M] |= !old[at / SZ_2M] || (to - start) % SZ_2M;
	for (at = ALIGN_DOWN(start, SZ_1G); at < start + len; at += SZ_1G)
		table_1g[at / SZ_1G] |= !old_1g[at / SZ_1G] || (to - start) % SZ_1G;

	for (at = ALIGN_DOWN(to, SZ_2M); at < to + len; at += SZ_2M) {
		from = at - to + start;
		if (!((to - start) % SZ_2M) && at >= to && at + SZ_2M <= to + len &&
		    old[from / SZ_2M]) {
			large[at / SZ_2M] = !table[at / SZ_2M];
			/* It may have been split to go there. */
			table[from / SZ_2M] |= table[at / SZ_2M];
		} else {
			table[at / SZ_2M] = true;
		}
	}
	for (at = ALIGN_DOWN(to, SZ_1G); at < to + len; at += SZ_1G) {
		from = at - to + start;
		if (!((to - start) % SZ_1G) && at >= to && at + SZ_1G <= to + len &&
		    old_1g[from / SZ_1G]) {
			large_1g[at / SZ_1G] = !table_1g[at / SZ_1G];
			table_1g[from / SZ_1G] |= table_1g[at / SZ_1G];
		} else {
			table_1g[at / SZ_1G] = true;
		}
	}
}

static void track(const struct op *op, bool done)
{
	unsigned long end = op->start + op->len;

	switch (op->kind) {
	case MOVE:
		displaced = true;
		if (done) {
			move_large(op->start, op->to, op->len);
		} else {
			fill_small(op->start, end);
			fill_small(op->to, op->to + op->len);
		}
		break;
	case RESIZE:
		if (op->to < op->len)
			cut_out(op->start + op->to, end);
		else
			fill_small(end, op->start + op->to);
		cut(op->start);
		break;
	case FILE_SHARED:
		displaced |= op->start != op->to;
		if (done && (mmap_prot(op) != PROT_NONE || !has_l1tf))
			fill_large(op->start, end, op->to);
		else
			fill_small(op->start, end);
		break;
	case ANON:
	case FILE_PRIVATE:
		fill_small(op->start, end);
		break;
	case UNMAP_FILE:
		if (displaced)
			fill_small(layout->lo, layout->hi);
		else
			cut_out(op->start, end);
		break;
	case UNMAP:
		cut_out(op->start, end);
		break;
	case PROTECT:
	case ADVISE:
	case BIND:
	case LOCK:
	case UNLOCK:
		cut(op->start);
		cut(end);
		break;
	default:
		break;
	}
}

static void check_levels(void)
{
	unsigned long start, end, place, at, where;
	char line[256], *level;
	FILE *f = fopen(PAGE_TABLES, "r");
	int arm;

	if (!f)
		fail("no " PAGE_TABLES);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "0x%lx-0x%lx", &start, &end) != 2)
			continue;
		level = strrchr(line, ' ');
		if (!level)
			continue;
		level++;
		where = start;
		for (arm = 0; arm < NR_ARMS; arm++) {
			place = (unsigned long)base[arm] + layout->lo;
			start = where > place ? where : place;
			place = (unsigned long)base[arm] + layout->hi;
			if (start >= end || start >= place)
				continue;
			if (arm == SMALL) {
				if (strstr(line, "USR") && strncmp(level, "pte", 3))
					fail("the mapping by PTEs has a leaf: %s", line);
				continue;
			}
			place = (end < place ? end : place) - (unsigned long)base[arm];
			start -= (unsigned long)base[arm];
			if (strstr(line, "USR")) {
				report->puds += !strncmp(level, "pud", 3);
				report->pmds += !strncmp(level, "pmd", 3);
				report->ptes += !strncmp(level, "pte", 3);
			}
			for (at = ALIGN_DOWN(start, SZ_1G); at < place; at += SZ_1G)
				if (large_1g[at / SZ_1G] && strncmp(level, "pud", 3))
					fail("no PUD leaf at 0x%lx: %s", at, line);
			for (at = ALIGN_DOWN(start, SZ_2M); at < place; at += SZ_2M)
				if (large[at / SZ_2M] && !strncmp(level, "pte", 3))
					fail("no leaf at 0x%lx: %s", at, line);
		}
	}
	fclose(f);
	report->checks++;
}

/* Operations */

static const int advices[] = {
	MADV_DONTFORK, MADV_DOFORK, MADV_RANDOM, MADV_SEQUENTIAL, MADV_NORMAL,
	MADV_WILLNEED, MADV_DONTNEED, MADV_FREE, MADV_COLD, MADV_PAGEOUT,
	MADV_DONTDUMP, MADV_DODUMP, MADV_NOHUGEPAGE,
};

static const int syncs[] = { MS_ASYNC, MS_SYNC, MS_SYNC | MS_INVALIDATE };

static void generate(struct op *op, uint64_t *rnd)
{
	const unsigned long space = layout->hi - layout->lo;
	const unsigned long window = layout->end - layout->start;
	unsigned long grain, max = space;
	bool in_file = false;
	int i, total = 0, n;

	memset(op, 0, sizeof(*op));
	for (i = 0; i < NR_KINDS; i++)
		total += kinds[i].weight;
	n = next(rnd) % total;
	for (i = 0; n >= kinds[i].weight; i++)
		n -= kinds[i].weight;
	op->kind = i;
	op->arg = next(rnd) % 1000;
	op->rnd = next(rnd) | 1;

	/* The ends: of a page, of a leaf, or a page off that. */
	switch (next(rnd) % 8) {
	case 0 ... 3:
		grain = SZ_4K;
		break;
	case 4 ... 6:
		grain = SZ_2M;
		break;
	default:
		grain = window > SZ_1G ? SZ_1G : SZ_2M;
		break;
	}
	switch (op->kind) {
	case ANON:
	case LOCK:
	case INCORE:
		max = SZ_16M;
		break;
	case UNMAP_FILE:
		in_file = true;
		break;
	default:
		break;
	}
	/* Mostly where the file is. */
	if (in_file || next(rnd) % 4)
		op->start = layout->start + next(rnd) % window;
	else
		op->start = layout->lo + next(rnd) % space;
	op->start = ALIGN_DOWN(op->start, grain);

	switch (next(rnd) % 8) {
	case 0 ... 2:
		op->len = SZ_4K << next(rnd) % 4;
		break;
	case 3 ... 4:
		op->len = SZ_2M;
		break;
	case 5 ... 6:
		op->len = SZ_4K + next(rnd) % SZ_16M;
		break;
	default:
		op->len = grain + next(rnd) % window;
		break;
	}
	op->len = ALIGN(op->len, grain);
	if (!(next(rnd) % 4))
		op->start += SZ_4K;
	if (op->start < layout->lo || (in_file && op->start < layout->start))
		op->start = in_file ? layout->start : layout->lo;
	if (op->len > max)
		op->len = max;
	if (op->start + op->len > (in_file ? layout->end : layout->hi))
		op->len = (in_file ? layout->end : layout->hi) - op->start;
	if (!op->len) {
		op->start -= SZ_4K;
		op->len = SZ_4K;
	}

	switch (op->kind) {
	case MOVE:
		op->to = layout->lo + ALIGN_DOWN(next(rnd) % space, SZ_4K);
		/* Most leaves could stay leaves. */
		if (next(rnd) % 4)
			op->to = ALIGN_DOWN(op->to, grain > SZ_2M ? grain : SZ_2M) +
				op->start % SZ_2M;
		if (op->to + op->len > layout->hi)
			op->to = layout->lo + op->start % SZ_2M;
		if (op->to + op->len > layout->hi)
			op->len = layout->hi - op->to;
		break;
	case RESIZE:
		op->to = SZ_4K + ALIGN_DOWN(next(rnd) % op->len, SZ_4K);
		if (!(next(rnd) % 4))
			op->to += SZ_2M;
		if (op->start + op->to > layout->hi)
			op->to = op->len;
		break;
	case FILE_SHARED:
	case FILE_PRIVATE:
		/* Any part that leaves at the first arm's place have to fit. */
		if (op->len > window - SZ_2M)
			op->len = ALIGN_DOWN(window - SZ_2M, SZ_4K);
		op->to = op->start;
		if (op->to < layout->start || op->to + op->len > layout->end || !(next(rnd) % 4)) {
			op->to = layout->start + next(rnd) % (window - op->len - SZ_2M + SZ_4K);
			op->to = ALIGN_DOWN(op->to - op->start % SZ_2M, SZ_2M) + op->start % SZ_2M;
			if (op->to < layout->start)
				op->to += SZ_2M;
		}
		/* All of it again, so that there are large leaves again. */
		if (op->kind == FILE_SHARED && !(next(rnd) % 4)) {
			op->start = layout->start;
			op->to = layout->start;
			op->len = window;
		}
		break;
	default:
		break;
	}
}

static long map_at(int arm, const struct op *op, int flags)
{
	char *p = base[arm] + op->start;

	return mmap(p, op->len, mmap_prot(op), flags | MAP_FIXED, flags & MAP_ANONYMOUS ? -1 : fd,
		    flags & MAP_ANONYMOUS ? 0 : file_pos(arm, op->to)) == p ? 0 : -1;
}

static void read_all(const char *path)
{
	static char buf[65536];
	int f = open(path, O_RDONLY);

	while (read(f, buf, sizeof(buf)) > 0)
		;
	close(f);
}

/* In one arm; returns what can be compared, after errno. */
static long apply(int arm, const struct op *op)
{
	static const unsigned long node0 = 1;
	char *p = base[arm] + op->start;
	uint64_t val = op->rnd;
	struct test_pfnmap_range range;
	unsigned char vec[SZ_16M / SZ_4K];
	unsigned long i, sum = 0;
	long ret;

	switch (op->kind) {
	case UNMAP:
		return munmap(p, op->len);
	case PROTECT:
		return mprotect(p, op->len, pick(protections, op->arg));
	case MOVE:
		return mremap(p, op->len, op->len, MREMAP_MAYMOVE | MREMAP_FIXED,
			      base[arm] + op->to) == base[arm] + op->to ? 0 : -1;
	case RESIZE:
		return mremap(p, op->len, op->to, 0) == p ? 0 : -1;
	case ADVISE:
		return madvise(p, op->len, pick(advices, op->arg));
	case BIND:
		return syscall(__NR_mbind, p, op->len, op->arg & 1 ? MPOL_BIND : MPOL_PREFERRED,
			       &node0, 8 * sizeof(node0), op->arg & 2 ? MPOL_MF_STRICT : 0);
	case ANON:
		ret = map_at(arm, op, MAP_PRIVATE | MAP_ANONYMOUS);
		/* The large leaves to compare are those of the file. */
		if (!ret)
			madvise(p, op->len, MADV_NOHUGEPAGE);
		return ret;
	case FILE_SHARED:
		return map_at(arm, op, MAP_SHARED);
	case FILE_PRIVATE:
		return map_at(arm, op, MAP_PRIVATE);
	case PEEK:
		ret = pread(mem_fd, &val, sizeof(val), (off_t)p);
		return ret == sizeof(val) ? val >> 1 : ret;
	case POKE:
		/* A write-protected page may still have to be made writable. */
		return pwrite(mem_fd, &val, sizeof(val), (off_t)p);
	case SYNC:
		return msync(p, op->len, pick(syncs, op->arg));
	case LOCK:
		return mlock(p, op->len);
	case UNLOCK:
		return munlock(p, op->len);
	case INCORE:
		ret = mincore(p, op->len, vec);
		for (i = 0; !ret && i < op->len / SZ_4K; i++)
			sum = sum * 3 + (vec[i] & 1);
		return ret ?: sum >> 1;
	case UNMAP_FILE:
		range.offset = file_pos(arm, op->start);
		range.len = op->len;
		return ioctl(fd, TEST_PFNMAP_UNMAP, &range);
	default:
		return 0;
	}
}

static void open_mem(void)
{
	close(mem_fd);
	mem_fd = open("/proc/self/mem", O_RDWR);
	if (mem_fd < 0)
		fail("no /proc/self/mem");
}

static void in_child(const struct op *op)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid) {
		open_mem();
		read_vmas();
		check_some(op);
		munmap(base[HUGE] + op->start, op->len);
		munmap(base[SMALL] + op->start, op->len);
		check_some(op);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status) {
		if (!report->failed)
			fail("the child ended with status 0x%x", status);
		_exit(1);
	}
}

static void let_me_fail(bool on)
{
	if (write(fail_fd, on ? "1" : "0", 1) != 1)
		fail("no fault injection");
}

/*
 * With failures, until there is none. What it takes may have been done in part,
 * and mremap() succeeds if all that it could not do is to unmap what it moved.
 */
static long apply_failing(const struct op *op)
{
	long ret;

	let_me_fail(true);
	ret = apply(HUGE, op);
	let_me_fail(false);
	if (ret < 0) {
		report->failures += errno == ENOMEM;
		/* Some page tables may have stayed. */
		fill_small(layout->lo, layout->hi);
		ret = apply(HUGE, op);
	}
	if (!ret && op->kind == MOVE)
		munmap(base[HUGE] + op->start, op->len);
	return ret;
}

static bool may_fail(const struct op *op)
{
	switch (op->kind) {
	case UNMAP ... BIND:
	case FILE_SHARED:
	case FILE_PRIVATE:
		return fail_fd;
	default:
		return false;
	}
}

/*
 * mremap() may succeed for one VMA and not for several, or move some. As VMAs
 * that could not be merged for lack of memory are there in one arm only:
 */
static bool is_one_vma(const struct op *op)
{
	unsigned long from = (unsigned long)base[HUGE] + op->start, start, end;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%lx-%lx", &start, &end) == 2 &&
			start <= from && from + op->len <= end;
	if (f)
		fclose(f);
	return found;
}

static void do_op(const struct op *op)
{
	long ret[NR_ARMS];
	int arm, err[NR_ARMS] = { };

	switch (op->kind) {
	case FORK:
		in_child(op);
		return;
	case CLEAR_REFS:
		clear_softdirty();
		return;
	case SMAPS:
		read_all(op->arg & 1 ? "/proc/self/smaps" : "/proc/self/numa_maps");
		return;
	case UNMAP_FILE:
		if (!can_unmap)
			return;
		break;
	case MOVE:
	case RESIZE:
		if (fail_fd && !is_one_vma(op))
			return;
		break;
	case POKE:
		check_access(op->start, true, op->rnd);
		break;
	default:
		break;
	}
	for (arm = 0; arm < NR_ARMS; arm++) {
		if (arm == HUGE && may_fail(op))
			ret[arm] = apply_failing(op);
		else
			ret[arm] = apply(arm, op);
		if (ret[arm] < 0)
			err[arm] = errno;
	}
	track(op, ret[HUGE] >= 0);
	if (ret[HUGE] != ret[SMALL] || err[HUGE] != err[SMALL])
		fail("returned 0x%lx error %d, should be 0x%lx error %d",
		     ret[HUGE], err[HUGE], ret[SMALL], err[SMALL]);
	report->succeeded[op->kind] += ret[HUGE] >= 0;
}

/* The contents must not be known to be the same already. */
static void stamp(void)
{
	unsigned long place;
	int arm;

	for (arm = 0; arm < NR_ARMS; arm++)
		for (place = layout->start; place < layout->end; place += SZ_4K)
			*(uint64_t *)(base[arm] + place) = place;
}

static void play(const struct op *ops, int nr, bool stamped)
{
	const struct op first = {
		.kind = FILE_SHARED, .start = layout->start, .to = layout->start,
		.len = layout->end - layout->start, .arg = 1,
	};
	int i;

	open_mem();
	do_op(&first);
	check_levels();
	if (!stamped)
		stamp();
	if (want_failures) {
		fail_fd = open("/proc/self/make-it-fail", O_WRONLY);
		if (fail_fd < 0)
			fail("no fault injection");
	}
	for (i = 0; i < nr; i++) {
		do_op(&ops[i]);
		check_some(&ops[i]);
		if (i % 8 == 7)
			read_vmas();
		if (i % 32 == 31)
			check_levels();
	}
	check_everything(ops[nr - 1].rnd);
	check_levels();
	for (i = 0; i < NR_ARMS; i++)
		if (munmap(base[i] + layout->lo, layout->hi - layout->lo))
			fail("munmap: %s", strerror(errno));
	_exit(0);
}

static bool passes(const struct op *ops, int nr, bool stamped)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid)
		play(ops, nr, stamped);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		ksft_exit_fail_msg("fork: %s\n", strerror(errno));
	if (status && !report->failed) {
		report->failed = true;
		snprintf(report->why, sizeof(report->why), "ended with status 0x%x", status);
	}
	return !report->failed;
}

/* Leave out what it does not take to fail. */
static int shrink(struct op *ops, int nr)
{
	struct op *some = malloc(nr * sizeof(*ops));
	char why[sizeof(report->why)] = "not again";
	int chunk, at, left;

	for (chunk = nr; chunk; chunk = chunk > 1 ? (chunk + 1) / 2 : 0) {
		for (at = 0; at < nr && nr > 1; ) {
			left = nr - at < chunk ? 0 : nr - at - chunk;
			memcpy(some, ops, at * sizeof(*ops));
			memcpy(some + at, ops + nr - left, left * sizeof(*ops));
			report->failed = false;
			if (!(at + left) || passes(some, at + left, false)) {
				at += chunk;
				continue;
			}
			strcpy(why, report->why);
			nr = at + left;
			memcpy(ops, some, nr * sizeof(*ops));
		}
	}
	report->failed = false;
	passes(ops, nr, false);
	ksft_print_msg("%d operations: %s\n", nr, report->failed ? report->why : why);
	free(some);
	return nr;
}

static void print_ops(const struct op *ops, int nr)
{
	int i;

	ksft_print_msg("file at 0x%lx-0x%lx, then\n", layout->start, layout->end);
	for (i = 0; i < nr; i++)
		ksft_print_msg("%s 0x%lx-0x%lx 0x%lx (%d)\n", kinds[ops[i].kind].name,
			       ops[i].start, ops[i].start + ops[i].len, ops[i].to, ops[i].arg);
}

FIXTURE(huge_pfnmap_random)
{
	struct op *ops;
};

FIXTURE_VARIANT(huge_pfnmap_random)
{
	struct layout layout;
	int share;		/* of the operations, in percent */
};

/* A PUD leaf, on both ends of it PMD leaves and PTEs. */
FIXTURE_VARIANT_ADD(huge_pfnmap_random, pud)
{
	.layout = {
		.hi = 3 * SZ_1G,
		.start = SZ_1G - SZ_2M - SZ_4K,
		.end = 2 * SZ_1G + SZ_2M + SZ_4K,
		.other = SZ_1G + 4 * SZ_16M,
		.length = 64,
	},
	.share = 20,
};

/* PMD leaves and PTEs, less to look at and so more often. */
FIXTURE_VARIANT_ADD(huge_pfnmap_random, pmd)
{
	.layout = {
		.lo = SZ_1G,
		.hi = SZ_1G + 4 * SZ_16M,
		.start = SZ_1G + SZ_16M - 2 * SZ_4K,
		.end = SZ_1G + 2 * SZ_16M + 3 * SZ_4K,
		.other = SZ_1G,
		.length = 64,
	},
	.share = 80,
};

static bool has_1g(void)
{
	return !system("grep -qw pdpe1gb /proc/cpuinfo");
}

FIXTURE_SETUP(huge_pfnmap_random)
{
	struct sigaction action = {
		.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	if (variant->layout.hi - variant->layout.lo > SZ_1G && !has_1g())
		SKIP(return, "no leaves of 1G on this CPU");
	layout = &variant->layout;
	ASSERT_EQ(sigaction(SIGSEGV, &action, NULL), 0);
	ASSERT_EQ(sigaction(SIGBUS, &action, NULL), 0);
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(report, MAP_FAILED);
	self->ops = calloc(layout->length, sizeof(*self->ops));
	ASSERT_NE(self->ops, NULL);
}

FIXTURE_TEARDOWN(huge_pfnmap_random)
{
	free(self->ops);
}

TEST_F_TIMEOUT(huge_pfnmap_random, same, 36000)
{
	unsigned long wanted = nr_ops * variant->share / 100, done = 0, sequence = 0;
	int i, nr;

	while (done < wanted) {
		uint64_t rnd = (seed + sequence) * 0x9e3779b97f4a7c15ULL | 1;

		for (i = 0; i < 8; i++)
			next(&rnd);
		for (i = 0; i < layout->length; i++)
			generate(&self->ops[i], &rnd);
		if (!passes(self->ops, layout->length, sequence)) {
			ksft_print_msg("seed %lu, sequence %lu: %s\n", seed, sequence, report->why);
			nr = shrink(self->ops, layout->length);
			print_ops(self->ops, nr);
			ASSERT_FALSE(true);
		}
		done += layout->length;
		sequence++;
	}

	TH_LOG("seed %lu: %lu operations in %lu sequences, %lu signals", seed, done, sequence,
	       report->signals);
	TH_LOG("%lu looks at the levels: %lu ranges of PUD leaves, %lu of PMD leaves, %lu of PTEs",
	       report->checks, report->puds, report->pmds, report->ptes);
	for (i = 0; i < NR_KINDS; i++)
		if (report->succeeded[i])
			TH_LOG("%s: %lu succeeded", kinds[i].name, report->succeeded[i]);
	TH_LOG("%lu times -ENOMEM, and done again", report->failures);

	/* It was about large leaves, and about what happens to them. */
	ASSERT_GE(report->checks, 2 * sequence);
	ASSERT_GE(layout->hi > 2 * SZ_1G ? report->puds : report->pmds, sequence);
	ASSERT_GE(report->pmds, sequence);
	for (i = UNMAP; i <= FILE_PRIVATE; i++)
		ASSERT_GE(report->succeeded[i], sequence / 16)
			TH_LOG("%s", kinds[i].name);
	if (want_failures)
		ASSERT_GE(report->failures, sequence);
}

static bool cpu_has_l1tf(void)
{
	char line[64] = "";
	FILE *f = fopen("/sys/devices/system/cpu/vulnerabilities/l1tf", "r");

	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	return strncmp(line, "Not affected", strlen("Not affected"));
}

static unsigned long parse(const char *arg)
{
	char *end;
	unsigned long val = strtoul(arg ?: "", &end, 0);

	if (!arg || *end || end == arg)
		ksft_exit_fail_msg("--seed and --ops take a number\n");
	return val;
}

int main(int argc, char **argv)
{
	struct test_pfnmap_range range = { };
	const char *file = getenv("HUGE_PFNMAP_FILE");
	int i, left = 1;

	seed = time(NULL);
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed"))
			seed = parse(argv[++i]);
		else if (!strcmp(argv[i], "--ops"))
			nr_ops = parse(argv[++i]);
		else if (!strcmp(argv[i], "--fail"))
			want_failures = true;
		else
			argv[left++] = argv[i];
	}
	argv[left] = NULL;

	if (!file)
		ksft_exit_skip("HUGE_PFNMAP_FILE does not name a file\n");
	if (getenv("HUGE_PFNMAP_OFFSET"))
		file_offset = strtoul(getenv("HUGE_PFNMAP_OFFSET"), NULL, 0);
	fd = open(file, O_RDWR);
	if (fd < 0)
		ksft_exit_fail_msg("%s: %s\n", file, strerror(errno));
	can_unmap = !ioctl(fd, TEST_PFNMAP_UNMAP, &range);
	has_l1tf = cpu_has_l1tf();

	return test_harness_run(left, argv);
}
