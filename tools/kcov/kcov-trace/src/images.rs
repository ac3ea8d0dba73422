// SPDX-License-Identifier: GPL-2.0
//! Ties a recording to the files of its kernel: which place in `vmlinux` or a module a recorded PC is.
//!
//! The kernel subtracts the offset of its address space randomisation from the PCs, so that its own fit `vmlinux`
//! as it was linked. It does so for modules as well, whose addresses `/proc` shows without that subtraction: they
//! are found by adding the offset again, which is the distance between where `_stext` was and where it was linked.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::recording::{Kernel, Module};
use crate::symbols::{Image, ImageFile};

/// A place in one of the kernel's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which file: 0 is `vmlinux`, then the modules. See [`Images::list`].
    pub image: usize,
    /// The return address there.
    pub pc: u64,
}

/// Where to look for the files.
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
    /// What is not as it should be, for the user.
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

/// A section of a module while the kernel ran.
#[derive(Debug)]
struct Stretch {
    start: u64,
    size: u64,
    image: usize,
    address: u64,
}

impl Files {
    /// Opens `vmlinux` and those of the kernel's modules that are found.
    ///
    /// # Errors
    ///
    /// When `vmlinux` cannot be used.
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
    /// Reads the files and checks that they belong to the kernel; `force` takes a `vmlinux` of another build.
    ///
    /// # Errors
    ///
    /// When `vmlinux` is damaged or of another build.
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
            // The kernel does not tell them to everybody; the code comes first.
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

    /// The place of a recorded PC, if it is in one of the files.
    #[must_use]
    pub fn place(&self, pc: u64) -> Option<Place> {
        // As the kernel records it, then as kernels without the subtraction do. Modules come before the image that is
        // shifted back: where that would be, a module may be.
        let (shifted, unshifted) = (pc.wrapping_add(self.offset), pc.wrapping_sub(self.offset));
        self.image_place(pc)
            .or_else(|| self.module_place(shifted))
            .or_else(|| self.image_place(unshifted))
            .or_else(|| self.module_place(pc))
    }

    fn image_place(&self, pc: u64) -> Option<Place> {
        self.list[0].has_text(pc).then_some(Place { image: 0, pc })
    }

    /// The place of a recorded PC in a form that means the same for another boot: which file, and where in it.
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
            // A return address may be the one behind the section.
            (distance <= stretch.size && distance != 0).then_some(Place {
                image: stretch.image,
                pc: stretch.address + distance,
            })
        })
    }
}

/// A module that cannot be used stands in nobody else's way.
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
                bail!(
                    "{message}; name the vmlinux of that kernel, or use this one all the same with --force"
                );
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

/// A module's name as the kernel has it, where the file's may have dashes.
fn plain_name(name: &str) -> String {
    name.replace('-', "_")
}

/// Notes all modules below a folder; the first of a name stays.
fn find_modules(folder: &Path, found: &mut HashMap<String, PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // Links are not followed: a build folder has them to the source and to itself.
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
