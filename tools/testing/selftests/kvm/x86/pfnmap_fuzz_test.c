// SPDX-License-Identifier: GPL-2.0-only
/*
 * The size of the host's leaves must not show in a guest: the same random
 * operations on two mappings of a BAR, of which one has large leaves and the
 * other, whose address does not fit the pfn, has PTEs only, and on memslots over
 * both. Each result must be the same, and what host, guest, children and a
 * tracer find there. Both use a half of the BAR that holds the same.
 *
 *   -r N     what to do (default: the time)
 *   -n N     how many sequences of operations
 *   -x KIND  leave out this kind of operation in the first mapping: must fail
 *
 * A sequence that tells the two apart is cut down to the operations that it
 * takes, and printed. Each runs in a process, and with a VM, of its own.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/align.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include <kvm_util.h>
#include <libvfio.h>
#include <processor.h>
#include <test_util.h>
#include <ucall_common.h>

#include "pfnmap.h"

#define AREA_SIZE	(2ull * SZ_1G)
#define GPA		SZ_4G
#define GPA_SIZE	(4ull * SZ_1G)		/* of each mapping */
#define GVA		BIT_ULL(45)
#define SLOT		10
#define NR_SLOTS	2			/* of each mapping */
#define NR_OPS		40
#define MMIO_VALUE	0xbadull

#define NUMBER(off)	(0x5a5a000000000000ull + (off))

enum { HUGE, SMALL, NR_ARMS };

/* Pages of each 2M that have a number */
static const u64 places[] = { 0, SZ_4K, SZ_1M, SZ_2M - SZ_4K };

enum kind {
	MAP_BAR, MAP_SYSFS, UNMAP, PROTECT, MOVE, ADVISE, SET_SLOT, DELETE_SLOT, DIRTY_LOG,
	TOGGLE, FORK, TRACE, NR_KINDS
};

static const struct {
	const char *name;
	u32 weight;
} kinds[NR_KINDS] = {
	[MAP_BAR]	= { "map", 10 },
	[MAP_SYSFS]	= { "map-sysfs", 6 },
	[UNMAP]		= { "unmap", 6 },
	[PROTECT]	= { "protect", 12 },
	[MOVE]		= { "move", 8 },
	[ADVISE]	= { "advise", 3 },
	[SET_SLOT]	= { "set-slot", 10 },
	[DELETE_SLOT]	= { "delete-slot", 4 },
	[DIRTY_LOG]	= { "dirty-log", 8 },
	[TOGGLE]	= { "toggle", 4 },
	[FORK]		= { "fork", 3 },
	[TRACE]		= { "trace", 3 },
};

struct op {
	enum kind kind;
	u64 off, len, to;
	u32 arg;
	u64 rnd;		/* for what is looked at afterwards */
};

/* What a sequence, which runs in a process of its own, has to say. */
static struct report {
	bool failed;
	char why[256];
	u64 done[NR_KINDS], levels[3];
	u64 host, signals, guest, mmio, efault, dirty, children, traced;
} *report;

static struct vfio_pci_device *device;
static struct vfio_pci_bar *bar;
static int sysfs_fd, left_out = -1;
static char *area[NR_ARMS];
static struct kvm_vm *vm;
static struct kvm_vcpu *vcpu;

#define FAIL(fmt, ...) do {							\
	snprintf(report->why, sizeof(report->why), fmt, ##__VA_ARGS__);		\
	report->failed = true;							\
	_exit(1);								\
} while (0)

static u64 next(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dull >> 8;
}

static struct op slots[NR_SLOTS];	/* that there are */
static bool logged[NR_SLOTS];		/* from the last look at the log on */
static bool *written;			/* by the guest, since then: each page */
static u64 dirty[NR_ARMS][AREA_SIZE / SZ_4K / 64];

/* Access by the host and by the guest */

struct result {
	u64 how;		/* 0, a signal and its code, an errno, or an exit reason */
	u64 value;
};

