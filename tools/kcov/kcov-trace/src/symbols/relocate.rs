// SPDX-License-Identifier: GPL-2.0
//! The relocations of a module, which has not been linked yet: applied to its debug information, and
//! those of its code.

use std::collections::HashMap;

use anyhow::{Result, bail};
use object::elf;
use object::{Object, ObjectSection, ObjectSymbol, Relocation, RelocationFlags, RelocationTarget};

use super::image::{Image, Text};

/// Calls a function with each relocation of the code that names a symbol: the section, the place in
/// it, the relocation, and the symbol.
pub(super) fn of_code<'a>(
    image: &Image<'a>,
    mut visit: impl FnMut(&Text<'a>, u64, &Relocation, &object::Symbol<'_, '_>),
) {
    for text in image.text() {
        let Ok(section) = image.elf().section_by_index(text.index) else {
            continue;
        };
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                continue;
            };
            if let Ok(symbol) = image.elf().symbol_by_index(index) {
                visit(text, offset, &relocation, &symbol);
            }
        }
    }
}

/// Applies the relocations of a debug section to its contents, with the file's sections at the
/// addresses in `layout` and other sections at 0.
pub(super) fn debug_section<'d>(
    file: &object::File<'d>,
    layout: &HashMap<usize, u64>,
    section: &object::Section<'d, '_>,
    contents: &mut [u8],
) -> Result<()> {
    let machine = file.architecture();
    for (offset, relocation) in section.relocations() {
        let (RelocationTarget::Symbol(index), RelocationFlags::Elf { r_type }) =
            (relocation.target(), relocation.flags())
        else {
            continue;
        };
        let symbol = file.symbol_by_index(index)?;
        let base = symbol
            .section_index()
            .and_then(|index| layout.get(&index.0))
            .copied();
        let value = symbol
            .address()
            .wrapping_add(base.unwrap_or(0))
            .wrapping_add_signed(relocation.addend());
        apply(contents, offset, kind(machine, r_type)?, value)?;
    }
    Ok(())
}

/// The effect of a relocation on its bytes.
#[derive(Clone, Copy)]
enum Kind {
    Nothing,
    Set(usize),
    Add(usize),
    Sub(usize),
    SetSix,
    SubSix,
    SetLeb,
    SubLeb,
}

fn kind(machine: object::Architecture, r_type: u32) -> Result<Kind> {
    use Kind::{Add, Nothing, Set, SetLeb, SetSix, Sub, SubLeb, SubSix};
    let kind = match machine {
        object::Architecture::X86_64 => match r_type {
            elf::R_X86_64_NONE => Some(Nothing),
            elf::R_X86_64_64 => Some(Set(8)),
            elf::R_X86_64_32 | elf::R_X86_64_32S => Some(Set(4)),
            _ => None,
        },
        object::Architecture::Aarch64 => match r_type {
            elf::R_AARCH64_NONE => Some(Nothing),
            elf::R_AARCH64_ABS64 => Some(Set(8)),
            elf::R_AARCH64_ABS32 => Some(Set(4)),
            _ => None,
        },
        // The linker shrinks code on this architecture, so even lengths are differences of two
        // symbols.
        _ => match r_type {
            elf::R_RISCV_NONE | elf::R_RISCV_RELAX => Some(Nothing),
            elf::R_RISCV_64 => Some(Set(8)),
            elf::R_RISCV_32 | elf::R_RISCV_SET32 => Some(Set(4)),
            elf::R_RISCV_SET16 => Some(Set(2)),
            elf::R_RISCV_SET8 => Some(Set(1)),
            elf::R_RISCV_ADD64 => Some(Add(8)),
            elf::R_RISCV_ADD32 => Some(Add(4)),
            elf::R_RISCV_ADD16 => Some(Add(2)),
            elf::R_RISCV_ADD8 => Some(Add(1)),
            elf::R_RISCV_SUB64 => Some(Sub(8)),
            elf::R_RISCV_SUB32 => Some(Sub(4)),
            elf::R_RISCV_SUB16 => Some(Sub(2)),
            elf::R_RISCV_SUB8 => Some(Sub(1)),
            elf::R_RISCV_SET6 => Some(SetSix),
            elf::R_RISCV_SUB6 => Some(SubSix),
            elf::R_RISCV_SET_ULEB128 => Some(SetLeb),
            elf::R_RISCV_SUB_ULEB128 => Some(SubLeb),
            _ => None,
        },
    };
    match kind {
        Some(kind) => Ok(kind),
        None => bail!("a relocation of type {r_type} is not known in debug information"),
    }
}

