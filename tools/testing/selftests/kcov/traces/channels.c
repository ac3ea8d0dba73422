// SPDX-License-Identifier: GPL-2.0
/*
 * Programs about pipes, event descriptors, waiting for several of them, and System V and POSIX
 * queues.
 */
#include "traces.h"

#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/uio.h>

static char data[4096];
static int ends[2], second[2];

static void pipes_prepare(void)
{
	expect(!pipe2(ends, O_NONBLOCK) && !pipe2(second, O_NONBLOCK));
}

static void pipes(void)
{
	int value;

	expect(write(ends[1], data, 3000) == 3000);
	expect(!ioctl(ends[0], FIONREAD, &value) && value == 3000);
	expect(read(ends[0], data, 1000) == 1000);
	expect(read(ends[0], data, sizeof(data)) == 2000);
	expect_error(EAGAIN, read(ends[0], data, 1));
	expect(fcntl(ends[0], F_SETPIPE_SZ, 8192) == 8192);
	expect(fcntl(ends[0], F_SETPIPE_SZ, 65536) == 65536);
	expect_error(ESPIPE, lseek(ends[0], 0, SEEK_SET));
	expect_error(EBADF, read(ends[1], data, 1));
}

static void new_pipe(void)
{
	int fresh[2];

	expect(!pipe2(fresh, O_CLOEXEC));
	expect(!close(fresh[0]));
	signal(SIGPIPE, SIG_IGN);
	expect_error(EPIPE, write(fresh[1], data, 10));
	expect(!close(fresh[1]));
	expect_error(EINVAL, pipe2(fresh, 0x1));
	expect_error(EFAULT, syscall(SYS_pipe2, 8, 0));
}

static int spliced;

static void splices_prepare(void)
{
	pipes_prepare();
	spliced = memfd_create("spliced", 0);
	expect(spliced >= 0 && !ftruncate(spliced, 8192));
}

static void splices(void)
{
	struct iovec part = { data, 100 };
	loff_t offset = 0;

	expect(splice(spliced, &offset, ends[1], NULL, 4096, 0) == 4096);
	expect(tee(ends[0], second[1], 4096, 0) == 4096);
	expect(vmsplice(second[1], &part, 1, 0) == 100);
	offset = 4096;
	expect(splice(ends[0], NULL, spliced, &offset, 4096, 0) == 4096);
	expect(read(second[0], data, sizeof(data)) == sizeof(data));
	expect(read(second[0], data, sizeof(data)) == 100);
	expect_error(EINVAL, splice(spliced, NULL, spliced, NULL, 10, 0));
}

static void event(void)
{
	uint64_t value = 3;
	int fd = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);

	expect(fd >= 0);
	expect(write(fd, &value, 8) == 8);
	expect(read(fd, &value, 8) == 8 && value == 1);
	value = ~0ULL;
	expect_error(EINVAL, write(fd, &value, 8));
	expect_error(EINVAL, read(fd, &value, 4));
	expect(!close(fd));
	expect_error(EINVAL, eventfd(0, 0x10));
}

static int events[3], set;

static void epoll_prepare(void)
{
	for (int i = 0; i < 3; i++)
		expect((events[i] = eventfd(i == 1, EFD_NONBLOCK)) >= 0);
	expect((set = epoll_create1(0)) >= 0);
}

static void epolls(void)
{
	struct epoll_event entry = { .events = EPOLLIN }, ready[4];

	for (int i = 0; i < 3; i++) {
		entry.data.fd = events[i];
		expect(!epoll_ctl(set, EPOLL_CTL_ADD, events[i], &entry));
	}
	expect_error(EEXIST, epoll_ctl(set, EPOLL_CTL_ADD, events[0], &entry));
	expect(epoll_wait(set, ready, 4, 0) == 1);
	entry.events = EPOLLIN | EPOLLOUT | EPOLLET;
	expect(!epoll_ctl(set, EPOLL_CTL_MOD, events[0], &entry));
	expect(epoll_wait(set, ready, 4, 100) == 2);
	expect(epoll_wait(set, ready, 4, 0) == 1);
	for (int i = 0; i < 3; i++)
		expect(!epoll_ctl(set, EPOLL_CTL_DEL, events[i], NULL));
	expect_error(ENOENT, epoll_ctl(set, EPOLL_CTL_DEL, events[0], NULL));
	expect_error(EINVAL, epoll_wait(set, ready, 0, 0));
	expect_error(EINVAL, epoll_ctl(set, 77, events[0], &entry));
}

static void polls(void)
{
	struct pollfd entries[4] = {
		{ events[0], POLLIN, 0 }, { events[1], POLLIN | POLLOUT, 0 }, { -1, POLLIN, 0 },
		{ 900, POLLIN, 0 },
	};
	struct timespec nothing = { 0, 0 };
	fd_set in, out;

	expect(poll(entries, 4, 0) == 2);
	expect(ppoll(entries, 1, &nothing, NULL) == 0);
	FD_ZERO(&in);
	FD_SET(events[0], &in);
	FD_SET(events[1], &in);
	FD_ZERO(&out);
	FD_SET(events[2], &out);
	expect(pselect(events[2] + 1, &in, &out, NULL, &nothing, NULL) == 2);
	expect_error(EINVAL, syscall(SYS_ppoll, entries, ~0U, NULL, NULL, 8));
}

