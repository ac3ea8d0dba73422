// SPDX-License-Identifier: GPL-2.0
/* The running kernel's functions by name, and its code by address. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kcov.h"
#include "symbols.h"

/* The link-time address of the kernel's first instruction, and its name. */
#if defined(__riscv)
#define FIRST_SYMBOL	"_start"
#else
#define FIRST_SYMBOL	"_text"
#endif
#define SZ_2G		(2ULL << 30)

/* Returns the link-time address of the kernel's image, or 0 if it is not known. */
static uint64_t linked_text(void)
{
#if defined(__x86_64__)
	const uint64_t start = kernel_number("CONFIG_PHYSICAL_START", 0x1000000);
	const uint64_t align = kernel_number("CONFIG_PHYSICAL_ALIGN", 0x200000);

	return -SZ_2G + (start + align - 1) / align * align;
#elif defined(__aarch64__)
	uint64_t bits = kernel_number("CONFIG_ARM64_VA_BITS", 48);

	/* A kernel for 52 bits also runs on CPUs with fewer bits. */
	if (bits > 48)
		bits = kernel_option("CONFIG_ARM64_16K_PAGES") == OPTION_YES ? 47 : 48;
	return -(1ULL << (bits - 1)) + SZ_2G;
#elif defined(__riscv) && __riscv_xlen == 64
	return -SZ_2G;
#else
	return 0;
#endif
}

struct symbol {
	uint64_t address;
	char *name;
};

static struct symbol *symbols;
static size_t symbol_count;
static const char *symbols_problem;
static uint64_t text_start, text_end, image_end, offset;

/* The code of the loadable modules. */
static struct module {
	uint64_t start, end;
	char *name;
} *modules;
static size_t module_count;

static struct {
	int fd;
	bool canonical;
	size_t count;
	Elf64_Phdr *headers;
	const char *problem;
} image = { .fd = -1 };

static int by_address(const void *left, const void *right)
{
	const struct symbol *one = left, *two = right;

	return one->address < two->address ? -1 : one->address > two->address;
}

uint64_t symbol_address(const char *name)
{
	size_t i;

	for (i = 0; i < symbol_count; i++)
		if (!strcmp(symbols[i].name, name))
			return symbols[i].address;
	return 0;
}

static void read_kallsyms(void)
{
	size_t allocated = 0, i;
	char line[512];
	FILE *file = fopen("/proc/kallsyms", "r");

	if (!file) {
		symbols_problem = "no /proc/kallsyms (CONFIG_KALLSYMS)";
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		char name[256], type;
		unsigned long long address;

		if (sscanf(line, "%llx %c %255s", &address, &type, name) < 3)
			continue;
		if (!strcmp(name, "_end"))
			image_end = address;
		if (!strchr("tTwW", type))
			continue;
		if (symbol_count == allocated) {
			allocated = allocated ? 2 * allocated : 1 << 16;
			symbols = realloc(symbols, allocated * sizeof(*symbols));
		}
		symbols[symbol_count].address = address;
		symbols[symbol_count++].name = strdup(name);
	}
	fclose(file);
	text_start = symbol_address("_stext");
	text_end = symbol_address("_etext");
	if (!text_start || !text_end) {
		symbols_problem = "/proc/kallsyms shows no addresses; run as root";
		return;
	}
	/* User-mode Linux is a program in the lower half, and does not move. */
	if (text_start >> 63 && !linked_text()) {
		symbols_problem = "the link address of this architecture is not known";
		return;
	}
	if (text_start >> 63)
		offset = symbol_address(FIRST_SYMBOL) - linked_text();
	text_start -= offset;
	text_end -= offset;
	if (image_end)
		image_end -= offset;
	for (i = 0; i < symbol_count; i++)
		symbols[i].address -= offset;
	/* kallsyms is sorted already, but does not promise to be. */
	qsort(symbols, symbol_count, sizeof(*symbols), by_address);
}

