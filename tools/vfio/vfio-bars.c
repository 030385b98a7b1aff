// SPDX-License-Identifier: GPL-2.0-only
/*
 * For each running VM: by how large pages can the host map the BARs of its
 * passthrough devices, and what stands in the way of larger ones?
 *
 * It only reads, and nothing that walks the page tables of a VM: on some
 * kernels such a walk splits the very leaves in question. What is said of a
 * BAR follows from addresses; the counts are KVM's, of the whole VM.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SZ_4K		0x1000UL
#define SZ_2M		0x200000UL
#define SZ_1G		0x40000000UL
#define OFFSET_SHIFT	40	/* vfio-pci: the index of a region is above it */
#define NR_BARS		6
#define MAX_DEVICES	64
#define DEBUGFS		"/sys/kernel/debug"

struct device {
	char *path;			/* in sysfs */
	char *file;			/* what the VMM has open */
	unsigned long start[NR_BARS], size[NR_BARS];
};

struct mapping {
	unsigned long va, len, pa;
	const struct device *dev;	/* NULL: one of several like it */
	int bar;
	bool sysfs;
};

struct vm {
	int pid;
	char comm[32];
	long pte_kb, thp;
	long n4k, n2m, n1g;		/* -1: not known */
	struct device devices[MAX_DEVICES];
	int nr_devices;
};

static bool json, has_1g;
static int nr_printed, nr_denied;

static void path_of(char *path, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(path, 512, fmt, args);
	va_end(args);
}

/* The number behind @key in a file of lines "key number". */
static long field(const char *path, const char *key)
{
	FILE *f = fopen(path, "r");
	char line[256];
	long val = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), "%ld", &val);
	if (f)
		fclose(f);
	return val;
}

static bool file_has(const char *path, const char *text)
{
	FILE *f = fopen(path, "r");
	size_t size = 0;
	char *line = NULL;
	bool ret = false;

	while (f && !ret && getline(&line, &size, f) > 0)
		ret = strstr(line, text);
	free(line);
	if (f)
		fclose(f);
	return ret;
}

static const char *size_name(unsigned long size)
{
	return size == SZ_1G ? "1G" : size == SZ_2M ? "2M" : "4K";
}

static void read_bars(struct device *dev)
{
	unsigned long end, flags;
	char path[512];
	FILE *f;
	int i;

	path_of(path, "%s/resource", dev->path);
	f = fopen(path, "r");
	for (i = 0; f && i < NR_BARS; i++) {
		if (fscanf(f, "%lx %lx %lx", &dev->start[i], &end, &flags) != 3)
			break;
		/* A smaller one is mapped by a whole page. */
		dev->size[i] = dev->start[i] ? (end - dev->start[i] + SZ_4K) & ~(SZ_4K - 1) : 0;
	}
	if (f)
		fclose(f);
}

/* A file of the same device, for which there is another file descriptor. */
static bool is_listed(const struct vm *vm, const char *path, const char *file)
{
	int i;

	for (i = 0; i < vm->nr_devices; i++)
		if (!strcmp(vm->devices[i].path, path) && !strcmp(vm->devices[i].file, file))
			return true;
	return false;
}

/* A device that the VMM has open, as the kernel tells in fdinfo. */
static void add_device(struct vm *vm, const char *fd, const char *link)
{
	static const char key[] = "vfio-device-syspath:";
	char path[512], line[512], *syspath;
	struct device *dev;
	FILE *f;

	path_of(path, "/proc/%d/fdinfo/%s", vm->pid, fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, sizeof(key) - 1) || vm->nr_devices == MAX_DEVICES)
			continue;
		line[strcspn(line, "\n")] = 0;
		syspath = line + sizeof(key) - 1 + strspn(line + sizeof(key) - 1, " \t");
		if (is_listed(vm, syspath, link))
			continue;
		dev = &vm->devices[vm->nr_devices++];
		dev->path = strdup(syspath);
		dev->file = strdup(link);
		read_bars(dev);
	}
	if (f)
		fclose(f);
}

/* Look through what is open; whether it is a VM. */
static bool read_fds(struct vm *vm)
{
	char path[512], link[256];
	struct dirent *d;
	bool ret = false;
	ssize_t len;
	DIR *dir;

	path_of(path, "/proc/%d/fd", vm->pid);
	dir = opendir(path);
	if (!dir) {
		nr_denied += errno == EACCES;
		return false;
	}
	while ((d = readdir(dir))) {
		path_of(path, "/proc/%d/fd/%s", vm->pid, d->d_name);
		len = readlink(path, link, sizeof(link) - 1);
		if (len < 0)
			continue;
		link[len] = 0;
		if (!strcmp(link, "anon_inode:kvm-vm"))
			ret = true;
		else if (strstr(link, "[vfio-device]") || strstr(link, "/vfio/devices/"))
			add_device(vm, d->d_name, link);
	}
	closedir(dir);
	return ret;
}

