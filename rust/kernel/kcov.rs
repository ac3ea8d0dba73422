// SPDX-License-Identifier: GPL-2.0

//! Remote coverage sections.
//!
//! KCOV records what a task does for itself. Work that is done elsewhere on its behalf, in a
//! background task or in a softirq, is recorded if it is annotated: a section begins with a
//! [`Handle`] that says on whose behalf it runs, and ends when its [`RemoteSection`] is dropped.
//! Nothing happens unless user space collects that handle.
//!
//! C header: [`include/linux/kcov.h`](srctree/include/linux/kcov.h)

#[cfg(CONFIG_KCOV)]
use crate::bindings;
use crate::types::NotThreadSafe;

/// What connects a background task with the task that it works for.
///
/// User space chooses it, and its children inherit it. A subsystem that starts work for a task gets
/// it with [`CommonHandle::current`] and keeps it with the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CommonHandle(u64);

impl CommonHandle {
    /// The handle that nobody collects.
    pub const NONE: Self = Self(0);

    /// Returns the common handle of the current task, [`CommonHandle::NONE`] if it has none.
    ///
    /// May be called from any context; outside of task context, there is none.
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

/// What names the sections of one instance of a subsystem, or of the work for one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle(u64);

impl Handle {
    /// The top byte of a handle of the USB subsystem.
    const USB: u64 = 0x01 << 56;

    /// The handle of the work for a task.
    #[inline]
    pub const fn common(id: CommonHandle) -> Self {
        Self(id.0)
    }

    /// The handle of a USB bus.
    #[inline]
    pub const fn usb(bus: u32) -> Self {
        Self(Self::USB | bus as u64)
    }

    /// Returns the handle as user space passes it in `struct kcov_remote_arg`.
    #[inline]
    pub const fn as_raw(self) -> u64 {
        self.0
    }
}

/// A remote coverage section that runs in the current context.
///
/// The section ends when the value is dropped. It has to be dropped where it was started: in the
/// same task, or in the same softirq.
///
/// A section can be started inside of another one, and ends before it, only with
/// `CONFIG_KCOV_RUST`. The implementation in C warns of that, records nothing for the inner one,
/// and ends the outer one with it.
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
///     // What runs here is recorded for the task that started the work.
/// }
///
/// // Work of a USB bus, whoever caused it:
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
    /// May sleep for memory to record in, in a task that is allowed to. In hard interrupts and NMI,
    /// nothing is recorded.
    #[inline]
    pub fn start(handle: Handle) -> Self {
        #[cfg(CONFIG_KCOV)]
        // SAFETY: The function has no requirements but a well-formed handle, which a `Handle` is.
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
        // SAFETY: The function has no requirements; the section was started in `start`.
        unsafe {
            bindings::kcov_remote_stop()
        };
    }
}
