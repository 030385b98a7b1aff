// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio-pci maps a BAR by the largest leaves that its placement allows. At
 * whatever level it is mapped: what a process may do to a part of its
 * mapping changes that part and nothing else.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
#include <asm/mtrr.h>
#endif
#include <linux/align.h>
#include <linux/capability.h>
#include <linux/compiler.h>
#include <linux/stddef.h>
#include <linux/io_uring.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/mempolicy.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "../kselftest_harness.h"

#define AREA_SIZE	(2UL * SZ_1G)
#define HALF		((unsigned long)SZ_512M)
#define PATTERN		0x5a5a000000000000UL

static const char *device_bdf;

struct range {
	unsigned long start, len;
};

/*
 * Ranges to operate on, as offsets into the BAR. Those that cut a 1G leaf at
 * a multiple of 2M come first.
 */
static const struct range cuts[] = {
	{ HALF, SZ_2M },
	{ HALF, HALF },
	{ HALF, HALF + SZ_2M },
	{ SZ_1G - SZ_2M, SZ_4M },
	{ HALF + SZ_4K, SZ_4K },
	{ HALF + SZ_2M - SZ_4K, SZ_8K },
	{ SZ_1G - SZ_4K, SZ_4K },
	{ SZ_1G - SZ_4K, SZ_8K },
	{ SZ_1G, SZ_4K },
	{ SZ_4K, SZ_1G },
};

/* Pages that are looked at: offsets into each gigabyte of the area. */
static const unsigned long pages[] = {
	0, SZ_4K, SZ_8K, SZ_2M - SZ_4K, SZ_2M, SZ_2M + SZ_4K,
	HALF - SZ_4K, HALF, HALF + SZ_4K, HALF + SZ_8K, HALF + SZ_2M - SZ_4K,
	HALF + SZ_2M, HALF + SZ_2M + SZ_4K, SZ_1G - SZ_2M, SZ_1G - SZ_8K,
	SZ_1G - SZ_4K,
};

#define NR_PAGES	(2 * ARRAY_SIZE(pages))

static unsigned long page_off(unsigned int i)
{
	return pages[i % ARRAY_SIZE(pages)] + i / ARRAY_SIZE(pages) * SZ_1G;
}

static bool in_range(const struct range *r, unsigned long off)
{
	return r && off >= r->start && off - r->start < r->len;
}

/* Each test runs in a process of its own. */
static char *area;			/* mapping under test */
static size_t leaf_size;		/* size of the leaves that map it */
static long uc_off = -1;		/* but see uncached_part */
static int bar_fd;
static off_t bar_offset;
static int memfd;
static int kmsg;
static const struct range *last_cut;	/* for the log of a failed test */

/* A thread that uses all pages but those in quiet. */
static pthread_t thread;
static const struct range *quiet;
static bool stop;
static unsigned long rounds;
static unsigned long wrong;

FIXTURE(huge_leaf) {
	struct iommu *iommu;
	struct vfio_pci_device *device;
	struct vfio_pci_bar *bar;
};

FIXTURE_VARIANT(huge_leaf) {
	size_t misalign;
	size_t leaf;
};

FIXTURE_VARIANT_ADD(huge_leaf, 4k) {
	.misalign = SZ_4K,
	.leaf = SZ_4K,
};

FIXTURE_VARIANT_ADD(huge_leaf, 2m) {
	.misalign = SZ_2M,
	.leaf = SZ_2M,
};

FIXTURE_VARIANT_ADD(huge_leaf, 1g) {
	.misalign = 0,
	.leaf = SZ_1G,
};

static long minor_faults(void)
{
	struct rusage ru;

	VFIO_ASSERT_EQ(getrusage(RUSAGE_THREAD, &ru), 0);
	return ru.ru_minflt;
}

/* Whether the kernel, on behalf of this thread, can read a word there. */
static bool readable(const char *p)
{
	return pwrite(memfd, p, 8, 0) == 8;
}

static bool writable(char *p)
{
	/* What is read back is what was there. */
	return readable(p) && pread(memfd, p, 8, 0) == 8;
}

static u64 word(const char *p)
{
	return READ_ONCE(*(const u64 *)p);
}

