// SPDX-License-Identifier: GPL-2.0-only
/*
 * remap_pfn_range() maps large ranges by PMD and PUD leaves. Whatever is done
 * to a part of such a mapping must change that part and nothing else: what is
 * left has to stay mapped, since there may be no fault handler to map it again,
 * and page tables may only grow at the boundaries of the part.
 *
 * The memory is that of a file, 3 GiB that are read as they were written:
 *   HUGE_PFNMAP_FILE    resourceN of a PCI device, /dev/mem, or /dev/test_pfnmap
 *                       of lib/test_pfnmap.c, which some tests are for
 *   HUGE_PFNMAP_OFFSET  where in it, a multiple of 1 GiB (default: 0)
 * and for tests that are skipped without:
 *   HUGE_PFNMAP_TYPE      memory type that it is mapped with
 *   HUGE_PFNMAP_CLAIM     /dev/test_pfnmap, if that has the same memory
 *   HUGE_PFNMAP_BOUNDARY  where in /dev/mem RAM ends, within a page of 2 MiB
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/userfaultfd.h>

#include "../../../../lib/test_pfnmap_uapi.h"
#include "kselftest_harness.h"
#include "vm_util.h"

#define SZ_4K	0x1000UL
#define SZ_2M	0x200000UL
#define SZ_1G	0x40000000UL

/* Far from everything else, so that page tables are not shared. */
#define PLACE		0x100040000000UL
#define OTHER_PLACE	0x180040000000UL

#define PATTERN		0x5a00000000000000UL

static const char *file;
static unsigned long file_offset;
static int fd, mem_fd;

static __thread sigjmp_buf fault_env;

static void fault_handler(int sig)
{
	siglongjmp(fault_env, sig);
}

static long minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt;
}

/* Faults of the loads and stores below, not of what else a thread does. */
static __thread long faults_taken;

/* Load and store return the signal that came of it. */
static int load(char *p, uint64_t *val)
{
	int sig = sigsetjmp(fault_env, 1);

	if (!sig) {
		long before = minor_faults();

		*val = *(volatile uint64_t *)p;
		faults_taken += minor_faults() - before;
	}
	return sig;
}

static int store(char *p, uint64_t val)
{
	int sig = sigsetjmp(fault_env, 1);

	if (!sig) {
		long before = minor_faults();

		*(volatile uint64_t *)p = val;
		faults_taken += minor_faults() - before;
	}
	return sig;
}

/* Bytes in page tables of this process. */
static long tables(void)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPTE: %ld kB", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb * 1024;
}

/* What leaves of each level map, and their memory type if they have but one. */
struct leaves {
	unsigned long pte, pmd, pud;
	char type[16];
};

static bool read_leaves(struct leaves *leaves, char *map, unsigned long len)
{
	unsigned long start, end, from = (unsigned long)map;
	char line[256], type[sizeof(leaves->type)];
	FILE *f = fopen("/sys/kernel/debug/page_tables/current_kernel", "r");

	memset(leaves, 0, sizeof(*leaves));
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "0x%lx-0x%lx", &start, &end) != 2 || !strstr(line, " USR "))
			continue;
		start = start < from ? from : start;
		end = end > from + len ? from + len : end;
		if (start >= end)
			continue;
		if (strstr(line, "pte\n"))
			leaves->pte += end - start;
		if (strstr(line, "pmd\n"))
			leaves->pmd += end - start;
		if (strstr(line, "pud\n"))
			leaves->pud += end - start;
		sprintf(type, "%s%s%s.", strstr(line, " PWT") ? "PWT" : "",
			strstr(line, " PCD") ? "PCD" : "", strstr(line, " PAT") ? "PAT" : "");
		if (!leaves->type[0])
			strcpy(leaves->type, type);
		else if (strcmp(leaves->type, type))
			strcpy(leaves->type, "various");
	}
	if (f)
		fclose(f);
	return f;
}

/* How many memory ranges are tracked with a type. */
static int tracked(const char *type)
{
	FILE *f = fopen("/sys/kernel/debug/x86/pat_memtype_list", "r");
	char line[128];
	int n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		char *end = strstr(line, "] ");

		n += end && !strncmp(end + 2, type, strlen(type)) && end[2 + strlen(type)] == '\n';
	}
	if (f)
		fclose(f);
	return f ? n : -1;
}

/* A part of the mapping, counted from where its whole gigabyte begins. */
struct cut {
	unsigned long start, len;
};

static const struct cut cuts[] = {
	{ SZ_1G / 2 + SZ_4K, SZ_4K },
	{ SZ_1G / 2, SZ_2M },
	{ SZ_1G / 4, SZ_1G / 2 },
	{ SZ_1G / 2 + SZ_2M - SZ_4K, 2 * SZ_4K },
	{ 0, SZ_4K },
	{ SZ_1G - SZ_4K, SZ_4K },
	{ SZ_4K, SZ_1G - 2 * SZ_4K },
	{ SZ_1G / 2 - SZ_4K, SZ_2M },
};

#define for_each_cut(cut) \
	for (cut = cuts; cut < cuts + ARRAY_SIZE(cuts); cut++)

FIXTURE(huge_pfnmap)
{
	char *map;
	unsigned long len, lead;
	unsigned long mode;		/* of the test module */
	unsigned long pages[64];	/* those that are looked at */
	int nr_pages;
	long tables;			/* before there was a mapping */
	pthread_t thread;
	const struct cut *cut;
	atomic_bool stop;
	atomic_int sig;
	atomic_ulong rounds;
};

/*
 * @skew is how far the virtual address is off the place where it could be
 * mapped by 1G leaves, @lead what is mapped before and after the gigabyte, and
 * @tables the size of the page tables that all this takes.
 */
FIXTURE_VARIANT(huge_pfnmap)
{
	unsigned long skew, lead;
	long tables;
};

FIXTURE_VARIANT_ADD(huge_pfnmap, pud)
{
	.tables = SZ_4K,
};

