// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of huge PFNMAP leaves of kinds that a test machine has no device for:
 * over RAM, write-combining, write-through, where memory types change.
 *
 * No leaf is accessed by the CPU, so they may map what they want.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/io.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <asm/memtype.h>
#include <asm/set_memory.h>

/* Neither RAM nor a device: the middle of what the CPU can address. */
static phys_addr_t nothing;

/* What there is one of at a time: a leaf at the start of a mapping. */
static unsigned long leaf_pfn;
static unsigned long leaf_addr;
static struct address_space *leaf_mapping;

static vm_fault_t leaf_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	if (order == PUD_ORDER && IS_ALIGNED(leaf_pfn, 1UL << PUD_ORDER))
		return vmf_insert_pfn_pud(vmf, leaf_pfn, false);
	if (order == PMD_ORDER)
		return vmf_insert_pfn_pmd(vmf, leaf_pfn, false);
	return VM_FAULT_FALLBACK;
}

static vm_fault_t leaf_fault(struct vm_fault *vmf)
{
	return vmf_insert_pfn(vmf->vma, vmf->address, leaf_pfn);
}

static const struct vm_operations_struct leaf_vm_ops = {
	.fault = leaf_fault,
	.huge_fault = leaf_huge_fault,
};

static int leaf_mmap(struct file *file, struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &leaf_vm_ops;
	return 0;
}

static const struct file_operations leaf_fops = {
	.owner = THIS_MODULE,
	.mmap = leaf_mmap,
};

static void touch_leaf(struct kunit *test)
{
	bool unlocked;
	int ret;

	mmap_read_lock(current->mm);
	ret = fixup_user_fault(current->mm, leaf_addr, 0, &unlocked);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_EQ(test, ret, 0);
}

/* Map what is at @phys by the largest leaf that the kernel agrees to. */
static void map_leaf(struct kunit *test, phys_addr_t phys)
{
	struct file *file;

	leaf_pfn = PHYS_PFN(phys);
	leaf_addr = kunit_vm_mmap(test, NULL, 0, 2 * PUD_SIZE, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	KUNIT_ASSERT_NE(test, leaf_addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(leaf_addr));
	leaf_addr = ALIGN(leaf_addr, PUD_SIZE);

	/* With an inode of its own, whose mappings can be zapped */
	file = anon_inode_create_getfile("[pfnmap_leaf]", &leaf_fops, NULL,
					 O_RDWR, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_ASSERT_EQ(test, leaf_addr,
			vm_mmap(file, leaf_addr, PUD_SIZE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED, 0));
	leaf_mapping = file->f_mapping;
	fput(file);
	touch_leaf(test);
}

static void unmap_leaf(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(leaf_addr, PUD_SIZE));
}

static pud_t *leaf_pudp(void)
{
	pgd_t *pgd = pgd_offset(current->mm, leaf_addr);

	return pud_offset(p4d_offset(pgd, leaf_addr), leaf_addr);
}

static pmd_t *leaf_pmdp(void)
{
	return pmd_offset(leaf_pudp(), leaf_addr);
}

static unsigned long leaf_size(void)
{
	if (pud_leaf(*leaf_pudp()))
		return PUD_SIZE;
	return pmd_leaf(*leaf_pmdp()) ? PMD_SIZE : PAGE_SIZE;
}

static int follow(struct follow_pfnmap_args *args)
{
	int err;

	mmap_read_lock(current->mm);
	args->vma = vma_lookup(current->mm, leaf_addr);
	args->address = leaf_addr + SZ_64K;
	err = follow_pfnmap_start(args);
	if (!err)
		follow_pfnmap_end(args);
	mmap_read_unlock(current->mm);
	return err;
}

static pgprotval_t followed_type(struct kunit *test)
{
	struct follow_pfnmap_args args = {};

	KUNIT_ASSERT_EQ(test, 0, follow(&args));
	KUNIT_EXPECT_EQ(test, args.pfn, leaf_pfn + PHYS_PFN(SZ_64K));
	return pgprot_val(args.pgprot) & _PAGE_CACHE_MASK;
}

/* The memory type that generic_access_phys() asks ioremap_prot() for. */
static pgprotval_t accessed_type;

static int on_ioremap_prot(struct kprobe *kp, struct pt_regs *regs)
{
	accessed_type = regs_get_kernel_argument(regs, 2) & _PAGE_CACHE_MASK;
	return 0;
}

static void access_leaf(struct kunit *test)
{
	struct kprobe kp = {
		.symbol_name = "ioremap_prot",
		.pre_handler = on_ioremap_prot,
	};
	struct vm_area_struct *vma;
	char c;

	accessed_type = -1;
	KUNIT_ASSERT_EQ(test, 0, register_kprobe(&kp));
	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, leaf_addr);
	KUNIT_EXPECT_EQ(test, 1, generic_access_phys(vma, leaf_addr, &c, 1, 0));
	mmap_read_unlock(current->mm);
	unregister_kprobe(&kp);
}

