// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio-pci maps a BAR by the largest leaves that its placement allows. At
 * whatever level it is mapped: what a process may do to a part of its
 * mapping changes that part and nothing else.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>
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

FIXTURE(huge_leaf) {
	struct iommu *iommu;
	struct vfio_pci_device *device;
	struct vfio_pci_bar *bar;
	size_t leaf;			/* size of the leaves that map area */
	char *area;			/* mapping under test */
	const struct range *cut;	/* what it was about, for the log */
	int memfd;
	int kmsg;

	/* The thread that uses all pages but those in quiet */
	pthread_t thread;
	const struct range *quiet;
	volatile bool stop;
	volatile unsigned long rounds;
	volatile unsigned long wrong;
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
static bool readable(int memfd, const char *p)
{
	return pwrite(memfd, p, 8, 0) == 8;
}

static bool writable(int memfd, char *p)
{
	/* What is read back is what was there. */
	return readable(memfd, p) && pread(memfd, p, 8, 0) == 8;
}

static u64 word(const char *p)
{
	return *(const volatile u64 *)p;
}

static long vmstat(const char *name)
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

/* Leaf that maps the page at @off, as the number of its block of the area. */
static unsigned long leaf_of(FIXTURE_DATA(huge_leaf) *self, unsigned long off)
{
	return ((unsigned long)self->area + off) / self->leaf;
}

/* Faults taken while all pages are touched except those in @skip. */
static long touch(FIXTURE_DATA(huge_leaf) *self, const struct range *skip)
{
	long before = minor_faults();

	for (int i = 0; i < NR_PAGES; i++)
		if (!in_range(skip, page_off(i)))
			word(self->area + page_off(i));

	return minor_faults() - before;
}

/* Number of leaves that map the pages in the order they are touched. */
static long leaves(FIXTURE_DATA(huge_leaf) *self)
{
	unsigned long last = -1UL;
	long nr = 0;

	for (int i = 0; i < NR_PAGES; i++) {
		nr += leaf_of(self, page_off(i)) != last;
		last = leaf_of(self, page_off(i));
	}

	return nr;
}

static void map_area(struct __test_metadata *_metadata,
		     FIXTURE_DATA(huge_leaf) *self, size_t misalign)
{
	self->area = mmap_reserve(AREA_SIZE, SZ_1G, misalign);
	ASSERT_EQ(self->area, mmap(self->area, AREA_SIZE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, self->device->fd,
				   self->bar->info.offset));
	/* Each of these leaves, and none that is smaller or larger. */
	ASSERT_EQ(leaves(self), touch(self, NULL));
	ASSERT_EQ(0, touch(self, NULL));
}

static void unmap_area(struct __test_metadata *_metadata,
		       FIXTURE_DATA(huge_leaf) *self)
{
	ASSERT_EQ(0, munmap(self->area, AREA_SIZE));
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

	self->leaf = variant->leaf;
#ifdef __x86_64__
	if (self->leaf == SZ_1G && !in_file("/proc/cpuinfo", " pdpe1gb"))
		self->leaf = SZ_2M;
#endif
	self->memfd = memfd_create("huge_leaf", 0);
	ASSERT_GE(self->memfd, 0);
	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ASSERT_GE(self->kmsg, 0);
	ASSERT_EQ(0, lseek(self->kmsg, 0, SEEK_END));

	for (int i = 0; i < NR_PAGES; i++) {
		u64 val = PATTERN + page_off(i);

		ASSERT_EQ(8, pwrite(self->device->fd, &val, 8,
				    self->bar->info.offset + page_off(i)));
	}
}

FIXTURE_TEARDOWN(huge_leaf)
{
	char buf[8192], *bad = NULL;
	ssize_t len;

	while (self->bar && !bad && (len = read(self->kmsg, buf, sizeof(buf) - 1)) > 0) {
		buf[len] = 0;
		bad = strstr(buf, ": bad p") ?: strstr(buf, "WARNING: ");
		bad = bad ?: strstr(buf, "BUG: ");
	}
	EXPECT_EQ(NULL, bad)
		TH_LOG("kernel log: %s", buf);
	if (self->cut && !__test_passed(_metadata))
		TH_LOG("last at offset %#lx, %#lx bytes", self->cut->start, self->cut->len);
	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);
}

