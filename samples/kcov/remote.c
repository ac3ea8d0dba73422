// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the kernel code that runs for this process, but outside its system calls.
 *
 * Collects from the work of USB bus 1 and from all work that the kernel does elsewhere under the
 * common handle of this process. The command in the arguments causes that work. Without a command,
 * the program waits two seconds, long enough to plug in a device. Prints one PC per line.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kcov.h>

#define KCOV_FILE	"/sys/kernel/debug/kcov"
#define BUFFER_WORDS	(64UL << 10)
#define BUFFER_BYTES	(BUFFER_WORDS * sizeof(unsigned long))

#define USB_BUS		1

static void make_work(char **command)
{
	int status;
	pid_t pid;

	if (!command[0]) {
		sleep(2);
		return;
	}

	/* The child inherits the common handle of its parent. */
	pid = fork();
	if (pid < 0)
		err(1, "cannot start %s", command[0]);
	if (!pid) {
		/* Standard output is reserved for the PCs. */
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execvp(command[0], command);
		err(127, "cannot run %s: give its path", command[0]);
	}
	if (waitpid(pid, &status, 0) < 0)
		err(1, "cannot wait for %s", command[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		errx(1, "%s failed: its messages say why", command[0]);
}

int main(int argc, char **argv)
{
	unsigned long *buffer, count, i;
	struct kcov_remote_arg *arg;
	int fd;

	(void)argc;
	fd = open(KCOV_FILE, O_RDWR);
	if (fd < 0)
		err(1, "cannot open %s: run as root, mount debugfs and set CONFIG_KCOV=y",
		    KCOV_FILE);
	if (ioctl(fd, KCOV_INIT_TRACE, BUFFER_WORDS))
		err(1, "cannot allocate a buffer of %lu words: choose a smaller size",
		    BUFFER_WORDS);
	buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (buffer == MAP_FAILED)
		err(1, "cannot map the buffer: the length must be exactly %lu bytes",
		    BUFFER_BYTES);

	arg = calloc(1, sizeof(*arg) + sizeof(arg->handles[0]));
	if (!arg)
		err(1, "cannot allocate the argument of KCOV_REMOTE_ENABLE");
	arg->trace_mode = KCOV_TRACE_PC;
	/* The number of words that one section in a task may record before it is merged. */
	arg->area_size = BUFFER_WORDS;
	/* The process id is never 0, and no other process has it. */
	arg->common_handle = kcov_remote_handle(KCOV_SUBSYSTEM_COMMON, getpid());
	arg->num_handles = 1;
	arg->handles[0] = kcov_remote_handle(KCOV_SUBSYSTEM_USB, USB_BUS);

	if (ioctl(fd, KCOV_REMOTE_ENABLE, arg)) {
		if (errno == EEXIST)
			errx(1, "USB bus %d has a collector already: stop it first",
			     USB_BUS);
		err(1, "cannot enable remote coverage: one descriptor of this kind for one thread");
	}
	free(arg);

	make_work(argv + 1);

	/*
	 * Another CPU may have written the records. The acquire pairs with the order in which the
	 * kernel publishes them: records before count.
	 */
	count = __atomic_load_n(&buffer[0], __ATOMIC_ACQUIRE);

	/* After this call, no section is merged any more. */
	if (ioctl(fd, KCOV_DISABLE, 0))
		err(1, "cannot disable remote coverage: do it in the thread that enabled it");

	/* A count of 0 is a valid result: the handles saw no work. */
	for (i = 0; i < count; i++)
		printf("0x%lx\n", buffer[i + 1]);
	if (fflush(stdout) || ferror(stdout))
		err(1, "cannot write the PCs to standard output");

	if (munmap(buffer, BUFFER_BYTES))
		err(1, "cannot unmap the buffer");
	if (close(fd))
		err(1, "cannot close %s", KCOV_FILE);
	return 0;
}
