// SPDX-License-Identifier: GPL-2.0
//! The differences between architectures when a stopped task is made to run a system call.

use std::io;

use super::ptrace::{self, Tid};

pub(super) use arch::{Registers, system_calls};

/// The numbers of the system calls that are injected, and the size of the task's pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SystemCalls {
    pub(super) socketpair: u64,
    pub(super) recvmsg: u64,
    pub(super) ioctl: u64,
    pub(super) close: u64,
    /// Set if pointers and lengths take four bytes.
    pub(super) narrow: bool,
    /// The instruction that enters the kernel.
    pub(super) instruction: &'static [u8],
}

impl Registers {
    pub(super) fn of(tid: Tid) -> io::Result<Self> {
        let mut registers = Self::default();
        ptrace::registers(tid, &mut registers.words)?;
        Ok(registers)
    }

    pub(super) fn put(&self, tid: Tid) -> io::Result<()> {
        ptrace::set_registers(tid, &self.words)
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::SystemCalls;

    const R10: usize = 7;
    const R9: usize = 8;
    const R8: usize = 9;
    const RBP: usize = 4;
    const RBX: usize = 5;
    const RAX: usize = 10;
    const RCX: usize = 11;
    const RDX: usize = 12;
    const RSI: usize = 13;
    const RDI: usize = 14;
    const ORIG_RAX: usize = 15;
    const RIP: usize = 16;
    const CS: usize = 17;
    const RSP: usize = 19;

    /// The code segment of 64-bit programs.
    const USER_CS: u64 = 0x33;

    const WIDE: SystemCalls = SystemCalls {
        socketpair: 53,
        recvmsg: 47,
        ioctl: 16,
        close: 3,
        narrow: false,
        instruction: &[0x0f, 0x05],
    };
    const NARROW: SystemCalls = SystemCalls {
        socketpair: 360,
        recvmsg: 372,
        ioctl: 54,
        close: 6,
        narrow: true,
        instruction: &[0xcd, 0x80],
    };

    /// `struct user_regs_struct`.
    #[derive(Clone, Debug, Default)]
    pub(in super::super) struct Registers {
        pub(super) words: [u64; 27],
    }

    pub(in super::super) fn system_calls(registers: &Registers) -> &'static SystemCalls {
        if registers.words[CS] == USER_CS {
            &WIDE
        } else {
            &NARROW
        }
    }

    impl Registers {
        pub(in super::super) fn instruction_pointer(&self) -> u64 {
            self.words[RIP]
        }

        pub(in super::super) fn stack_pointer(&self) -> u64 {
            self.words[RSP]
        }

        /// Returns registers with which the instruction at `at` makes the system call.
        pub(in super::super) fn calling(&self, at: u64, number: u64, arguments: [u64; 4]) -> Self {
            let mut registers = self.clone();
            let order = if system_calls(self).narrow {
                [RBX, RCX, RDX, RSI, RDI, RBP]
            } else {
                [RDI, RSI, RDX, R10, R8, R9]
            };
            for (register, value) in order.into_iter().zip(arguments) {
                registers.words[register] = value;
            }
            registers.words[RAX] = number;
            // The task is not in a system call, so the kernel has none to restart.
            registers.words[ORIG_RAX] = u64::MAX;
            registers.words[RIP] = at;
            registers
        }

        pub(in super::super) fn result(&self) -> i64 {
            let value = self.words[RAX];
            if system_calls(self).narrow {
                i64::from(value as i32)
            } else {
                value as i64
            }
        }
    }
}

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod arch {
    use super::SystemCalls;

    // Both architectures use the generic table of system calls.
    const GENERIC: SystemCalls = SystemCalls {
        socketpair: 199,
        recvmsg: 212,
        ioctl: 29,
        close: 57,
        narrow: false,
        instruction: INSTRUCTION,
    };

    #[cfg(target_arch = "aarch64")]
    mod layout {
        /// svc #0
        pub(super) const INSTRUCTION: &[u8] = &[0x01, 0x00, 0x00, 0xd4];
        /// `struct user_pt_regs`: x0 to x30, sp, pc, pstate.
        pub(super) const WORDS: usize = 34;
        pub(super) const ARGUMENTS: usize = 0;
        pub(super) const NUMBER: usize = 8;
        pub(super) const SP: usize = 31;
        pub(super) const PC: usize = 32;
    }
    #[cfg(target_arch = "riscv64")]
    mod layout {
        /// ecall
        pub(super) const INSTRUCTION: &[u8] = &[0x73, 0x00, 0x00, 0x00];
        /// `struct user_regs_struct`: pc, then x1 to x31.
        pub(super) const WORDS: usize = 32;
        pub(super) const ARGUMENTS: usize = 10;
        pub(super) const NUMBER: usize = 17;
        pub(super) const SP: usize = 2;
        pub(super) const PC: usize = 0;
    }
    use layout::{ARGUMENTS, INSTRUCTION, NUMBER, PC, SP, WORDS};

    #[derive(Clone, Debug)]
    pub(in super::super) struct Registers {
        pub(super) words: [u64; WORDS],
    }

    impl Default for Registers {
        fn default() -> Self {
            Self { words: [0; WORDS] }
        }
    }

    pub(in super::super) fn system_calls(_: &Registers) -> &'static SystemCalls {
        &GENERIC
    }

    impl Registers {
        pub(in super::super) fn instruction_pointer(&self) -> u64 {
            self.words[PC]
        }

        pub(in super::super) fn stack_pointer(&self) -> u64 {
            self.words[SP]
        }

        /// Returns registers with which the instruction at `at` makes the system call.
        pub(in super::super) fn calling(&self, at: u64, number: u64, arguments: [u64; 4]) -> Self {
            let mut registers = self.clone();
            registers.words[ARGUMENTS..][..arguments.len()].copy_from_slice(&arguments);
            registers.words[NUMBER] = number;
            registers.words[PC] = at;
            registers
        }

        pub(in super::super) fn result(&self) -> i64 {
            self.words[ARGUMENTS] as i64
        }
    }
}
