# SPDX-License-Identifier: GPL-2.0
"""
What the overlay asks of a kernel tree: the edits of files that the tree already has, the interfaces that it
relies on, and the patches in which all of it would be sent. Data only; overlay.py and series.py act on it.
"""

from dataclasses import dataclass
from typing import Tuple

# The first release whose interfaces are known to fit.
OLDEST = (7, 3)


@dataclass(frozen=True)
class Edit:
    """Replaces FIND, which stands exactly once in PATH, by REPLACE."""

    path: str
    find: str
    replace: str
    # What the edit is for; shown when FIND is not there.
    why: str
    # A file of this repository without which the edit makes no sense, and is left out.
    needs: str = ""
    # The patch of the series that it belongs to, where the path does not say it (see PATCHES).
    patch: str = ""
    # The sign that a tree already has the edit, where that is not REPLACE as a whole.
    sign: str = ""


@dataclass(frozen=True)
class Interface:
    """A text that has to stand in PATH, as the sign that the tree offers WHAT."""

    path: str
    text: str
    what: str


@dataclass(frozen=True)
class Patch:
    """One mail of the series: the files below PREFIXES, and the edits that name it."""

    name: str
    subject: str
    body: str
    prefixes: Tuple[str, ...]


def maintainers(patch: str, needs: str, *paths: str, after: str = "", before: str = "") -> Edit:
    """Adds paths to the KCOV entry, next to one that is there: a patch names the files that it adds."""
    added = "".join(f"F:\t{path}\n" for path in paths)
    there = f"F:\t{after or before}\n"
    return Edit(
        "MAINTAINERS",
        "\n" + there,
        "\n" + (there + added if after else added + there),
        "the KCOV entry lists the files",
        needs,
        patch,
        sign="\n" + added,
    )


