// SPDX-License-Identifier: GPL-2.0

//! The file in debugfs: decodes and checks the requests of user space.

use crate::{
    descriptor::{Descriptor, RemoteRequest},
    mode::Mode,
    remote::handle::{HandleList, MAX_HANDLES}, //
};
use core::mem::offset_of;
use kernel::{
    bindings,
    debugfs::device::{create_device, DeviceFile},
    fs::File,
    ioctl::{_IO, _IOR, _IOW},
    mm::virt::VmaNew,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{Arc, ArcBorrow},
    uaccess::{UserPtr, UserSlice}, //
};

/// The ioctl type of all commands of the interface.
const MAGIC: u32 = b'c' as u32;

const INIT_TRACE: u32 = _IOR::<usize>(MAGIC, 1);
const ENABLE: u32 = _IO(MAGIC, 100);
const DISABLE: u32 = _IO(MAGIC, 101);
const REMOTE_ENABLE: u32 = _IOW::<bindings::kcov_remote_arg>(MAGIC, 102);
const UNIQUE_ENABLE: u32 = _IOW::<usize>(MAGIC, 103);
const RESET_TRACE: u32 = _IO(MAGIC, 104);
const PC_CMP_ENABLE: u32 = _IOW::<usize>(MAGIC, 105);

struct KcovFile;

#[vtable]
impl DeviceFile for KcovFile {
    type Ptr = Arc<Descriptor>;

    fn open(_file: &File) -> Result<Arc<Descriptor>> {
        Descriptor::new()
    }

    fn ioctl(
        descriptor: ArcBorrow<'_, Descriptor>,
        _file: &File,
        cmd: u32,
        arg: usize,
    ) -> Result<isize> {
        match cmd {
            INIT_TRACE => descriptor.init(arg)?,
            ENABLE => descriptor.enable(Mode::from_user(arg), 0)?,
            UNIQUE_ENABLE => descriptor.enable(Mode::Unique.supported(), arg)?,
            PC_CMP_ENABLE => descriptor.enable(Mode::PcCmp.supported(), arg)?,
            RESET_TRACE => descriptor.reset(arg)?,
            DISABLE => descriptor.disable(arg)?,
            REMOTE_ENABLE => descriptor.remote_enable(&read_request(UserPtr::from_addr(arg))?)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    fn mmap(descriptor: ArcBorrow<'_, Descriptor>, _file: &File, vma: &VmaNew) -> Result {
        let buffer = descriptor.buffer().ok_or(EINVAL)?;
        if vma.page_offset() != 0 || vma.end() - vma.start() != buffer.bytes() {
            return Err(EINVAL);
        }
        vma.set_dontexpand();
        let mixed = vma.set_mixedmap();
        for (offset, page) in buffer.pages() {
            mixed.vm_insert_page(vma.start() + offset, &page)?;
        }
        Ok(())
    }

    fn show_fdinfo(descriptor: ArcBorrow<'_, Descriptor>, m: &SeqFile, _file: &File) {
        let summary = descriptor.summary();
        seq_print!(m, "kcov-state:\t{}\n", summary.state);
        seq_print!(m, "kcov-mode:\t{}\n", summary.mode);
        seq_print!(m, "kcov-words:\t{}\n", summary.words);
        seq_print!(m, "kcov-handles:\t{}\n", summary.handles);
        seq_print!(m, "kcov-dropped-records:\t{}\n", summary.dropped);
        seq_print!(m, "kcov-lost-sections:\t{}\n", summary.lost_sections);
    }
}

/// Reads the argument of `KCOV_REMOTE_ENABLE`: a `struct kcov_remote_arg` with its handles.
///
/// The checks here are made before all checks of the descriptor's state.
fn read_request(arg: UserPtr) -> Result<RemoteRequest> {
    let number_at = arg.wrapping_byte_add(offset_of!(bindings::kcov_remote_arg, num_handles));
    let number: u32 = UserSlice::new(number_at, size_of::<u32>())
        .reader()
        .read()?;
    let handles = number as usize;
    if handles > MAX_HANDLES {
        return Err(EINVAL);
    }

    let size = size_of::<bindings::kcov_remote_arg>() + handles * size_of::<u64>();
    let mut reader = UserSlice::new(arg, size).reader();
    let mode: u32 = reader.read()?;
    let area_words: u32 = reader.read()?;
    let number_now: u32 = reader.read()?;
    let front: u32 = reader.read()?;
    let common: u64 = reader.read()?;
    let mut global = KVec::with_capacity(handles, GFP_KERNEL)?;
    while !reader.is_empty() {
        global.push(reader.read::<u64>()?, GFP_KERNEL)?;
    }
    // Another thread may have changed the argument between the two reads.
    if number_now != number {
        return Err(EINVAL);
    }
    Ok(RemoteRequest {
        mode: Mode::from_remote_user(mode as usize),
        area_words: area_words as usize,
        front: front as usize,
        handles: HandleList::new(global, common),
    })
}

/// Creates the file.
#[expect(unsafe_code)]
pub(crate) fn create() {
    // SAFETY: KCOV is built into the kernel.
    unsafe { create_device::<KcovFile>(c"kcov", 0o600) };
}
