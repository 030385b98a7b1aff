// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where mmap() places a BAR in a 32-bit task: where it places any other file,
 * packed, however large the leaves are that the mapping could hold.
 *
 * As a 64-bit program it must fail: there the address suits the leaves.
 *
 * Built with nolibc, which needs no 32-bit libc to be installed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "../kselftest_harness.h"

#define SZ_4K	0x1000UL
#define SZ_2M	0x200000UL
#define SZ_1G	0x40000000UL

static const char *device_bdf;

/* The BAR. Each test runs in a process of its own. */
static unsigned long long phys;
static int bar_index;
static off_t bar_offset;		/* in the file that maps it */

/* The device's entry in /dev/vfio/devices, opened and bound to an iommufd. */
static int open_vfio(void)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_region_info info = { .argsz = sizeof(info), .index = bar_index };
	struct dirent entry, *found;
	char path[300];
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", device_bdf);
	dir = opendir(path);
	if (!dir)
		return -1;
	do {
		if (readdir_r(dir, &entry, &found) || !found)
			return -1;
	} while (entry.d_name[0] == '.');
	closedir(dir);

	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry.d_name);
	fd = open(path, O_RDWR);
	bind.iommufd = open("/dev/iommu", O_RDWR);
	if (ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) ||
	    ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -1;
	bar_offset = info.offset;
	return fd;
}

static int open_sysfs(void)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%d",
		 device_bdf, bar_index);
	return open(path, O_RDWR);
}

static int open_devmem(void)
{
	bar_offset = phys;
	return open("/dev/mem", O_RDWR | O_SYNC);
}

#define NOWHERE		((unsigned long)MAP_FAILED)

static unsigned long map(int fd, size_t len)
{
	return (unsigned long)mmap(NULL, len, PROT_READ | PROT_WRITE,
				   MAP_SHARED, fd, bar_offset);
}

FIXTURE(mmap_compat) {
	int fd;
};

FIXTURE_VARIANT(mmap_compat) {
	int (*open)(void);
};

FIXTURE_VARIANT_ADD(mmap_compat, vfio) {
	.open = open_vfio,
};

FIXTURE_VARIANT_ADD(mmap_compat, sysfs) {
	.open = open_sysfs,
};

FIXTURE_VARIANT_ADD(mmap_compat, devmem) {
	.open = open_devmem,
};

FIXTURE_SETUP(mmap_compat)
{
	unsigned long long end;
	char line[100], *rest;
	bool found = false;
	unsigned long p;
	FILE *f;

	snprintf(line, sizeof(line), "/sys/bus/pci/devices/%s/resource", device_bdf);
	f = fopen(line, "r");
	while (f && !found && fgets(line, sizeof(line), f)) {
		phys = strtoull(line, &rest, 16);
		end = strtoull(rest, NULL, 16);
		found = end - phys >= 2 * SZ_1G - 1;
		bar_index += !found;
	}
	ASSERT_TRUE(found) {
		TH_LOG("%s has no BAR of 2G", device_bdf);
	}
	fclose(f);

	self->fd = variant->open();
	ASSERT_GE(self->fd, 0);

	p = map(self->fd, SZ_4K);
	if (p == NOWHERE && variant->open != open_vfio)
		SKIP(return, "A driver has the BAR for itself (IO_STRICT_DEVMEM)");
	ASSERT_NE(p, NOWHERE);
	ASSERT_EQ(0, munmap((void *)p, SZ_4K));
}

FIXTURE_TEARDOWN(mmap_compat)
{
	close(self->fd);
}

/* Two mappings lie where memory would lie, one beneath the other. */
static bool packed(int fd, unsigned long len)
{
	char *room = mmap(NULL, 2 * len + 2 * SZ_4K, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned long start = (unsigned long)room;
	unsigned long first = start + len + SZ_4K, p, q;

	/* A place that would suit the leaves tells nothing. */
	if (!((first - phys) % SZ_2M))
		first -= SZ_4K;
	if (room == MAP_FAILED || munmap(room, first + len - start))
		return false;

	p = map(fd, len);
	q = map(fd, len);
	ksft_print_msg("%#lx and %#lx, memory: %#lx and %#lx\n", p, q, first, first - len);
	return p == first && q == first - len;
}

TEST_F(mmap_compat, no_leaf)
{
	EXPECT_TRUE(packed(self->fd, SZ_2M - SZ_4K));
}

TEST_F(mmap_compat, leaf_2m)
{
	EXPECT_TRUE(packed(self->fd, 2 * SZ_2M));
}

TEST_F(mmap_compat, leaf_1g)
{
	EXPECT_TRUE(packed(self->fd, SZ_1G + SZ_4K));
}

int main(int argc, char *argv[])
{
	if (argc < 2) {
		printf("usage: %s [OPTION]... BDF\n", argv[0]);
		return KSFT_FAIL;
	}
	device_bdf = argv[--argc];
	return test_harness_run(argc, argv);
}
