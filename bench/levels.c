// SPDX-License-Identifier: GPL-2.0-only
/*
 * At which level does KVM map a memslot, and what does that cost?
 *
 * One row per invocation, so that each row can be the first of a boot:
 *
 *  1. map a range of a PCI BAR (vfio-pci or sysfs), of /dev/mem, or ordinary memory,
 *  2. put it into a memslot of a VM with one vCPU and pre-fault the slot: the host maps the range
 *     on the way ("first"),
 *  3. do the same in a second VM, when the host mapping is there ("mapped"),
 *  4. let a guest write and read the slot in another VM ("touch"),
 *  5. unmap.
 *
 * Or, without a VM, what a fork costs (--fork), or which faults follow when a page is unmapped in
 * the middle of a leaf and when memory decoding of the device is toggled after that (--cut).
 */
#include <getopt.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <linux/pci_regs.h>

#include "range.h"

#define MAX_TOUCHES	SZ_64K		/* each can cost a page of the memory behind the BAR */

static const struct row {
	const char *name;
	struct range range;
	bool thp;
} rows[] = {
	{ "vfio-congruent",	{ VIA_VFIO,  .size = SZ_4G } },
	{ "vfio-off-2m",	{ VIA_VFIO,  .size = SZ_4G, .offset = SZ_2M } },
	{ "vfio-off-4k",	{ VIA_VFIO,  .size = SZ_1G, .offset = SZ_4K } },
	{ "vfio-null",		{ VIA_VFIO,  .size = SZ_4G, .null = true } },
	{ "sysfs-congruent",	{ VIA_SYSFS, .size = SZ_1G } },
	{ "sysfs-off-4k",	{ VIA_SYSFS, .size = SZ_1G, .offset = SZ_4K } },
	{ "anon-4k",		{ VIA_ANON,  .size = SZ_256M } },
	{ "anon-thp",		{ VIA_ANON,  .size = SZ_1G }, .thp = true },
};

static struct {
	const char *table;	/* of the report that the row belongs to */
	const char *kernel;	/* that runs */
	const char *leaf;	/* the level that all leaves must have, or one for each kernel */
	bool no_touch, fork, cut;
	bool levels_only;	/* the memory behind the BAR does not answer */
} opt = { .table = "levels" };

struct leaves {
	u64 n4k, n2m, n1g;
};

/* One pass over the slot, by KVM_PRE_FAULT_MEMORY or by the guest itself. */
struct pass {
	struct leaves leaves;
	u64 insns;
	u64 taken;		/* faults that KVM counted; it does not count pre-faults */
	u64 host_faults;
};

static u64 page_table_kb(void)
{
	char line[128];
	u64 kb = ~0ull;
	FILE *f;

	f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPTE: %lu", &kb) == 1)
			break;
	TEST_ASSERT(kb != ~0ull, "no VmPTE in /proc/self/status");
	fclose(f);
	return kb;
}

static u64 host_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt + ru.ru_majflt;
}

/* A number in the first and in the last page of each GiB; all are written before one is read. */
static bool data_survives(const struct range *r)
{
	u64 step, at;
	int write;

	for (write = 1; write >= 0; write--) {
		for (at = 0; at < r->size; at += step) {
			u64 *p = r->va + at;

			step = at % SZ_1G ? SZ_4K : min_t(u64, SZ_1G, r->size) - SZ_4K;
			if (write)
				WRITE_ONCE(*p, ~at);
			else if (READ_ONCE(*p) != ~at)
				return false;
		}
	}
	return true;
}

static void guest_code(u64 base, u64 size, u64 stride)
{
	u64 at;

	for (at = 0; at < size; at += stride)
		WRITE_ONCE(*(u64 *)(base + at), at + 1);
	for (at = 0; at < size; at += stride)
		GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)(base + at)), at + 1);
	GUEST_DONE();
}

static struct leaves vm_leaves(struct kvm_vm *vm)
{
	return (struct leaves) {
		vm_get_stat(vm, pages_4k), vm_get_stat(vm, pages_2m), vm_get_stat(vm, pages_1g),
	};
}

/* One pass over the first @bytes of the range: pre-faulted, or touched every @stride bytes. */
static struct pass measure(const struct range *r, u64 bytes, u64 stride)
{
	struct slot_vm s = vm_with_slot(r, guest_code, 0);
	struct leaves before, after;
	struct pass p;
	u64 start;

