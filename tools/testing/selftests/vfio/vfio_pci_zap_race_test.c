// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio-pci zaps all mappings of a device when its memory is disabled, and
 * does not need mmap_lock for that. Zap while another task is at a point
 * where it may believe that the mapping cannot change.
 *
 * The module call_delay holds that task at the point. Load it with
 *  fork:	func=_raw_spin_lock caller=copy_huge_pmd comm=zap_race
 *  mremap:	func=__pud_alloc comm=zap_race
 *  kvm:	func=fixup_user_fault comm=zap_race
 * A test is skipped if it is not loaded for it, or if no zap came in time. It
 * has to be loaded anew for each run.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/compiler.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>
#include <linux/vfio.h>

#include <libvfio.h>

#include "../kselftest_harness.h"

#define AREA_SIZE	SZ_1G
#define TIMEOUT		240	/* in seconds, for three delays of 60 */

static const char *device_bdf;

FIXTURE(zap_race) {
	struct iommu *iommu;
	struct vfio_pci_device *device;
	struct vfio_pci_bar *bar;
	char *area;

	/*
	 * Zaps during the first delays. A process: a thread would have to wait
	 * for fork() as soon as it writes to memory.
	 */
	pid_t zapper;
	struct shared {
		bool give_up;
		int in_time;
	} *shared;
};

static bool parameter(const char *name, char *buf)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/call_delay/parameters/%s", name);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (fscanf(f, "%63s", buf) != 1)
		buf[0] = 0;
	fclose(f);
	return true;
}

static int delays(const char *name)
{
	char buf[64] = "";

	parameter(name, buf);
	return atoi(buf);
}

static void release_delay(unsigned int delay)
{
	FILE *f = fopen("/sys/module/call_delay/parameters/release", "w");

	VFIO_ASSERT_NOT_NULL(f);
	fprintf(f, "%u", delay);
	fclose(f);
}

static bool delayed_at(const char *func)
{
	char buf[64] = "";

	return parameter("func", buf) && !strcmp(buf, func);
}

static void zap(FIXTURE_DATA(zap_race) * self, int wanted, bool enable_again)
{
	for (int i = 1; i <= wanted; i++) {
		while (delays("begun") < i)
			if (READ_ONCE(self->shared->give_up))
				return;
		vfio_pci_cmd_clear(self->device, PCI_COMMAND_MEMORY);
		if (enable_again)
			vfio_pci_cmd_set(self->device, PCI_COMMAND_MEMORY);
		self->shared->in_time += delays("ended") < i;
		release_delay(i);
	}
	release_delay(-1);	/* there may be more, where nothing is to be tested */
}

FIXTURE_SETUP(zap_race)
{
	self->iommu = iommu_init(default_iommu_mode);
	self->device = vfio_pci_device_init(device_bdf, self->iommu);
	for (int i = 0; i < PCI_STD_NUM_BARS; i++)
		if (self->device->bars[i].vaddr &&
		    self->device->bars[i].info.size >= AREA_SIZE)
			self->bar = &self->device->bars[i];
	if (!self->bar)
		SKIP(return, "No mappable BAR of 1G found on device %s", device_bdf);

	vfio_pci_cmd_set(self->device, PCI_COMMAND_MEMORY);
}

FIXTURE_TEARDOWN(zap_race)
{
	vfio_pci_cmd_set(self->device, PCI_COMMAND_MEMORY);
	vfio_pci_device_cleanup(self->device);
	iommu_cleanup(self->iommu);
}

