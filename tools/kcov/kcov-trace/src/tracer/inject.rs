// SPDX-License-Identifier: GPL-2.0
//! Makes a stopped task run system calls of the tracer, and restores its state afterwards.
//!
//! A new task is just after the system call instruction that made it. That instruction is used
//! again, because other threads may be running in the same code. A task that runs a new program is
//! at its first instruction, alone in its memory. There the instruction is written and restored
//! afterwards.
//!
//! A process may be stopped (SIGSTOP, Ctrl-Z) before or during this. The task then runs the
//! tracer's calls nevertheless, and is interrupted afterwards, so that it reports the stop again
//! before it runs its own code. A SIGSTOP that reaches it during a call is delivered at once: if it
//! were kept for later, it would stop the process after the SIGCONT that was meant to continue it.

use std::io;
use std::mem::take;

use super::ptrace::{self, End, Report, Stop, Tid};
use super::registers::{Registers, SystemCalls, system_calls};

/// The number of bytes below the stack pointer that a program may use.
const RED_ZONE: u64 = 128;
/// The number of bytes of the task's stack that are borrowed for arguments.
pub(super) const SCRATCH: usize = 160;
const WORD: usize = size_of::<u64>();

/// The reason why an injection could not be finished.
#[derive(Debug)]
pub(super) enum Failure {
    /// The task is exiting; its report must still be handled.
    Gone(Report),
    /// The system returned an error.
    System(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A task in a state to run system calls of the tracer.
#[derive(Debug)]
pub(super) struct Injection {
    tid: Tid,
    registers: Registers,
    signal_mask: u64,
    instruction_at: u64,
    overwritten: Option<u64>,
    scratch_at: u64,
    scratch: [u64; SCRATCH / WORD],
    /// Set if the process was stopped during the injection, while this task went on.
    group_stopped: bool,
}

impl Injection {
    /// Prepares a task that stopped right after it was made, or at the end of its `execve`. `alone`
    /// means that no other task runs in its memory.
    pub(super) fn begin(tid: Tid, alone: bool) -> Result<Self, Failure> {
        let registers = Registers::of(tid)?;
        let signal_mask = ptrace::signal_mask(tid)?;
        // Signals are blocked: a handler must not run during the injection. SIGKILL and SIGSTOP
        // cannot be blocked, and have no handler.
        ptrace::set_signal_mask(tid, u64::MAX)?;
        let mut injection = Self {
            tid,
            instruction_at: 0,
            overwritten: None,
            scratch_at: registers.stack_pointer().wrapping_sub(RED_ZONE + SCRATCH as u64) & !15,
            scratch: [0; SCRATCH / WORD],
            registers,
            signal_mask,
            group_stopped: false,
        };
        if let Err(error) = injection
            .find_instruction(alone)
            .and_then(|()| injection.save_scratch())
        {
            injection.restore()?;
            return Err(error.into());
        }
        Ok(injection)
    }

    pub(super) fn system_calls(&self) -> &'static SystemCalls {
        system_calls(&self.registers)
    }

    /// Returns the address of the arguments in the task's memory.
    pub(super) fn scratch_at(&self) -> u64 {
        self.scratch_at
    }

    fn find_instruction(&mut self, alone: bool) -> io::Result<()> {
        let wanted = self.system_calls().instruction;
        let here = self.registers.instruction_pointer();
        let before = here.wrapping_sub(wanted.len() as u64);
        match ptrace::peek(self.tid, before) {
            Ok(word) if word.to_ne_bytes().starts_with(wanted) => {
                self.instruction_at = before;
                return Ok(());
            }
            Ok(_) => {}
            // No memory is mapped there. Any other error has another cause: the task may have been
            // killed.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::EFAULT)) => {}
            Err(error) => return Err(error),
        }
        if !alone {
            return Err(io::Error::other(
                "it was not made by a system call instruction that is known",
            ));
        }
        let old = ptrace::peek(self.tid, here)?;
        let mut bytes = old.to_ne_bytes();
        bytes[..wanted.len()].copy_from_slice(wanted);
        ptrace::poke(self.tid, here, u64::from_ne_bytes(bytes))?;
        self.overwritten = Some(old);
        self.instruction_at = here;
        Ok(())
    }

    fn save_scratch(&mut self) -> io::Result<()> {
        for (i, word) in self.scratch.iter_mut().enumerate() {
            *word = ptrace::peek(self.tid, self.scratch_at + (i * WORD) as u64)?;
        }
        Ok(())
    }

    /// Writes arguments to the task's memory, beginning at `offset` in the scratch memory, a
    /// multiple of 8.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        for (i, chunk) in bytes.chunks(WORD).enumerate() {
            let mut word = [0; WORD];
            word[..chunk.len()].copy_from_slice(chunk);
            ptrace::poke(
                self.tid,
                self.scratch_at + (offset + i * WORD) as u64,
                u64::from_ne_bytes(word),
            )?;
        }
        Ok(())
    }

    /// Reads a word from the scratch memory.
    pub(super) fn read(&self, offset: usize) -> io::Result<[u8; WORD]> {
        Ok(ptrace::peek(self.tid, self.scratch_at + offset as u64)?.to_ne_bytes())
    }

    /// Runs one system call and returns its result.
    pub(super) fn call(&mut self, number: u64, arguments: [u64; 4]) -> Result<i64, Failure> {
        self.registers
            .calling(self.instruction_at, number, arguments)
            .put(self.tid)?;
        let mut entered = false;
        let mut delivered = 0;
        loop {
            ptrace::go_on_to_system_call(self.tid, take(&mut delivered))?;
            match next_report(self.tid)? {
                Report::Stopped(Stop::SystemCall) => match ptrace::end_of_system_call(self.tid)? {
                    End::Entry(_) => entered = true,
                    End::Exit(_) if entered => break,
                    End::Exit(_) | End::Neither => {}
                },
                // Only SIGSTOP comes here. If it is blocked, the kernel would make it pending
                // again.
                Report::Stopped(Stop::Signal(signal)) => delivered = signal,
                Report::Stopped(Stop::Trap) => {}
                Report::Stopped(Stop::Group) => self.group_stopped = true,
                other => return Err(Failure::Gone(other)),
            }
        }
        let result = Registers::of(self.tid)?.result();
        if result < 0 {
            let number = i32::try_from(-result).unwrap_or(libc::EINVAL);
            return Err(Failure::System(io::Error::from_raw_os_error(number)));
        }
        Ok(result)
    }

    /// Restores the task's state.
    pub(super) fn end(self) -> io::Result<()> {
        for (i, word) in self.scratch.iter().enumerate() {
            ptrace::poke(self.tid, self.scratch_at + (i * WORD) as u64, *word)?;
        }
        self.restore()
    }

    fn restore(&self) -> io::Result<()> {
        if let Some(word) = self.overwritten {
            ptrace::poke(self.tid, self.instruction_at, word)?;
        }
        self.registers.put(self.tid)?;
        ptrace::set_signal_mask(self.tid, self.signal_mask)?;
        if self.group_stopped {
            ptrace::interrupt(self.tid)?;
        }
        Ok(())
    }
}

/// Takes a task that has reported its exec to the end of the system call, where its registers are
/// final.
pub(super) fn finish_exec(tid: Tid) -> Result<(), Failure> {
    let mut group_stopped = false;
    loop {
        ptrace::go_on_to_system_call(tid, 0)?;
        match next_report(tid)? {
            Report::Stopped(Stop::SystemCall) => break,
            Report::Stopped(Stop::Trap) => {}
            Report::Stopped(Stop::Group) => group_stopped = true,
            other => return Err(Failure::Gone(other)),
        }
    }
    if group_stopped {
        ptrace::interrupt(tid)?;
    }
    Ok(())
}

/// Returns the next report of a task, even if signals interrupt the wait.
fn next_report(tid: Tid) -> Result<Report, Failure> {
    loop {
        match ptrace::wait(Some(tid)) {
            Ok(Some((_, report))) => return Ok(report),
            Ok(None) => return Err(Failure::System(io::Error::from_raw_os_error(libc::ESRCH))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
