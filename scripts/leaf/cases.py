# SPDX-License-Identifier: GPL-2.0
"""
Small x86_64 programs with good hooks and with deliberately bad hooks, and the expected result of the check for each.
"""

import re
from collections import namedtuple

# expect: words that a violation must contain, or None if there must be no violation; flags: for the compiler of the
# object.
Case = namedtuple("Case", "name expect source flags")

_HEAD = r"""
typedef unsigned long u64;
struct task { unsigned int mode, size; volatile u64 *area; void (*fn)(void); u64 big[32]; };
extern struct task *current_task;
extern void outside(void);
extern void panic_fmt(void) __asm__("_RNvNtCs_4core9panicking9panic_fmt");
#define barrier() __asm__ volatile("" ::: "memory")
#define IP ((u64)__builtin_return_address(0))
#define HOOK(name) void __sanitizer_cov_trace_##name
void *memcpy(void *, const void *, u64);
"""

_PC = r"""
HOOK(pc)(void)
{
	struct task *t = current_task;
	volatile u64 *area;
	u64 ip = IP, pos;

	if (t->mode != 2)
		return;
	BEFORE;
	area = t->area;
	pos = area[0] + 1;
	if (pos < t->size) {
		STORES;
	}
}
"""

_CMP = r"""
static __attribute__((INLINE)) void record(u64 type, u64 a, u64 b, u64 ip)
{
	struct task *t = current_task;
	volatile u64 *area;
	u64 count, at;

	if (t->mode != 3)
		return;
	area = t->area;
	count = area[0];
	if (count >= t->size / 4)
		return;
	at = 1 + count * 4;
	if (at + 4 <= t->size) {
		CMP_STORES;
	}
}
#define CMP(name, bits, type) \
	HOOK(name)(unsigned bits a, unsigned bits b) { record(type, a, b, IP); }
CMP(cmp1, char, 0) CMP(cmp2, short, 2) CMP(cmp4, int, 4) CMP(cmp8, long, 6)
CMP(const_cmp1, char, 1) CMP(const_cmp2, short, 3) CMP(const_cmp4, int, 5) CMP(const_cmp8, long, 7)
HOOK(switch)(u64 value, u64 *cases)
{
	u64 i;

	for (i = 0; i < cases[0]; i++)
		record(cases[1] | 1, cases[i + 2], value, IP);
}
"""

_BATCH = r"""
HOOK(switch)(u64 value, u64 *cases)
{
	struct task *t = current_task;
	volatile u64 *area, *at;
	u64 ip = IP, count, room, n, i;

	if (t->mode != 3)
		return;
	area = t->area;
	count = area[0];
	room = t->size / 4;
	if (count >= room)
		return;
	n = cases[0] < room - count ? cases[0] : room - count;
	at = area + 1 + 4 * count;
	BATCH_STORES;
}
"""

_STORES = "area[0] = pos; barrier(); area[pos] = ip"
_CMP_STORES = ("area[0] = count + 1; barrier(); area[at] = type; area[at + 1] = a; area[at + 2] = b; "
               "area[at + 3] = ip")
_BATCH_COUNT = "area[0] = count + n; barrier(); "
_BATCH_LOOP = ("for (i = 0; i < n; i++, at += 4) { at[0] = cases[1] | 1; at[1] = cases[i + 2]; at[2] = value; "
               "at[3] = ip; }")


def _pc(before="", stores=_STORES, extra=""):
    return _HEAD + extra + _PC.replace("BEFORE;", before).replace("STORES;", stores + ";")


# Edges: the last PC, the flag of a busy hook, the count and the record.
_EDGE = r"""
extern u64 moved;
HOOK(pc)(void)
{
	struct task *t = current_task;
	volatile unsigned int *busy = (volatile unsigned int *)&t->big[1];
	volatile u64 *area, *number = &t->big[0], *records;
	u64 ip = IP, last, count;

	if (t->mode != 2)
		return;
	area = t->area;
	last = area[0];
	if (last < t->size) {
		area[0] = last + 1;
		area[last + 1] = ip;
		return;
	}
	LAST;
	if (area[4] == last)
		return;
	RECORD;
}
"""
_LAST = "area[0] = ip + *number"
_RECORD = "records = (u64 *)t->big[2]; count = area[2]; area[2] = count + 1; records[count] = last; records[count + 1] = ip"