/* Map the BAR, and zap it during the first @wanted delays of this process. */
static void start(struct __test_metadata *_metadata,
		  FIXTURE_DATA(zap_race) * self, size_t misalign, int wanted,
		  bool enable_again)
{
	ASSERT_EQ(0, delays("begun"));
	self->shared = mmap(NULL, sizeof(*self->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
	self->zapper = fork();
	ASSERT_GE(self->zapper, 0);
	if (!self->zapper) {
		zap(self, wanted, enable_again);
		_exit(0);
	}

	self->area = mmap_reserve(AREA_SIZE, SZ_1G, misalign);
	ASSERT_EQ(self->area, mmap(self->area, AREA_SIZE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, self->device->fd,
				   self->bar->info.offset));
	prctl(PR_SET_NAME, "zap_race");
}

/* Returns how many zaps came in time. */
static int finish(struct __test_metadata *_metadata,
		  FIXTURE_DATA(zap_race) * self)
{
	prctl(PR_SET_NAME, "finished");
	WRITE_ONCE(self->shared->give_up, true);
	ASSERT_EQ(self->zapper, waitpid(self->zapper, NULL, 0));
	TH_LOG("%d zaps in time, %d delays", self->shared->in_time, delays("ended"));
	return self->shared->in_time;
}

/* A child must not have what was zapped while it was made: a PMD leaf. */
TEST_F_TIMEOUT(zap_race, fork, TIMEOUT)
{
	int memfd = memfd_create("zap_race", 0);
	int in_time, status, zapped[2];
	pid_t pid = 0;
	char c;

	if (!delayed_at("_raw_spin_lock"))
		SKIP(return, "call_delay is not loaded for this test");
	ASSERT_GE(memfd, 0);
	ASSERT_EQ(0, pipe(zapped));
	start(_metadata, self, SZ_2M, 1, false);
	ASSERT_EQ(8, pwrite(memfd, self->area, 8, 0));
	/* Once in a hundred runs nothing is delayed: nothing was tested. */
	for (int tries = 0; tries < 5 && !delays("begun"); tries++) {
		if (tries) {
			TH_LOG("fork() was not delayed");
			ASSERT_EQ(0, kill(pid, SIGKILL));
			ASSERT_EQ(pid, waitpid(pid, &status, 0));
		}
		pid = fork();
		ASSERT_GE(pid, 0);
		if (pid)
			continue;
		/* With its memory disabled, the device cannot be faulted in. */
		if (read(zapped[0], &c, 1) != 1)
			_exit(2);
		_exit(pwrite(memfd, self->area, 8, 0) == 8);
	}
	in_time = finish(_metadata, self);
	ASSERT_EQ(1, write(zapped[1], "", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (!in_time)
		SKIP(return, "The zap came too late");
	ASSERT_EQ(-1, pwrite(memfd, self->area, 8, 0));
	ASSERT_TRUE(WIFEXITED(status));
	ASSERT_EQ(0, WEXITSTATUS(status))
		TH_LOG("the child has access to disabled memory");
}

static long faults_of_two_loads(char *area)
{
	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);
	READ_ONCE(area[0]);
	READ_ONCE(area[SZ_2M]);
	getrusage(RUSAGE_SELF, &after);
	return after.ru_minflt - before.ru_minflt;
}

/* A PUD leaf that is gone when it is to be moved must not be taken for a table. */
TEST_F_TIMEOUT(zap_race, mremap, TIMEOUT)
{
	/* There the first level needs a table. */
	char *to = (char *)(1UL << 45);

	if (!delayed_at("__pud_alloc"))
		SKIP(return, "call_delay is not loaded for this test");
	start(_metadata, self, 0, 1, true);
	prctl(PR_SET_NAME, "mapping");
	if (faults_of_two_loads(self->area) != 1)
		SKIP(return, "The BAR is not mapped by a leaf of 1G");
	prctl(PR_SET_NAME, "zap_race");
	ASSERT_EQ(to, mremap(self->area, AREA_SIZE, AREA_SIZE,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	if (!finish(_metadata, self))
		SKIP(return, "The zap came too late");
	/* Nothing was moved, not even a table: it takes one leaf again. */
	ASSERT_EQ(1, faults_of_two_loads(to));
	ASSERT_EQ(0, munmap(to, AREA_SIZE));
}

/* KVM must cope with a page that is gone again when it looks it up. */
TEST_F_TIMEOUT(zap_race, kvm, TIMEOUT)
{
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = SZ_1G,
		.memory_size = AREA_SIZE,
	};
	struct kvm_pre_fault_memory range = {
		.gpa = SZ_1G,
		.size = SZ_4K,
	};
	const int nr_zaps = 3;
	int kvm, vm, vcpu, err, in_time;

	if (!delayed_at("fixup_user_fault"))
		SKIP(return, "call_delay is not loaded for this test");
	kvm = open("/dev/kvm", O_RDWR);
	ASSERT_GE(kvm, 0);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	ASSERT_GE(vm, 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	ASSERT_GE(vcpu, 0);

	start(_metadata, self, 0, nr_zaps, true);
	region.userspace_addr = (unsigned long)self->area;
	ASSERT_EQ(0, ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
	err = ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range) ? errno : 0;
	in_time = finish(_metadata, self);
	if (!in_time)
		SKIP(return, "No zap came in time");
	ASSERT_EQ(0, err);
	/* Each of them was survived by one more try. */
	ASSERT_EQ(nr_zaps, in_time);
	ASSERT_EQ(nr_zaps + 1, delays("ended"));
	close(vcpu);
	close(vm);
	close(kvm);
}

int main(int argc, char *argv[])
{
	device_bdf = vfio_selftests_get_bdf(&argc, argv);
	return test_harness_run(argc, argv);
}
