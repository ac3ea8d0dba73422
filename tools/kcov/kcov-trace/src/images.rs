// SPDX-License-Identifier: GPL-2.0
//! Maps recorded PCs to places in the files of their kernel: `vmlinux` and the modules.
//!
//! If the kernel randomises its address space, it subtracts the offset from the PCs, so that the
//! kernel's own PCs fit `vmlinux` as it was linked. It subtracts the offset from the PCs of
//! modules, too, but `/proc` shows the addresses of modules without that subtraction. Therefore the
//! offset is added to these PCs again. It is the distance between the address of `_stext` at run
//! time and its address in `vmlinux`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::recording::{Kernel, Module};
use crate::search::hexadecimal;
use crate::symbols::{Image, ImageFile};

/// A place in one of the kernel's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The index of the file: 0 is `vmlinux`, then the modules. See [`Images::list`].
    pub image: usize,
    /// The return address in that file.
    pub pc: u64,
}

/// The places to search for the files.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The uncompressed kernel with its symbols.
    pub vmlinux: PathBuf,
    /// Folders with modules.
    pub modules: Vec<PathBuf>,
    /// The folder in place of / where modules are searched that are in none of the folders.
    pub root: PathBuf,
}

/// The files of a kernel, open.
#[derive(Debug)]
pub struct Files {
    vmlinux: ImageFile,
    /// Each file of a module, with the times that the module was loaded.
    modules: Vec<(ImageFile, Vec<Module>)>,
    missing: Vec<Missing>,
}

/// The files of a kernel, read.
#[derive(Debug)]
pub struct Images<'a> {
    /// `vmlinux` and the modules.
    pub list: Vec<Image<'a>>,
    offset: u64,
    stretches: Vec<Stretch>,
    missing: Vec<Missing>,
    /// The modules whose addresses the kernel hid.
    hidden: usize,
    /// True if the kernel that ran is known to be that of `vmlinux`.
    identity: Identity,
}

/// The relation of `vmlinux` to the kernel that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The build ids are equal.
    Same,
    /// A build id is missing.
    Unknown,
    /// The build ids differ, and the user accepts that.
    Other,
}

/// A module that was loaded, and whose file cannot be used.
#[derive(Clone, Debug)]
pub struct Missing {
    module: Module,
    /// The reason, with the remedy.
    pub reason: String,
}

/// A section of a module, with its address while the kernel ran.
#[derive(Debug)]
struct Stretch {
    start: u64,
    size: u64,
    image: usize,
    address: u64,
}

impl Files {
    /// Opens `vmlinux` and the modules of the kernel that are found.
    ///
    /// # Errors
    ///
    /// `vmlinux` cannot be used.
    pub fn open(search: &Search, kernel: &Kernel) -> Result<Self> {
        let vmlinux = ImageFile::open(&search.vmlinux)?;
        let mut missing = Vec::new();
        let mut modules: Vec<(PathBuf, ImageFile, Vec<Module>)> = Vec::new();
        if !kernel.modules.is_empty() {
            let mut folders = search.modules.clone();
            if folders.is_empty() {
                folders.extend(
                    search
                        .vmlinux
                        .parent()
                        .map(|folder| match folder.as_os_str().is_empty() {
                            true => PathBuf::from("."),
                            false => folder.to_path_buf(),
                        }),
                );
                folders.push(search.root.join("lib/modules").join(&kernel.release));
                folders.push(
                    search
                        .root
                        .join("usr/lib/debug/lib/modules")
                        .join(&kernel.release),
                );
            }
            let mut found = HashMap::new();
            for folder in &folders {
                find_modules(folder, &mut found);
            }
            for module in &kernel.modules {
                let Some(path) = found.get(&plain_name(&module.name)) else {
                    missing.push(Missing {
                        module: module.clone(),
                        reason: format!(
                            "{}.ko was not found: name the folder it is in with --modules",
                            module.name
                        ),
                    });
                    continue;
                };
                if let Some((_, _, times)) = modules.iter_mut().find(|(known, _, _)| known == path) {
                    times.push(module.clone());
                    continue;
                }
                match ImageFile::open(path) {
                    Ok(file) => modules.push((path.clone(), file, vec![module.clone()])),
                    Err(error) => missing.push(unusable(module, &error)),
                }
            }
        }
        Ok(Self {
            vmlinux,
            modules: modules
                .into_iter()
                .map(|(_, file, times)| (file, times))
                .collect(),
            missing,
        })
    }
}