def _edge(last=_LAST, record=f"*busy = 1; {_RECORD}; *busy = 0"):
    return _HEAD + _EDGE.replace("LAST;", last + ";").replace("RECORD;", record + ";")


def _cmp(stores=_CMP_STORES, inline="always_inline"):
    return _pc() + _CMP.replace("CMP_STORES;", stores + ";").replace("INLINE", inline)


def _batch(stores=_BATCH_COUNT + _BATCH_LOOP):
    hooks = _cmp()
    return hooks[:hooks.index("HOOK(switch)")] + _BATCH.replace("BATCH_STORES;", stores + ";")


def _sections(**parts):
    parts = {"HEADER": _HEADER, "FIELDS": f"{_PAUSED_FIELDS}; {_ARM}", "AFTER": "", "DISARM": _DISARM, "SOFTIRQ": "1",
             "STOP": f"{_DISARM}; {_PAUSED_FIELDS}", "INLINE": "always_inline", "HELPERS": "", **parts}
    return _pc() + re.sub("|".join(rf"\b{part}\b" for part in parts), lambda match: parts[match[0]], _SECTIONS)


# Appends records to a buffer: PCs that are not in a set, or a piece of memory.
_MERGE = r"""
struct trace { u64 *start, capacity, dropped; volatile u64 *set; };
void append(struct trace *t, const u64 *from, u64 n) __asm__("_RNvMs0_NtC4kcov6layoutNtB5_6Layout6append");
void append(struct trace *t, const u64 *from, u64 n)
{
	u64 count = t->start[0], added = 0, i;

	for (i = 0; t->set && i < n; i++) {
		if (t->set[from[i] / 64] >> from[i] % 64 & 1)
			continue;
		if (count + added >= t->capacity) {
			t->dropped++;
			continue;
		}
		t->set[from[i] / 64] |= 1UL << from[i] % 64;
		((volatile u64 *)t->start)[1 + count + added++] = from[i];
	}
	if (!t->set) {
		added = n < t->capacity - count ? n : t->capacity - count;
		memcpy(t->start + 1 + count, from, 8 * added);
		t->dropped += n - added;
	}
	if (!added)
		return;
	PUBLISH;
}
"""
# Appends edges that the table does not have. The count is the third word.
_MERGE_EDGES = r"""
void append_edges(struct trace *t, const u64 *from, u64 n) __asm__("_RNvMs0_NtC4kcov6layoutNtB5_6Layout12append_edges");
void append_edges(struct trace *t, const u64 *from, u64 n)
{
	volatile u64 *start = t->start;
	u64 count, added = 0, i;

	if (start[0] < 2) {
		start[2] = 0;
		start[0] = 2;
	}
	count = start[2];
	for (i = 0; i < n; i++) {
		if (t->set[from[i] % 64] == from[i])
			continue;
		t->set[from[i] % 64] = from[i];
		start[100 + count + added++] = from[i];
	}
	if (!added)
		return;
	PUBLISH;
}
"""
COUNT_EDGES = "start[2] = count + added"
WMB = "rust_helper_smp_wmb()"
COUNT = "*(volatile u64 *)t->start = count + added"
# Stores the last record once more.
LATE = "((volatile u64 *)t->start)[count + added] = from[n - 1]"


def merge(publish=f"{WMB}; {COUNT}"):
    return f"void rust_helper_smp_wmb(void);\n{_MERGE}".replace("PUBLISH;", publish + ";")


def _merge_edges(publish=f"{WMB}; {COUNT_EDGES}"):
    return _sections() + merge() + _MERGE_EDGES.replace("PUBLISH;", publish + ";")