/* A leaf at @phys has a size and a type, and so it is for those who follow. */
static void check_leaf(struct kunit *test, phys_addr_t phys, unsigned long size,
		       enum page_cache_mode pcm)
{
	const pgprotval_t type = cachemode2protval(pcm);
	pgprotval_t entry;

	map_leaf(test, phys);
	KUNIT_EXPECT_EQ(test, size, leaf_size());
	if (leaf_size() == PUD_SIZE)
		entry = protval_large_2_4k(pud_flags(*leaf_pudp()));
	else
		entry = protval_large_2_4k(pmd_flags(*leaf_pmdp()));
	KUNIT_EXPECT_EQ(test, type, entry & _PAGE_CACHE_MASK);
	KUNIT_EXPECT_EQ(test, type, followed_type(test));
	if (!pfn_valid(leaf_pfn)) {
		access_leaf(test);
		KUNIT_EXPECT_EQ(test, type, accessed_type);
	}
	unmap_leaf(test);
}

static void unmap_io(void *io)
{
	iounmap((void __iomem *)io);
}

/* Give a range a type for as long as it is mapped, with unmap_io(). */
static void *map_io(struct kunit *test, void __iomem *io)
{
	KUNIT_ASSERT_NOT_NULL(test, io);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unmap_io, (void *)io));
	return (void *)io;
}

static void check_mmio(struct kunit *test, unsigned long size)
{
	const phys_addr_t phys = size == PUD_SIZE ? nothing : nothing + PMD_SIZE;
	void *io;

	check_leaf(test, phys, size, _PAGE_CACHE_MODE_UC_MINUS);
	io = map_io(test, ioremap_wc(phys, size));
	check_leaf(test, phys, size, _PAGE_CACHE_MODE_WC);
	kunit_release_action(test, unmap_io, io);
	io = map_io(test, ioremap_wt(phys, size));
	check_leaf(test, phys, size, _PAGE_CACHE_MODE_WT);
	kunit_release_action(test, unmap_io, io);
}

static void needs_pud_leaves(struct kunit *test)
{
	if (!boot_cpu_has(X86_FEATURE_GBPAGES))
		kunit_skip(test, "no PUD leaves on this CPU");
}

static void pfnmap_leaf_mmio_2m(struct kunit *test)
{
	check_mmio(test, PMD_SIZE);
}

static void pfnmap_leaf_mmio_1g(struct kunit *test)
{
	needs_pud_leaves(test);
	check_mmio(test, PUD_SIZE);
}

static void pfnmap_leaf_ram(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, PMD_ORDER);
	unsigned long va;

	KUNIT_ASSERT_NOT_NULL(test, page);
	va = (unsigned long)page_address(page);
	check_leaf(test, page_to_phys(page), PMD_SIZE, _PAGE_CACHE_MODE_WB);
	KUNIT_ASSERT_EQ(test, 0, set_memory_wc(va, 1 << PMD_ORDER));
	check_leaf(test, page_to_phys(page), PMD_SIZE, _PAGE_CACHE_MODE_WC);
	KUNIT_ASSERT_EQ(test, 0, set_memory_wb(va, 1 << PMD_ORDER));
	__free_pages(page, PMD_ORDER);
}

