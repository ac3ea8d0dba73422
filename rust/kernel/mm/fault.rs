// SPDX-License-Identifier: GPL-2.0

//! Page faults in mappings of files.
//!
//! A driver need not insert all pages when its file is mapped. It can set a [`FaultHandler`] in its
//! `f_ops->mmap()` hook, with [`VmaNew::set_fault_handler`]. The handler inserts a page when user
//! space accesses it for the first time.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::{
    bindings,
    error::code::ENOMEM,
    fs::File,
    mm::virt::{flags, VmaNew, VmaRef},
    page::Page,
    prelude::*,
    types::Opaque, //
};
use core::marker::PhantomData;

/// Handles accesses to pages that are not mapped.
pub trait FaultHandler {
    /// Called when user space, or the kernel on behalf of user space, accesses a page of the
    /// mapping that is not present. May sleep.
    ///
    /// The implementation must call [`PageFault::map`] with the page. If it returns [`ENOMEM`], the
    /// kernel looks for memory and repeats the access. After any other error, a task that has made
    /// the access gets `SIGBUS`.
    fn fault(fault: PageFault<'_>) -> Result<Mapped>;
}

/// An access to a page that is not present.
///
/// # Invariants
///
/// The pointer leads to a fault that is being handled. The mmap read lock or the vma read lock is
/// held.
pub struct PageFault<'a>(&'a Opaque<bindings::vm_fault>);

/// The proof that a page was found for a fault; holds the result for the kernel.
pub struct Mapped(bindings::vm_fault_t);

impl PageFault<'_> {
    /// Returns the mapping.
    #[inline]
    pub fn vma(&self) -> &VmaRef {
        // SAFETY: By the type invariant, the fault is valid, and this field is not written.
        let vma = unsafe { (*self.0.get()).__bindgen_anon_1.vma };
        // SAFETY: By the type invariant, the vma is valid and locked while `self` lives.
        unsafe { VmaRef::from_raw(vma) }
    }

    /// Returns the offset of the page in the file, in pages.
    #[inline]
    pub fn page_offset(&self) -> usize {
        // SAFETY: By the type invariant, the fault is valid, and this field is not written.
        unsafe { (*self.0.get()).__bindgen_anon_1.pgoff }
    }

    /// Returns whether the access is a write.
    #[inline]
    fn is_write(&self) -> bool {
        // SAFETY: By the type invariant, the fault is valid, and only the kernel's code that has
        // called the handler writes this field.
        let flags = unsafe { (*self.0.get()).flags };
        flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0
    }

    /// Returns whether the kernel maps a copy of the page: the access is a write to a private
    /// mapping.
    #[inline]
    pub fn is_copy(&self) -> bool {
        self.is_write() && self.vma().flags() & flags::SHARED == 0
    }

    /// Maps `page`, or a copy of it if [`PageFault::is_copy`] returns true.
    ///
    /// The page stays allocated while it is mapped: the mapping has a reference to it.
    #[inline]
    pub fn map(self, page: &Page) -> Result<Mapped> {
        let fault = self.0.get();
        if self.is_copy() {
            // SAFETY: The page is valid.
            unsafe { bindings::get_page(page.as_ptr()) };
            // SAFETY: By the type invariant. The kernel copies the page and drops the reference.
            unsafe { (*fault).page = page.as_ptr() };
            return Ok(Mapped(0));
        }
        // SAFETY: By the type invariant, the fault is being handled. By the invariant of `Page`,
        // the page has order 0.
        let result =
            unsafe { bindings::vmf_insert_page_mkwrite(fault, page.as_ptr(), self.is_write()) };
        Ok(Mapped(result))
    }
}

impl VmaNew {
    /// Sets the handler for accesses to pages that are not present.
    ///
    /// The mapping keeps its file open. A handler may rely on that.
    #[inline]
    pub fn set_fault_handler<T: FaultHandler + 'static>(&self) {
        // SAFETY: The vma is undergoing initial setup, so it's not yet shared. The open file keeps
        // the module loaded that has the operations.
        unsafe { (*self.as_ptr()).vm_ops = &Operations::<T>::TABLE };
    }
}

impl VmaRef {
    /// Returns whether this is a mapping of `file`, which is one open file: another open file of
    /// the same path is not equal.
    #[inline]
    pub fn maps(&self, file: &File) -> bool {
        // SAFETY: By the type invariants, the caller holds at least the mmap read lock or the vma
        // read lock, so this access is not a data race.
        let mapped = unsafe { (*self.as_ptr()).vm_file };
        mapped == file.as_ptr()
    }
}

struct Operations<T: FaultHandler>(PhantomData<T>);

impl<T: FaultHandler> Operations<T> {
    const TABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        ..pin_init::zeroed()
    };

    /// Calls [`FaultHandler::fault`].
    ///
    /// # Safety
    ///
    /// `fault` is a fault that is being handled, with the mmap read lock or the vma read lock held.
    unsafe extern "C" fn fault(fault: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By this function's requirement; `Opaque` has the layout of its content.
        let opaque = unsafe { &*fault.cast() };
        // INVARIANT: By this function's requirement.
        match T::fault(PageFault(opaque)) {
            Ok(Mapped(result)) => result,
            Err(error) if error == ENOMEM => bindings::vm_fault_reason_VM_FAULT_OOM,
            Err(_) => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
        }
    }
}