	vcpu_args_set(s.vcpu, 3, s.gva, bytes, stride);
	before = vm_leaves(s.vm);
	p.taken = vcpu_get_stat(s.vcpu, pf_taken);
	p.host_faults = host_faults();

	start = now();
	window_open();
	if (stride)
		run_guest(s.vcpu);
	else
		prefault(s.vcpu, s.gpa, bytes);
	window_close();
	p.insns = now() - start;

	p.host_faults = host_faults() - p.host_faults;
	p.taken = vcpu_get_stat(s.vcpu, pf_taken) - p.taken;
	after = vm_leaves(s.vm);
	p.leaves.n4k = after.n4k - before.n4k;
	p.leaves.n2m = after.n2m - before.n2m;
	p.leaves.n1g = after.n1g - before.n1g;
	kvm_vm_free(s.vm);
	return p;
}

static u64 nr_leaves(const struct leaves *l)
{
	return l->n4k + l->n2m + l->n1g;
}

static u64 mapped_bytes(const struct leaves *l)
{
	return l->n4k * SZ_4K + l->n2m * SZ_2M + l->n1g * SZ_1G;
}

static bool same_leaves(const struct leaves *a, const struct leaves *b)
{
	return a->n4k == b->n4k && a->n2m == b->n2m && a->n1g == b->n1g;
}

static u64 smallest_leaf(const struct leaves *l)
{
	return l->n4k ? SZ_4K : l->n2m ? SZ_2M : SZ_1G;
}

static bool guest_data_seen(const struct range *r, u64 bytes, u64 stride)
{
	u64 at;

	for (at = 0; at < bytes; at += stride)
		if (READ_ONCE(*(u64 *)(r->va + at)) != at + 1)
			return false;
	return true;
}

static void check_touch(const struct row *row, const struct leaves *leaves)
{
	u64 stride = smallest_leaf(leaves);
	const struct range *r = &row->range;
	u64 bytes = min_t(u64, r->size, stride * MAX_TOUCHES);
	struct pass prefault = measure(r, bytes, 0), touch = measure(r, bytes, stride);
	const char *name = row->name;

	ksft_test_result(same_leaves(&prefault.leaves, &touch.leaves),
			 "%s: a touching guest gets the same levels\n", name);
	ksft_test_result(touch.taken == nr_leaves(&touch.leaves),
			 "%s: a touching guest faults once per leaf\n", name);
	ksft_test_result(guest_data_seen(r, bytes, stride), "%s: the host sees the guest's data\n",
			 name);
}

static u64 parse_bytes(const char *text)
{
	char *end;
	u64 n = strtoull(text, &end, 0);

	switch (*end) {
	case 'T':
		n <<= 10;
		fallthrough;
	case 'G':
		n <<= 10;
		fallthrough;
	case 'M':
		n <<= 10;
		fallthrough;
	case 'K':
		n <<= 10;
		end++;
	}
	TEST_ASSERT(end != text && (!*end || *end == ','), "not a size: %s", text);
	return n;
}

static void check_leaf(const struct row *row, const struct leaves *l)
{
	const char *text = opt.leaf;
	u64 size;

	if (opt.kernel && strchr(text, '=')) {
		text = strstr(text, opt.kernel);
		TEST_ASSERT(text && text[strlen(opt.kernel)] == '=', "no leaf for %s", opt.kernel);
		text += strlen(opt.kernel) + 1;
	}
	size = parse_bytes(text);
	ksft_test_result(mapped_bytes(l) == nr_leaves(l) * size && smallest_leaf(l) == size,
			 "%s: all leaves are of %lu kB\n", row->name, size >> 10);
}

