// SPDX-License-Identifier: GPL-2.0

//! The file in debugfs: decodes and checks the requests of user space.

use crate::{
    buffer::{Buffer, AHEAD},
    descriptor::{Descriptor, RemoteRequest},
    edges,
    mode::Mode,
    records::WORD,
    remote::handle::{HandleList, MAX_HANDLES},
    task::elsewhere, //
};
use core::{mem::offset_of, ops::Range};
use kernel::{
    bindings,
    debugfs::device::{create_device, DeviceFile},
    fs::File,
    ioctl::{_IO, _IOR, _IOW},
    mm::{
        fault::{Mapped, PageFault},
        virt::{VmaNew, VmaRef}, //
    },
    page::{PAGE_MASK, PAGE_SIZE},
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
const EDGE_ENABLE: u32 = _IOW::<usize>(MAGIC, 106);
const DISABLE_ANY: u32 = _IO(MAGIC, 107);

struct KcovFile;

#[vtable]
impl DeviceFile for KcovFile {
    type Ptr = Arc<Descriptor>;

    fn open(_file: &File) -> Result<Arc<Descriptor>> {
        Descriptor::new()
    }

    fn ioctl(
        descriptor: ArcBorrow<'_, Descriptor>,
        file: &File,
        cmd: u32,
        arg: usize,
    ) -> Result<isize> {
        match cmd {
            INIT_TRACE => descriptor.init(arg)?,
            ENABLE => descriptor.enable(Mode::from_user(arg), 0)?,
            UNIQUE_ENABLE => {
                // Programs read and clear the whole set.
                map_front(&descriptor, file, arg, 0);
                descriptor.enable(Mode::Unique.supported(), arg)?
            }
            PC_CMP_ENABLE => {
                map_front(&descriptor, file, arg, arg);
                descriptor.enable(Mode::PcCmp.supported(), arg)?
            }
            EDGE_ENABLE => {
                // The records are after the header and the table.
                let records = arg.saturating_add(edges::HEADER);
                map_front(&descriptor, file, records, records);
                descriptor.enable(Mode::Edge.supported(), arg)?
            }
            RESET_TRACE => descriptor.reset(arg)?,
            DISABLE => descriptor.disable(arg)?,
            DISABLE_ANY => elsewhere::disable_any(descriptor, arg)?,
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
        // With this flag, a fork copies the entries that are present.
        let mixed = vma.set_mixedmap();
        for (offset, page) in buffer.pages(0..AHEAD) {
            mixed.vm_insert_page(vma.start() + offset, &page)?;
        }
        buffer.set_mapping(vma.start());
        Ok(())
    }

    fn fault(descriptor: ArcBorrow<'_, Descriptor>, fault: PageFault<'_>) -> Result<Mapped> {
        let buffer = descriptor.buffer().ok_or(EINVAL)?;
        let offset = fault.page_offset().checked_mul(PAGE_SIZE).ok_or(EINVAL)?;
        let page = buffer.page(offset).ok_or(EINVAL)?;
        if !fault.is_copy() {
            let block = offset - offset % AHEAD;
            insert(fault.vma(), &buffer, block..block + AHEAD);
        }
        fault.map(&page)
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

/// Maps the pages of a buffer with offsets in `range` that are in `vma` and not present yet.
///
/// Without memory, the pages stay absent; a fault maps a page then.
fn insert(vma: &VmaRef, buffer: &Buffer, range: Range<usize>) {
    let Some(mixed) = vma.as_mixedmap_vma() else {
        return;
    };
    let first = vma.page_offset() * PAGE_SIZE;
    let last = first.saturating_add(vma.end() - vma.start());
    for (offset, page) in buffer.pages(range.start.max(first)..range.end.min(last)) {
        match mixed.vm_insert_page(vma.start() + (offset - first), &page) {
            // The page is present, or a private copy of it.
            Ok(()) | Err(EBUSY) => {}
            Err(_) => return,
        }
    }
}

/// Maps the pages of a divided buffer that a program accesses while it records: those with words
/// `from..front`, and the start of the trace after them. Otherwise the first access would fault,
/// and the fault would be recorded.
///
/// Looks only at the last mapping that was made of the file, at its address in this process.
fn map_front(descriptor: &Descriptor, file: &File, front: usize, from: usize) {
    let Some(buffer) = descriptor.buffer() else {
        return;
    };
    let task = current!();
    let Some(mm) = task.mm() else {
        return;
    };
    let front = front.saturating_mul(WORD).min(buffer.bytes());
    let from = from.saturating_mul(WORD).min(front) & PAGE_MASK;
    let mappings = mm.mmap_read_lock();
    if let Some(vma) = mappings.vma_lookup(buffer.mapping()) {
        if vma.maps(file) {
            insert(vma, &buffer, from..front + AHEAD);
        }
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
