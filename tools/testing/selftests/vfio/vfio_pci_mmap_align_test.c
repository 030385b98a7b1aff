// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where mmap() places a BAR when it may choose: congruent to the physical
 * address, so that the largest leaf is possible, and nowhere else than before
 * when it may not choose, or when there is no such place.
 *
 * The BAR is mapped by each of the files that can map it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/align.h>
#include <linux/compiler.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "../kselftest_harness.h"

#define AREA_SIZE	(2UL * SZ_1G)

static const char *device_bdf;

enum via { VIA_VFIO, VIA_SYSFS, VIA_DEVMEM };

FIXTURE(mmap_align) {
	struct iommu *iommu;
	struct vfio_pci_device *device;
};

/* The BAR. Each test runs in a process of its own. */
static unsigned long phys, bar_size, max_leaf;
static int bar_fd;
static off_t bar_offset;		/* in bar_fd */

FIXTURE_VARIANT(mmap_align) {
	enum via via;
	const char *mode;
};

FIXTURE_VARIANT_ADD(mmap_align, cdev) {
	.via = VIA_VFIO,
	.mode = MODE_IOMMUFD,
};

FIXTURE_VARIANT_ADD(mmap_align, group) {
	.via = VIA_VFIO,
	.mode = MODE_VFIO_TYPE1V2_IOMMU,
};

FIXTURE_VARIANT_ADD(mmap_align, sysfs) {
	.via = VIA_SYSFS,
	.mode = MODE_IOMMUFD,
};

FIXTURE_VARIANT_ADD(mmap_align, devmem) {
	.via = VIA_DEVMEM,
	.mode = MODE_IOMMUFD,
};

static unsigned long bar_phys(int index)
{
	unsigned long start = 0;
	int fields = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", device_bdf);
	f = fopen(path, "r");
	VFIO_ASSERT_NOT_NULL(f);
	for (int i = 0; i <= index; i++)
		fields += fscanf(f, "%lx %*x %*x", &start);
	fclose(f);
	VFIO_ASSERT_EQ(fields, index + 1);
	return start;
}

static bool has_1g(void)
{
	return !system("grep -qw pdpe1gb /proc/cpuinfo");
}

FIXTURE_SETUP(mmap_align)
{
	char path[128];
	int index = 0;
	void *p;

	max_leaf = has_1g() ? SZ_1G : SZ_2M;

	self->iommu = iommu_init(variant->mode);
	self->device = vfio_pci_device_init(device_bdf, self->iommu);

	for (int i = 1; i < PCI_STD_NUM_BARS; i++)
		if (self->device->bars[i].vaddr &&
		    self->device->bars[i].info.size > self->device->bars[index].info.size)
			index = i;
	bar_size = self->device->bars[index].info.size;
	if (bar_size < AREA_SIZE)
		SKIP(return, "%s has no BAR of 2G that can be mapped", device_bdf);
	phys = bar_phys(index);

	switch (variant->via) {
	case VIA_VFIO:
		bar_fd = dup(self->device->fd);
		bar_offset = self->device->bars[index].info.offset;
		break;
	case VIA_SYSFS:
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%d",
			 device_bdf, index);
		bar_fd = open(path, O_RDWR);
		break;
	case VIA_DEVMEM:
		bar_fd = open("/dev/mem", O_RDWR | O_SYNC);
		bar_offset = phys;
		break;
	}
	ASSERT_GE(bar_fd, 0);

	p = mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, bar_fd, bar_offset);
	if (p == MAP_FAILED && variant->via != VIA_VFIO)
		SKIP(return, "The driver has the BAR for itself (IO_STRICT_DEVMEM)");
	ASSERT_NE(p, MAP_FAILED);
	ASSERT_EQ(0, munmap(p, SZ_4K));
}

FIXTURE_TEARDOWN(mmap_align)
{
	if (bar_size >= AREA_SIZE)
		close(bar_fd);
	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);
}

static void *map(void *addr, size_t len, off_t start, int flags)
{
	return mmap(addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | flags,
		    bar_fd, bar_offset + start);
}

