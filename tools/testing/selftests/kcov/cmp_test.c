// SPDX-License-Identifier: GPL-2.0
/*
 * The records of KCOV_TRACE_CMP: the operands of comparisons, recognised by values that only this
 * program can have brought into the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "divided.h"
#include "kcov.h"
#include "symbols.h"

FIXTURE(cmp) {
	uint64_t *area;
	struct record *records;
	int fd;
};

FIXTURE_SETUP(cmp)
{
	long ret;

	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	self->fd = kcov_open_mapped(4 * COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
	self->records = (struct record *)(self->area + 1);
	ret = kcov_enable(self->fd, KCOV_TRACE_CMP);
	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(cmp)
{
	close(self->fd);
}

/* Stops collecting; returns the number of records that the calls before made. */
static uint64_t stop(FIXTURE_DATA(cmp) *self)
{
	return kcov_disable(self->fd) ? 0 : cover_count(self->area);
}

/* Returns the number of records with this type and these operands, in this order. */
static int occurs(FIXTURE_DATA(cmp) *self, uint64_t type, uint64_t arg1, uint64_t arg2)
{
	uint64_t i, count = cover_count(self->area);
	int found = 0;

	for (i = 0; i < count; i++) {
		struct record *record = &self->records[i];

		found += record->type == type && record->arg1 == arg1 &&
			 record->arg2 == arg2;
	}
	return found;
}

/* Does the same for operands whose order the compiler may choose. */
static int holds(FIXTURE_DATA(cmp) *self, uint64_t type, uint64_t value)
{
	uint64_t i, count = cover_count(self->area);
	int found = 0;

	for (i = 0; i < count; i++) {
		struct record *record = &self->records[i];

		found += record->type == type &&
			 (record->arg1 == value || record->arg2 == value);
	}
	return found;
}

static void use_the_kernel(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/no/such" };
	char buffer[64];
	int file = open("/proc/self/stat", O_RDONLY), sock;

	if (read(file, buffer, sizeof(buffer)) > 0)
		lseek(file, 0, SEEK_SET);
	close(file);
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	connect(sock, (struct sockaddr *)&address, sizeof(address));
	close(sock);
	file = open("/tmp", O_RDONLY | O_DIRECTORY);
	syscall(SYS_getdents64, file, buffer, sizeof(buffer));
	close(file);
	prctl(PR_SET_NAME, "comparisons");
}

static int prctl_with(int option)
{
	return syscall(SYS_prctl, option, 0, 0, 0, 0);
}

static bool well_formed(const struct record *record)
{
	static const uint64_t limits[] = { 0xff, 0xffff, 0xffffffff, ~0ULL };

	return record->type <= 7 && record->arg1 <= limits[record->type >> 1] &&
	       record->arg2 <= limits[record->type >> 1] && in_kernel_text(record->pc - 1);
}

TEST_F(cmp, records_are_well_formed)
{
	static const struct record none;
	uint64_t i, count, seen = 0;

	use_the_kernel();
	count = stop(self);
	ASSERT_LT(100, count);
	ASSERT_GT(COVER_WORDS - 1 - INTERRUPT_RECORDS, count);
	for (i = 0; i < count; i++) {
		struct record *record = &self->records[i];

		ASSERT_TRUE(well_formed(record))
			TH_LOG("record %lu of type %lu: %#lx, %#lx at %#lx", i, record->type,
			       record->arg1, record->arg2, record->pc);
		seen |= 1ULL << record->type;
	}
	/* Only an interrupt writes past the last record. */
	for (; i < count + INTERRUPT_RECORDS; i++)
		ASSERT_TRUE(well_formed(&self->records[i]) ||
			    !memcmp(&none, &self->records[i], sizeof(none)));
	for (i = 1 + WORDS_PER_CMP * i; i < 4 * COVER_WORDS; i++)
		ASSERT_EQ(0, self->area[i]);
	/* All sizes are found; comparisons of two variables of one or two bytes are rare. */
	EXPECT_EQ(0, ~seen & (1 << CONSTANT(0) | 1 << CONSTANT(1) | 1 << CONSTANT(2) |
			      1 << CONSTANT(3) | 1 << VARIABLE(2) | 1 << VARIABLE(3)))
		TH_LOG("types seen: %#lx", seen);
}

