// SPDX-License-Identifier: GPL-2.0
/*
 * Code in C from the kernel's compiler and code in Rust from rustc are recorded in the same way.
 * The callers are the sample modules, whose device compares its arguments in every way for which a
 * hook exists.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "kcov.h"
#include "symbols.h"

#include "kcov_sample.h"

/* All of these differ from each other and from the constants of the samples. */
static const struct kcov_sample_operands operands = {
	.u64 = { 0x1122334455667788, 0x99aabbccddeeff01 },
	.u32 = { 0x10203040, 0x50607080 },
	.u16 = { 0x2345, 0x6789 },
	.u8 = { 0xab, 0xcd },
};

static const uint64_t cases[] = {
	KCOV_SAMPLE_CASE_A, KCOV_SAMPLE_CASE_B, KCOV_SAMPLE_CASE_C, KCOV_SAMPLE_CASE_D,
};

FIXTURE(caller) {
	uint64_t *area;
	int fd;
	int device;
};

FIXTURE_VARIANT(caller) {
	const char *device;
	/* Parts of the name of the comparing function. */
	const char *module;
};

FIXTURE_VARIANT_ADD(caller, c) {
	.device = "/dev/kcov-sample",
	.module = "kcov_sample_",
};

FIXTURE_VARIANT_ADD(caller, rust) {
	.device = "/dev/rust-kcov-sample",
	.module = "rust_kcov_sample",
};

#define FUNCTION "compare_code"

FIXTURE_SETUP(caller)
{
	if (symbols_missing())
		SKIP(return, "%s", symbols_missing());
	self->device = open(variant->device, O_RDWR);
	if (self->device < 0 && errno == ENOENT)
		SKIP(return, "no %s (CONFIG_SAMPLE_KCOV_MODULE, CONFIG_SAMPLE_KCOV_RUST_MODULE)",
		     variant->device);
	ASSERT_LE(0, self->device);
	self->fd = kcov_open_mapped(COVER_WORDS, &self->area);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(caller)
{
	close(self->device);
	close(self->fd);
}

/* Returns the number of records, or the error of KCOV_ENABLE; -1 if a later call failed. */
static long collect(FIXTURE_DATA(caller) *self, unsigned long mode)
{
	long ret = kcov_enable(self->fd, mode);

	if (ret)
		return ret;
	cover_reset(self->area);
	ret = ioctl(self->device, KCOV_SAMPLE_COMPARE, &operands);
	if (kcov_disable(self->fd) || ret)
		return -1;
	return cover_count(self->area);
}

static bool in_function(const FIXTURE_VARIANT(caller) *variant, uint64_t pc)
{
	const char *name = symbol_at(pc - 1);

	return strstr(name, variant->module) && strstr(name, FUNCTION);
}

/* Returns the number of the function's records with this type and these operands, in this order. */
static int occurs(FIXTURE_DATA(caller) *self, const FIXTURE_VARIANT(caller) *variant,
		  uint64_t type, uint64_t arg1, uint64_t arg2)
{
	const struct record *record = (const struct record *)(self->area + 1);
	uint64_t i, count = cover_count(self->area);
	int found = 0;

	for (i = 0; i < count; i++, record++)
		found += record->type == type && record->arg1 == arg1 &&
			 record->arg2 == arg2 && in_function(variant, record->pc);
	return found;
}

TEST_F(caller, pcs)
{
	uint64_t i, found = 0;
	long count = collect(self, KCOV_TRACE_PC);

	ASSERT_LT(0, count);
	for (i = 1; i <= (uint64_t)count; i++) {
		if (!in_function(variant, self->area[i]))
			continue;
		found++;
		if (!text_missing() && !call_decoder_missing())
			EXPECT_TRUE(hook_called_before(self->area[i],
						       "__sanitizer_cov_trace_pc"));
	}
	EXPECT_LT(0, found)
		TH_LOG("%ld records, none of them in a function %s*" FUNCTION, count,
		       variant->module);
}

TEST_F(caller, variables)
{
	const struct {
		int size;
		uint64_t values[2];
	} wanted[] = {
		{ 0, { operands.u8[0], operands.u8[1] } },
		{ 1, { operands.u16[0], operands.u16[1] } },
		{ 2, { operands.u32[0], operands.u32[1] } },
		{ 3, { operands.u64[0], operands.u64[1] } },
	};
	long count = collect(self, KCOV_TRACE_CMP);
	size_t i;

	if (count == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_LT(0, count);
	for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		uint64_t one = wanted[i].values[0], other = wanted[i].values[1];

		/* The compiler chooses the first operand. */
		EXPECT_EQ(1, occurs(self, variant, VARIABLE(wanted[i].size), one, other) +
			     occurs(self, variant, VARIABLE(wanted[i].size), other, one))
			TH_LOG("%d bytes: %#lx and %#lx", 1 << wanted[i].size, one, other);
	}
}

TEST_F(caller, constants)
{
	const struct {
		int size;
		uint64_t constant, value;
	} wanted[] = {
		{ 0, KCOV_SAMPLE_CONST_U8, operands.u8[0] },
		{ 1, KCOV_SAMPLE_CONST_U16, operands.u16[0] },
		{ 2, KCOV_SAMPLE_CONST_U32, operands.u32[0] },
		{ 3, KCOV_SAMPLE_CONST_U64, operands.u64[0] },
	};
	long count = collect(self, KCOV_TRACE_CMP);
	size_t i;

	if (count == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_LT(0, count);
	for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		uint64_t constant = wanted[i].constant, value = wanted[i].value;

		EXPECT_EQ(1, occurs(self, variant, CONSTANT(wanted[i].size), constant, value))
			TH_LOG("%d bytes: %#lx with the constant %#lx", 1 << wanted[i].size,
			       value, constant);
	}
}

TEST_F(caller, cases)
{
	long count = collect(self, KCOV_TRACE_CMP);
	size_t i;

	if (count == -ENOTSUPP)
		SKIP(return, "no comparisons (CONFIG_KCOV_ENABLE_COMPARISONS)");
	ASSERT_LT(0, count);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t value = cases[i];

		EXPECT_EQ(1, occurs(self, variant, CONSTANT(2), value, operands.u32[1]))
			TH_LOG("the case %#lx", value);
	}
}

int main(int argc, char **argv)
{
	symbols_load();
	return test_harness_run(argc, argv);
}
