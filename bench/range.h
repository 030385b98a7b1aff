/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A range of memory to measure: what is behind it, its mapping, a VM with a memslot over it; the
 * clock and the form of a result. The clock counts instructions when the machine runs under QEMU's
 * "-icount shift=0".
 */
#ifndef BENCH_RANGE_H
#define BENCH_RANGE_H

#include <sys/mman.h>
#include <sys/personality.h>

#include <linux/align.h>
#include <linux/sizes.h>

#include <kvm_util.h>
#include <processor.h>
#include <test_util.h>
#include <ucall_common.h>
#include <libvfio.h>

#define SLOT		10
#define SLOT_GPA	SZ_4G
#define SLOT_GVA	BIT_ULL(45)

enum via { VIA_VFIO, VIA_NOIOMMU, VIA_SYSFS, VIA_DEVMEM, VIA_ANON, NR_VIAS };

static const char * const via_names[NR_VIAS] = { "vfio", "noiommu", "sysfs", "devmem", "anon" };

struct range {
	enum via via;
	const char *bdf;
	int bar;
	u64 phys;		/* of /dev/mem */
	u64 size;
	u64 offset;		/* (VA - PA) mod 1G; anonymous memory: VA mod 1G */
	u64 base;		/* place the range in the GiB from here on; 0: anywhere */
	bool null;		/* the kernel chooses the VA */

	void *va;
	u64 mmap_insns;
};

static inline u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* Begin and end of what breakdown.c counts by function: two long nops. */
static __always_inline void window_open(void)
{
	asm volatile(".byte 0x0f, 0x1f, 0x80; .ascii \"OPEN\"" ::: "memory");
}

static __always_inline void window_close(void)
{
	asm volatile(".byte 0x0f, 0x1f, 0x80; .ascii \"CLSE\"" ::: "memory");
}

/* A result: one line "# json {...}" */
static inline void json_open(const char *table, const char *row)
{
	ksft_print_msg("json {\"table\":\"%s\",\"row\":\"%s\"", table, row);
}

static inline void json_number(const char *name, u64 value)
{
	printf(",\"%s\":%lu", name, value);
}

static inline void json_close(void)
{
	printf("}\n");
}

/* The same addresses in each run, or mmap(NULL) differs between boots. */
static inline void no_randomization(char *argv[])
{
	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
		personality(ADDR_NO_RANDOMIZE);
		execv("/proc/self/exe", argv);
	}
	program_invocation_name = "/proc/self/exe";	/* libkvm loads the guest's code from it */
}

static inline int pci_open(const struct range *r, const char *attr, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", r->bdf, attr);
	return open(path, flags);
}

static inline void write_or_fail(int fd, const char *text, const char *what)
{
	TEST_ASSERT(fd >= 0, "%s cannot be opened (errno %d)", what, errno);
	TEST_ASSERT(write(fd, text, strlen(text)) > 0, "%s does not take \"%s\" (errno %d)", what,
		    text, errno);
	close(fd);
}

static inline u64 bar_pa(const struct range *r)
{
	char text[2048] = "", *line = text;
	unsigned long long start, end;
	int fd, i;

	fd = pci_open(r, "resource", O_RDONLY);
	TEST_ASSERT(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0, "no device %s", r->bdf);
	close(fd);
	for (i = 0; i < r->bar; i++)
		line = strchr(line, '\n') + 1;
	TEST_ASSERT(sscanf(line, "%llx %llx", &start, &end) == 2 && start,
		    "%s has no BAR %d", r->bdf, r->bar);
	TEST_ASSERT(r->size <= end - start + 1, "%s: BAR %d has only %#llx bytes", r->bdf, r->bar,
		    end - start + 1);
	return start;
}

static inline void pci_unbind(const struct range *r)
{
	int fd = pci_open(r, "driver/unbind", O_WRONLY);

	if (fd >= 0)
		write_or_fail(fd, r->bdf, "unbind");
}

static inline int vfio_open(const struct range *r, off_t *pgoff)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = r->bar };
	static struct vfio_pci_device *device;
	struct iommu *iommu;

	if (device)
		goto opened;
	pci_unbind(r);
	write_or_fail(pci_open(r, "driver_override", O_WRONLY), "vfio-pci", "driver_override");
	write_or_fail(open("/sys/bus/pci/drivers_probe", O_WRONLY), r->bdf, "drivers_probe");

	/* vfio_pci_device_init() would map every BAR, and ours would not be the first mmap(). */
	iommu = iommu_init(MODE_IOMMUFD);
	device = vfio_pci_device_alloc(r->bdf, iommu);
	vfio_pci_cdev_open(device, r->bdf);
	VFIO_ASSERT_EQ(__vfio_device_bind_iommufd(device->fd, iommu->iommufd, NULL), 0);
opened:
	ioctl_assert(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info);
	TEST_ASSERT(info.flags & VFIO_REGION_INFO_FLAG_MMAP, "BAR %d cannot be mapped", r->bar);
	*pgoff = info.offset;
	return device->fd;
}

