// SPDX-License-Identifier: GPL-2.0-only
/*
 * pressure TEST ARGUMENTS...: run a test while memory is short and moves: in a
 * memory cgroup at its limit, with caches dropped, memory compacted, khugepaged,
 * KSM and NUMA balancing at work, the test's pages migrated between two nodes,
 * and, for a test that asks for it (/proc/thread-self/make-it-fail), allocations
 * that fail. Then look for leaks. Fails if the test does, if anything leaks, or
 * if one of these did not happen.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CGROUP	"/tmp/cgroup"
#define THP	"/sys/kernel/mm/transparent_hugepage/"
#define KSM	"/sys/kernel/mm/ksm/"
#define NUMA	"/sys/kernel/debug/sched/numa_balancing/"
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define LIMIT	(48UL << 20)
#define AREA	(16UL << 20)
#define TIMES	100000000L	/* allocations that may fail */

static const char * const injections[] = { "failslab", "fail_page_alloc" };

static void die(const char *what)
{
	printf("# pressure: %s: %m\n", what);
	exit(1);
}

static void put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		die(path);
	close(fd);
}

/* The number that stands after a word in a file, or the first of the file. */
static long get(const char *path, const char *word)
{
	char line[256];
	long n = -1;
	size_t len = strlen(word);
	FILE *f = fopen(path, "r");

	if (!f)
		die(path);
	while (n < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, word, len))
			n = strtol(line + len, NULL, 0);
	fclose(f);
	return n;
}

/* What must have grown in /proc/vmstat, and by how much at least. */
static struct { const char *name; long before, least; } grown[] = {
	{ "pglazyfreed ", 0, 5000 },
	{ "drop_slab ", 0, 20 },
	{ "compact_migrate_scanned ", 0, 10000 },
	{ "thp_collapse_alloc ", 0, 20 },
	{ "numa_pte_updates ", 0, 1000 },
	{ "numa_hint_faults ", 0, 50 },
	{ "pgmigrate_success ", 0, 5000 },
};

static void inject(const char *file, const char *value)
{
	char path[128];
	size_t i;

	for (i = 0; i < sizeof(injections) / sizeof(*injections); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", injections[i], file);
		put(path, value);
	}
}

static long injected(void)
{
	char path[128];
	long n = 0;
	size_t i;

	for (i = 0; i < sizeof(injections) / sizeof(*injections); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/times", injections[i]);
		n += TIMES - get(path, "");
	}
	return n;
}

static void set_up(void)
{
	char number[32];

	mkdir(CGROUP, 0755);
	if (mount("none", CGROUP, "cgroup2", 0, NULL))
		die("cgroup2");
	put(CGROUP "/cgroup.subtree_control", "+memory");
	mkdir(CGROUP "/soak", 0755);
	snprintf(number, sizeof(number), "%lu", LIMIT);
	put(CGROUP "/soak/memory.high", number);

	put(THP "enabled", "always");
	put(THP "khugepaged/scan_sleep_millisecs", "20");
	put(THP "khugepaged/alloc_sleep_millisecs", "20");
	put(KSM "sleep_millisecs", "20");
	put(KSM "merge_across_nodes", "1");
	put(KSM "run", "1");
	put(NUMA "scan_delay_ms", "10");
	put(NUMA "scan_period_min_ms", "20");
	put(NUMA "scan_period_max_ms", "100");

	/* Three of 100, of all sizes, of the tasks that ask for it, silently. */
	inject("probability", "3");
	inject("interval", "1");
	snprintf(number, sizeof(number), "%ld", TIMES);
	inject("times", number);
	inject("verbose", "0");
	inject("task-filter", "Y");
	inject("ignore-gfp-wait", "N");
	put("/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N");
	put("/sys/kernel/debug/fail_page_alloc/min-order", "0");
}