static long vm_event(const char *name)
{
	FILE *f = fopen("/proc/vmstat", "r");
	long val, ret = -1;
	char key[64];

	VFIO_ASSERT_NOT_NULL(f);
	while (fscanf(f, "%63s %ld", key, &val) == 2)
		if (!strcmp(key, name))
			ret = val;
	fclose(f);
	VFIO_ASSERT_NE(ret, -1, "no %s in /proc/vmstat", name);
	return ret;
}

static bool in_file(const char *path, const char *text)
{
	char *line = NULL;
	bool ret = false;
	FILE *f = fopen(path, "r");
	size_t size = 0;

	VFIO_ASSERT_NOT_NULL(f, "cannot open %s", path);
	while (!ret && getline(&line, &size, f) > 0)
		ret = strstr(line, text);
	free(line);
	fclose(f);
	return ret;
}

static void drain(const char *path)
{
	char buf[4096];
	int fd = open(path, O_RDONLY);

	VFIO_ASSERT_GE(fd, 0, "cannot open %s", path);
	while (read(fd, buf, sizeof(buf)) > 0)
		continue;
	close(fd);
}

/* Address of the leaf that maps the page at @off */
static unsigned long leaf_of(unsigned long off)
{
	size_t size = leaf_size;

	if (uc_off >= 0 && off < SZ_1G)
		size = min_t(size_t, size, SZ_2M);
	if (uc_off >= 0 && off / SZ_2M == uc_off / SZ_2M)
		size = SZ_4K;

	return ALIGN_DOWN((unsigned long)area + off, size);
}

/* Faults taken while all pages are touched except those in @skip. */
static long touch(const struct range *skip)
{
	long before = minor_faults();

	for (int i = 0; i < NR_PAGES; i++)
		if (!in_range(skip, page_off(i)))
			word(area + page_off(i));

	return minor_faults() - before;
}

/* Number of leaves that map the pages in the order they are touched. */
static long leaves(void)
{
	unsigned long last = -1UL;
	long nr = 0;

	for (int i = 0; i < NR_PAGES; i++) {
		nr += leaf_of(page_off(i)) != last;
		last = leaf_of(page_off(i));
	}

	return nr;
}

static void map_untouched(struct __test_metadata *_metadata, size_t misalign)
{
	area = mmap_reserve(AREA_SIZE, SZ_1G, misalign);
	ASSERT_EQ(area, mmap(area, AREA_SIZE, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, bar_fd, bar_offset));
}

static void map_area(struct __test_metadata *_metadata, size_t misalign)
{
	map_untouched(_metadata, misalign);
	/* Each of these leaves, and none that is smaller or larger. */
	ASSERT_EQ(leaves(), touch(NULL));
	ASSERT_EQ(0, touch(NULL));
}

static void unmap_area(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, munmap(area, AREA_SIZE));
}

FIXTURE_SETUP(huge_leaf)
{
	self->iommu = iommu_init(default_iommu_mode);
	self->device = vfio_pci_device_init(device_bdf, self->iommu);

	for (int i = 0; i < PCI_STD_NUM_BARS; i++)
		if (self->device->bars[i].vaddr &&
		    self->device->bars[i].info.size >= AREA_SIZE)
			self->bar = &self->device->bars[i];
	if (!self->bar)
		SKIP(return, "No mappable BAR of 2G found on device %s", device_bdf);

	bar_fd = self->device->fd;
	bar_offset = self->bar->info.offset;
	leaf_size = variant->leaf;
#ifdef __x86_64__
	if (leaf_size == SZ_1G && !in_file("/proc/cpuinfo", " pdpe1gb"))
		leaf_size = SZ_2M;
#endif
	memfd = memfd_create("huge_leaf", 0);
	ASSERT_GE(memfd, 0);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ASSERT_GE(kmsg, 0);
	ASSERT_EQ(0, lseek(kmsg, 0, SEEK_END));

	for (int i = 0; i < NR_PAGES; i++) {
		u64 val = PATTERN + page_off(i);

		ASSERT_EQ(8, pwrite(bar_fd, &val, 8, bar_offset + page_off(i)));
	}
}

