// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs use a BAR while other threads change how it is mapped: unmap, protect,
 * move and remap parts of it, fork, disable the device's memory, move and
 * delete the memslot, log dirty pages. Each page holds its own number.
 *
 * Each chunk of the BAR has a sequence number, odd while the chunk changes. If
 * that is the same before and after an access of the guest, and even, then the
 * access must have been to the page that is mapped there, and must not have
 * failed. Else it may fail, but still must not be to a page of another address.
 *
 *   -n N   until there were so many faults, and of all else in proportion
 *   -t N   but no longer than so many seconds
 *   -s N   and at least so many
 *   -r N   another sequence of random numbers
 *
 * With -f, allocations of the threads may fail: what returns -ENOMEM is done
 * again. How often they do is up to failslab and fail_page_alloc, task-filter.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include <kvm_util.h>
#include <libvfio.h>
#include <processor.h>
#include <test_util.h>
#include <ucall_common.h>

#include "pfnmap.h"

#define SLOT		10
#define GPA		SZ_4G
#define GPA_ELSEWHERE	(16ull * SZ_1G)
#define GVA		BIT_ULL(45)
#define NR_VCPUS	2
#define NR_BANKS	2		/* parts of the BAR, one of which a chunk is mapped to */
#define BANK_SIZE	(2ull * SZ_1G)
#define CHUNK_SIZE	SZ_2M
#define NR_CHUNKS	(BANK_SIZE / CHUNK_SIZE)
#define NR_MUTATORS	2
#define NO_SLOT		0xbad		/* what the guest reads without a memslot */
#define WRONG		255		/* exit status of a child */

#define NUMBER(bank, off) (0x5a5a000000000000ull + (bank) * BANK_SIZE + (off))

/* Pages of each chunk that are used */
static const u64 places[] = { 0, SZ_4K, SZ_1M, SZ_2M - SZ_4K };

struct access {
	u64 off;
	u32 seq, all_seq;	/* before the access */
	u64 done, stable;
};

/* The guest's copy is the only one that is used, by the host through @sh. */
static struct shared {
	u32 seq[NR_CHUNKS];
	u32 bank[NR_CHUNKS];
	u32 all_seq;		/* of all chunks */
	u32 stop;
	struct access access[NR_VCPUS];
} shared, *sh;

static u64 next_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void guest_code(u64 id)
{
	struct access *a = &shared.access[id];
	u64 rnd = 0x9e3779b97f4a7c15ull * (id + 1);
	u64 value, x, *p;
	u32 chunk, bank;

	while (!READ_ONCE(shared.stop)) {
		x = next_random(&rnd);
		chunk = x % NR_CHUNKS;
		a->off = chunk * (u64)CHUNK_SIZE + places[(x >> 32) % ARRAY_SIZE(places)];
		p = (u64 *)(GVA + a->off);

		a->all_seq = READ_ONCE(shared.all_seq);
		a->seq = READ_ONCE(shared.seq[chunk]);
		bank = READ_ONCE(shared.bank[chunk]);
		barrier();
		if (x >> 60 < 4)
			WRITE_ONCE(p[1 + id], x);
		value = READ_ONCE(*p);
		barrier();
		if (READ_ONCE(shared.seq[chunk]) == a->seq && !(a->seq & 1) &&
		    READ_ONCE(shared.all_seq) == a->all_seq && !(a->all_seq & 1)) {
			__GUEST_ASSERT(value == NUMBER(bank, a->off),
				       "Offset %lx of bank %u is %lx", a->off, bank, value);
			a->stable++;
		} else {
			__GUEST_ASSERT(value == NUMBER(0, a->off) || value == NUMBER(1, a->off) ||
				       value == NO_SLOT, "Offset %lx is %lx", a->off, value);
		}
		a->done++;
	}
	GUEST_DONE();
}

static struct vfio_pci_device *device;
static struct vfio_pci_bar *bar;
static struct kvm_vm *vm;
static struct kvm_vcpu *vcpus[NR_VCPUS];
static char *area, *scratch;
static int memfd;
static u64 seed;
static bool stop, failing;
static u64 nr_efault, nr_mmio, nr_enomem, nr_words;

/* What the threads did, by kind */
enum { REMAP, OVERMAP, PROTECT, MOVE, FORK, TOGGLE, SLOT_MOVE, SLOT_DELETE, DIRTY_LOG, NR_KINDS };
static u64 count[NR_KINDS];
static const char * const kind_names[] = {
	"remap", "overmap", "protect", "move", "fork", "toggle", "slot_move", "slot_delete",
	"dirty_log",
};