fn apply(section: &mut [u8], offset: u64, kind: Kind, value: u64) -> Result<()> {
    let Some(bytes) = usize::try_from(offset)
        .ok()
        .and_then(|offset| section.get_mut(offset..))
    else {
        bail!("a relocation points after the end of its section");
    };
    let width = match kind {
        Kind::Nothing => 0,
        Kind::Set(width) | Kind::Add(width) | Kind::Sub(width) => width,
        Kind::SetSix | Kind::SubSix => 1,
        Kind::SetLeb | Kind::SubLeb => bytes.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1,
    };
    let Some(bytes) = bytes.get_mut(..width) else {
        bail!("a relocation points after the end of its section");
    };
    match kind {
        Kind::Nothing => {}
        Kind::Set(_) => store(bytes, value),
        Kind::Add(_) => store(bytes, load(bytes).wrapping_add(value)),
        Kind::Sub(_) => store(bytes, load(bytes).wrapping_sub(value)),
        Kind::SetSix => bytes[0] = bytes[0] & 0xc0 | value as u8 & 0x3f,
        Kind::SubSix => bytes[0] = bytes[0] & 0xc0 | bytes[0].wrapping_sub(value as u8) & 0x3f,
        Kind::SetLeb => store_leb(bytes, value),
        Kind::SubLeb => store_leb(bytes, load_leb(bytes).wrapping_sub(value)),
    }
    Ok(())
}

fn load(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn store(bytes: &mut [u8], value: u64) {
    let width = bytes.len();
    bytes.copy_from_slice(&value.to_le_bytes()[..width]);
}

fn load_leb(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

/// Writes a LEB128 number with the length that the assembler chose.
fn store_leb(bytes: &mut [u8], mut value: u64) {
    let last = bytes.len() - 1;
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = (value & 0x7f) as u8 | if i < last { 0x80 } else { 0 };
        value >>= 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(bytes: &[u8], kind: Kind, value: u64) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        apply(&mut bytes, 1, kind, value).unwrap();
        bytes
    }

    #[test]
    fn values_go_where_the_relocation_points() {
        assert_eq!(applied(&[9, 0, 0, 9], Kind::Set(2), 0x1234), [9, 0x34, 0x12, 9]);
        assert_eq!(applied(&[9, 5, 0, 9], Kind::Add(2), 0xff), [9, 4, 1, 9]);
        assert_eq!(applied(&[9, 5, 0, 9], Kind::Sub(2), 6), [9, 0xff, 0xff, 9]);
        assert_eq!(applied(&[9, 0xc5], Kind::SubSix, 6), [9, 0xff]);
        assert_eq!(applied(&[9, 0x80, 0x00], Kind::SetLeb, 300), [9, 0xac, 0x02]);
        assert_eq!(applied(&[9, 0xac, 0x02], Kind::SubLeb, 299), [9, 0x81, 0x00]);
    }

    #[test]
    fn relocation_behind_the_section_is_refused() {
        assert!(apply(&mut [0; 4], 2, Kind::Set(4), 1).is_err());
        assert!(apply(&mut [0; 4], u64::MAX, Kind::Set(1), 1).is_err());
    }
}
