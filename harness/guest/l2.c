// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the guest of the guest: touch all BARs of a gigabyte or more and verify the data, then
 * toggle memory decoding as firmware does when it sizes BARs, and touch them again. It speaks with
 * harness/guest/run on the serial port: a line "READY <bytes>", "DONE <touched>" or
 * "TOGGLED <times>" from here, any line to go on from there; "BAD <reason>" when anything is wrong.
 * From the kernel command line: stride=<bytes>, toggles=<times>, shell=1 for a shell instead.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define DEVICES		"/sys/bus/pci/devices"
#define GIB		0x40000000UL
#define COMMAND		4		/* in the configuration space */
#define MEMORY		2		/* the bit that enables decoding */
#define NVME_PMRCTL	0xe04
#define MAX_BARS	16

static struct bar {
	char *device;
	size_t size;
	int fd;
} bars[MAX_BARS];
static int nr_bars;

static void finish(void)
{
	fflush(stdout);
	usleep(300000);			/* the last bytes must leave the port */
	reboot(RB_POWER_OFF);
	_exit(1);
}

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	printf("BAD %s\n", what);
	finish();
}

static void go_on(void)
{
	char line[16];

	need(fgets(line, sizeof(line), stdin), "no answer");
}

static unsigned long number(const char *name, unsigned long other)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : other;
}

static int device_open(const char *device, const char *file)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/%s", device, file);
	fd = open(path, O_RDWR);
	return fd < 0 ? open(path, O_RDONLY) : fd;
}

static void enable(const char *device)
{
	unsigned int class = 0;
	__u32 *regs;
	FILE *f;
	int fd;

	fd = device_open(device, "enable");
	need(fd >= 0 && write(fd, "1", 1) == 1, "a device cannot be enabled");
	close(fd);

	/* The memory of an NVMe controller has to be switched on. */
	fd = device_open(device, "class");
	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (f && fscanf(f, "%x", &class) == 1 && class >> 8 == 0x0108) {
		fd = device_open(device, "resource0");
		regs = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		need(regs != MAP_FAILED, "no registers of the NVMe controller");
		__atomic_store_n(regs + NVME_PMRCTL / 4, 1, __ATOMIC_RELAXED);
	}
	if (f)
		fclose(f);
}

static size_t find_bars(void)
{
	char file[] = "resource0";
	struct dirent *d;
	size_t sum = 0;
	struct stat st;
	DIR *dir;
	int fd, i;

	dir = opendir(DEVICES);
	need(dir, "no PCI");
	while ((d = readdir(dir))) {
		for (i = 0; i < 6; i++) {
			file[sizeof(file) - 2] = '0' + i;
			fd = device_open(d->d_name, file);
			if (fd >= 0 && !fstat(fd, &st) && st.st_size >= (off_t)GIB) {
				need(nr_bars < MAX_BARS, "too many BARs");
				enable(d->d_name);
				bars[nr_bars].device = strdup(d->d_name);
				bars[nr_bars].size = st.st_size;
				bars[nr_bars++].fd = fd;
				sum += st.st_size;
			} else if (fd >= 0) {
				close(fd);
			}
		}
	}
	closedir(dir);
	need(nr_bars, "no BAR of a gigabyte");
	return sum;
}

/* Page by page: to map a large BAR at once can take more memory than there is. */
static unsigned long touch(unsigned long stride, bool write)
{
	unsigned long n = 0;
	struct bar *b;
	size_t *p, at;

	for (b = bars; b < bars + nr_bars; b++) {
		for (at = 0; at < b->size; at += stride, n++) {
			p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, at);
			need(p != MAP_FAILED, "a BAR cannot be mapped");
			if (write)
				__atomic_store_n(p, ~at - (b - bars), __ATOMIC_RELAXED);
			else
				need(__atomic_load_n(p, __ATOMIC_RELAXED) == ~at - (b - bars),
				     "data is lost");
			munmap(p, 4096);
		}
	}
	return n;
}

static void toggle(const char *device)
{
	__u16 command, off;
	int fd;

	fd = device_open(device, "config");
	need(fd >= 0 && pread(fd, &command, 2, COMMAND) == 2, "no configuration space");
	off = command & ~MEMORY;
	need(pwrite(fd, &off, 2, COMMAND) == 2 && pwrite(fd, &command, 2, COMMAND) == 2,
	     "decoding cannot be toggled");
	close(fd);
}

static void shell(void)
{
	int i;

	for (i = 0; i < nr_bars; i++)
		printf(DEVICES "/%s: a BAR of %zu MiB\n", bars[i].device, bars[i].size >> 20);
	printf("To leave: \"poweroff -f\" ends this guest, Ctrl-A X the whole machine.\n");
	execl("/bin/busybox", "sh", "-c",
	      "/bin/busybox --install -s /bin; exec setsid cttyhack sh", NULL);
	need(false, "busybox cannot be run");
}

int main(void)
{
	unsigned long stride, toggles, n, i;
	struct termios tio;
	size_t size;
	int fd, b;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	fd = open("/dev/ttyS0", O_RDWR);
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	setlinebuf(stdout);

	size = find_bars();
	if (number("shell", 0))
		shell();
	if (!tcgetattr(0, &tio)) {
		tio.c_lflag &= ~ECHO;
		tcsetattr(0, TCSANOW, &tio);
	}
	stride = number("stride", 2 << 20);
	toggles = number("toggles", 4);

	printf("READY %zu\n", size);
	go_on();
	n = touch(stride, true);
	touch(stride, false);
	printf("DONE %lu\n", n);
	go_on();
	for (i = 0; i < toggles; i++) {
		for (b = 0; b < nr_bars; b++)
			toggle(bars[b].device);
		touch(stride, false);
	}
	printf("TOGGLED %lu\n", toggles);
	go_on();
	finish();
	return 0;
}
