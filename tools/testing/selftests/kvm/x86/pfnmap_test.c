// SPDX-License-Identifier: GPL-2.0-only
/*
 * A memslot over a PCI BAR: KVM maps it by the leaves of the host's mapping,
 * and treats it like a memslot over RAM, which is tested beside it.
 */
#include <sys/mman.h>

#include <linux/align.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include <kvm_util.h>
#include <libvfio.h>
#include <processor.h>
#include <test_util.h>

#include "../kselftest_harness.h"
#include "pfnmap.h"

#define SLOT		10
#define RAM_SLOT	11
#define GPA		SZ_4G
#define GPA_SIZE	(16ull * SZ_1G)		/* that the guest maps */
#define GPA_ELSEWHERE	(8ull * SZ_1G)
#define GVA		BIT_ULL(45)
#define RAM_SIZE	(48ull * SZ_1M)
#define MAX_TOUCHES	2048

/* What a word of a page holds: each page has a number of its own. */
#define NUMBER(off)	(0x5a5a000000000000ull + (off))

static const char *device_bdf;

enum op { READ, WRITE, WRITE_SSE, WRITE_AVX, COPY };

/* What the guest is to do, and what it read. */
static struct {
	enum op op;
	u64 nr;
	u64 to;				/* COPY: gva */
	u64 gva[MAX_TOUCHES];
	u64 value[MAX_TOUCHES];
} work;

static __always_inline void guest_access(u64 i)
{
	u64 gva = work.gva[i], wide[4] = { work.value[i], ~work.value[i], 3, 4 };

	switch (work.op) {
	case READ:
		work.value[i] = READ_ONCE(*(u64 *)gva);
		break;
	case WRITE:
		WRITE_ONCE(*(u64 *)gva, work.value[i]);
		break;
	case WRITE_SSE:
		asm volatile("movq %0, %%xmm0\n\t"
			     "movlps %%xmm0, (%1)"
			     :: "m"(wide[0]), "r"(gva) : "memory", "xmm0");
		break;
	case WRITE_AVX:
		asm volatile("vmovdqu %0, %%ymm0\n\t"
			     "vextractf128 $0, %%ymm0, (%1)"
			     :: "m"(wide), "r"(gva) : "memory", "xmm0");
		break;
	case COPY:
		WRITE_ONCE(*(u64 *)(work.to + i * SZ_4K), READ_ONCE(*(u64 *)gva));
		break;
	}
}

/* In one page, and uses the same pages in each run, whatever the work is. */
static __aligned(SZ_4K) void guest_code(void)
{
	u64 i;

	for (;;) {
		for (i = 0; i < MAX_TOUCHES; i++) {
			(void)READ_ONCE(work.gva[i]);
			WRITE_ONCE(work.value[i], work.value[i]);
		}
		for (i = 0; i < work.nr; i++)
			guest_access(i);
		GUEST_SYNC(work.nr);
	}
}

enum via { VIA_VFIO, VIA_SYSFS, VIA_RAM };

struct leaves {
	long n4k, n2m, n1g;
};

struct slot {
	u32 id, flags;
	u64 gpa, size;
	char *hva;
	u64 leaf;			/* the largest of the host's mapping */
};

FIXTURE(pfnmap)
{
	struct iommu *iommu;
	struct vfio_pci_device *device;
	struct vfio_pci_bar *bar;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct leaves before;		/* the VM's own memory */
	bool ram;
	char *area;
	u64 area_size;
	struct slot slot;		/* a part of the area that begins and ends with 4K */
	u64 nr;
	u64 off[MAX_TOUCHES];		/* places in the slot, as offsets in the area */
};

FIXTURE_VARIANT(pfnmap)
{
	enum via via;
	u64 misalign;			/* of the hva to the pfn, so that this is the leaf */
};

FIXTURE_VARIANT_ADD(pfnmap, vfio_1g)
{
	.via = VIA_VFIO,
	.misalign = 0,
};

FIXTURE_VARIANT_ADD(pfnmap, vfio_2m)
{
	.via = VIA_VFIO,
	.misalign = SZ_2M,
};

FIXTURE_VARIANT_ADD(pfnmap, vfio_4k)
{
	.via = VIA_VFIO,
	.misalign = SZ_4K,
};

