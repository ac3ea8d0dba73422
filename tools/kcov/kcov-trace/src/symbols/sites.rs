// SPDX-License-Identifier: GPL-2.0
//! Finds every place that calls KCOV's hooks: all code that can be covered.
//!
//! In `vmlinux` the linker has resolved the calls, so the code is searched for call instructions
//! that lead to a hook. The code is not disassembled: on x86, a byte inside another instruction is
//! mistaken for a call only if it is followed by the one matching displacement out of 2^32. In a
//! module the relocations name the calls.

use std::path::PathBuf;

use memchr::memchr2_iter;
use memchr::memmem;
use object::{Object, ObjectSymbol};
use thiserror::Error;

use super::image::{Architecture, Image};
use super::{relocate, veneers};

/// The hooks whose call sites are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `__sanitizer_cov_trace_pc`.
    Pc,
    /// The hooks of comparisons and switches.
    Comparison,
}

/// The instruction by which a site reaches the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteKind {
    /// A call: the hook sees the address after it.
    Call,
    /// A jump at the end of a function: the hook sees the address after the call *of that
    /// function*.
    TailJump,
}

/// A call site of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The address after the instruction: the recorded PC if it is a call.
    pub pc: u64,
    /// Call or jump.
    pub kind: SiteKind,
}

impl Hook {
    fn is(self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix("__sanitizer_cov_trace_") else {
            return false;
        };
        match self {
            Self::Pc => rest == "pc",
            Self::Comparison => rest.starts_with("cmp") || rest.starts_with("const_cmp") || rest == "switch",
        }
    }
}

/// The reason why the call sites of an image are not known, with the remedy.
#[derive(Clone, Debug, Error)]
pub enum NoSites {
    /// The table of symbols is missing, so the hooks are not known.
    #[error(
        "{} has no symbols: it was stripped; name the file vmlinux of the build folder, or put the file with its debug information next to it",
        path.display()
    )]
    Stripped {
        /// The file.
        path: PathBuf,
    },
    /// There is no hook.
    #[error("{} has no {missing}", path.display())]
    NoHook {
        /// The file.
        path: PathBuf,
        /// The hooks that are missing, and the option of the kernel that adds them.
        missing: &'static str,
    },
    /// The file has the debug information only.
    #[error(
        "{} has debug information, but not the code: put the file that it was split from, with the same build id, next to it",
        path.display()
    )]
    NoCode {
        /// The file.
        path: PathBuf,
    },
    /// The calls lead through registers.
    #[error(
        "{} calls the hooks through registers, as user-mode Linux does (-mcmodel=large), so how many calls there are is not known; ask for the format 'listing', 'functions', 'trace' or 'json'",
        path.display()
    )]
    Registers {
        /// The file.
        path: PathBuf,
    },
}

/// Returns all call sites of the hook in the image, in ascending order.
///
/// # Errors
///
/// The image does not tell where they are.
pub fn sites(image: &Image<'_>, hook: Hook) -> Result<Vec<Site>, NoSites> {
    let path = || image.path().to_path_buf();
    if !image.has_code() {
        return Err(NoSites::NoCode { path: path() });
    }
    let mut found = if image.elf().kind() == object::ObjectKind::Relocatable {
        by_relocation(image, hook)
    } else {
        by_instruction(image, &hooks(image, hook)?)?
    };
    found.sort_by_key(|site| site.pc);
    Ok(found)
}

/// Returns the addresses of the hooks.
fn hooks(image: &Image<'_>, hook: Hook) -> Result<Vec<u64>, NoSites> {
    let path = image.path().to_path_buf();
    if !image.has_symbols() {
        return Err(NoSites::Stripped { path });
    }
    let found: Vec<u64> = image
        .symbol_file()
        .symbols()
        .filter(|symbol| symbol.is_definition() && symbol.name().is_ok_and(|name| hook.is(name)))
        .map(|symbol| symbol.address())
        .collect();
    if found.is_empty() {
        let missing = match hook {
            Hook::Pc => "__sanitizer_cov_trace_pc: it is a kernel without CONFIG_KCOV, or another program",
            Hook::Comparison => {
                "comparison hooks: it is a kernel without CONFIG_KCOV_ENABLE_COMPARISONS, or another program"
            }
        };
        return Err(NoSites::NoHook { path, missing });
    }
    Ok(found)
}