static struct {
	u64 gva, value, write;
} work;

static void guest_code(void)
{
	for (;;) {
		/* Both have three bytes, see skip(). */
		if (work.write)
			asm volatile("movq %%rax, (%%rbx)"
				     :: "a"(work.value), "b"(work.gva) : "memory");
		else
			asm volatile("movq (%%rbx), %%rax"
				     : "=a"(work.value) : "a"(0), "b"(work.gva) : "memory");
		GUEST_SYNC(0);
	}
}

static void skip(void)
{
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	regs.rip += 3;
	vcpu_regs_set(vcpu, &regs);
}

static struct result guest_access(int arm, u64 off, bool write, u64 value)
{
	struct kvm_run *run = vcpu->run;
	u64 mmio_value = MMIO_VALUE;
	struct result r = {};
	struct ucall uc;

	work.gva = GVA + arm * GPA_SIZE + off;
	work.value = value;
	work.write = write;
	sync_global_to_guest(vm, work);
	for (;;) {
		if (__vcpu_run(vcpu)) {
			if (errno == EINTR)
				continue;
			if (r.how)
				FAIL("KVM_RUN fails with %d after %lu", errno, r.how);
			r.how = errno;
			report->efault++;
			skip();
		} else if (run->exit_reason == KVM_EXIT_MMIO) {
			r.how = 1000 + KVM_EXIT_MMIO + run->mmio.is_write;
			memcpy(run->mmio.data, &mmio_value, sizeof(mmio_value));
			report->mmio++;
		} else {
			break;
		}
	}
	if (get_ucall(vcpu, &uc) != UCALL_SYNC)
		FAIL("the guest stopped with %s", exit_reason_str(run->exit_reason));
	sync_global_from_guest(vm, work);
	written[off / SZ_4K] |= write && !r.how;
	r.value = work.value;
	report->guest++;
	return r;
}

static sigjmp_buf fault_env;
static volatile int fault_code;

static void fault_handler(int sig, siginfo_t *info, void *context)
{
	fault_code = info->si_code;
	siglongjmp(fault_env, sig);
}

static struct result host_access(int arm, u64 off, bool write, u64 value)
{
	volatile u64 *p = (u64 *)(area[arm] + off);
	struct result r = {};
	int sig = sigsetjmp(fault_env, 1);

	report->host++;
	if (sig) {
		r.how = sig * 100 + fault_code;
		report->signals++;
	} else if (write) {
		*p = value;
	} else {
		r.value = *p;
	}
	return r;
}

typedef struct result (*access_fn)(int arm, u64 off, bool write, u64 value);

static void check(const char *who, access_fn access, u64 off, bool write, u64 value)
{
	struct result huge = access(HUGE, off, write, value);
	struct result small = access(SMALL, off, write, value);

	if (huge.how != small.how || huge.value != small.value)
		FAIL("%s %s at %#lx: %lu, value %#lx, should be %lu, value %#lx", who,
		     write ? "writes" : "reads", off, huge.how, huge.value, small.how,
		     small.value);
}

static void check_both(const char *who, access_fn access, u64 off, u64 size, u64 *rnd)
{
	u64 value = next(rnd);

	off = off / SZ_2M * SZ_2M + places[next(rnd) % ARRAY_SIZE(places)];
	if (off >= size)
		return;
	check(who, access, off, false, 0);
	if (next(rnd) % 2) {
		check(who, access, off + 8, true, value);
		check(who, access, off + 8, false, 0);
	}
}

/* At the ends of what an operation was about, and somewhere else. */
static void look(const struct op *op, const char *who, access_fn access, u64 size)
{
	u64 rnd = op->rnd;
	int i;

	check_both(who, access, op->off, size, &rnd);
	check_both(who, access, op->off + op->len - SZ_4K, size, &rnd);
	check_both(who, access, op->off + op->len, size, &rnd);
	check_both(who, access, op->to, size, &rnd);
	for (i = 0; i < 3; i++)
		check_both(who, access, next(&rnd) % size, size, &rnd);
}