/* Of the thread that calls it; opened once, because that may fail, too. */
static void let_me_fail(bool on)
{
	static __thread int fd = -1;

	if (!failing)
		return;
	if (fd < 0)
		fd = open("/proc/thread-self/make-it-fail", O_WRONLY);
	TEST_ASSERT(write(fd, on ? "1" : "0", 1) == 1, "No fault injection (errno %d)", errno);
}

/* After a failure: whether to do it again. */
static bool again(void)
{
	if (!failing || (errno != ENOMEM && errno != EAGAIN))
		return false;
	__sync_fetch_and_add(&nr_enomem, 1);
	return true;
}

#define MUST(done, what) do {							\
	while (!(done))								\
		TEST_ASSERT(again(), what " failed (errno %d)", errno);		\
} while (0)

/* Whether what the vCPU accessed has been changing while it was accessed. */
static bool changing(struct access *a)
{
	u32 *seq = &sh->seq[a->off / CHUNK_SIZE];

	return a->seq & 1 || a->all_seq & 1 || READ_ONCE(*seq) != a->seq ||
	       READ_ONCE(sh->all_seq) != a->all_seq;
}

static void *vcpu_thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	struct access *a = &sh->access[vcpu->id];
	struct kvm_run *run = vcpu->run;
	struct ucall uc;
	u64 value = NO_SLOT, done = 0;
	int r, tries = 0;

	let_me_fail(true);
	for (;;) {
		r = __vcpu_run(vcpu);
		if (r && errno == EINTR)
			continue;
		if (r) {
			/*
			 * No memory for a host page table is EFAULT, too. As long
			 * as the mapping changes, failures say nothing.
			 */
			tries = a->done == done && !changing(a) ? tries + 1 : 0;
			done = a->done;
			if (failing && tries < 100 && (errno == EFAULT || errno == ENOMEM)) {
				__sync_fetch_and_add(&nr_enomem, errno == ENOMEM);
				__sync_fetch_and_add(&nr_efault, errno == EFAULT);
				continue;
			}
			TEST_ASSERT(errno == EFAULT, "KVM_RUN failed with errno %d", errno);
			TEST_ASSERT(changing(a), "KVM_RUN failed at offset %#lx", a->off);
			__sync_fetch_and_add(&nr_efault, 1);
			continue;
		}
		if (run->exit_reason != KVM_EXIT_MMIO)
			break;
		TEST_ASSERT(changing(a), "No memory at offset %#lx", a->off);
		memcpy(run->mmio.data, &value, sizeof(value));
		__sync_fetch_and_add(&nr_mmio, 1);
	}
	let_me_fail(false);
	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	if (uc.cmd != UCALL_DONE)
		vcpu_dump(stderr, vcpu, 0);
	TEST_ASSERT(uc.cmd == UCALL_DONE, "The guest stopped with %s",
		    exit_reason_str(run->exit_reason));
	return NULL;
}

static void map(u64 off, u64 size, u32 bank)
{
	MUST(mmap(area + off, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		  device->fd, bar->info.offset + bank * BANK_SIZE + off) == area + off, "mmap");
}

static void change_begin(u64 off, u64 size)
{
	for (u64 i = off / CHUNK_SIZE; i < DIV_ROUND_UP(off + size, CHUNK_SIZE); i++)
		__sync_fetch_and_add(&sh->seq[i], 1);
}

static void change_end(u64 off, u64 size)
{
	change_begin(off, size);
}