/* Called after the kernel's own symbols were read, which show the offset of KASLR. */
static void read_modules(void)
{
	FILE *file = fopen("/proc/modules", "r");
	char line[4096];

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		unsigned long long address;
		unsigned long size;
		char name[64];

		if (sscanf(line, "%63s %lu %*s %*s %*s %llx", name, &size, &address) < 3)
			continue;
		modules = realloc(modules, (module_count + 1) * sizeof(*modules));
		/* The size includes the data, which follows or is elsewhere. */
		modules[module_count].start = address - offset;
		modules[module_count].end = address - offset + size;
		modules[module_count++].name = strdup(name);
	}
	fclose(file);
}

static void open_image(void)
{
	const char *path = getenv("KCOV_VMLINUX");
	Elf64_Ehdr header;
	size_t size;

	image.canonical = path;
	image.fd = open(path ?: "/proc/kcore", O_RDONLY | O_CLOEXEC);
	if (image.fd < 0) {
		image.problem = path ? "the file that KCOV_VMLINUX names cannot be opened" :
			"the kernel's code cannot be read: no /proc/kcore (CONFIG_PROC_KCORE)";
		return;
	}
	if (pread(image.fd, &header, sizeof(header), 0) != sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG)) {
		image.problem = "the image of the kernel is no ELF file";
		return;
	}
	size = header.e_phnum * sizeof(*image.headers);
	image.headers = malloc(size);
	image.count = header.e_phnum;
	if (pread(image.fd, image.headers, size, header.e_phoff) != (ssize_t)size)
		image.problem = "the image of the kernel has no program headers";
}

void symbols_load(void)
{
	read_kallsyms();
	read_modules();
	open_image();
}

const char *symbols_missing(void)
{
	return symbols_problem;
}

const char *traces_missing(void)
{
	return symbols_problem ?: code_missing();
}

uint64_t symbols_offset(void)
{
	return offset;
}

uint64_t kernel_text_start(void)
{
	return text_start;
}

uint64_t kernel_text_size(void)
{
	return text_end - text_start;
}

/*
 * Returns the address that module_init_limits() of arm64 computes, or MODULES_VADDR of the others.
 */
uint64_t modules_start(void)
{
#if defined(__x86_64__)
	enum option moves = kernel_option("CONFIG_RANDOMIZE_BASE");

	/* User-mode Linux has its modules somewhere after its memory. */
	if (!(text_start >> 63) || moves == OPTION_UNKNOWN)
		return 0;
	return -SZ_2G + (moves == OPTION_YES ? 1ULL << 30 : 512ULL << 20) - offset;
#elif defined(__aarch64__)
	const uint64_t start = symbol_address(FIRST_SYMBOL), near = 128ULL << 20;

	return image_end ? image_end - (image_end - start < near ? near : SZ_2G) : 0;
#elif defined(__riscv) && __riscv_xlen == 64
	return image_end ? ((image_end + 4095) & ~4095ULL) - SZ_2G : 0;
#else
	return 0;
#endif
}

bool in_kernel_text(uint64_t address)
{
	return address >= text_start && address < text_end;
}

bool in_module_text(uint64_t address)
{
	size_t i;

	for (i = 0; i < module_count; i++)
		if (address >= modules[i].start && address < modules[i].end)
			return true;
	return false;
}

uint64_t module_text_end(void)
{
	uint64_t end = 0;
	size_t i;

	for (i = 0; i < module_count; i++)
		if (modules[i].end > end)
			end = modules[i].end;
	return end;
}

bool module_loaded(const char *name)
{
	size_t i;

	for (i = 0; i < module_count; i++)
		if (!strcmp(modules[i].name, name))
			return true;
	return false;
}