static void *use_pages(void *arg)
{
	FIXTURE_DATA(huge_leaf) *self = arg;

	while (!self->stop) {
		for (int i = 0; i < NR_PAGES; i++) {
			unsigned long off = page_off(i);
			volatile u64 *p = (u64 *)(self->area + off);

			if (in_range(self->quiet, off))
				continue;
			p[1] = self->rounds;
			if (p[0] != PATTERN + off || p[1] != self->rounds)
				self->wrong++;
		}
		self->rounds++;
	}

	return NULL;
}

static void wait_rounds(FIXTURE_DATA(huge_leaf) *self)
{
	unsigned long rounds = self->rounds;

	while (self->rounds < rounds + 2)
		sched_yield();
}

static void start_thread(struct __test_metadata *_metadata,
			 FIXTURE_DATA(huge_leaf) *self, const struct range *quiet)
{
	self->quiet = quiet;
	self->stop = false;
	self->rounds = 0;
	self->wrong = 0;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, use_pages, self));
	wait_rounds(self);
}

static void stop_thread(struct __test_metadata *_metadata,
			FIXTURE_DATA(huge_leaf) *self)
{
	wait_rounds(self);
	self->stop = true;
	ASSERT_EQ(0, pthread_join(self->thread, NULL));
	ASSERT_EQ(0, self->wrong);
}

/* No page outside @cut faults unless an end of @cut cuts through its leaf. */
static void check_kept(struct __test_metadata *_metadata,
		       FIXTURE_DATA(huge_leaf) *self, const struct range *cut)
{
	unsigned long start = (unsigned long)self->area + cut->start;
	unsigned long ends[] = { start, start + cut->len };

	for (int i = 0; i < NR_PAGES; i++) {
		bool excused = in_range(cut, page_off(i));
		long before = minor_faults();

		for (int j = 0; j < ARRAY_SIZE(ends); j++)
			excused |= ends[j] % self->leaf &&
				   ends[j] / self->leaf == leaf_of(self, page_off(i));
		if (excused)
			continue;
		word(self->area + page_off(i));
		ASSERT_EQ(before, minor_faults())
			TH_LOG("refault at offset %#lx", page_off(i));
	}
}

/* The pages inside @cut allow what @prot says, all others everything. */
static void check_pages(struct __test_metadata *_metadata,
			FIXTURE_DATA(huge_leaf) *self, const struct range *cut,
			int prot)
{
	for (int i = 0; i < NR_PAGES; i++) {
		unsigned long off = page_off(i);
		bool inside = in_range(cut, off);
		char *p = self->area + off;

		ASSERT_EQ(!inside || (prot & PROT_READ), readable(self->memfd, p))
			TH_LOG("reading offset %#lx", off);
		ASSERT_EQ(!inside || (prot & PROT_WRITE), writable(self->memfd, p))
			TH_LOG("writing offset %#lx", off);
		if (inside && !(prot & PROT_READ))
			continue;
		ASSERT_EQ(PATTERN + off, word(p));
	}
}

typedef void (*op_t)(struct __test_metadata *_metadata,
		     FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len);

/*
 * Let @op work on each cut of a fresh mapping: once alone, so that faults can
 * be counted, once while another thread uses the rest.
 */
static void for_each_cut(struct __test_metadata *_metadata,
			 FIXTURE_DATA(huge_leaf) *self, size_t misalign,
			 op_t op, int prot, op_t undo)
{
	for (int i = 0; i < 2 * ARRAY_SIZE(cuts); i++) {
		const struct range *cut = &cuts[i / 2];
		char *addr;

		self->cut = cut;
		map_area(_metadata, self, misalign);
		addr = self->area + cut->start;
		if (i % 2)
			start_thread(_metadata, self, cut);
		op(_metadata, self, addr, cut->len);
		if (!(i % 2))
			check_kept(_metadata, self, cut);
		check_pages(_metadata, self, cut, prot);
		if (undo) {
			undo(_metadata, self, addr, cut->len);
			check_pages(_metadata, self, NULL, 0);
		}
		if (i % 2)
			stop_thread(_metadata, self);
		unmap_area(_metadata, self);
	}
}

