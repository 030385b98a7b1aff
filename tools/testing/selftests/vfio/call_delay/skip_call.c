// SPDX-License-Identifier: GPL-2.0-only
/*
 * Show that a test notices when a rule is broken: return 0 from @func at once,
 * where @caller calls it if that is given. Both may be lists, for several pairs.
 * @skipped counts how often that happened.
 */
#include <linux/atomic.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>

#define MAX_CALLS	4

static char *func[MAX_CALLS];
static int nr;
module_param_array(func, charp, &nr, 0444);
static char *caller[MAX_CALLS];
module_param_array(caller, charp, NULL, 0444);
static atomic_t skipped;
module_param_named(skipped, skipped.counter, uint, 0444);

static struct kprobe probes[MAX_CALLS];

static int on_call(struct kprobe *p, struct pt_regs *regs)
{
	unsigned long to = *(unsigned long *)kernel_stack_pointer(regs);
	char *from = caller[p - probes];
	char name[KSYM_NAME_LEN];

	snprintf(name, sizeof(name), "%ps", (void *)to);
	if (from && *from && strcmp(name, from))
		return 0;
	atomic_inc(&skipped);
	regs_set_return_value(regs, 0);
	regs->sp += sizeof(to);
	instruction_pointer_set(regs, to);
	return 1;
}

/* Without that, the probe may become a jump, which cannot go elsewhere. */
static void after_call(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static void remove_probes(int n)
{
	while (n--)
		unregister_kprobe(&probes[n]);
}

static int __init skip_call_init(void)
{
	int i, err;

	for (i = 0; i < nr; i++) {
		probes[i].symbol_name = func[i];
		probes[i].pre_handler = on_call;
		probes[i].post_handler = after_call;
		err = register_kprobe(&probes[i]);
		if (err) {
			remove_probes(i);
			return err;
		}
	}
	return nr ? 0 : -EINVAL;
}

static void __exit skip_call_exit(void)
{
	remove_probes(nr);
}

module_init(skip_call_init);
module_exit(skip_call_exit);
MODULE_DESCRIPTION("Break a rule, to test its test");
MODULE_LICENSE("GPL");
