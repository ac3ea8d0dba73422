// SPDX-License-Identifier: GPL-2.0

//! Files in DebugFS that behave like a character device.
//!
//! The other files of this module can only be read and written. [`create_device`] makes a file that
//! also has private data for each open file, `ioctl` and `mmap`, and that may learn from the flags
//! of the open file whether it is to be truncated. The file is never removed.
//! Therefore it does not need the proxy that protects other DebugFS files against removal; that
//! proxy does not support `mmap`.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use crate::{
    bindings,
    error::{from_result, VTABLE_DEFAULT_ERROR},
    fs::{file, File},
    mm::{
        fault::{FaultHandler, Mapped, PageFault},
        virt::VmaNew, //
    },
    prelude::*,
    seq_file::SeqFile,
    types::ForeignOwnable,
    uaccess::{UserPtr, UserSlice, UserSliceReader, UserSliceWriter}, //
};
use core::{marker::PhantomData, ptr};

/// The operations of a DebugFS device.
#[vtable]
pub trait DeviceFile: Sized {
    /// The pointer to the private data of an open file.
    type Ptr: ForeignOwnable + Send + Sync;

    /// Called when the file is opened; the result becomes the file's private data.
    ///
    /// The file does not support seeking. Its flags have `O_TRUNC` only during this call.
    fn open(_file: &File) -> Result<Self::Ptr>;

    /// Called after the last reference to the open file has been dropped.
    fn release(device: Self::Ptr, _file: &File) {
        drop(device);
    }

    /// Called for `read`; writes text from `_offset` on, moves the offset and returns the number of
    /// bytes.
    ///
    /// Without it, `read` fails with [`EINVAL`].
    fn read(
        _device: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _to: &mut UserSliceWriter,
        _offset: &mut file::Offset,
    ) -> Result<usize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called for `write`; returns the number of bytes that it took, at least one.
    ///
    /// Without it, `write` fails with [`EINVAL`].
    fn write(
        _device: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _from: &mut UserSliceReader,
    ) -> Result<usize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called for `mmap`; must complete the initialization of `_vma`.
    fn mmap(
        _device: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _file: &File,
        _vma: &VmaNew,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when a page is accessed that a mapping does not have yet; must map it. May sleep.
    ///
    /// See [`FaultHandler::fault`] for the errors.
    fn fault(
        _device: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _fault: PageFault<'_>,
    ) -> Result<Mapped> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called for `ioctl` from 64-bit and 32-bit tasks alike; `_arg` is the argument as the task
    /// passed it.
    fn ioctl(
        _device: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _file: &File,
        _cmd: u32,
        _arg: usize,
    ) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called for a read of the file's entry in `/proc/PID/fdinfo`.
    fn show_fdinfo(
        _device: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _m: &SeqFile,
        _file: &File,
    ) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// Creates the file `name` in the root of DebugFS. The file is never removed.
///
/// `mode` holds its permission bits. As in all of DebugFS, a failure to create the file is not
/// reported.
///
/// # Safety
///
/// The code of `T` is never removed: the caller is built into the kernel, or its module cannot be
/// unloaded.
pub unsafe fn create_device<T: DeviceFile + 'static>(name: &'static CStr, mode: u16) {
    // SAFETY: The name is a C string, and by this function's requirement the operations are never
    // freed. The file is never removed, so the operations need no protection against removal.
    unsafe {
        bindings::debugfs_create_file_unsafe(
            name.as_char_ptr(),
            mode,
            ptr::null_mut(),
            ptr::null_mut(),
            &Operations::<T>::TABLE,
        )
    };
}

struct Operations<T: DeviceFile>(PhantomData<T>);

impl<T: DeviceFile + 'static> Operations<T> {
    const TABLE: bindings::file_operations = bindings::file_operations {
        open: Some(Self::open),
        release: Some(Self::release),
        read: if T::HAS_READ { Some(Self::read) } else { None },
        write: if T::HAS_WRITE {
            Some(Self::write)
        } else {
            None
        },
        mmap: if T::HAS_MMAP { Some(Self::mmap) } else { None },
        unlocked_ioctl: if T::HAS_IOCTL {
            Some(Self::ioctl)
        } else {
            None
        },
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: if T::HAS_IOCTL {
            Some(Self::ioctl)
        } else {
            None
        },
        show_fdinfo: if T::HAS_SHOW_FDINFO {
            Some(Self::show_fdinfo)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    /// Returns the private data and the file.
    ///
    /// # Safety
    ///
    /// `file` is an open file of this device, after `open` and before `release`.
    unsafe fn borrow<'a>(
        file: *mut bindings::file,
    ) -> (<T::Ptr as ForeignOwnable>::Borrowed<'a>, &'a File) {
        // SAFETY: `open` stored the private data, and `release`, which takes it back, has not run
        // yet.
        let device = unsafe { <T::Ptr as ForeignOwnable>::borrow((*file).private_data) };
        // SAFETY: The file is valid during the operation, and these operations run outside any
        // `fdget_pos` section.
        (device, unsafe { File::from_raw_file(file) })
    }

    /// Calls [`DeviceFile::open`] and stores its result.
    ///
    /// # Safety
    ///
    /// `inode` and `file` belong to a file that is being opened.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By this function's requirements.
        let ret = unsafe { bindings::nonseekable_open(inode, file) };
        if ret != 0 {
            return ret;
        }
        from_result(|| {
            // SAFETY: The file is valid during the call, which is outside any `fdget_pos` section.
            let device = T::open(unsafe { File::from_raw_file(file) })?;
            // SAFETY: A file that is being opened has no other user.
            unsafe { (*file).private_data = device.into_foreign() };
            Ok(0)
        })
    }

