// SPDX-License-Identifier: GPL-2.0
//! The files of an image: the file with the code and, where a packager has split it off, the file
//! with the debug information.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use memmap2::Mmap;
use object::{Object, ObjectSection, SectionFlags, elf};

use super::image::Image;
use super::refusal;

/// The folder where distributions put debug information.
const DEBUG_FOLDER: &str = "/usr/lib/debug";

/// A file that was opened and mapped; [`image`](Self::image) borrows from it.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    contents: Contents,
    other: Option<(PathBuf, Contents)>,
}

/// The bytes of a file.
#[derive(Debug)]
pub(super) enum Contents {
    Mapped(Mmap),
    Unpacked(Vec<u8>),
}

impl Contents {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Unpacked(bytes) => bytes,
        }
    }
}

impl ImageFile {
    /// Opens the file, and the file with the other half of it if it was split.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let contents = read(path)?;
        let other = other_half(path, contents.bytes());
        Ok(Self {
            path: path.into(),
            contents,
            other,
        })
    }

    /// Reads the tables of the files.
    ///
    /// # Errors
    ///
    /// The file is not an ELF file of a supported architecture.
    pub fn image(&self) -> Result<Image<'_>> {
        let named = Half {
            path: &self.path,
            data: self.contents.bytes(),
        };
        let other = self.other.as_ref().map(|(path, contents)| Half {
            path,
            data: contents.bytes(),
        });
        match other {
            // The named file has no code, so the other one has it.
            Some(other) if !Halves::of(named.data).is_some_and(|has| has.code) => {
                Image::parse(other, Some(named))
            }
            other => Image::parse(named, other),
        }
    }
}

/// A file of an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half<'a> {
    pub(super) path: &'a Path,
    pub(super) data: &'a [u8],
}

/// The parts that a file has.
#[derive(Clone, Copy, Debug)]
struct Halves {
    code: bool,
    symbols: bool,
    lines: bool,
}

impl Halves {
    fn of(data: &[u8]) -> Option<Self> {
        let file = object::File::parse(data).ok()?;
        let has = |name: &str| file.section_by_name(name).is_some();
        Some(Self {
            code: file
                .sections()
                .any(|section| is_code(&section) && has_data(&section)),
            symbols: has(".symtab"),
            lines: has(".debug_info") && has(".debug_line"),
        })
    }

    fn complete(self) -> bool {
        self.code && self.symbols && self.lines
    }
}

/// Returns whether a section is for code, with or without its bytes.
pub(super) fn is_code<'d>(section: &impl ObjectSection<'d>) -> bool {
    let wanted = u64::from(elf::SHF_ALLOC | elf::SHF_EXECINSTR);
    matches!(section.flags(), SectionFlags::Elf { sh_flags } if sh_flags & wanted == wanted)
}

/// Returns whether a section has its bytes in the file.
pub(super) fn has_data<'d>(section: &impl ObjectSection<'d>) -> bool {
    section.file_range().is_some()
}

/// Maps a file, and unpacks it if it is compressed as modules are.
#[expect(unsafe_code, reason = "a mapping of a file")]
pub(super) fn read(path: &Path) -> Result<Contents> {
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
    let map = unsafe { Mmap::map(&file) }.with_context(|| format!("{} cannot be mapped", path.display()))?;
    match unpacked(&map).with_context(|| format!("{} cannot be unpacked", path.display()))? {
        Some(bytes) => Ok(Contents::Unpacked(bytes)),
        None => Ok(Contents::Mapped(map)),
    }
}

/// Unpacks what `gzip`, `xz` and `zstd` make; returns `None` for other files.
fn unpacked(mut packed: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if packed.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut bytes)?;
    } else if packed.starts_with(b"\xfd7zXZ\0") {
        lzma_rs::xz_decompress(&mut packed, &mut bytes).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    } else if packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        ruzstd::decoding::StreamingDecoder::new(packed)?.read_to_end(&mut bytes)?;
    } else {
        return Ok(None);
    }
    Ok(Some(bytes))
}