EDITS = (
    Edit(
        "kernel/Makefile",
        "obj-$(CONFIG_KCOV) += kcov.o\n",
        "obj-$(CONFIG_KCOV_C) += kcov.o\nobj-$(CONFIG_KCOV_RUST) += kcov/\n",
        "the choice between the two implementations decides what is built",
    ),
    Edit(
        "lib/Kconfig.debug",
        "\t  On test failure, causes the kernel to panic. Recommended to be\n"
        "\t  enabled, ensuring critical functionality works as intended.\n\n"
        "menuconfig RUNTIME_TESTING_MENU\n",
        "\t  On test failure, causes the kernel to panic (with KCOV_RUST, to warn\n"
        "\t  and to name the functions at fault). Recommended to be\n"
        "\t  enabled, ensuring critical functionality works as intended.\n\n"
        'source "lib/Kconfig.kcov"\n\n'
        "menuconfig RUNTIME_TESTING_MENU\n",
        "the options of the implementations follow KCOV's own, and the help of the self test knows both",
    ),
    Edit(
        "Makefile",
        "# CC_VERSION_TEXT, RUSTC_VERSION_TEXT and PAHOLE_VERSION are referenced from\n"
        "# Kconfig (so they need export), and from include/config/auto.conf.cmd to\n"
        "# detect the version changes between builds.\n",
        "# CC_VERSION_TEXT, RUSTC_VERSION_TEXT, BINDGEN_VERSION_TEXT and PAHOLE_VERSION\n"
        "# are referenced from Kconfig (so they need export), and from\n"
        "# include/config/auto.conf.cmd to detect the version changes between builds.\n",
        "the bindings are made again when bindgen changes",
        patch="bindgen",
    ),
    Edit(
        "Makefile",
        "RUSTC_VERSION_TEXT = $(subst $(pound),,$(shell $(RUSTC) --version 2>/dev/null))\n",
        "RUSTC_VERSION_TEXT = $(subst $(pound),,$(shell $(RUSTC) --version 2>/dev/null))\n"
        "BINDGEN_VERSION_TEXT = $(subst $(pound),,$(shell $(BINDGEN) --version 2>/dev/null))\n",
        "the bindings are made again when bindgen changes",
        patch="bindgen",
    ),
    Edit(
        "Makefile",
        "export KBUILD_DEFCONFIG KBUILD_KCONFIG CC_VERSION_TEXT RUSTC_VERSION_TEXT PAHOLE_VERSION\n",
        "export KBUILD_DEFCONFIG KBUILD_KCONFIG CC_VERSION_TEXT RUSTC_VERSION_TEXT BINDGEN_VERSION_TEXT\n"
        "export PAHOLE_VERSION\n",
        "the bindings are made again when bindgen changes",
        patch="bindgen",
    ),
    Edit(
        "init/Kconfig",
        "\tdefault \"$(shell,$(BINDGEN) --version 2>/dev/null)\"\n",
        "\tdefault \"$(BINDGEN_VERSION_TEXT)\"\n"
        "\thelp\n"
        "\t  See `CC_VERSION_TEXT`.\n",
        "the bindings are made again when bindgen changes",
        patch="bindgen",
    ),
    Edit(
        "rust/bindgen_parameters",
        "# If SMP is disabled, `arch_spinlock_t` is defined as a ZST which triggers a Rust\n",
        "# Without `CONFIG_SCHEDSTATS` it is empty, but aligned. `bindgen` 0.73 forgets that\n"
        "# of a struct that is not opaque, and has every later field of `task_struct` wrong.\n"
        "--opaque-type sched_statistics\n"
        "\n"
        "# If SMP is disabled, `arch_spinlock_t` is defined as a ZST which triggers a Rust\n",
        "the bindings know how sched_statistics is aligned",
        patch="alignment",
    ),
    Edit(
        "rust/Makefile",
        "quiet_cmd_rust_helper = HELPER  $@\n",
        "$(obj)/bindings/bindings_generated.rs $(obj)/uapi/uapi_generated.rs \\\n"
        "$(obj)/bindings/bindings_helpers_generated.rs: \\\n"
        "    $(wildcard $(objtree)/include/config/BINDGEN_VERSION_TEXT)\n"
        "\n"
        "quiet_cmd_rust_helper = HELPER  $@\n",
        "the bindings are made again when bindgen changes",
        patch="bindgen",
    ),
    Edit(
        "rust/bindings/bindings_helper.h",
        "#include <linux/jump_label.h>\n",
        "#include <linux/jump_label.h>\n#include <linux/kcov.h>\n",
        "Rust sees KCOV's constants and prototypes",
    ),
    Edit(
        "rust/bindings/bindings_helper.h",
        "#include <../../drivers/base/base.h>\n",
        "#include <../../drivers/base/base.h>\n\n"
        "#ifdef CONFIG_KCOV_RUST\n"
        "#include <../../kernel/kcov/support.h>\n"
        "#endif\n",
        "the KCOV crate sees what it has in C",
        needs="kcov/support.h",
        patch="implementation",
    ),
    Edit(
        "rust/kernel/debugfs.rs",
        "#[cfg(CONFIG_DEBUG_FS)]\nmod entry;\n",
        "#[cfg(CONFIG_DEBUG_FS)]\npub mod device;\n\n#[cfg(CONFIG_DEBUG_FS)]\nmod entry;\n",
        "the kernel crate offers debugfs files with ioctl and mmap",
        needs="rust/kernel/debugfs/device.rs",
        patch="rust",
    ),
    Edit(
        "rust/kernel/sync.rs",
        "pub mod rcu;\n",
        "pub mod rcu;\npub mod rcu_table;\n",
        "the kernel crate offers a table that is read under RCU",
        needs="rust/kernel/sync/rcu_table.rs",
        patch="rust",
    ),
    Edit(
        "rust/kernel/sync.rs",
        "mod set_once;\n",
        "mod set_once;\npub mod slot;\n",
        "the kernel crate offers a place that is filled and emptied atomically",
        needs="rust/kernel/sync/slot.rs",
        patch="rust",
    ),
    Edit(
        "rust/bindings/bindings_helper.h",
        "const gfp_t RUST_CONST_HELPER___GFP_NOWARN = ___GFP_NOWARN;\n",
        "const gfp_t RUST_CONST_HELPER___GFP_NOWARN = ___GFP_NOWARN;\n"
        "const gfp_t RUST_CONST_HELPER___GFP_NORETRY = ___GFP_NORETRY;\n"
        "const gfp_t RUST_CONST_HELPER___GFP_RETRY_MAYFAIL = ___GFP_RETRY_MAYFAIL;\n",
        "the kernel crate offers the flags for allocations whose size a user chooses",
        needs="kcov/buffer.rs",
        patch="rust",
    ),
    Edit(
        "rust/kernel/alloc.rs",
        "    pub const __GFP_NOWARN: Flags = Flags(bindings::__GFP_NOWARN);\n",
        "    pub const __GFP_NOWARN: Flags = Flags(bindings::__GFP_NOWARN);\n"
        "\n"
        "    /// Tries once, without waiting for memory that others could be made to give back.\n"
        "    ///\n"
        "    /// This is normally or'd with other flags.\n"
        "    pub const __GFP_NORETRY: Flags = Flags(bindings::__GFP_NORETRY);\n"
        "\n"
        "    /// Tries hard, but fails before a process is killed for the memory.\n"
        "    ///\n"
        "    /// This is normally or'd with other flags.\n"
        "    pub const __GFP_RETRY_MAYFAIL: Flags = Flags(bindings::__GFP_RETRY_MAYFAIL);\n",
        "the kernel crate offers the flags for allocations whose size a user chooses",
        needs="kcov/buffer.rs",
        patch="rust",
    ),
    Edit(
        "rust/kernel/workqueue.rs",
        "/// Returns the system freezable work queue (`system_freezable_wq`).\n",
        "/// Returns the default system work queue (`system_dfl_wq`).\n"
        "///\n"
        "/// Its workers are not bound to a CPU. It replaces [`system_unbound`], which is deprecated in C.\n"
        "pub fn system_dfl() -> &'static Queue {\n"
        "    // SAFETY: `system_dfl_wq` is a C global, always available.\n"
        "    unsafe { Queue::from_raw(bindings::system_dfl_wq) }\n"
        "}\n"
        "\n"
        "/// Returns the system freezable work queue (`system_freezable_wq`).\n",
        "the kernel crate offers the work queue that is not bound to a CPU",
        needs="kcov/remote/pool.rs",
        patch="rust",
    ),
    Edit(
        "rust/kernel/mm/virt.rs",
        "        unsafe { (*self.as_ptr()).__bindgen_anon_1.__bindgen_anon_1.vm_end }\n    }\n",
        "        unsafe { (*self.as_ptr()).__bindgen_anon_1.__bindgen_anon_1.vm_end }\n    }\n\n"
        "    /// Returns where in the file the virtual memory area starts, in pages.\n"
        "    #[inline]\n"
        "    pub fn page_offset(&self) -> usize {\n"
        "        // SAFETY: By the type invariants, the caller holds at least the mmap read lock, so this\n"
        "        // access is not a data race.\n"
        "        unsafe { (*self.as_ptr()).vm_pgoff }\n"
        "    }\n",
        "a mapping knows its offset in the file",
        needs="rust/kernel/debugfs/device.rs",
        patch="rust",
    ),
    Edit(
        "include/linux/sched.h",
        "#include <linux/kcsan.h>\n",
        "#include <linux/kcov_types.h>\n#include <linux/kcsan.h>\n",
        "the task has the fields of the implementation that was chosen",
        patch="implementation",
    ),
    Edit(
        "include/linux/sched.h",
        "#ifdef CONFIG_KCOV\n\t/* See kernel/kcov.c for more details. */\n",
        "#if defined(CONFIG_KCOV_RUST)\n"
        "\tstruct kcov_ctx\t\t\tkcov_ctx;\n"
        "#elif defined(CONFIG_KCOV)\n\t/* See kernel/kcov.c for more details. */\n",
        "the task has the fields of the implementation that was chosen",
        patch="implementation",
    ),
    Edit(
        "include/linux/kcov.h",
        "#define kcov_prepare_switch(t)\t\t\t\\\n",
        "#ifdef CONFIG_KCOV_RUST\n"
        "\n"
        "/* The lowest bits of a task's mode: which hooks record. */\n"
        "#define KCOV_RECORD_PCS\t\t1\n"
        "#define KCOV_RECORD_COMPARISONS\t2\n"
        "\n"
        "/* While tasks are switched, the mode is where no hook looks. */\n"
        "#define KCOV_SWITCH_SHIFT\t16\n"
        "\n"
        "#define kcov_prepare_switch(t)\t\t\t\\\n"
        "do {\t\t\t\t\t\t\\\n"
        "\t(t)->kcov_ctx.mode <<= KCOV_SWITCH_SHIFT;\\\n"
        "} while (0)\n"
        "\n"
        "#define kcov_finish_switch(t)\t\t\t\\\n"
        "do {\t\t\t\t\t\t\\\n"
        "\t(t)->kcov_ctx.mode >>= KCOV_SWITCH_SHIFT;\\\n"
        "} while (0)\n"
        "\n"
        "#else /* CONFIG_KCOV_RUST */\n"
        "\n"
        "#define kcov_prepare_switch(t)\t\t\t\\\n",
        "the scheduler moves the mode of the Rust implementation aside",
        needs="kcov/task.rs",
        patch="implementation",
    ),
    Edit(
        "include/linux/kcov.h",
        "\t(t)->kcov_mode &= ~KCOV_IN_CTXSW;\t\\\n} while (0)\n",
        "\t(t)->kcov_mode &= ~KCOV_IN_CTXSW;\t\\\n} while (0)\n"
        "\n"
        "#endif /* CONFIG_KCOV_RUST */\n",
        "the scheduler moves the mode of the Rust implementation aside",
        needs="kcov/task.rs",
        patch="implementation",
    ),
    Edit(
        "include/linux/kcov.h",
        "/* See Documentation/dev-tools/kcov.rst for usage details. */\n"
        "void kcov_remote_start(u64 handle);\n"
        "void kcov_remote_stop(void);\n"
        "struct kcov_common_handle_id kcov_common_handle(void);\n",
        "/**\n"
        " * kcov_remote_start - start a section of remote coverage\n"
        " * @handle: who the code that follows works for, or 0 for nobody\n"
        " *\n"
        " * If a descriptor collects @handle, what runs on this task or softirq until\n"
        " * kcov_remote_stop() is recorded for it. In a task that is allowed to sleep\n"
        " * it may sleep; with CONFIG_KCOV_C, in every task.\n"
        " *\n"
        " * Context: Task or softirq. Does nothing in hard interrupts and NMI.\n"
        " */\n"
        "void kcov_remote_start(u64 handle);\n"
        "\n"
        "/**\n"
        " * kcov_remote_stop - stop the section that was started last\n"
        " *\n"
        " * Each kcov_remote_start() needs one, also if nobody collects its handle.\n"
        " *\n"
        " * Context: The context that has started the section.\n"
        " */\n"
        "void kcov_remote_stop(void);\n"
        "\n"
        "/**\n"
        " * kcov_common_handle - the common handle of the current task\n"
        " *\n"
        " * To be stored with work that is done for the task elsewhere, and passed to\n"
        " * kcov_remote_start_common() there.\n"
        " *\n"
        " * Return: The handle. It is empty in interrupts, and in a task that neither\n"
        " * collects by a common handle nor has inherited one.\n"
        " */\n"
        "struct kcov_common_handle_id kcov_common_handle(void);\n",
        "the functions have kernel-doc, which the documentation pulls",
        needs="Documentation/dev-tools/kcov.rst",
        patch="headers",
    ),
    Edit(
        "include/linux/kcov.h",
        "static inline void kcov_remote_start_common(struct kcov_common_handle_id id)\n"
        "{\n",
        "/**\n"
        " * kcov_remote_start_common - start a section of work for one user\n"
        " * @id: what kcov_common_handle() returned when the work was accepted\n"
        " */\n"
        "static inline void kcov_remote_start_common(struct kcov_common_handle_id id)\n"
        "{\n",
        "the functions have kernel-doc, which the documentation pulls",
        needs="Documentation/dev-tools/kcov.rst",
        patch="headers",
    ),
    Edit(
        "include/linux/kcov.h",
        "static inline void kcov_remote_start_usb(u64 id)\n"
        "{\n",
        "/**\n"
        " * kcov_remote_start_usb - start a section of work of a USB bus\n"
        " * @id: the number of the bus\n"
        " */\n"
        "static inline void kcov_remote_start_usb(u64 id)\n"
        "{\n",
        "the functions have kernel-doc, which the documentation pulls",
        needs="Documentation/dev-tools/kcov.rst",
        patch="headers",
    ),
    Edit(
        "include/linux/kcov.h",
        "static inline void kcov_remote_start_usb_softirq(u64 id)\n"
        "{\n",
        "/**\n"
        " * kcov_remote_start_usb_softirq - start a section of a USB bus in a softirq\n"
        " * @id: the number of the bus\n"
        " *\n"
        " * Does nothing in other contexts, so that code that runs in several need not\n"
        " * tell them apart.\n"
        " */\n"
        "static inline void kcov_remote_start_usb_softirq(u64 id)\n"
        "{\n",
        "the functions have kernel-doc, which the documentation pulls",
        needs="Documentation/dev-tools/kcov.rst",
        patch="headers",
    ),
    Edit(
        "include/linux/kcov.h",
        "static inline void kcov_remote_stop_softirq(void)\n"
        "{\n",
        "/**\n"
        " * kcov_remote_stop_softirq - stop what kcov_remote_start_usb_softirq() started\n"
        " */\n"
        "static inline void kcov_remote_stop_softirq(void)\n"
        "{\n",
        "the functions have kernel-doc, which the documentation pulls",
        needs="Documentation/dev-tools/kcov.rst",
        patch="headers",
    ),
    Edit(
        "include/uapi/linux/kcov.h",
        "/*\n"
        " * Argument for KCOV_REMOTE_ENABLE ioctl, see Documentation/dev-tools/kcov.rst\n"
        " * and the comment before kcov_remote_start() for usage details.\n"
        " */\n",
        "/**\n"
        " * struct kcov_remote_arg - argument of KCOV_REMOTE_ENABLE\n"
        " * @trace_mode: one of KCOV_TRACE_*\n"
        " * @area_size: how many words one section in a task may record\n"
        " * @num_handles: length of @handles, at most KCOV_REMOTE_MAX_HANDLES\n"
        " * @front_size: with KCOV_TRACE_UNIQUE_PC and KCOV_TRACE_PC_CMP, what would be\n"
        " *              the argument of KCOV_UNIQUE_ENABLE and KCOV_PC_CMP_ENABLE;\n"
        " *              not looked at otherwise\n"
        " * @common_handle: handle of work for the calling task, or 0\n"
        " * @handles: global handles\n"
        " */\n",
        "the functions have kernel-doc, which the documentation pulls",
        needs="Documentation/dev-tools/kcov.rst",
        patch="headers",
    ),
    Edit(
        "include/uapi/linux/kcov.h",
        "\t__u32\t\tnum_handles;\t/* Size of handles array */\n",
        "\t__u32\t\tnum_handles;\t/* Size of handles array */\n"
        "\t__u32\t\tfront_size;\t/* Length of the front of the buffer in words */\n",
        "the modes that divide the buffer have a place for how",
        needs="kcov/layout.rs",
        patch="headers",
    ),
    Edit(
        "include/uapi/linux/kcov.h",
        "#define KCOV_REMOTE_ENABLE\t\t_IOW('c', 102, struct kcov_remote_arg)\n",
        "#define KCOV_REMOTE_ENABLE\t\t_IOW('c', 102, struct kcov_remote_arg)\n"
        "/* Each PC once. The argument is the number of words in front that hold the set. */\n"
        "#define KCOV_UNIQUE_ENABLE\t\t_IOW('c', 103, unsigned long)\n"
        "/* Sets the counts to 0 and empties the set, for the task that has enabled. */\n"
        "#define KCOV_RESET_TRACE\t\t_IO('c', 104)\n"
        "/* Both kinds of records. The argument is the number of words in front for PCs. */\n"
        "#define KCOV_PC_CMP_ENABLE\t\t_IOW('c', 105, unsigned long)\n",
        "the commands of the new modes have numbers",
        needs="kcov/layout.rs",
        patch="headers",
    ),
    Edit(
        "include/uapi/linux/kcov.h",
        "\tKCOV_TRACE_CMP = 1,\n",
        "\tKCOV_TRACE_CMP = 1,\n"
        "\t/* Each PC once; for KCOV_REMOTE_ENABLE. */\n"
        "\tKCOV_TRACE_UNIQUE_PC = 2,\n"
        "\t/* PCs and comparison operands; for KCOV_REMOTE_ENABLE. */\n"
        "\tKCOV_TRACE_PC_CMP = 3,\n",
        "the new modes have numbers",
        needs="kcov/layout.rs",
        patch="headers",
    ),
    Edit(
        "include/uapi/linux/kcov.h",
        "static inline __u64 kcov_remote_handle(__u64 subsys, __u64 inst)\n",
        "/**\n"
        " * kcov_remote_handle - make a handle\n"
        " * @subsys: one of KCOV_SUBSYSTEM_*\n"
        " * @inst: instance in the subsystem, 32 bits\n"
        " *\n"
        " * Return: The handle, or 0 if an argument is out of range.\n"
        " */\n"
        "static inline __u64 kcov_remote_handle(__u64 subsys, __u64 inst)\n",
        "the functions have kernel-doc, which the documentation pulls",
        needs="Documentation/dev-tools/kcov.rst",
        patch="headers",
    ),
    Edit(
        "samples/Kconfig",
        'source "samples/damon/Kconfig"\n',
        'source "samples/damon/Kconfig"\n'
        "\n"
        'source "samples/kcov/Kconfig"\n',
        "the samples can be selected",
        needs="samples/kcov/Kconfig",
        patch="samples",
    ),
    Edit(
        "samples/Makefile",
        "obj-$(CONFIG_SAMPLE_DAMON_WSSE)\t\t+= damon/\n",
        "obj-$(CONFIG_SAMPLE_DAMON_WSSE)\t\t+= damon/\n"
        "subdir-$(CONFIG_SAMPLE_KCOV)\t\t+= kcov\n"
        "obj-$(CONFIG_SAMPLE_KCOV_MODULE)\t+= kcov/\n"
        "obj-$(CONFIG_SAMPLE_KCOV_RUST_MODULE)\t+= kcov/\n",
        "the samples are built",
        needs="samples/kcov/Kconfig",
        patch="samples",
    ),
    Edit(
        "rust/kernel/print.rs",
        "    w.pos().cast()\n}\n",
        "    // Rust code does not tell KMSAN what it writes.\n"
        "    #[cfg(CONFIG_KMSAN)]\n"
        "    {\n"
        "        let written = w.pos().addr().min(end.addr()).saturating_sub(buf.addr());\n"
        "        // SAFETY: These bytes lie in the buffer, and have been written above.\n"
        "        unsafe { crate::bindings::kmsan_unpoison_memory(buf.cast(), written) };\n"
        "    }\n"
        "    w.pos().cast()\n}\n",
        "KMSAN knows that what Rust code prints is initialized, also in KCOV's files",
        needs="kcov/device.rs",
    ),
    Edit(
        "rust/kernel/lib.rs",
        "pub mod jump_label;\n",
        "pub mod jump_label;\npub mod kcov;\n",
        "the kernel crate offers the abstraction for remote sections",
        needs="rust/kernel/kcov.rs",
    ),
    Edit(
        "tools/testing/selftests/Makefile",
        "TARGETS += kcmp\n",
        "TARGETS += kcmp\nTARGETS += kcov\n",
        "the conformance tests are run with the other selftests",
        needs="tools/testing/selftests/kcov/Makefile",
    ),
    Edit(
        "Documentation/dev-tools/index.rst",
        "   kcov\n   gcov\n",
        "   kcov\n   kcov-design\n   gcov\n",
        "the text on the design stands in the table of contents",
        needs="Documentation/dev-tools/kcov-design.rst",
    ),
    Edit(
        "Documentation/admin-guide/kernel-parameters.txt",
        "\tkeep_bootcon\t[KNL,EARLY]\n",
        "\tkcov_hooks=\t[KNL]\n"
        "\t\t\tWhether the hooks of KCOV (CONFIG_KCOV_RUST) are\n"
        "\t\t\tswitched off while no coverage buffer exists.\n"
        "\t\t\tFormat: { switched | always }\n"
        "\t\t\tswitched: The first buffer switches them on, which\n"
        "\t\t\tinterrupts every CPU. The default, except where QEMU\n"
        "\t\t\temulates an x86 processor.\n"
        "\t\t\talways: They stay switched on.\n"
        "\t\t\tSee Documentation/dev-tools/kcov.rst.\n"
        "\n"
        "\tkeep_bootcon\t[KNL,EARLY]\n",
        "the boot parameter is documented",
        needs="kcov/gate.c",
    ),
    maintainers(
        "documentation",
        "Documentation/dev-tools/kcov-design.rst",
        "Documentation/dev-tools/kcov-design.rst",
        before="Documentation/dev-tools/kcov.rst",
    ),
    maintainers("rust", "rust/kernel/kcov.rs", "rust/kernel/kcov.rs", before="scripts/Makefile.kcov"),
    maintainers("implementation", "Kconfig", "kernel/kcov/", "lib/Kconfig.kcov", after="kernel/kcov.c"),
    maintainers(
        "headers", "include/linux/kcov_types.h", "include/linux/kcov_types.h", before="include/uapi/linux/kcov.h"
    ),
    maintainers(
        "selftests",
        "tools/testing/selftests/kcov/Makefile",
        "tools/testing/selftests/kcov/",
        after="scripts/Makefile.kcov",
    ),
    maintainers("samples", "samples/kcov", "samples/kcov/", before="scripts/Makefile.kcov"),
    maintainers("tools", "tools/kcov", "tools/kcov/", after="scripts/Makefile.kcov"),
)

