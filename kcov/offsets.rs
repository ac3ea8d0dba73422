// SPDX-License-Identifier: GPL-2.0

//! Offsets of fields and sizes of types in C, and checks that Rust has the same ones.
//!
//! bindgen describes C types to Rust. A version of bindgen that leaves out a padding moves every
//! later field of a type, and the bindings do not show it. Therefore the crate finds the fields of
//! a task, a type with hundreds of other fields, by offsets that the kernel's C compiler has
//! computed (see `offsets.c`). For every other C type whose fields this crate, or an abstraction
//! that came with it, accesses or embeds, the build stops if the offsets or sizes differ.

#![allow(
    dead_code,
    reason = "rustc 1.85 does not count what only unnamed constants use"
)]

use core::{
    mem::{align_of, offset_of, size_of},
    str, //
};
use kernel::bindings;

/// Offsets and sizes in bytes, and the version of bindgen.
mod c {
    #![allow(
        dead_code,
        reason = "which of them are used depends on the architecture"
    )]

    include!(concat!(
        env!("OBJTREE"),
        "/kernel/kcov/generated_offsets.rs"
    ));
}

pub(crate) use c::TASK_KCOV_CTX;
#[cfg(CONFIG_PREEMPT_RT)]
pub(crate) use c::TASK_SOFTIRQ_DISABLE_CNT;
// With `CONFIG_KCOV_GENERIC_ARCH`, functions in C read these fields.
#[cfg(all(not(CONFIG_KCOV_GENERIC_ARCH), any(CONFIG_ARM64, CONFIG_RISCV)))]
pub(crate) use c::TASK_CPU;
#[cfg(all(
    not(CONFIG_KCOV_GENERIC_ARCH),
    any(CONFIG_UML, CONFIG_ARM64, CONFIG_RISCV)
))]
pub(crate) use c::TASK_PREEMPT_COUNT;

/// A sentence that is assembled at compile time.
struct Sentence {
    bytes: [u8; 256],
    length: usize,
}

impl Sentence {
    const fn new() -> Self {
        Self {
            bytes: [0; 256],
            length: 0,
        }
    }

    const fn text(mut self, text: &str) -> Self {
        let mut i = 0;
        while i < text.len() {
            self.bytes[self.length] = text.as_bytes()[i];
            self.length += 1;
            i += 1;
        }
        self
    }

    const fn number(self, number: usize) -> Self {
        let digit = [b'0' + (number % 10) as u8];
        let Ok(digit) = str::from_utf8(&digit) else {
            return self;
        };
        if number < 10 {
            return self.text(digit);
        }
        self.number(number / 10).text(digit)
    }

    const fn as_str(&self) -> &str {
        match str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }
}

/// Stops the build if `rust`, an offset or size in bytes according to bindgen, differs from `c`.
const fn compare(what: &str, verb: &str, rust: usize, c: usize) {
    if rust == c {
        return;
    }
    let sentence = Sentence::new()
        .text(c::BINDGEN)
        .text(verb)
        .text(what)
        .text(" at byte ")
        .number(rust)
        .text(", but C has ")
        .number(c)
        .text("; use another version of bindgen");
    panic!("{}", sentence.as_str());
}

/// Compares the offset of a field.
macro_rules! field {
    ($type:ident, $($member:ident).+, $offset:ident) => {
        const _: () = compare(
            concat!(stringify!($type), $(".", stringify!($member)),+),
            " puts ",
            offset_of!(bindings::$type, $($member).+),
            c::$offset,
        );
    };
}

/// Compares the size and the alignment of a type.
macro_rules! size {
    ($type:ident, $size:ident, $align:ident) => {
        const _: () = compare(
            concat!("struct ", stringify!($type)),
            " ends ",
            size_of::<bindings::$type>(),
            c::$size,
        );
        const _: () = compare(
            concat!("the alignment of struct ", stringify!($type)),
            " puts ",
            align_of::<bindings::$type>(),
            c::$align,
        );
    };
}