/// Searches the code for instructions that lead to one of the hooks.
fn by_instruction(image: &Image<'_>, hooks: &[u64]) -> Result<Vec<Site>, NoSites> {
    let mut found = Vec::new();
    let scan = |targets: &[u64], found: &mut Vec<Site>| {
        let scan = match image.architecture() {
            Architecture::X86_64 => scan_x86_64,
            Architecture::Arm64 => scan_arm64,
            Architecture::Riscv64 => scan_riscv64,
        };
        for text in image.text() {
            scan(text.data, text.address, targets, found);
        }
    };
    scan(hooks, &mut found);
    if image.architecture() == Architecture::Arm64 {
        let mut veneers = veneers::to(image, hooks);
        // The jump of a veneer is not a site; its callers are.
        found.retain(|site| {
            let function = image.function(site.pc - 4);
            let veneer = function.filter(|function| veneers::is_name(function.name));
            veneers.extend(veneer.map(|function| function.address));
            veneer.is_none()
        });
        scan(&veneers, &mut found);
    }
    if image.architecture() == Architecture::X86_64 {
        let loads: usize = image.text().iter().map(|text| loads_of(text.data, hooks)).sum();
        // A few loads may be those of a function pointer.
        if loads > found.len() / 10 + 1 {
            return Err(NoSites::Registers {
                path: image.path().to_path_buf(),
            });
        }
    }
    Ok(found)
}

/// Returns the jumps to the hook at the end of the function that the call before `pc` calls. In
/// such a function, the hook sees the address of the caller, so `pc` counts for the jump.
pub fn jumps_after_call<'s>(
    image: &Image<'_>,
    sites: &'s [Site],
    pc: u64,
) -> impl Iterator<Item = &'s Site> + use<'s> {
    let function = call_before(image, pc).and_then(|target| image.function(target));
    let inside = function.map_or(&[][..], |function| {
        let first = sites.partition_point(|site| site.pc <= function.address);
        let after = sites.partition_point(|site| site.pc <= function.end);
        &sites[first..after]
    });
    inside.iter().filter(|site| site.kind == SiteKind::TailJump)
}

fn by_relocation(image: &Image<'_>, hook: Hook) -> Vec<Site> {
    let mut found = Vec::new();
    relocate::of_code(image, |text, offset, _, symbol| {
        let named = symbol.name().is_ok_and(|name| hook.is(name));
        let Ok(at) = usize::try_from(offset) else { return };
        let site = match image.architecture() {
            _ if !named => None,
            // The relocation is at the displacement, after the opcode.
            Architecture::X86_64 => match text.data.get(at.wrapping_sub(1)) {
                Some(0xe8) => Some((4, SiteKind::Call)),
                Some(0xe9) => Some((4, SiteKind::TailJump)),
                _ => None,
            },
            Architecture::Arm64 => match word(text.data, at).map(|word| word & 0xfc00_0000) {
                Some(0x9400_0000) => Some((4, SiteKind::Call)),
                Some(0x1400_0000) => Some((4, SiteKind::TailJump)),
                _ => None,
            },
            // An auipc and jalr pair; the register to which it links decides whether it is a
            // call.
            Architecture::Riscv64 => match word(text.data, at.wrapping_add(4)).map(|word| word >> 7 & 0x1f) {
                Some(1) => Some((8, SiteKind::Call)),
                Some(0) => Some((8, SiteKind::TailJump)),
                _ => None,
            },
        };
        if let Some((length, kind)) = site {
            found.push(Site {
                pc: text.address + offset + length,
                kind,
            });
        }
    });
    found
}