# A task whose recording has the offsets in _OFFSETS, and the start and the stop of a section.
OFFSET_CONSTANTS = "".join(f"pub(crate) const {name}: usize = {value};\n" for name, value in (
    ("TASK_KCOV_CTX", 0x850), ("KCOV_CTX_MODE", 0), ("KCOV_CTX_SOFTIRQ", 4), ("KCOV_CTX_CAPACITY", 8),
    ("KCOV_CTX_AREA", 16), ("KCOV_CTX_LAYOUT", 24), ("KCOV_CTX_SECTION", 32)))
_SECTIONS = r"""
struct recording { unsigned int mode, softirq, capacity; u64 *area; void *layout; struct header *section; };
struct running { char other[0x850]; volatile struct recording ctx; };
struct header { u64 words, target[4], *count; struct recording outer; unsigned int missed[2]; };
extern void *lend(u64 size);
extern void give_back(struct header *header);
HELPERS

static __attribute__((INLINE)) void begin(struct running *t, struct header *h, u64 handle, unsigned int softirq)
{
	struct recording inner = { handle >> 8, softirq, handle >> 16, h->count, &h->count, h };

	HEADER;
	barrier();
	FIELDS;
	AFTER;
}
static __attribute__((always_inline)) void start(struct running *t, u64 handle, unsigned int softirq)
{
	unsigned int mode = t->ctx.mode;
	struct header *h;

	DISARM;
	h = lend(handle);
	if (h)
		begin(t, h, handle, softirq);
	else
		t->ctx.mode = mode;
}
void kcov_remote_start(u64 handle)
{
	struct running *t = (void *)current_task;

	if (handle & 1)
		start(t, handle, SOFTIRQ);
	else
		start(t, handle, 0);
}
void kcov_remote_stop(void)
{
	struct running *t = (void *)current_task;
	struct header *h = t->ctx.section;
	struct recording inner;

	if (!h)
		return;
	inner = h->outer;
	STOP;
	give_back(h);
	t->ctx.mode = inner.mode;
}
"""

_HEADER = ("h->target[0] = handle; h->target[1] = handle + 1; h->target[2] = handle * 3; h->target[3] = 7; "
           "h->missed[0] = h->missed[1] = 0; h->outer.mode = 3; h->outer.softirq = t->ctx.softirq; "
           "h->outer.capacity = t->ctx.capacity; h->outer.area = t->ctx.area; h->outer.section = t->ctx.section")
_PAUSED_FIELDS = ("t->ctx.softirq = inner.softirq; t->ctx.capacity = inner.capacity; t->ctx.area = inner.area; "
                  "t->ctx.layout = inner.layout; t->ctx.section = inner.section")
_ARM = "t->ctx.mode = inner.mode"
_DISARM = "t->ctx.mode = 0"
_BY_ADDRESS = r"""
struct paused { struct running *task; unsigned int mode; };
static __attribute__((noinline)) void go_on(struct paused *paused) { paused->task->ctx.mode = paused->mode; }
"""


def _asm(text):
    return '__asm__ volatile("' + text.replace("%", "%%").replace("\n", "\\n") + '" ::: "memory", "rax");'


def _static_branch(target):
    return (r"""
	__asm__ goto("1: .byte 0x0f,0x1f,0x44,0x00,0x00\n.pushsection __jump_table,\"aw\"\n.balign 8\n"
		     ".long 1b - ., %l[on] - .\n.quad 0\n.popsection" :::: on);
	if (0) {
on:		""" + target + r""";
	}
""")


def _alternative(replacement):
    return _asm(f'''1: nopl 8(%rax)
 nop
2:
.pushsection .altinstructions,\\"a\\"
.long 1b - .\n.long 3f - .\n.long 0\n.byte 2b - 1b\n.byte 4f - 3f
.popsection
.pushsection .altinstr_replacement,\\"ax\\"
3: {replacement}
4: .popsection''')


