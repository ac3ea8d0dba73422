// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts and softirqs run on top of any thread, and must not appear in the coverage of that
 * thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"

/*
 * A function that must not be recorded, and the functions into which the compiler may have inlined
 * it. At least one of them exists in every configuration.
 */
struct function {
	const char *names[4];
};

/* Functions that only a timer interrupt or its pending softirq executes. */
static const struct function interrupt_functions[] = {
	{ { "timerfd_tmrproc" } },
	{ { "hrtimer_interrupt" } },
	{ { "__hrtimer_run_queues", "hrtimer_interrupt" } },
	{ { "tick_nohz_handler" } },
	{ { "tick_sched_do_timer", "tick_nohz_handler" } },
	{ { "tick_do_update_jiffies64", "tick_nohz_handler" } },
	{ { "update_process_times", "tick_nohz_handler" } },
	{ { "run_local_timers", "update_process_times", "tick_nohz_handler" } },
	{ { "timekeeping_advance", "__timekeeping_advance", "update_wall_time",
	    "tick_nohz_handler" } },
	{ { "run_timer_softirq" } },
	{ { "__run_timers", "__run_timer_base", "run_timer_base", "run_timer_softirq" } },
	{ { "hrtimer_run_softirq" } },
};

/* Functions that receive a packet, in the softirq that sending it causes. */
static const struct function receive_functions[] = {
	{ { "net_rx_action" } },
	{ { "process_backlog" } },
	{ { "__netif_receive_skb_core", "__netif_receive_skb_one_core", "process_backlog" } },
	{ { "ip_rcv" } },
	{ { "ip_local_deliver" } },
	{ { "__udp4_lib_rcv", "udp_rcv" } },
	{ { "udp_rcv" } },
	{ { "udp_queue_rcv_skb", "udp_unicast_rcv_skb", "udp_rcv" } },
	{ { "__udp_enqueue_schedule_skb" } },
};

/* Returns the first function that the kernel has under none of its names, or NULL. */
static const char *unknown(const struct function *functions, size_t count)
{
	size_t i, j;

	for (i = 0; i < count; i++) {
		bool exists = false;

		for (j = 0; j < ARRAY_SIZE(functions->names) && functions[i].names[j]; j++)
			exists |= symbol_exists(functions[i].names[j]);
		if (!exists)
			return functions[i].names[0];
	}
	return NULL;
}

FIXTURE(context) {
	uint64_t *area;
	int fd;
};