/// Finds `call rel32`, which is e8, and `jmp rel32`, which is e9.
fn scan_x86_64(code: &[u8], base: u64, hooks: &[u64], found: &mut Vec<Site>) {
    for at in memchr2_iter(0xe8, 0xe9, code) {
        let Some(displacement) = word(code, at + 1) else {
            break;
        };
        let pc = base.wrapping_add(at as u64 + 5);
        if hooks.contains(&pc.wrapping_add_signed(i64::from(displacement as i32))) {
            let kind = if code[at] == 0xe8 {
                SiteKind::Call
            } else {
                SiteKind::TailJump
            };
            found.push(Site { pc, kind });
        }
    }
}

/// Returns the number of loads of a hook's address into a register: `movabs`, 48 or 49 and b8 to
/// bf. One load may serve many calls, which cannot be seen without following the register.
fn loads_of(code: &[u8], hooks: &[u64]) -> usize {
    hooks
        .iter()
        .map(|hook| {
            memmem::find_iter(code, &hook.to_le_bytes())
                .filter(|at| {
                    *at >= 2 && matches!(code[at - 2], 0x48 | 0x49) && matches!(code[at - 1], 0xb8..=0xbf)
                })
                .count()
        })
        .sum()
}

/// Finds `bl` and `b`, which have 26 bits of words.
fn scan_arm64(code: &[u8], base: u64, hooks: &[u64], found: &mut Vec<Site>) {
    for (i, bytes) in code.chunks_exact(4).enumerate() {
        let instruction = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let kind = match instruction & 0xfc00_0000 {
            0x9400_0000 => SiteKind::Call,
            0x1400_0000 => SiteKind::TailJump,
            _ => continue,
        };
        let displacement = i64::from((instruction << 6) as i32 >> 6) * 4;
        let at = base.wrapping_add(i as u64 * 4);
        if hooks.contains(&at.wrapping_add_signed(displacement)) {
            found.push(Site { pc: at + 4, kind });
        }
    }
}

/// Finds `auipc` and `jalr`, or the `jal` that the linker makes of them if the hook is near.
fn scan_riscv64(code: &[u8], base: u64, hooks: &[u64], found: &mut Vec<Site>) {
    for at in (0..code.len().saturating_sub(3)).step_by(2) {
        let Some(first) = word(code, at) else { break };
        let address = base.wrapping_add(at as u64);
        let (target, length, link) = match first & 0x7f {
            0x6f => (
                address.wrapping_add_signed(jal_offset(first)),
                4,
                first >> 7 & 0x1f,
            ),
            0x17 => {
                let Some(second) = word(code, at + 4) else { break };
                // jalr with function 0, from the register that auipc wrote.
                if second & 0x707f != 0x67 || second >> 15 & 0x1f != first >> 7 & 0x1f {
                    continue;
                }
                let high = i64::from((first & 0xffff_f000) as i32);
                let low = i64::from(second as i32 >> 20);
                (address.wrapping_add_signed(high + low), 8, second >> 7 & 0x1f)
            }
            _ => continue,
        };
        let kind = match link {
            1 => SiteKind::Call,
            0 => SiteKind::TailJump,
            _ => continue,
        };
        if hooks.contains(&target) {
            found.push(Site {
                pc: address + length,
                kind,
            });
        }
    }
}