FIXTURE_VARIANT_ADD(pfnmap, sysfs_1g)
{
	.via = VIA_SYSFS,
	.misalign = 0,
};

FIXTURE_VARIANT_ADD(pfnmap, sysfs_2m)
{
	.via = VIA_SYSFS,
	.misalign = SZ_2M,
};

FIXTURE_VARIANT_ADD(pfnmap, sysfs_4k)
{
	.via = VIA_SYSFS,
	.misalign = SZ_4K,
};

FIXTURE_VARIANT_ADD(pfnmap, ram_2m)
{
	.via = VIA_RAM,
	.misalign = SZ_2M,
};

FIXTURE_VARIANT_ADD(pfnmap, ram_4k)
{
	.via = VIA_RAM,
	.misalign = SZ_4K,
};

static bool thp_never(void)
{
	char text[64] = "";
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");

	if (!f)
		return true;
	TEST_ASSERT(fgets(text, sizeof(text), f), "THP can be neither on nor off");
	fclose(f);
	return strstr(text, "[never]");
}

static char *map_ram(u64 size, bool huge)
{
	char *p = mmap_reserve(size, SZ_1G, SZ_2M);

	TEST_ASSERT(mmap(p, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p, "mmap failed");
	madvise(p, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	TEST_ASSERT(!madvise(p, size, MADV_POPULATE_WRITE), "Not enough memory");
	return p;
}

static char *map_bar(struct vfio_pci_device *device, struct vfio_pci_bar *bar, enum via via,
		     u64 size, u64 misalign)
{
	off_t off = via == VIA_VFIO ? bar->info.offset : 0;
	int fd = device->fd;
	char path[128], *p;

	if (via == VIA_SYSFS) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%u", device_bdf,
			 bar->info.index);
		fd = open(path, O_RDWR);
		TEST_ASSERT(fd >= 0, "Cannot open %s", path);
	}
	p = mmap_reserve(size, SZ_1G, misalign);
	TEST_ASSERT(mmap(p, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, off) == p,
		    "mmap failed");
	return p;
}

/* The size of the leaf by which KVM maps @off of the area. */
static u64 leaf_at(char *area, const struct slot *slot, u64 off)
{
	u64 hva = (u64)area + off, slot_hva = (u64)slot->hva, size, start;

	for (size = slot->leaf; size > SZ_4K; size = size == SZ_1G ? SZ_2M : SZ_4K) {
		start = hva & ~(size - 1);
		if (!((slot_hva - slot->gpa) & (size - 1)) && start >= slot_hva &&
		    start + size <= slot_hva + slot->size)
			break;
	}
	return size;
}

static struct leaves expected(char *area, const struct slot *slot, const u64 *off, u64 nr)
{
	u64 i, size, start, end = 0;
	struct leaves n = {};

	for (i = 0; i < nr; i++) {
		if (off[i] < end)
			continue;
		size = leaf_at(area, slot, off[i]);
		start = ((u64)area + off[i]) & ~(size - 1);
		end = start + size - (u64)area;
		n.n4k += size == SZ_4K;
		n.n2m += size == SZ_2M;
		n.n1g += size == SZ_1G;
	}
	return n;
}

static struct leaves vm_leaves(struct kvm_vm *vm)
{
	return (struct leaves) {
		vm_get_stat(vm, pages_4k), vm_get_stat(vm, pages_2m), vm_get_stat(vm, pages_1g),
	};
}

static u64 to_gva(const struct slot *slot, const char *hva)
{
	return GVA + slot->gpa + (hva - slot->hva) - GPA;
}

/* Let the guest do @op at each place, at the number's word plus @word. */
static void prepare(FIXTURE_DATA(pfnmap) * self, enum op op, u64 word, u64 salt)
{
	u64 i;

	work.op = op;
	work.nr = self->nr;
	for (i = 0; i < self->nr; i++) {
		work.gva[i] = to_gva(&self->slot, self->area + self->off[i]) + word * 8;
		work.value[i] = NUMBER(self->off[i]) + salt;
	}
	sync_global_to_guest(self->vm, work);
}

static void run(FIXTURE_DATA(pfnmap) * self, enum op op, u64 word, u64 salt)
{
	struct ucall uc;

	prepare(self, op, word, salt);
	vcpu_run(self->vcpu);
	TEST_ASSERT(get_ucall(self->vcpu, &uc) == UCALL_SYNC && uc.args[1] == self->nr,
		    "The guest stopped with %s, ucall %lu",
		    exit_reason_str(self->vcpu->run->exit_reason), uc.cmd);
	sync_global_from_guest(self->vm, work);
}

