// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that maps a range of physical memory by remap_pfn_range(), for
 * tools/testing/selftests/mm/huge_pfnmap.c: what no driver lets userspace ask
 * for can be asked for here.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "test_pfnmap_uapi.h"

static unsigned long phys;
module_param(phys, ulong, 0);
MODULE_PARM_DESC(phys, "physical address, not memory that the kernel uses");

static unsigned long size;
module_param(size, ulong, 0);
MODULE_PARM_DESC(size, "how many bytes there are");

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

/* For ptrace and /proc/PID/mem. */
static const struct vm_operations_struct test_pfnmap_vm_ops = {
	.access = generic_access_phys,
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

	if (mode == TEST_PFNMAP_MIDWAY) {
		err = remap(vma, vma->vm_end - PAGE_SIZE, PAGE_SIZE);
		return err ?: remap_again(vma, vma->vm_start, len, false);
	}

	err = remap(vma, vma->vm_start, len);
	if (err || !mode)
		return err;
	if (mode == TEST_PFNMAP_TWICE)
		return remap_again(vma, vma->vm_start, len / 2, true);
	return remap_again(vma, vma->vm_start + len / 2, PAGE_SIZE, true);
}

static long test_pfnmap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct test_pfnmap_range range;

	if (cmd != TEST_PFNMAP_UNMAP)
		return -ENOTTY;
	if (copy_from_user(&range, (void __user *)arg, sizeof(range)))
		return -EFAULT;

	unmap_mapping_range(file->f_mapping, range.offset, range.len, 1);
	return 0;
}

static const struct file_operations test_pfnmap_fops = {
	.owner		= THIS_MODULE,
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
