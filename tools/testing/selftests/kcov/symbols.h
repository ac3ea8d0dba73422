/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The running kernel's functions by name, and its code by address.
 *
 * Every address here is canonical: where System.map has it, whatever base was
 * chosen at boot.
 */
#ifndef KCOV_SELFTEST_SYMBOLS_H
#define KCOV_SELFTEST_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Before the first test: the harness runs every test in a child of its own, and
 * reading the symbols takes longer than all of them.
 */
void symbols_load(void);
/* NULL when the symbols can be used, or the reason why not. */
const char *symbols_missing(void);
/* NULL when the kernel's functions can be found in traces, or the reason why not. */
const char *traces_missing(void);
/* How far the kernel was moved at boot. */
uint64_t symbols_offset(void);
/* The code of the kernel image, modules apart: where it begins, and its bytes. */
uint64_t kernel_text_start(void);
uint64_t kernel_text_size(void);
/* The lowest address that modules are loaded to while there is room; 0 if not known. */
uint64_t modules_start(void);
/* Modules apart. */
bool in_kernel_text(uint64_t address);
bool in_module_text(uint64_t address);
/* Behind the last module, or 0 if there is none. */
uint64_t module_text_end(void);
/* Whether the module @name is loaded, which one that is built in is not. */
bool module_loaded(const char *name);
/* The name of the function @address lies in, also in a loadable module, or "?". */
const char *symbol_at(uint64_t address);
/* Whether a function of this name exists. */
bool symbol_exists(const char *name);
/* Where the function of just this name begins, or 0 if there is none. */
uint64_t symbol_address(const char *name);

/*
 * Whether one of the PCs of a trace lies in the function @name. The suffixes
 * that compilers append to a function's name do not count.
 */
bool covers(const uint64_t *area, const char *name);
/* The same for the system call @name, whatever its functions' prefixes. */
bool covers_syscall(const uint64_t *area, const char *name);

/* Returns how many of a trace's records are of the entry of the function @name. */
uint64_t times_covered(const uint64_t *area, const char *name);

/* Leaves one record of each PC, so that a long trace is searched in a moment. */
void cover_unique(uint64_t *area);

/*
 * Reads the kernel's code: from the ELF file that the environment variable
 * KCOV_VMLINUX names, or else from /proc/kcore. NULL, or why it cannot.
 */
const char *text_missing(void);
bool text_read(uint64_t address, void *data, size_t size);
/*
 * Whether the instruction that ends at @address calls the function @name.
 * Only known for architectures of which call_decoder_missing() returns NULL.
 */
bool called_before(uint64_t address, const char *name);
const char *call_decoder_missing(void);
/*
 * The same for a hook.  Where a function ends with it, GCC makes a jump of its
 * call, and the record is the address after the call of that function.
 */
bool hook_called_before(uint64_t address, const char *name);

#endif
