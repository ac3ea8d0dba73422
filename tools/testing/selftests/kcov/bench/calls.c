// SPDX-License-Identifier: GPL-2.0
/*
 * Measures system calls in a guest, while no buffer exists or while this task collects.
 *
 *   calls none|pc|cmp instructions|time ROUNDS
 *
 * prints "MODE CALL NUMBER" for each kind of call: the median over the rounds of what one took.
 * Instructions are read from the time stamp counter of an emulator that lets it count them
 * (QEMU: -icount shift=0); time is in nanoseconds.
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/kcov.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kcov.h"
#include "measure.h"

#define BUFFER_WORDS (1 << 18)

static const char *mode;
static uint64_t *cover;
static int pipe_ends[2];
static int sockets[2];

static void call_getppid(void)
{
	syscall(SYS_getppid);
}

static void call_pipe(void)
{
	char byte = 0;

	if (write(pipe_ends[1], &byte, 1) != 1 || read(pipe_ends[0], &byte, 1) != 1)
		measure_fail("pipe");
}

static void call_open(void)
{
	int file = open("/dev/null", O_RDONLY);

	if (file < 0 || close(file))
		measure_fail("/dev/null");
}

static void call_fork(void)
{
	measure_fork(NULL);
}

static void call_udp(void)
{
	char byte = 0;

	if (send(sockets[0], &byte, 1, 0) != 1 || recv(sockets[1], &byte, 1, 0) != 1 ||
	    send(sockets[1], &byte, 1, 0) != 1 || recv(sockets[0], &byte, 1, 0) != 1)
		measure_fail("udp");
}

static const struct call {
	const char *name;
	void (*call)(void);
	/* Few enough that the timer does not tick in most of the rounds. */
	unsigned int repeat;
} calls[] = {
	{ "getppid", call_getppid, 100 },
	{ "pipe", call_pipe, 50 },
	{ "open_close", call_open, 50 },
	{ "fork_exit_wait", call_fork, 1 },
	{ "udp_round_trip", call_udp, 20 },
};

static void open_sockets(void)
{
	struct sockaddr_in address[2];
	socklen_t length = sizeof(address[0]);
	int i;

	for (i = 0; i < 2; i++) {
		memset(&address[i], 0, sizeof(address[i]));
		address[i].sin_family = AF_INET;
		address[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (sockets[i] < 0 || bind(sockets[i], (struct sockaddr *)&address[i], length) ||
		    getsockname(sockets[i], (struct sockaddr *)&address[i], &length))
			measure_fail("socket");
	}
	for (i = 0; i < 2; i++)
		if (connect(sockets[i], (struct sockaddr *)&address[1 - i], length))
			measure_fail("connect");
}

static void start_collecting(unsigned long trace)
{
	int file = kcov_open_mapped(BUFFER_WORDS, &cover);

	if (file < 0)
		measure_fail("kcov");
	/* Copying the mapping would be most of what a fork does. */
	if (madvise(cover, BUFFER_WORDS * sizeof(*cover), MADV_DONTFORK))
		measure_fail("MADV_DONTFORK");
	if (kcov_enable(file, trace))
		measure_fail("KCOV_ENABLE");
}

static double measure_round(const void *data)
{
	const struct call *call = data;
	uint64_t limit = BUFFER_WORDS / (strcmp(mode, "cmp") ? 1 : 4) - 2;
	double cost;

	if (cover)
		__atomic_store_n(&cover[0], 0, __ATOMIC_RELAXED);
	cost = measure_calls(call->call, call->repeat);
	if (cover && (!__atomic_load_n(&cover[0], __ATOMIC_RELAXED) || cover[0] >= limit)) {
		fprintf(stderr, "%s in mode %s left %llu records, which is none or too many\n",
			call->name, mode, (unsigned long long)cover[0]);
		exit(1);
	}
	return cost;
}

static void measure(const struct call *call, unsigned int rounds)
{
	printf("%s %s %.2f\n", mode, call->name, measure_rounds(rounds, measure_round, call));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc == 4 ? atoi(argv[3]) : 0, i;

	if (!rounds || rounds > MEASURE_ROUNDS) {
		fprintf(stderr, "usage: calls none|pc|cmp instructions|time ROUNDS\n");
		return 2;
	}
	mode = argv[1];
	measure_with(argv[2]);
	if (pipe(pipe_ends))
		measure_fail("pipe");
	open_sockets();
	if (strcmp(mode, "none"))
		start_collecting(strcmp(mode, "cmp") ? KCOV_TRACE_PC : KCOV_TRACE_CMP);
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		measure(&calls[i], rounds);
	return 0;
}
