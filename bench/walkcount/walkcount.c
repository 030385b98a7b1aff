// SPDX-License-Identifier: GPL-2.0-only
/*
 * walkcount: records every access to the words that page-table walks and their locks cannot avoid.
 *
 * Four hardware breakpoints of the CPU watch, for one user address of the calling process:
 *
 *	entry		the top-level table entry of the address: every software walk reads it
 *	pgd		mm->pgd: every pgd_offset() reads it once, so this is where a walk starts
 *	mmap_lock	the count of mm->mmap_lock: taking and releasing write it
 *	ptl | vma	the page-table lock of the leaf, or the VMA's lock and reference count
 *
 * The CPU's own page walks do not trip them. A breakpoint traps after the access, reads and writes
 * alike; each hit is recorded with the instruction that made it, so that a reader can tell what it
 * was.
 *
 * /sys/kernel/debug/walkcount/
 *	watch	write "<address> ptl" or "<address> vma": plant and start; anything else: remove
 *	hits	read: stops recording; one line per hit: <watch> <symbol+offset>
 *	hold	write "<ms>": returns with mmap_lock of the caller's mm held for writing by a thread
 *		that releases it after that many milliseconds
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/hw_breakpoint.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/perf_event.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#define NR_WATCHES	4
#define MAX_HITS	1024

struct watch {
	const char *name;
	struct perf_event * __percpu *event;
};

static struct watch watches[NR_WATCHES];

static struct hit {
	const struct watch *watch;
	unsigned long ip;
} hits[MAX_HITS];

static atomic_t nr_hits;
static bool recording;
static DEFINE_MUTEX(watch_lock);

static void record(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs)
{
	int i;

	if (!READ_ONCE(recording))
		return;
	i = atomic_inc_return(&nr_hits) - 1;
	if (i < MAX_HITS)
		hits[i] = (struct hit) { event->overflow_handler_context, regs->ip };
}

static int plant(struct watch *watch, const char *name, void *addr, unsigned int len)
{
	struct perf_event * __percpu *event;
	struct perf_event_attr attr;

	hw_breakpoint_init(&attr);
	attr.bp_addr = (unsigned long)addr;
	attr.bp_len = len;
	attr.bp_type = HW_BREAKPOINT_RW;
	event = register_wide_hw_breakpoint(&attr, record, watch);
	if (IS_ERR_PCPU(event))
		return PTR_ERR_PCPU(event);
	watch->name = name;
	watch->event = event;
	return 0;
}

static void remove_watches(void)
{
	int i;

	WRITE_ONCE(recording, false);
	for (i = 0; i < NR_WATCHES; i++) {
		if (watches[i].event)
			unregister_wide_hw_breakpoint(watches[i].event);
		watches[i].event = NULL;
	}
}

/* The lock of the table that holds the entry for @addr, or will hold it at the present depth. */
static spinlock_t *leaf_lock(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(*pgd))
		return &mm->page_table_lock;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d))
		return &mm->page_table_lock;
	pud = pud_offset(p4d, addr);
	if (pud_none(*pud) || pud_leaf(*pud))
		return pud_lockptr(mm, pud);
	pmd = pmd_offset(pud, addr);
	if (pmd_none(*pmd) || pmd_leaf(*pmd))
		return pmd_lockptr(mm, pmd);
	return pte_lockptr(mm, pmd);
}

static int plant_watches(unsigned long addr, bool vma_lock)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	void *last;
	int err;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	last = vma_lock ? (void *)&vma->vm_refcnt : leaf_lock(mm, addr);
	mmap_read_unlock(mm);
	if (!vma)
		return -EFAULT;

	err = plant(&watches[0], "entry", pgd_offset(mm, addr), HW_BREAKPOINT_LEN_8);
	err = err ?: plant(&watches[1], "pgd", &mm->pgd, HW_BREAKPOINT_LEN_8);
	err = err ?: plant(&watches[2], "mmap_lock", &mm->mmap_lock.count, HW_BREAKPOINT_LEN_8);
	err = err ?: plant(&watches[3], vma_lock ? "vma" : "ptl", last, HW_BREAKPOINT_LEN_4);
	return err;
}

static ssize_t watch_write(struct file *file, const char __user *ubuf, size_t len, loff_t *pos)
{
	char buf[64] = "", kind[4] = "";
	unsigned long addr;
	int err = 0;

	if (copy_from_user(buf, ubuf, min(len, sizeof(buf) - 1)))
		return -EFAULT;

	guard(mutex)(&watch_lock);
	remove_watches();
	if (sscanf(buf, "%lx %3s", &addr, kind) != 2)
		return len;
	err = plant_watches(addr, !strcmp(kind, "vma"));
	if (err) {
		remove_watches();
		return err;
	}
	atomic_set(&nr_hits, 0);
	WRITE_ONCE(recording, true);
	return len;
}

static const struct file_operations watch_fops = {
	.owner = THIS_MODULE,
	.write = watch_write,
};

static int hits_show(struct seq_file *m, void *unused)
{
	int i, n;

	WRITE_ONCE(recording, false);
	n = atomic_read(&nr_hits);
	for (i = 0; i < min(n, MAX_HITS); i++)
		seq_printf(m, "%s %pS\n", hits[i].watch->name, (void *)hits[i].ip - 1);
	if (n > MAX_HITS)
		seq_puts(m, "overflow\n");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hits);

struct holder {
	struct mm_struct *mm;
	struct completion held;
	unsigned int ms;
};

static int hold_lock(void *data)
{
	struct holder *holder = data;
	struct mm_struct *mm = holder->mm;
	unsigned int ms = holder->ms;

	mmap_write_lock(mm);
	complete(&holder->held);	/* @holder is gone from here on */
	usleep_range(1000 * ms, 1000 * ms + 1);
	mmap_write_unlock(mm);
	mmput(mm);
	module_put_and_kthread_exit(0);
	return 0;
}

static ssize_t hold_write(struct file *file, const char __user *ubuf, size_t len, loff_t *pos)
{
	struct holder holder = { .mm = current->mm };
	struct task_struct *task;
	int err;

	err = kstrtouint_from_user(ubuf, len, 0, &holder.ms);
	if (err)
		return err;

	init_completion(&holder.held);
	mmget(holder.mm);
	__module_get(THIS_MODULE);
	task = kthread_run(hold_lock, &holder, "walkcount-hold");
	if (IS_ERR(task)) {
		module_put(THIS_MODULE);
		mmput(holder.mm);
		return PTR_ERR(task);
	}
	wait_for_completion(&holder.held);
	return len;
}

static const struct file_operations hold_fops = {
	.owner = THIS_MODULE,
	.write = hold_write,
};

static struct dentry *dir;

static int __init walkcount_init(void)
{
	dir = debugfs_create_dir("walkcount", NULL);
	debugfs_create_file("watch", 0200, dir, NULL, &watch_fops);
	debugfs_create_file("hits", 0400, dir, NULL, &hits_fops);
	debugfs_create_file("hold", 0200, dir, NULL, &hold_fops);
	return 0;
}

static void __exit walkcount_exit(void)
{
	debugfs_remove(dir);
	remove_watches();
}

module_init(walkcount_init);
module_exit(walkcount_exit);
MODULE_DESCRIPTION("Counts page-table walks and their locks with hardware breakpoints");
MODULE_LICENSE("GPL");