static const struct symbol *find(uint64_t address)
{
	size_t low = 0, high = symbol_count;

	if (!in_kernel_text(address) && !in_module_text(address))
		return NULL;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (symbols[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &symbols[low - 1] : NULL;
}

const char *symbol_at(uint64_t address)
{
	const struct symbol *symbol = find(address);

	return symbol ? symbol->name : "?";
}

static bool same_function(const char *symbol, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(symbol, name, len) && (!symbol[len] || symbol[len] == '.');
}

bool symbol_exists(const char *name)
{
	size_t i;

	for (i = 0; i < symbol_count; i++)
		if (same_function(symbols[i].name, name))
			return true;
	return false;
}

bool covers(const uint64_t *area, const char *name)
{
	uint64_t i, count = __atomic_load_n(&area[0], __ATOMIC_ACQUIRE);

	for (i = 1; i <= count; i++)
		if (same_function(symbol_at(area[i] - 1), name))
			return true;
	return false;
}

bool covers_syscall(const uint64_t *area, const char *name)
{
	uint64_t i, count = __atomic_load_n(&area[0], __ATOMIC_ACQUIRE);

	for (i = 1; i <= count; i++) {
		const char *symbol = symbol_at(area[i] - 1);
		const char *tail = strstr(symbol, "sys_");

		if ((symbol[0] == '_' || tail == symbol) && tail && same_function(tail + 4, name))
			return true;
	}
	return false;
}

uint64_t times_covered(const uint64_t *area, const char *name)
{
	uint64_t i, count = __atomic_load_n(&area[0], __ATOMIC_ACQUIRE);
	uint64_t entry = 0, times = 0;

	for (i = 1; i <= count; i++) {
		/* The first record is that of the function's entry. */
		if (!entry && same_function(symbol_at(area[i] - 1), name))
			entry = area[i];
		times += area[i] == entry;
	}
	return times;
}

static int by_value(const void *left, const void *right)
{
	const uint64_t *one = left, *two = right;

	return *one < *two ? -1 : *one > *two;
}

void cover_unique(uint64_t *area)
{
	uint64_t i, count = area[0], kept = 0;

	qsort(area + 1, count, sizeof(*area), by_value);
	for (i = 1; i <= count; i++)
		if (!kept || area[i] != area[kept])
			area[++kept] = area[i];
	area[0] = kept;
}

const char *text_missing(void)
{
	return image.problem;
}

bool text_read(uint64_t address, void *data, size_t size)
{
	size_t i;

	if (!image.canonical)
		address += offset;
	for (i = 0; i < image.count; i++) {
		const Elf64_Phdr *header = &image.headers[i];

		if (header->p_type != PT_LOAD || address < header->p_vaddr ||
		    address + size > header->p_vaddr + header->p_filesz)
			continue;
		return pread(image.fd, data, size,
			     header->p_offset + (address - header->p_vaddr)) == (ssize_t)size;
	}
	return false;
}

#if defined(__x86_64__)
/* Returns the target of a call instruction that ends at @address, or 0. */
static uint64_t call_target(uint64_t address)
{
	unsigned char code[5];
	int32_t displacement;

	if (!text_read(address - sizeof(code), code, sizeof(code)) || code[0] != 0xe8)
		return 0;
	memcpy(&displacement, code + 1, sizeof(displacement));
	return address + displacement;
}

const char *call_decoder_missing(void)
{
	return NULL;
}
#elif defined(__aarch64__)
static uint64_t call_target(uint64_t address)
{
	uint32_t code;

	if (!text_read(address - sizeof(code), &code, sizeof(code)) ||
	    (code & 0xfc000000) != 0x94000000)
		return 0;
	return address - sizeof(code) + ((int32_t)(code << 6) >> 4);
}

const char *call_decoder_missing(void)
{
	return NULL;
}
#elif defined(__riscv) && __riscv_xlen == 64
/* Assembles the number that is scattered over the bits of an instruction. */
static int32_t jump_distance(uint32_t jal)
{
	return ((int32_t)(jal & 0x80000000) >> 11) | (jal & 0xff000) | (jal >> 9 & 0x800) |
	       (jal >> 20 & 0x7fe);
}

static uint64_t call_target(uint64_t address)
{
	/* Either one instruction, or one for the upper and one for the lower bits. */
	uint32_t upper, call;

	if (!text_read(address - sizeof(call), &call, sizeof(call)))
		return 0;
	if ((call & 0xfff) == 0x0ef)
		return address - sizeof(call) + jump_distance(call);
	if ((call & 0xfffff) != 0x080e7 ||
	    !text_read(address - 2 * sizeof(call), &upper, sizeof(upper)) ||
	    (upper & 0xfff) != 0x097)
		return 0;
	return address - 2 * sizeof(call) + (int32_t)(upper & 0xfffff000) + ((int32_t)call >> 20);
}

const char *call_decoder_missing(void)
{
	return NULL;
}
#else
static uint64_t call_target(uint64_t address)
{
	return 0;
}

const char *call_decoder_missing(void)
{
	return "this program cannot decode the calls of this architecture";
}
#endif

/*
 * Returns whether the bytes that end at @address may be a call through a register or through
 * memory.
 */
static bool indirect_call_before(uint64_t address)
{
	/*
	 * The length of such a call, and the positions of its opcode and operand, counted from the
	 * end.
	 */
	static const struct {
		size_t length;
		unsigned char modrm, mask;
	} forms[] = {
		{ 2, 0xd0, 0xf8 },	/* register */
		{ 2, 0x10, 0xf8 },	/* (register) */
		{ 3, 0x50, 0xf8 },	/* disp8(register) */
		{ 6, 0x90, 0xf8 },	/* disp32(register), disp32(%rip) */
		{ 6, 0x15, 0xff },
		{ 7, 0x14, 0xff },	/* disp32(, index, 8) */
	};
	unsigned char code[7];
	size_t i;

	if (!text_read(address - sizeof(code), code, sizeof(code)))
		return false;
	for (i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		const unsigned char *insn = code + sizeof(code) - forms[i].length;

		if (insn[0] == 0xff && (insn[1] & forms[i].mask) == forms[i].modrm)
			return true;
	}
	return false;
}

/*
 * Checks for a call through a register. User-mode Linux loads the address of the callee into a
 * register first, with some instruction between the start of the function and the call.
 */
static bool called_through_register(uint64_t address, const char *name)
{
	static unsigned char code[1 << 18];
	const struct symbol *function;
	uint64_t target;
	size_t size;

	if (text_start >> 63 || !indirect_call_before(address))
		return false;
	function = find(address - 1);
	target = symbol_address(name);
	if (!function || !target)
		return false;
	size = address - function->address;
	return size <= sizeof(code) && text_read(function->address, code, size) &&
	       memmem(code, size, &target, sizeof(target));
}

bool called_before(uint64_t address, const char *name)
{
	uint64_t target = call_target(address);
	const struct symbol *callee = find(target);

	/* A function may have several names. */
	for (; callee && callee >= symbols && callee->address == target; callee--)
		if (!strcmp(callee->name, name))
			return true;
	return called_through_register(address, name);
}

/*
 * Returns whether the function at @start jumps to the hook, because it ends with a call of it, or
 * to a function that does, and so on.
 */
static bool jumps_to(uint64_t start, uint64_t hook, int depth)
{
	unsigned char code[4096];
	const struct symbol *function = find(start);
	size_t size, i;

	if (!function || function->address != start)
		return false;
	while (function < symbols + symbol_count && function->address == start)
		function++;
	size = function->address - start < sizeof(code) ? function->address - start : sizeof(code);
	if (!text_read(start, code, size))
		return false;
	for (i = 0; i + 5 <= size; i++) {
		int32_t displacement;
		uint64_t target;

		memcpy(&displacement, code + i + 1, sizeof(displacement));
		target = start + i + 5 + displacement;
		if (code[i] == 0xe9 &&
		    (target == hook || (depth && jumps_to(target, hook, depth - 1))))
			return true;
	}
	return false;
}

bool hook_called_before(uint64_t address, const char *name)
{
	static bool jumped;

	if (called_before(address, name))
		return true;
	/*
	 * With link-time optimization, clang also lets functions end with a jump to a hook. The
	 * target of a call through memory cannot be determined.
	 */
	if (jumps_to(call_target(address), symbol_address(name), 3)) {
		jumped = true;
		return true;
	}
	if (kernel_built_by_gcc() && in_kernel_text(call_target(address)))
		return true;
	return (jumped || kernel_built_by_gcc()) && indirect_call_before(address);
}