pub(super) fn jal_offset(instruction: u32) -> i64 {
    let sign = i64::from(instruction as i32 >> 31) << 20;
    let bits = i64::from(instruction);
    sign | bits & 0xf_f000 | (bits >> 20 & 1) << 11 | (bits >> 21 & 0x3ff) << 1
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Returns the target of the direct call that ends at `pc`; `None` if no direct call ends there.
fn call_before(image: &Image<'_>, pc: u64) -> Option<u64> {
    match image.architecture() {
        Architecture::X86_64 => {
            let code = image.text_at(pc.checked_sub(5)?)?;
            let displacement = word(code, 1)?;
            (code[0] == 0xe8).then(|| pc.wrapping_add_signed(i64::from(displacement as i32)))
        }
        Architecture::Arm64 => {
            let at = pc.checked_sub(4)?;
            let instruction = word(image.text_at(at)?, 0)?;
            let displacement = i64::from((instruction << 6) as i32 >> 6) * 4;
            (instruction & 0xfc00_0000 == 0x9400_0000).then(|| at.wrapping_add_signed(displacement))
        }
        Architecture::Riscv64 => {
            let at = pc.checked_sub(4)?;
            let last = word(image.text_at(at)?, 0)?;
            if last & 0xfff == 0xef {
                return Some(at.wrapping_add_signed(jal_offset(last)));
            }
            let at = pc.checked_sub(8)?;
            let first = word(image.text_at(at)?, 0)?;
            let pair = last & 0xf_ffff == 0x80e7 && first & 0xfff == 0x97;
            let high = i64::from((first & 0xffff_f000) as i32);
            pair.then(|| at.wrapping_add_signed(high + i64::from(last as i32 >> 20)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0xffff_ffff_8100_0000;

    fn scanned(scan: fn(&[u8], u64, &[u64], &mut Vec<Site>), code: &[u8], hook: u64) -> Vec<(u64, SiteKind)> {
        let mut found = Vec::new();
        scan(code, BASE, &[hook], &mut found);
        found.iter().map(|site| (site.pc - BASE, site.kind)).collect()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn x86_64_calls_and_jumps_both_ways() {
        // nop; call +0x10; jmp back to the base; call elsewhere; a truncated call.
        let code = [
            0x90, 0xe8, 0x10, 0, 0, 0, 0xe9, 0xf5, 0xff, 0xff, 0xff, 0xe8, 1, 0, 0, 0, 0xe8, 0, 0,
        ];
        assert_eq!(scanned(scan_x86_64, &code, BASE + 0x16), [(6, SiteKind::Call)]);
        assert_eq!(scanned(scan_x86_64, &code, BASE), [(11, SiteKind::TailJump)]);
    }

    #[test]
    fn arm64_calls_and_jumps_both_ways() {
        // nop; bl +8; bl -8; b +4.
        let code = words(&[0xd503_201f, 0x9400_0002, 0x97ff_fffe, 0x1400_0001]);
        assert_eq!(scanned(scan_arm64, &code, BASE + 12), [(8, SiteKind::Call)]);
        assert_eq!(scanned(scan_arm64, &code, BASE), [(12, SiteKind::Call)]);
        assert_eq!(scanned(scan_arm64, &code, BASE + 16), [(16, SiteKind::TailJump)]);
    }

    #[test]
    fn riscv64_long_and_short_calls() {
        // auipc ra, 1; jalr ra, -16(ra); jal ra, -8; auipc t1, 0; jalr zero, 8(t1).
        let code = words(&[0x0000_1097, 0xff00_80e7, 0xff9f_f0ef, 0x0000_0317, 0x0083_0067]);
        assert_eq!(scanned(scan_riscv64, &code, BASE + 0xff0), [(8, SiteKind::Call)]);
        assert_eq!(scanned(scan_riscv64, &code, BASE), [(12, SiteKind::Call)]);
        assert_eq!(
            scanned(scan_riscv64, &code, BASE + 20),
            [(20, SiteKind::TailJump)]
        );
    }

    #[test]
    fn hooks_are_told_apart_by_name() {
        assert!(Hook::Pc.is("__sanitizer_cov_trace_pc"));
        assert!(!Hook::Pc.is("__sanitizer_cov_trace_pc_guard"));
        assert!(!Hook::Comparison.is("__sanitizer_cov_trace_pc"));
        for name in ["cmp1", "const_cmp8", "switch"] {
            assert!(
                Hook::Comparison.is(&format!("__sanitizer_cov_trace_{name}")),
                "{name}"
            );
        }
    }
}
