// SPDX-License-Identifier: GPL-2.0
/* Programs about signals, clocks, timers and futexes. */
#include "traces.h"

#include <linux/futex.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <time.h>

static volatile int handled;
static sigset_t blocked;

static void handler(int number)
{
	handled += number;
}

static void block_prepare(void)
{
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGRTMIN);
	expect(!sigprocmask(SIG_BLOCK, &blocked, NULL));
}

static void handler_prepare(void)
{
	struct sigaction action = { .sa_handler = handler };

	expect(!sigaction(SIGUSR2, &action, NULL));
}

static void raise_signal(void)
{
	handled = 0;
	expect(!kill(getpid(), SIGUSR2));
	expect(!syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2));
	expect(handled == 2 * SIGUSR2);
	expect_error(EINVAL, kill(getpid(), 0x77));
	expect_error(ESRCH, kill(0x3fffff, 0));
	expect_error(EINVAL, syscall(SYS_tgkill, -1, 1, 0));
}

static void actions(void)
{
	struct sigaction action = { .sa_handler = SIG_IGN }, old;
	static char stack[16384];
	stack_t alternative = { .ss_sp = stack, .ss_size = sizeof(stack) };

	expect(!sigaction(SIGHUP, &action, &old));
	expect(!kill(getpid(), SIGHUP));
	expect(!sigaction(SIGHUP, &old, NULL));
	expect_error(EINVAL, sigaction(SIGKILL, &action, NULL));
	expect(!sigaltstack(&alternative, NULL));
	alternative.ss_flags = SS_DISABLE;
	expect(!sigaltstack(&alternative, NULL));
	alternative.ss_flags = 0x70;
	expect_error(EINVAL, sigaltstack(&alternative, NULL));
}

static void queued(void)
{
	struct timespec nothing = { 0, 0 };
	union sigval value = { .sival_int = 77 };
	sigset_t pending;
	siginfo_t info;

	expect(!sigqueue(getpid(), SIGRTMIN, value));
	expect(!kill(getpid(), SIGUSR1));
	expect(!sigpending(&pending) && sigismember(&pending, SIGUSR1));
	expect(sigtimedwait(&blocked, &info, &nothing) == SIGUSR1);
	expect(sigtimedwait(&blocked, &info, &nothing) == SIGRTMIN &&
	       info.si_value.sival_int == 77);
	expect_error(EAGAIN, sigtimedwait(&blocked, &info, &nothing));
	expect(!sigprocmask(SIG_SETMASK, &blocked, NULL));
	expect_error(EINVAL, syscall(SYS_rt_sigprocmask, 0x77, &blocked, NULL, 8));
}

static void signal_descriptor(void)
{
	struct signalfd_siginfo info;
	int fd = signalfd(-1, &blocked, SFD_NONBLOCK);

	expect(fd >= 0);
	expect_error(EAGAIN, read(fd, &info, sizeof(info)));
	expect(!kill(getpid(), SIGUSR1));
	expect(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR1);
	expect_error(EINVAL, read(fd, &info, 3));
	expect(!close(fd));
}

static void timer_descriptor(void)
{
	struct itimerspec past = { .it_value = { 0, 1 } }, far = { .it_value = { 10000, 0 } }, now;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	uint64_t expirations;

	expect(fd >= 0);
	expect(!timerfd_settime(fd, 0, &far, NULL));
	expect(!timerfd_gettime(fd, &now) && now.it_value.tv_sec);
	expect_error(EAGAIN, read(fd, &expirations, 8));
	expect(!timerfd_settime(fd, TFD_TIMER_ABSTIME, &past, NULL));
	expect(read(fd, &expirations, 8) == 8 && expirations == 1);
	past.it_value.tv_nsec = 2000000000;
	expect_error(EINVAL, timerfd_settime(fd, 0, &past, NULL));
	expect(!close(fd));
	expect_error(EINVAL, timerfd_create(0x77, 0));
}

static void posix_timer(void)
{
	struct sigevent none = { .sigev_notify = SIGEV_NONE };
	struct itimerspec far = { .it_value = { 10000, 0 }, .it_interval = { 5, 0 } }, now;
	int timer;

	expect(!syscall(SYS_timer_create, CLOCK_MONOTONIC, &none, &timer));
	expect(!syscall(SYS_timer_settime, timer, 0, &far, NULL));
	expect(!syscall(SYS_timer_gettime, timer, &now) && now.it_value.tv_sec);
	expect(!syscall(SYS_timer_getoverrun, timer));
	expect(!syscall(SYS_timer_delete, timer));
	expect_error(EINVAL, syscall(SYS_timer_delete, timer));
	none.sigev_notify = 0x77;
	expect_error(EINVAL, syscall(SYS_timer_create, CLOCK_MONOTONIC, &none, &timer));
}

static void interval_timer(void)
{
	struct itimerval far = { .it_value = { 10000, 0 } }, none = { .it_value = { 0, 0 } }, old;

	expect(!setitimer(ITIMER_VIRTUAL, &far, NULL));
	expect(!getitimer(ITIMER_VIRTUAL, &old));
	expect(!setitimer(ITIMER_VIRTUAL, &none, &old));
	far.it_value.tv_usec = 2000000;
	expect_error(EINVAL, setitimer(ITIMER_REAL, &far, NULL));
	expect_error(EINVAL, syscall(SYS_getitimer, 0x77, &old));
}

static void clocks(void)
{
	struct timespec now, past = { 0, 1 };
	struct timeval day;
	struct tms consumed;

	expect(!syscall(SYS_clock_gettime, CLOCK_REALTIME, &now));
	expect(!syscall(SYS_clock_gettime, CLOCK_BOOTTIME, &now));
	expect(!syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &now));
	expect(!syscall(SYS_clock_getres, CLOCK_MONOTONIC, &now));
	expect(!syscall(SYS_gettimeofday, &day, NULL));
	expect(syscall(SYS_times, &consumed) != -1);
	expect(!clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL));
	expect_error(EINVAL, syscall(SYS_clock_gettime, 0x77, &now));
	now.tv_nsec = -1;
	expect_error(EINVAL, syscall(SYS_nanosleep, &now, NULL));
}

static uint32_t word, target;

static long futex(uint32_t *place, int operation, unsigned long value, const void *timeout,
		  uint32_t *second_place, unsigned long third)
{
	return syscall(SYS_futex, place, operation, value, timeout, second_place, third);
}

static void futexes(void)
{
	struct timespec past = { 0, 1 };

	expect_error(EAGAIN, futex(&word, FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0));
	expect_error(ETIMEDOUT, futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &past, NULL, 0x80));
	expect(!futex(&word, FUTEX_WAKE, 7, NULL, NULL, 0));
	expect(!futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)3, &target, 0));
	expect(!futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &target,
		      FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 9)));
	expect(!futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	expect_error(EDEADLK, futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	expect(!futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	expect_error(EINVAL, futex((uint32_t *)((char *)&word + 1), FUTEX_WAKE, 1, NULL, NULL, 0));
	expect_error(ENOSYS, futex(&word, 0x7f, 1, NULL, NULL, 0));
}

const struct program signal_programs[] = {
	{ "signal-handler", handler_prepare, raise_signal },
	{ "sigaction", NULL, actions },
	{ "signal-queue", block_prepare, queued },
	{ "signalfd", block_prepare, signal_descriptor },
	{ "timerfd", NULL, timer_descriptor },
	{ "posix-timer", NULL, posix_timer },
	{ "interval-timer", NULL, interval_timer },
	{ "clocks", NULL, clocks },
	{ "futex", NULL, futexes },
	{ 0 },
};