/* On a machine without an IOMMU; vfio.enable_unsafe_noiommu_mode=1 */
static inline int noiommu_open(const struct range *r, off_t *pgoff)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = r->bar };
	int container, group, device;
	char path[64], *name;

	snprintf(path, sizeof(path), "/dev/vfio/noiommu-%d", sysfs_iommu_group_get(r->bdf));
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(path, O_RDWR);
	TEST_ASSERT(container >= 0 && group >= 0, "%s cannot be opened (errno %d)", path, errno);
	ioctl_assert(group, VFIO_GROUP_SET_CONTAINER, &container);
	ioctl_assert(container, VFIO_SET_IOMMU, (void *)VFIO_NOIOMMU_IOMMU);
	name = (char *)r->bdf;
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	TEST_ASSERT(device >= 0, "no device %s (errno %d)", name, errno);
	ioctl_assert(device, VFIO_DEVICE_GET_REGION_INFO, &info);
	TEST_ASSERT(info.flags & VFIO_REGION_INFO_FLAG_MMAP, "BAR %d cannot be mapped", r->bar);
	*pgoff = info.offset;
	return device;
}

static inline int devmem_open(const struct range *r, off_t *pgoff)
{
	int fd = open("/dev/mem", O_RDWR);

	TEST_ASSERT(fd >= 0, "/dev/mem cannot be opened (errno %d)", errno);
	*pgoff = r->phys;
	return fd;
}

static inline int sysfs_open(const struct range *r)
{
	char attr[16];
	int fd;

	pci_unbind(r);
	write_or_fail(pci_open(r, "enable", O_WRONLY), "1", "enable");
	snprintf(attr, sizeof(attr), "resource%d", r->bar);
	fd = pci_open(r, attr, O_RDWR);
	TEST_ASSERT(fd >= 0, "%s: cannot open %s", r->bdf, attr);
	return fd;
}

/* The start of a hole with room for @size bytes from any offset in its first GiB. */
static inline u64 find_hole(u64 size)
{
	void *hole = mmap(NULL, size + SZ_1G, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	TEST_ASSERT(hole != MAP_FAILED, "no hole of %#lx bytes", size);
	munmap(hole, size + SZ_1G);
	return (u64)hole;
}

static inline void map_range(struct range *r)
{
	int flags = MAP_SHARED, fd = -1;
	u64 hint = 0, pa = 0, start;
	off_t pgoff = 0;

	if (r->via == VIA_ANON) {
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
	} else if (r->via == VIA_DEVMEM) {
		pa = r->phys;
		fd = devmem_open(r, &pgoff);
	} else {
		pa = bar_pa(r);
		fd = r->via == VIA_SYSFS ? sysfs_open(r) :
		     r->via == VIA_VFIO ? vfio_open(r, &pgoff) : noiommu_open(r, &pgoff);
	}
	if (!r->null) {
		hint = r->base ?: find_hole(r->size);
		hint += (pa + r->offset - hint) & (SZ_1G - 1);
		flags |= MAP_FIXED_NOREPLACE;
	}

	now();		/* the first use of the clock faults in its page */
	start = now();
	r->va = mmap((void *)hint, r->size, PROT_READ | PROT_WRITE, flags, fd, pgoff);
	r->mmap_insns = now() - start;
	TEST_ASSERT(r->va != MAP_FAILED, "mmap of %#lx bytes failed (errno %d)", r->size, errno);
}

static inline void prefault(struct kvm_vcpu *vcpu, u64 gpa, u64 size)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };
	int ret;

	while (range.size) {
		ret = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
		TEST_ASSERT(!ret || errno == EINTR || errno == EAGAIN,
			    "KVM_PRE_FAULT_MEMORY failed at %#llx (errno %d)", range.gpa, errno);
	}
}

struct slot_vm {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	u64 gpa, gva;		/* of the slot */
};

/*
 * A VM whose own memory (code, stack, page tables) is mapped already, so that what follows concerns
 * the memslot only. The slot is congruent to the hva modulo 1G, else KVM could not use a leaf.
 */
static inline struct slot_vm vm_with_slot(const struct range *r, void *guest_code, u32 flags)
{
	u64 in_1g = (u64)r->va & (SZ_1G - 1);
	struct userspace_mem_region *own;
	struct slot_vm s;

	TEST_ASSERT(kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY), "no KVM_PRE_FAULT_MEMORY");
	s.vm = vm_create_with_one_vcpu(&s.vcpu, guest_code);
	s.gpa = SLOT_GPA + in_1g;
	s.gva = SLOT_GVA + in_1g;
	vm_set_user_memory_region(s.vm, SLOT, flags, s.gpa, r->size, r->va);
	virt_map_level(s.vm, SLOT_GVA, SLOT_GPA, ALIGN(in_1g + r->size, SZ_1G), PG_LEVEL_1G);

	own = memslot2region(s.vm, 0);
	TEST_ASSERT(!madvise(own->host_mem, own->region.memory_size, MADV_POPULATE_WRITE),
		    "not enough memory for the VM");
	prefault(s.vcpu, own->region.guest_phys_addr, own->region.memory_size);
	return s;
}

static inline void run_guest(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	TEST_ASSERT(uc.cmd == UCALL_DONE, "the guest stopped with ucall %lu", uc.cmd);
}

#endif /* BENCH_RANGE_H */
