// SPDX-License-Identifier: GPL-2.0
//! An ELF file of the kernel: `vmlinux` as it was linked, or a module as it was compiled.
//!
//! All sections of a module start at address 0. Here they are laid out one after the other, so that
//! every address of an image has one meaning, and the debug information is relocated to that
//! layout.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use gimli::{DwarfSections, EndianSlice, LittleEndian};
use memmap2::Mmap;
use object::{Object, ObjectSection, ObjectSymbol, SectionIndex, SectionKind, SymbolKind};

use super::relocate;

/// The first address for the sections of a module; not 0, which means "discarded" in debug
/// information.
const MODULE_BASE: u64 = 0x10_0000;

/// A file that was opened and mapped; [`image`](Self::image) borrows from it.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    map: Mmap,
}

/// The architectures whose call instructions are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Arm64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Architecture {
    /// The name that `uname -m` prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }
}

/// A function of the symbol table.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// Its address.
    pub address: u64,
    /// The address after its last byte.
    pub end: u64,
    /// Its name.
    pub name: &'a str,
}

/// A section with code.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) index: SectionIndex,
    pub(super) address: u64,
    pub(super) data: &'a [u8],
}

/// The parsed contents of an ELF file.
#[derive(Debug)]
pub struct Image<'a> {
    path: &'a Path,
    elf: object::File<'a>,
    architecture: Architecture,
    layout: HashMap<usize, u64>,
    text: Vec<Text<'a>>,
    symbols: Vec<Symbol<'a>>,
    dwarf: DwarfSections<Cow<'a, [u8]>>,
}

impl ImageFile {
    /// Maps the file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or mapped.
    #[expect(unsafe_code, reason = "a mapping of a file")]
    pub fn open(path: &Path) -> Result<Self> {
        let cannot = || format!("{} cannot be opened", path.display());
        // The type is checked before the file is opened: opening a pipe would wait for a writer.
        let found = std::fs::metadata(path).with_context(cannot)?;
        if found.is_dir() {
            bail!("{} is a folder; name the file vmlinux in it", path.display());
        }
        if !found.is_file() {
            bail!(
                "{} is not a regular file; name the uncompressed vmlinux",
                path.display()
            );
        }
        if found.len() == 0 {
            bail!(
                "{} is empty; copy it again, or build the kernel again",
                path.display()
            );
        }
        let file = File::open(path).with_context(cannot)?;
        // SAFETY: A private mapping that is only read. If another process truncates the file during
        // the run, SIGBUS ends this program, as it ends every program that maps its input.
        let map =
            unsafe { Mmap::map(&file) }.with_context(|| format!("{} cannot be mapped", path.display()))?;
        Ok(Self {
            path: path.into(),
            map,
        })
    }

    /// Reads the file's tables.
    ///
    /// # Errors
    ///
    /// The file is not an ELF file of a supported architecture.
    pub fn image(&self) -> Result<Image<'_>> {
        Image::parse(&self.path, &self.map)
    }
}

impl<'a> Image<'a> {
    fn parse(path: &'a Path, data: &'a [u8]) -> Result<Self> {
        if !data.starts_with(&object::elf::ELFMAG) {
            bail!(
                "{} is not an ELF file; name the uncompressed vmlinux, not bzImage or Image",
                path.display()
            );
        }
        if let Some(end) = end_of_sections(data).filter(|end| *end > data.len() as u64) {
            bail!(
                "{} is cut off: it has {} bytes of at least {end}; copy it again, or build the kernel again",
                path.display(),
                data.len()
            );
        }
        let elf = object::File::parse(data).with_context(|| {
            format!(
                "{} is damaged; copy it again, or build the kernel again",
                path.display()
            )
        })?;
        let architecture = match elf.architecture() {
            object::Architecture::X86_64 => Architecture::X86_64,
            object::Architecture::Aarch64 => Architecture::Arm64,
            object::Architecture::Riscv64 => Architecture::Riscv64,
            other => bail!(
                "{} is for {other:?}; x86_64, arm64 and riscv64 are supported",
                path.display()
            ),
        };
        if !elf.is_little_endian() {
            bail!("{} is big-endian, which is not supported", path.display());
        }
        let relocatable = elf.kind() == object::ObjectKind::Relocatable;
        let layout = if relocatable {
            lay_out(&elf)
        } else {
            HashMap::new()
        };
        let mut text = Vec::new();
        for section in elf.sections() {
            let name = section.name().unwrap_or_default();
            // Replacements are copied over other code before they run, so no PC is ever inside
            // them.
            if section.kind() != SectionKind::Text || name == ".altinstr_replacement" {
                continue;
            }
            let data = section
                .data()
                .with_context(|| format!("{} is damaged: section {name} cannot be read", path.display()))?;
            let address = layout
                .get(&section.index().0)
                .copied()
                .unwrap_or_else(|| section.address());
            text.push(Text {
                index: section.index(),
                address,
                data,
            });
        }
        text.sort_by_key(|section| section.address);
        let dwarf = DwarfSections::load(|id| {
            let Some(section) = elf.section_by_name(id.name()) else {
                return Ok(Cow::Borrowed(&[][..]));
            };
            let mut contents = section
                .uncompressed_data()
                .with_context(|| format!("{}: {} cannot be read", path.display(), id.name()))?;
            if relocatable {
                relocate::debug_section(&elf, &layout, &section, contents.to_mut())
                    .with_context(|| format!("{}: {} is damaged", path.display(), id.name()))?;
            }
            anyhow::Ok(contents)
        })?;
        let symbols = functions(&elf, &layout);
        Ok(Self {
            path,
            elf,
            architecture,
            layout,
            text,
            symbols,
            dwarf,
        })
    }