FIXTURE_TEARDOWN(huge_leaf)
{
	char buf[8192], *bad = NULL;
	ssize_t len;

	while (self->bar && !bad && (len = read(kmsg, buf, sizeof(buf) - 1)) > 0) {
		buf[len] = 0;
		bad = strstr(buf, ": bad p") ?: strstr(buf, "WARNING: ");
		bad = bad ?: strstr(buf, "BUG: ");
	}
	EXPECT_EQ(NULL, bad)
		TH_LOG("kernel log: %s", buf);
	if (last_cut && !__test_passed(_metadata))
		TH_LOG("last at offset %#lx, %#lx bytes", last_cut->start, last_cut->len);
	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);
}

static void *use_pages(void *arg)
{
	while (!READ_ONCE(stop)) {
		for (int i = 0; i < NR_PAGES; i++) {
			u64 *p = (u64 *)(area + page_off(i));

			if (in_range(quiet, page_off(i)))
				continue;
			WRITE_ONCE(p[1], rounds);
			if (READ_ONCE(p[0]) != PATTERN + page_off(i) ||
			    READ_ONCE(p[1]) != rounds)
				wrong++;
		}
		WRITE_ONCE(rounds, rounds + 1);
	}

	return NULL;
}

static void wait_rounds(void)
{
	unsigned long start = READ_ONCE(rounds);

	while (READ_ONCE(rounds) < start + 2)
		sched_yield();
}

static void start_thread(struct __test_metadata *_metadata,
			 const struct range *skip)
{
	quiet = skip;
	stop = false;
	rounds = 0;
	wrong = 0;
	ASSERT_EQ(0, pthread_create(&thread, NULL, use_pages, NULL));
	wait_rounds();
}

static void stop_thread(struct __test_metadata *_metadata)
{
	wait_rounds();
	WRITE_ONCE(stop, true);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, wrong);
}

/* No page outside @cut faults unless an end of @cut cuts through its leaf. */
static void check_kept(struct __test_metadata *_metadata, const struct range *cut)
{
	unsigned long start = (unsigned long)area + cut->start;
	unsigned long ends[] = { start, start + cut->len };

	for (int i = 0; i < NR_PAGES; i++) {
		bool excused = in_range(cut, page_off(i));
		long before = minor_faults();

		for (int j = 0; j < ARRAY_SIZE(ends); j++)
			excused |= ends[j] % leaf_size &&
				   ALIGN_DOWN(ends[j], leaf_size) == leaf_of(page_off(i));
		if (excused)
			continue;
		word(area + page_off(i));
		ASSERT_EQ(before, minor_faults())
			TH_LOG("refault at offset %#lx", page_off(i));
	}
}

/* The pages inside @cut allow what @prot says, all others everything. */
static void check_pages(struct __test_metadata *_metadata, const struct range *cut,
			int prot)
{
	for (int i = 0; i < NR_PAGES; i++) {
		unsigned long off = page_off(i);
		bool inside = in_range(cut, off);
		char *p = area + off;

		ASSERT_EQ(!inside || (prot & PROT_READ), readable(p))
			TH_LOG("reading offset %#lx", off);
		ASSERT_EQ(!inside || (prot & PROT_WRITE), writable(p))
			TH_LOG("writing offset %#lx", off);
		if (inside && !(prot & PROT_READ))
			continue;
		ASSERT_EQ(PATTERN + off, word(p));
	}
}

typedef void (*op_t)(struct __test_metadata *_metadata, char *addr, size_t len);

/*
 * Let @op work on each cut of a fresh mapping: once alone, so that faults can
 * be counted, once while another thread uses the rest.
 */
static void try_cuts(struct __test_metadata *_metadata, size_t misalign,
		     op_t op, int prot, op_t undo)
{
	for (int i = 0; i < 2 * ARRAY_SIZE(cuts); i++) {
		const struct range *cut = &cuts[i / 2];
		char *addr;

		last_cut = cut;
		map_area(_metadata, misalign);
		addr = area + cut->start;
		if (i % 2)
			start_thread(_metadata, cut);
		op(_metadata, addr, cut->len);
		if (!(i % 2))
			check_kept(_metadata, cut);
		check_pages(_metadata, cut, prot);
		if (undo) {
			undo(_metadata, addr, cut->len);
			check_pages(_metadata, NULL, 0);
		}
		if (i % 2)
			stop_thread(_metadata);
		unmap_area(_metadata);
	}
}

