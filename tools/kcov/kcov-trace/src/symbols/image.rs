// SPDX-License-Identifier: GPL-2.0
//! An ELF file of the kernel: `vmlinux` as it was linked, or a module as it was compiled.
//!
//! All sections of a module start at address 0. Here they are laid out one after the other, so that
//! every address of an image has one meaning, and the debug information is relocated to that
//! layout.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::SplitDwarfLoad;
use anyhow::{Context as _, Result, bail};
use gimli::{DwarfSections, EndianSlice, LittleEndian};
use object::{Object, ObjectSection, ObjectSymbol, SectionIndex, SymbolKind};

use super::file::{self, Half};
use super::split::Split;
use super::{refusal, relocate};

/// The first address for the sections of a module; not 0, which means "discarded" in debug
/// information.
const MODULE_BASE: u64 = 0x10_0000;

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
    size: u64,
    /// Empty if the file has only debug information.
    pub(super) data: &'a [u8],
}

/// The file with the debug information.
#[derive(Debug)]
struct Debug<'a> {
    path: &'a Path,
    elf: object::File<'a>,
    layout: HashMap<usize, u64>,
}

/// The parsed contents of an ELF file.
#[derive(Debug)]
pub struct Image<'a> {
    path: &'a Path,
    elf: object::File<'a>,
    /// The debug information, if it is in a file of its own.
    debug: Option<Debug<'a>>,
    architecture: Architecture,
    layout: HashMap<usize, u64>,
    text: Vec<Text<'a>>,
    symbols: Vec<Symbol<'a>>,
    /// The numbers of symbols, by name.
    by_name: HashMap<&'a str, Vec<usize>>,
    dwarf: DwarfSections<Cow<'a, [u8]>>,
    split: Split,
}

impl<'a> Image<'a> {
    pub(super) fn parse(code: Half<'a>, debug: Option<Half<'a>>) -> Result<Self> {
        let path = code.path;
        let elf = parsed(code)?;
        let architecture = architecture(path, &elf)?;
        let layout = lay_out(&elf);
        let debug = match debug {
            Some(half) => {
                let elf_of_debug = parsed(half)?;
                Some(Debug {
                    path: half.path,
                    layout: same_layout(&elf, &layout, &elf_of_debug),
                    elf: elf_of_debug,
                })
            }
            None => None,
        };
        let mut text = Vec::new();
        for section in elf.sections() {
            let name = section.name().unwrap_or_default();
            // Replacements are copied over other code before they run, so no PC is ever inside
            // them.
            if !file::is_code(&section) || name == ".altinstr_replacement" {
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
                size: section.size(),
                data,
            });
        }
        text.sort_by_key(|section| section.address);
        let with_lines = debug.as_ref().filter(|debug| has_lines(&debug.elf));
        let dwarf = match with_lines {
            Some(debug) => dwarf_of(debug.path, &debug.elf, &debug.layout)?,
            None => dwarf_of(path, &elf, &layout)?,
        };
        let with_symbols = debug
            .as_ref()
            .filter(|debug| !has_symbols(&elf) && has_symbols(&debug.elf));
        let symbols = match with_symbols {
            Some(debug) => functions(&debug.elf, &debug.layout),
            None => functions(&elf, &layout),
        };
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::with_capacity(symbols.len());
        for (number, symbol) in symbols.iter().enumerate() {
            by_name.entry(symbol.name).or_default().push(number);
        }
        Ok(Self {
            by_name,
            path,
            elf,
            debug,
            architecture,
            layout,
            text,
            symbols,
            dwarf,
            split: Split::default(),
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
        has_lines(&self.elf) || self.debug.as_ref().is_some_and(|debug| has_lines(&debug.elf))
    }

    /// Returns whether the code itself is there; a file that `objcopy --only-keep-debug` made has
    /// only the names and lines of the code.
    #[must_use]
    pub fn has_code(&self) -> bool {
        self.text.iter().any(|text| !text.data.is_empty())
    }

    /// Returns whether there is a table of symbols.
    #[must_use]
    pub fn has_symbols(&self) -> bool {
        has_symbols(self.symbol_file())
    }

    /// Returns the name of a file with the debug information that was split off and is missing.
    #[must_use]
    pub fn missing_debug_file(&self) -> Option<String> {
        match self.debug {
            Some(_) => None,
            None => file::debug_link(&self.elf),
        }
    }

    /// Returns the reason why the image cannot be `vmlinux`, and the remedy.
    #[must_use]
    pub fn not_a_kernel(&self) -> Option<&'static str> {
        refusal::of_kernel(&self.elf)
    }

    /// Returns whether the address is in a section with code. A return address may be the address
    /// just after a section.
    #[must_use]
    pub fn has_text(&self, address: u64) -> bool {
        let inside = address.wrapping_sub(1);
        self.section_at(inside)
            .is_some_and(|section| inside - section.address < section.size)
    }