FIXTURE_SETUP(context)
{
	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(context)
{
	close(self->fd);
}

static uint64_t expirations(int timer)
{
	uint64_t count = 0;

	return read(timer, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static int fast_timer(long nanoseconds)
{
	struct itimerspec spec = {
		.it_value.tv_nsec = nanoseconds,
		.it_interval.tv_nsec = nanoseconds,
	};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);

	if (timer >= 0 && timerfd_settime(timer, 0, &spec, NULL))
		return -1;
	return timer;
}

/* Returns one of the functions that was recorded, or NULL. */
static const char *recorded(uint64_t *area, const struct function *functions, size_t count)
{
	size_t i, j;

	cover_unique(area);
	for (i = 0; i < count; i++)
		for (j = 0; j < ARRAY_SIZE(functions->names) && functions[i].names[j]; j++)
			if (covers(area, functions[i].names[j]))
				return functions[i].names[j];
	return NULL;
}

/*
 * Stays busy in the kernel under a timer until @records records exist; returns the number of times
 * that the timer fired. Only reading the timer starts it again, on this CPU, so each time is a
 * separate interrupt. Every iteration must leave a record, or the function returns early.
 */
static uint64_t busy_until(const uint64_t *area, uint64_t records, int timer)
{
	uint64_t fired = 0, turn;

	for (turn = 0; turn < records && cover_count(area) < records; turn++) {
		close(open("/proc/self/stat", O_RDONLY));
		fired += expirations(timer) != 0;
	}
	return fired;
}

/*
 * Returns whether the timer still fires: it has fired since the last call, or it has failed to for
 * a few seconds only.
 */
static bool still_fires(uint64_t fired, time_t *since)
{
	if (fired)
		*since = 0;
	return may_wait(since);
}

/*
 * Under a timer that fires 200 microseconds after it was read, so that hundreds of
 * interrupts hit instrumented code.
 */
TEST_F_TIMEOUT(context, timer_interrupts_do_not_appear, 300)
{
	uint64_t fired = 0, more;
	const char *missing;
	time_t since = 0;
	int round, timer;

	timer = fast_timer(200000);
	if (timer < 0)
		SKIP(return, "no timers (CONFIG_TIMERFD)");
	missing = unknown(interrupt_functions, ARRAY_SIZE(interrupt_functions));
	ASSERT_EQ(NULL, missing) TH_LOG("the kernel has no %s", missing);
	for (round = 0; round < 50 || fired < 500; round++) {
		const char *leak;

		cover_reset(self->area);
		ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
		more = busy_until(self->area, COVER_WORDS - 1, timer);
		ASSERT_EQ(0, kcov_disable(self->fd));
		ASSERT_EQ(COVER_WORDS - 1, cover_count(self->area));
		ASSERT_TRUE(still_fires(more, &since)) TH_LOG("the timer does not fire");
		fired += more;
		EXPECT_TRUE(covers_syscall(self->area, "close"));
		leak = recorded(self->area, interrupt_functions,
				ARRAY_SIZE(interrupt_functions));
		ASSERT_EQ(NULL, leak)
			TH_LOG("%s was recorded", leak);
	}
}

/* Makes a network of its own, with only the loopback device. */
static const char *bring_up_network(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int sock;

	if (unshare(CLONE_NEWNET))
		return "no network namespaces (CONFIG_NET_NS)";
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	if (sock < 0)
		return "no IPv4 (CONFIG_INET)";
	if (ioctl(sock, SIOCSIFFLAGS, &request))
		return "the loopback device does not start";
	close(sock);
	return NULL;
}

/*
 * A packet to the loopback device is received in a softirq, which runs as soon
 * as the sender enables softirqs again: in the middle of the sender's call.
 */
TEST_F_TIMEOUT(context, softirqs_do_not_appear, 300)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int receiver, sender, i;
	const char *problem;
	char byte;

	problem = bring_up_network();
	if (problem)
		SKIP(return, "%s", problem);
	problem = unknown(receive_functions, ARRAY_SIZE(receive_functions));
	ASSERT_EQ(NULL, problem) TH_LOG("the kernel has no %s", problem);
	receiver = socket(AF_INET, SOCK_DGRAM, 0);
	sender = socket(AF_INET, SOCK_DGRAM, 0);
	ASSERT_EQ(0, bind(receiver, (void *)&address, sizeof(address)));
	ASSERT_EQ(0, getsockname(receiver, (void *)&address, &length));
	for (i = 0; i < 100; i++) {
		cover_reset(self->area);
		ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
		EXPECT_EQ(1, sendto(sender, "x", 1, 0, (void *)&address, sizeof(address)));
		ASSERT_EQ(0, kcov_disable(self->fd));
		/* The softirq has run on this CPU by now. */
		ASSERT_EQ(1, recv(receiver, &byte, 1, MSG_DONTWAIT));
		EXPECT_TRUE(covers(self->area, "udp_sendmsg"));
		problem = recorded(self->area, receive_functions,
				   ARRAY_SIZE(receive_functions));
		ASSERT_EQ(NULL, problem)
			TH_LOG("%s was recorded", problem);
	}
}

/* The same for comparisons: no record has a PC in such a function. */
TEST_F_TIMEOUT(context, interrupts_make_no_comparisons, 300)
{
	int round, timer = fast_timer(200000);
	uint64_t fired = 0, more;
	const char *missing;
	time_t since = 0;
	long ret;

	if (timer < 0)
		SKIP(return, "no timers (CONFIG_TIMERFD)");
	missing = unknown(interrupt_functions, ARRAY_SIZE(interrupt_functions));
	ASSERT_EQ(NULL, missing) TH_LOG("the kernel has no %s", missing);
	for (round = 0; round < 30 || fired < 100; round++) {
		uint64_t i, count;

		cover_reset(self->area);
		ret = kcov_enable(self->fd, KCOV_TRACE_CMP);
		if (ret == -ENOTSUPP)
			SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
		ASSERT_EQ(0, ret);
		more = busy_until(self->area, (COVER_WORDS - 1) / WORDS_PER_CMP, timer);
		ASSERT_EQ(0, kcov_disable(self->fd));
		ASSERT_TRUE(still_fires(more, &since)) TH_LOG("the timer does not fire");
		fired += more;
		/* The PCs, packed in the form of a trace of PCs. */
		count = cover_count(self->area);
		ASSERT_EQ((COVER_WORDS - 1) / WORDS_PER_CMP, count);
		for (i = 1; i <= count; i++)
			self->area[i] = self->area[WORDS_PER_CMP * i];
		EXPECT_TRUE(covers_syscall(self->area, "close") ||
			    covers(self->area, "do_sys_openat2"));
		ASSERT_EQ(NULL, recorded(self->area, interrupt_functions,
					 ARRAY_SIZE(interrupt_functions)));
	}
}

static long mark(void *which)
{
	((void (*)(void))which)();
	return 0;
}

/* A thread that is switched out and in again keeps its own records. */
TEST_F_TIMEOUT(context, switching_threads_keeps_them_apart, 300)
{
	uint64_t *areas[8];
	struct worker workers[8];
	cpu_set_t one;
	int fds[8], i, round;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	for (i = 0; i < 8; i++) {
		fds[i] = kcov_open_mapped(COVER_WORDS, &areas[i]);
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, worker_start(&workers[i]));
		ASSERT_EQ(0, worker_ioctl(&workers[i], fds[i], KCOV_ENABLE, KCOV_TRACE_PC));
	}
	for (round = 0; round < 20; round++)
		for (i = 0; i < 8; i++)
			worker_run(&workers[i], mark, i % 2 ? mark_one : mark_two);
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, worker_ioctl(&workers[i], fds[i], KCOV_DISABLE, 0));
		EXPECT_EQ(i % 2, covers_syscall(areas[i], MARK_ONE));
		EXPECT_EQ(!(i % 2), covers_syscall(areas[i], MARK_TWO));
		worker_end(&workers[i]);
	}
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