static void check_read(FIXTURE_DATA(pfnmap) * self)
{
	u64 i;

	run(self, READ, 0, 0);
	for (i = 0; i < self->nr; i++)
		TEST_ASSERT(work.value[i] == NUMBER(self->off[i]),
			    "The guest read %#lx at offset %#lx", work.value[i], self->off[i]);
}

static void check_write(FIXTURE_DATA(pfnmap) * self, enum op op, u64 word, u64 salt)
{
	u64 i, value;

	run(self, op, word, salt);
	for (i = 0; i < self->nr; i++) {
		value = READ_ONCE(((u64 *)(self->area + self->off[i]))[word]);
		TEST_ASSERT(value == NUMBER(self->off[i]) + salt,
			    "The host reads %#lx at offset %#lx", value, self->off[i]);
	}
}

/* The guest's next access, to the first place, is for user space to handle. */
static void check_mmio(FIXTURE_DATA(pfnmap) * self, enum op op, u64 word)
{
	struct kvm_run *run = self->vcpu->run;
	u64 nr = self->nr;
	struct ucall uc;

	self->nr = 1;
	prepare(self, op, word, 0);
	vcpu_run(self->vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(self->vcpu, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(run->mmio.is_write, op == WRITE);
	TEST_ASSERT_EQ(run->mmio.phys_addr, work.gva[0] - GVA + GPA);
	vcpu_run(self->vcpu);
	TEST_ASSERT_EQ(get_ucall(self->vcpu, &uc), UCALL_SYNC);
	self->nr = nr;
}

static void check_efault(FIXTURE_DATA(pfnmap) * self, enum op op, u64 word)
{
	int r;

	prepare(self, op, word, 0);
	r = __vcpu_run(self->vcpu);
	TEST_ASSERT(r == -1 && errno == EFAULT, "KVM_RUN returned %d, errno %d, not EFAULT", r,
		    errno);
}

#define ASSERT_LEAVES(a, b) do {		\
	struct leaves _a = (a), _b = (b);	\
						\
	ASSERT_EQ(_a.n4k, _b.n4k);		\
	ASSERT_EQ(_a.n2m, _b.n2m);		\
	ASSERT_EQ(_a.n1g, _b.n1g);		\
} while (0)

/* What the leaves of the slot must be once all places were accessed. */
static struct leaves want(FIXTURE_DATA(pfnmap) * self)
{
	return expected(self->area, &self->slot, self->off, self->nr);
}

/* What there is, if up to @n4k leaves of 4K are wanted */
static struct leaves have_of(FIXTURE_DATA(pfnmap) * self, long n4k)
{
	struct leaves now = vm_leaves(self->vm);

	now.n4k -= self->before.n4k;
	now.n2m -= self->before.n2m;
	now.n1g -= self->before.n1g;
	/*
	 * Shadow paging maps the pages of RAM that are around one, too: those of
	 * the slot unless its log is on, and the VM's own.
	 */
	if (self->ram && !kvm_is_tdp_enabled())
		now.n4k = min(now.n4k, n4k);
	return now;
}

static struct leaves have(FIXTURE_DATA(pfnmap) * self)
{
	return have_of(self, want(self).n4k);
}

static const struct leaves none;

/*
 * Fault in the VM's own memory, of which there is no more and no less in other
 * runs of the guest, so that only the slot makes a difference.
 */
static void settle(FIXTURE_DATA(pfnmap) * self)
{
	struct userspace_mem_region *own = memslot2region(self->vm, 0);
	struct kvm_pre_fault_memory range = {
		.gpa = own->region.guest_phys_addr,
		.size = own->region.memory_size,
	};
	struct ucall uc;

	while (range.size && kvm_is_tdp_enabled())
		vcpu_ioctl(self->vcpu, KVM_PRE_FAULT_MEMORY, &range);
	work.op = READ;
	work.nr = 1;
	work.gva[0] = (u64)&work.value[0];
	sync_global_to_guest(self->vm, work);
	vcpu_run(self->vcpu);
	TEST_ASSERT_EQ(get_ucall(self->vcpu, &uc), UCALL_SYNC);
}

static void set_slot(FIXTURE_DATA(pfnmap) * self, const struct slot *slot)
{
	vm_set_user_memory_region(self->vm, slot->id, slot->flags, slot->gpa, slot->size,
				  slot->hva);
	settle(self);
}

static void delete_slot(FIXTURE_DATA(pfnmap) * self, const struct slot *slot)
{
	vm_set_user_memory_region(self->vm, slot->id, 0, slot->gpa, 0, slot->hva);
	settle(self);
}

/*
 * Map the slot for the guest by 1G pages that are dirty: shadow paging has page
 * tables of its own for those that are not, and would map the slot twice.
 */
static void map_for_guest(struct kvm_vm *vm)
{
	u64 gva, *pte;
	int level;

	virt_map_level(vm, GVA, GPA, GPA_SIZE, PG_LEVEL_1G);
	for (gva = GVA; gva < GVA + GPA_SIZE; gva += SZ_1G) {
		pte = &vm->mmu.pgd;
		for (level = vm->mmu.pgtable_levels; level >= PG_LEVEL_1G; level--) {
			pte = addr_gpa2hva(vm, *pte & PHYSICAL_PAGE_MASK);
			pte += (gva >> PG_LEVEL_SHIFT(level)) % 512;
		}
		*pte |= PTE_ACCESSED_MASK(&vm->mmu) | PTE_DIRTY_MASK(&vm->mmu);
	}
}

FIXTURE_SETUP(pfnmap)
{
	struct userspace_mem_region *own;
	struct slot *slot = &self->slot;
	u64 start, end, off;

	self->iommu = iommu_init(default_iommu_mode);
	self->device = vfio_pci_device_init(device_bdf, self->iommu);
	self->ram = variant->via == VIA_RAM;
	self->area_size = self->ram ? RAM_SIZE : 3ull * SZ_1G;
	self->bar = find_bar(self->device, self->area_size);

	if (self->ram)
		self->area = map_ram(self->area_size, variant->misalign == SZ_2M);
	else
		self->area = map_bar(self->device, self->bar, variant->via, self->area_size,
				     variant->misalign);
	slot->id = SLOT;
	start = self->area_size / 6 - SZ_2M - SZ_8K;
	off = start;
	slot->hva = self->area + off;
	slot->size = self->area_size * 2 / 3 + SZ_2M + SZ_4K - off;
	slot->gpa = GPA + off + ((u64)self->area & (SZ_1G - 1));
	slot->leaf = variant->misalign ?: SZ_1G;
	if (self->ram && thp_never())
		slot->leaf = SZ_4K;

	/* Pages at both ends, and one of each 2M */
	for (end = off + slot->size; off < end; off += SZ_4K) {
		if (off - start >= SZ_16K && end - off > SZ_8K && (off & (SZ_2M - 1)) != SZ_4K)
			continue;
		TEST_ASSERT(self->nr < MAX_TOUCHES, "Too many places");
		self->off[self->nr++] = off;
	}
	for (u64 i = 0; i < self->nr; i++) {
		char *p = self->ram ? self->area : self->bar->vaddr;

		WRITE_ONCE(*(u64 *)(p + self->off[i]), NUMBER(self->off[i]));
	}

	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	map_for_guest(self->vm);
	own = memslot2region(self->vm, 0);
	TEST_ASSERT(!madvise(own->host_mem, own->region.memory_size, MADV_POPULATE_WRITE),
		    "Not enough memory");
	settle(self);
	self->before = vm_leaves(self->vm);
	set_slot(self, slot);
}

FIXTURE_TEARDOWN(pfnmap)
{
	kvm_vm_free(self->vm);
	munmap(self->area, self->area_size);
	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);
}