impl<'a> Images<'a> {
    /// Reads the files and checks that they belong to the kernel; `force` accepts a `vmlinux` of
    /// another build.
    ///
    /// # Errors
    ///
    /// `vmlinux` is damaged or belongs to another build.
    pub fn read(files: &'a Files, kernel: &Kernel, force: bool, warnings: &mut Vec<String>) -> Result<Self> {
        let image = files.vmlinux.image()?;
        let identity = check(&image, kernel, force, warnings)?;
        let linked = image.address_of("_stext").unwrap_or(0);
        let mut images = Self {
            offset: if kernel.text == 0 {
                0
            } else {
                kernel.text.wrapping_sub(linked)
            },
            list: vec![image],
            stretches: Vec::new(),
            missing: files.missing.clone(),
            hidden: kernel.modules.iter().filter(|module| module.base == 0).count(),
            identity,
        };
        for (file, times) in &files.modules {
            match file.image() {
                Ok(image) => images.add_module(image, times, force),
                Err(error) => images
                    .missing
                    .extend(times.iter().map(|module| unusable(module, &error))),
            }
        }
        Ok(images)
    }

    /// Adds a module with all addresses that it was loaded at.
    fn add_module(&mut self, image: Image<'a>, times: &[Module], force: bool) {
        let number = self.list.len();
        for module in times {
            let differs = image.build_id().is_some_and(|id| id != module.build_id);
            if !module.build_id.is_empty() && differs && !force {
                self.missing.push(Missing {
                    module: module.clone(),
                    reason: format!(
                        "{} is not the module that was loaded (its build id differs): name the folder of the right one with --modules",
                        image.path().display()
                    ),
                });
                continue;
            }
            let mut sections = module.sections.clone();
            if sections.is_empty() && module.base != 0 {
                // The kernel shows the sections only to privileged users. On most machines, a
                // module's code is at its start; the call sites tell whether it is here.
                sections.push((".text".into(), module.base));
                self.missing.push(Missing {
                    module: module.clone(),
                    reason: format!(
                        "the sections of {}, which tell where its code is, are not known: trace as root, or give 'import' a copy of /sys/module that root has made",
                        module.name
                    ),
                });
            }
            for (name, start) in sections {
                if let Some((address, size)) = image.section_layout(&name) {
                    self.stretches.push(Stretch {
                        start,
                        size,
                        image: number,
                        address,
                    });
                }
            }
        }
        self.list.push(image);
    }

    /// Returns the place of a recorded PC; `None` if it is in none of the files.
    #[must_use]
    pub fn place(&self, pc: u64) -> Option<Place> {
        self.places(pc).next()
    }

    /// Returns the possible places of a recorded PC, the most probable one first.
    pub fn places(&self, pc: u64) -> impl Iterator<Item = Place> {
        // First the PC as this kernel records it, then as kernels without the subtraction do.
        // Modules are searched before the image that is shifted back, because a module may be at
        // the same address.
        let (shifted, unshifted) = (pc.wrapping_add(self.offset), pc.wrapping_sub(self.offset));
        self.image_place(pc)
            .into_iter()
            .chain(self.module_places(shifted))
            .chain(self.image_place(unshifted))
            .chain(self.module_places(pc).filter(move |_| shifted != pc))
    }

    fn image_place(&self, pc: u64) -> Option<Place> {
        self.list[0].has_text(pc).then_some(Place { image: 0, pc })
    }

    /// Returns the PC that stands for a place in all recordings of this kernel: of the addresses of
    /// a module that was loaded several times, the first.
    #[must_use]
    pub fn pc_of(&self, place: Place) -> Option<u64> {
        if place.image == 0 {
            return Some(place.pc);
        }
        self.stretches.iter().find_map(|stretch| {
            let distance = place.pc.checked_sub(stretch.address)?;
            let inside = stretch.image == place.image && distance <= stretch.size && distance != 0;
            inside.then(|| stretch.start.wrapping_add(distance).wrapping_sub(self.offset))
        })
    }