static void op_munmap(struct __test_metadata *_metadata,
		      FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len)
{
	ASSERT_EQ(0, munmap(addr, len));
}

TEST_F(huge_leaf, munmap)
{
	for_each_cut(_metadata, self, variant->misalign, op_munmap, PROT_NONE, NULL);
}

static void op_none(struct __test_metadata *_metadata,
		    FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len)
{
	ASSERT_EQ(0, mprotect(addr, len, PROT_NONE));
}

static void op_ro(struct __test_metadata *_metadata,
		  FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len)
{
	ASSERT_EQ(0, mprotect(addr, len, PROT_READ));
}

static void op_rw(struct __test_metadata *_metadata,
		  FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len)
{
	ASSERT_EQ(0, mprotect(addr, len, PROT_READ | PROT_WRITE));
}

TEST_F(huge_leaf, mprotect_none)
{
	for_each_cut(_metadata, self, variant->misalign, op_none, PROT_NONE, op_rw);
}

TEST_F(huge_leaf, mprotect_ro)
{
	for_each_cut(_metadata, self, variant->misalign, op_ro, PROT_READ, op_rw);
}

/* The same over whole leaves keeps them. */
TEST_F(huge_leaf, mprotect_whole)
{
	static const struct range all = { 0, AREA_SIZE };

	map_area(_metadata, self, variant->misalign);
	op_none(_metadata, self, self->area, AREA_SIZE);
	check_pages(_metadata, self, &all, PROT_NONE);
	op_rw(_metadata, self, self->area, AREA_SIZE);
	ASSERT_EQ(0, touch(self, NULL));
	check_pages(_metadata, self, NULL, 0);
	unmap_area(_metadata, self);
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
		size_t leaf = self->leaf;
		char *at;

		if (!i)
			self->leaf = SZ_4K;
		map_area(_metadata, self, i ? variant->misalign : SZ_4K);
		self->leaf = leaf;
		if (!i)
			ASSERT_EQ(0, syscall(SYS_capset, &hdr, data));
		at = self->area + HALF;
		ret[i] = mprotect(at, SZ_2M, PROT_NONE);
		err[i] = ret[i] ? errno : 0;
		ASSERT_EQ(!!ret[i], readable(self->memfd, at));
		ASSERT_TRUE(readable(self->memfd, at + SZ_2M));
		ASSERT_EQ(err[i], mprotect(self->area, SZ_1G, PROT_NONE) ? errno : 0);
		unmap_area(_metadata, self);
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
static void op_mremap_shift(struct __test_metadata *_metadata,
			    FIXTURE_DATA(huge_leaf) *self, char *addr,
			    size_t len, size_t shift)
{
	unsigned long start = addr - self->area;
	const struct range r = { start, len };
	char *new = move(_metadata, addr, len, shift);

	for (int i = 0; i < NR_PAGES; i++)
		if (in_range(&r, page_off(i)))
			ASSERT_EQ(PATTERN + page_off(i), word(new + page_off(i) - start));
	ASSERT_EQ(0, munmap(new, len));
}

static void op_mremap(struct __test_metadata *_metadata,
		      FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len)
{
	op_mremap_shift(_metadata, self, addr, len, 0);
}

static void op_mremap_2m(struct __test_metadata *_metadata,
			 FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len)
{
	op_mremap_shift(_metadata, self, addr, len, SZ_2M);
}

static void op_mremap_4k(struct __test_metadata *_metadata,
			 FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len)
{
	op_mremap_shift(_metadata, self, addr, len, SZ_4K);
}

TEST_F(huge_leaf, mremap_part)
{
	for_each_cut(_metadata, self, variant->misalign, op_mremap, PROT_NONE, NULL);
}

TEST_F(huge_leaf, mremap_part_off_by_2m)
{
	for_each_cut(_metadata, self, variant->misalign, op_mremap_2m, PROT_NONE, NULL);
}

TEST_F(huge_leaf, mremap_part_off_by_4k)
{
	for_each_cut(_metadata, self, variant->misalign, op_mremap_4k, PROT_NONE, NULL);
}

TEST_F(huge_leaf, mremap_whole)
{
	char *old;

	map_area(_metadata, self, variant->misalign);
	old = self->area;
	self->area = move(_metadata, old, AREA_SIZE, 0);
	for (int i = 0; i < NR_PAGES; i++)
		ASSERT_FALSE(readable(self->memfd, old + page_off(i)));
	ASSERT_EQ(0, touch(self, NULL));
	check_pages(_metadata, self, NULL, 0);
	unmap_area(_metadata, self);
}

/* Errors of a child that must have all pages but those in @cut. */
static int child_errors(FIXTURE_DATA(huge_leaf) *self, const struct range *cut)
{
	int status, errors = 0;
	pid_t pid = fork();

	VFIO_ASSERT_GE(pid, 0);
	if (!pid) {
		for (int i = 0; i < NR_PAGES; i++) {
			unsigned long off = page_off(i);
			bool ok = readable(self->memfd, self->area + off);

			if (ok != !in_range(cut, off) ||
			    (ok && word(self->area + off) != PATTERN + off))
				errors++;
		}
		_exit(errors);
	}
	VFIO_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void op_dontfork(struct __test_metadata *_metadata,
			FIXTURE_DATA(huge_leaf) *self, char *addr, size_t len)
{
	const struct range r = { addr - self->area, len };

	ASSERT_EQ(0, madvise(addr, len, MADV_DONTFORK));
	ASSERT_EQ(0, child_errors(self, &r));
}

TEST_F(huge_leaf, dontfork)
{
	for_each_cut(_metadata, self, variant->misalign, op_dontfork,
		     PROT_READ | PROT_WRITE, NULL);
}

TEST_F(huge_leaf, fork)
{
	map_area(_metadata, self, variant->misalign);
	ASSERT_EQ(0, child_errors(self, NULL));
	ASSERT_EQ(0, touch(self, NULL));
	unmap_area(_metadata, self);
}

/* Who only reads about a mapping does not change it. */
static void check_reader(struct __test_metadata *_metadata,
			 FIXTURE_DATA(huge_leaf) *self, size_t misalign,
			 void (*reader)(FIXTURE_DATA(huge_leaf) *self))
{
	long puds = vmstat("thp_split_pud"), pmds = vmstat("thp_split_pmd");

	map_area(_metadata, self, misalign);
	reader(self);
	EXPECT_EQ(puds, vmstat("thp_split_pud"));
	EXPECT_EQ(pmds, vmstat("thp_split_pmd"));
	ASSERT_EQ(0, touch(self, NULL));
	unmap_area(_metadata, self);
}

static void read_smaps(FIXTURE_DATA(huge_leaf) *self)
{
	drain("/proc/self/smaps");
}

static void read_numa_maps(FIXTURE_DATA(huge_leaf) *self)
{
	drain("/proc/self/numa_maps");
}

static void mbind_strict(FIXTURE_DATA(huge_leaf) *self)
{
	unsigned long node = 1;

	VFIO_ASSERT_EQ(syscall(SYS_mbind, self->area, AREA_SIZE, MPOL_BIND, &node,
			       8 * sizeof(node), MPOL_MF_STRICT), 0);
}

TEST_F(huge_leaf, smaps)
{
	check_reader(_metadata, self, variant->misalign, read_smaps);
}

TEST_F(huge_leaf, numa_maps)
{
	check_reader(_metadata, self, variant->misalign, read_numa_maps);
}

TEST_F(huge_leaf, mbind)
{
	check_reader(_metadata, self, variant->misalign, mbind_strict);
}

int main(int argc, char *argv[])
{
	device_bdf = vfio_selftests_get_bdf(&argc, argv);
	return test_harness_run(argc, argv);
}