/// Finds the file with what this one lacks: debug information or symbols, or the code of a file
/// that has only debug information.
fn other_half(path: &Path, data: &[u8]) -> Option<(PathBuf, Contents)> {
    let file = object::File::parse(data).ok()?;
    let has = Halves::of(data)?;
    if has.complete() {
        return None;
    }
    let candidates = if has.code {
        debug_candidates(path, &file)
    } else {
        code_candidates(path, &file)
    };
    candidates.into_iter().find_map(|candidate| {
        if candidate == path || !candidate.is_file() {
            return None;
        }
        let contents = read(&candidate).ok()?;
        let fits = match (has.code, Halves::of(contents.bytes())?) {
            (true, other) => other.lines && !has.lines || other.symbols && !has.symbols,
            (false, other) => other.code,
        };
        (fits && belong_together(data, contents.bytes())).then_some((candidate, contents))
    })
}

/// Returns the places of the debug information, as gdb searches them.
fn debug_candidates(path: &Path, file: &object::File<'_>) -> Vec<PathBuf> {
    let folder = folder_of(path);
    let mut found = Vec::new();
    if let Some(name) = debug_link(file) {
        found.push(folder.join(&name));
        found.push(folder.join(".debug").join(&name));
        if let Ok(whole) = folder.canonicalize() {
            found.push(below_debug_folder(&whole).join(&name));
        }
    }
    found.extend(by_build_id(file, ".debug"));
    let mut appended = path.as_os_str().to_owned();
    appended.push(".debug");
    found.push(appended.into());
    // A module that is packed has its debug information under the plain name.
    if path.extension().is_some_and(|end| end != "ko") {
        found.push(path.with_extension("debug"));
    }
    found.push(folder.join("vmlinux.debug"));
    found.push(folder.join("vmlinux.unstripped"));
    found
}

/// Returns the places of the code of a file that has only debug information.
fn code_candidates(path: &Path, file: &object::File<'_>) -> Vec<PathBuf> {
    let folder = folder_of(path);
    let mut found = Vec::new();
    if let Some(stem) = path.file_stem() {
        found.push(folder.join(stem));
        if folder.ends_with(".debug") {
            found.push(folder_of(&folder).join(stem));
        }
        if let Ok(inside) = folder.strip_prefix(DEBUG_FOLDER) {
            found.push(Path::new("/").join(inside).join(stem));
        }
    }
    if let Some(name) = path.file_name() {
        if let Ok(inside) = folder.strip_prefix(DEBUG_FOLDER) {
            found.push(Path::new("/").join(inside).join(name));
        }
    }
    found.extend(by_build_id(file, ""));
    found.push(folder.join("vmlinux"));
    found
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.into(),
        _ => ".".into(),
    }
}

fn below_debug_folder(folder: &Path) -> PathBuf {
    Path::new(DEBUG_FOLDER).join(folder.strip_prefix("/").unwrap_or(folder))
}

fn by_build_id(file: &object::File<'_>, end: &str) -> Option<PathBuf> {
    let id = file.build_id().ok().flatten()?;
    let (first, rest) = id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Path::new(DEBUG_FOLDER).join(format!(".build-id/{first:02x}/{rest}{end}")))
}

/// Returns the name of the file with the debug information that `objcopy --add-gnu-debuglink`
/// wrote.
pub(super) fn debug_link(file: &object::File<'_>) -> Option<String> {
    let (name, _) = file.gnu_debuglink().ok().flatten()?;
    // The name is a file's name only, so that a file cannot lead elsewhere.
    let name = std::str::from_utf8(name).ok()?;
    (!name.contains('/')).then(|| name.to_owned())
}

/// Returns whether two files are halves of one: their build ids are equal, or the link of one has
/// the checksum of the other.
fn belong_together(one: &[u8], other: &[u8]) -> bool {
    let (Ok(a), Ok(b)) = (object::File::parse(one), object::File::parse(other)) else {
        return false;
    };
    match (a.build_id().ok().flatten(), b.build_id().ok().flatten()) {
        (Some(a), Some(b)) => a == b,
        _ => {
            let links = |file: &object::File<'_>, target: &[u8]| {
                file.gnu_debuglink()
                    .ok()
                    .flatten()
                    .is_some_and(|(_, sum)| sum == crc32fast::hash(target))
            };
            links(&a, other) || links(&b, one)
        }
    }
}

/// Returns the sentence for a file that is not an image.
pub(super) fn refuse(path: &Path, data: &[u8]) -> Result<()> {
    match refusal::of(data) {
        Some(reason) => bail!("{} {reason}", path.display()),
        None => Ok(()),
    }
}