/* The type is the type of the hook whose call ends at the record's PC. */
TEST_F(cmp, types_are_those_of_the_calls)
{
	static const char * const hooks[] = {
		"__sanitizer_cov_trace_cmp1", "__sanitizer_cov_trace_const_cmp1",
		"__sanitizer_cov_trace_cmp2", "__sanitizer_cov_trace_const_cmp2",
		"__sanitizer_cov_trace_cmp4", "__sanitizer_cov_trace_const_cmp4",
		"__sanitizer_cov_trace_cmp8", "__sanitizer_cov_trace_const_cmp8",
	};
	uint64_t i, count;
	int switches = 0;

	use_the_kernel();
	count = stop(self);
	if (text_missing())
		SKIP(return, "%s", text_missing());
	if (call_decoder_missing())
		SKIP(return, "%s", call_decoder_missing());
	ASSERT_LT(0, count);
	for (i = 0; i < count; i++) {
		struct record *record = &self->records[i];

		ASSERT_GE(7, record->type);
		if (called_before(record->pc, hooks[record->type]))
			continue;
		/* A switch compares with constants. */
		ASSERT_TRUE(record->type & KCOV_CMP_CONST &&
			    called_before(record->pc, "__sanitizer_cov_trace_switch"))
			TH_LOG("record %lu of type %lu: %#lx in %s", i, record->type,
			       record->pc, symbol_at(record->pc));
		switches++;
	}
	EXPECT_LT(0, switches);
}

/* The first character of a path is compared with '/'. */
TEST_F(cmp, constant_of_1_byte)
{
	EXPECT_EQ(-1, open("\xa7/no", O_RDONLY));
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, CONSTANT(0), '/', 0xa7));
}

/* The family of an address is compared with the socket's. */
TEST_F(cmp, constant_of_2_bytes)
{
	struct sockaddr_un address = { .sun_family = 0xbeef, .sun_path = "x" };
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);

	ASSERT_LE(0, sock);
	EXPECT_EQ(-1, bind(sock, (struct sockaddr *)&address, sizeof(address)));
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, CONSTANT(1), AF_UNIX, 0xbeef));
}

/* The personality ~0 asks and does not set. */
TEST_F(cmp, constant_of_4_bytes)
{
	int old = syscall(SYS_personality, 0x0badcafe);

	syscall(SYS_personality, old);
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, CONSTANT(2), 0xffffffff, 0x0badcafe));
}

/* The size of the signal set is compared with the kernel's size. */
TEST_F(cmp, constant_of_8_bytes)
{
	EXPECT_EQ(-1, syscall(SYS_rt_sigprocmask, 0, NULL, NULL, 0x1122334455667788));
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, CONSTANT(3), 8, 0x1122334455667788));
}

/* The name of an attribute is compared with the prefixes that a file system has. */
TEST_F(cmp, variable_of_1_byte)
{
	char value[8];
	int file = memfd_create("comparisons", 0);

	ASSERT_LE(0, file);
	if (fgetxattr(file, "\xa7name", value, sizeof(value)) < 0 &&
	    fgetxattr(file, "trusted.name", value, sizeof(value)) < 0 && errno != ENODATA)
		SKIP(return, "no attributes in memory files (CONFIG_TMPFS_XATTR)");
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, holds(self, VARIABLE(0), 0xa7));
}

/* The protocol of an address is compared with the one the socket was made for. */
TEST_F(cmp, variable_of_2_bytes)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = 0xbeef };
	int sock = socket(AF_PACKET, SOCK_DGRAM, 0xc0de);

	if (sock < 0)
		SKIP(return, "no packet sockets (CONFIG_PACKET)");
	EXPECT_EQ(0, bind(sock, (struct sockaddr *)&address, sizeof(address)));
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, VARIABLE(1), 0xc0de, 0xbeef) +
		     occurs(self, VARIABLE(1), 0xbeef, 0xc0de));
}