/* Pages that can be reclaimed, merged, collapsed and migrated. */
static void eat(void)
{
	char *p = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long round, i;

	if (p == MAP_FAILED)
		die("mmap");
	for (round = 0; ; round++) {
		madvise(p, AREA, round & 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		madvise(p, AREA, round & 2 ? MADV_MERGEABLE : MADV_UNMERGEABLE);
		for (i = 0; i < AREA; i += 4096) {
			memset(p + i, round & 2 ? 1 : i >> 12, 64);
			if (!(i % (1 << 20)))
				usleep(20000);
		}
		madvise(p, AREA, round & 4 ? MADV_FREE : MADV_COLD);
		usleep(200000);
		if (!(round % 8))
			madvise(p, AREA, MADV_DONTNEED);
	}
}

/* What concerns all memory, and the test. */
static void stir(pid_t test)
{
	unsigned long round, nodes[2] = { 1, 2 };

	for (round = 0; ; round++) {
		put("/proc/sys/vm/drop_caches", "3");
		if (!(round % 4))
			put("/proc/sys/vm/compact_memory", "1");
		syscall(SYS_migrate_pages, test, 3, &nodes[round & 1], &nodes[~round & 1]);
		usleep(500000);
	}
}

static pid_t start(void (*function)(void), pid_t test)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		put(CGROUP "/soak/cgroup.procs", "0");
		nice(5);
		if (function)
			function();
		else
			stir(test);
	}
	return pid;
}

/*
 * Page tables of processes and VMs are accounted to their cgroup, in which there
 * are none any more. And kmemleak finds nothing new.
 */
static bool leaks(void)
{
	char text[4096];
	bool bad;
	long tables = 1;
	int i, fd;
	ssize_t n;

	for (i = 0; i < 100 && tables; i++) {
		usleep(100000);
		tables = get(CGROUP "/soak/memory.stat", "pagetables ") +
			 get(CGROUP "/soak/memory.stat", "sec_pagetables ");
	}
	printf("# pressure: %ld bytes of page tables are left\n", tables);
	bad = tables;
	/* What is found must be old enough, and found twice. */
	sleep(5);
	put(KMEMLEAK, "scan");
	put(KMEMLEAK, "scan");
	fd = open(KMEMLEAK, O_RDONLY);
	while ((n = read(fd, text, sizeof(text) - 1)) > 0) {
		text[n] = '\0';
		fputs(text, stdout);
		bad = true;
	}
	close(fd);
	return bad;
}

int main(int argc, char **argv)
{
	const unsigned long nr_eaters = 4;
	pid_t test, others[5];
	time_t seconds;
	long before, now, last = 0, shared = 0;
	bool wants_failures, failed;
	unsigned long i;
	int status;

	if (argc < 2)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	set_up();
	put(KMEMLEAK, "scan");
	put(KMEMLEAK, "clear");
	for (i = 0; i < sizeof(grown) / sizeof(*grown); i++)
		grown[i].before = get("/proc/vmstat", grown[i].name);
	before = injected();
	seconds = time(NULL);

	test = fork();
	if (!test) {
		put(CGROUP "/soak/cgroup.procs", "0");
		execv(argv[1], argv + 1);
		die(argv[1]);
	}
	for (i = 0; i < nr_eaters; i++)
		others[i] = start(eat, 0);
	others[i] = start(NULL, test);
	while (!waitpid(test, &status, WNOHANG)) {
		sleep(1);
		now = get(KSM "pages_shared", "");
		shared = now > shared ? now : shared;
		now = time(NULL) - seconds;
		if (now - last < 60)
			continue;
		last = now;
		printf("# pressure: %ld s, %ld injections\n", now, injected() - before);
	}
	failed = status;
	for (i = 0; i <= nr_eaters; i++) {
		if (waitpid(others[i], NULL, WNOHANG)) {
			printf("# pressure: a part of it ended early\n");
			failed = true;
		}
		kill(others[i], SIGKILL);
		waitpid(others[i], NULL, 0);
	}
	seconds = time(NULL) - seconds;

	printf("# pressure: for %ld seconds\n", (long)seconds);
	for (i = 0; i < sizeof(grown) / sizeof(*grown); i++) {
		now = get("/proc/vmstat", grown[i].name) - grown[i].before;
		printf("# pressure: %ld times %s\n", now, grown[i].name);
		failed |= now < grown[i].least;
	}
	now = get(CGROUP "/soak/memory.events", "high ");
	printf("# pressure: %ld times over the limit\n", now);
	failed |= now < 500;
	now = get(KSM "full_scans", "");
	printf("# pressure: %ld scans by KSM, up to %ld pages shared\n", now, shared);
	failed |= now < 5 || !shared;
	now = injected() - before;
	wants_failures = getenv("PRESSURE_FAILURES");
	printf("# pressure: %ld injections\n", now);
	failed |= wants_failures && now < 200;
	failed |= leaks();
	return failed;
}
