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
}

/// The files of a kernel, open.
#[derive(Debug)]
pub struct Files {
    vmlinux: ImageFile,
    modules: Vec<(ImageFile, Module)>,
    /// Problems to report to the user.
    pub warnings: Vec<String>,
}

/// The files of a kernel, read.
#[derive(Debug)]
pub struct Images<'a> {
    /// `vmlinux` and the modules.
    pub list: Vec<Image<'a>>,
    offset: u64,
    stretches: Vec<Stretch>,
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
        let mut warnings = Vec::new();
        let mut modules = Vec::new();
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
                folders.push(Path::new("/lib/modules").join(&kernel.release));
            }
            let mut found = HashMap::new();
            for folder in &folders {
                find_modules(folder, &mut found);
            }
            for module in &kernel.modules {
                match found.get(&plain_name(&module.name)).map(|path| ImageFile::open(path)) {
                    Some(Ok(file)) => modules.push((file, module.clone())),
                    Some(Err(error)) => warnings.push(unusable(&error)),
                    None => warnings.push(format!(
                        "{}.ko was not found, its PCs stay unresolved: name the folder it is in with --modules",
                        module.name
                    )),
                }
            }
        }
        Ok(Self {
            vmlinux,
            modules,
            warnings,
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
        check(&image, kernel, force, warnings)?;
        let linked = image.address_of("_stext").unwrap_or(0);
        let mut images = Self {
            offset: if kernel.text == 0 {
                0
            } else {
                kernel.text.wrapping_sub(linked)
            },
            list: vec![image],
            stretches: Vec::new(),
        };
        for (file, module) in &files.modules {
            let image = match file.image() {
                Ok(image) => image,
                Err(error) => {
                    warnings.push(unusable(&error));
                    continue;
                }
            };
            if !module.build_id.is_empty()
                && image.build_id().is_some_and(|id| id != module.build_id)
                && !force
            {
                warnings.push(format!(
                    "{} is not the module that was loaded (its build id differs), its PCs stay unresolved",
                    image.path().display()
                ));
                continue;
            }
            images.add_module(image, module);
        }
        Ok(images)
    }

    fn add_module(&mut self, image: Image<'a>, module: &Module) {
        let number = self.list.len();
        let mut sections = module.sections.clone();
        if sections.is_empty() {
            // The kernel shows the sections only to privileged users. A module's code is at its
            // start.
            sections.push((".text".into(), module.base));
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
        self.list.push(image);
    }

    /// Returns the place of a recorded PC; `None` if it is in none of the files.
    #[must_use]
    pub fn place(&self, pc: u64) -> Option<Place> {
        // First the PC as this kernel records it, then as kernels without the subtraction do.
        // Modules are searched before the image that is shifted back, because a module may be at
        // the same address.
        let (shifted, unshifted) = (pc.wrapping_add(self.offset), pc.wrapping_sub(self.offset));
        self.image_place(pc)
            .or_else(|| self.module_place(shifted))
            .or_else(|| self.image_place(unshifted))
            .or_else(|| self.module_place(pc))
    }

    fn image_place(&self, pc: u64) -> Option<Place> {
        self.list[0].has_text(pc).then_some(Place { image: 0, pc })
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

    fn module_place(&self, pc: u64) -> Option<Place> {
        self.stretches.iter().find_map(|stretch| {
            let distance = pc.checked_sub(stretch.start)?;
            // A return address may be the address just after the section.
            (distance <= stretch.size && distance != 0).then_some(Place {
                image: stretch.image,
                pc: stretch.address + distance,
            })
        })
    }
}

/// Returns the warning for a module that cannot be used; the others are used nevertheless.
fn unusable(error: &anyhow::Error) -> String {
    format!("{error:#}: the PCs of this module stay unresolved; name the folder of a good one with --modules")
}

fn check(image: &Image<'_>, kernel: &Kernel, force: bool, warnings: &mut Vec<String>) -> Result<()> {
    let path = image.path().display();
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
        }
        Some(_) if !kernel.build_id.is_empty() => {}
        _ => warnings.push(format!(
            "whether {path} is the kernel that ran is not known: a build id is missing"
        )),
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|end| end == "ko") => {
                if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
                    found.entry(plain_name(name)).or_insert(path);
                }
            }
            _ => {}
        }
    }
}
