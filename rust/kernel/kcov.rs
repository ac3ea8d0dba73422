// SPDX-License-Identifier: GPL-2.0

//! Remote coverage sections.
//!
//! KCOV records the code that a task runs in its own system calls. Work that is done elsewhere on
//! behalf of a task, in a background task or in a softirq, is recorded if it is annotated: a
//! section begins with a [`Handle`] that names the user of the work, and ends when its
//! [`RemoteSection`] is dropped. A section has no effect unless a user-space program collects that
//! handle.
//!
//! C header: [`include/linux/kcov.h`](srctree/include/linux/kcov.h)

#[cfg(CONFIG_KCOV)]
use crate::bindings;
use crate::types::NotThreadSafe;

/// A number that connects a background task with the task that it works for.
///
/// A user-space program chooses the number for a task, and the children of the task inherit it. A
/// subsystem that starts work for a task gets the number with [`CommonHandle::current`] and stores
/// it with the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CommonHandle(u64);

impl CommonHandle {
    /// The empty handle, which no program can collect.
    pub const NONE: Self = Self(0);

    /// Returns the common handle of the current task, or [`CommonHandle::NONE`] if the task has
    /// none.
    ///
    /// May be called from any context. Returns [`CommonHandle::NONE`] outside task context.
    #[inline]
    pub fn current() -> Self {
        #[cfg(CONFIG_KCOV)]
        {
            // SAFETY: The function has no requirements.
            Self(unsafe { bindings::kcov_common_handle() }.val)
        }
        #[cfg(not(CONFIG_KCOV))]
        Self::NONE
    }
}

/// The name of a group of sections: those of one instance of a subsystem, or those that work for
/// one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle(u64);

impl Handle {
    /// The top byte of a handle of the USB subsystem.
    const USB: u64 = 0x01 << 56;

    /// Returns the handle of work for the task that `id` belongs to.
    #[inline]
    pub const fn common(id: CommonHandle) -> Self {
        Self(id.0)
    }

    /// Returns the handle of work of the USB bus with number `bus`.
    #[inline]
    pub const fn usb(bus: u32) -> Self {
        Self(Self::USB | bus as u64)
    }

    /// Returns the handle in the form that user space passes in `struct kcov_remote_arg`.
    #[inline]
    pub const fn as_raw(self) -> u64 {
        self.0
    }
}

/// A remote coverage section that runs in the current context.
///
/// The section ends when the value is dropped. The value must be dropped in the context that
/// started the section: in the same task, or in the same softirq.
///
/// Sections can be nested only with `CONFIG_KCOV_RUST`; the inner section must end first. If a
/// section starts inside another one, the implementation in C warns, does not record the inner
/// section, and ends the outer section when the inner one ends.
///
/// # Examples
///
/// ```
/// use kernel::kcov::{CommonHandle, Handle, RemoteSection};
///
/// // In the system call that starts the work:
/// let id = CommonHandle::current();
///
/// // In the task that does it:
/// {
///     let _section = RemoteSection::start(Handle::common(id));
///     // This code is recorded for the task that started the work.
/// }
///
/// // Work of a USB bus, for any task:
/// let section = RemoteSection::start(Handle::usb(1));
/// section.stop();
/// assert_eq!(Handle::usb(1).as_raw(), 0x0100_0000_0000_0001);
/// assert_eq!(Handle::common(CommonHandle::NONE).as_raw(), 0);
/// ```
#[must_use = "the section ends when the value is dropped"]
pub struct RemoteSection(NotThreadSafe);

impl RemoteSection {
    /// Starts a section.
    ///
    /// In a task that is allowed to sleep, this function may sleep to allocate memory to record
    /// into. In hard interrupts and NMIs, nothing is recorded.
    #[inline]
    pub fn start(handle: Handle) -> Self {
        #[cfg(CONFIG_KCOV)]
        // SAFETY: The function requires only a well-formed handle, and every `Handle` is
        // well-formed.
        unsafe {
            bindings::kcov_remote_start(handle.0)
        };
        #[cfg(not(CONFIG_KCOV))]
        let _ = handle;
        Self(NotThreadSafe)
    }

    /// Ends the section, as dropping it does. Does not sleep.
    #[inline]
    pub fn stop(self) {}
}

impl Drop for RemoteSection {
    #[inline]
    fn drop(&mut self) {
        #[cfg(CONFIG_KCOV)]
        // SAFETY: The function has no requirements; `start` has started the section.
        unsafe {
            bindings::kcov_remote_stop()
        };
    }
}