/* Address space without anything behind it. */
static void *reserve(void *addr, size_t len, int flags)
{
	return mmap(addr, len, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

static bool congruent(const void *p, unsigned long pa, unsigned long size)
{
	return !(((unsigned long)p - pa) % size);
}

/* See to it that the next mapping of @len is not congruent to @pa by luck. */
static void spoil_luck(unsigned long len, unsigned long pa)
{
	char *p = reserve(NULL, len + SZ_8K, 0);
	unsigned long keep = SZ_4K;

	VFIO_ASSERT_NE(p, MAP_FAILED);
	if (congruent(p + SZ_4K, pa, SZ_2M))
		keep = SZ_8K;
	VFIO_ASSERT_EQ(munmap(p, len + SZ_8K - keep), 0);
}

static long minor_faults(void)
{
	struct rusage ru;

	VFIO_ASSERT_EQ(getrusage(RUSAGE_THREAD, &ru), 0);
	return ru.ru_minflt;
}

TEST_F(mmap_align, whole_bar)
{
	long faults;
	char *p;

	spoil_luck(bar_size, phys);
	p = map(NULL, bar_size, 0, 0);
	ASSERT_NE(p, MAP_FAILED);
	EXPECT_TRUE(congruent(p, phys, max_leaf));

	minor_faults();
	faults = minor_faults();
	for (unsigned long at = 0; at < bar_size; at += SZ_2M)
		READ_ONCE(*(u64 *)(p + at));
	faults = minor_faults() - faults;
	if (variant->via == VIA_VFIO)
		EXPECT_EQ(faults, bar_size / max_leaf);
	munmap(p, bar_size);
}

/* Parts of the BAR, and sizes that are no power of two. */
TEST_F(mmap_align, part)
{
	static const struct {
		unsigned long start, len, align;
	} parts[] = {
		{ 0, AREA_SIZE - SZ_4K, SZ_1G },
		{ SZ_4K, AREA_SIZE - SZ_4K, SZ_1G },
		{ SZ_512M, SZ_1G + SZ_512M, SZ_1G },
		{ SZ_512M, SZ_1G, SZ_2M },
		{ SZ_4K, SZ_1G, SZ_2M },
		{ SZ_2M - SZ_4K, SZ_2M + SZ_4K, SZ_2M },
		{ SZ_1G - SZ_2M, SZ_2M, SZ_2M },
	};

	for (int i = 0; i < ARRAY_SIZE(parts); i++) {
		unsigned long pa = phys + parts[i].start;
		void *p;

		spoil_luck(parts[i].len, pa);
		p = map(NULL, parts[i].len, parts[i].start, 0);
		ASSERT_NE(p, MAP_FAILED);
		EXPECT_TRUE(congruent(p, pa, min(parts[i].align, max_leaf))) {
			TH_LOG("%#lx bytes from %#lx are at %p", parts[i].len,
			       parts[i].start, p);
		}
		munmap(p, parts[i].len);
	}
}

/* What holds no large leaf gets the same place as a page of memory. */
TEST_F(mmap_align, small)
{
	void *first = reserve(NULL, SZ_64K, 0);
	void *p, *q;

	munmap(first, SZ_64K);
	p = map(NULL, SZ_64K, SZ_2M, 0);
	EXPECT_EQ(p, first);
	q = map(NULL, SZ_64K, SZ_2M - SZ_4K, 0);
	EXPECT_EQ(q, p - SZ_64K);
	munmap(p, SZ_64K);
	munmap(q, SZ_64K);
}

TEST_F(mmap_align, hint)
{
	char *room = reserve(NULL, AREA_SIZE + SZ_4K, 0);
	void *want, *p;

	ASSERT_NE(room, MAP_FAILED);
	want = room + (congruent(room, phys, SZ_2M) ? SZ_4K : 0);
	munmap(want, AREA_SIZE);

	/* It fits here, but would not with anything added. */
	p = map(want, AREA_SIZE, 0, 0);
	EXPECT_EQ(p, want);
	/* A hint that cannot be followed is no hint. */
	p = map(want, AREA_SIZE, 0, 0);
	EXPECT_NE(p, MAP_FAILED);
	EXPECT_TRUE(congruent(p, phys, max_leaf));
	munmap(p, AREA_SIZE);
	munmap(room, AREA_SIZE + SZ_4K);
}

TEST_F(mmap_align, fixed)
{
	char *room = reserve(NULL, AREA_SIZE + SZ_4K, 0);
	char *want;

	ASSERT_NE(room, MAP_FAILED);
	want = room + (congruent(room, phys, SZ_2M) ? SZ_4K : 0);

	EXPECT_EQ(map(want, AREA_SIZE, 0, MAP_FIXED), want);
	EXPECT_EQ(map(want, AREA_SIZE, 0, MAP_FIXED_NOREPLACE), MAP_FAILED);
	EXPECT_EQ(errno, EEXIST);
	munmap(want, AREA_SIZE);
	EXPECT_EQ(map(want, AREA_SIZE, 0, MAP_FIXED_NOREPLACE), want);
	munmap(room, AREA_SIZE + SZ_4K);
}

#ifdef MAP_32BIT
TEST_F(mmap_align, low)
{
	void *p = map(NULL, SZ_4M, 0, MAP_32BIT);

	ASSERT_NE(p, MAP_FAILED);
	EXPECT_LT((unsigned long)p, SZ_2G);
	munmap(p, SZ_4M);
}
#endif

/* The search wants more than the mapping needs: that must not count. */
TEST_F(mmap_align, rlimit)
{
	struct rlimit old, rl;
	unsigned long pages;
	void *p;
	FILE *f;

	spoil_luck(AREA_SIZE, phys);
	f = fopen("/proc/self/statm", "r");
	ASSERT_NE(f, NULL);
	ASSERT_EQ(fscanf(f, "%lu", &pages), 1);
	fclose(f);

	ASSERT_EQ(getrlimit(RLIMIT_AS, &old), 0);
	rl = old;
	rl.rlim_cur = pages * getpagesize() + AREA_SIZE + SZ_1M;
	ASSERT_EQ(setrlimit(RLIMIT_AS, &rl), 0);
	p = map(NULL, AREA_SIZE, 0, 0);
	setrlimit(RLIMIT_AS, &old);
	ASSERT_NE(p, MAP_FAILED);
	EXPECT_TRUE(congruent(p, phys, max_leaf));
	munmap(p, AREA_SIZE);
}

/* All address space is taken but a hole of @len + @spare at @off from 1G. */
static void *map_into_hole(unsigned long off, unsigned long spare)
{
	unsigned long room = AREA_SIZE + 2UL * SZ_1G + off + spare;
	char *hole = reserve(NULL, room, 0);

	VFIO_ASSERT_NE(hole, MAP_FAILED);
	hole += (phys + off - (unsigned long)hole) % SZ_1G;
	for (unsigned long len = 1UL << 46; len >= SZ_4K; )
		if (reserve(NULL, len, 0) == MAP_FAILED)
			len /= 2;
	VFIO_ASSERT_EQ(munmap(hole, AREA_SIZE + spare), 0);

	return map(NULL, AREA_SIZE, 0, 0);
}

TEST_F(mmap_align, hole_exact)
{
	EXPECT_NE(map_into_hole(SZ_4K, 0), MAP_FAILED);
}

/* The search for 2M asks for 2M more, that for 1G for 1G more. */
TEST_F(mmap_align, hole_2m)
{
	EXPECT_TRUE(congruent(map_into_hole(SZ_4K, SZ_2M), phys, SZ_2M));
}

TEST_F(mmap_align, hole_1g)
{
	EXPECT_TRUE(congruent(map_into_hole(SZ_4K, SZ_1G), phys, max_leaf));
}

/* No place, an error: not one that the search made up. */
TEST_F(mmap_align, no_hole)
{
	map_into_hole(SZ_4K, 0);
	EXPECT_EQ(map(NULL, AREA_SIZE, 0, 0), MAP_FAILED);
	EXPECT_EQ(errno, ENOMEM);
}

/* Several VMAs move at once, which mremap() allows only to files it trusts. */
TEST_F(mmap_align, mremap_several)
{
	char *from = reserve(NULL, SZ_8M, 0), *to = reserve(NULL, SZ_8M, 0);
	u64 value = 0x1122334455667788;

	ASSERT_NE(from, MAP_FAILED);
	ASSERT_NE(to, MAP_FAILED);
	munmap(from, SZ_8M);
	ASSERT_EQ(map(from + SZ_4K, SZ_2M, SZ_2M, MAP_FIXED), from + SZ_4K);
	ASSERT_EQ(map(from + SZ_4M, SZ_2M, SZ_8M, MAP_FIXED), from + SZ_4M);
	WRITE_ONCE(*(u64 *)(from + SZ_4M), value);

	EXPECT_EQ(mremap(from + SZ_4K, SZ_8M - SZ_8K, SZ_8M - SZ_8K,
			 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	EXPECT_EQ(READ_ONCE(*(u64 *)(to + SZ_4M - SZ_4K)), value);
	munmap(to, SZ_8M);
}

int main(int argc, char *argv[])
{
	device_bdf = vfio_selftests_get_bdf(&argc, argv);
	return test_harness_run(argc, argv);
}
