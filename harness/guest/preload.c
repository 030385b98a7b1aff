// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into QEMU: how long does the kernel take to map a BAR for DMA? One line on stderr for
 * each VFIO_IOMMU_MAP_DMA of a gigabyte or more. On a machine whose clock counts instructions
 * (-icount shift=0), nanoseconds are instructions. With NOTHP in the environment, huge pages are
 * off for QEMU, and the BAR is mapped by 4K pages.
 */
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

__attribute__((constructor)) static void no_thp(void)
{
	if (getenv("NOTHP") && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		exit(1);
}

int ioctl(int fd, unsigned long request, ...)
{
	const struct vfio_iommu_type1_dma_map *map;
	va_list args;
	void *arg;
	long start;
	int ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	start = now();
	ret = syscall(SYS_ioctl, fd, request, arg);
	map = arg;
	if (request == VFIO_IOMMU_MAP_DMA && map->size >= 0x40000000)
		fprintf(stderr, "map_dma va %#llx size %llu ns %ld%s\n",
			map->vaddr, map->size, now() - start, ret ? " failed" : "");
	return ret;
}
