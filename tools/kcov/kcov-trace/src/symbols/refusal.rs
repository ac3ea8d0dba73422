// SPDX-License-Identifier: GPL-2.0
//! Names the kind of a file that is not an image with symbols, and the file to take in its place.

use object::elf;

/// Returns the reason why a file cannot be used, and the remedy; `None` for an ELF file.
pub(super) fn of(data: &[u8]) -> Option<String> {
    if data.starts_with(&elf::ELFMAG) {
        return None;
    }
    let at = |offset: usize, magic: &[u8]| data.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    // The magics are from the boot protocols of the architectures.
    let kind = if at(0x202, b"HdrS") {
        "is a bzImage, which has no symbols"
    } else if at(0x38, b"ARM\x64") || at(0x38, b"RSC\x05") {
        "is an Image, which has no symbols"
    } else if at(4, b"zimg") {
        "is a compressed Image, which has no symbols"
    } else if at(0, b"\x89KCOV") {
        "is a recording, not an ELF file"
    } else {
        "is not an ELF file"
    };
    Some(format!(
        "{kind}; name the uncompressed vmlinux of the build folder"
    ))
}

/// Returns the reason why an ELF file is not `vmlinux`, and the remedy.
pub(super) fn of_kernel<'d>(file: &impl object::Object<'d>) -> Option<&'static str> {
    if file.kind() == object::ObjectKind::Relocatable {
        Some("was not linked yet, as vmlinux.o and modules are; name the file vmlinux of the build folder")
    } else if file.section_by_name(".rodata..compressed").is_some() {
        Some(
            "is the program that unpacks the kernel at boot; name the file vmlinux at the top of the build folder",
        )
    } else {
        None
    }
}