INTERFACES = (
    Interface("kernel/fork.c", "\tkcov_task_init(tsk);", "the call of kcov_task_init() for a new task"),
    Interface("kernel/exit.c", "\tkcov_task_exit(tsk);", "the call of kcov_task_exit() for a task that ends"),
    Interface("include/linux/kcov.h", "void __sanitizer_cov_trace_pc(void);", "the prototypes of the hooks"),
    Interface("include/linux/kcov.h", "void kcov_remote_start(u64 handle);", "kcov_remote_start()"),
    Interface("include/linux/kcov.h", "kcov_common_handle_id", "the typed common handle"),
    Interface("include/linux/kcov.h", "#define KCOV_IN_CTXSW", "the mark of a context switch in the mode"),
    Interface("include/linux/sched.h", "kcov_mode;", "the task's mode"),
    Interface("include/linux/sched.h", "*kcov_area;", "the task's area"),
    Interface("include/uapi/linux/kcov.h", "struct kcov_remote_arg", "the interface to user space"),
    Interface("scripts/Makefile.kcov", "kcov-rflags-y", "the instrumentation of Rust code"),
)

# In the order of the mails. A path belongs to the patch with the longest fitting prefix.
PATCHES = (
    Patch(
        "headers",
        "kcov: prepare the headers for a second implementation",
        "Declare what an implementation of KCOV in Rust shares with its callers,\n"
        "without a change for the one in C. The commands and modes that only the\n"
        "new one has are declared for user space too; the one in C answers them\n"
        "as it answers all that it does not know.",
        ("include/",),
    ),
    Patch(
        "bindgen",
        "rust: make the bindings again when bindgen changes",
        "The bindings depend on the version of bindgen, but are not made again\n"
        "when it changes. Handle the version as those of the compilers are\n"
        "handled: export its text to Kconfig, which notices the change, and let\n"
        "the bindings depend on the option.",
        (),
    ),
    Patch(
        "alignment",
        "rust: bindings: keep the alignment of struct sched_statistics",
        "Without CONFIG_SCHEDSTATS, struct sched_statistics is empty, but aligned to\n"
        "a cache line. bindgen 0.73.2 writes neither the alignment nor padding for\n"
        "it, so that Rust has every later field of struct task_struct at a wrong\n"
        "offset. Make the type opaque: its alignment is kept then.",
        (),
    ),
    Patch(
        "rust",
        "rust: kcov: add bindings and abstractions",
        "Let Rust code see KCOV's constants and prototypes, and offer subsystems\n"
        "in Rust what those in C use to annotate remote coverage sections.\n"
        "\n"
        "The implementation needs three things that others may want too: device\n"
        "files of debugfs with operations of their own, a table that is searched\n"
        "under RCU and changed under a lock, and slots that are emptied and\n"
        "filled with one atomic exchange. Besides, it needs two flags for\n"
        "allocations, and the work queue system_dfl_wq.",
        ("rust/",),
    ),
    Patch(
        "implementation",
        "kcov: add an implementation in Rust",
        "Add an implementation of KCOV in Rust beside the one in C. CONFIG_KCOV\n"
        "stays the option that users set; a choice below it selects which of the\n"
        "two is built. The interface to user space, the hooks and the functions\n"
        "that the rest of the kernel calls are the same. Besides, user space gets\n"
        "modes that record each PC once, or PCs and comparisons in one run, and a\n"
        "command that resets a trace.",
        ("",),
    ),
    Patch(
        "selftests",
        "selftests: kcov: add conformance tests",
        "Check the interface to user space. The same tests run on both\n"
        "implementations; the few that the one in C is known to fail are listed\n"
        "with the reason.",
        ("tools/testing/",),
    ),
    Patch(
        "samples",
        "samples: kcov: add annotated modules and user programs",
        "Show how coverage is collected, and how a kernel module annotates its\n"
        "background work so that it can be attributed to a system call.",
        ("samples/",),
    ),
    Patch(
        "tools",
        "tools: kcov: add user-space tools",
        "Add programs that collect coverage through the debugfs file and make it\n"
        "readable.",
        ("tools/",),
    ),
    Patch(
        "documentation",
        "Documentation: kcov: describe the Rust implementation",
        "Describe the interface anew, with every error and what both\n"
        "implementations promise, the choice between them, and how the one in\n"
        "Rust works.",
        ("Documentation/",),
    ),
)
