/* SPDX-License-Identifier: GPL-2.0-only */
/* What lib/test_pfnmap.c and its selftest have in common. */
#ifndef _LIB_TEST_PFNMAP_UAPI_H
#define _LIB_TEST_PFNMAP_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* An mmap() at a multiple of this does something else in the driver. */
#define TEST_PFNMAP_MODE	(1UL << 40)
/* Something wrong: */
#define TEST_PFNMAP_TWICE	1	/* maps all, then half of it again */
#define TEST_PFNMAP_PART	2	/* maps all, then a page in the middle again */
#define TEST_PFNMAP_MIDWAY	3	/* maps the last page, then all */
/* Something odd: */
#define TEST_PFNMAP_FAULT	4	/* maps when there is a fault */
#define TEST_PFNMAP_WC		5	/* maps write-combining */
#define TEST_PFNMAP_WT		6	/* maps write-through */

struct test_pfnmap_range {
	__u64 offset;
	__u64 len;
};

/* unmap_mapping_range() */
#define TEST_PFNMAP_UNMAP	_IOW('P', 0x50, struct test_pfnmap_range)
/* request_mem_region(), until the device is closed or claims something else */
#define TEST_PFNMAP_CLAIM	_IOW('P', 0x51, struct test_pfnmap_range)
/* How often faults have lost a race */
#define TEST_PFNMAP_RACES	_IO('P', 0x52)

#endif