static void move_there_and_back(u64 off, u64 size)
{
	char *to = scratch + off, *from = area + off;

	MUST(mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap");
	MUST(mremap(to, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, from) == from, "mremap back");
}

static void protect(u64 off, u64 size, int prot)
{
	MUST(!mprotect(area + off, size, prot), "mprotect");
}

/*
 * Change the mapping of a part of the thread's share of the BAR: of some pages,
 * some chunks, which may go to the other bank, or all, to have huge leaves again.
 */
static void mutate(u64 *rnd, u64 base, u64 share)
{
	u64 x = next_random(rnd), off = base, size = share, in, i;
	u32 first, kind = (x >> 48) % 4, bank;

	if (x % 4) {
		off += (x >> 8) % (share / CHUNK_SIZE) * CHUNK_SIZE;
		size = min_t(u64, base + share - off, ((x >> 32) % 8 + 1) * CHUNK_SIZE);
	}
	if (x % 4 > 1) {
		in = places[(x >> 32) % ARRAY_SIZE(places)];
		off += in;
		size = min_t(u64, CHUNK_SIZE - in, ((x >> 40) % 4 + 1) * SZ_4K);
	}
	first = off / CHUNK_SIZE;
	bank = sh->bank[first];
	if (x % 4 < 2)
		bank ^= x >> 63;

	change_begin(off, size);
	if (kind == PROTECT) {
		protect(off, size, x & BIT_ULL(62) ? PROT_NONE : PROT_READ);
		usleep(100);
		protect(off, size, PROT_READ | PROT_WRITE);
	} else {
		for (i = 0; x % 4 < 2 && i < size / CHUNK_SIZE; i++)
			sh->bank[first + i] = bank;
		if (kind == REMAP) {
			MUST(!munmap(area + off, size), "munmap");
			usleep(100);
		}
		map(off, size, bank);
		if (kind == MOVE)
			move_there_and_back(off, size);
	}
	change_end(off, size);
	__sync_fetch_and_add(&count[kind], 1);
}

static void *mutator_thread(void *arg)
{
	u64 id = (u64)arg, rnd = 0x2545f4914f6cdd1dull * (id + 1) ^ seed;
	u64 share = BANK_SIZE / NR_MUTATORS;

	let_me_fail(true);
	while (!READ_ONCE(stop)) {
		mutate(&rnd, id * share, share);
		usleep(next_random(&rnd) % 2000);
	}
	return NULL;
}

/*
 * What a child finds in its copy of the mapping, without a fault if there is
 * nothing: how many words, or WRONG.
 */
static int child_reads(u64 rnd)
{
	int i, words = 0;
	u64 off, value;

	for (i = 0; i < 64; i++) {
		off = next_random(&rnd) % NR_CHUNKS * CHUNK_SIZE + places[i % ARRAY_SIZE(places)];
		if (pwrite(memfd, area + off, sizeof(value), 0) != sizeof(value))
			continue;
		if (pread(memfd, &value, sizeof(value), 0) != sizeof(value) ||
		    (value != NUMBER(0, off) && value != NUMBER(1, off)))
			return WRONG;
		words++;
	}
	return words;
}

static void fork_child(u64 rnd)
{
	int status;
	pid_t pid;

	let_me_fail(true);
	MUST((pid = fork()) >= 0, "fork");
	if (!pid)
		_exit(child_reads(rnd));
	let_me_fail(false);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
		    WEXITSTATUS(status) != WRONG, "The child read another page");
	nr_words += WEXITSTATUS(status);
}

static void set_slot(u64 gpa, u64 size, u32 flags)
{
	vm_set_user_memory_region(vm, SLOT, flags, gpa, size, area);
}

/* What concerns the whole BAR at once. */
static void mutate_all(u32 kind, u64 rnd)
{
	bool seen = kind == TOGGLE || kind == SLOT_MOVE || kind == SLOT_DELETE;

	if (seen)
		__sync_fetch_and_add(&sh->all_seq, 1);
	switch (kind) {
	case FORK:
		fork_child(rnd);
		break;
	case TOGGLE:
		vfio_pci_cmd_clear(device, PCI_COMMAND_MEMORY);
		usleep(500);
		vfio_pci_cmd_set(device, PCI_COMMAND_MEMORY);
		break;
	case SLOT_MOVE:
		set_slot(GPA_ELSEWHERE, BANK_SIZE, 0);
		usleep(500);
		set_slot(GPA, BANK_SIZE, 0);
		break;
	case SLOT_DELETE:
		set_slot(GPA, 0, 0);
		usleep(500);
		set_slot(GPA, BANK_SIZE, 0);
		break;
	case DIRTY_LOG:
		set_slot(GPA, BANK_SIZE, KVM_MEM_LOG_DIRTY_PAGES);
		usleep(2000);
		set_slot(GPA, BANK_SIZE, 0);
		break;
	}
	if (seen)
		__sync_fetch_and_add(&sh->all_seq, 1);
	__sync_fetch_and_add(&count[kind], 1);
}

static void *mutator_all_thread(void *arg)
{
	u64 rnd = 0x94d049bb133111ebull ^ seed;
	u32 i;

	for (i = 0; !READ_ONCE(stop); i++) {
		/* The log splits all that is mapped, which takes long. */
		mutate_all(i % 16 ? FORK + next_random(&rnd) % 4 : DIRTY_LOG, rnd);
		usleep(next_random(&rnd) % 20000);
	}
	return NULL;
}

static void write_numbers(void)
{
	u64 bank, off, i;
	char *p;

	for (bank = 0; bank < NR_BANKS; bank++) {
		p = (char *)bar->vaddr + bank * BANK_SIZE;
		for (off = 0; off < BANK_SIZE; off += CHUNK_SIZE)
			for (i = 0; i < ARRAY_SIZE(places); i++)
				WRITE_ONCE(*(u64 *)(p + off + places[i]),
					   NUMBER(bank, off + places[i]));
	}
}

struct counts {
	u64 done, stable, faults, retries, splits;
};

static u64 vmstat_splits(void)
{
	return get_vmstat("thp_split_pud") + get_vmstat("thp_split_pmd");
}

static struct counts counts_since(u64 splits)
{
	struct counts c = { .splits = vmstat_splits() - splits };
	s64 retries = -nr_efault;