/* One leaf has one memory type, so what is mixed is mapped smaller. */
static void pfnmap_leaf_mixed(struct kunit *test)
{
	void *io = map_io(test, ioremap_wc(nothing + SZ_512M, PAGE_SIZE));

	check_leaf(test, nothing, PMD_SIZE, _PAGE_CACHE_MODE_UC_MINUS);
	kunit_release_action(test, unmap_io, io);
	io = map_io(test, ioremap_wc(nothing, SZ_512M));
	check_leaf(test, nothing, PMD_SIZE, _PAGE_CACHE_MODE_WC);
	kunit_release_action(test, unmap_io, io);
	io = map_io(test, ioremap_wc(nothing + PMD_SIZE + SZ_1M, PAGE_SIZE));
	map_leaf(test, nothing + PMD_SIZE);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, leaf_size());
	unmap_leaf(test);
	kunit_release_action(test, unmap_io, io);
}

/* The first gigabyte of a PC is RAM, and a hole. */
static void pfnmap_leaf_ram_and_hole(struct kunit *test)
{
	map_leaf(test, 0);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, leaf_size());
	unmap_leaf(test);
}

static void set_leaf_pud(pud_t pud)
{
	spinlock_t *ptl = pud_lock(current->mm, leaf_pudp());

	set_pud(leaf_pudp(), pud);
	spin_unlock(ptl);
}

/* PROT_NONE, or amid a change: it is there. */
static void pfnmap_leaf_not_accessible(struct kunit *test)
{
	struct follow_pfnmap_args args = {};
	spinlock_t *ptl;
	pud_t pud;

	map_leaf(test, nothing + PMD_SIZE);
	KUNIT_ASSERT_EQ(test, PMD_SIZE, leaf_size());
	ptl = pmd_lock(current->mm, leaf_pmdp());
	set_pmd(leaf_pmdp(), pmd_modify(*leaf_pmdp(), PAGE_NONE));
	spin_unlock(ptl);
	KUNIT_EXPECT_EQ(test, 0, follow(&args));
	unmap_leaf(test);

	needs_pud_leaves(test);
	map_leaf(test, nothing);
	KUNIT_ASSERT_EQ(test, PUD_SIZE, leaf_size());
	pud = *leaf_pudp();
	set_leaf_pud(pud_modify(pud, PAGE_NONE));
	KUNIT_EXPECT_TRUE(test, pud_present(*leaf_pudp()));
	KUNIT_EXPECT_EQ(test, 0, follow(&args));
	KUNIT_EXPECT_EQ(test, args.pfn, leaf_pfn + PHYS_PFN(SZ_64K));
	set_leaf_pud(pud_mkinvalid(pud));
	KUNIT_EXPECT_TRUE(test, pud_present(*leaf_pudp()));
	KUNIT_EXPECT_EQ(test, 0, follow(&args));
	KUNIT_EXPECT_EQ(test, args.pfn, leaf_pfn + PHYS_PFN(SZ_64K));
	set_leaf_pud(pud);
	unmap_leaf(test);
}

/*
 * unmap_mapping_range() does not hold off faults. When it calls zap_huge_pud()
 * let another thread zap the leaf first, and then fault it in again.
 */
static struct {
	struct mm_struct *mm;
	pud_t *pudp;
	bool called;
	bool returned;
	bool refaulted;
	int clear_bad;
} race;

static bool race_wait(bool leaf)
{
	int ms;

	for (ms = 0; ms < 5000 && pud_leaf(READ_ONCE(*race.pudp)) != leaf; ms++)
		mdelay(1);
	return ms < 5000;
}

static int race_call(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	if (race.called || (pud_t *)regs_get_kernel_argument(regs, 2) != race.pudp)
		return 1;
	WRITE_ONCE(race.called, true);
	return !race_wait(false);
}

static int race_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	WRITE_ONCE(race.returned, true);
	race.refaulted = race_wait(true);
	return 0;
}

static int race_clear_bad(struct kprobe *kp, struct pt_regs *regs)
{
	if ((pud_t *)regs_get_kernel_argument(regs, 0) == race.pudp)
		race.clear_bad++;
	return 0;
}

static int race_thread(void *unused)
{
	bool unlocked;

	while (!READ_ONCE(race.called) && !kthread_should_stop())
		cond_resched();
	unmap_mapping_range(leaf_mapping, 0, PUD_SIZE, 1);

	/* Not earlier, or zap_huge_pud() would zap that. */
	while (!READ_ONCE(race.returned) && !kthread_should_stop())
		cond_resched();
	kthread_use_mm(race.mm);
	mmap_read_lock(race.mm);
	fixup_user_fault(race.mm, leaf_addr, 0, &unlocked);
	mmap_read_unlock(race.mm);
	kthread_unuse_mm(race.mm);

	while (!kthread_should_stop())
		usleep_range(1000, 2000);
	return 0;
}

