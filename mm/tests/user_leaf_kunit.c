// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests for the lockless lookup of the leaf that maps a user address, and for
 * the level that the locked lookup reports.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>

/* Nothing is there, and nothing of it is accessed. */
#define RAW_PFN		((1UL << 39) >> PAGE_SHIFT)

/* What the file maps, and at which order. */
struct leaf_file {
	struct file *file;
	unsigned long pfn;
	unsigned int order;
	vm_flags_t vm_flags;
};

static vm_fault_t leaf_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct leaf_file *lf = vmf->vma->vm_private_data;
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	unsigned long pfn;

	if (order != lf->order)
		return VM_FAULT_FALLBACK;

	pfn = ALIGN_DOWN(lf->pfn + vmf->pgoff, 1UL << order);
	if (order == PMD_ORDER)
		return vmf_insert_pfn_pmd(vmf, pfn, write);
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	if (order == PUD_ORDER)
		return vmf_insert_pfn_pud(vmf, pfn, write);
#endif
	if (lf->vm_flags & VM_MIXEDMAP)
		return vmf_insert_mixed(vmf->vma, vmf->address, lf->pfn);
	return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
}

static vm_fault_t leaf_fault(struct vm_fault *vmf)
{
	struct leaf_file *lf = vmf->vma->vm_private_data;

	/* There is no leaf of the size that is wanted. */
	return lf->order ? VM_FAULT_SIGBUS : leaf_huge_fault(vmf, 0);
}

static const struct vm_operations_struct leaf_vm_ops = {
	.fault = leaf_fault,
	.huge_fault = leaf_huge_fault,
};

static int leaf_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct leaf_file *lf = file->private_data;

	vm_flags_set(vma, lf->vm_flags | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = lf;
	vma->vm_ops = &leaf_vm_ops;
	return 0;
}

static const struct file_operations leaf_fops = {
	.mmap = leaf_mmap,
};

static void leaf_fput(void *file)
{
	fput(file);
}

/* Map @lf, or anonymous memory if there is none.  Aligned to PUD_SIZE. */
static unsigned long leaf_map(struct kunit *test, struct leaf_file *lf,
			      unsigned long prot)
{
	unsigned long addr, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	struct file *file = NULL;
	int ret;

	addr = kunit_vm_mmap(test, NULL, 0, 4 * PUD_SIZE, PROT_NONE, flags, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	addr = ALIGN(addr, PUD_SIZE);

	if (lf) {
		file = anon_inode_getfile("[leaf]", &leaf_fops, lf, O_RDWR);
		KUNIT_ASSERT_FALSE(test, IS_ERR(file));
		ret = kunit_add_action_or_reset(test, leaf_fput, file);
		KUNIT_ASSERT_EQ(test, ret, 0);
		flags = MAP_SHARED;
	}
	KUNIT_ASSERT_EQ(test, addr, vm_mmap(file, addr, 2 * PUD_SIZE, prot,
					    flags | MAP_FIXED, 0));
	return addr;
}

static void leaf_set_flags(struct kunit *test, unsigned long addr,
			   vm_flags_t flags)
{
	struct vm_area_struct *vma;

	mmap_write_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	if (vma)
		vm_flags_set(vma, flags);
	mmap_write_unlock(current->mm);
	KUNIT_ASSERT_NOT_NULL(test, vma);
}

static void leaf_touch(struct kunit *test, unsigned long addr, bool write)
{
	unsigned int flags = write ? FAULT_FLAG_WRITE : 0;
	bool unlocked;
	int ret;

	mmap_read_lock(current->mm);
	ret = fixup_user_fault(current->mm, addr, flags, &unlocked);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, ret, 0);
}

static void __expect_miss(struct kunit *test, int line, unsigned long addr,
			  int err, int level)
{
	struct user_leaf leaf;

	KUNIT_EXPECT_EQ_MSG(test, get_user_leaf_fast_only(addr, &leaf), err,
			    "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, user_leaf_level(addr), level,
			    "line %d", line);
}

static void __expect_raw(struct kunit *test, int line, unsigned long addr,
			 unsigned long pfn, int level, bool writable)
{
	struct user_leaf leaf = {};

	KUNIT_EXPECT_EQ_MSG(test, get_user_leaf_fast_only(addr, &leaf), 0,
			    "line %d", line);
	KUNIT_EXPECT_NULL_MSG(test, leaf.page, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, leaf.pfn, pfn, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, leaf.level, level, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, leaf.writable, writable, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, user_leaf_level(addr), level,
			    "line %d", line);
}

