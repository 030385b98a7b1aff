// SPDX-License-Identifier: GPL-2.0-only
/*
 * How often does one KVM fault walk the host page tables for its address, which locks does it take,
 * and how long does it wait while somebody else holds mmap_lock for writing?
 *
 * The walkcount module records the accesses; see there for what it watches. Each row measures
 * several faults, each in a fresh mapping and a fresh VM; they must agree. The hits of one are
 * printed, so that every count can be followed to the functions behind it.
 */
#include <getopt.h>

#include "range.h"

#define WALKCOUNT	"/sys/kernel/debug/walkcount/"
#define NR_FAULTS	3
#define TRACE_SIZE	SZ_16K
#define HOLD_MS		20

/* A top-level table entry that nothing else uses, so that its reads concern the range only. */
#define RANGE_BASE	(16ull << 40)

/* In the midst of a 2M range that lies within the slot, else KVM knows the level without a walk. */
#define AT_4K		(SZ_2M + SZ_64K)

static const struct row {
	const char *name;
	struct range range;
	u64 leaf;
	u64 at;			/* where the fault is; the leaf before it is mapped */
	bool mapped;		/* the host has mapped the page before the fault */
	u32 slot_flags;
	bool write;		/* a guest writes; else the page is pre-faulted */
	unsigned int stock;	/* walks that the stock kernel makes */
} rows[] = {
	{ "pfnmap-1g-mapped",	{ VIA_VFIO, .size = SZ_4G }, SZ_1G, SZ_1G, true, .stock = 3 },
	{ "pfnmap-1g-first",	{ VIA_VFIO, .size = SZ_4G }, SZ_1G, SZ_1G, false, .stock = 5 },
	{ "pfnmap-1g-readonly",	{ VIA_VFIO, .size = SZ_4G }, SZ_1G, SZ_1G, true,
	  .slot_flags = KVM_MEM_READONLY, .stock = 2 },
	{ "pfnmap-4k-mapped",	{ VIA_VFIO, .size = SZ_4M, .offset = SZ_4K }, SZ_4K, AT_4K, true,
	  .stock = 3 },
	{ "pfnmap-4k-first",	{ VIA_VFIO, .size = SZ_4M, .offset = SZ_4K }, SZ_4K, AT_4K, false,
	  .stock = 6 },
	{ "ordinary-mapped",	{ VIA_ANON, .size = SZ_4M }, SZ_4K, AT_4K, true, .stock = 2 },
	{ "ordinary-first",	{ VIA_ANON, .size = SZ_4M }, SZ_4K, AT_4K, false,
	  .write = true, .stock = 5 },
};

struct counts {
	unsigned int walks, mmap_locks, ptl_locks, vma_locks;
};

struct hit {
	char watch[16], function[64];
};

static void guest_code(u64 gva)
{
	GUEST_SYNC(0);
	WRITE_ONCE(*(u64 *)gva, 1);
	GUEST_DONE();
}

static void control(const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), WALKCOUNT "%s", file);
	write_or_fail(open(path, O_WRONLY), text, path);
}

/* A fresh mapping whose upper tables are there, and a VM ready to fault. */
static struct slot_vm prepare(struct row *row)
{
	struct range *r = &row->range;
	struct slot_vm s;

	map_range(r);
	if (r->via == VIA_ANON)
		madvise(r->va, r->size, MADV_NOHUGEPAGE);
	WRITE_ONCE(*(u64 *)(r->va + row->at - row->leaf), 1);
	if (row->mapped)
		WRITE_ONCE(*(u64 *)(r->va + row->at), 1);

	s = vm_with_slot(r, guest_code, row->slot_flags);
	vcpu_args_set(s.vcpu, 1, s.gva + row->at);
	vcpu_run(s.vcpu);
	TEST_ASSERT_EQ(get_ucall(s.vcpu, NULL), UCALL_SYNC);
	return s;
}

static void fault(const struct row *row, struct slot_vm *s)
{
	if (row->write)
		vcpu_run(s->vcpu);
	else
		prefault(s->vcpu, s->gpa + row->at, SZ_4K);
}

static void finish(struct row *row, struct slot_vm *s)
{
	if (row->write)
		TEST_ASSERT_EQ(get_ucall(s->vcpu, NULL), UCALL_DONE);
	kvm_vm_free(s->vm);
	munmap(row->range.va, row->range.size);
}

/* ---- walks and locks ---- */

