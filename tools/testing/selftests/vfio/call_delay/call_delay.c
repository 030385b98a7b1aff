// SPDX-License-Identifier: GPL-2.0-only
/*
 * Widen the window of a race: when a task named @comm returns from @func, to
 * @caller if that is given, or calls it if @entry, let it spin for @ms. Each
 * may be a list, for several delays. @begun and @ended count how often there
 * was one; a test that has done its part writes to @release how many may end
 * before their time.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>

#define MAX_DELAYS	4

static char *func[MAX_DELAYS];
static int nr;
module_param_array(func, charp, &nr, 0444);
static char *caller[MAX_DELAYS];
module_param_array(caller, charp, NULL, 0444);
static char *comm[MAX_DELAYS];
module_param_array(comm, charp, NULL, 0444);
static bool entry[MAX_DELAYS];
module_param_array(entry, bool, NULL, 0444);
static unsigned int ms[MAX_DELAYS] = { 60000, 60000, 60000, 60000 };
module_param_array(ms, uint, NULL, 0444);
static atomic_t begun, ended;
module_param_named(begun, begun.counter, uint, 0444);
module_param_named(ended, ended.counter, uint, 0444);
static unsigned int release;
module_param(release, uint, 0644);

static struct kretprobe probes[MAX_DELAYS];

static void delay(int i)
{
	unsigned int n = atomic_inc_return(&begun), t;

	for (t = 0; t < ms[i] && READ_ONCE(release) < n; t++)
		mdelay(1);
	atomic_inc(&ended);
}

/*
 * Interrupts are as in the caller only if the probe is a jump, which it becomes
 * some milliseconds after the module was loaded.
 */
static int on_call(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	int i = get_kretprobe(ri) - probes;
	bool wanted = !strcmp(current->comm, comm[i]);

	if (wanted && entry[i])
		delay(i);
	/* Not zero: the return is of no interest. */
	return !wanted || entry[i];
}

/* Interrupts are as in @func: who flushes TLBs meanwhile need not wait. */
static int on_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	int i = get_kretprobe(ri) - probes;
	char to[KSYM_NAME_LEN];

	if (caller[i]) {
		snprintf(to, sizeof(to), "%ps", (void *)get_kretprobe_retaddr(ri));
		if (strcmp(to, caller[i]))
			return 0;
	}

	delay(i);
	return 0;
}

static void remove_probes(int n)
{
	while (n--)
		unregister_kretprobe(&probes[n]);
}

static int __init call_delay_init(void)
{
	int i, err;

	for (i = 0; i < nr; i++) {
		probes[i].kp.symbol_name = func[i];
		probes[i].entry_handler = on_call;
		probes[i].handler = on_return;
		err = comm[i] ? register_kretprobe(&probes[i]) : -EINVAL;
		if (err) {
			remove_probes(i);
			return err;
		}
	}
	return nr ? 0 : -EINVAL;
}

static void __exit call_delay_exit(void)
{
	remove_probes(nr);
}

module_init(call_delay_init);
module_exit(call_delay_exit);
MODULE_DESCRIPTION("Delay functions, to test for races");
MODULE_LICENSE("GPL");
