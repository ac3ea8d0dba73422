// SPDX-License-Identifier: GPL-2.0
/* Programs about tasks: creation and end, credentials, limits, namespaces, seccomp. */
#include "traces.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/utsname.h>

/* Waits until CHILD has ended, without taking its status. */
static void until_ended(pid_t child)
{
	siginfo_t info;

	quiet_begin();
	expect(!waitid(P_PID, child, &info, WEXITED | WNOWAIT));
	quiet_end();
}

static void fork_wait(void)
{
	int status;
	pid_t child = fork();

	expect(child >= 0);
	if (!child)
		_exit(7);
	until_ended(child);
	expect(wait4(child, &status, 0, NULL) == child && WEXITSTATUS(status) == 7);
}

static void clone_wait(void)
{
	int status, descriptor = -1;
	pid_t child = syscall(SYS_clone, CLONE_PIDFD | CLONE_FILES | CLONE_FS | SIGCHLD, 0,
			      &descriptor, 0, 0);

	expect(child >= 0);
	if (!child)
		_exit(3);
	until_ended(child);
	expect(!syscall(SYS_pidfd_send_signal, descriptor, 0, NULL, 0));
	expect(wait4(child, &status, WNOHANG, NULL) == child);
	expect_error(ESRCH, syscall(SYS_pidfd_send_signal, descriptor, SIGTERM, NULL, 0));
	expect(!close(descriptor));
	expect_error(EINVAL, syscall(SYS_clone, CLONE_THREAD, 0, NULL, 0, 0));
}

static void kill_child(void)
{
	int status;
	pid_t child = fork();

	expect(child >= 0);
	if (!child)
		for (;;)
			pause();
	expect(!kill(child, SIGKILL));
	until_ended(child);
	expect(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGKILL);
}

static void wait_errors(void)
{
	siginfo_t info;
	int status;

	expect_error(ECHILD, wait(&status));
	expect_error(EINVAL, waitpid(-1, &status, 0x700));
	expect_error(EINVAL, syscall(SYS_waitid, 0x77, 0, &info, WEXITED, NULL));
	expect_error(ESRCH, syscall(SYS_ptrace, PTRACE_ATTACH, 0x3fffff, 0, 0));
	expect_error(ESRCH, syscall(SYS_pidfd_open, 0x3fffff, 0));
	expect_error(EINVAL, syscall(SYS_pidfd_open, 1, 0x77));
}

static void identity(void)
{
	struct utsname name;
	gid_t groups[3] = { 1, 2, 3 };

	expect(syscall(SYS_getpid) > 0 && syscall(SYS_getppid) > 0 && syscall(SYS_gettid) > 0);
	expect(!uname(&name));
	expect(!syscall(SYS_setresuid, -1, 1000, -1));
	expect_error(EPERM, syscall(SYS_setgroups, 3, groups));
	expect(!syscall(SYS_setresuid, -1, 0, -1));
	expect(!syscall(SYS_setgroups, 3, groups));
	expect(syscall(SYS_getgroups, 3, groups) == 3);
	expect(!syscall(SYS_setgroups, 0, NULL));
	expect(getpgid(0) >= 0 && getsid(0) >= 0);
	expect_error(ESRCH, getpgid(0x3fffff));
}

static void control(void)
{
	char name[16];

	expect(!prctl(PR_SET_NAME, "other", 0, 0, 0));
	expect(!prctl(PR_GET_NAME, name, 0, 0, 0));
	expect(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) >= 0);
	expect(!prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0));
	expect(!prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0));
	expect(prctl(PR_CAPBSET_READ, 5, 0, 0, 0) == 1);
	expect_error(EINVAL, prctl(0x5a5a5a, 1, 2, 3, 4));
	expect_error(EINVAL, prctl(PR_SET_PDEATHSIG, 0x77, 0, 0, 0));
}

