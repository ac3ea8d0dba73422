// SPDX-License-Identifier: GPL-2.0
//! Mappings of buffers.

use super::{Checked, MOST, World};
use crate::model::{File, Mapping};
use crate::sys::PAGE;

impl World {
    pub(super) fn map(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let mapped: usize = self
            .model
            .processes
            .iter()
            .flatten()
            .map(|process| process.mappings.len())
            .sum();
        if mapped >= MOST {
            return Ok(());
        }
        let size = self.model.descriptors[file.descriptor].words * 8;
        let (mut bytes_wanted, mut offset) = (size.max(PAGE), 0);
        match bytes[2] {
            200..=207 => bytes_wanted += PAGE,
            208..=215 => bytes_wanted = (size / 2).max(1),
            216..=223 => offset = PAGE,
            224..=231 => bytes_wanted -= 7,
            _ => {}
        }
        let shared = bytes[3] < 224;
        let writable = bytes[4] < 192;
        let descriptor = file.descriptor;
        self.say(actor, |_| {
            let how = if shared { "shared" } else { "private" };
            let what = if writable { "to be written" } else { "to be read" };
            format!("mmap, {bytes_wanted} bytes at {offset}, {how}, {what}, descriptor {descriptor}")
        });
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        let flags = if shared {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        let arguments = [
            0,
            bytes_wanted,
            protection as usize,
            flags as usize,
            file.number,
            offset,
        ];
        let result = self.call(actor, libc::SYS_mmap, &arguments)?;
        let expected = self.model.map(&file, bytes_wanted, offset, shared, writable);
        self.compare(result, expected)?;
        if expected.is_ok() {
            let mapping = Mapping {
                address: result as usize,
                bytes: size,
                descriptor,
                access: file.access,
                shared,
                writable,
            };
            self.model.process_mut(actor).mappings.push(mapping);
        }
        Ok(())
    }

    pub(super) fn unmap(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let Some((index, mapping)) = self.pick_mapping(actor, bytes[1]) else {
            return Ok(());
        };
        self.say(actor, |_| format!("munmap, descriptor {}", mapping.descriptor));
        let result = self.call(actor, libc::SYS_munmap, &[mapping.address, mapping.bytes])?;
        self.model.process_mut(actor).mappings.remove(index);
        self.compare(result, Ok(()))
    }

    pub(super) fn protect(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let Some((index, mapping)) = self.pick_mapping(actor, bytes[1]) else {
            return Ok(());
        };
        let writable = bytes[2] < 128;
        self.say(actor, |_| {
            format!(
                "mprotect, writable: {writable}, descriptor {}",
                mapping.descriptor
            )
        });
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        let result = self.call(
            actor,
            libc::SYS_mprotect,
            &[mapping.address, mapping.bytes, protection as usize],
        )?;
        let allowed = !writable || !mapping.shared || mapping.access == libc::O_RDWR;
        self.compare(result, if allowed { Ok(()) } else { Err(libc::EACCES) })?;
        if allowed {
            self.model.process_mut(actor).mappings[index].writable = writable;
        }
        Ok(())
    }

    pub(super) fn remap(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let Some((_, mapping)) = self.pick_mapping(actor, bytes[1]) else {
            return Ok(());
        };
        self.say(actor, |_| {
            format!("mremap to twice the size, descriptor {}", mapping.descriptor)
        });
        let arguments = [
            mapping.address,
            mapping.bytes,
            2 * mapping.bytes,
            libc::MREMAP_MAYMOVE as usize,
        ];
        let result = self.call(actor, libc::SYS_mremap, &arguments)?;
        self.compare(result, Err(libc::EFAULT))
    }
}
