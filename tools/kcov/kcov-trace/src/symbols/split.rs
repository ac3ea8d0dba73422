// SPDX-License-Identifier: GPL-2.0
//! Debug information that the compiler has split off (`-gsplit-dwarf`): a `.dwo` file for each
//! object, or one `.dwp` file for the image. Without them the lines are known, but not the inlining.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use addr2line::SplitDwarfLoad;
use elsa::sync::FrozenMap;
use gimli::{Dwarf, DwarfPackageSections, DwarfSections, EndianSlice, LittleEndian, SectionId};
use object::{Object, ObjectSection};

use super::file;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Bytes = Cow<'static, [u8]>;

/// The files that were split off an image, each read when it is first needed.
#[derive(Default)]
pub(super) struct Split {
    units: FrozenMap<u64, Box<Option<DwarfSections<Bytes>>>>,
    package: OnceLock<Option<DwarfPackageSections<Bytes>>>,
    missing: Mutex<BTreeSet<PathBuf>>,
}

impl fmt::Debug for Split {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Split").finish_non_exhaustive()
    }
}

impl Split {
    /// Returns the debug information of one object.
    pub(super) fn load<'i>(
        &'i self,
        image: &Path,
        wanted: &SplitDwarfLoad<Slice<'i>>,
    ) -> Option<Arc<Dwarf<Slice<'i>>>> {
        let id = wanted.dwo_id.0;
        let package = self.package.get_or_init(|| package_of(image));
        if let Some(sections) = package {
            let package = sections.borrow(slice, Slice::new(&[], LittleEndian)).ok()?;
            if let Ok(Some(found)) = package.find_cu(wanted.dwo_id, &wanted.parent) {
                return Some(Arc::new(found));
            }
        }
        let unit = self.units.get(&id).unwrap_or_else(|| {
            let path = path_of(image, wanted);
            let found = path.as_ref().and_then(|path| unit(path, id));
            if found.is_none() {
                let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
                missing.insert(path.unwrap_or_default());
            }
            self.units.insert(id, Box::new(found))
        });
        let mut dwarf = unit.as_ref()?.borrow(slice);
        dwarf.make_dwo(&wanted.parent);
        Some(Arc::new(dwarf))
    }

    /// Returns the files that were needed and not found.
    pub(super) fn missing(&self) -> Vec<PathBuf> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.iter().cloned().collect()
    }
}

fn slice(bytes: &Bytes) -> Slice<'_> {
    Slice::new(bytes, LittleEndian)
}

/// Reads a package, which has the name of the image with an ending.
fn package_of(image: &Path) -> Option<DwarfPackageSections<Bytes>> {
    let mut name = image.as_os_str().to_owned();
    name.push(".dwp");
    let contents = file::read(Path::new(&name)).ok()?;
    let elf = object::File::parse(contents.bytes()).ok()?;
    DwarfPackageSections::load(|id| Ok::<_, gimli::Error>(section(&elf, id))).ok()
}

/// Reads the file of one object, if it is that of this build.
fn unit(path: &Path, id: u64) -> Option<DwarfSections<Bytes>> {
    let contents = file::read(path).ok()?;
    let elf = object::File::parse(contents.bytes()).ok()?;
    let sections = DwarfSections::load(|id| Ok::<_, gimli::Error>(section(&elf, id))).ok()?;
    let dwarf = sections.borrow(slice);
    let header = dwarf.units().next().ok()??;
    let unit = dwarf.unit(header).ok()?;
    (unit.dwo_id?.0 == id).then_some(())?;
    Some(sections)
}

fn section(elf: &object::File<'_>, id: SectionId) -> Bytes {
    id.dwo_name()
        .and_then(|name| elf.section_by_name(name))
        .and_then(|section| section.uncompressed_data().ok())
        .map_or(Cow::Borrowed(&[][..]), |data| Cow::Owned(data.into_owned()))
}

/// Returns the path of the file: as the compiler wrote it, or next to the image.
fn path_of(image: &Path, wanted: &SplitDwarfLoad<Slice<'_>>) -> Option<PathBuf> {
    let text = |slice: &Slice<'_>| PathBuf::from(String::from_utf8_lossy(slice.slice()).into_owned());
    let name = wanted.path.as_ref().map(text)?;
    let written = wanted
        .comp_dir
        .as_ref()
        .map_or_else(|| name.clone(), |folder| text(folder).join(&name));
    let folder = image.parent().unwrap_or(Path::new(""));
    let moved = [folder.join(&name), folder.join(name.file_name()?)];
    let found = [&written].into_iter().chain(&moved).find(|path| path.is_file());
    Some(found.unwrap_or(&written).clone())
}
