// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that maps a range of physical memory by remap_pfn_range(), for
 * tools/testing/selftests/mm/huge_pfnmap.c: what no driver lets userspace ask
 * for can be asked for here.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/ioport.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "test_pfnmap_uapi.h"

static unsigned long phys;
module_param(phys, ulong, 0);
MODULE_PARM_DESC(phys, "physical address, not memory that the kernel uses");

static unsigned long size;
module_param(size, ulong, 0);
MODULE_PARM_DESC(size, "how many bytes there are");

static atomic_t races;
static DEFINE_MUTEX(claims);

static bool mapped(struct vm_area_struct *vma, unsigned long addr)
{
	struct follow_pfnmap_args args = { .vma = vma, .address = addr };

	if (follow_pfnmap_start(&args))
		return false;
	follow_pfnmap_end(&args);
	return true;
}

static int remap(struct vm_area_struct *vma, unsigned long addr, unsigned long len)
{
	unsigned long offset = (vma->vm_pgoff << PAGE_SHIFT) % TEST_PFNMAP_MODE;

	return remap_pfn_range(vma, addr,
			       PHYS_PFN(phys + offset + (addr - vma->vm_start)),
			       len, vma->vm_page_prot);
}

/*
 * [addr, addr + len) is remapped though there is something already. It must be
 * refused, and nothing be left there.
 */
static int remap_again(struct vm_area_struct *vma, unsigned long addr,
		       unsigned long len, bool rest)
{
	int err = remap(vma, addr, len);

	if (err != -EBUSY)
		return -EIO;
	if (mapped(vma, addr) || mapped(vma, addr + len - PAGE_SIZE))
		return -EFAULT;
	if (addr > vma->vm_start && mapped(vma, addr - PAGE_SIZE) != rest)
		return -ENXIO;
	if (addr + len < vma->vm_end && mapped(vma, addr + len) != rest)
		return -ENXIO;
	return -EBUSY;
}

/*
 * Maps the gigabyte, or in small mappings the 2M, that the address is in. There
 * is time for another fault to do the same.
 */
static vm_fault_t test_pfnmap_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long size = vma->vm_end - vma->vm_start > SZ_1G ? SZ_1G : SZ_2M;
	unsigned long start = max(ALIGN_DOWN(vmf->address, size), vma->vm_start);
	unsigned long end = min(ALIGN_DOWN(vmf->address, size) + size, vma->vm_end);
	int err;

	usleep_range(100, 200);
	err = remap(vma, start, end - start);
	if (err == -EBUSY)
		atomic_inc(&races);
	return err && err != -EBUSY ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}

/* With access() for ptrace and /proc/PID/mem. */
static const struct vm_operations_struct test_pfnmap_vm_ops = {
	.access = generic_access_phys,
};

static const struct vm_operations_struct test_pfnmap_fault_vm_ops = {
	.access = generic_access_phys,
	.fault = test_pfnmap_fault,
};

static int test_pfnmap_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long offset = vma->vm_pgoff << PAGE_SHIFT;
	unsigned long len = vma->vm_end - vma->vm_start;
	unsigned long mode = offset / TEST_PFNMAP_MODE;
	int err;

	vma->vm_ops = &test_pfnmap_vm_ops;
	offset %= TEST_PFNMAP_MODE;
	if (offset > size || len > size - offset)
		return -EINVAL;

	switch (mode) {
	case TEST_PFNMAP_FAULT:
		vma->vm_ops = &test_pfnmap_fault_vm_ops;
		vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
		return 0;
	case TEST_PFNMAP_WC:
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
		break;
	case TEST_PFNMAP_WT:
		vma->vm_page_prot = pgprot_writethrough(vma->vm_page_prot);
		break;
	case TEST_PFNMAP_MIDWAY:
		err = remap(vma, vma->vm_end - PAGE_SIZE, PAGE_SIZE);
		return err ?: remap_again(vma, vma->vm_start, len, false);
	}

	err = remap(vma, vma->vm_start, len);
	if (err || (mode != TEST_PFNMAP_TWICE && mode != TEST_PFNMAP_PART))
		return err;
	if (mode == TEST_PFNMAP_TWICE)
		return remap_again(vma, vma->vm_start, len / 2, true);
	return remap_again(vma, vma->vm_start + len / 2, PAGE_SIZE, true);
}

static void test_pfnmap_disclaim(struct file *file)
{
	struct resource *claim = file->private_data;

	if (claim)
		release_mem_region(claim->start, resource_size(claim));
	file->private_data = NULL;
}

struct test_pfnmap_claim {
	struct work_struct work;
	struct test_pfnmap_range range;
	struct resource *res;
};

/* As in a deferred probe: there is no mm. */
static void test_pfnmap_claim(struct work_struct *work)
{
	struct test_pfnmap_claim *claim = container_of(work, struct test_pfnmap_claim, work);

	claim->res = request_mem_region(phys + claim->range.offset, claim->range.len,
					"test_pfnmap");
}

static long test_pfnmap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct test_pfnmap_claim claim;

	if (cmd == TEST_PFNMAP_RACES)
		return atomic_read(&races);
	if (cmd != TEST_PFNMAP_UNMAP && cmd != TEST_PFNMAP_CLAIM)
		return -ENOTTY;
	if (copy_from_user(&claim.range, (void __user *)arg, sizeof(claim.range)))
		return -EFAULT;

	if (cmd == TEST_PFNMAP_UNMAP) {
		unmap_mapping_range(file->f_mapping, claim.range.offset, claim.range.len, 1);
		return 0;
	}

	if (claim.range.offset > size || claim.range.len > size - claim.range.offset)
		return -EINVAL;
	guard(mutex)(&claims);
	test_pfnmap_disclaim(file);
	INIT_WORK_ONSTACK(&claim.work, test_pfnmap_claim);
	schedule_work(&claim.work);
	flush_work(&claim.work);
	destroy_work_on_stack(&claim.work);
	file->private_data = claim.res;
	return claim.res ? 0 : -EBUSY;
}

static int test_pfnmap_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static int test_pfnmap_release(struct inode *inode, struct file *file)
{
	test_pfnmap_disclaim(file);
	return 0;
}

static const struct file_operations test_pfnmap_fops = {
	.owner		= THIS_MODULE,
	.open		= test_pfnmap_open,
	.release	= test_pfnmap_release,
	.mmap		= test_pfnmap_mmap,
	.unlocked_ioctl	= test_pfnmap_ioctl,
};

static struct miscdevice test_pfnmap_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "test_pfnmap",
	.fops	= &test_pfnmap_fops,
};

module_misc_device(test_pfnmap_device);
MODULE_DESCRIPTION("Device for tests of remap_pfn_range()");
MODULE_LICENSE("GPL");