FIXTURE_VARIANT_ADD(huge_pfnmap, pmd)
{
	.skew = SZ_2M,
	.tables = 3 * SZ_4K,
};

FIXTURE_VARIANT_ADD(huge_pfnmap, mixed)
{
	.lead = SZ_2M + SZ_4K,
	.tables = 5 * SZ_4K,
};

static uint64_t stamp(FIXTURE_DATA(huge_pfnmap) *self, unsigned long off)
{
	return PATTERN + (off - self->lead);
}

static bool in_cut(FIXTURE_DATA(huge_pfnmap) *self, const struct cut *cut, unsigned long off)
{
	return cut && off - (self->lead + cut->start) < cut->len;
}

static void map_only(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self,
		     const FIXTURE_VARIANT(huge_pfnmap) *variant, int flags)
{
	self->tables = tables();
	self->map = mmap((void *)(PLACE - variant->lead + variant->skew), self->len,
			 PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, fd,
			 self->mode * TEST_PFNMAP_MODE + file_offset + SZ_1G - variant->lead);
	ASSERT_NE(self->map, MAP_FAILED);
}

static void map_file(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self,
		     const FIXTURE_VARIANT(huge_pfnmap) *variant)
{
	int i;

	map_only(_metadata, self, variant, MAP_SHARED);
	ASSERT_LE(tables() - self->tables, variant->tables);

	for (i = 0; i < self->nr_pages; i++)
		ASSERT_EQ(store(self->map + self->pages[i],
				stamp(self, self->pages[i])), 0);
}

static void unmap_file(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self)
{
	ASSERT_EQ(munmap(self->map, self->len), 0);
	EXPECT_EQ(tables(), self->tables);
}

static bool has_1g(void)
{
	return !system("grep -qw pdpe1gb /proc/cpuinfo");
}

static void *first_thread(void *arg)
{
	uint64_t val;

	load(arg, &val);
	return NULL;
}

FIXTURE_SETUP(huge_pfnmap)
{
	static const unsigned long around[] = {
		SZ_4K, SZ_2M, SZ_1G / 4, SZ_1G / 2, SZ_1G / 2 + SZ_2M,
		3 * SZ_1G / 4, SZ_1G - SZ_2M,
	};
	struct sigaction action = { .sa_handler = fault_handler };
	unsigned long last;
	int i;

	if (!variant->skew && !has_1g())
		SKIP(return, "no leaves of 1G on this CPU");
	/* The page tables that code and data need, and a thread's stack, which stays. */
	ASSERT_EQ(mlockall(MCL_CURRENT), 0);
	ASSERT_EQ(munlockall(), 0);
	ASSERT_EQ(pthread_create(&self->thread, NULL, first_thread, self->pages), 0);
	ASSERT_EQ(pthread_join(self->thread, NULL), 0);

	mem_fd = open("/proc/self/mem", O_RDONLY);
	ASSERT_GE(mem_fd, 0);
	ASSERT_EQ(sigaction(SIGSEGV, &action, NULL), 0);
	ASSERT_EQ(sigaction(SIGBUS, &action, NULL), 0);

	self->lead = variant->lead;
	self->len = SZ_1G + 2 * variant->lead;
	last = self->len - SZ_4K;

	for (i = 0; i < ARRAY_SIZE(around); i++) {
		unsigned long off = self->lead + around[i];

		self->pages[self->nr_pages++] = off - SZ_4K;
		self->pages[self->nr_pages++] = off;
		self->pages[self->nr_pages++] = off + SZ_4K;
		self->pages[self->nr_pages++] = off + 2 * SZ_4K;
	}
	if (self->lead) {
		self->pages[self->nr_pages++] = 0;
		self->pages[self->nr_pages++] = last;
	}
	self->pages[self->nr_pages++] = last - self->lead;
}

FIXTURE_TEARDOWN(huge_pfnmap)
{
	close(mem_fd);
}

enum state { GONE, READ_ONLY, READ_WRITE };

static void check_page(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self,
		       char *p, unsigned long off, enum state state)
{
	uint64_t val = 0;

	ASSERT_EQ(load(p, &val), state >= READ_ONLY ? 0 : SIGSEGV)
		TH_LOG("load at offset 0x%lx", off);
	if (state >= READ_ONLY)
		ASSERT_EQ(val, stamp(self, off))
			TH_LOG("at offset 0x%lx", off);
	ASSERT_EQ(store(p, stamp(self, off)), state >= READ_WRITE ? 0 : SIGSEGV)
		TH_LOG("store at offset 0x%lx", off);
}

/* What is not in @cut must still be mapped, at @map: it takes no fault. */
static void check_rest(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self,
		       char *map, const struct cut *cut)
{
	unsigned long off;
	uint64_t val;
	int i;

	faults_taken = 0;
	for (off = 0; off < self->len; off += SZ_2M)
		if (!in_cut(self, cut, off))
			ASSERT_EQ(load(map + off, &val), 0)
				TH_LOG("offset 0x%lx", off);
	for (i = 0; i < self->nr_pages; i++)
		if (!in_cut(self, cut, self->pages[i]))
			check_page(_metadata, self, map + self->pages[i],
				   self->pages[i], READ_WRITE);
	EXPECT_EQ(faults_taken, 0);
}

/* The pages in @cut are @state at @map. */
static void check_cut(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self,
		      char *map, const struct cut *cut, enum state state)
{
	int i;

	for (i = 0; i < self->nr_pages; i++)
		if (in_cut(self, cut, self->pages[i]))
			check_page(_metadata, self, map + self->pages[i],
				   self->pages[i], state);
}

static void check_gone(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self,
		       char *map, const struct cut *cut, int sig)
{
	uint64_t val;
	int i;

	for (i = 0; i < self->nr_pages; i++)
		if (in_cut(self, cut, self->pages[i]))
			ASSERT_EQ(load(map + self->pages[i], &val), sig)
				TH_LOG("offset 0x%lx", self->pages[i]);
}