field!(kcov_ctx, mode, KCOV_CTX_MODE);
field!(kcov_ctx, softirq, KCOV_CTX_SOFTIRQ);
field!(kcov_ctx, capacity, KCOV_CTX_CAPACITY);
field!(kcov_ctx, area, KCOV_CTX_AREA);
field!(kcov_ctx, layout, KCOV_CTX_LAYOUT);
field!(kcov_ctx, section, KCOV_CTX_SECTION);
field!(kcov_ctx, local, KCOV_CTX_LOCAL);
field!(kcov_ctx, remote, KCOV_CTX_REMOTE);
field!(kcov_ctx, handle, KCOV_CTX_HANDLE);
size!(kcov_ctx, KCOV_CTX_SIZE, KCOV_CTX_ALIGN);

field!(kcov_text, start, KCOV_TEXT_START);
field!(kcov_text, size, KCOV_TEXT_SIZE);
field!(kcov_text, modules, KCOV_TEXT_MODULES);

field!(kcov_remote_arg, num_handles, REMOTE_ARG_NUM_HANDLES);
size!(kcov_remote_arg, REMOTE_ARG_SIZE, REMOTE_ARG_ALIGN);
size!(
    kcov_common_handle_id,
    COMMON_HANDLE_ID_SIZE,
    COMMON_HANDLE_ID_ALIGN
);

#[cfg(CONFIG_JUMP_LABEL)]
field!(static_key_false, key, STATIC_KEY);

field!(file, private_data, FILE_PRIVATE_DATA);
field!(file_operations, open, FILE_OPERATIONS_OPEN);
field!(file_operations, release, FILE_OPERATIONS_RELEASE);
field!(file_operations, mmap, FILE_OPERATIONS_MMAP);
field!(
    file_operations,
    unlocked_ioctl,
    FILE_OPERATIONS_UNLOCKED_IOCTL
);
field!(file_operations, compat_ioctl, FILE_OPERATIONS_COMPAT_IOCTL);
field!(file_operations, show_fdinfo, FILE_OPERATIONS_SHOW_FDINFO);
size!(file_operations, FILE_OPERATIONS_SIZE, FILE_OPERATIONS_ALIGN);

field!(
    vm_area_struct,
    __bindgen_anon_1.__bindgen_anon_1.vm_start,
    VMA_START
);
field!(
    vm_area_struct,
    __bindgen_anon_1.__bindgen_anon_1.vm_end,
    VMA_END
);
field!(vm_area_struct, __bindgen_anon_2.vm_flags, VMA_FLAGS);
field!(vm_area_struct, vm_pgoff, VMA_PGOFF);
field!(vm_area_struct, vm_ops, VMA_OPS);
field!(vm_area_struct, vm_file, VMA_FILE);

field!(task_struct, mm, TASK_MM);
field!(vm_fault, __bindgen_anon_1.vma, VM_FAULT_VMA);
field!(vm_fault, __bindgen_anon_1.pgoff, VM_FAULT_PGOFF);
field!(vm_fault, flags, VM_FAULT_FLAGS);
field!(vm_fault, page, VM_FAULT_PAGE);
field!(vm_operations_struct, fault, VM_OPERATIONS_FAULT);

size!(callback_head, CALLBACK_HEAD_SIZE, CALLBACK_HEAD_ALIGN);
size!(mutex, MUTEX_SIZE, MUTEX_ALIGN);
size!(spinlock_t, SPINLOCK_SIZE, SPINLOCK_ALIGN);
size!(work_struct, WORK_SIZE, WORK_ALIGN);
size!(delayed_work, DELAYED_WORK_SIZE, DELAYED_WORK_ALIGN);
field!(delayed_work, work, DELAYED_WORK_WORK);
field!(delayed_work, timer, DELAYED_WORK_TIMER);