static void look_all(const struct op *op)
{
	look(op, "the host", host_access, AREA_SIZE);
	look(op, "the guest", guest_access, GPA_SIZE);
}

/* Operations */

static u64 some_len(u64 *rnd)
{
	switch (next(rnd) % 8) {
	case 0 ... 2:
		return SZ_4K << next(rnd) % 4;
	case 3 ... 4:
		return SZ_2M;
	case 5 ... 6:
		return ALIGN(SZ_4K + next(rnd) % SZ_16M, SZ_4K);
	default:
		return SZ_1G;
	}
}

static u64 some_place(u64 *rnd, u64 size)
{
	u64 off = next(rnd) % size;

	switch (next(rnd) % 4) {
	case 0:
		return ALIGN_DOWN(off, SZ_1G);
	case 1 ... 2:
		return ALIGN_DOWN(off, SZ_2M);
	default:
		return ALIGN_DOWN(off, SZ_4K);
	}
}

static void generate(struct op *op, u64 *rnd)
{
	u32 i, n, total = 0;

	for (i = 0; i < NR_KINDS; i++)
		total += kinds[i].weight;
	n = next(rnd) % total;
	for (i = 0; n >= kinds[i].weight; i++)
		n -= kinds[i].weight;
	op->kind = i;
	op->arg = next(rnd);
	op->rnd = next(rnd) | 1;
	op->off = some_place(rnd, AREA_SIZE);
	op->len = min_t(u64, some_len(rnd), AREA_SIZE - op->off);
	op->to = some_place(rnd, op->kind == SET_SLOT ? GPA_SIZE : AREA_SIZE);
	if (op->kind == MAP_SYSFS || op->kind == TRACE)
		op->len = min_t(u64, op->len, SZ_32M);
	if (op->kind == SET_SLOT && op->arg % 4)	/* mostly large ones */
		op->len = AREA_SIZE - op->off;
	if (op->kind == SET_SLOT)
		op->len = min_t(u64, op->len, GPA_SIZE - op->to);
	if (op->kind == MOVE) {
		if (op->arg % 4)			/* where leaves can stay */
			op->to = ALIGN_DOWN(op->to, SZ_2M) + op->off % SZ_2M;
		if (op->to + op->len > AREA_SIZE)
			op->to = op->off % SZ_2M;
		op->len = min_t(u64, op->len, AREA_SIZE - op->to);
	}
	/* A whole BAR now and then, for large leaves */
	if (op->kind == MAP_BAR && !(op->arg % 3)) {
		op->off = 0;
		op->len = AREA_SIZE;
	}
}

static long map(int arm, int fd, u64 pos, const struct op *op)
{
	char *p = area[arm] + op->off;

	return mmap(p, op->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		    pos + arm * AREA_SIZE + op->off) == p ? 0 : -1;
}

static u32 slot_nr(const struct op *op)
{
	return op->arg / 8 % NR_SLOTS;
}

static long set_slot(int arm, const struct op *op, u64 len, u32 flags)
{
	return __vm_set_user_memory_region(vm, SLOT + arm * NR_SLOTS + slot_nr(op), flags,
					   GPA + arm * GPA_SIZE + op->to, len,
					   area[arm] + op->off);
}

/* Log or no longer, and what is dirty. */
static long dirty_log(int arm, const struct op *op)
{
	struct kvm_dirty_log args = {
		.slot = SLOT + arm * NR_SLOTS + slot_nr(op),
		.dirty_bitmap = dirty[arm],
	};
	const struct op *slot = &slots[slot_nr(op)];
	u32 flags = op->arg % 4 ? KVM_MEM_LOG_DIRTY_PAGES : 0;

	memset(dirty[arm], 0, sizeof(dirty[arm]));
	if (!slot->len || set_slot(arm, slot, slot->len, flags))
		return -1;
	return __vm_ioctl(vm, KVM_GET_DIRTY_LOG, &args);
}

