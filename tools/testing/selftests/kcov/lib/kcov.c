// SPDX-License-Identifier: GPL-2.0
/* The functions that all programs of the suite use; see kcov.h. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "kcov.h"

int kcov_open(void)
{
	int fd = open(KCOV_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

long kcov_ioctl(int fd, unsigned long cmd, unsigned long arg)
{
	long ret = syscall(SYS_ioctl, fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

uint64_t *kcov_map(int fd, unsigned long words)
{
	void *area = mmap(NULL, words * sizeof(uint64_t),
			  PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return area == MAP_FAILED ? NULL : area;
}

void kcov_unmap(uint64_t *area, unsigned long words)
{
	munmap(area, words * sizeof(uint64_t));
}

long kcov_answer(unsigned long cmd, unsigned long arg)
{
	int fd = kcov_open();
	long ret;

	if (fd < 0)
		return fd;
	ret = kcov_init(fd, COVER_WORDS) ?: kcov_ioctl(fd, cmd, arg);
	if (!ret)
		kcov_disable(fd);
	close(fd);
	return ret;
}

const char *comparisons_missing(void)
{
	return kcov_answer(KCOV_ENABLE, KCOV_TRACE_CMP) == -ENOTSUPP ?
		"no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)" : NULL;
}

int kcov_open_mapped(unsigned long words, uint64_t **area)
{
	int fd = kcov_open();
	long ret;

	if (fd < 0)
		return fd;
	ret = kcov_init(fd, words);
	if (!ret) {
		*area = kcov_map(fd, words);
		if (*area)
			return fd;
		ret = -errno;
	}
	close(fd);
	return ret;
}

long kcov_remote_divided(int fd, uint32_t mode, uint32_t front, uint32_t area_size,
			 uint64_t common, uint64_t handle)
{
	struct {
		struct kcov_remote_arg arg;
		uint64_t handle;
	} remote = {
		.arg.trace_mode = mode,
		.arg.area_size = area_size,
		.arg.front_size = front,
		.arg.num_handles = handle != 0,
		.arg.common_handle = common,
		.handle = handle,
	};

	return kcov_ioctl(fd, KCOV_REMOTE_ENABLE, (unsigned long)&remote);
}

int run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

/* Returns whether the configuration has the option with any value, and copies the value. */
static enum option read_option(const char *name, char *value, size_t size)
{
	const char *path = getenv("KCOV_CONFIG");
	FILE *file = path ? fopen(path, "r") : popen("zcat /proc/config.gz 2>/dev/null", "r");
	enum option found = OPTION_UNKNOWN;
	size_t length = strlen(name);
	char line[256];

	if (!file)
		return OPTION_UNKNOWN;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		/* A file without any option of KCOV is not the configuration. */
		if (found == OPTION_UNKNOWN && !strcmp(line, "CONFIG_KCOV=y"))
			found = OPTION_NO;
		if (!strncmp(line, name, length) && line[length] == '=') {
			snprintf(value, size, "%s", line + length + 1);
			found = OPTION_YES;
		}
	}
	if (path)
		fclose(file);
	else
		pclose(file);
	return found;
}

enum option kernel_option(const char *name)
{
	enum option found;
	char value[8];

	found = read_option(name, value, sizeof(value));
	return found == OPTION_YES && strcmp(value, "y") ? OPTION_NO : found;
}

uint64_t kernel_number(const char *name, uint64_t otherwise)
{
	char value[32];

	return read_option(name, value, sizeof(value)) == OPTION_YES ?
		strtoull(value, NULL, 0) : otherwise;
}

bool may_wait(time_t *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!*since)
		*since = now.tv_sec;
	return now.tv_sec - *since <= PATIENCE;
}

void be_mortal(unsigned int seconds)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(seconds);
}

static void *worker_main(void *data)
{
	struct worker *worker = data;

	for (;;) {
		while (sem_wait(&worker->request))
			;
		if (!worker->function)
			return NULL;
		worker->result = worker->function(worker->argument);
		sem_post(&worker->done);
	}
}

int worker_start(struct worker *worker)
{
	memset(worker, 0, sizeof(*worker));
	sem_init(&worker->request, 0, 0);
	sem_init(&worker->done, 0, 0);
	return pthread_create(&worker->thread, NULL, worker_main, worker);
}

long worker_run_named(struct worker *worker, const char *name, long (*function)(void *),
		      void *arg)
{
	struct timespec until;
	bool late = false;

	worker->function = function;
	worker->argument = arg;
	sem_post(&worker->request);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE;
	while (late ? sem_wait(&worker->done) : sem_timedwait(&worker->done, &until)) {
		if (errno != ETIMEDOUT)
			continue;
		late = true;
		fprintf(stderr, "# %s of another thread has not returned after %d seconds\n",
			name, PATIENCE);
	}
	if (late)
		fprintf(stderr, "# %s of another thread has returned\n", name);
	return worker->result;
}