_JUMP_TABLE = _asm('''and $1, %eax\n jmp *1f(,%rax,8)\n2: nop\n3:
.pushsection .rodata\n.balign 8\n1: .quad 2b, 3b\n.popsection''')
_HELPER = "static __attribute__((noinline)) void helper(struct task *t) { if (t->size > 7) panic_fmt(); barrier(); }"
# clang does not instrument functions whose names begin with __sanitizer.
_PLAIN_HELPER = "static __attribute__((noinline)) void helper(struct task *t) { if (t->size > 7) barrier(); }"
_STUB = r"""
__asm__(".globl __sanitizer_cov_trace_pc\n.type __sanitizer_cov_trace_pc,@function\n"
	"__sanitizer_cov_trace_pc: mov (%rsp), %rdi\n jmp record_pc\n"
	".size __sanitizer_cov_trace_pc, . - __sanitizer_cov_trace_pc\n");
void record_pc(u64 ip)
{
	struct task *t = current_task;
	volatile u64 *area = t->area;
	u64 pos = area[0] + 1;

	if (t->mode == 2 && pos < t->size) {
		area[0] = pos;
		area[pos] = ip;
	}
}
"""
_LOOSE = r"""
void unused_slow_path(void) { __asm__ volatile("call __sanitizer_cov_trace_pc"); }
"""