static int queue, semaphores;

static void queues_prepare(void)
{
	expect((queue = msgget(IPC_PRIVATE, 0600)) >= 0);
	expect((semaphores = semget(IPC_PRIVATE, 3, 0600)) >= 0);
}

static void message_queue(void)
{
	struct {
		long type;
		char text[64];
	} message = { 5, "hello" };
	struct msqid_ds status;

	expect(!msgsnd(queue, &message, 64, IPC_NOWAIT));
	expect(!msgctl(queue, IPC_STAT, &status));
	expect_error(ENOMSG, msgrcv(queue, &message, 64, 77, IPC_NOWAIT));
	expect_error(E2BIG, msgrcv(queue, &message, 10, 5, IPC_NOWAIT));
	expect(msgrcv(queue, &message, 64, -7, IPC_NOWAIT) == 64);
	message.type = -1;
	expect_error(EINVAL, msgsnd(queue, &message, 64, IPC_NOWAIT));
}

static void semaphore_set(void)
{
	struct sembuf up[2] = { { 0, 2, 0 }, { 2, 1, IPC_NOWAIT } };
	struct sembuf down[2] = { { 0, -2, IPC_NOWAIT }, { 2, -1, IPC_NOWAIT } };

	expect(!semop(semaphores, up, 2));
	expect(semctl(semaphores, 0, GETVAL) == 2);
	expect(!semop(semaphores, down, 2));
	expect_error(EAGAIN, semop(semaphores, down, 2));
	down[0].sem_num = 9;
	expect_error(EFBIG, semop(semaphores, down, 1));
	expect_error(EINVAL, semctl(semaphores, 7, GETVAL));
}

static void shared_segment(void)
{
	int segment = shmget(IPC_PRIVATE, 8192, 0600);
	struct shmid_ds status;
	char *memory;

	expect(segment >= 0);
	memory = shmat(segment, NULL, 0);
	expect(memory != (void *)-1);
	memory[5000] = 1;
	expect(!shmctl(segment, IPC_STAT, &status));
	expect(!shmctl(segment, IPC_RMID, NULL));
	expect(!shmdt(memory));
	expect_error(EINVAL, shmdt(memory));
}

static void posix_queue(void)
{
	struct mq_attr attributes = { .mq_maxmsg = 4, .mq_msgsize = 64 };
	mqd_t fd = mq_open("/queue", O_RDWR | O_CREAT | O_NONBLOCK, 0600, &attributes);
	unsigned int priority;

	expect(fd >= 0);
	expect(!mq_send(fd, data, 30, 3));
	expect(!mq_send(fd, data, 40, 9));
	expect(mq_receive(fd, data, 64, &priority) == 40 && priority == 9);
	expect(mq_receive(fd, data, 64, &priority) == 30);
	expect_error(EAGAIN, mq_receive(fd, data, 64, &priority));
	expect_error(EMSGSIZE, mq_receive(fd, data, 10, &priority));
	expect(!mq_unlink("/queue"));
	expect(!mq_close(fd));
}

static int ring;
static struct io_uring_params parameters;
static char *submission, *completion;
static struct io_uring_sqe *entries;

static void ring_prepare(void)
{
	ring = syscall(SYS_io_uring_setup, 4, &parameters);
	expect(ring >= 0);
	submission = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	completion = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	entries = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	expect(submission != MAP_FAILED && completion != MAP_FAILED && entries != MAP_FAILED);
	expect(!pipe2(ends, O_NONBLOCK));
}

static void submit(int opcode, int fd, void *buffer, unsigned int length)
{
	uint32_t *tail = (uint32_t *)(submission + parameters.sq_off.tail);
	uint32_t slot = *tail % parameters.sq_entries;

	memset(&entries[slot], 0, sizeof(*entries));
	entries[slot].opcode = opcode;
	entries[slot].fd = fd;
	entries[slot].addr = (uintptr_t)buffer;
	entries[slot].len = length;
	((uint32_t *)(submission + parameters.sq_off.array))[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	expect(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	__atomic_fetch_add((uint32_t *)(completion + parameters.cq_off.head), 1, __ATOMIC_RELEASE);
}

static void io_ring(void)
{
	submit(IORING_OP_NOP, -1, NULL, 0);
	submit(IORING_OP_WRITE, ends[1], data, 100);
	submit(IORING_OP_READ, ends[0], data, 200);
	submit(200, -1, NULL, 0);
	expect_error(EBADF, syscall(SYS_io_uring_enter, 900, 1, 0, 0, NULL, 0));
	expect_error(EINVAL, syscall(SYS_io_uring_setup, 0, &parameters));
}

const struct program channel_programs[] = {
	{ "pipe", pipes_prepare, pipes },
	{ "pipe-broken", NULL, new_pipe },
	{ "splice", splices_prepare, splices },
	{ "eventfd", NULL, event },
	{ "epoll", epoll_prepare, epolls },
	{ "poll", epoll_prepare, polls },
	{ "sysv-messages", queues_prepare, message_queue },
	{ "sysv-semaphores", queues_prepare, semaphore_set },
	{ "sysv-memory", NULL, shared_segment },
	{ "mqueue", NULL, posix_queue },
	{ "io-uring", ring_prepare, io_ring },
	{ 0 },
};