struct ioctl_call {
	int fd;
	unsigned long cmd;
	unsigned long arg;
};

static long ioctl_call(void *data)
{
	struct ioctl_call *call = data;

	return kcov_ioctl(call->fd, call->cmd, call->arg);
}

long worker_ioctl_named(struct worker *worker, const char *name, int fd, unsigned long cmd,
			unsigned long arg)
{
	struct ioctl_call call = { fd, cmd, arg };

	return worker_run_named(worker, name, ioctl_call, &call);
}

void worker_end(struct worker *worker)
{
	worker->function = NULL;
	sem_post(&worker->request);
	pthread_join(worker->thread, NULL);
}

int exit_status(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child ? status : -1;
}

union fd_message {
	char buffer[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int send_fd(int socket, int fd)
{
	union fd_message control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -errno;
}

int receive_fd(int socket)
{
	union fd_message control = { 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(socket, &message, 0) != 1)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -EINVAL;
	memcpy(&fd, CMSG_DATA(header), sizeof(int));
	return fd;
}

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	off_t end;

	if (fd < 0)
		return -errno;
	/* The log has no size, but a file that replaces it does. */
	end = lseek(fd, 0, SEEK_END);
	if (!end)
		return fd;
	close(fd);
	return -ENODEV;
}

/* Returns the text of the next record; NULL with EAGAIN in errno after the last one. */
static char *kmsg_next(int kmsg, char *record, size_t size)
{
	for (;;) {
		ssize_t len = read(kmsg, record, size - 1);
		char *text;

		if (len < 0 && errno == EPIPE)
			continue;	/* overwritten; continue with the next record */
		if (!len)
			errno = ENODATA;	/* a file, not the log */
		if (len <= 0)
			return NULL;
		record[len] = 0;
		text = strchr(record, ';');
		return text ? text + 1 : record;
	}
}

int kmsg_count(int kmsg, const char *text)
{
	char record[8192], *found;
	int count = 0;

	while ((found = kmsg_next(kmsg, record, sizeof(record))))
		count += strstr(found, text) != NULL;
	return errno == EAGAIN ? count : -errno;
}

int warn_again(void)
{
	int fd = open("/sys/kernel/debug/clear_warn_once", O_WRONLY | O_CLOEXEC);
	ssize_t written = fd < 0 ? -1 : write(fd, "1", 1);
	int ret = written == 1 ? 0 : -errno;

	if (fd >= 0)
		close(fd);
	return ret;
}

bool on_command_line(const char *parameter)
{
	char line[4096] = "";
	FILE *file = fopen("/proc/cmdline", "r");
	bool found = file && fgets(line, sizeof(line), file) && strstr(line, parameter);

	if (file)
		fclose(file);
	return found;
}

bool kmsg_reports_bug(int kmsg, char *line, size_t size)
{
	static const char * const reports[] = {
		"WARNING:", "BUG:", "Oops", "KASAN", "UBSAN",
		"general protection fault", "refcount_t:", "vmalloc error",
		"page allocation failure", "invoked oom-killer",
	};
	char record[8192], *text;
	size_t i;

	/* A test that has failed already shows the line, whatever this returns. */
	if (size)
		*line = 0;
	while ((text = kmsg_next(kmsg, record, sizeof(record)))) {
		for (i = 0; i < ARRAY_SIZE(reports); i++) {
			if (!strstr(text, reports[i]))
				continue;
			text[strcspn(text, "\n")] = 0;
			snprintf(line, size, "%s", text);
			return true;
		}
	}
	if (errno == EAGAIN)
		return false;
	snprintf(line, size, "the kernel's log cannot be read: %s", strerror(errno));
	return true;
}

static unsigned long mebibytes(const char *key)
{
	unsigned long kib = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "r");

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			kib = strtoul(line + strlen(key), NULL, 10);
	fclose(file);
	return kib >> 10;
}

unsigned long memory_total(void)
{
	return mebibytes("MemTotal:");
}

unsigned long memory_available(void)
{
	return mebibytes("MemAvailable:");
}

unsigned long memory_vmalloc(void)
{
	return mebibytes("VmallocUsed:");
}

bool kernel_built_by_gcc(void)
{
	static int known = -1;
	char text[512] = "";
	FILE *file;

	if (known >= 0)
		return known;
	file = fopen("/proc/version", "r");
	if (file) {
		if (!fgets(text, sizeof(text), file))
			text[0] = 0;
		fclose(file);
	}
	known = strstr(text, "gcc") && !strstr(text, "clang");
	return known;
}