    /// Returns the file's name.
    #[must_use]
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// Returns the architecture that it was built for.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Returns the build id that the linker wrote; empty if it wrote none.
    #[must_use]
    pub fn build_id(&self) -> Option<&'a [u8]> {
        self.elf.build_id().ok().flatten()
    }

    /// Returns whether the file has debug information.
    #[must_use]
    pub fn has_dwarf(&self) -> bool {
        [".debug_info", ".debug_line"]
            .iter()
            .all(|name| self.elf.section_by_name(name).is_some())
    }

    /// Returns whether the address is in a section with code. A return address may be the address
    /// just after a section.
    #[must_use]
    pub fn has_text(&self, address: u64) -> bool {
        self.text_at(address.wrapping_sub(1)).is_some()
    }

    /// Returns the code from `address` to the end of its section.
    pub(super) fn text_at(&self, address: u64) -> Option<&'a [u8]> {
        let behind = self.text.partition_point(|section| section.address <= address);
        let section = &self.text[behind.checked_sub(1)?];
        section
            .data
            .get(usize::try_from(address - section.address).ok()?..)
            .filter(|rest| !rest.is_empty())
    }

    /// Returns the function that contains the address.
    #[must_use]
    pub fn function(&self, address: u64) -> Option<&Symbol<'a>> {
        let behind = self.symbols.partition_point(|symbol| symbol.address <= address);
        let symbol = &self.symbols[behind.checked_sub(1)?];
        (address < symbol.end).then_some(symbol)
    }

    /// Returns the address of a symbol of any kind.
    #[must_use]
    pub fn address_of(&self, name: &str) -> Option<u64> {
        self.elf
            .symbol_by_name(name)
            .filter(|symbol| !symbol.is_undefined())
            .map(|symbol| symbol.address())
    }

    /// Returns the address at which a section of a module was laid out.
    #[must_use]
    pub fn section_layout(&self, name: &str) -> Option<(u64, u64)> {
        let section = self.elf.section_by_name(name)?;
        let address = self.layout.get(&section.index().0).copied()?;
        Some((address, section.size()))
    }

    pub(super) fn elf(&self) -> &object::File<'a> {
        &self.elf
    }

    pub(super) fn text(&self) -> &[Text<'a>] {
        &self.text
    }

    pub(super) fn dwarf(&self) -> gimli::Dwarf<EndianSlice<'_, LittleEndian>> {
        self.dwarf
            .borrow(|section| EndianSlice::new(section, LittleEndian))
    }
}

/// Returns the end of the section table, which linkers put after everything else; `None` if the
/// file is not a 64-bit ELF file, which other code reports. If the file is cut off inside its head,
/// the result is the end of a complete head.
fn end_of_sections(data: &[u8]) -> Option<u64> {
    const HEAD: usize = 64;
    if *data.get(4)? != object::elf::ELFCLASS64 || *data.get(5)? != object::elf::ELFDATA2LSB {
        return None;
    }
    let Some(head) = data.first_chunk::<HEAD>() else {
        return Some(HEAD as u64);
    };
    let short = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let table = head[40..48]
        .iter()
        .rev()
        .fold(0, |all, byte| all << 8 | u64::from(*byte));
    table.checked_add(short(58) * short(60))
}

/// Assigns an address to every section with code.
fn lay_out(elf: &object::File<'_>) -> HashMap<usize, u64> {
    let mut next = MODULE_BASE;
    let mut layout = HashMap::new();
    for section in elf
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let align = section.align().max(16);
        next = next.next_multiple_of(align);
        layout.insert(section.index().0, next);
        // The gap ensures that the address after one section is not in the next section.
        next += section.size() + 16;
    }
    layout
}

fn functions<'a>(elf: &object::File<'a>, layout: &HashMap<usize, u64>) -> Vec<Symbol<'a>> {
    let mut symbols: Vec<Symbol<'a>> = elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
        .filter_map(|symbol| {
            let base = match symbol.section_index() {
                Some(index) => layout.get(&index.0).copied().unwrap_or(0),
                None => 0,
            };
            let address = symbol.address() + base;
            let name = symbol
                .name()
                .ok()
                .filter(|name| !name.starts_with("__pfx_") && !name.starts_with("__cfi_"))?;
            Some(Symbol {
                address,
                end: address + symbol.size(),
                name,
            })
        })
        .collect();
    // Of several names for one address, the shortest is kept, which has no suffix or prefix.
    symbols.sort_by_key(|symbol| (symbol.address, symbol.name.len(), symbol.name));
    symbols.dedup_by_key(|symbol| symbol.address);
    // Assembly code leaves some symbols without a size; these extend to the next symbol.
    for i in 0..symbols.len() {
        if symbols[i].end == symbols[i].address {
            symbols[i].end = symbols
                .get(i + 1)
                .map_or(symbols[i].address + 1, |next| next.address);
        }
    }
    symbols
}