static void read_counts(struct vm *vm)
{
	char path[512], prefix[16];
	struct dirent *d;
	DIR *dir;

	vm->n4k = -1;
	vm->n2m = -1;
	vm->n1g = -1;
	snprintf(prefix, sizeof(prefix), "%d-", vm->pid);
	dir = opendir(DEBUGFS "/kvm");
	while (dir && (d = readdir(dir))) {
		if (strncmp(d->d_name, prefix, strlen(prefix)))
			continue;
		path_of(path, DEBUGFS "/kvm/%s/pages_4k", d->d_name);
		vm->n4k = field(path, "");
		path_of(path, DEBUGFS "/kvm/%s/pages_2m", d->d_name);
		vm->n2m = field(path, "");
		path_of(path, DEBUGFS "/kvm/%s/pages_1g", d->d_name);
		vm->n1g = field(path, "");
	}
	if (dir)
		closedir(dir);
}

/*
 * The device that a mapping of BAR @bar belongs to. Files of groups all have
 * the same name, so there can be several; equal ones differ in nothing that
 * matters here but their name.
 */
static const struct device *find_device(const struct vm *vm, const char *file, int bar,
					unsigned long end, bool *unsure)
{
	const struct device *dev, *found = NULL;

	*unsure = false;
	for (dev = vm->devices; dev < vm->devices + vm->nr_devices; dev++) {
		if (strcmp(dev->file, file) || dev->size[bar] < end)
			continue;
		*unsure |= !!found;
		if (!found || dev->size[bar] < found->size[bar])
			found = dev;
	}
	return found;
}

static unsigned long whole_leaves(const struct mapping *m, unsigned long size)
{
	unsigned long first = (m->pa + size - 1) & ~(size - 1);
	unsigned long end = (m->pa + m->len) & ~(size - 1);

	return end > first ? (end - first) / size : 0;
}

/* The largest leaf that this range can have at this distance from the PA. */
static unsigned long best_leaf(const struct mapping *m, bool aligned_va)
{
	unsigned long size = has_1g ? SZ_1G : SZ_2M;

	for (; size > SZ_4K; size = size == SZ_1G ? SZ_2M : SZ_4K) {
		if (!whole_leaves(m, size))
			continue;
		if (aligned_va || (m->va - m->pa) % size == 0)
			return size;
	}
	return SZ_4K;
}

static const char *explain(const struct vm *vm, const struct mapping *m, unsigned long could,
			   unsigned long does)
{
	/* Those of the guest's memory count, too: fewer is certain, enough is not. */
	long count = does == SZ_1G ? vm->n1g : vm->n2m;

	if (could == SZ_4K)
		return "no whole 2M of the BAR is mapped: there is no larger page to have";
	if (!vm->thp)
		return "the VMM has huge pages off (PR_SET_THP_DISABLE): let it not do that";
	if (does < could)
		return "not congruent to the BAR: a VMM or a kernel that aligns it is needed";
	if (m->sysfs)
		return "the address is right; if the kernel maps it by 4K all the same is unknown";
	if (count >= 0 && (unsigned long)count < whole_leaves(m, does))
		return "right, but KVM uses less: untouched, dirty logging, slot, MADV_NOHUGEPAGE?";
	return "nothing stands in the way";
}

static void print_mapping(const struct vm *vm, const struct mapping *m, const char *name,
			  bool unsure, bool first)
{
	unsigned long could = best_leaf(m, true), does = best_leaf(m, false);
	unsigned long apart = m->va - m->pa;
	const char *congruent = apart % SZ_1G == 0 ? "1G" : apart % SZ_2M == 0 ? "2M" : "4K";
	const char *why;

	if (!vm->thp)
		does = SZ_4K;
	why = explain(vm, m, could, does);
	if (json) {
		printf("%s{\"device\":\"%s\",\"ambiguous\":%s,\"bar\":%d,", first ? "" : ",",
		       name, unsure ? "true" : "false", m->bar);
		printf("\"pa\":%lu,\"va\":%lu,\"size\":%lu,\"congruent\":\"%s\",", m->pa, m->va,
		       m->len, congruent);
		printf("\"could\":\"%s\",\"does\":\"%s\",\"why\":\"%s\"}", size_name(could),
		       size_name(does), why);
		return;
	}
	printf("  %s%s BAR %d: %lu KiB at PA %#lx, VA %#lx, congruent modulo %s\n",
	       name, unsure ? " (or one like it)" : "", m->bar, m->len >> 10, m->pa, m->va,
	       congruent);
	printf("    largest page possible %s, at this address %s: %s\n", size_name(could),
	       size_name(does), why);
}

