// SPDX-License-Identifier: GPL-2.0
//! Decodes the instructions of a function as far as its control flow needs it.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, FlowControl};
use object::{Object, ObjectSymbol};

use super::image::{Architecture, Image, Symbol};
use super::relocate;
use super::sites::{jal_offset, word};

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its address.
    pub address: u64,
    /// The address after it.
    pub end: u64,
    /// The instruction that follows it.
    pub step: Step,
}

/// The place that an instruction leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An address in the same image.
    Address(u64),
    /// A function of another image, by its name.
    Name(String),
    /// It is in a register or in memory.
    Unknown,
}

/// The successors of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next one.
    Next,
    /// A function, and then the next one if the function returns.
    Call(Target),
    /// Another place.
    Jump(Target),
    /// Another place, or the next one.
    Branch(Target),
    /// The next one, if the exception that it raises is a warning.
    Trap,
    /// The caller.
    Return,
}

/// The targets that the linker has not filled in yet, by the address of the instruction, on x86 of the
/// displacement.
#[derive(Debug, Default)]
pub struct Relocated(HashMap<u64, Target>);

impl Relocated {
    /// Returns the targets of a module; there are none in a linked file.
    #[must_use]
    pub fn of(image: &Image<'_>) -> Self {
        let mut all = Self::default();
        if image.elf().kind() != object::ObjectKind::Relocatable {
            return all;
        }
        relocate::of_code(image, |text, offset, relocation, symbol| {
            // On x86, the displacement counts from its own end.
            let end = match image.architecture() {
                Architecture::X86_64 => 4,
                _ => 0,
            };
            let addend = relocation.addend() + end;
            let base = symbol
                .section_index()
                .and_then(|section| image.address_of_section(section));
            let target = match base {
                Some(base) => Target::Address((base + symbol.address()).wrapping_add_signed(addend)),
                None => Target::Name(symbol.name().unwrap_or_default().to_owned()),
            };
            all.0.entry(text.address + offset).or_insert(target);
        });
        all
    }

    fn at(&self, address: u64, linked: u64) -> Target {
        self.0.get(&address).cloned().unwrap_or(Target::Address(linked))
    }
}

/// Returns the instructions of a function; they end where a byte is not an instruction.
#[must_use]
pub fn instructions(image: &Image<'_>, relocated: &Relocated, symbol: &Symbol<'_>) -> Vec<Instruction> {
    let length = (symbol.end - symbol.address) as usize;
    let Some(code) = image.text_at(symbol.address) else {
        return Vec::new();
    };
    let code = &code[..length.min(code.len())];
    match image.architecture() {
        Architecture::X86_64 => x86_64(code, symbol.address, relocated),
        Architecture::Arm64 => arm64(code, symbol.address, relocated),
        Architecture::Riscv64 => riscv64(code, symbol.address, relocated),
    }
}

fn x86_64(code: &[u8], base: u64, relocated: &Relocated) -> Vec<Instruction> {
    let mut all = Vec::new();
    for instruction in &mut Decoder::with_ip(64, code, base, DecoderOptions::NONE) {
        if instruction.is_invalid() {
            break;
        }
        let end = instruction.next_ip();
        let target = || relocated.at(end.wrapping_sub(4), instruction.near_branch_target());
        let step = match instruction.flow_control() {
            FlowControl::Next | FlowControl::XbeginXabortXend => Step::Next,
            FlowControl::UnconditionalBranch => Step::Jump(target()),
            FlowControl::ConditionalBranch => Step::Branch(target()),
            FlowControl::IndirectBranch => Step::Jump(Target::Unknown),
            FlowControl::Call => Step::Call(target()),
            FlowControl::IndirectCall => Step::Call(Target::Unknown),
            FlowControl::Return => Step::Return,
            FlowControl::Interrupt | FlowControl::Exception => Step::Trap,
        };
        all.push(Instruction {
            address: instruction.ip(),
            end,
            step,
        });
    }
    all
}

/// Returns the bits of a number from `low` on, with its sign.
fn signed(value: u32, low: u32, bits: u32) -> i64 {
    i64::from((value << (32 - low - bits)) as i32 >> (32 - bits))
}

fn arm64(code: &[u8], base: u64, relocated: &Relocated) -> Vec<Instruction> {
    let mut all = Vec::new();
    for (i, bytes) in code.chunks_exact(4).enumerate() {
        let Some(word) = word(bytes, 0) else { break };
        let address = base + i as u64 * 4;
        let to = |distance: i64| relocated.at(address, address.wrapping_add_signed(distance * 4));
        let step = match word >> 24 {
            0x94..=0x97 => Step::Call(to(signed(word, 0, 26))),
            0x14..=0x17 => Step::Jump(to(signed(word, 0, 26))),
            0x54 | 0x34 | 0x35 | 0xb4 | 0xb5 => Step::Branch(to(signed(word, 5, 19))),
            0x36 | 0x37 | 0xb6 | 0xb7 => Step::Branch(to(signed(word, 5, 14))),
            0xd6 | 0xd7 => match word >> 21 & 7 {
                0 => Step::Jump(Target::Unknown),
                1 => Step::Call(Target::Unknown),
                _ => Step::Return,
            },
            0xd4 if word >> 21 & 7 == 1 => Step::Trap,
            _ => Step::Next,
        };
        let end = address + 4;
        all.push(Instruction { address, end, step });
    }
    all
}