static void op_munmap(struct __test_metadata *_metadata, char *addr, size_t len)
{
	ASSERT_EQ(0, munmap(addr, len));
}

TEST_F(huge_leaf, munmap)
{
	try_cuts(_metadata, variant->misalign, op_munmap, PROT_NONE, NULL);
}

static void op_none(struct __test_metadata *_metadata, char *addr, size_t len)
{
	ASSERT_EQ(0, mprotect(addr, len, PROT_NONE));
}

static void op_ro(struct __test_metadata *_metadata, char *addr, size_t len)
{
	ASSERT_EQ(0, mprotect(addr, len, PROT_READ));
}

static void op_rw(struct __test_metadata *_metadata, char *addr, size_t len)
{
	ASSERT_EQ(0, mprotect(addr, len, PROT_READ | PROT_WRITE));
}

TEST_F(huge_leaf, mprotect_none)
{
	try_cuts(_metadata, variant->misalign, op_none, PROT_NONE, op_rw);
}

TEST_F(huge_leaf, mprotect_ro)
{
	try_cuts(_metadata, variant->misalign, op_ro, PROT_READ, op_rw);
}

/* The same over whole leaves keeps them. */
TEST_F(huge_leaf, mprotect_whole)
{
	static const struct range all = { 0, AREA_SIZE };

	map_area(_metadata, variant->misalign);
	op_none(_metadata, area, AREA_SIZE);
	check_pages(_metadata, &all, PROT_NONE);
	op_rw(_metadata, area, AREA_SIZE);
	ASSERT_EQ(0, touch(NULL));
	check_pages(_metadata, NULL, 0);
	unmap_area(_metadata);
}

static void clear_soft_dirty(struct __test_metadata *_metadata)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(1, write(fd, "4", 1));
	close(fd);
}

static void write_pages(struct __test_metadata *_metadata)
{
	for (int i = 0; i < NR_PAGES; i++) {
		u64 *p = (u64 *)(area + page_off(i));

		WRITE_ONCE(p[1], i);
		ASSERT_EQ(i, READ_ONCE(p[1]));
	}
	ASSERT_EQ(0, touch(NULL));
}

/*
 * A VMA of which the soft-dirty bits were cleared maps pages read-only until
 * they are written to: by the write itself, and by mprotect().
 */
TEST_F(huge_leaf, soft_dirty)
{
	if (!in_file("/proc/self/smaps", " sd"))
		SKIP(return, "No soft-dirty bits");

	map_untouched(_metadata, variant->misalign);
	clear_soft_dirty(_metadata);
	write_pages(_metadata);
	clear_soft_dirty(_metadata);
	ASSERT_EQ(0, mprotect(area, AREA_SIZE, PROT_READ));
	ASSERT_EQ(0, mprotect(area, AREA_SIZE, PROT_READ | PROT_WRITE));
	write_pages(_metadata);
	check_pages(_metadata, NULL, 0);
	unmap_area(_metadata);
}

/*
 * Whether an unprivileged process may make the BAR PROT_NONE depends on the
 * CPU and on where the BAR is (L1TF), not on the size of the leaves. Ask with
 * 4K leaves what the answer is.
 */
TEST_F(huge_leaf, mprotect_none_unprivileged)
{
	struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};
	int ret[2], err[2];

	for (int i = 0; i < 2; i++) {
		size_t leaf = leaf_size;
		char *at;

		if (!i)
			leaf_size = SZ_4K;
		map_area(_metadata, i ? variant->misalign : SZ_4K);
		leaf_size = leaf;
		if (!i)
			ASSERT_EQ(0, syscall(SYS_capset, &hdr, data));
		at = area + HALF;
		ret[i] = mprotect(at, SZ_2M, PROT_NONE);
		err[i] = ret[i] ? errno : 0;
		ASSERT_EQ(!!ret[i], readable(at));
		ASSERT_TRUE(readable(at + SZ_2M));
		ASSERT_EQ(err[i], mprotect(area, SZ_1G, PROT_NONE) ? errno : 0);
		if (err[i]) {
			/* Refused is refused: nothing has changed. */
			check_pages(_metadata, NULL, 0);
			ASSERT_EQ(0, touch(NULL));
		}
		unmap_area(_metadata);
	}
	TH_LOG("refused: %s", err[0] ? "yes" : "no");
	if (err[0])
		ASSERT_EQ(EACCES, err[0]);
	ASSERT_EQ(err[0], err[1]);
}