static void limits(void)
{
	struct rlimit limit, changed;
	struct rusage usage;

	expect(!getrlimit(RLIMIT_NOFILE, &limit));
	changed = limit;
	changed.rlim_cur = 100;
	expect(!setrlimit(RLIMIT_NOFILE, &changed));
	expect(!setrlimit(RLIMIT_NOFILE, &limit));
	expect(!getrusage(RUSAGE_CHILDREN, &usage));
	expect(!setpriority(PRIO_PROCESS, 0, 5) && !setpriority(PRIO_PROCESS, 0, 0));
	expect_error(EINVAL, syscall(SYS_prlimit64, 0, 0x77, NULL, &limit));
	expect_error(EINVAL, syscall(SYS_sched_setscheduler, 0, 0x77, &limit));
}

static int home;

static void namespace_prepare(void)
{
	home = open("/proc/self/ns/uts", O_RDONLY);
	expect(home >= 0);
}

static void uts_namespace(void)
{
	expect(!unshare(CLONE_NEWUTS));
	expect(!sethostname("other", 5));
	expect(!setns(home, CLONE_NEWUTS));
	expect_error(EINVAL, setns(home, CLONE_NEWIPC));
	expect_error(EINVAL, unshare(0x1));
}

static void ipc_prepare(void)
{
	home = open("/proc/self/ns/ipc", O_RDONLY);
	expect(home >= 0);
}

static void ipc_namespace(void)
{
	expect(!unshare(CLONE_NEWIPC));
	expect(!setns(home, 0));
}

static void unshared_files(void)
{
	expect(!unshare(CLONE_FILES));
	expect(!unshare(CLONE_FS));
	expect(!unshare(CLONE_SYSVSEM));
	expect_error(EINVAL, unshare(CLONE_NEWUSER | CLONE_NEWTIME | 0x2));
}

static void pid_namespace(void)
{
	int status;
	pid_t child = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWUTS | SIGCHLD, 0, NULL, 0, 0);

	expect(child >= 0);
	if (!child)
		_exit(syscall(SYS_getpid) == 1 ? 0 : 9);
	until_ended(child);
	expect(wait4(child, &status, 0, NULL) == child && status == 0);
}

static void user_namespace(void)
{
	int status;
	pid_t child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, NULL, 0, 0);

	expect(child >= 0);
	if (!child)
		_exit(syscall(SYS_getuid) ? 0 : 9);
	until_ended(child);
	expect(wait4(child, &status, 0, NULL) == child && status == 0);
}

static void filter_prepare(void)
{
	/* Refuses one system call, passes all others. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	expect(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	expect(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static void filtered(void)
{
	struct sock_fprog program = { 0, NULL };

	expect(syscall(SYS_getppid) > 0);
	expect_error(77, syscall(SYS_getpriority, PRIO_PROCESS, 0));
	expect_error(EINVAL, syscall(SYS_seccomp, 0x77, 0, NULL));
	expect_error(EINVAL, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	expect_error(EFAULT, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL));
}

static void execute_errors(void)
{
	char *const arguments[] = { "x", NULL };

	expect_error(ENOENT, execve("/missing", arguments, arguments));
	expect_error(EACCES, execve("/proc/self/status", arguments, arguments));
	expect_error(EINVAL, syscall(SYS_execveat, AT_FDCWD, "x", arguments, arguments, 0x77));
	expect_error(EFAULT, execve(nowhere(), arguments, arguments));
}

const struct program task_programs[] = {
	{ "fork", NULL, fork_wait },
	{ "clone", NULL, clone_wait },
	{ "kill-child", NULL, kill_child },
	{ "wait-errors", NULL, wait_errors },
	{ "identity", NULL, identity },
	{ "prctl", NULL, control },
	{ "limits", NULL, limits },
	{ "uts-namespace", namespace_prepare, uts_namespace },
	{ "ipc-namespace", ipc_prepare, ipc_namespace },
	{ "unshare", NULL, unshared_files },
	{ "pid-namespace", NULL, pid_namespace },
	{ "user-namespace", NULL, user_namespace },
	{ "seccomp", filter_prepare, filtered },
	{ "exec-errors", NULL, execute_errors },
	{ 0 },
};