	for (int i = 0; i < NR_VCPUS; i++) {
		c.done += READ_ONCE(sh->access[i].done);
		c.stable += READ_ONCE(sh->access[i].stable);
		c.faults += vcpu_get_stat(vcpus[i], pf_fixed);
		/* KVM does not count them. Not all of pf_emulate are in pf_taken, too. */
		retries += vcpu_get_stat(vcpus[i], pf_taken);
		retries -= vcpu_get_stat(vcpus[i], pf_fixed);
		retries -= vcpu_get_stat(vcpus[i], pf_spurious);
		retries -= vcpu_get_stat(vcpus[i], pf_emulate);
	}
	c.retries = max_t(s64, retries, 0);
	return c;
}

static bool enough(const struct counts *c, u64 faults)
{
	for (int i = 0; i < NR_KINDS; i++)
		if (READ_ONCE(count[i]) < 1 + faults / 10000)
			return false;
	return c->faults >= faults && c->stable >= faults && c->retries >= faults / 100 &&
	       c->splits >= faults / 500 && nr_efault && nr_mmio && READ_ONCE(nr_words) &&
	       (!failing || nr_enomem >= faults / 1000);
}

static void race(u64 faults, u64 seconds, u64 at_least)
{
	pthread_t threads[NR_VCPUS + NR_MUTATORS + 1];
	u64 splits = vmstat_splits(), start = time(NULL), passed, i;
	struct counts c;
	u32 n = 0;

	for (i = 0; i < NR_VCPUS; i++)
		pthread_create(&threads[n++], NULL, vcpu_thread, vcpus[i]);
	for (i = 0; i < NR_MUTATORS; i++)
		pthread_create(&threads[n++], NULL, mutator_thread, (void *)i);
	pthread_create(&threads[n++], NULL, mutator_all_thread, NULL);
	do {
		sleep(1);
		c = counts_since(splits);
		passed = time(NULL) - start;
	} while (passed < seconds && (passed < at_least || !enough(&c, faults)));

	WRITE_ONCE(stop, true);
	while (n > NR_VCPUS)
		pthread_join(threads[--n], NULL);
	WRITE_ONCE(sh->stop, 1);
	while (n)
		pthread_join(threads[--n], NULL);

	ksft_print_msg("%lu accesses, %lu of them stable, %lu faults, %lu retries, %lu splits\n",
		       c.done, c.stable, c.faults, c.retries, c.splits);
	ksft_print_msg("%lu failed, %lu without memslot, %lu for lack of memory\n",
		       nr_efault, nr_mmio, nr_enomem);
	ksft_print_msg("%lu words read by children\n", nr_words);
	for (i = 0; i < NR_KINDS; i++)
		ksft_print_msg("%lu times %s\n", count[i], kind_names[i]);
	ksft_test_result_pass("each page read was the one that was mapped\n");
	ksft_test_result(enough(&c, faults), "enough happened in time\n");
}

int main(int argc, char *argv[])
{
	const char *bdf = vfio_selftests_get_bdf(&argc, argv);
	int opt, faults = 10000, seconds = 60, at_least = 0;

	while ((opt = getopt(argc, argv, "fn:r:s:t:")) != -1) {
		if (opt == 'f')
			failing = true;
		else if (opt == 'n')
			faults = atoi_positive("Number of faults", optarg);
		else if (opt == 't')
			seconds = atoi_positive("Seconds", optarg);
		else if (opt == 's')
			at_least = atoi_positive("Seconds", optarg);
		else if (opt == 'r')
			seed = atoi_positive("Seed", optarg) * 0x9e3779b97f4a7c15ull;
		else
			exit(KSFT_FAIL);
	}
	ksft_print_header();
	ksft_set_plan(2);
	device = vfio_pci_device_init(bdf, iommu_init(default_iommu_mode));
	bar = find_bar(device, NR_BANKS * BANK_SIZE);
	write_numbers();
	memfd = memfd_create("child", 0);
	TEST_ASSERT(memfd >= 0, "memfd_create failed");
	area = mmap_reserve(BANK_SIZE, SZ_1G, 0);
	scratch = mmap_reserve(BANK_SIZE, SZ_1G, 0);
	map(0, BANK_SIZE, 0);

	vm = vm_create_with_vcpus(NR_VCPUS, guest_code, vcpus);
	virt_map_level(vm, GVA, GPA, BANK_SIZE, PG_LEVEL_1G);
	set_slot(GPA, BANK_SIZE, 0);
	sh = addr_gva2hva(vm, (gva_t)&shared);
	for (int i = 0; i < NR_VCPUS; i++)
		vcpu_args_set(vcpus[i], 1, i);
	race(faults, seconds, at_least);
	ksft_finished();
}