/* What was written is dirty; more may be. */
static void check_dirty(const struct op *op, bool is_logged)
{
	const struct op *slot = &slots[slot_nr(op)];
	u64 i, bit;
	int arm;

	for (i = 0; i < slot->len / SZ_4K; i++) {
		bit = BIT_ULL(i % 64);
		for (arm = 0; arm < NR_ARMS; arm++)
			if (logged[slot_nr(op)] && is_logged &&
			    written[slot->to / SZ_4K + i] && !(dirty[arm][i / 64] & bit))
				FAIL("page %#lx is not dirty in mapping %d", i, arm);
		report->dirty += logged[slot_nr(op)] && written[slot->to / SZ_4K + i];
		written[slot->to / SZ_4K + i] = false;
	}
	logged[slot_nr(op)] = is_logged;
}

static long apply(int arm, const struct op *op)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
	static const int advices[] = { MADV_DONTFORK, MADV_DOFORK, MADV_COLD, MADV_NOHUGEPAGE };
	char *p = area[arm] + op->off, *to = area[arm] + op->to;

	switch (op->kind) {
	case MAP_BAR:
		return map(arm, device->fd, bar->info.offset, op);
	case MAP_SYSFS:
	case TRACE:		/* which cannot reach what vfio maps */
		return map(arm, sysfs_fd, 0, op);
	case UNMAP:
		return munmap(p, op->len);
	case PROTECT:
		return mprotect(p, op->len, prots[op->arg % ARRAY_SIZE(prots)]);
	case MOVE:
		p = mremap(p, op->len, op->len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		return p == to ? 0 : -1;
	case ADVISE:
		return madvise(p, op->len, advices[op->arg % ARRAY_SIZE(advices)]);
	case SET_SLOT:
		return set_slot(arm, op, op->len, op->arg % 8 == 7 ? KVM_MEM_READONLY : 0);
	case DELETE_SLOT:
		return set_slot(arm, op, 0, 0);
	case DIRTY_LOG:
		return dirty_log(arm, op);
	default:
		return 0;
	}
}

static void wait_for(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		FAIL("fork or waitpid: %d", errno);
	if (!status)
		return;
	if (!report->failed)
		FAIL("a child ended with status %#x", status);
	_exit(1);
}

/* Children of children, each of which unmaps a part of what it has. */
static void fork_tree(const struct op *op, int depth)
{
	pid_t pid = fork();

	if (pid) {
		wait_for(pid);
		return;
	}
	report->children++;
	look(op, "a child", host_access, AREA_SIZE);
	munmap(area[HUGE] + op->off, op->len);
	munmap(area[SMALL] + op->off, op->len);
	look(op, "a child", host_access, AREA_SIZE);
	if (depth)
		fork_tree(op, depth - 1);
	look(op, "a child", host_access, AREA_SIZE);
	_exit(0);
}

static pid_t tracee;

static struct result trace_access(int arm, u64 off, bool write, u64 value)
{
	void *p = area[arm] + off;
	struct result r = {};

	errno = 0;
	if (write)
		ptrace(PTRACE_POKEDATA, tracee, p, value);
	else
		r.value = ptrace(PTRACE_PEEKDATA, tracee, p, 0);
	r.how = errno;
	report->traced += !errno;
	return r;
}

static void trace_child(const struct op *op)
{
	int status;

	tracee = fork();
	if (!tracee) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(0);
	}
	if (tracee < 0 || waitpid(tracee, &status, 0) != tracee || !WIFSTOPPED(status))
		FAIL("nothing to trace");
	look(op, "a tracer", trace_access, AREA_SIZE);
	ptrace(PTRACE_CONT, tracee, 0, 0);
	wait_for(tracee);
}