/* Page tables that it takes to have VMA boundaries at both ends of @cut. */
static long cut_tables(const struct cut *cut, const FIXTURE_VARIANT(huge_pfnmap) *variant)
{
	unsigned long a = cut->start, b = cut->start + cut->len;
	long nr = 0;

	if (!variant->skew && (a % SZ_1G || b % SZ_1G))
		nr++;
	if (a % SZ_2M)
		nr++;
	if (b % SZ_2M && (!(a % SZ_2M) || a / SZ_2M != b / SZ_2M))
		nr++;
	return nr * SZ_4K;
}

/* Uses what is not in the cut all the time, in all ways that there are. */
static void *hammer(void *arg)
{
	FIXTURE_DATA(huge_pfnmap) *self = arg;
	uint64_t val;
	int i, sig;

	while (!self->stop) {
		for (i = 0; i < self->nr_pages; i++) {
			unsigned long off = self->pages[i];
			char *p = self->map + off;

			if (in_cut(self, self->cut, off))
				continue;
			sig = load(p, &val);
			if (!sig && val != stamp(self, off))
				sig = -1;
			if (!sig)
				sig = store(p, stamp(self, off));
			if (!sig && (pread(mem_fd, &val, sizeof(val), (off_t)p) !=
				     sizeof(val) || val != stamp(self, off)))
				sig = -2;
			if (sig)
				self->sig = sig;
		}
		self->rounds++;
	}
	return NULL;
}

static void hammer_wait(FIXTURE_DATA(huge_pfnmap) *self)
{
	unsigned long rounds = self->rounds;

	while (self->rounds < rounds + 2)
		sched_yield();
}

static void hammer_start(struct __test_metadata *_metadata,
			 FIXTURE_DATA(huge_pfnmap) *self, const struct cut *cut)
{
	self->cut = cut;
	self->stop = false;
	self->sig = 0;
	self->rounds = 0;
	ASSERT_EQ(pthread_create(&self->thread, NULL, hammer, self), 0);
	hammer_wait(self);
}

static void hammer_stop(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self)
{
	hammer_wait(self);
	self->stop = true;
	pthread_join(self->thread, NULL);
	EXPECT_EQ(self->sig, 0);
}

#define CUT_ADDR	(self->map + self->lead + cut->start)

TEST_F(huge_pfnmap, munmap)
{
	const struct cut *cut;
	long before;

	for_each_cut(cut) {
		map_file(_metadata, self, variant);
		hammer_start(_metadata, self, cut);
		before = tables();
		ASSERT_EQ(munmap(CUT_ADDR, cut->len), 0);
		EXPECT_LE(tables() - before, cut_tables(cut, variant));
		hammer_stop(_metadata, self);
		check_rest(_metadata, self, self->map, cut);
		check_cut(_metadata, self, self->map, cut, GONE);
		unmap_file(_metadata, self);
	}
}

TEST_F(huge_pfnmap, mprotect)
{
	const struct cut *cut;
	long before;

	for_each_cut(cut) {
		map_file(_metadata, self, variant);
		hammer_start(_metadata, self, cut);
		before = tables();
		ASSERT_EQ(mprotect(CUT_ADDR, cut->len, PROT_READ), 0);
		check_cut(_metadata, self, self->map, cut, READ_ONLY);
		ASSERT_EQ(mprotect(CUT_ADDR, cut->len, PROT_NONE), 0);
		check_cut(_metadata, self, self->map, cut, GONE);
		ASSERT_EQ(mprotect(CUT_ADDR, cut->len, PROT_READ | PROT_WRITE), 0);
		check_cut(_metadata, self, self->map, cut, READ_WRITE);
		EXPECT_LE(tables() - before, cut_tables(cut, variant));
		hammer_stop(_metadata, self);
		check_rest(_metadata, self, self->map, NULL);
		unmap_file(_metadata, self);
	}
}

/* The leaves become read-only and have to be made writable where they are. */
TEST_F(huge_pfnmap, mprotect_all)
{
	const struct cut all = { -self->lead, self->len };
	long before;

	map_file(_metadata, self, variant);
	before = tables();
	ASSERT_EQ(mprotect(self->map, self->len, PROT_NONE), 0);
	ASSERT_EQ(mprotect(self->map, self->len, PROT_READ), 0);
	check_cut(_metadata, self, self->map, &all, READ_ONLY);
	ASSERT_EQ(mprotect(self->map, self->len, PROT_READ | PROT_WRITE), 0);
	check_cut(_metadata, self, self->map, &all, READ_WRITE);
	EXPECT_EQ(tables(), before);
	check_rest(_metadata, self, self->map, NULL);
	unmap_file(_metadata, self);
}

/* As above, but for the kernel wanting to know which pages are written to. */
TEST_F(huge_pfnmap, soft_dirty)
{
	const struct cut *cut = &cuts[0];
	long before;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty");

	map_file(_metadata, self, variant);
	clear_softdirty();
	hammer_start(_metadata, self, cut);
	before = tables();
	ASSERT_EQ(mprotect(CUT_ADDR, cut->len, PROT_READ), 0);
	ASSERT_EQ(mprotect(CUT_ADDR, cut->len, PROT_READ | PROT_WRITE), 0);
	check_cut(_metadata, self, self->map, cut, READ_WRITE);
	EXPECT_LE(tables() - before, cut_tables(cut, variant));
	hammer_stop(_metadata, self);

	before = tables();
	clear_softdirty();
	ASSERT_EQ(mprotect(self->map, self->len, PROT_READ), 0);
	ASSERT_EQ(mprotect(self->map, self->len, PROT_READ | PROT_WRITE), 0);
	check_cut(_metadata, self, self->map, cut, READ_WRITE);
	EXPECT_EQ(tables(), before);
	unmap_file(_metadata, self);
}