    fn section_at(&self, address: u64) -> Option<&Text<'a>> {
        let after = self.text.partition_point(|section| section.address <= address);
        Some(&self.text[after.checked_sub(1)?])
    }

    /// Returns the code from `address` to the end of its section.
    pub(super) fn text_at(&self, address: u64) -> Option<&'a [u8]> {
        let section = self.section_at(address)?;
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
        self.symbol_file()
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

    /// Returns the address at which a section was laid out, or was linked.
    pub(super) fn address_of_section(&self, index: SectionIndex) -> Option<u64> {
        self.layout.get(&index.0).copied()
    }

    /// Returns the parts of a function that the compiler has moved away from it.
    pub fn cold_parts(&self, symbol: &Symbol<'_>) -> impl Iterator<Item = &Symbol<'a>> {
        let name = format!("{}.cold", symbol.name);
        let found = self.by_name.get(name.as_str()).into_iter().flatten();
        found.map(|number| &self.symbols[*number])
    }

    /// Returns the function that a part was moved away from, or the function itself.
    #[must_use]
    pub fn whole<'s>(&'s self, symbol: &'s Symbol<'a>) -> &'s Symbol<'a> {
        let Some((name, _)) = symbol.name.split_once(".cold") else {
            return symbol;
        };
        let found = self.by_name.get(name).and_then(|numbers| numbers.first());
        found.map_or(symbol, |number| &self.symbols[*number])
    }

    /// Returns the functions of a name.
    pub fn functions_named(&self, name: &str) -> impl Iterator<Item = &Symbol<'a>> {
        let found = self.by_name.get(name).into_iter().flatten();
        found.map(|number| &self.symbols[*number])
    }

    /// Returns the debug information of an object that the compiler has split off.
    pub(super) fn split_off<'i>(
        &'i self,
        wanted: &SplitDwarfLoad<EndianSlice<'i, LittleEndian>>,
    ) -> Option<Arc<gimli::Dwarf<EndianSlice<'i, LittleEndian>>>> {
        self.split.load(self.path, wanted)
    }

    /// Returns the files that the compiler has split off, and that were needed and not found.
    #[must_use]
    pub fn missing_split(&self) -> Vec<PathBuf> {
        self.split.missing()
    }

    pub(super) fn elf(&self) -> &object::File<'a> {
        &self.elf
    }

    /// Returns the file with the table of symbols.
    pub(super) fn symbol_file(&self) -> &object::File<'a> {
        match &self.debug {
            Some(debug) if !has_symbols(&self.elf) => &debug.elf,
            _ => &self.elf,
        }
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

fn parsed<'a>(half: Half<'a>) -> Result<object::File<'a>> {
    let (path, data) = (half.path, half.data);
    file::refuse(path, data)?;
    if let Some(end) = end_of_sections(data).filter(|end| *end > data.len() as u64) {
        bail!(
            "{} is cut off: it has {} bytes of at least {end}; copy it again, or build the kernel again",
            path.display(),
            data.len()
        );
    }
    object::File::parse(data).with_context(|| {
        format!(
            "{} is damaged; copy it again, or build the kernel again",
            path.display()
        )
    })
}

fn architecture(path: &Path, elf: &object::File<'_>) -> Result<Architecture> {
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
    Ok(architecture)
}

fn has_lines(elf: &object::File<'_>) -> bool {
    [".debug_info", ".debug_line"]
        .iter()
        .all(|name| elf.section_by_name(name).is_some())
}

fn has_symbols(elf: &object::File<'_>) -> bool {
    elf.symbols().next().is_some()
}

/// Reads the debug information. The sections of a module are relocated.
fn dwarf_of<'a>(
    path: &Path,
    elf: &object::File<'a>,
    layout: &HashMap<usize, u64>,
) -> Result<DwarfSections<Cow<'a, [u8]>>> {
    DwarfSections::load(|id| {
        let Some(section) = elf.section_by_name(id.name()) else {
            return Ok(Cow::Borrowed(&[][..]));
        };
        let mut contents = section
            .uncompressed_data()
            .with_context(|| format!("{}: {} cannot be read", path.display(), id.name()))?;
        if elf.kind() == object::ObjectKind::Relocatable {
            relocate::debug_section(elf, layout, &section, contents.to_mut())
                .with_context(|| format!("{}: {} is damaged", path.display(), id.name()))?;
        }
        Ok(contents)
    })
}

/// Assigns an address to every section with code of a module; a linked file has addresses.
fn lay_out(elf: &object::File<'_>) -> HashMap<usize, u64> {
    let mut next = MODULE_BASE;
    let mut layout = HashMap::new();
    if elf.kind() != object::ObjectKind::Relocatable {
        return layout;
    }
    for section in elf.sections().filter(file::is_code) {
        let align = section.align().max(16);
        next = next.next_multiple_of(align);
        layout.insert(section.index().0, next);
        // The gap ensures that the address after one section is not in the next section.
        next += section.size() + 16;
    }
    layout
}

/// Gives the sections of the debug information the addresses of the sections with the same names.
fn same_layout(
    elf: &object::File<'_>,
    layout: &HashMap<usize, u64>,
    debug: &object::File<'_>,
) -> HashMap<usize, u64> {
    let by_name: HashMap<&str, u64> = elf
        .sections()
        .filter_map(|section| Some((section.name().ok()?, *layout.get(&section.index().0)?)))
        .collect();
    debug
        .sections()
        .filter_map(|section| Some((section.index().0, *by_name.get(section.name().ok()?)?)))
        .collect()
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
    // Of several names for one address, the shortest is kept, which has no suffix or prefix. A
    // module's function also has a name that every module has.
    let general = |name: &str| matches!(name, "init_module" | "cleanup_module");
    symbols.sort_by_key(|symbol| {
        let name = symbol.name;
        (symbol.address, general(name), name.len(), name)
    });
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