    /// Returns the module without a usable file that a recorded PC is in.
    #[must_use]
    pub fn missing_module(&self, pc: u64) -> Option<&Missing> {
        let shifted = pc.wrapping_add(self.offset);
        self.missing.iter().find(|missing| {
            let Module { base, size, .. } = missing.module;
            let inside = |pc: u64| base != 0 && pc > base && pc - base <= size;
            inside(shifted) || inside(pc)
        })
    }

    /// Returns the number of modules whose addresses the kernel hid.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Returns whether the addresses of some module are known.
    #[must_use]
    pub fn knows_modules(&self) -> bool {
        !self.stretches.is_empty() || !self.missing.is_empty()
    }

    /// Returns whether `vmlinux` is known to be the kernel that ran.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns the place of a recorded PC in a form that has the same meaning in another boot: the
    /// file, and the offset in it.
    #[must_use]
    pub fn name_of_place(&self, pc: u64) -> Option<(String, u64)> {
        let place = self.place(pc)?;
        Some((
            self.list[place.image].path().to_string_lossy().into_owned(),
            place.pc,
        ))
    }

    fn module_places(&self, pc: u64) -> impl Iterator<Item = Place> {
        self.stretches.iter().filter_map(move |stretch| {
            let distance = pc.checked_sub(stretch.start)?;
            // A return address may be the address just after the section.
            (distance <= stretch.size && distance != 0).then_some(Place {
                image: stretch.image,
                pc: stretch.address + distance,
            })
        })
    }
}

/// Describes a module that cannot be used; the others are used nevertheless.
fn unusable(module: &Module, error: &anyhow::Error) -> Missing {
    Missing {
        module: module.clone(),
        reason: format!("{error:#}: name the folder of a good one with --modules"),
    }
}

fn check(image: &Image<'_>, kernel: &Kernel, force: bool, warnings: &mut Vec<String>) -> Result<Identity> {
    let path = image.path().display();
    if let Some(reason) = image.not_a_kernel() {
        bail!("{path} {reason}");
    }
    if !image.has_symbols() && !image.has_dwarf() {
        let debug = image
            .missing_debug_file()
            .map_or(String::new(), |name| format!(", or put {name} next to it"));
        bail!("{path} has no symbols: it was stripped; name the file vmlinux of the build folder{debug}");
    }
    if !kernel.machine.is_empty() && image.architecture().name() != kernel.machine {
        bail!(
            "{path} is for {}, but the recording was made on {}; name the vmlinux of the kernel that ran",
            image.architecture().name(),
            kernel.machine
        );
    }
    match image.build_id() {
        Some(id) if !kernel.build_id.is_empty() && id != kernel.build_id => {
            let message = format!(
                "{path} has build id {}, but the kernel that ran ({}) has {}",
                hexadecimal(id),
                kernel.release,
                hexadecimal(&kernel.build_id)
            );
            if !force {
                bail!("{message}; name the vmlinux of that kernel, or use this one anyway with --force");
            }
            warnings.push(message);
            Ok(Identity::Other)
        }
        Some(_) if !kernel.build_id.is_empty() => Ok(Identity::Same),
        _ => {
            warnings.push(format!(
                "whether {path} is the kernel that ran is not known: a build id is missing"
            ));
            Ok(Identity::Unknown)
        }
    }
}

/// Returns the module's name as the kernel spells it; the name of the file may have dashes.
fn plain_name(name: &str) -> String {
    name.replace('-', "_")
}

/// Collects all modules below a folder; of several with the same name, the first is kept.
fn find_modules(folder: &Path, found: &mut HashMap<String, PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // Does not follow links: a build folder has links to the source and to itself.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => find_modules(&path, found),
            Ok(kind) if kind.is_file() => {
                if let Some(name) = module_name(&path) {
                    found.entry(plain_name(name)).or_insert(path);
                }
            }
            _ => {}
        }
    }
}

/// Returns the names of all modules below the folders.
#[must_use]
pub fn modules_below(folders: &[PathBuf]) -> Vec<String> {
    let mut found = HashMap::new();
    for folder in folders {
        find_modules(folder, &mut found);
    }
    let mut names: Vec<String> = found.into_keys().collect();
    names.sort();
    names
}

/// Returns the name of the module that a file has; `None` if it is not a module's file. Modules may
/// be compressed.
pub fn module_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let plain = [".gz", ".xz", ".zst"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name);
    plain.strip_suffix(".ko")
}