static char *move(struct __test_metadata *_metadata, char *old, size_t len,
		  size_t shift)
{
	unsigned long off = ((unsigned long)old + shift) % SZ_1G;
	char *new = mmap_reserve(len, SZ_1G, off);

	ASSERT_EQ(new, mremap(old, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, new));
	return new;
}

/* Move a part away and look at it there before it is unmapped. */
static void op_mremap_shift(struct __test_metadata *_metadata, char *addr,
			    size_t len, size_t shift)
{
	unsigned long start = addr - area;
	const struct range r = { start, len };
	char *new = move(_metadata, addr, len, shift);

	for (int i = 0; i < NR_PAGES; i++)
		if (in_range(&r, page_off(i)))
			ASSERT_EQ(PATTERN + page_off(i), word(new + page_off(i) - start));
	ASSERT_EQ(0, munmap(new, len));
}

static void op_mremap(struct __test_metadata *_metadata, char *addr, size_t len)
{
	op_mremap_shift(_metadata, addr, len, 0);
}

static void op_mremap_2m(struct __test_metadata *_metadata, char *addr, size_t len)
{
	op_mremap_shift(_metadata, addr, len, SZ_2M);
}

static void op_mremap_4k(struct __test_metadata *_metadata, char *addr, size_t len)
{
	op_mremap_shift(_metadata, addr, len, SZ_4K);
}

TEST_F(huge_leaf, mremap_part)
{
	try_cuts(_metadata, variant->misalign, op_mremap, PROT_NONE, NULL);
}

TEST_F(huge_leaf, mremap_part_off_by_2m)
{
	try_cuts(_metadata, variant->misalign, op_mremap_2m, PROT_NONE, NULL);
}

TEST_F(huge_leaf, mremap_part_off_by_4k)
{
	try_cuts(_metadata, variant->misalign, op_mremap_4k, PROT_NONE, NULL);
}

TEST_F(huge_leaf, mremap_whole)
{
	char *old;

	map_area(_metadata, variant->misalign);
	old = area;
	area = move(_metadata, old, AREA_SIZE, 0);
	for (int i = 0; i < NR_PAGES; i++)
		ASSERT_FALSE(readable(old + page_off(i)));
	ASSERT_EQ(0, touch(NULL));
	check_pages(_metadata, NULL, 0);
	unmap_area(_metadata);
}

/* Errors of a child that must have all pages but those in @cut. */
static int child_errors(const struct range *cut)
{
	int status, errors = 0;
	pid_t pid = fork();

	VFIO_ASSERT_GE(pid, 0);
	if (!pid) {
		for (int i = 0; i < NR_PAGES; i++) {
			unsigned long off = page_off(i);
			bool ok = readable(area + off);

			if (ok != !in_range(cut, off) ||
			    (ok && word(area + off) != PATTERN + off))
				errors++;
		}
		_exit(errors);
	}
	VFIO_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void op_dontfork(struct __test_metadata *_metadata, char *addr, size_t len)
{
	const struct range r = { addr - area, len };

	ASSERT_EQ(0, madvise(addr, len, MADV_DONTFORK));
	ASSERT_EQ(0, child_errors(&r));
}

TEST_F(huge_leaf, dontfork)
{
	try_cuts(_metadata, variant->misalign, op_dontfork,
		 PROT_READ | PROT_WRITE, NULL);
}

TEST_F(huge_leaf, fork)
{
	map_area(_metadata, variant->misalign);
	ASSERT_EQ(0, child_errors(NULL));
	ASSERT_EQ(0, touch(NULL));
	unmap_area(_metadata);
}

/* Who only reads about a mapping does not change it. */
static void check_reader(struct __test_metadata *_metadata, size_t misalign,
			 void (*reader)(void))
{
	long puds = vm_event("thp_split_pud"), pmds = vm_event("thp_split_pmd");

	map_area(_metadata, misalign);
	reader();
	EXPECT_EQ(puds, vm_event("thp_split_pud"));
	EXPECT_EQ(pmds, vm_event("thp_split_pmd"));
	ASSERT_EQ(0, touch(NULL));
	unmap_area(_metadata);
}

static void read_smaps(void)
{
	drain("/proc/self/smaps");
}

static void read_numa_maps(void)
{
	drain("/proc/self/numa_maps");
}

static void mbind_strict(void)
{
	unsigned long node = 1;

	VFIO_ASSERT_EQ(syscall(SYS_mbind, area, AREA_SIZE, MPOL_BIND, &node,
			       8 * sizeof(node), MPOL_MF_STRICT), 0);
}

TEST_F(huge_leaf, smaps)
{
	check_reader(_metadata, variant->misalign, read_smaps);
}

TEST_F(huge_leaf, numa_maps)
{
	check_reader(_metadata, variant->misalign, read_numa_maps);
}

TEST_F(huge_leaf, mbind)
{
	check_reader(_metadata, variant->misalign, mbind_strict);
}

static char *poisoned;
static bool killed;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	killed = info->si_code == BUS_MCEERR_AR && info->si_addr == poisoned;
}