CASES = [
    Case("all hooks, inlined", None, _cmp(), ""),
    Case("all hooks, with a helper function", None, _cmp(inline="noinline"), ""),
    Case("entry in assembly that jumps to a function", None, _HEAD + _STUB, ""),
    Case("return through the return thunk", None,
         _pc(_asm("test %eax, %eax\n jne __x86_return_thunk")), ""),
    Case("return through the return thunk, by its other name", None,
         _pc(_asm("test %eax, %eax\n jne __pi_retbleed_return_thunk")), ""),
    Case("static branch to code of the object", None, _pc(_static_branch("barrier()")), ""),
    Case("alternative without a call", None, _pc(_alternative("nop")), ""),
    Case("batch of records", None, _batch(), ""),
    Case("batch of records, unrolled", None, _batch(), "-O3 -funroll-loops"),
    Case("batch of records, two at a time", None, _batch(
        _BATCH_COUNT + "if (n & 1) { at[0] = 5; at[1] = cases[2]; at[2] = value; at[3] = ip; at += 4; cases++; } "
        "for (i = n / 2; i; i--, at += 8, cases += 2) { at[0] = 5; at[1] = cases[2]; at[2] = value; at[3] = ip; "
        "at[4] = 5; at[5] = cases[3]; at[6] = value; at[7] = ip; }"), ""),
    Case("jump table", None, _pc(_JUMP_TABLE), ""),
    Case("edge", None, _edge(), ""),
    Case("edge, the kernel's code is moved", None, _edge(last="ip -= moved; area[0] = ip + *number"), ""),

    Case("edge while the hook is not busy", "stores a word of an edge while it is not busy", _edge(record=_RECORD), ""),
    Case("edge before the hook is busy", "stores a word of an edge while it is not busy",
         _edge(record=f"{_RECORD}; *busy = 1; *busy = 0"), ""),
    Case("edge after the hook was busy", "stores a word of an edge while it is not busy",
         _edge(record=f"*busy = 1; *busy = 0; {_RECORD}"), ""),
    Case("hook that stays busy", "can return while it is busy with an edge", _edge(record=f"*busy = 1; {_RECORD}"), ""),
    Case("flag of a busy hook, twice", "sets the flag of a busy hook out of order",
         _edge(record=f"*busy = 1; *busy = 1; {_RECORD}; *busy = 0"), ""),
    Case("last PC without a number", "can store a word before the count|overwrites the count", _edge(last="area[0] = ip"), ""),

    Case("call to an outside function", r"calls outside\b.*not in the implementation's object",
         _pc("outside();"), ""),
    Case("conditional jump to an outside function", r"jumps to outside\b",
         _pc(_asm("test %eax, %eax\n jne outside")), ""),
    Case("copy by memcpy", r"calls memcpy\b", _pc("memcpy(t->big, t->big + 16, t->size);"), ""),
    Case("indirect call", "makes an indirect call", _pc("t->fn();"), ""),
    Case("indirect call by a thunk", "indirect call or jump",
         _pc(_asm("call __x86_indirect_thunk_rax")), ""),
    Case("indirect jump", "makes an indirect jump", _pc(_asm("jmp *%rax")), ""),
    Case("jump table to elsewhere", "makes an indirect jump",
         _pc(_JUMP_TABLE.replace(".quad 2b, 3b", ".quad outside, outside")), ""),
    Case("ud2", "raise an exception on purpose", _pc("if (t->size > 5) __builtin_trap();"), ""),
    Case("panic in a helper function", r"calls _RNv.*panic_fmt.*it can panic|jumps to _RNv.*it can panic",
         _pc("helper(t);", extra=_HELPER), ""),
    Case("hook instrumented itself", "helper.*the implementation is instrumented",
         _pc("helper(t);", extra=_PLAIN_HELPER), "-fsanitize-coverage=trace-pc"),
    Case("instrumented slow path, reached by no hook", "is instrumented: it calls __sanitizer_cov_trace_pc",
         _pc(extra=_LOOSE), ""),
    Case("function tracer's call", "is instrumented.*__fentry__|__fentry__.*is instrumented", _pc(),
         "-pg -mfentry"),
    Case("function tracer's patch place", "patched by the function tracer",
         _pc(_asm('1: nop\n.pushsection __mcount_loc,\\"a\\"\n.quad 1b\n.popsection')), ""),
    Case("stack protector", "stack protector", _pc("volatile char b[64]; b[t->size] = 1;"),
         "-fstack-protector-all"),
    Case("static branch to an outside function", r"leads by a static branch to outside\b|calls outside\b",
         _pc(_static_branch("outside()")), ""),
    Case("static branch straight out", r"leads by a static branch to outside\b", _pc(_asm(
        '1: .byte 0x0f,0x1f,0x44,0x00,0x00\n.pushsection __jump_table,\\"aw\\"\n.balign 8\n'
        '.long 1b - ., outside - .\n.quad 0\n.popsection')), ""),
    Case("alternative with a call", r"calls outside\b", _pc(_alternative("call outside")), ""),
    Case("exception fix-up out of the object", "leads by an exception fix-up to outside", _pc(_asm(
        '1: mov (%rax), %rax\n.pushsection __ex_table,\\"a\\"\n'
        '.long 1b - ., outside - ., 0\n.popsection')), ""),

    Case("counter next to the trace when there is no room", None, _pc(
        "if (pos_of(t) >= t->size) { ((u64 *)t->fn)[3]++; return; }",
        extra="#define pos_of(t) ((volatile u64 *)(t)->area)[0]\n"), ""),
    Case("counter next to the trace before the PC", "not in the area|before the count",
         _pc(stores="area[0] = pos; ((u64 *)t->fn)[3]++; area[pos] = ip"), ""),
    Case("PC stored before the count", "before the count",
         _pc(stores="area[pos] = ip; barrier(); area[0] = pos"), ""),
    Case("PC stored before the count on one path", "before the count", _pc(
        stores="if (ip & 1) { area[0] = pos; area[pos] = ip; } else { area[pos] = ip; area[0] = pos; }"), ""),
    Case("count without a PC on one path", "0 of 1 words",
         _pc(stores="area[0] = pos; if (ip & 1) area[pos] = ip"), ""),
    Case("PC in the wrong place", "outside the record", _pc(stores="area[0] = pos; area[pos + 1] = ip"), ""),
    Case("wrong count", "the count", _pc(stores="area[0] = pos + 1; area[pos] = ip"), ""),
    Case("store to another object", "not in the area|before the count",
         _pc(stores="area[0] = pos; ((volatile u64 *)t->fn)[3] = 1; area[pos] = ip"), ""),
    Case("nothing stored", "stores no record", _pc(stores="(void)ip"), ""),
    Case("comparison stored before the count", "before the count", _cmp(
        "area[at] = type; area[0] = count + 1; barrier(); area[at + 1] = a; area[at + 2] = b; area[at + 3] = ip"),
         ""),
    Case("comparison with three words", "3 of 4 words", _cmp(
        "area[0] = count + 1; barrier(); area[at] = type; area[at + 1] = a; area[at + 2] = b"), ""),
    Case("comparison counted as a number of them", "before the count.*plus one",
         _cmp("area[0] = count + ip; barrier(); area[at] = type; area[at + 1] = a; area[at + 2] = b; "
              "area[at + 3] = ip").partition("HOOK(switch)")[0] + _batch()[_batch().index("HOOK(switch)"):], ""),

    Case("batch: a word stored before the count", "before the count",
         _batch("at[0] = 5; barrier(); " + _BATCH_COUNT + _BATCH_LOOP), ""),
    Case("batch: a record stored before the count", "before the count", _batch(
        "at[0] = 5; at[1] = cases[2]; at[2] = value; at[3] = ip; barrier(); " + _BATCH_COUNT
        + "at += 4; cases++; n--; " + _BATCH_LOOP), ""),
    Case("batch: count stored after the loop", "before the count",
         _batch(_BATCH_LOOP + " barrier(); " + _BATCH_COUNT), ""),
    Case("batch: count stored after the loop on one path", "before the count",
         _batch("if (ip & 1) { " + _BATCH_COUNT + _BATCH_LOOP + " } else { " + _BATCH_LOOP + _BATCH_COUNT + " }"),
         ""),
    Case("batch: no count on one path", "before the count",
         _batch("if (ip & 1) { " + _BATCH_COUNT + "} " + _BATCH_LOOP), ""),
    Case("batch: count stored to another object", "before the count.*plus a number",
         _batch("*(volatile u64 *)t->fn = count + n; barrier(); " + _BATCH_LOOP), ""),
    Case("batch: count stored to another word of the area", "before the count.*plus a number",
         _batch("area[1] = count + n; barrier(); " + _BATCH_LOOP), ""),
    Case("batch: count that is the number alone", "before the count.*plus a number",
         _batch("area[0] = n; barrier(); " + _BATCH_LOOP), ""),
    Case("batch: count plus the number plus one", "before the count.*plus a number",
         _batch("area[0] = count + n + 1; barrier(); " + _BATCH_LOOP), ""),
    Case("batch: half of the count", "before the count.*plus a number",
         _batch("*(volatile unsigned *)area = count + n; barrier(); " + _BATCH_LOOP), ""),
    Case("batch: count stored twice", "a count twice",
         _batch(_BATCH_COUNT + _BATCH_LOOP + " " + _BATCH_COUNT), ""),
    Case("batch: count overwritten in the loop", "outside the records",
         _batch(_BATCH_COUNT + _BATCH_LOOP.replace("at[3] = ip;", "at[3] = ip; area[0] = n;")), ""),
    Case("batch: begins a word too low", "outside the records|a record twice",
         _batch("at--; " + _BATCH_COUNT + _BATCH_LOOP), ""),
    Case("batch: begins a record too low", "outside the records",
         _batch("at -= 4; " + _BATCH_COUNT + _BATCH_LOOP), ""),
    Case("batch: begins at the area's first record", "outside the records",
         _batch("at = area + 1; " + _BATCH_COUNT + _BATCH_LOOP), ""),
    Case("batch: goes downwards", "outside the records",
         _batch(_BATCH_COUNT + _BATCH_LOOP.replace("at += 4", "at -= 4")), ""),
    Case("batch: records of five words", "outside the records",
         _batch(_BATCH_COUNT + _BATCH_LOOP.replace("at += 4", "at += 5")), ""),
    Case("batch: three words of each record", "twice, or leaves a record incomplete|3 of 4 words",
         _batch(_BATCH_COUNT + _BATCH_LOOP.replace("at[1] = cases[i + 2]; ", "")), ""),
    Case("batch: last record left incomplete", "1 of 4 words",
         _batch(_BATCH_COUNT + _BATCH_LOOP.replace("at[1]", "if (cases[i + 2] == value) return; at[1]")), ""),
    Case("batch: half of a word", "a part of a word",
         _batch(_BATCH_COUNT + _BATCH_LOOP.replace("at[2] =", "*(volatile unsigned *)(at + 2) =")), ""),
    Case("batch: store to another object", "not in the area",
         _batch(_BATCH_COUNT + _BATCH_LOOP.replace("at[2] =", "((volatile u64 *)t->fn)[i] =")), ""),

    Case("section", None, _sections(), ""),
    Case("section, optimised for size", None, _sections(), "-Os"),
    Case("section, with frame pointers", None, _sections(), "-fno-omit-frame-pointer"),
    Case("section, with return thunks", None, _sections(), "-mfunction-return=thunk-extern"),
    Case("section, with a helper function", None, _sections(INLINE="noinline"), ""),
    Case("section, with the pause in an object", None, _sections(
        HELPERS=_BY_ADDRESS,
        FIELDS=f"struct paused paused = {{ t, inner.mode }}; outside(); {_PAUSED_FIELDS}; go_on(&paused)"), ""),
    Case("section: a call while its header is written", None, _sections(HEADER=f"{_HEADER}; give_back(h)"), ""),
    Case("section: header stored after the pointer", "to the header of a section after",
         _sections(AFTER="*(volatile unsigned int *)h->missed = 0"), ""),
    Case("section: header stored after the pointer, before the mode", "to the header of a section after",
         _sections(FIELDS=f"{_PAUSED_FIELDS}; *(volatile u64 *)h->target = 1; {_ARM}"), ""),
    Case("section: header stored after the pointer on one path", "to the header of a section after",
         _sections(AFTER="if (handle & 64) { outside(); h->missed[1] = handle; }"), ""),
    Case("section: header stored after the pointer by a helper", "to the header of a section after", _sections(
        HELPERS="static __attribute__((noinline)) void late(volatile u64 *target) { target[1] = 5; }",
        AFTER="late(h->target)"), ""),
    Case("section: count that the header leads to", "to the header of a section after",
         _sections(AFTER="*(volatile u64 *)h->count = 0"), ""),
    Case("section: all of the header stored after the pointer", "after 0 stores to its header",
         _sections(HEADER="", AFTER=_HEADER), ""),
    Case("section: short header", "after [0-7] stores to its header", _sections(HEADER="h->words = handle"), ""),
    Case("section: store to a place that is not known", "the place is unknown",
         _sections(AFTER="**(u64 *volatile *)handle = 1"), ""),
    Case("section: header passed on after the pointer", "can pass the header", _sections(AFTER="give_back(h)"), ""),
    Case("section: mode not 0", "stores the section .* while the mode may not be 0", _sections(DISARM=""), ""),
    Case("section: mode not 0 on one path", "stores the section .* while the mode may not be 0",
         _sections(DISARM=f"if (handle & 4) {_DISARM}"), ""),
    Case("section: mode set to another value", "stores a mode that may not be 0", _sections(DISARM="t->ctx.mode = 4"),
         ""),
    Case("section: pointer before the mode is 0", "stores the section .* while the mode may not be 0",
         _sections(DISARM="", FIELDS=f"t->ctx.section = h; {_DISARM}; {_PAUSED_FIELDS}; {_ARM}"), ""),
    Case("section: mode before a field", "sets the mode before area",
         _sections(FIELDS=_PAUSED_FIELDS.replace("t->ctx.area = inner.area", _ARM) + "; t->ctx.area = inner.area"), ""),
    Case("section: mode without a field", "sets the mode before layout",
         _sections(FIELDS=_PAUSED_FIELDS.replace("t->ctx.layout = inner.layout;", "") + f"; {_ARM}"), ""),
    Case("section: half of a field", "a part of a recording's field",
         _sections(FIELDS=f"*(volatile unsigned int *)&t->ctx.section = 0; {_PAUSED_FIELDS}; {_ARM}"), ""),
    Case("section: another task", "recordings of two tasks",
         _sections(FIELDS=f"((struct running *)h->words)->ctx.mode = 0; {_PAUSED_FIELDS}; {_ARM}"), ""),
    Case("section: left without a mode and fields", "can return after storing only softirq",
         _sections(FIELDS="t->ctx.softirq = softirq; if (handle & 32) return; " + f"{_PAUSED_FIELDS}; {_ARM}"), ""),
    Case("section: none", "publishes a section of a task nowhere",
         _sections(FIELDS=_PAUSED_FIELDS.replace("inner.section", "0") + f"; {_ARM}"), ""),
    Case("section: none of a softirq", "publishes a section of a softirq nowhere", _sections(SOFTIRQ="0"), ""),
    Case("section: none is restored", "restores the recording from before a section nowhere", _sections(STOP=""), ""),
    Case("section: restored while the mode is not 0", "kcov_remote_stop.*while the mode may not be 0",
         _sections(STOP=_PAUSED_FIELDS), ""),
    Case("section: restored before the mode is 0", "kcov_remote_stop.*stores the softirq .* may not be 0",
         _sections(STOP=f"t->ctx.softirq = 0; {_DISARM}; {_PAUSED_FIELDS}"), ""),
    Case("merge", None, _sections() + merge(), ""),
    Case("merge, optimised for size", None, _sections() + merge(), "-Os"),
    Case("merge, with frame pointers", None, _sections() + merge(), "-fno-omit-frame-pointer"),
    Case("merge: barrier that is an instruction", None,
         _sections() + merge(f'__asm__ volatile("sfence" ::: "memory"); {COUNT}'), ""),
    Case("merge: no barrier", "the count without a barrier", _sections() + merge(COUNT), ""),
    Case("merge: barrier after the count", "the count without a barrier", _sections() + merge(f"{COUNT}; {WMB}"),
         ""),
    Case("merge: barrier on one path", "the count without a barrier",
         _sections() + merge(f"if (added > 1) {WMB}; {COUNT}"), ""),
    Case("merge: record after the barrier", "a record between the barrier and the count",
         _sections() + merge(f"{WMB}; {LATE}; {COUNT}"), ""),
    Case("merge: record after the count", "a record after the count",
         _sections() + merge(f"{WMB}; {COUNT}; {LATE}"), ""),
    Case("merge: records after the count", "a record after the count",
         _sections() + merge(f"{WMB}; {COUNT}; memcpy(t->start + 1 + count, from, 8 * added)"), ""),
    Case("merge: none", "appends no records", _sections() + "void _RNvC4kcov4some(void) { }", ""),
    Case("merge of edges", None, _merge_edges(), ""),
    Case("merge of edges: no barrier", "the count without a barrier", _merge_edges(COUNT_EDGES), ""),
    Case("merge of edges: record after the count", "a record after the count",
         _merge_edges(f"{WMB}; {COUNT_EDGES}; start[99 + count + added] = 1"), ""),
    Case("section: jump to a place that is not known", "an indirect jump", _sections(AFTER=_asm("jmp *%rax")), ""),
]

# The rest of the program, including functions that hooks must not reach.
REST = r"""
struct task *current_task;
unsigned long moved;
void outside(void) { __asm__ volatile("nop"); }
void rust_helper_smp_wmb(void) { __asm__ volatile("nop"); }
void *lend(unsigned long size) { return (void *)size; }
void give_back(void *header) { outside(); }
void panic_fmt(void) __asm__("_RNvNtCs_4core9panicking9panic_fmt");
void panic_fmt(void) { for (;;) __asm__ volatile("hlt"); }
void *memcpy(void *a, const void *b, unsigned long n)
{
	while (n--)
		((volatile char *)a)[n] = ((char *)b)[n];
	return a;
}
void __stack_chk_fail(void) { panic_fmt(); }
void __fentry__(void) { __asm__ volatile("nop"); }
void __x86_return_thunk(void) { __asm__ volatile("ret"); }
void __pi_retbleed_return_thunk(void) { __asm__ volatile("ret"); }
void __x86_indirect_thunk_rax(void) { __asm__ volatile("jmp *%rax"); }
void __sanitizer_cov_trace_pc(void);
void _start(void) { __sanitizer_cov_trace_pc(); for (;;) __asm__ volatile("hlt"); }
"""
