// SPDX-License-Identifier: GPL-2.0
//! The numbers and layouts of `include/uapi/linux/kcov.h`.

use rustix::ioctl::{Opcode, opcode};

/// `KCOV_INIT_TRACE`: gives the descriptor a buffer; the argument is its size in words.
pub const INIT_TRACE: Opcode = opcode::read::<usize>(b'c', 1);
/// `KCOV_ENABLE`: starts collection on the calling task.
pub const ENABLE: Opcode = opcode::none(b'c', 100);
/// `KCOV_DISABLE`: ends collection on the calling task.
pub const DISABLE: Opcode = opcode::none(b'c', 101);
/// `KCOV_REMOTE_ENABLE`: starts collection of annotated sections that other tasks run.
pub const REMOTE_ENABLE: Opcode = opcode::write::<RemoteHeader>(b'c', 102);
/// `KCOV_UNIQUE_ENABLE`: starts collection of each PC once; the argument is the number of words of the set.
pub const UNIQUE_ENABLE: Opcode = opcode::write::<usize>(b'c', 103);
/// `KCOV_RESET_TRACE`: discards the collected records.
pub const RESET_TRACE: Opcode = opcode::none(b'c', 104);
/// `KCOV_PC_CMP_ENABLE`: starts collection of PCs and comparisons; the argument is the number of words for PCs.
pub const PC_CMP_ENABLE: Opcode = opcode::write::<usize>(b'c', 105);
/// `KCOV_EDGE_ENABLE`: starts collection of each edge once; the argument is the number of words of the table.
pub const EDGE_ENABLE: Opcode = opcode::write::<usize>(b'c', 106);
/// `KCOV_DISABLE_ANY`: ends collection, whichever task has started it.
pub const DISABLE_ANY: Opcode = opcode::none(b'c', 107);

/// `KCOV_TRACE_PC`.
pub const TRACE_PC: usize = 0;
/// `KCOV_TRACE_CMP`.
pub const TRACE_CMP: usize = 1;
/// `KCOV_TRACE_UNIQUE_PC`, for remote sections only.
pub const TRACE_UNIQUE_PC: usize = 2;
/// `KCOV_TRACE_PC_CMP`, for remote sections only.
pub const TRACE_PC_CMP: usize = 3;
/// `KCOV_TRACE_EDGE`, for remote sections only.
pub const TRACE_EDGE: usize = 4;

/// `KCOV_REMOTE_MAX_HANDLES`: the largest number of handles that one call attaches.
pub const REMOTE_MAX_HANDLES: usize = 0x100;

/// `KCOV_CMP_CONST`: one operand of the comparison is a compile-time constant.
pub const CMP_CONST: u64 = 1;
/// The bits of a comparison's type that hold log2 of the operand size in bytes.
pub const CMP_SIZE_MASK: u64 = 3 << 1;

/// `KCOV_SUBSYSTEM_COMMON`: handles that a task hands out and its children inherit.
pub const SUBSYSTEM_COMMON: u64 = 0x00 << 56;
/// `KCOV_SUBSYSTEM_USB`: handles of USB buses.
pub const SUBSYSTEM_USB: u64 = 0x01 << 56;

/// `ENOTSUPP`, which the kernel returns for comparisons if it was built without them.
pub const ENOTSUPP: i32 = 524;

/// The number of words that one PC takes in the buffer.
pub const WORDS_PER_PC: usize = 1;
/// The number of words that one comparison takes in the buffer.
pub const WORDS_PER_CMP: usize = 4;
/// The number of words that one edge takes in the buffer.
pub const WORDS_PER_EDGE: usize = 2;

/// The part of `struct kcov_remote_arg` whose size is in the number of the ioctl.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct RemoteHeader {
    /// One of `KCOV_TRACE_*`.
    pub trace_mode: u32,
    /// The number of words that a section may use.
    pub area_size: u32,
    /// The number of handles that follow.
    pub num_handles: u32,
    /// The number of words of the front of a divided buffer; ignored in modes that do not divide
    /// it.
    pub front_size: u32,
    /// The handle that children inherit, or 0.
    pub common_handle: u64,
}

/// `struct kcov_remote_arg` with space for the largest number of handles, so that no call has to
/// allocate.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RemoteArg {
    /// The part before the handles.
    pub header: RemoteHeader,
    /// The handles; only the first `num_handles` are used.
    pub handles: [u64; REMOTE_MAX_HANDLES],
}

#[cfg(test)]
mod tests {
    use super::*;

    // The numbers as a C compiler computes them from the header on 64-bit machines.
    #[test]
    fn ioctl_numbers_are_those_of_the_header() {
        assert_eq!(INIT_TRACE, 0x8008_6301);
        assert_eq!(ENABLE, 0x6364);
        assert_eq!(DISABLE, 0x6365);
        assert_eq!(REMOTE_ENABLE, 0x4018_6366);
        assert_eq!(UNIQUE_ENABLE, 0x4008_6367);
        assert_eq!(RESET_TRACE, 0x6368);
        assert_eq!(PC_CMP_ENABLE, 0x4008_6369);
        assert_eq!(EDGE_ENABLE, 0x4008_636a);
        assert_eq!(DISABLE_ANY, 0x636b);
    }

    #[test]
    fn remote_argument_has_the_layout_of_the_header() {
        assert_eq!(size_of::<RemoteHeader>(), 24);
        assert_eq!(std::mem::offset_of!(RemoteHeader, front_size), 12);
        assert_eq!(std::mem::offset_of!(RemoteHeader, common_handle), 16);
        assert_eq!(std::mem::offset_of!(RemoteArg, handles), 24);
        assert_eq!(size_of::<RemoteArg>(), 24 + 8 * REMOTE_MAX_HANDLES);
    }
}