fn riscv64(code: &[u8], base: u64, relocated: &Relocated) -> Vec<Instruction> {
    let mut all: Vec<Instruction> = Vec::new();
    let mut at = 0;
    // The register and the value of the auipc before.
    let mut upper: Option<(u32, u64, u64)> = None;
    while let Some(half) = code.get(at..at + 2) {
        let address = base + at as u64;
        let half = u32::from(u16::from_le_bytes([half[0], half[1]]));
        let before = upper.take();
        let (length, step) = if half & 3 == 3 {
            let Some(word) = word(code, at) else { break };
            if word & 0x7f == 0x17 {
                let value = address.wrapping_add_signed(i64::from((word & 0xffff_f000) as i32));
                upper = Some((word >> 7 & 0x1f, value, address));
            }
            (4, riscv_step(word, address, before, relocated))
        } else {
            (2, compressed_step(half, address, relocated))
        };
        let end = address + length as u64;
        all.push(Instruction { address, end, step });
        at += length;
    }
    all
}

fn riscv_step(word: u32, address: u64, upper: Option<(u32, u64, u64)>, relocated: &Relocated) -> Step {
    let link = word >> 7 & 0x1f;
    match word & 0x7f {
        0x6f => {
            let target = relocated.at(address, address.wrapping_add_signed(jal_offset(word)));
            if link == 0 {
                Step::Jump(target)
            } else {
                Step::Call(target)
            }
        }
        0x67 => {
            let from = word >> 15 & 0x1f;
            let target = match upper.filter(|(register, _, _)| *register == from) {
                Some((_, value, at)) => relocated.at(at, value.wrapping_add_signed(signed(word, 20, 12))),
                None => Target::Unknown,
            };
            match (link, from) {
                (0, 1) if target == Target::Unknown => Step::Return,
                (0, _) => Step::Jump(target),
                _ => Step::Call(target),
            }
        }
        0x63 => {
            let bits = i64::from(word);
            let low = (bits >> 7 & 1) << 11 | (bits >> 25 & 0x3f) << 5 | (bits >> 8 & 0xf) << 1;
            let distance = signed(word, 31, 1) << 12 | low;
            Step::Branch(relocated.at(address, address.wrapping_add_signed(distance)))
        }
        _ if word == 0x0010_0073 => Step::Trap,
        _ => Step::Next,
    }
}

fn compressed_step(half: u32, address: u64, relocated: &Relocated) -> Step {
    let bit = |from: u32, to: u32| i64::from(half >> from & 1) << to;
    let to = |distance: i64| relocated.at(address, address.wrapping_add_signed(distance));
    let register = half >> 7 & 0x1f;
    match (half & 3, half >> 13) {
        (1, 5) => {
            let low = bit(11, 4) | bit(9, 8) | bit(10, 9) | bit(6, 7) | bit(7, 6) | bit(2, 5) | bit(8, 10);
            Step::Jump(to(-bit(12, 11) | low | bit(3, 1) | bit(4, 2) | bit(5, 3)))
        }
        (1, 6 | 7) => {
            let low = bit(10, 3) | bit(11, 4) | bit(2, 5) | bit(3, 1) | bit(4, 2) | bit(5, 6) | bit(6, 7);
            Step::Branch(to(-bit(12, 8) | low))
        }
        (2, 4) if half >> 2 & 0x1f == 0 => match (half >> 12 & 1, register) {
            (0, 1) => Step::Return,
            (0, _) => Step::Jump(Target::Unknown),
            (_, 0) => Step::Trap,
            _ => Step::Call(Target::Unknown),
        },
        _ => Step::Next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(all: &[Instruction]) -> Vec<&Step> {
        all.iter().map(|instruction| &instruction.step).collect()
    }

    #[test]
    fn x86_64_is_decoded() {
        // je +2; call the next; jmp *%rax; ud2; ret.
        let code = [0x74, 2, 0xe8, 0, 0, 0, 0, 0xff, 0xe0, 0x0f, 0x0b, 0xc3];
        let found = x86_64(&code, 0x1000, &Relocated::default());
        assert_eq!(
            steps(&found),
            [
                &Step::Branch(Target::Address(0x1004)),
                &Step::Call(Target::Address(0x1007)),
                &Step::Jump(Target::Unknown),
                &Step::Trap,
                &Step::Return
            ]
        );
    }

    #[test]
    fn arm64_is_decoded() {
        // b.eq -4; tbz x0, #0, +8; bl -8; br x16; ret; cbnz x1, +4; nop.
        let words: [u32; 7] = [
            0x54ff_ffe0,
            0x3600_0040,
            0x97ff_fffe,
            0xd61f_0200,
            0xd65f_03c0,
            0xb500_0021,
            0xd503_201f,
        ];
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let found = arm64(&code, 0x1000, &Relocated::default());
        assert_eq!(
            steps(&found),
            [
                &Step::Branch(Target::Address(0xffc)),
                &Step::Branch(Target::Address(0x100c)),
                &Step::Call(Target::Address(0x1000)),
                &Step::Jump(Target::Unknown),
                &Step::Return,
                &Step::Branch(Target::Address(0x1018)),
                &Step::Next
            ]
        );
    }

    #[test]
    fn riscv64_is_decoded() {
        // beq a0, a1, -4; c.j -4; c.bnez a0, +8; auipc ra, 1; jalr ra, 16(ra); c.jr ra.
        let code = [
            0xe3, 0x0e, 0xb5, 0xfe, 0xf5, 0xbf, 0x01, 0xe5, 0x97, 0x10, 0, 0, 0xe7, 0x80, 0x00, 0x01, 0x82,
            0x80,
        ];
        let found = riscv64(&code, 0x1000, &Relocated::default());
        assert_eq!(
            steps(&found),
            [
                &Step::Branch(Target::Address(0xffc)),
                &Step::Jump(Target::Address(0x1000)),
                &Step::Branch(Target::Address(0x100e)),
                &Step::Next,
                &Step::Call(Target::Address(0x2018)),
                &Step::Return
            ]
        );
    }
}
