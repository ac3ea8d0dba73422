// SPDX-License-Identifier: GPL-2.0
//! The commands of the interface.

use super::{Checked, USB, WORKER, World};
use crate::model::{File, MAX_WORDS, Mode, Readable, Remote};
use crate::sys::{self, DATA};

const INIT_TRACE: usize = 0x8008_6301;
const ENABLE: usize = 0x6364;
const DISABLE: usize = 0x6365;
const REMOTE_ENABLE: usize = 0x4018_6366;
const UNIQUE_ENABLE: usize = 0x4008_6367;
const RESET_TRACE: usize = 0x6368;
const PC_CMP_ENABLE: usize = 0x4008_6369;
const DISABLE_ANY: usize = 0x636b;

/// Numbers next to those of the commands, and those that 32-bit headers have for them.
const UNKNOWN: [usize; 8] = [
    0x636c,
    0x6363,
    0x6301,
    0x8004_6301,
    0x4004_6367,
    0x4004_6369,
    0x4010_6366,
    0x8008_6364,
];

const MALFORMED: [u64; 4] = [USB | 1 << 32, 2 << 56 | 1, 1 << 40, u64::MAX];

/// Sizes of buffers in words; a page has 512.
const SIZES: [usize; 16] = [
    512, 512, 1024, 512, 1024, 2048, 512, 512, 2, 3, 5, 6, 513, 512, 0, 1,
];

const LARGE_SIZE: usize = 65536;
const HUGE_SIZES: [usize; 4] = [MAX_WORDS, MAX_WORDS + 1, usize::MAX / 8, usize::MAX];

impl World {
    pub(super) fn init(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let mut words = SIZES[bytes[2] as usize % SIZES.len()];
        if bytes[3] == 254 {
            words = LARGE_SIZE;
        }
        if bytes[3] == 255 {
            words = HUGE_SIZES[bytes[2] as usize % HUGE_SIZES.len()];
        }
        // The implementation in C takes all memory first, which is reported or has a process killed.
        if words == MAX_WORDS && !self.model.kernel.rust {
            return Ok(());
        }
        let descriptor = file.descriptor;
        self.say(actor, |_| {
            format!("KCOV_INIT_TRACE, {words} words, descriptor {descriptor}")
        });
        let result = self.ioctl(actor, file.number, INIT_TRACE, words)?;
        // The guest may have more than the 2 GiB; then there are.
        let memory = words != MAX_WORDS || result != -i64::from(libc::ENOMEM);
        let expected = self.model.init(descriptor, words, memory);
        self.compare(result, expected)
    }

    pub(super) fn enable(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let mode = [0, 1, 0, 1, 0, 0, 1, 2, 3, 4, 0x1_0000_0000, usize::MAX][bytes[2] as usize % 12];
        self.say(actor, |_| {
            format!("KCOV_ENABLE, mode {mode}, descriptor {}", file.descriptor)
        });
        let result = self.ioctl(actor, file.number, ENABLE, mode)?;
        let expected = self.model.enable(actor, file.descriptor, mode);
        self.compare(result, expected)
    }

    fn front(&self, file: File, byte: u8) -> usize {
        let words = self.model.descriptors[file.descriptor].words;
        let less = |number: usize| words.saturating_sub(number);
        [
            256,
            1,
            2,
            64,
            300,
            0,
            less(1),
            less(2),
            less(4),
            less(5),
            words,
            words + 1,
            128,
            500,
            3,
            400,
        ][byte as usize % 16]
    }

    pub(super) fn enable_divided(&mut self, actor: usize, file: File, mode: Mode, bytes: [u8; 8]) -> Checked {
        let front = if bytes[3] == 255 {
            usize::MAX
        } else {
            self.front(file, bytes[2])
        };
        let (name, command) = if mode == Mode::Unique {
            ("UNIQUE", UNIQUE_ENABLE)
        } else {
            ("PC_CMP", PC_CMP_ENABLE)
        };
        self.say(actor, |_| {
            format!(
                "KCOV_{name}_ENABLE, {front} words, descriptor {}",
                file.descriptor
            )
        });
        let result = self.ioctl(actor, file.number, command, front)?;
        let expected = self.model.enable_divided(actor, file.descriptor, mode, front);
        self.compare(result, expected)
    }