/*
 * The second error of a page that could not be unmapped at the first: the
 * kernel looks for the page in the whole address space. A page of an io_uring
 * is one that it can do nothing about.
 */
static void use_poisoned(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	VFIO_ASSERT_EQ(sigaction(SIGBUS, &action, NULL), 0);
	VFIO_ASSERT_EQ(madvise(poisoned, SZ_4K, MADV_HWPOISON), -1);
	VFIO_ASSERT_EQ(errno, EBUSY);
	VFIO_ASSERT_FALSE(killed);
	VFIO_ASSERT_EQ(madvise(poisoned, SZ_4K, MADV_HWPOISON), -1);
	VFIO_ASSERT_EQ(errno, EHWPOISON);
	VFIO_ASSERT_TRUE(killed, "not found");
	/* On the way there are the leaves. */
	VFIO_ASSERT_GT(poisoned, area);
}

TEST_F(huge_leaf, hwpoison)
{
	struct io_uring_params params = {};
	int fd = syscall(SYS_io_uring_setup, 1, &params);

	if (fd < 0 || !in_file("/proc/meminfo", "HardwareCorrupted"))
		SKIP(return, "No io_uring or no memory failure handling");
	poisoned = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
	ASSERT_NE(MAP_FAILED, poisoned);
	check_reader(_metadata, variant->misalign, use_poisoned);
	close(fd);
}

#ifdef __x86_64__
/* A leaf cannot cover different MTRR types, whichever comes first. */
static void uncached_at(struct __test_metadata *_metadata,
			FIXTURE_DATA(huge_leaf) * self, size_t misalign)
{
	struct mtrr_sentry uc = { .size = SZ_4K, .type = MTRR_TYPE_UNCACHABLE };
	char path[PATH_MAX];
	int fd;
	FILE *f;

	snprintf_assert(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", device_bdf);
	f = fopen(path, "r");
	ASSERT_NE(NULL, f);
	for (int i = self->bar - self->device->bars; i >= 0; i--)
		ASSERT_EQ(1, fscanf(f, "%llx %*x %*x", &uc.base));
	fclose(f);
	uc.base += uc_off;

	/* The entry goes away when the file is closed. */
	fd = open("/proc/mtrr", O_RDWR);
	ASSERT_GE(fd, 0);
	ASSERT_GE(ioctl(fd, MTRRIOC_ADD_ENTRY, &uc), 0);
	map_area(_metadata, misalign);
	check_pages(_metadata, NULL, 0);
	unmap_area(_metadata);
	close(fd);
}

TEST_F(huge_leaf, uncached_part)
{
	if (access("/proc/mtrr", F_OK))
		SKIP(return, "No MTRRs");
	uc_off = HALF + SZ_4K;
	uncached_at(_metadata, self, variant->misalign);
	uc_off = 0;
	uncached_at(_metadata, self, variant->misalign);
}
#endif

int main(int argc, char *argv[])
{
	device_bdf = vfio_selftests_get_bdf(&argc, argv);
	return test_harness_run(argc, argv);
}
