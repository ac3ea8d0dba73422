// SPDX-License-Identifier: GPL-2.0
/* Work that the kernel does in the background; see background.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "background.h"

#define VHOST_NET	"/dev/vhost-net"
/* The queue of packets to send, and its size. */
#define TX_QUEUE	1
#define QUEUE_SIZE	16

/* The part of a guest's memory that the worker accesses. */
static struct {
	struct vring_desc descriptors[QUEUE_SIZE];
	struct {
		uint16_t flags, index, ring[QUEUE_SIZE], event;
	} available;
	struct {
		uint16_t flags, index;
		struct vring_used_elem ring[QUEUE_SIZE];
		uint16_t event;
	} used;
} memory;

const char *background_missing(void)
{
	return access(VHOST_NET, R_OK | W_OK) ?
		"no " VHOST_NET " (CONFIG_VHOST_NET)" : NULL;
}

/*
 * Makes the worker. The kernel does not start a task for a caller with a pending signal, and vhost
 * reports that as a lack of memory. SIGCHLD is enough, even if it is ignored: the kernel keeps it
 * while the thread that forked blocks it, as pthread_create() does, and delivers it to any thread
 * that does not.
 */
static int set_owner(int worker)
{
	sigset_t all, before;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	ret = ioctl(worker, VHOST_SET_OWNER);
	/* Does not change errno. */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

int background_start(void)
{
	struct {
		struct vhost_memory table;
		struct vhost_memory_region region;
	} map = {
		.table.nregions = 1,
		.region.memory_size = sizeof(memory),
		.region.userspace_addr = (unsigned long)&memory,
	};
	struct vhost_vring_state size = { .index = TX_QUEUE, .num = QUEUE_SIZE };
	struct vhost_vring_addr address = {
		.index = TX_QUEUE,
		.desc_user_addr = (unsigned long)&memory.descriptors,
		.avail_user_addr = (unsigned long)&memory.available,
		.used_user_addr = (unsigned long)&memory.used,
	};
	struct vhost_vring_file backend = { .index = TX_QUEUE };
	int worker = open(VHOST_NET, O_RDWR | O_CLOEXEC);

	if (worker < 0)
		return -errno;
	memory.available.index = BACKGROUND_OPERAND;
	/* The destination of packets; none is ever sent. */
	backend.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (backend.fd < 0 || set_owner(worker) ||
	    ioctl(worker, VHOST_SET_MEM_TABLE, &map) ||
	    ioctl(worker, VHOST_SET_VRING_NUM, &size) ||
	    ioctl(worker, VHOST_SET_VRING_ADDR, &address) ||
	    ioctl(worker, VHOST_NET_SET_BACKEND, &backend)) {
		int error = -errno;

		close(backend.fd);
		close(worker);
		return error;
	}
	close(backend.fd);
	return worker;
}

int background_kick(int worker)
{
	struct vhost_vring_file kick = { .index = TX_QUEUE };
	struct vhost_vring_file complaint = { .index = TX_QUEUE };
	const uint64_t one = 1;
	struct pollfd event;
	int ret = 0;

	kick.fd = eventfd(0, EFD_CLOEXEC);
	complaint.fd = eventfd(0, EFD_CLOEXEC);
	event.fd = complaint.fd;
	event.events = POLLIN;
	/* The worker finds that the index is out of range, and signals this eventfd. */
	if (ioctl(worker, VHOST_SET_VRING_ERR, &complaint) ||
	    ioctl(worker, VHOST_SET_VRING_KICK, &kick) ||
	    write(kick.fd, &one, sizeof(one)) != sizeof(one))
		ret = -errno;
	else if (poll(&event, 1, 10000) != 1)
		ret = -ETIMEDOUT;
	close(complaint.fd);
	close(kick.fd);
	return ret;
}

void background_stop(int worker)
{
	close(worker);
}

int background_run(void)
{
	int ret, worker = background_start();

	if (worker < 0)
		return worker;
	ret = background_kick(worker);
	background_stop(worker);
	return ret;
}