static void __expect_page(struct kunit *test, int line, unsigned long addr,
			  int level)
{
	struct user_leaf leaf = {};
	struct page *page;

	KUNIT_ASSERT_EQ_MSG(test, get_user_pages_fast(addr, 1, FOLL_WRITE,
						      &page), 1,
			    "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, get_user_leaf_fast_only(addr, &leaf), 0,
			    "line %d", line);
	KUNIT_EXPECT_PTR_EQ_MSG(test, leaf.page, page, "line %d", line);
	/* One for the mapping, and two that were taken here */
	KUNIT_EXPECT_GE_MSG(test, page_count(page), 3, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, leaf.pfn, page_to_pfn(page), "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, leaf.level, level, "line %d", line);
	KUNIT_EXPECT_TRUE_MSG(test, leaf.writable, "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, user_leaf_level(addr), level,
			    "line %d", line);
	if (leaf.page)
		put_page(leaf.page);
	put_page(page);
}

#define expect_miss(test, ...)	__expect_miss(test, __LINE__, __VA_ARGS__)
#define expect_raw(test, ...)	__expect_raw(test, __LINE__, __VA_ARGS__)
#define expect_page(test, ...)	__expect_page(test, __LINE__, __VA_ARGS__)

static void expect_locked(struct kunit *test, unsigned long addr,
			  unsigned long pfn, enum pgtable_level level)
{
	struct follow_pfnmap_args args = { .address = addr };
	int ret;

	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, addr);
	KUNIT_EXPECT_NOT_NULL(test, args.vma);
	ret = args.vma ? follow_pfnmap_start(&args) : -EFAULT;
	KUNIT_EXPECT_EQ(test, 0, ret);
	if (!ret) {
		KUNIT_EXPECT_EQ(test, args.pfn, pfn);
		KUNIT_EXPECT_EQ(test, args.level, level);
		follow_pfnmap_end(&args);
	}
	mmap_read_unlock(current->mm);
}

static pud_t *leaf_pudp(unsigned long addr)
{
	pgd_t *pgdp = pgd_offset(current->mm, addr);

	return pud_offset(p4d_offset(pgdp, addr), addr);
}

static pmd_t *leaf_pmdp(unsigned long addr)
{
	return pmd_offset(leaf_pudp(addr), addr);
}

/* Run @check while the leaf that maps @addr has lost all permissions. */
static void with_protnone(struct kunit *test, unsigned long addr, int level,
			  void (*check)(struct kunit *test, unsigned long addr,
					int level))
{
	struct mm_struct *mm = current->mm;
	pte_t *ptep, pte;
	pud_t __maybe_unused pud;
	spinlock_t *ptl;
	pmd_t pmd;

	switch (level) {
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	case PGTABLE_LEVEL_PUD:
		pud = *leaf_pudp(addr);
		set_pud_at(mm, addr & PUD_MASK, leaf_pudp(addr),
			   pud_modify(pud, PAGE_NONE));
		check(test, addr, level);
		set_pud_at(mm, addr & PUD_MASK, leaf_pudp(addr), pud);
		break;
#endif
	case PGTABLE_LEVEL_PMD:
		pmd = *leaf_pmdp(addr);
		set_pmd_at(mm, addr & PMD_MASK, leaf_pmdp(addr),
			   pmd_modify(pmd, PAGE_NONE));
		check(test, addr, level);
		set_pmd_at(mm, addr & PMD_MASK, leaf_pmdp(addr), pmd);
		break;
	case PGTABLE_LEVEL_PTE:
		ptep = pte_offset_map_lock(mm, leaf_pmdp(addr), addr, &ptl);
		KUNIT_ASSERT_NOT_NULL(test, ptep);
		pte = ptep_get(ptep);
		set_pte_at(mm, addr, ptep, pte_modify(pte, PAGE_NONE));
		check(test, addr, level);
		set_pte_at(mm, addr, ptep, pte);
		pte_unmap_unlock(ptep, ptl);
		break;
	}
}

static void check_special_protnone(struct kunit *test, unsigned long addr,
				   int level)
{
	expect_miss(test, addr, -EAGAIN, level);
}

static void check_page_protnone(struct kunit *test, unsigned long addr,
				int level)
{
	expect_miss(test, addr, -EACCES, level);
}