/* Where the memslot is not congruent to the hva, its leaves are smaller. */
TEST_F(pfnmap, levels)
{
	static const u64 shifts[] = { 0, SZ_4K, SZ_2M, SZ_512M, SZ_1G, 0 };
	u64 gpa = self->slot.gpa, taken;

	for (int i = 0; i < ARRAY_SIZE(shifts); i++) {
		delete_slot(self, &self->slot);
		ASSERT_LEAVES(have(self), none);
		self->slot.gpa = gpa + shifts[i];
		set_slot(self, &self->slot);
		check_read(self);
		ASSERT_LEAVES(have(self), want(self));
		/* Writable without another fault, as are the host's leaves */
		taken = vcpu_get_stat(self->vcpu, pf_taken);
		check_write(self, WRITE, 1, i);
		ASSERT_EQ(taken, vcpu_get_stat(self->vcpu, pf_taken));
	}
}

TEST_F(pfnmap, read_only)
{
	u64 *word = (u64 *)(self->area + self->off[0]) + 1;

	delete_slot(self, &self->slot);
	self->slot.flags = KVM_MEM_READONLY;
	set_slot(self, &self->slot);
	WRITE_ONCE(*word, 1);
	check_read(self);
	ASSERT_LEAVES(have(self), want(self));
	check_mmio(self, WRITE, 1);
	ASSERT_EQ(READ_ONCE(*word), 1);
	ASSERT_LEAVES(have(self), want(self));

	/* A host mapping that is read-only, in a slot of either kind */
	ASSERT_EQ(0, mprotect(self->area, self->area_size, PROT_READ));
	ASSERT_LEAVES(have(self), none);
	check_read(self);
	ASSERT_LEAVES(have(self), want(self));
	check_mmio(self, WRITE, 1);

	delete_slot(self, &self->slot);
	self->slot.flags = 0;
	set_slot(self, &self->slot);
	check_read(self);
	ASSERT_LEAVES(have(self), want(self));
	if (self->ram)
		check_efault(self, WRITE, 1);
	else
		check_mmio(self, WRITE, 1);
	ASSERT_EQ(READ_ONCE(*word), 1);
}