    fn remote(&self, file: File, bytes: [u8; 8]) -> Remote {
        let bus = |number: u8| self.bus + u64::from(number % 5);
        let malformed = MALFORMED[bytes[4] as usize % MALFORMED.len()];
        let chosen = bytes[4];
        let mut readable = Readable::All;
        let handles = match bytes[3] % 24 {
            0..6 => vec![bus(chosen)],
            6..9 => vec![],
            9..12 => vec![bus(chosen), bus(chosen.wrapping_add(1))],
            12..14 => vec![WORKER],
            14 => vec![bus(chosen), bus(chosen)],
            15 => vec![malformed],
            16 => vec![self.common],
            17 => vec![0],
            18 => vec![bus(chosen), bus(chosen.wrapping_add(2)), malformed],
            19 => (0..256).map(|number| self.bus + number).collect(),
            20 => (0..257).map(|number| self.bus + number).collect(),
            21 => {
                readable = Readable::Struct;
                vec![bus(chosen)]
            }
            22 => {
                readable = Readable::Nothing;
                vec![]
            }
            _ => vec![self.bus + 257 + u64::from(chosen % 128)],
        };
        let common = match bytes[5] % 16 {
            0..6 => 0,
            6..13 => self.common + u64::from(bytes[5] % 3),
            13 => bus(chosen),
            14 => MALFORMED[bytes[5] as usize / 16 % MALFORMED.len()],
            _ => self.common + 100,
        };
        let mut mode = [0, 1, 0, 1, 2, 3, 0, 5, 2, 3, u32::MAX][bytes[2] as usize % 11];
        if bytes[7] % 8 < 3 {
            mode = 0;
        }
        let mut area = [1024, 64, 1024, 1, 4096, 0, 64, u32::MAX][bytes[6] as usize % 8];
        // A section with such an area makes the implementation in C warn: there it is the allocation that fails.
        if !self.model.kernel.rust && (area == 0 || area == u32::MAX) {
            area = 1024;
        }
        let front = self.front(file, bytes[6] / 8) as u32;
        Remote {
            mode,
            area,
            front,
            common,
            number: handles.len() as u32,
            handles,
            readable,
        }
    }

    pub(super) fn remote_enable(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let remote = self.remote(file, bytes);
        self.say(actor, |_| {
            format!(
                "KCOV_REMOTE_ENABLE, {}, descriptor {}",
                describe(&remote),
                file.descriptor
            )
        });
        // An inaccessible page follows after the data.
        let address = match remote.readable {
            Readable::All => sys::data(actor),
            Readable::Struct => sys::data(actor) + DATA - 24,
            Readable::Nothing => sys::data(actor) + DATA,
        };
        if remote.readable != Readable::Nothing {
            for (index, word) in [remote.mode, remote.area, remote.number, remote.front]
                .into_iter()
                .enumerate()
            {
                sys::write(address + 4 * index, word);
            }
            sys::write(address + 16, remote.common);
        }
        if remote.readable == Readable::All {
            for (index, handle) in remote.handles.iter().enumerate() {
                sys::write(address + 24 + 8 * index, *handle);
            }
        }
        let result = self.ioctl(actor, file.number, REMOTE_ENABLE, address)?;
        let expected = self.model.remote_enable(actor, file.descriptor, &remote);
        self.compare(result, expected)
    }

    pub(super) fn disable(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let argument = if bytes[2] < 240 {
            0
        } else {
            1 << (bytes[2] % 16 * 4)
        };
        self.say(actor, |_| {
            format!(
                "KCOV_DISABLE, argument {argument}, descriptor {}",
                file.descriptor
            )
        });
        let result = self.ioctl(actor, file.number, DISABLE, argument)?;
        let expected = self.model.disable(actor, file.descriptor, argument);
        self.compare(result, expected)
    }

    pub(super) fn disable_any(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let argument = usize::from(bytes[2] >= 240);
        self.say(actor, |_| {
            format!(
                "KCOV_DISABLE_ANY, argument {argument}, descriptor {}",
                file.descriptor
            )
        });
        let result = self.ioctl(actor, file.number, DISABLE_ANY, argument)?;
        let expected = self.model.disable_any(file.descriptor, argument);
        self.compare(result, expected)
    }

    pub(super) fn reset(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let argument = usize::from(bytes[2] >= 240);
        self.say(actor, |_| {
            format!(
                "KCOV_RESET_TRACE, argument {argument}, descriptor {}",
                file.descriptor
            )
        });
        let result = self.ioctl(actor, file.number, RESET_TRACE, argument)?;
        let expected = self.model.reset(file.descriptor, argument);
        self.compare(result, expected)
    }

    pub(super) fn unknown(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let command = UNKNOWN[bytes[2] as usize % UNKNOWN.len()];
        self.say(actor, |_| {
            format!("command {command:#x}, descriptor {}", file.descriptor)
        });
        let result = self.ioctl(actor, file.number, command, bytes[3] as usize)?;
        self.compare(result, Err(libc::ENOTTY))
    }
}

fn describe(remote: &Remote) -> String {
    let Remote {
        mode,
        area,
        front,
        common,
        number,
        handles,
        readable,
    } = remote;
    let mut listed: Vec<String> = handles
        .iter()
        .take(4)
        .map(|handle| format!("{handle:#x}"))
        .collect();
    if handles.len() > 4 {
        listed.push("...".to_owned());
    }
    let listed = listed.join(" ");
    format!(
        "mode {mode}, area {area}, front {front}, common {common:#x}, {number} handles [{listed}], readable: {readable:?}"
    )
}