static void leaf_raw_test(struct kunit *test, unsigned int order, int level)
{
	struct leaf_file lf = { .pfn = RAW_PFN, .order = order,
				.vm_flags = VM_IO | VM_PFNMAP };
	unsigned long size = PAGE_SIZE << order, addr, off, pfn;

	KUNIT_ASSERT_FALSE(test, pfn_valid(RAW_PFN));

	/* The second leaf, the last page of it */
	off = 2 * size - PAGE_SIZE;
	pfn = RAW_PFN + (off >> PAGE_SHIFT);
	addr = leaf_map(test, &lf, PROT_READ | PROT_WRITE);

	expect_miss(test, addr + off, -ENOENT, -ENOENT);
	leaf_touch(test, addr + off, true);
	expect_raw(test, addr + off, pfn, level, true);
	expect_raw(test, addr + off + 123, pfn, level, true);
	expect_locked(test, addr + off, pfn, level);
	with_protnone(test, addr + off, level, check_special_protnone);

	/* Absent at the same level, and at all levels above */
	expect_miss(test, addr, -ENOENT, -ENOENT);
	expect_miss(test, addr + PMD_SIZE * 3, -ENOENT, -ENOENT);
	expect_raw(test, addr + off, pfn, level, true);
	vm_munmap(addr + off - size + PAGE_SIZE, size);
	expect_miss(test, addr + off, -ENOENT, -ENOENT);
	vm_munmap(addr, 2 * PUD_SIZE);

	addr = leaf_map(test, &lf, PROT_READ);
	leaf_touch(test, addr + off, false);
	expect_raw(test, addr + off, pfn, level, false);
	with_protnone(test, addr + off, level, check_special_protnone);
	vm_munmap(addr, 2 * PUD_SIZE);
}

static void user_leaf_raw_pte(struct kunit *test)
{
	leaf_raw_test(test, 0, PGTABLE_LEVEL_PTE);
}

static void user_leaf_raw_pmd(struct kunit *test)
{
	leaf_raw_test(test, PMD_ORDER, PGTABLE_LEVEL_PMD);
}

#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
static void user_leaf_raw_pud(struct kunit *test)
{
	if (!pfnmap_leaf_allowed(RAW_PFN, PUD_SIZE))
		kunit_skip(test, "no PUD leaves on this CPU");
	leaf_raw_test(test, PUD_ORDER, PGTABLE_LEVEL_PUD);
}
#endif

/* While a leaf is invalidated, it is for the page-table lock to tell. */
static void user_leaf_invalidate(struct kunit *test)
{
	struct leaf_file lf = { .pfn = RAW_PFN, .order = PMD_ORDER,
				.vm_flags = VM_IO | VM_PFNMAP };
	struct vm_area_struct *vma;
	unsigned long addr;
	pmd_t pmd;

	addr = leaf_map(test, &lf, PROT_READ | PROT_WRITE);
	leaf_touch(test, addr, true);
	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	pmd = pmdp_invalidate(vma, addr, leaf_pmdp(addr));
	expect_miss(test, addr, -EAGAIN, PGTABLE_LEVEL_PMD);
	set_pmd_at(current->mm, addr, leaf_pmdp(addr), pmd);
	mmap_read_unlock(current->mm);
	expect_raw(test, addr, RAW_PFN, PGTABLE_LEVEL_PMD, true);
	vm_munmap(addr, 2 * PUD_SIZE);

#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	pud_t pud;

	if (!pfnmap_leaf_allowed(RAW_PFN, PUD_SIZE))
		return;
	lf.order = PUD_ORDER;
	addr = leaf_map(test, &lf, PROT_READ | PROT_WRITE);
	leaf_touch(test, addr, true);
	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	pud = pudp_invalidate(vma, addr, leaf_pudp(addr));
	expect_miss(test, addr, -EAGAIN, PGTABLE_LEVEL_PUD);
	set_pud_at(current->mm, addr, leaf_pudp(addr), pud);
	mmap_read_unlock(current->mm);
	expect_raw(test, addr, RAW_PFN, PGTABLE_LEVEL_PUD, true);
	vm_munmap(addr, 2 * PUD_SIZE);
#endif
}