    /// Calls [`DeviceFile::release`] with the private data.
    ///
    /// # Safety
    ///
    /// `file` is an open file of this device, used for the last time.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open` stored the private data, and only this function takes it, once.
        let device = unsafe { <T::Ptr as ForeignOwnable>::from_foreign((*file).private_data) };
        // SAFETY: The file is valid during the call, which is outside any `fdget_pos` section.
        T::release(device, unsafe { File::from_raw_file(file) });
        0
    }

    /// Calls [`DeviceFile::read`].
    ///
    /// # Safety
    ///
    /// `file` is an open file of this device, and `offset` points to a position that only this
    /// call uses.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        to: *mut c_char,
        count: usize,
        offset: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: `open` stored the private data, and `release` has not run yet.
        let device = unsafe { <T::Ptr as ForeignOwnable>::borrow((*file).private_data) };
        // SAFETY: By this function's requirement.
        let offset = unsafe { &mut *offset };
        let mut writer = UserSlice::new(UserPtr::from_ptr(to.cast()), count).writer();
        from_result(|| Ok(T::read(device, &mut writer, offset)? as isize))
    }

    /// Calls [`DeviceFile::write`].
    ///
    /// # Safety
    ///
    /// `file` is an open file of this device.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        from: *const c_char,
        count: usize,
        _offset: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: As in `read`.
        let device = unsafe { <T::Ptr as ForeignOwnable>::borrow((*file).private_data) };
        let from = UserPtr::from_ptr(from.cast_mut().cast());
        let mut reader = UserSlice::new(from, count).reader();
        from_result(|| Ok(T::write(device, &mut reader)? as isize))
    }

    /// Calls [`DeviceFile::mmap`].
    ///
    /// # Safety
    ///
    /// `file` is an open file of this device, and `vma` is being initialized as a mapping of it.
    unsafe extern "C" fn mmap(
        file: *mut bindings::file,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: By this function's requirements.
        let (device, file) = unsafe { Self::borrow(file) };
        // SAFETY: By this function's requirements.
        let vma = unsafe { VmaNew::from_raw(vma) };
        if T::HAS_FAULT {
            vma.set_fault_handler::<Self>();
        }
        from_result(|| T::mmap(device, file, vma).map(|()| 0))
    }

    /// Calls [`DeviceFile::ioctl`].
    ///
    /// # Safety
    ///
    /// `file` is an open file of this device.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: By this function's requirement.
        let (device, file) = unsafe { Self::borrow(file) };
        from_result(|| T::ioctl(device, file, cmd, arg))
    }

    /// Calls [`DeviceFile::show_fdinfo`].
    ///
    /// # Safety
    ///
    /// `file` is an open file of this device, and `m` can be written to.
    unsafe extern "C" fn show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: By this function's requirements.
        let (device, file) = unsafe { Self::borrow(file) };
        // SAFETY: By this function's requirements.
        T::show_fdinfo(device, unsafe { SeqFile::from_raw(m) }, file);
    }
}

impl<T: DeviceFile + 'static> FaultHandler for Operations<T> {
    fn fault(fault: PageFault<'_>) -> Result<Mapped> {
        // SAFETY: The mapping is locked and has a file: only `mmap` above sets this handler.
        let file = unsafe { (*fault.vma().as_ptr()).vm_file };
        // SAFETY: The mapping keeps the file open. `open` stored the private data.
        let device = unsafe { <T::Ptr as ForeignOwnable>::borrow((*file).private_data) };
        T::fault(device, fault)
    }
}
