// SPDX-License-Identifier: GPL-2.0

//! Names of the kernel's functions.
//!
//! C header: [`include/linux/kallsyms.h`](srctree/include/linux/kallsyms.h)

#[cfg(CONFIG_KALLSYMS)]
use crate::bindings;
use crate::prelude::*;

/// The size of the longest name, with the byte that ends it.
const LONGEST: usize = 512;

/// A symbol of the kernel image or of a module.
pub struct Symbol<'a> {
    /// The name. Of several names for one address, it is the first.
    pub name: &'a CStr,
    /// The address of the symbol.
    pub start: usize,
    /// The distance to the next symbol.
    pub size: usize,
}

/// Finds the symbols to which addresses belong.
///
/// Holds memory for one name.
pub struct Lookup {
    name: KBox<[u8; LONGEST]>,
}

impl Lookup {
    /// Allocates the memory.
    pub fn new() -> Result<Self> {
        Ok(Self {
            name: KBox::new([0; LONGEST], GFP_KERNEL)?,
        })
    }

    /// Returns the symbol that begins at `address` or before it, and ends after it.
    ///
    /// Returns [`None`] if the address is not code of the kernel, and without `CONFIG_KALLSYMS`.
    #[cfg(CONFIG_KALLSYMS)]
    pub fn find(&mut self, address: usize) -> Option<Symbol<'_>> {
        const _: () = assert!(bindings::KSYM_NAME_LEN as usize <= LONGEST);
        let (mut size, mut offset) = (0, 0);
        // SAFETY: The function accepts every address, and writes a name of at most
        // `KSYM_NAME_LEN` bytes.
        let found = unsafe {
            bindings::kallsyms_lookup(
                address,
                &mut size,
                &mut offset,
                core::ptr::null_mut(),
                self.name.as_mut_ptr().cast(),
            )
        };
        if found.is_null() {
            return None;
        }
        Some(Symbol {
            name: CStr::from_bytes_until_nul(&self.name[..]).ok()?,
            start: address.wrapping_sub(offset),
            size,
        })
    }

    /// Returns [`None`].
    #[cfg(not(CONFIG_KALLSYMS))]
    pub fn find(&mut self, _address: usize) -> Option<Symbol<'_>> {
        None
    }
}