static void do_op(const struct op *op)
{
	int arm, err[NR_ARMS] = {};
	long ret[NR_ARMS] = {};

	switch (op->kind) {
	case TOGGLE:
		vfio_pci_cmd_clear(device, PCI_COMMAND_MEMORY);
		look_all(op);
		vfio_pci_cmd_set(device, PCI_COMMAND_MEMORY);
		break;
	case FORK:
		fork_tree(op, op->arg % 3);
		break;
	default:
		for (arm = 0; arm < NR_ARMS; arm++) {
			if (arm == HUGE && left_out == op->kind)
				continue;
			ret[arm] = apply(arm, op);
			if (ret[arm] < 0)
				err[arm] = errno;
		}
	}
	if (ret[HUGE] != ret[SMALL] || err[HUGE] != err[SMALL])
		FAIL("%s returned %ld, errno %d, should be %ld, errno %d", kinds[op->kind].name,
		     ret[HUGE], err[HUGE], ret[SMALL], err[SMALL]);
	report->done[op->kind] += ret[HUGE] >= 0;
	if (op->kind == TRACE)
		trace_child(op);
	if (op->kind == DIRTY_LOG)
		check_dirty(op, !ret[HUGE]);
	if (ret[HUGE] >= 0 && (op->kind == SET_SLOT || op->kind == DELETE_SLOT)) {
		logged[slot_nr(op)] = false;
		slots[slot_nr(op)] = *op;
		slots[slot_nr(op)].len *= op->kind == SET_SLOT;
	}
}

static void play(const struct op *ops, int nr)
{
	const struct op first[] = {
		{ .kind = MAP_BAR, .len = AREA_SIZE, .rnd = 1 },
		{ .kind = SET_SLOT, .len = AREA_SIZE, .rnd = 1 },
	};
	struct sigaction action = { .sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO };
	int i;

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	alarm(300);
	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	virt_map_level(vm, GVA, GPA, NR_ARMS * GPA_SIZE, PG_LEVEL_1G);
	for (i = 0; i < ARRAY_SIZE(first); i++)
		do_op(&first[i]);
	for (i = 0; i < nr; i++) {
		look_all(&ops[i]);
		report->levels[0] += vm_get_stat(vm, pages_4k);
		report->levels[1] += vm_get_stat(vm, pages_2m);
		report->levels[2] += vm_get_stat(vm, pages_1g);
		do_op(&ops[i]);
		look_all(&ops[i]);
	}
	_exit(0);
}

static bool passes(const struct op *ops, int nr)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid)
		play(ops, nr);
	TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid, "fork failed");
	vfio_pci_cmd_set(device, PCI_COMMAND_MEMORY);
	if (status && !report->failed) {
		report->failed = true;
		snprintf(report->why, sizeof(report->why), "ended with status %#x", status);
	}
	return !report->failed;
}

/* The two halves of the BAR hold the same, and each page something else. */
static void write_numbers(void)
{
	u64 arm, off, i;

	for (arm = 0; arm < NR_ARMS; arm++)
		for (off = 0; off < AREA_SIZE; off += SZ_2M)
			for (i = 0; i < ARRAY_SIZE(places); i++) {
				u64 *p = bar->vaddr + arm * AREA_SIZE + off + places[i];

				p[0] = NUMBER(off + places[i]);
				p[1] = p[0] + 8;
			}
}

/* Leave out what it does not take to fail. */
static int shrink(struct op *ops, int nr)
{
	struct op some[NR_OPS];
	int chunk, at, left;

	for (chunk = nr; chunk; chunk = chunk > 1 ? (chunk + 1) / 2 : 0) {
		for (at = 0; at < nr && nr > 1; ) {
			left = nr - at < chunk ? 0 : nr - at - chunk;
			memcpy(some, ops, at * sizeof(*ops));
			memcpy(some + at, ops + nr - left, left * sizeof(*ops));
			report->failed = false;
			write_numbers();
			if (!(at + left) || passes(some, at + left)) {
				at += chunk;
				continue;
			}
			nr = at + left;
			memcpy(ops, some, nr * sizeof(*ops));
		}
	}
	return nr;
}

