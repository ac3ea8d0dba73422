// SPDX-License-Identifier: GPL-2.0
/*
 * The callers that make the kernel run annotated sections: the sample modules' worker, work
 * item and timer, workers of vhost and io_uring, and the hub of the USB.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kcov.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "background.h"
#include "kcov_sample.h"
#include "stress.h"
#include "usb_gadget.h"

#define READ_BYTES	(256UL << 10)

static const char * const devices[] = { "/dev/kcov-sample", "/dev/rust-kcov-sample" };

static int device_fds[ARRAY_SIZE(devices)];
static unsigned int device_count;
static uint64_t handles[2 * ARRAY_SIZE(devices) + 1];
static unsigned int handle_count;
static bool have_vhost, have_usb;
static int zero_fd;

/*
 * Before any process is made: they inherit the descriptors.  What the kernel does
 * not have is left out, which the counters show.
 */
void sections_open(void)
{
	struct kcov_sample_handles sample;
	int bus;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(devices); i++) {
		int fd = open(devices[i], O_RDWR | O_CLOEXEC);

		if (fd < 0)
			continue;
		device_fds[device_count++] = fd;
		if (ioctl(fd, KCOV_SAMPLE_HANDLES, &sample))
			fail("%s does not tell its handles: %s", devices[i], strerror(errno));
		handles[handle_count++] = sample.worker;
		handles[handle_count++] = sample.softirq;
	}
	have_vhost = !background_missing();
	have_usb = !usb_gadget_missing();
	bus = have_usb ? usb_gadget_bus() : -1;
	if (bus > 0)
		handles[handle_count++] = KCOV_SUBSYSTEM_USB | bus;
	zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (zero_fd < 0)
		fail("cannot open /dev/zero: %s", strerror(errno));
}

uint64_t sections_handle(struct random *random)
{
	return handle_count ? handles[random_below(random, handle_count)] : KCOV_SUBSYSTEM_USB;
}

/* Few of softirqs: each waits for a timer. */
static void sample_section(struct random *random)
{
	int fd = device_fds[random_below(random, device_count)];
	unsigned int kind = random_below(random, options.upstream ? 7 : 9);
	unsigned long cmd;

	if (kind < 2) {
		cmd = KCOV_SAMPLE_WORKER;
		COUNT(worker_sections);
	} else if (kind < 6) {
		cmd = KCOV_SAMPLE_WORK;
		COUNT(work_sections);
	} else if (kind < 7) {
		cmd = KCOV_SAMPLE_SOFTIRQ;
		COUNT(softirq_sections);
	} else {
		cmd = KCOV_SAMPLE_NESTED;
		COUNT(nested_sections);
	}
	if (ioctl(fd, cmd))
		fail("a section of a sample module failed: %s", strerror(errno));
}

/* A worker thread that is made for this process and ends with the descriptor. */
static void vhost_section(struct random *random)
{
	int worker = background_start();

	if (worker < 0)
		fail("vhost makes no worker: %s", strerror(-worker));
	background_kick(worker);
	if (random_below(random, 2))
		background_kick(worker);
	background_stop(worker);
	COUNT(vhost_sections);
}

static void *ring_map(int fd, size_t size, off_t offset)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	return memory == MAP_FAILED ? NULL : memory;
}

/*
 * One request for a worker of io_uring: long enough for timers to interrupt it.
 * It may still be at work when its ring goes away.
 */
static void uring_section(struct random *random)
{
	struct io_uring_params params = { 0 };
	struct io_uring_sqe *sqes;
	size_t ring_bytes, sqe_bytes = sizeof(*sqes);
	void *target;
	char *ring;
	int fd;

	fd = syscall(SYS_io_uring_setup, 1, &params);
	if (fd < 0)
		fail("io_uring makes no ring: %s", strerror(errno));
	ring_bytes = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
	ring = ring_map(fd, ring_bytes, IORING_OFF_SQ_RING);
	sqes = ring_map(fd, sqe_bytes, IORING_OFF_SQES);
	target = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!ring || !sqes || target == MAP_FAILED)
		fail("cannot map a ring of io_uring: %s", strerror(errno));

	memset(sqes, 0, sizeof(*sqes));
	sqes->opcode = IORING_OP_READ;
	sqes->flags = IOSQE_ASYNC;
	sqes->fd = zero_fd;
	sqes->addr = (unsigned long)target;
	sqes->len = READ_BYTES;
	*(uint32_t *)(ring + params.sq_off.array) = 0;
	__atomic_store_n((uint32_t *)(ring + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (random_below(random, 4))
		syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	else
		syscall(SYS_io_uring_enter, fd, 1, 0, 0, NULL, 0);
	munmap(ring, ring_bytes);
	munmap(sqes, sqe_bytes);
	munmap(target, READ_BYTES);
	close(fd);
	COUNT(uring_sections);
}

void sections_run(struct random *random)
{
	unsigned int kind = random_below(random, 16);

	if (kind == 0 && have_vhost)
		vhost_section(random);
	else if (kind == 1 || !device_count)
		uring_section(random);
	else
		sample_section(random);
}

bool sections_usb_exist(void)
{
	return have_usb;
}

void sections_usb_run(void)
{
	struct usb_gadget gadget;
	int ret;

	while (!round_over()) {
		memset(&gadget, 0, sizeof(gadget));
		ret = usb_gadget_plug_in(&gadget);
		/* The device of the round before may be on its way out. */
		if (ret == -EBUSY) {
			usleep(10000);
			continue;
		}
		if (ret)
			fail("no USB device can be plugged in: %s", strerror(-ret));
		usb_gadget_wait(&gadget.configured);
		if (!usb_gadget_unplug(&gadget))
			fail("the USB device cannot be unplugged: its thread does not end");
		COUNT(usb_devices);
	}
}