/* The two ends of a range of files are compared. */
TEST_F(cmp, variable_of_4_bytes)
{
	const uint32_t first = 0x05060708, last = 0x01020304;

	EXPECT_EQ(-1, syscall(SYS_close_range, first, last, 0));
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, VARIABLE(2), first, last) +
		     occurs(self, VARIABLE(2), last, first));
}

/* The soft limit is compared with the hard one. */
TEST_F(cmp, variable_of_8_bytes)
{
	struct rlimit limit = {
		.rlim_cur = 0x1122334455667788, .rlim_max = 0x0102030405060708,
	};

	EXPECT_EQ(-1, setrlimit(RLIMIT_CORE, &limit));
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, VARIABLE(3), limit.rlim_cur, limit.rlim_max) +
		     occurs(self, VARIABLE(3), limit.rlim_max, limit.rlim_cur));
}

/* Finds the PC of prctl()'s switch in its records. */
static uint64_t switch_pc(const struct record *records, uint64_t count, uint64_t option)
{
	uint64_t i;

	for (i = 0; i < count; i++)
		if (records[i].arg1 == PR_SET_NAME && records[i].arg2 == option)
			return records[i].pc;
	return 0;
}

/*
 * Returns whether a switch reserves all its records at once. Upstream's implementation reserves one
 * record after the other, so an interrupt's records may come between them. An implementation that
 * has KCOV_RESET_TRACE reserves them at once.
 */
static bool takes_room_at_once(void)
{
	return !reset_missing();
}

/* All cases of a switch, each a record, with the value as second operand. */
TEST_F(cmp, switch_gives_all_cases)
{
	static const int cases[] = {
		PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_NAME,
		PR_GET_NAME, PR_GET_SECCOMP, PR_SET_TIMERSLACK, PR_SET_NO_NEW_PRIVS,
		PR_SET_CHILD_SUBREAPER, PR_SET_THP_DISABLE,
	};
	const int option = 0x5a17c0de;
	uint64_t count, pc, found = 0, first = 0, last = 0;
	size_t i;

	prctl_with(option);
	count = stop(self);
	ASSERT_LT(0, count);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT_EQ(1, occurs(self, CONSTANT(2), cases[i], option))
			TH_LOG("case %d", cases[i]);
	pc = switch_pc(self->records, count, option);
	ASSERT_NE(0, pc);
	/* The records come from one PC, each case once, in the order of the compiler's table. */
	for (i = 0; i < count; i++) {
		if (self->records[i].pc != pc)
			continue;
		EXPECT_EQ(option, self->records[i].arg2);
		if (found++) {
			EXPECT_LT(self->records[last].arg1, self->records[i].arg1);
		} else {
			first = i;
		}
		last = i;
	}
	EXPECT_LE(ARRAY_SIZE(cases), found);
	if (takes_room_at_once()) {
		EXPECT_EQ(found, last - first + 1);
	}
	if (!text_missing() && !call_decoder_missing()) {
		EXPECT_TRUE(called_before(pc, "__sanitizer_cov_trace_switch"));
	}
}

/*
 * Does the same as occurs(), for a case of a switch over a type of 2 to the power of @size bytes.
 * clang switches over that type, GCC over the int to which C promotes narrow types.
 */
static int case_occurs(FIXTURE_DATA(cmp) *self, int size, uint64_t number, uint64_t value)
{
	int found = occurs(self, CONSTANT(size), number, value);

	if (kernel_built_by_gcc() && size < 2)
		found += occurs(self, CONSTANT(2), number, value);
	return found;
}