static void populate(const struct row *row)
{
	const struct range *r = &row->range;

	madvise(r->va, r->size, row->thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	TEST_ASSERT(!madvise(r->va, r->size, MADV_POPULATE_WRITE), "not enough memory");
}

/* Read every page but the one at offset @hole (0: every page); the faults that it takes. */
static u64 touch_all(const struct range *r, u64 hole)
{
	u64 at, before = host_faults();

	for (at = 0; at < r->size; at += SZ_4K)
		if (!hole || at != hole)
			READ_ONCE(*(u8 *)(r->va + at));
	return host_faults() - before;
}

static void run_row(struct row *row)
{
	u64 kb_before, kb_mapped, munmap_insns, start;
	struct range *r = &row->range;
	struct pass first, mapped;

	kb_before = page_table_kb();
	map_range(r);
	if (r->via == VIA_ANON)
		populate(row);
	first = measure(r, r->size, 0);
	kb_mapped = page_table_kb();
	mapped = measure(r, r->size, 0);
	ksft_test_result(mapped_bytes(&first.leaves) == r->size,
			 "%s: the leaves cover the slot exactly\n", row->name);
	if (opt.leaf)
		check_leaf(row, &first.leaves);
	ksft_test_result(same_leaves(&first.leaves, &mapped.leaves),
			 "%s: the same levels when the host has mapped the range\n", row->name);
	ksft_test_result(mapped.host_faults == 0, "%s: no host fault for a mapped range\n",
			 row->name);
	if (!opt.levels_only)
		ksft_test_result(data_survives(r), "%s: data survives a round trip\n", row->name);
	if (!opt.no_touch)
		check_touch(row, &first.leaves);

	start = now();
	window_open();
	TEST_ASSERT(!munmap(r->va, r->size), "munmap failed (errno %d)", errno);
	window_close();
	munmap_insns = now() - start;

	json_open(opt.table, row->name);
	json_number("bytes", r->size);
	json_number("va_mod_1g", (u64)r->va & (SZ_1G - 1));
	json_number("n4k", first.leaves.n4k);
	json_number("n2m", first.leaves.n2m);
	json_number("n1g", first.leaves.n1g);
	json_number("faults", nr_leaves(&first.leaves));
	json_number("host_faults", first.host_faults);
	json_number("first_insns", first.insns);
	json_number("mapped_insns", mapped.insns);
	json_number("mmap_insns", r->mmap_insns);
	json_number("munmap_insns", munmap_insns);
	json_number("pt_kb", kb_mapped - kb_before);
	json_close();
}

/* The instructions of the parent, and the page tables of the child if @child_kb is not NULL. */
static u64 fork_insns(u64 *child_kb)
{
	struct timespec before, after;
	int status;
	pid_t pid;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	pid = fork();
	if (!pid) {
		*child_kb = page_table_kb();
		_exit(0);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "fork failed");
	return timespec_to_ns(timespec_sub(after, before));
}

static void run_fork(struct row *row)
{
	u64 *child_kb = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	u64 kb_without, insns_without, kb_before = page_table_kb(), insns;
	struct range *r = &row->range;

	TEST_ASSERT(child_kb != MAP_FAILED, "no memory");
	insns_without = fork_insns(child_kb);
	kb_without = *child_kb;
	map_range(r);		/* not touched: each page would cost one of the machine's memory */
	kb_before = page_table_kb() - kb_before;
	insns = fork_insns(child_kb);
	ksft_test_result(*child_kb - kb_without <= kb_before + 8,
			 "%s: the child's page tables are no larger\n", row->name);
	json_open("fork", row->name);
	json_number("bytes", r->size);
	json_number("insns", insns);
	json_number("insns_without", insns_without);
	json_number("pt_kb", kb_before);
	json_number("child_pt_kb", *child_kb - kb_without);
	json_close();
}

static void toggle_memory(const struct range *r)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	u16 command, off;
	off_t pgoff;
	int fd;

	fd = vfio_open(r, &pgoff);
	ioctl_assert(fd, VFIO_DEVICE_GET_REGION_INFO, &info);
	TEST_ASSERT(pread(fd, &command, 2, info.offset + PCI_COMMAND) == 2, "no config space");
	off = command & ~PCI_COMMAND_MEMORY;
	TEST_ASSERT(pwrite(fd, &off, 2, info.offset + PCI_COMMAND) == 2 &&
		    pwrite(fd, &command, 2, info.offset + PCI_COMMAND) == 2, "cannot write");
}