static bool starts(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static bool takes_lock(const char *function)
{
	return starts(function, "down_") || starts(function, "_raw_spin_lock") ||
	       starts(function, "_raw_spin_trylock") || starts(function, "lock_vma") ||
	       starts(function, "vma_start_");
}

/*
 * A walk reads mm->pgd, then the watched entry, perhaps repeatedly. A walk that finds the table in
 * another way still reads the entry. Reads of mm->pgd alone belong to other addresses.
 * A lock may read its word before it writes it: the hits of one function in a row are one.
 */
static void count_hit(const struct hit *hit, const struct hit *last, struct counts *c)
{
	bool same_function = !strcmp(hit->function, last->function);
	bool same = same_function && !strcmp(hit->watch, last->watch);

	if (!strcmp(hit->watch, "entry"))
		c->walks += !same;
	if (same || !takes_lock(hit->function))
		return;
	c->mmap_locks += !strcmp(hit->watch, "mmap_lock");
	c->ptl_locks += !strcmp(hit->watch, "ptl");
	c->vma_locks += !strcmp(hit->watch, "vma");
}

static struct counts count_hits(const char *trace)
{
	struct hit hit, last = {};
	struct counts c = {};
	const char *line;

	for (line = trace; *line; line = strchr(line, '\n') + 1) {
		TEST_ASSERT(sscanf(line, "%15s %63[^+]", hit.watch, hit.function) == 2, "%s", line);
		count_hit(&hit, &last, &c);
		last = hit;
	}
	return c;
}

static struct counts watch_fault(struct row *row, const char *kind, char *trace)
{
	struct slot_vm s = prepare(row);
	char what[32];
	ssize_t n;
	int fd;

	memset(trace, 0, TRACE_SIZE);
	snprintf(what, sizeof(what), "%lx %s", (u64)row->range.va + row->at, kind);
	fd = open(WALKCOUNT "hits", O_RDONLY);
	control("watch", what);
	fault(row, &s);
	n = read(fd, trace, TRACE_SIZE - 1);
	control("watch", "-");
	close(fd);
	TEST_ASSERT(n > 0 && !strstr(trace, "overflow"), "the trace is lost (errno %d)", errno);
	finish(row, &s);
	return count_hits(trace);
}

static void print_trace(const char *row, char *trace)
{
	for (char *line = strtok(trace, "\n"); line; line = strtok(NULL, "\n"))
		ksft_print_msg("hit %s: %s\n", row, line);
}

static void count_row(struct row *row, bool stock)
{
	static char trace[TRACE_SIZE];
	struct counts first, c;
	bool same = true;

	for (int i = 0; i < NR_FAULTS; i++) {
		u64 vma_locks = watch_fault(row, "vma", trace).vma_locks;

		c = watch_fault(row, "ptl", trace);
		c.vma_locks = vma_locks;
		if (!i)
			first = c;
		same &= !memcmp(&first, &c, sizeof(c));
	}
	print_trace(row->name, trace);
	ksft_test_result(same, "%s: %d faults agree\n", row->name, NR_FAULTS);
	if (stock)
		ksft_test_result(c.walks == row->stock, "%s: %u walks, stock makes %u\n", row->name,
				 c.walks, row->stock);
	json_open("walks", row->name);
	json_number("walks", c.walks);
	json_number("mmap_locks", c.mmap_locks);
	json_number("ptl_locks", c.ptl_locks);
	json_number("vma_locks", c.vma_locks);
	json_close();
}

/* ---- waiting ---- */

static u64 timed_fault(struct row *row, const char *hold_ms)
{
	struct slot_vm s = prepare(row);
	u64 start;

	if (hold_ms)
		control("hold", hold_ms);
	start = now();
	fault(row, &s);
	start = now() - start;
	finish(row, &s);	/* munmap() waits for the holder */
	return start;
}

static void time_row(struct row *row)
{
	u64 free = timed_fault(row, NULL);
	u64 held = timed_fault(row, __stringify(HOLD_MS));

	json_open("waiting", row->name);
	json_number("held_ms", HOLD_MS);
	json_number("ns_free", free);
	json_number("ns_held", held);
	json_close();
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "kernel", required_argument, NULL, 'k' },
		{ "bdf", required_argument, NULL, 'b' },
		{ "bar", required_argument, NULL, 'i' },
		{ }
	};
	const char *bdf = NULL;
	bool stock = false;
	int c, bar = 2;

	no_randomization(argv);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'k':
			stock = !strcmp(optarg, "stock");
			break;
		case 'b':
			bdf = optarg;
			break;
		case 'i':
			bar = atoi(optarg);
			break;
		default:
			exit(KSFT_FAIL);
		}
	}
	TEST_ASSERT(bdf, "--bdf ADDRESS is needed, of a device that the walks may take");

	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(rows) * (stock ? 2 : 1));
	for (int i = 0; i < ARRAY_SIZE(rows); i++) {
		struct row row = rows[i];

		row.range.bdf = bdf;
		row.range.bar = bar;
		row.range.base = RANGE_BASE;
		count_row(&row, stock);
		time_row(&row);
	}
	ksft_finished();
}
