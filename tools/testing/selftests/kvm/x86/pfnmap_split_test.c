// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unmap a page of a huge leaf while KVM is between the lookup of another page
 * of the leaf and the use of what it found. What KVM then maps must not cover
 * the page that is gone.
 *
 * The module call_delay, see selftests/vfio, makes the time for that:
 *	func=kvm_mmu_faultin_pfn,user_leaf_level,pte_offset_map_lock
 *	comm=vcpu,vcpu,unmap ms=20,20,50
 * This test fails if skip_call from there takes away what KVM relies on:
 *	func=is_page_fault_stale, or
 *	func=__mmu_notifier_invalidate_range_start,__mmu_notifier_invalidate_range_end
 *	caller=split_huge_pud_tables,split_huge_pud_tables
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <linux/sizes.h>

#include <kvm_util.h>
#include <processor.h>
#include <test_util.h>

#include "pfnmap.h"

#define SLOT		10
#define GPA		SZ_4G
#define GVA		BIT_ULL(45)
#define PARAMETERS	"/sys/module/call_delay/parameters/"
#define FUNC		"kvm_mmu_faultin_pfn,user_leaf_level,pte_offset_map_lock"
#define UNMAP_DELAY	25000000	/* ns, half of it: mdelay() may be early */
#define NUMBER(off)	(0x5a5a000000000000ull + (off))

static u64 want, seen;			/* guest's: offset to read, what is there */

static void guest_code(void)
{
	for (;;) {
		seen = READ_ONCE(*(u64 *)(GVA + READ_ONCE(want)));
		GUEST_SYNC(0);
	}
}

static struct kvm_vcpu *vcpu;
static int run_errno;
static unsigned int raced;

static void run_vcpu(void)
{
	struct ucall uc;

	run_errno = __vcpu_run(vcpu) ? errno : 0;
	TEST_ASSERT(run_errno || get_ucall(vcpu, &uc) == UCALL_SYNC, "The guest stopped with %s",
		    exit_reason_str(vcpu->run->exit_reason));
}

/* Only this thread is delayed as a vCPU. */
static void *vcpu_thread(void *arg)
{
	prctl(PR_SET_NAME, "vcpu");
	run_vcpu();
	return NULL;
}

static void parameter(const char *name, const char *format, void *value)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	f = fopen(path, "r");
	TEST_ASSERT(f && fscanf(f, format, value) == 1, "The module call_delay is not loaded");
	fclose(f);
}

static unsigned int delays(const char *which)
{
	unsigned int n;

	parameter(which, "%u", &n);
	return n;
}

struct kind {
	const char *name;
	u64 leaf;
	bool ram;
};

static const struct kind kinds[] = {
	{ "bar_1g", SZ_1G, false },
	{ "bar_2m", SZ_2M, false },
	{ "ram_2m", SZ_2M, true },
};

static struct vfio_pci_device *device;
static struct vfio_pci_bar *bar;

static void map_leaf(const struct kind *k, char *area)
{
	int flags = MAP_FIXED | (k->ram ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);

	TEST_ASSERT(mmap(area, k->leaf, PROT_READ | PROT_WRITE, flags, k->ram ? -1 : device->fd,
			 k->ram ? 0 : bar->info.offset) == area, "mmap failed");
	if (k->ram)
		madvise(area, k->leaf, MADV_HUGEPAGE);
}

static void write_numbers(char *area, u64 a, u64 b)
{
	WRITE_ONCE(*(u64 *)(area + a), NUMBER(a));
	WRITE_ONCE(*(u64 *)(area + b), NUMBER(b));
}

/* Whether the guest got from @off what it must after the page at @gone went. */
static bool one_access(const struct kind *k, struct kvm_vm *vm, char *area, u64 off, u64 gone)
{
	struct timespec start;
	unsigned int before, ended = delays("ended");
	pthread_t thread;
	bool good;

	map_leaf(k, area);
	write_numbers(area, off, gone);
	before = delays("begun");
	want = off;
	sync_global_to_guest(vm, want);
	pthread_create(&thread, NULL, vcpu_thread, NULL);
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (delays("begun") == before)
		TEST_ASSERT(timespec_elapsed(start).tv_sec < 10, "The vCPU was not delayed");
	prctl(PR_SET_NAME, "unmap");
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (k->ram)
		TEST_ASSERT(!madvise(area + gone, SZ_4K, MADV_DONTNEED), "madvise failed");
	else
		TEST_ASSERT(!munmap(area + gone, SZ_4K), "munmap failed");
	start = timespec_elapsed(start);
	prctl(PR_SET_NAME, "main");
	TEST_ASSERT(start.tv_sec || start.tv_nsec >= UNMAP_DELAY, "The unmapping was not delayed");
	pthread_join(thread, NULL);
	/* Delayed were the lookup, the unmapping, and the lookup that it made necessary. */
	raced += delays("ended") - ended > 2;
	sync_global_from_guest(vm, seen);
	TEST_ASSERT(!run_errno && seen == NUMBER(off), "The guest read %#lx at offset %#lx", seen,
		    off);

	want = gone;
	sync_global_to_guest(vm, want);
	run_vcpu();
	sync_global_from_guest(vm, seen);
	good = k->ram ? !run_errno && !seen : run_errno == EFAULT;
	/* Let the guest end its access. */
	map_leaf(k, area);
	if (run_errno)
		run_vcpu();
	return good;
}

static void many(const struct kind *k, int accesses)
{
	const char *split = k->leaf == SZ_1G ? "thp_split_pud" : "thp_split_pmd";
	u64 off, gone, splits = get_vmstat(split), pages = k->leaf / SZ_4K;
	struct kvm_vm *vm;
	bool good = true;
	char *area;
	int i;

	raced = 0;
	area = mmap_reserve(k->leaf, SZ_1G, 0);
	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	virt_map_level(vm, GVA, GPA, SZ_1G, PG_LEVEL_1G);
	map_leaf(k, area);
	vm_set_user_memory_region(vm, SLOT, 0, GPA, k->leaf, area);
	/* Fault in the guest's own pages. */
	want = 0;
	sync_global_to_guest(vm, want);
	run_vcpu();
	for (i = 0; i < accesses && good; i++) {
		off = random() % pages * SZ_4K;
		do {
			gone = random() % pages * SZ_4K;
		} while (gone == off);
		good = one_access(k, vm, area, off, gone);
	}
	splits = get_vmstat(split) - splits;
	ksft_print_msg("%s: %d accesses, %lu splits, %u raced\n", k->name, i, splits, raced);
	TEST_ASSERT(splits >= i && (!good || 2 * raced >= i), "Too few raced with a split");
	ksft_test_result(good, "%s\n", k->name);
	kvm_vm_free(vm);
	munmap(area, k->leaf);
}

int main(int argc, char *argv[])
{
	const char *bdf = vfio_selftests_get_bdf(&argc, argv);
	struct iommu *iommu = iommu_init(default_iommu_mode);
	int i, accesses = 20;
	char func[128];

	if (argc == 3 && !strcmp(argv[1], "-n"))
		accesses = atoi_positive("Number of accesses", argv[2]);

	parameter("func", "%127s", func);
	TEST_ASSERT(!strcmp(func, FUNC), "The module call_delay is loaded for another test");

	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(kinds));
	device = vfio_pci_device_init(bdf, iommu);
	bar = find_bar(device, SZ_1G);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		many(&kinds[i], accesses);
	ksft_finished();
}
