/* SPDX-License-Identifier: GPL-2.0-only */
/* For tests of memslots over a BAR */
#ifndef SELFTEST_KVM_PFNMAP_H
#define SELFTEST_KVM_PFNMAP_H

#include <linux/pci_regs.h>

#include <libvfio.h>
#include <test_util.h>

/* A BAR of @device that has at least @size bytes, with its memory enabled. */
static inline struct vfio_pci_bar *find_bar(struct vfio_pci_device *device, u64 size)
{
	int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		if (device->bars[i].vaddr && device->bars[i].info.size >= size)
			break;
	__TEST_REQUIRE(i < PCI_STD_NUM_BARS, "Device %s has no BAR of %#lx bytes", device->bdf,
		       size);
	vfio_pci_cmd_set(device, PCI_COMMAND_MEMORY);
	return &device->bars[i];
}

static inline u64 get_vmstat(const char *name)
{
	char line[128];
	u64 n = ~0ull;
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ' ')
			n = strtoull(line + strlen(name), NULL, 0);
	TEST_ASSERT(n != ~0ull, "No %s in /proc/vmstat", name);
	fclose(f);
	return n;
}

#endif /* SELFTEST_KVM_PFNMAP_H */
