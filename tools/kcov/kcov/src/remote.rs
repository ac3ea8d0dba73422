// SPDX-License-Identifier: GPL-2.0
//! Handles, which connect sections of kernel code that other tasks run with a descriptor.

use std::fmt;
use std::num::NonZeroU32;

use crate::abi;
use crate::error::Error;

/// The sections in which the kernel works for a USB bus: the work of hubs and, in Linux 7.3, the
/// givebacks in softirqs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UsbBus(pub u32);

/// A handle that a task passes on to the kernel work that it causes, and to its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommonHandle(NonZeroU32);

impl UsbBus {
    /// Returns the handle in the kernel's format.
    #[must_use]
    pub const fn raw(self) -> u64 {
        abi::SUBSYSTEM_USB | self.0 as u64
    }
}

impl CommonHandle {
    /// Returns the handle of an instance; `None` for instance 0, which does not exist.
    #[must_use]
    pub const fn new(instance: u32) -> Option<Self> {
        match NonZeroU32::new(instance) {
            Some(instance) => Some(Self(instance)),
            None => None,
        }
    }

    /// Returns the handle in the kernel's format.
    #[must_use]
    pub const fn raw(self) -> u64 {
        abi::SUBSYSTEM_COMMON | self.0.get() as u64
    }
}

/// The sections to collect, and the size of the area that each section may use.
///
/// ```
/// use kcov::{CommonHandle, RemoteHandles, UsbBus};
/// # fn main() -> Result<(), kcov::Error> {
/// let handles = RemoteHandles::new(4096)
///     .common(CommonHandle::new(0x42).expect("not zero"))
///     .usb(UsbBus(1))?
///     .usb(UsbBus(2))?;
/// assert_eq!(handles.len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteHandles {
    arg: abi::RemoteArg,
}

impl RemoteHandles {
    /// Makes an empty list of handles. Every section may use `area_words` words, of which one is
    /// the count; records that do not fit are dropped.
    #[must_use]
    pub const fn new(area_words: u32) -> Self {
        Self {
            arg: abi::RemoteArg {
                header: abi::RemoteHeader {
                    trace_mode: 0,
                    area_size: area_words,
                    num_handles: 0,
                    front_size: 0,
                    common_handle: 0,
                },
                handles: [0; abi::REMOTE_MAX_HANDLES],
            },
        }
    }

    /// Adds the sections of a USB bus.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyHandles`] for more than 256.
    pub const fn usb(mut self, bus: UsbBus) -> Result<Self, Error> {
        let count = self.arg.header.num_handles as usize;
        if count == abi::REMOTE_MAX_HANDLES {
            return Err(Error::TooManyHandles);
        }
        self.arg.handles[count] = bus.raw();
        self.arg.header.num_handles += 1;
        Ok(self)
    }

    /// Sets the common handle.
    #[must_use]
    pub const fn common(mut self, handle: CommonHandle) -> Self {
        self.arg.header.common_handle = handle.raw();
        self
    }

    /// Returns the number of handles, the common one included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.arg.header.num_handles as usize + (self.arg.header.common_handle != 0) as usize
    }

    /// Returns whether no handle was added.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the argument for a mode; `front` is used only in modes that divide the buffer.
    pub(crate) fn arg(&self, mode: usize, front: usize) -> abi::RemoteArg {
        let mut arg = self.arg;
        // The modes are small numbers, and no buffer has 2^32 words.
        arg.header.trace_mode = mode as u32;
        arg.header.front_size = front as u32;
        arg
    }
}

impl fmt::Debug for RemoteHandles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.arg.header;
        f.debug_struct("RemoteHandles")
            .field("area_words", &header.area_size)
            .field("common", &header.common_handle)
            .field("handles", &&self.arg.handles[..header.num_handles as usize])
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_subsystem_and_instance() {
        assert_eq!(UsbBus(7).raw(), 0x0100_0000_0000_0007);
        assert_eq!(CommonHandle::new(u32::MAX).unwrap().raw(), 0xffff_ffff);
        assert_eq!(CommonHandle::new(0), None);
    }

    #[test]
    fn as_many_handles_as_the_kernel_takes_and_no_more() {
        let mut handles = RemoteHandles::new(64);
        for bus in 0..abi::REMOTE_MAX_HANDLES as u32 {
            handles = handles.usb(UsbBus(bus)).unwrap();
        }
        assert_eq!(handles.len(), 256);
        assert!(matches!(handles.usb(UsbBus(1)), Err(Error::TooManyHandles)));
    }

    #[test]
    fn argument_carries_mode_and_size() {
        let arg = RemoteHandles::new(64)
            .common(CommonHandle::new(5).unwrap())
            .arg(3, 16);
        assert_eq!((arg.header.trace_mode, arg.header.front_size), (3, 16));
        assert_eq!(arg.header.area_size, 64);
        assert_eq!(arg.header.num_handles, 0);
        assert_eq!(arg.header.common_handle, 5);
    }
}