static void fuzz(u64 seed, u64 sequences)
{
	struct op ops[NR_OPS];
	u64 n, rnd;
	int i, nr;

	for (n = 0; n < sequences; n++) {
		rnd = (seed + n) * 0x9e3779b97f4a7c15ull | 1;
		for (i = 0; i < NR_OPS; i++)
			generate(&ops[i], &rnd);
		if (passes(ops, NR_OPS))
			continue;
		ksft_print_msg("seed %lu: %s\n", seed + n, report->why);
		nr = shrink(ops, NR_OPS);
		ksft_print_msg("%d operations do it: %s\n", nr, report->why);
		for (i = 0; i < nr; i++)
			ksft_print_msg("%s %#lx+%#lx to %#lx (%u)\n", kinds[ops[i].kind].name,
				       ops[i].off, ops[i].len, ops[i].to, ops[i].arg);
		ksft_test_result_fail("leaves and PTEs are the same\n");
		ksft_exit_fail();
	}
}

int main(int argc, char *argv[])
{
	const char *bdf = vfio_selftests_get_bdf(&argc, argv);
	u64 seed = time(NULL), sequences = 50, i;
	char path[128];
	bool enough;
	int opt;

	while ((opt = getopt(argc, argv, "r:n:x:")) != -1) {
		if (opt == 'r')
			seed = atoi_positive("Seed", optarg);
		else if (opt == 'n')
			sequences = atoi_positive("Number of sequences", optarg);
		else if (opt != 'x')
			exit(KSFT_FAIL);
		for (i = 0; opt == 'x' && i < NR_KINDS; i++)
			if (!strcmp(optarg, kinds[i].name))
				left_out = i;
	}
	ksft_print_header();
	ksft_set_plan(2);
	device = vfio_pci_device_init(bdf, iommu_init(default_iommu_mode));
	bar = find_bar(device, NR_ARMS * AREA_SIZE);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%u", bdf, bar->info.index);
	sysfs_fd = open(path, O_RDWR);
	TEST_ASSERT(sysfs_fd >= 0, "Cannot open %s", path);
	write_numbers();
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	written = calloc(GPA_SIZE / SZ_4K, sizeof(*written));
	TEST_ASSERT(report != MAP_FAILED && written, "Not enough memory");
	area[HUGE] = mmap_reserve(AREA_SIZE, SZ_1G, 0);
	area[SMALL] = mmap_reserve(AREA_SIZE + SZ_1G, SZ_1G, SZ_4K);

	fuzz(seed, sequences);

	ksft_print_msg("seed %lu: %lu sequences, %lu operations\n", seed, sequences,
		       sequences * NR_OPS);
	ksft_print_msg("the host: %lu accesses, %lu signals\n", report->host, report->signals);
	ksft_print_msg("the guest: %lu accesses, %lu EFAULT, %lu MMIO, %lu written and logged\n",
		       report->guest, report->efault, report->mmio, report->dirty);
	ksft_print_msg("%lu children, %lu words traced; pages of 4K %lu, 2M %lu, 1G %lu\n",
		       report->children, report->traced, report->levels[0], report->levels[1],
		       report->levels[2]);
	ksft_test_result_pass("leaves and PTEs are the same\n");
	enough = report->guest > 100 * sequences && report->efault > sequences &&
		 report->mmio > sequences && report->signals > sequences &&
		 report->dirty > sequences &&
		 report->children >= sequences / 2 && report->traced > sequences &&
		 report->levels[1] > sequences && report->levels[2] > sequences;
	for (i = 0; i < NR_KINDS; i++) {
		ksft_print_msg("%lu times %s\n", report->done[i], kinds[i].name);
		enough &= report->done[i] >= sequences / 4;
	}
	ksft_test_result(enough, "enough happened\n");
	ksft_finished();
}