/* The kind of an IP option. */
TEST_F(cmp, switch_of_1_byte)
{
	const unsigned char option[] = { 0xa7, 4, 0, 0 };
	int sock = socket(AF_INET, SOCK_DGRAM, 0);

	if (sock < 0)
		SKIP(return, "no IP sockets (CONFIG_INET)");
	setsockopt(sock, IPPROTO_IP, IP_OPTIONS, option, sizeof(option));
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, case_occurs(self, 0, IPOPT_SSRR, 0xa7));
	EXPECT_LT(0, case_occurs(self, 0, IPOPT_LSRR, 0xa7));
	EXPECT_LT(0, case_occurs(self, 0, IPOPT_TS, 0xa7));
}

/* The type of a socket: one that has a number, but that local sockets do not support. */
TEST_F(cmp, switch_of_2_bytes)
{
	EXPECT_EQ(-1, socket(AF_UNIX, SOCK_DCCP, 0));
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, case_occurs(self, 1, SOCK_STREAM, SOCK_DCCP));
	EXPECT_LT(0, case_occurs(self, 1, SOCK_DGRAM, SOCK_DCCP));
	EXPECT_LT(0, case_occurs(self, 1, SOCK_RAW, SOCK_DCCP));
	EXPECT_LT(0, case_occurs(self, 1, SOCK_SEQPACKET, SOCK_DCCP));
}

/* The request to a traced child. */
TEST_F(cmp, switch_of_8_bytes)
{
	const long request = 0x1122334455667788;
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		be_mortal(LIFETIME);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	cover_reset(self->area);
	EXPECT_EQ(-1, syscall(SYS_ptrace, request, child, 0, 0));
	ASSERT_LT(0, stop(self));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	EXPECT_LT(0, case_occurs(self, 3, PTRACE_PEEKDATA, request));
	EXPECT_LT(0, case_occurs(self, 3, PTRACE_DETACH, request));
	EXPECT_LT(0, case_occurs(self, 3, PTRACE_SETOPTIONS, request));
}

/* Operands are neither truncated nor sign-extended. */
TEST_F(cmp, operands_are_exact)
{
	static const int options[] = {
		0x00010000, 0x7fffffff, INT_MIN, -1, -65535,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++)
		prctl_with(options[i]);
	syscall(SYS_rt_sigprocmask, 0, NULL, NULL, ~0UL);
	syscall(SYS_rt_sigprocmask, 0, NULL, NULL, 1UL << 63);
	ASSERT_LT(0, stop(self));
	for (i = 0; i < ARRAY_SIZE(options); i++) {
		/* The hook of a switch takes 64 bits, to which GCC sign-extends an int. */
		uint64_t option = kernel_built_by_gcc() ? (uint64_t)options[i] :
							  (uint32_t)options[i];

		EXPECT_LT(0, occurs(self, CONSTANT(2), PR_SET_NAME, option));
	}
	EXPECT_LT(0, occurs(self, CONSTANT(3), 8, ~0ULL));
	EXPECT_LT(0, occurs(self, CONSTANT(3), 8, 1ULL << 63));
}

TEST_F(cmp, nothing_after_disable)
{
	prctl_with(0x5a17c0de);
	ASSERT_LT(0, stop(self));
	ASSERT_LT(0, occurs(self, CONSTANT(2), PR_SET_NAME, 0x5a17c0de));
	cover_reset(self->area);
	prctl_with(0x5a17c0df);
	EXPECT_EQ(0, cover_count(self->area));
}

/* One descriptor uses one mode at a time, and either mode can follow the other. */
TEST_F(cmp, modes_take_turns)
{
	uint64_t i, count;

	prctl_with(0x5a17c0de);
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, CONSTANT(2), PR_SET_NAME, 0x5a17c0de));

	memset(self->area, 0, 4 * COVER_WORDS * sizeof(uint64_t));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_PC));
	prctl_with(0x5a17c0de);
	count = stop(self);
	ASSERT_LT(0, count);
	for (i = 1; i <= count; i++)
		ASSERT_TRUE(in_kernel_text(self->area[i] - 1));
	EXPECT_TRUE(covers_syscall(self->area, "prctl"));

	memset(self->area, 0, 4 * COVER_WORDS * sizeof(uint64_t));
	ASSERT_EQ(0, kcov_enable(self->fd, KCOV_TRACE_CMP));
	prctl_with(0x5a17c0de);
	ASSERT_LT(0, stop(self));
	EXPECT_LT(0, occurs(self, CONSTANT(2), PR_SET_NAME, 0x5a17c0de));
}

