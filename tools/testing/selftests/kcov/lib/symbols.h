/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The running kernel's functions by name, and its code by address.
 *
 * Every address here is canonical: the address in System.map, whatever base was chosen at boot.
 */
#ifndef KCOV_SELFTEST_SYMBOLS_H
#define KCOV_SELFTEST_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Must be called before the first test: the harness runs every test in a child of its own, and
 * reading the symbols takes longer than all tests.
 */
void symbols_load(void);
/* Returns NULL if the symbols can be used, or the reason why not. */
const char *symbols_missing(void);
/* Returns NULL if the kernel's functions can be found in traces, or the reason why not. */
const char *traces_missing(void);
/* Returns the distance by which the kernel was moved at boot. */
uint64_t symbols_offset(void);
/* Return the start and the size in bytes of the kernel image's code, without modules. */
uint64_t kernel_text_start(void);
uint64_t kernel_text_size(void);
/*
 * Returns the lowest address that modules are loaded to while there is space; 0 if it is not known.
 */
uint64_t modules_start(void);
/* Returns whether the address is in the kernel image; false for modules. */
bool in_kernel_text(uint64_t address);
bool in_module_text(uint64_t address);
/* Returns the address after the last module, or 0 if no module is loaded. */
uint64_t module_text_end(void);
/* Returns whether the module @name is loaded; false if it is built in. */
bool module_loaded(const char *name);
/* Returns the name of the function at @address, even in a loadable module, or "?". */
const char *symbol_at(uint64_t address);
/* Returns whether a function of this name exists. */
bool symbol_exists(const char *name);
/* Returns the address of the function with exactly this name, or 0 if it does not exist. */
uint64_t symbol_address(const char *name);

/*
 * Returns whether one of the PCs of a trace is in the function @name. The suffixes that compilers
 * append to a function's name are ignored.
 */
bool covers(const uint64_t *area, const char *name);
/* Does the same for the system call @name, with any prefix of its functions. */
bool covers_syscall(const uint64_t *area, const char *name);

/* Returns the number of a trace's records of the entry of the function @name. */
uint64_t times_covered(const uint64_t *area, const char *name);

/* Keeps one record of each PC, so that a long trace can be searched quickly. */
void cover_unique(uint64_t *area);

/*
 * Reads the kernel's code from the ELF file that the environment variable KCOV_VMLINUX names, or
 * else from /proc/kcore. Returns NULL, or the reason why it cannot.
 */
const char *text_missing(void);
bool text_read(uint64_t address, void *data, size_t size);
/*
 * Returns whether the instruction that ends at @address calls the function @name. Known only for
 * architectures for which call_decoder_missing() returns NULL.
 */
bool called_before(uint64_t address, const char *name);
const char *call_decoder_missing(void);
/*
 * Does the same for a hook. If a function ends with it, GCC makes the call a jump, and the record
 * is the address after the call of that function.
 */
bool hook_called_before(uint64_t address, const char *name);

#endif