TEST_F(huge_pfnmap, mremap_whole)
{
	static const unsigned long skews[] = { 0, SZ_2M, SZ_4K };
	char *to;
	int i;

	for (i = 0; i < ARRAY_SIZE(skews); i++) {
		map_file(_metadata, self, variant);
		to = self->map + OTHER_PLACE - PLACE + skews[i];
		ASSERT_EQ(mremap(self->map, self->len, self->len,
				 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
		if (!skews[i])
			EXPECT_LE(tables() - self->tables, variant->tables);
		check_rest(_metadata, self, to, NULL);
		self->map = to;
		unmap_file(_metadata, self);
	}
}

TEST_F_TIMEOUT(huge_pfnmap, mremap_part, 300)
{
	static const unsigned long skews[] = { 0, SZ_2M, SZ_4K };
	const struct cut *cut;
	char *to;
	int i;

	for (i = 0; i < ARRAY_SIZE(skews); i++) {
		for_each_cut(cut) {
			map_file(_metadata, self, variant);
			hammer_start(_metadata, self, cut);
			to = CUT_ADDR + OTHER_PLACE - PLACE + skews[i];
			ASSERT_EQ(mremap(CUT_ADDR, cut->len, cut->len,
					 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
			hammer_stop(_metadata, self);
			check_rest(_metadata, self, self->map, cut);
			check_cut(_metadata, self, self->map, cut, GONE);
			check_cut(_metadata, self, to - (CUT_ADDR - self->map), cut, READ_WRITE);
			ASSERT_EQ(munmap(to, cut->len), 0);
			unmap_file(_metadata, self);
		}
	}
}

TEST_F(huge_pfnmap, mremap_shrink)
{
	const struct cut cut = { SZ_1G / 2 + SZ_4K, SZ_1G };
	unsigned long len = self->lead + cut.start;

	map_file(_metadata, self, variant);
	hammer_start(_metadata, self, &cut);
	ASSERT_EQ(mremap(self->map, self->len, len, 0), self->map);
	hammer_stop(_metadata, self);
	check_rest(_metadata, self, self->map, &cut);
	check_cut(_metadata, self, self->map, &cut, GONE);
	unmap_file(_metadata, self);
}

/* What looks at leaves, or concerns all of the mapping, does not split them. */
TEST_F_TIMEOUT(huge_pfnmap, left_alone, 300)
{
	static const char * const files[] = { "smaps", "smaps_rollup", "numa_maps" };
	static char buf[SZ_1G / SZ_4K];
	unsigned long node0 = 1;
	char path[32];
	long before;
	int i, f;

	map_file(_metadata, self, variant);
	hammer_start(_metadata, self, NULL);
	before = tables();
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", files[i]);
		f = open(path, O_RDONLY);
		ASSERT_GE(f, 0);
		while (read(f, buf, sizeof(buf)) > 0)
			;
		close(f);
	}
	ASSERT_EQ(mincore(self->map, SZ_1G, (void *)buf), 0);
	ASSERT_EQ(syscall(__NR_mbind, self->map, self->len, MPOL_BIND, &node0,
			  8 * sizeof(node0), MPOL_MF_STRICT), 0);
	ASSERT_EQ(madvise(self->map, self->len, MADV_RANDOM), 0);
	ASSERT_EQ(madvise(self->map, self->len, MADV_WILLNEED), 0);
	ASSERT_EQ(msync(self->map, self->len, MS_ASYNC), 0);
	ASSERT_NE(madvise(self->map, self->len, MADV_PAGEOUT), 0);
	EXPECT_EQ(tables(), before);
	hammer_stop(_metadata, self);
	check_rest(_metadata, self, self->map, NULL);
	unmap_file(_metadata, self);
}

TEST_F(huge_pfnmap, map_fixed)
{
	const struct cut *cut;
	uint64_t val;
	int i;

	for_each_cut(cut) {
		map_file(_metadata, self, variant);
		hammer_start(_metadata, self, cut);
		ASSERT_EQ(mmap(CUT_ADDR, cut->len, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), CUT_ADDR);
		hammer_stop(_metadata, self);
		check_rest(_metadata, self, self->map, cut);
		for (i = 0; i < self->nr_pages; i++)
			if (in_cut(self, cut, self->pages[i])) {
				ASSERT_EQ(load(self->map + self->pages[i], &val), 0);
				ASSERT_EQ(val, 0);
			}
		unmap_file(_metadata, self);
	}
}

static void check_child(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self,
			const struct cut *cut)
{
	long parent = tables();
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		check_cut(_metadata, self, self->map, cut, GONE);
		check_rest(_metadata, self, self->map, cut);
		EXPECT_LE(tables(), parent + 2 * SZ_4K);
		_exit(_metadata->exit_code == KSFT_FAIL);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
}

TEST_F(huge_pfnmap, fork)
{
	const struct cut *cut;

	for_each_cut(cut) {
		map_file(_metadata, self, variant);
		check_child(_metadata, self, NULL);
		check_rest(_metadata, self, self->map, NULL);
		ASSERT_EQ(madvise(CUT_ADDR, cut->len, MADV_DONTFORK), 0);
		check_child(_metadata, self, cut);
		check_rest(_metadata, self, self->map, NULL);
		unmap_file(_metadata, self);
	}
}

/* Nobody may take over the faults of such a mapping, in whole or in part. */
TEST_F(huge_pfnmap, userfaultfd)
{
	static const unsigned long modes[] = {
		UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP,
		UFFDIO_REGISTER_MODE_MINOR,
	};
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { };
	const struct cut *cut;
	long before;
	int uffd, i;
	char *ram;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	ASSERT_GE(uffd, 0);
	ASSERT_EQ(ioctl(uffd, UFFDIO_API, &api), 0);

	/* It is not that nothing can be registered. */
	ram = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(ram, MAP_FAILED);
	reg.range.start = (unsigned long)ram;
	reg.range.len = SZ_4K;
	reg.mode = UFFDIO_REGISTER_MODE_MISSING;
	ASSERT_EQ(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);

	map_file(_metadata, self, variant);
	before = tables();
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		for_each_cut(cut) {
			reg.range.start = (unsigned long)CUT_ADDR;
			reg.range.len = cut->len;
			reg.mode = modes[i];
			EXPECT_EQ(ioctl(uffd, UFFDIO_REGISTER, &reg), -1);
			EXPECT_EQ(errno, EINVAL)
				TH_LOG("mode %lu", modes[i]);
		}
	}
	EXPECT_EQ(tables(), before);
	check_rest(_metadata, self, self->map, NULL);
	unmap_file(_metadata, self);
	munmap(ram, SZ_4K);
	close(uffd);
}

/* There is no page for which GUP could take a reference. */
TEST_F(huge_pfnmap, gup)
{
	struct iovec iov = { }, ram;
	char buf[8];
	const struct cut *cut;
	long before;
	int fds[2];

	ASSERT_EQ(pipe(fds), 0);
	ram.iov_base = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ram.iov_len = sizeof(buf);
	ASSERT_NE(ram.iov_base, MAP_FAILED);

	/* It is not that nothing can be taken. */
	ASSERT_EQ(vmsplice(fds[1], &ram, 1, 0), sizeof(buf));
	ASSERT_EQ(read(fds[0], buf, sizeof(buf)), sizeof(buf));

	map_file(_metadata, self, variant);
	before = tables();
	for_each_cut(cut) {
		iov.iov_base = CUT_ADDR;
		iov.iov_len = sizeof(buf);
		EXPECT_EQ(vmsplice(fds[1], &iov, 1, 0), -1);
		EXPECT_EQ(errno, EFAULT);
		if (process_vm_readv(getpid(), &ram, 1, &ram, 1, 0) < 0)
			continue;
		EXPECT_EQ(process_vm_readv(getpid(), &ram, 1, &iov, 1, 0), -1);
		EXPECT_EQ(errno, EFAULT);
		EXPECT_EQ(process_vm_writev(getpid(), &ram, 1, &iov, 1, 0), -1);
		EXPECT_EQ(errno, EFAULT);
	}
	EXPECT_EQ(tables(), before);
	check_rest(_metadata, self, self->map, NULL);
	unmap_file(_metadata, self);
	munmap(ram.iov_base, SZ_4K);
	close(fds[0]);
	close(fds[1]);
}

/* A driver unmaps a part, in two processes. */
TEST_F(huge_pfnmap, unmap_mapping_range)
{
	struct test_pfnmap_range range = { };
	const struct cut *cut;
	int go[2], status;
	long before;
	pid_t pid;
	char c;

	if (ioctl(fd, TEST_PFNMAP_UNMAP, &range))
		SKIP(return, "not the test module");

	for_each_cut(cut) {
		map_file(_metadata, self, variant);
		ASSERT_EQ(pipe(go), 0);
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			close(go[1]);
			if (read(go[0], &c, 1) < 0)
				_exit(1);
			check_rest(_metadata, self, self->map, cut);
			check_gone(_metadata, self, self->map, cut, SIGBUS);
			_exit(_metadata->exit_code == KSFT_FAIL);
		}
		hammer_start(_metadata, self, cut);
		before = tables();
		range.offset = file_offset + SZ_1G + cut->start;
		range.len = cut->len;
		ASSERT_EQ(ioctl(fd, TEST_PFNMAP_UNMAP, &range), 0);
		EXPECT_LE(tables() - before, cut_tables(cut, variant));
		hammer_stop(_metadata, self);
		close(go[0]);
		close(go[1]);
		check_rest(_metadata, self, self->map, cut);
		check_gone(_metadata, self, self->map, cut, SIGBUS);
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT_EQ(status, 0);
		unmap_file(_metadata, self);
	}
}

/* A parameter of the module call_delay, see selftests/vfio */
static int delay_parameter(const char *name, int value)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/call_delay/parameters/%s", name);
	f = fopen(path, value ? "w" : "r");
	if (!f)
		return -1;
	if (value ? fprintf(f, "%d", value) < 0 : fscanf(f, "%d", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

/* A process that unmaps a range while call_delay holds another process. */
static pid_t fork_unmapper(struct test_pfnmap_range *range)
{
	pid_t pid = fork();
	int bad;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!delay_parameter("begun", 0))
		;
	bad = ioctl(fd, TEST_PFNMAP_UNMAP, range) || delay_parameter("ended", 0);
	_exit(bad || delay_parameter("release", 1 << 30) < 0);
}

/*
 * A driver unmaps a page of a leaf, which splits it, while fork() is about to
 * copy the leaf: what else the leaf maps must be copied. The module call_delay
 * holds fork() there, with func=copy_huge_pmd comm=copying entry=1
 */
TEST_F(huge_pfnmap, fork_race)
{
	static const struct cut gone = { SZ_4K, SZ_4K };
	struct test_pfnmap_range range = { };
	pid_t unmapper, pid;
	int status;

	if (ioctl(fd, TEST_PFNMAP_UNMAP, &range) || delay_parameter("begun", 0) < 0)
		SKIP(return, "not the test module, or no call_delay");
	if (!variant->skew)
		SKIP(return, "no leaf of 2M there");
	map_file(_metadata, self, variant);
	range.offset = file_offset + SZ_1G + gone.start;
	range.len = gone.len;
	unmapper = fork_unmapper(&range);
	ASSERT_GE(unmapper, 0);
	prctl(PR_SET_NAME, "copying");
	pid = fork();
	prctl(PR_SET_NAME, "copied");
	ASSERT_GE(pid, 0);
	if (!pid) {
		check_rest(_metadata, self, self->map, &gone);
		check_gone(_metadata, self, self->map, &gone, SIGBUS);
		_exit(_metadata->exit_code == KSFT_FAIL);
	}
	ASSERT_EQ(waitpid(unmapper, &status, 0), unmapper);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	check_rest(_metadata, self, self->map, &gone);
	unmap_file(_metadata, self);
}

/*
 * remap_pfn_range() finds a leaf where it would map PTEs, and no more of it when
 * it looks for the reason: that is a race, as if the leaf was still there, and
 * no lack of memory. The module call_delay holds it in between, with
 * func=pte_offset_map_lock caller=remap_pte_range comm=remapping
 */
TEST_F(huge_pfnmap, remap_race)
{
	const unsigned long mode = TEST_PFNMAP_FAULT * TEST_PFNMAP_MODE;
	struct test_pfnmap_range part = { mode + file_offset + SZ_1G + SZ_1G / 2, SZ_2M };
	struct test_pfnmap_range all = { mode + file_offset + SZ_1G, SZ_1G };
	char *p;
	uint64_t val;
	pid_t unmapper;
	int status, races = ioctl(fd, TEST_PFNMAP_RACES);

	if (races < 0 || delay_parameter("begun", 0) < 0)
		SKIP(return, "not the test module, or no call_delay");
	if (!self->lead)
		SKIP(return, "a fault maps but one leaf there");
	self->mode = TEST_PFNMAP_FAULT;
	map_only(_metadata, self, variant, MAP_SHARED);
	p = self->map + self->lead + SZ_1G / 2;
	ASSERT_EQ(store(p, PATTERN), 0);
	ASSERT_EQ(ioctl(fd, TEST_PFNMAP_UNMAP, &part), 0);
	unmapper = fork_unmapper(&all);
	ASSERT_GE(unmapper, 0);
	prctl(PR_SET_NAME, "remapping");
	ASSERT_EQ(load(p, &val), 0);
	EXPECT_EQ(val, PATTERN);
	ASSERT_EQ(waitpid(unmapper, &status, 0), unmapper);
	ASSERT_EQ(status, 0);
	EXPECT_EQ(ioctl(fd, TEST_PFNMAP_RACES), races + 1);
	unmap_file(_metadata, self);
}

/* Another driver claims a part, then all, of what is mapped by /dev/mem. */
TEST_F_TIMEOUT(huge_pfnmap, revoke, 300)
{
	const struct cut all = { -self->lead, self->len };
	const char *claim = getenv("HUGE_PFNMAP_CLAIM");
	struct test_pfnmap_range range;
	const struct cut *cut;
	struct leaves leaves;
	int claim_fd;
	long before;

	if (!claim)
		SKIP(return, "no HUGE_PFNMAP_CLAIM");

	for_each_cut(cut) {
		claim_fd = open(claim, O_RDWR);
		ASSERT_GE(claim_fd, 0);
		map_file(_metadata, self, variant);
		hammer_start(_metadata, self, cut);
		before = tables();
		range.offset = SZ_1G + cut->start;
		range.len = cut->len;
		ASSERT_EQ(ioctl(claim_fd, TEST_PFNMAP_CLAIM, &range), 0);
		EXPECT_LE(tables() - before, cut_tables(cut, variant));
		hammer_stop(_metadata, self);
		check_rest(_metadata, self, self->map, cut);
		check_gone(_metadata, self, self->map, cut, SIGBUS);

		range.offset = SZ_1G - self->lead;
		range.len = self->len;
		ASSERT_EQ(ioctl(claim_fd, TEST_PFNMAP_CLAIM, &range), 0);
		check_gone(_metadata, self, self->map, &all, SIGBUS);
		ASSERT_TRUE(read_leaves(&leaves, self->map, self->len));
		EXPECT_EQ(leaves.pte + leaves.pmd + leaves.pud, 0);
		unmap_file(_metadata, self);
		close(claim_fd);
	}
}

/* Two threads fault at the same time, each maps the same. */
#define RACE_ROUNDS	100

static pthread_barrier_t race_barrier;

static int race(FIXTURE_DATA(huge_pfnmap) *self, unsigned long off, bool unmap)
{
	struct test_pfnmap_range range = {
		.offset = self->mode * TEST_PFNMAP_MODE + file_offset + SZ_1G - self->lead,
		.len = self->len,
	};
	uint64_t val;
	int i, sig = 0;

	/* All rounds whatever comes: the other thread waits at the barriers. */
	for (i = 0; i < RACE_ROUNDS; i++) {
		pthread_barrier_wait(&race_barrier);
		sig = sig ?: store(self->map + off, i);
		sig = sig ?: load(self->map + off, &val);
		sig = sig ?: val == i ? 0 : -1;
		pthread_barrier_wait(&race_barrier);
		if (unmap && ioctl(fd, TEST_PFNMAP_UNMAP, &range))
			sig = -2;
	}
	return sig;
}

static void *race_thread(void *arg)
{
	FIXTURE_DATA(huge_pfnmap) *self = arg;

	self->sig = race(self, self->lead % SZ_2M + SZ_1G / 2 + SZ_4K, false);
	return NULL;
}

TEST_F_TIMEOUT(huge_pfnmap, fault_race, 300)
{
	int races = ioctl(fd, TEST_PFNMAP_RACES);

	if (races < 0)
		SKIP(return, "not the test module");

	self->mode = TEST_PFNMAP_FAULT;
	map_only(_metadata, self, variant, MAP_SHARED);
	ASSERT_EQ(pthread_barrier_init(&race_barrier, NULL, 2), 0);
	ASSERT_EQ(pthread_create(&self->thread, NULL, race_thread, self), 0);
	EXPECT_EQ(race(self, self->lead % SZ_2M + SZ_1G / 2, true), 0);
	ASSERT_EQ(pthread_join(self->thread, NULL), 0);
	EXPECT_EQ(self->sig, 0);
	races = ioctl(fd, TEST_PFNMAP_RACES) - races;
	TH_LOG("%d races in %d rounds", races, RACE_ROUNDS);
	EXPECT_GT(races, 0);
	unmap_file(_metadata, self);
}

static void check_type(struct __test_metadata *_metadata, char *map, unsigned long len,
		       const char *type, unsigned long gone)
{
	struct leaves leaves;

	ASSERT_TRUE(read_leaves(&leaves, map, len));
	EXPECT_EQ(leaves.pte + leaves.pmd + leaves.pud, len - gone);
	EXPECT_STREQ(leaves.type, type);
}

/* The bits of a memory type are not all in the same place at each level. */
TEST_F_TIMEOUT(huge_pfnmap, memory_type, 300)
{
	static const struct {
		const char *name, *bits;
		unsigned long mode;
	} types[] = {
		{ "write-back", "." },
		{ "uncached-minus", "PCD." },
		{ "write-combining", "PWT." },
		{ "write-combining", "PWT.", TEST_PFNMAP_WC },
		{ "write-through", "PWTPCDPAT.", TEST_PFNMAP_WT },
	};
	const char *type = getenv("HUGE_PFNMAP_TYPE");
	const bool module = ioctl(fd, TEST_PFNMAP_RACES) >= 0;
	int i, nr, done = 0;
	const struct cut *cut;
	char *to;

	if (!type)
		SKIP(return, "no HUGE_PFNMAP_TYPE");

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].mode ? !module : strcmp(types[i].name, type))
			continue;
		self->mode = types[i].mode;
		nr = tracked(types[i].name);
		ASSERT_GE(nr, 0);
		for (cut = cuts; cut < cuts + 3; cut++) {
			map_file(_metadata, self, variant);
			EXPECT_EQ(tracked(types[i].name), nr + 1);
			check_type(_metadata, self->map, self->len, types[i].bits, 0);
			ASSERT_EQ(mprotect(CUT_ADDR, cut->len, PROT_READ), 0);
			check_type(_metadata, self->map, self->len, types[i].bits, 0);
			ASSERT_EQ(munmap(CUT_ADDR, cut->len), 0);
			check_type(_metadata, self->map, self->len, types[i].bits, cut->len);
			check_rest(_metadata, self, self->map, cut);
			EXPECT_EQ(tracked(types[i].name), nr + 1);
			unmap_file(_metadata, self);
			EXPECT_EQ(tracked(types[i].name), nr);
		}
		map_file(_metadata, self, variant);
		to = self->map + OTHER_PLACE - PLACE + SZ_4K;
		ASSERT_EQ(mremap(self->map, self->len, self->len,
				 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
		self->map = to;
		check_type(_metadata, self->map, self->len, types[i].bits, 0);
		unmap_file(_metadata, self);
		done++;
	}
	ASSERT_EQ(done, module ? 3 : 1);
}

/* A write copies a page, so there are pages. */
TEST_F_TIMEOUT(huge_pfnmap, private, 300)
{
	const struct cut *cut = &cuts[2];
	struct leaves leaves;
	uint64_t val;
	int i;

	map_file(_metadata, self, variant);
	unmap_file(_metadata, self);

	map_only(_metadata, self, variant, MAP_PRIVATE);
	ASSERT_TRUE(read_leaves(&leaves, self->map, self->len));
	EXPECT_EQ(leaves.pte, self->len);
	for (i = 0; i < self->nr_pages; i++) {
		char *p = self->map + self->pages[i];

		ASSERT_EQ(load(p, &val), 0);
		ASSERT_EQ(val, stamp(self, self->pages[i]));
		ASSERT_EQ(store(p, ~val), 0);
		ASSERT_EQ(load(p, &val), 0);
		ASSERT_EQ(val, ~stamp(self, self->pages[i]));
	}
	ASSERT_EQ(munmap(CUT_ADDR, cut->len), 0);
	check_gone(_metadata, self, self->map, cut, SIGSEGV);
	unmap_file(_metadata, self);

	map_only(_metadata, self, variant, MAP_SHARED);
	check_rest(_metadata, self, self->map, NULL);
	unmap_file(_metadata, self);
}

/* A driver remaps what is mapped: the module looks at what that leaves. */
TEST_F(huge_pfnmap, remap_again)
{
	struct test_pfnmap_range range = { };
	unsigned long mode;

	if (ioctl(fd, TEST_PFNMAP_UNMAP, &range))
		SKIP(return, "not the test module");

	self->tables = tables();
	for (mode = TEST_PFNMAP_TWICE; mode <= TEST_PFNMAP_MIDWAY; mode++) {
		ASSERT_EQ(mmap((void *)(PLACE - variant->lead + variant->skew), self->len,
			       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd,
			       mode * TEST_PFNMAP_MODE + SZ_1G - variant->lead), MAP_FAILED);
		EXPECT_EQ(errno, EBUSY)
			TH_LOG("mode %lu", mode);
		EXPECT_EQ(tables(), self->tables);
	}
}

/*
 * Let the first, second... allocation of an operation fail, until it does not
 * have that many. The operation fails with -ENOMEM then and has done nothing,
 * or it has found another way.
 */
static int op_munmap(char *p, unsigned long len)
{
	return munmap(p, len);
}

static int op_mprotect(char *p, unsigned long len)
{
	return mprotect(p, len, PROT_NONE);
}

static int op_mremap(char *p, unsigned long len)
{
	char *to = (char *)OTHER_PLACE;

	return mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ? 0 : -1;
}

static int op_shrink(char *p, unsigned long len)
{
	p -= SZ_2M;
	return mremap(p, SZ_2M + len, SZ_2M, 0) == p ? 0 : -1;
}

static int (* const ops[])(char *p, unsigned long len) = {
	op_munmap, op_mprotect, op_mremap, op_shrink,
};

static bool write_to(const char *path, const char *val)
{
	int f = open(path, O_WRONLY);
	bool done = f >= 0 && write(f, val, strlen(val)) == (ssize_t)strlen(val);

	close(f);
	return done;
}

static void check_moved(struct __test_metadata *_metadata, FIXTURE_DATA(huge_pfnmap) *self,
			const struct cut *cut)
{
	uint64_t val;
	int i;

	for (i = 0; i < self->nr_pages; i++)
		if (in_cut(self, cut, self->pages[i]))
			ASSERT_NE(load(self->map + self->pages[i], &val), 0)
				TH_LOG("offset 0x%lx", self->pages[i]);
}

TEST_F_TIMEOUT(huge_pfnmap, allocation_failures, 600)
{
	const struct cut *cut = &cuts[0];
	int nth, op, f, ret, err, failed;
	char buf[16];

	if (!write_to("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N") ||
	    !write_to("/sys/kernel/debug/fail_page_alloc/min-order", "0") ||
	    !write_to("/sys/kernel/debug/failslab/ignore-gfp-wait", "N"))
		SKIP(return, "no fault injection");
	write_to("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	write_to("/sys/kernel/debug/failslab/verbose", "0");

	for (op = 0; op < ARRAY_SIZE(ops); op++) {
		failed = 0;
		for (nth = 1; ; nth++) {
			map_file(_metadata, self, variant);
			f = open("/proc/thread-self/fail-nth", O_RDWR);
			ASSERT_GE(f, 0);
			snprintf(buf, sizeof(buf), "%d", nth);
			ASSERT_GT(pwrite(f, buf, strlen(buf), 0), 0);
			ret = ops[op](CUT_ADDR, cut->len);
			err = errno;
			memset(buf, 0, sizeof(buf));
			ASSERT_GT(pread(f, buf, sizeof(buf) - 1, 0), 0);
			ASSERT_EQ(pwrite(f, "0", 1, 0), 1);
			close(f);

			check_rest(_metadata, self, self->map, cut);
			/* mremap() succeeds if it has only failed to unmap what it moved. */
			if (ret || op != 2)
				check_cut(_metadata, self, self->map, cut, ret ? READ_WRITE : GONE);
			else
				check_moved(_metadata, self, cut);
			if (ret)
				ASSERT_EQ(err, ENOMEM);
			if (!ret && op == 2)
				munmap((void *)OTHER_PLACE, cut->len);
			unmap_file(_metadata, self);

			/* What is left of it: it was not used up. */
			if (atoi(buf))
				break;
			if (ret)
				failed++;
		}
		ASSERT_EQ(ret, 0);
		TH_LOG("operation %d: %d allocations, %d times -ENOMEM", op, nth - 1, failed);
		ASSERT_GE(failed, variant->skew ? 1 : 2);
	}
}

/* Page tables that a driver's unmapping of a part takes cannot be had. */
TEST_F_TIMEOUT(huge_pfnmap, unmap_without_tables, 300)
{
	const struct cut *cut = &cuts[0];
	struct test_pfnmap_range range = { };
	int nth, f, i, left, lost = 0;
	char buf[16];
	uint64_t val;

	if (ioctl(fd, TEST_PFNMAP_UNMAP, &range))
		SKIP(return, "not the test module");
	if (!write_to("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N") ||
	    !write_to("/sys/kernel/debug/fail_page_alloc/min-order", "0"))
		SKIP(return, "no fault injection");
	write_to("/sys/kernel/debug/fail_page_alloc/verbose", "0");

	range.offset = file_offset + SZ_1G + cut->start;
	range.len = cut->len;
	for (nth = 1; ; nth++) {
		map_file(_metadata, self, variant);
		f = open("/proc/thread-self/fail-nth", O_RDWR);
		ASSERT_GE(f, 0);
		snprintf(buf, sizeof(buf), "%d", nth);
		ASSERT_GT(pwrite(f, buf, strlen(buf), 0), 0);
		ASSERT_EQ(ioctl(fd, TEST_PFNMAP_UNMAP, &range), 0);
		memset(buf, 0, sizeof(buf));
		ASSERT_GT(pread(f, buf, sizeof(buf) - 1, 0), 0);
		ASSERT_EQ(pwrite(f, "0", 1, 0), 1);
		close(f);

		/* Rather too much than too little. */
		check_gone(_metadata, self, self->map, cut, SIGBUS);
		for (i = left = 0; i < self->nr_pages; i++)
			if (!load(self->map + self->pages[i], &val)) {
				ASSERT_EQ(val, stamp(self, self->pages[i]));
				left++;
			}
		unmap_file(_metadata, self);
		if (atoi(buf))
			break;
		lost += left < self->nr_pages - 1;
	}
	TH_LOG("%d allocations, %d times all was lost", nth - 1, lost);
	ASSERT_GE(lost, 1);
	ASSERT_EQ(left, self->nr_pages - 1);
}

/* No leaf is both RAM and not, but all around are. */
TEST(boundary)
{
	const char *arg = getenv("HUGE_PFNMAP_BOUNDARY");
	unsigned long at, start;
	struct leaves leaves;
	uint64_t val;
	char *map;

	if (!arg)
		SKIP(return, "no HUGE_PFNMAP_BOUNDARY");
	if (!has_1g())
		SKIP(return, "no leaves of 1G on this CPU");

	at = strtoul(arg, NULL, 0);
	ASSERT_NE(at % SZ_2M, 0);
	start = at & -SZ_1G;
	map = mmap((void *)PLACE, 2 * SZ_1G, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED_NOREPLACE, fd, start);
	ASSERT_NE(map, MAP_FAILED);
	ASSERT_TRUE(read_leaves(&leaves, map, 2 * SZ_1G));
	EXPECT_EQ(leaves.pud, SZ_1G);
	EXPECT_EQ(leaves.pmd, SZ_1G - SZ_2M);
	EXPECT_EQ(leaves.pte, SZ_2M);
	at -= start;
	ASSERT_TRUE(read_leaves(&leaves, map + (at & -SZ_2M), SZ_2M));
	EXPECT_EQ(leaves.pte, SZ_2M);
	ASSERT_EQ(store(map + at - SZ_4K, PATTERN), 0);
	ASSERT_EQ(load(map + at - SZ_4K, &val), 0);
	ASSERT_EQ(val, PATTERN);
	ASSERT_EQ(munmap(map, 2 * SZ_1G), 0);
}

int main(int argc, char **argv)
{
	file = getenv("HUGE_PFNMAP_FILE");
	if (!file)
		ksft_exit_skip("HUGE_PFNMAP_FILE does not name a file\n");
	if (getenv("HUGE_PFNMAP_OFFSET"))
		file_offset = strtoul(getenv("HUGE_PFNMAP_OFFSET"), NULL, 0);

	fd = open(file, O_RDWR);
	if (fd < 0)
		ksft_exit_fail_msg("%s: %s\n", file, strerror(errno));

	return test_harness_run(argc, argv);
}