/* A full buffer holds whole records only: the remaining words at its end stay untouched. */
TEST(full_buffer_holds_whole_records)
{
	enum { WORDS = 512, RECORDS = (WORDS - 1) / WORDS_PER_CMP };
	static uint64_t copy[WORDS];
	uint64_t i, *area;
	int fd = kcov_open_mapped(WORDS, &area);
	long ret;

	if (code_missing())
		SKIP(return, "%s", code_missing());
	ASSERT_LE(0, fd);
	for (i = 1; i < WORDS; i++)
		area[i] = 0x5a5a0000 + i;
	ret = kcov_enable(fd, KCOV_TRACE_CMP);
	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
	for (i = 0; i < 4; i++)
		use_the_kernel();
	memcpy(copy, area, sizeof(copy));
	use_the_kernel();
	ASSERT_EQ(0, kcov_disable(fd));
	EXPECT_EQ(0, memcmp(copy, area, sizeof(copy)));
	EXPECT_EQ(RECORDS, copy[0]);
	for (i = 0; i < RECORDS; i++)
		EXPECT_GE(7, copy[1 + WORDS_PER_CMP * i]);
	for (i = 1 + WORDS_PER_CMP * RECORDS; i < WORDS; i++)
		EXPECT_EQ(0x5a5a0000 + i, copy[i]);
}

static uint64_t count_of_pc(const struct record *records, uint64_t count, uint64_t pc)
{
	uint64_t i, found = 0;

	for (i = 0; i < count; i++)
		found += records[i].pc == pc;
	return found;
}

/* A switch with more cases than fit into the buffer is recorded in part. */
TEST(switch_stops_at_the_end)
{
	enum { WORDS = 4096, RECORDS = (WORDS - 1) / WORDS_PER_CMP };
	const int option = 0x5a17c0de;
	uint64_t i, pc, cases, found, start, *area;
	int fd = kcov_open_mapped(WORDS, &area);
	struct record *records;
	long ret;

	if (traces_missing())
		SKIP(return, "%s", traces_missing());
	ASSERT_LE(0, fd);
	ret = kcov_enable(fd, KCOV_TRACE_CMP);
	if (ret == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_EQ(0, ret);
	prctl_with(option);
	ASSERT_EQ(0, kcov_disable(fd));
	records = (struct record *)(area + 1);
	pc = switch_pc(records, cover_count(area), option);
	ASSERT_NE(0, pc);
	cases = count_of_pc(records, cover_count(area), pc);

	/* Space for as many records; those before the switch take some of it. */
	start = RECORDS - cases;
	memset(area, 0x5a, WORDS * sizeof(*area));
	area[0] = start;
	ASSERT_EQ(0, kcov_enable(fd, KCOV_TRACE_CMP));
	/* Resets the count, so that records of an interrupt do not take space. */
	area[0] = start;
	prctl_with(option);
	ASSERT_EQ(0, kcov_disable(fd));
	EXPECT_EQ(RECORDS, cover_count(area));
	found = count_of_pc(records + start, cases, pc);
	EXPECT_LT(0, found);
	EXPECT_GT(cases, found);
	EXPECT_TRUE(well_formed(&records[RECORDS - 1]));
	if (takes_room_at_once()) {
		EXPECT_EQ(pc, records[RECORDS - 1].pc);
	}
	for (i = 1; i < 1 + WORDS_PER_CMP * start; i++)
		ASSERT_EQ(0x5a5a5a5a5a5a5a5a, area[i]);
	for (i = 1 + WORDS_PER_CMP * RECORDS; i < WORDS; i++)
		ASSERT_EQ(0x5a5a5a5a5a5a5a5a, area[i]);
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