static void pfnmap_leaf_zap_and_fault(struct kunit *test)
{
	struct kretprobe zap = {
		.kp.symbol_name = "zap_huge_pud",
		.entry_handler = race_call,
		.handler = race_return,
	};
	struct kprobe clear_bad = {
		.symbol_name = "pud_clear_bad",
		.pre_handler = race_clear_bad,
	};
	struct task_struct *task;

	if (num_online_cpus() < 2)
		kunit_skip(test, "it takes two CPUs");
	needs_pud_leaves(test);
	map_leaf(test, nothing);
	KUNIT_ASSERT_EQ(test, PUD_SIZE, leaf_size());
	memset(&race, 0, sizeof(race));
	race.mm = current->mm;
	race.pudp = leaf_pudp();
	KUNIT_ASSERT_EQ(test, 0, register_kretprobe(&zap));
	KUNIT_EXPECT_EQ(test, 0, register_kprobe(&clear_bad));
	/*
	 * Until the probes are jumps: as breakpoints they spin with interrupts
	 * off, and the other CPU waits for that to make jumps of them.
	 */
	msleep(500);
	/* On another CPU than this one, which is about to spin. */
	migrate_disable();
	task = kthread_create(race_thread, NULL, "pfnmap_leaf");
	KUNIT_EXPECT_FALSE(test, IS_ERR(task));
	if (!IS_ERR(task)) {
		kthread_bind(task, cpumask_any_but(cpu_online_mask, smp_processor_id()));
		wake_up_process(task);
		unmap_mapping_range(leaf_mapping, 0, PUD_SIZE, 1);
		kthread_stop(task);
	}
	migrate_enable();
	unregister_kprobe(&clear_bad);
	unregister_kretprobe(&zap);
	KUNIT_EXPECT_TRUE(test, race.refaulted);
	KUNIT_EXPECT_EQ(test, 0, race.clear_bad);
	unmap_leaf(test);
}

/*
 * For PAGE_TABLE_CHECK: a special leaf says nothing about the use of the
 * pages, so that a driver may free them and unmap them only then.
 */
static void pfnmap_leaf_page_table_check(struct kunit *test)
{
	struct page *page;

	if (!IS_ENABLED(CONFIG_PAGE_TABLE_CHECK))
		kunit_skip(test, "no PAGE_TABLE_CHECK");
	page = alloc_pages(GFP_KERNEL, PMD_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, page);
	map_leaf(test, page_to_phys(page));
	KUNIT_EXPECT_EQ(test, PMD_SIZE, leaf_size());
	__free_pages(page, PMD_ORDER);
	unmap_leaf(test);
}

static int pfnmap_leaf_init(struct kunit *test)
{
	nothing = 1UL << (boot_cpu_data.x86_phys_bits - 1);
	if (!pat_enabled())
		kunit_skip(test, "no PAT");
	if (region_intersects(nothing, PUD_SIZE, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT)
		kunit_skip(test, "RAM at %pa", &nothing);
	return 0;
}

static struct kunit_case pfnmap_leaf_test_cases[] = {
	KUNIT_CASE(pfnmap_leaf_mmio_2m),
	KUNIT_CASE(pfnmap_leaf_mmio_1g),
	KUNIT_CASE(pfnmap_leaf_ram),
	KUNIT_CASE(pfnmap_leaf_mixed),
	KUNIT_CASE(pfnmap_leaf_ram_and_hole),
	KUNIT_CASE(pfnmap_leaf_not_accessible),
	KUNIT_CASE(pfnmap_leaf_zap_and_fault),
	KUNIT_CASE(pfnmap_leaf_page_table_check),
	{}
};

static struct kunit_suite pfnmap_leaf_test_suite = {
	.name = "pfnmap_leaf",
	.init = pfnmap_leaf_init,
	.test_cases = pfnmap_leaf_test_cases,
};

kunit_test_suite(pfnmap_leaf_test_suite);

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_DESCRIPTION("Tests of huge PFNMAP leaves");
MODULE_LICENSE("GPL");