TEST_F(pfnmap, move_and_delete)
{
	struct slot before = self->slot, after = self->slot;

	check_read(self);
	after.gpa += GPA_ELSEWHERE - GPA;
	for (int i = 0; i < 3; i++) {
		self->slot = after;
		set_slot(self, &self->slot);
		ASSERT_LEAVES(have(self), none);
		check_read(self);
		check_write(self, WRITE, 1, i);
		ASSERT_LEAVES(have(self), want(self));

		self->slot = before;
		check_mmio(self, READ, 0);
		check_mmio(self, WRITE, 1);
		set_slot(self, &self->slot);
		ASSERT_LEAVES(have(self), none);
		check_read(self);
		check_write(self, WRITE, 1, i + 10);
		ASSERT_LEAVES(have(self), want(self));
	}
	delete_slot(self, &self->slot);
	ASSERT_LEAVES(have(self), none);
	check_mmio(self, READ, 0);
	check_mmio(self, WRITE, 1);
}

/* The dirty pages are those at the places if @written, else there are none. */
static void check_dirty(FIXTURE_DATA(pfnmap) * self, bool written)
{
	u64 i, page, found = 0, words = DIV_ROUND_UP(self->slot.size / SZ_4K, 64);
	unsigned long *log = calloc(words, sizeof(*log));

	TEST_ASSERT(log, "Not enough memory");
	kvm_vm_get_dirty_log(self->vm, self->slot.id, log);
	for (i = 0; written && i < self->nr; i++) {
		page = (self->area + self->off[i] - self->slot.hva) / SZ_4K;
		TEST_ASSERT(log[page / 64] & BIT_ULL(page % 64), "Page %#lx is not dirty", page);
	}
	for (i = 0; i < words; i++)
		found += __builtin_popcountl(log[i]);
	TEST_ASSERT_EQ(found, written ? self->nr : 0);
	free(log);
}

TEST_F(pfnmap, dirty_log)
{
	struct leaves small = { .n4k = self->nr };

	check_read(self);
	ASSERT_LEAVES(have(self), want(self));
	for (int i = 0; i < 2; i++) {
		self->slot.flags = KVM_MEM_LOG_DIRTY_PAGES;
		set_slot(self, &self->slot);
		check_dirty(self, false);
		check_read(self);
		check_dirty(self, false);
		for (int n = 0; n < 3; n++) {
			check_write(self, WRITE, 1, n);
			check_dirty(self, true);
		}
		check_dirty(self, false);
		ASSERT_EQ(0, have(self).n2m);
		ASSERT_EQ(0, have(self).n1g);

		self->slot.flags = 0;
		set_slot(self, &self->slot);
		/* Huge pages are recovered at once, or with the next fault. */
		if (kvm_is_tdp_enabled())
			ASSERT_LEAVES(have(self), want(self));
		check_read(self);
		check_write(self, WRITE, 1, 99);
		ASSERT_LEAVES(have(self), want(self));
	}

	/* Faulted in while the log is on: by the pages that are written */
	delete_slot(self, &self->slot);
	self->slot.flags = KVM_MEM_LOG_DIRTY_PAGES;
	set_slot(self, &self->slot);
	check_write(self, WRITE, 1, 3);
	check_dirty(self, true);
	ASSERT_LEAVES(have_of(self, small.n4k), small);
	self->slot.flags = 0;
	set_slot(self, &self->slot);
	check_read(self);
	ASSERT_LEAVES(have(self), want(self));
}