/* Special, but with a struct page: only the VMA can tell. */
static void user_leaf_special_page(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	struct leaf_file lf = {};
	unsigned long addr;

	KUNIT_ASSERT_NOT_NULL(test, page);
	lf.pfn = page_to_pfn(page);

	lf.vm_flags = VM_MIXEDMAP;
	addr = leaf_map(test, &lf, PROT_READ | PROT_WRITE);
	leaf_touch(test, addr, false);
	expect_miss(test, addr, -EAGAIN, PGTABLE_LEVEL_PTE);
	vm_munmap(addr, 2 * PUD_SIZE);

	lf.vm_flags = VM_IO | VM_PFNMAP;
	addr = leaf_map(test, &lf, PROT_READ | PROT_WRITE);
	leaf_touch(test, addr, false);
	expect_miss(test, addr, -EAGAIN, PGTABLE_LEVEL_PTE);
	expect_locked(test, addr, lf.pfn, PGTABLE_LEVEL_PTE);
	vm_munmap(addr, 2 * PUD_SIZE);

	__free_page(page);
}

static void user_leaf_page_pte(struct kunit *test)
{
	unsigned long addr = leaf_map(test, NULL, PROT_READ | PROT_WRITE);

	leaf_set_flags(test, addr, VM_NOHUGEPAGE);

	/* The zero page is special. */
	leaf_touch(test, addr, false);
	expect_miss(test, addr, -EACCES, PGTABLE_LEVEL_PTE);
	expect_miss(test, addr + PAGE_SIZE, -ENOENT, -ENOENT);

	leaf_touch(test, addr, true);
	expect_page(test, addr, PGTABLE_LEVEL_PTE);
	with_protnone(test, addr, PGTABLE_LEVEL_PTE, check_page_protnone);
	expect_page(test, addr, PGTABLE_LEVEL_PTE);

	vm_munmap(addr, 2 * PUD_SIZE);
	expect_miss(test, addr, -ENOENT, -ENOENT);
}

static void user_leaf_page_pmd(struct kunit *test)
{
	unsigned long addr = leaf_map(test, NULL, PROT_READ | PROT_WRITE);
	unsigned long off = PMD_SIZE + 5 * PAGE_SIZE;

	leaf_set_flags(test, addr, VM_HUGEPAGE);

	/* The huge zero folio is special. */
	leaf_touch(test, addr, false);
	if (user_leaf_level(addr) != PGTABLE_LEVEL_PMD)
		kunit_skip(test, "no huge pages in /sys/kernel/mm/transparent_hugepage");
	expect_miss(test, addr, -EACCES, PGTABLE_LEVEL_PMD);

	leaf_touch(test, addr + off, true);
	expect_page(test, addr + off, PGTABLE_LEVEL_PMD);
	with_protnone(test, addr + off, PGTABLE_LEVEL_PMD, check_page_protnone);
	expect_page(test, addr + off, PGTABLE_LEVEL_PMD);
	vm_munmap(addr, 2 * PUD_SIZE);
}

static void user_leaf_kernel_address(struct kunit *test)
{
	unsigned long addr = leaf_map(test, NULL, PROT_READ | PROT_WRITE);

	/* There is an mm, but these are mapped, if at all, by the kernel. */
	expect_miss(test, TASK_SIZE_MAX, -EAGAIN, -ENOENT);
	expect_miss(test, (unsigned long)test, -EAGAIN, -ENOENT);
	expect_miss(test, (unsigned long)&leaf_fops, -EAGAIN, -ENOENT);
	expect_miss(test, ULONG_MAX, -EAGAIN, -ENOENT);
	vm_munmap(addr, 2 * PUD_SIZE);
}

static struct kunit_case user_leaf_test_cases[] = {
	KUNIT_CASE(user_leaf_raw_pte),
	KUNIT_CASE(user_leaf_raw_pmd),
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	KUNIT_CASE(user_leaf_raw_pud),
#endif
	KUNIT_CASE(user_leaf_invalidate),
	KUNIT_CASE(user_leaf_special_page),
	KUNIT_CASE(user_leaf_page_pte),
	KUNIT_CASE(user_leaf_page_pmd),
	KUNIT_CASE(user_leaf_kernel_address),
	{}
};

static struct kunit_suite user_leaf_test_suite = {
	.name = "user_leaf",
	.test_cases = user_leaf_test_cases,
};

kunit_test_suite(user_leaf_test_suite);

MODULE_DESCRIPTION("Tests for the lockless lookup of user page-table leaves");
MODULE_LICENSE("GPL");