static void print_mappings(const struct vm *vm)
{
	char path[512], line[1024], *file;
	unsigned long start, end, offset;
	const struct device *dev;
	struct device sysfs_dev;
	struct mapping m;
	bool first = true, unsure;
	int skip;
	FILE *f;

	path_of(path, "/proc/%d/maps", vm->pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %n", &start, &end, &offset, &skip) != 3)
			continue;
		file = line + skip;
		m = (struct mapping){ .va = start, .len = end - start };
		unsure = false;
		if (strstr(file, "[vfio-device]") || strstr(file, "/vfio/devices/")) {
			m.bar = offset >> OFFSET_SHIFT;
			if (m.bar >= NR_BARS)
				continue;
			offset &= (1UL << OFFSET_SHIFT) - 1;
			dev = find_device(vm, file, m.bar, offset + m.len, &unsure);
			if (!dev)
				continue;
			m.pa = dev->start[m.bar] + offset;
		} else if (!strncmp(file, "/sys/devices/", 13) && strstr(file, "/resource")) {
			/* Here the kernel shows the physical address as the offset. */
			m.sysfs = true;
			m.bar = atoi(strstr(file, "/resource") + 9);
			m.pa = offset;
			*strstr(file, "/resource") = 0;
			sysfs_dev.path = file;
			dev = &sysfs_dev;
		} else {
			continue;
		}
		print_mapping(vm, &m, strrchr(dev->path, '/') + 1, unsure, first);
		first = false;
	}
	if (f)
		fclose(f);
	if (first && !json)
		printf("  no BAR is mapped\n");
}

static void print_vm(struct vm *vm)
{
	char path[512], *c;
	FILE *f;

	path_of(path, "/proc/%d/comm", vm->pid);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%31[^\n]", vm->comm) != 1)
		vm->comm[0] = '?';
	if (f)
		fclose(f);
	/* Its owner chooses the name. */
	for (c = vm->comm; *c; c++)
		if (!isprint((unsigned char)*c) || *c == '"' || *c == '\\')
			*c = '?';
	path_of(path, "/proc/%d/status", vm->pid);
	vm->pte_kb = field(path, "VmPTE:");
	vm->thp = field(path, "THP_enabled:");
	read_counts(vm);

	if (json) {
		printf("%s{\"pid\":%d,\"comm\":\"%s\",\"vmpte_kb\":%ld,", nr_printed ? "," : "",
		       vm->pid, vm->comm, vm->pte_kb);
		printf("\"pages_4k\":%ld,\"pages_2m\":%ld,\"pages_1g\":%ld,\"bars\":[", vm->n4k,
		       vm->n2m, vm->n1g);
	} else {
		printf("VM %d (%s): page tables %ld kB; NPT or EPT pages of the whole VM: ",
		       vm->pid, vm->comm, vm->pte_kb);
		if (vm->n4k >= 0)
			printf("%ld 4K, %ld 2M, %ld 1G\n", vm->n4k, vm->n2m, vm->n1g);
		else
			printf("not known\n");
	}
	print_mappings(vm);
	if (json)
		printf("]}");
	nr_printed++;
}

static void print_help(FILE *to)
{
	fputs("usage: vfio-bars [--json]\n"
	      "For each running VM, its passthrough BARs: physical and virtual address,\n"
	      "the largest page possible and the largest at this address, and why.\n"
	      "  -j, --json   for scripts; a count of -1 is not known\n"
	      "  -h, --help   this text\n"
	      "Run it as root. See vfio-bars(8).\n", to);
}

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

int main(int argc, char *argv[])
{
	struct dirent *d;
	struct vm *vm;
	int c, i;
	DIR *dir;

	while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (c == 'j') {
			json = true;
		} else {
			print_help(c == 'h' ? stdout : stderr);
			return c != 'h';
		}
	}
	if (access("/dev/kvm", F_OK)) {
		fprintf(stderr, "vfio-bars: no /dev/kvm: load kvm_amd or kvm_intel\n");
		return 1;
	}
	if (access(DEBUGFS "/kvm", R_OK))
		fprintf(stderr, "vfio-bars: " DEBUGFS "/kvm %s: the page counts are not known\n",
			errno == EACCES ? "may not be read (run as root)" :
			"is not there (is debugfs mounted?)");
	has_1g = file_has("/proc/cpuinfo", "pdpe1gb");

	dir = opendir("/proc");
	if (json)
		printf("{\"cpu_1g\":%s,\"vms\":[", has_1g ? "true" : "false");
	while (dir && (d = readdir(dir))) {
		if (!isdigit(d->d_name[0]))
			continue;
		vm = calloc(1, sizeof(*vm));
		if (!vm)
			break;
		vm->pid = atoi(d->d_name);
		if (read_fds(vm))
			print_vm(vm);
		for (i = 0; i < vm->nr_devices; i++) {
			free(vm->devices[i].path);
			free(vm->devices[i].file);
		}
		free(vm);
	}
	if (json)
		printf("]}\n");
	if (dir)
		closedir(dir);
	if (nr_denied)
		fprintf(stderr, "vfio-bars: %d processes may not be looked at: run as root\n",
			nr_denied);
	if (nr_printed)
		return 0;
	fprintf(stderr, "vfio-bars: no VM is running%s\n", nr_denied ? " that may be seen" : "");
	return 1;
}