static void run_cut(struct row *row)
{
	struct range *r = &row->range;
	u64 first, cut, again, start, insns[3], hole = SZ_2M * 5 + SZ_1M;

	map_range(r);
	start = now();
	first = touch_all(r, 0);
	insns[0] = now() - start;
	TEST_ASSERT(!munmap(r->va + hole, SZ_4K), "munmap failed (errno %d)", errno);
	start = now();
	cut = touch_all(r, hole);
	insns[1] = now() - start;
	toggle_memory(r);
	start = now();
	again = touch_all(r, hole);
	insns[2] = now() - start;
	ksft_test_result(first && again > first, "%s: the toggle unmaps all\n", row->name);
	json_open("cut", row->name);
	json_number("bytes", r->size);
	json_number("first_faults", first);
	json_number("cut_faults", cut);
	json_number("toggle_faults", again);
	json_number("first_insns", insns[0]);
	json_number("cut_insns", insns[1]);
	json_number("toggle_insns", insns[2]);
	json_close();
}

static struct row find_row(const char *name)
{
	for (int i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].name, name))
			return rows[i];
	TEST_FAIL("no row is called %s", name);
}

static enum via find_via(const char *name)
{
	for (int i = 0; i < NR_VIAS; i++)
		if (!strcmp(via_names[i], name))
			return i;
	TEST_FAIL("no way to map is called %s", name);
}

static const struct option options[] = {
	{ "row",		required_argument, NULL, 'r' },
	{ "table",		required_argument, NULL, 'a' },
	{ "map",		required_argument, NULL, 'm' },
	{ "size",		required_argument, NULL, 's' },
	{ "null",		no_argument,	   NULL, 'n' },
	{ "bdf",		required_argument, NULL, 'b' },
	{ "bar",		required_argument, NULL, 'i' },
	{ "phys",		required_argument, NULL, 'p' },
	{ "no-touch",		no_argument,	   NULL, 'T' },
	{ "fork",		no_argument,	   NULL, 'f' },
	{ "cut",		no_argument,	   NULL, 'c' },
	{ "kernel",		required_argument, NULL, 'k' },
	{ "leaf",		required_argument, NULL, 'e' },
	{ "levels-only",	no_argument,	   NULL, 'L' },
	{ }
};

static void usage(void)
{
	size_t i;

	fputs("levels: what is behind the range: --row NAME, or --map", stderr);
	for (i = 0; i < NR_VIAS; i++)
		fprintf(stderr, " %s", via_names[i]);
	fputs(" and\n--bdf ADDRESS of a PCI device, which is taken from its driver; without\n"
	      "--levels-only its BAR is overwritten. All options:", stderr);
	for (i = 0; options[i].name; i++)
		fprintf(stderr, " --%s%s", options[i].name, options[i].has_arg ? "=X" : "");
	fputs("\n", stderr);
	exit(KSFT_FAIL);
}

static struct row parse_options(int argc, char *argv[])
{
	struct row row = { .name = "custom", .range.size = SZ_1G };
	const char *bdf = NULL;
	struct range *r = &row.range;
	int c, bar = 2;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			row = find_row(optarg);
			break;
		case 'a':
			opt.table = optarg;
			break;
		case 'm':
			r->via = find_via(optarg);
			row.name = optarg;
			break;
		case 'p':
			r->phys = parse_bytes(optarg);
			break;
		case 's':
			r->size = parse_bytes(optarg);
			break;
		case 'n':
			r->null = true;
			break;
		case 'b':
			bdf = optarg;
			break;
		case 'i':
			bar = atoi(optarg);
			break;
		case 'T':
			opt.no_touch = true;
			break;
		case 'f':
			opt.fork = true;
			break;
		case 'c':
			opt.cut = true;
			break;
		case 'k':
			opt.kernel = optarg;
			break;
		case 'e':
			opt.leaf = optarg;
			break;
		case 'L':
			opt.levels_only = true;
			opt.no_touch = true;
			break;
		default:
			usage();
		}
	}
	if (!bdf && r->via != VIA_ANON && r->via != VIA_DEVMEM)
		usage();
	r->bdf = bdf;
	r->bar = bar;
	return row;
}

int main(int argc, char *argv[])
{
	struct row row;

	no_randomization(argv);
	row = parse_options(argc, argv);
	ksft_print_header();
	ksft_set_plan((opt.fork || opt.cut ? 1 : opt.levels_only ? 3 : opt.no_touch ? 4 : 7) +
		      !!opt.leaf);
	(opt.fork ? run_fork : opt.cut ? run_cut : run_row)(&row);
	ksft_finished();
}