TEST_F(pfnmap, ram_beside)
{
	u64 ram_off[MAX_TOUCHES], size = ALIGN(self->nr * SZ_4K, SZ_2M);
	struct slot ram = {
		.id = RAM_SLOT,
		.gpa = GPA_ELSEWHERE + SZ_2M,
		.size = size,
		.hva = map_ram(size, true),
		.leaf = thp_never() ? SZ_4K : SZ_2M,
	};
	struct leaves both, more;

	for (u64 i = 0; i < self->nr; i++)
		ram_off[i] = i * SZ_4K;
	set_slot(self, &ram);
	work.to = to_gva(&ram, ram.hva);
	run(self, COPY, 0, 0);
	for (u64 i = 0; i < self->nr; i++)
		ASSERT_EQ(READ_ONCE(*(u64 *)(ram.hva + i * SZ_4K)), NUMBER(self->off[i]));
	both = want(self);
	more = expected(ram.hva, &ram, ram_off, self->nr);
	both.n4k += more.n4k;
	both.n2m += more.n2m;
	ASSERT_LEAVES(have_of(self, both.n4k), both);

	/* Unmapping one does not unmap the other. */
	ASSERT_EQ(0, munmap(ram.hva, size));
	ASSERT_LEAVES(have(self), want(self));
	check_read(self);
}

/*
 * After R -> RW the host may want to know about the first write to a page, and
 * maps it read-only until then. Its fault handler knows what to do about that,
 * KVM need not emulate the guest's write: it could not do that for these.
 */
TEST_F(pfnmap, write_notify)
{
	static const enum op ops[] = { WRITE_SSE, WRITE_AVX, WRITE };
	u64 emulated = vcpu_get_stat(self->vcpu, insn_emulation);

	for (int i = 0; i < ARRAY_SIZE(ops); i++) {
		check_read(self);
		ASSERT_EQ(0, mprotect(self->area, self->area_size, PROT_READ));
		ASSERT_LEAVES(have(self), none);
		ASSERT_EQ(0, mprotect(self->area, self->area_size, PROT_READ | PROT_WRITE));
		check_read(self);
		check_write(self, ops[i], 2, i);
		ASSERT_LEAVES(have(self), want(self));
	}
	ASSERT_EQ(emulated, vcpu_get_stat(self->vcpu, insn_emulation));
}

/* What the host cannot fault in is an error, for as long as that is so. */
TEST_F(pfnmap, absent)
{
	check_read(self);
	ASSERT_EQ(0, mprotect(self->area, self->area_size, PROT_NONE));
	ASSERT_LEAVES(have(self), none);
	check_efault(self, READ, 0);
	check_efault(self, WRITE, 1);
	ASSERT_EQ(0, mprotect(self->area, self->area_size, PROT_READ | PROT_WRITE));
	check_read(self);
	check_write(self, WRITE, 1, 0);
	ASSERT_LEAVES(have(self), want(self));

	if (variant->via == VIA_VFIO) {
		vfio_pci_cmd_clear(self->device, PCI_COMMAND_MEMORY);
		ASSERT_LEAVES(have(self), none);
		check_efault(self, READ, 0);
		check_efault(self, WRITE, 1);
		vfio_pci_cmd_set(self->device, PCI_COMMAND_MEMORY);
		check_read(self);
		check_write(self, WRITE, 1, 1);
		ASSERT_LEAVES(have(self), want(self));
	}
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_READONLY_MEM));
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_GBPAGES));
	TEST_REQUIRE(kvm_cpu_supported_xcr0() & XFEATURE_MASK_YMM);
	device_bdf = vfio_selftests_get_bdf(&argc, argv);
	return test_harness_run(argc, argv);
}
