// SPDX-License-Identifier: GPL-2.0
//! A world: one run of a sequence of steps in a process of its own, with the model at its side.
//!
//! A step is some numbers. They are read as a call that makes sense in the state that the steps before it have led to, or as
//! nothing. So any part of a sequence is a sequence, which makes it easy to find a short one that fails.

use std::ffi::c_long;
use std::sync::atomic::Ordering;

use crate::actor::{self, LOOKS, Look, Request};
use crate::model::{
    Context, Descriptor, File, Kernel, MAX_WORDS, Mapping, Mode, Model, Outcome, Readable, Remote, State,
};
use crate::sys::{self, DATA, PAGE, SAMPLE_FILE, SLOTS, call_with};

/// Numbers for a step: its kind, and what it needs.
pub(crate) type Step = (u16, [u8; 8]);

/// A difference between the kernel and the model, or what kept it from being found.
pub(crate) type Checked = Result<(), String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Init,
    Map,
    Enable,
    RemoteEnable,
    Disable,
    Probe,
    Section,
    Work,
    CommonHandle,
    Unique,
    PcCmp,
    Reset,
    Unknown,
    File,
    Fdinfo,
    Statistics,
    Duplicate,
    Close,
    Unmap,
    Protect,
    Remap,
    Fork,
    Spawn,
    Take,
    Exit,
    Kill,
    Execute,
}

/// The kinds, each with how often it is chosen and the name of the call.
const KINDS: [(Kind, u16, &str); 28] = [
    (Kind::Open, 60, "open"),
    (Kind::Init, 90, "KCOV_INIT_TRACE"),
    (Kind::Map, 90, "mmap"),
    (Kind::Enable, 120, "KCOV_ENABLE"),
    (Kind::RemoteEnable, 140, "KCOV_REMOTE_ENABLE"),
    (Kind::Disable, 120, "KCOV_DISABLE"),
    (Kind::Probe, 140, "getpriority"),
    (Kind::Section, 120, "section"),
    (Kind::Work, 40, "work"),
    (Kind::CommonHandle, 30, "common handle"),
    (Kind::Unique, 60, "KCOV_UNIQUE_ENABLE"),
    (Kind::PcCmp, 60, "KCOV_PC_CMP_ENABLE"),
    (Kind::Reset, 60, "KCOV_RESET_TRACE"),
    (Kind::Unknown, 20, "unknown command"),
    (Kind::File, 20, "read, write, lseek"),
    (Kind::Fdinfo, 50, "fdinfo"),
    (Kind::Statistics, 30, "statistics"),
    (Kind::Duplicate, 20, "dup"),
    (Kind::Close, 60, "close"),
    (Kind::Unmap, 40, "munmap"),
    (Kind::Protect, 15, "mprotect"),
    (Kind::Remap, 10, "mremap"),
    (Kind::Fork, 3, "fork"),
    (Kind::Spawn, 6, "thread"),
    (Kind::Take, 12, "pidfd_getfd"),
    (Kind::Exit, 6, "exit"),
    (Kind::Kill, 2, "kill"),
    (Kind::Execute, 3, "execve"),
];

/// The sum of the weights: the first number of a step is less.
pub(crate) const WEIGHTS: u16 = {
    let (mut sum, mut index) = (0, 0);
    while index < KINDS.len() {
        sum += KINDS[index].1;
        index += 1;
    }
    sum
};

/// The results that are counted; the last one stands for all others.
const RESULTS: [i32; 11] = [
    0,
    libc::EINVAL,
    libc::EBUSY,
    libc::ENOMEM,
    libc::EFAULT,
    libc::EEXIST,
    libc::EACCES,
    libc::ENOTTY,
    libc::ESPIPE,
    crate::model::ENOTSUPP,
    -1,
];
const _: () = assert!(KINDS.len() * RESULTS.len() <= sys::COUNTERS);

/// Returns how often each call had each result.
pub(crate) fn counts() -> impl Iterator<Item = (Kind, &'static str, i32, u64)> {
    KINDS.into_iter().enumerate().flat_map(|(row, (kind, _, name))| {
        RESULTS.into_iter().enumerate().map(move |(column, result)| {
            let count = sys::report().counters[row * RESULTS.len() + column].load(Ordering::Relaxed);
            (kind, name, result, count)
        })
    })
}

pub(crate) fn errno_name(errno: i32) -> String {
    let name = match errno {
        0 => "success",
        libc::EINVAL => "EINVAL",
        libc::EBUSY => "EBUSY",
        libc::ENOMEM => "ENOMEM",
        libc::EFAULT => "EFAULT",
        libc::EEXIST => "EEXIST",
        libc::EACCES => "EACCES",
        libc::ENOTTY => "ENOTTY",
        libc::ESPIPE => "ESPIPE",
        crate::model::ENOTSUPP => "ENOTSUPP",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

const INIT_TRACE: usize = 0x8008_6301;
const ENABLE: usize = 0x6364;
const DISABLE: usize = 0x6365;
const REMOTE_ENABLE: usize = 0x4018_6366;
const UNIQUE_ENABLE: usize = 0x4008_6367;
const RESET_TRACE: usize = 0x6368;
const PC_CMP_ENABLE: usize = 0x4008_6369;
/// Numbers next to those of the commands, and those that 32-bit headers have for them.
const UNKNOWN: [usize; 8] = [
    0x636a,
    0x6363,
    0x6301,
    0x8004_6301,
    0x4004_6367,
    0x4004_6369,
    0x4010_6366,
    0x8008_6364,
];

const SAMPLE_WORKER: usize = 0x7c91;
const SAMPLE_WORK: usize = 0x7c92;
const SAMPLE_PAIR: usize = 0x4018_7ca1;
const SAMPLE_COMMON_HANDLE: usize = 0xc010_7ca3;

/// The contexts of the sample module.
const CONTEXTS: [(Context, u32, &str); 3] = [
    (Context::Task, 0, "task"),
    (Context::Softirq, 5, "softirq"),
    (Context::HardInterrupt, 6, "hard interrupt"),
];

const USB: u64 = 1 << 56;
/// Instances that no machine and no program has. Each world has some of its own: if the kernel does not forget them, the
/// next world does not suffer.
const FIRST_INSTANCE: u64 = 0x7e5d_0000;
const INSTANCES: u64 = 512;
/// The handle of the sample module's worker.
const WORKER: u64 = USB | 0x6b63_6f76;
const MALFORMED: [u64; 4] = [USB | 1 << 32, 2 << 56 | 1, 1 << 40, u64::MAX];

/// Sizes of buffers in words; a page has 512.
const SIZES: [usize; 16] = [
    512, 512, 1024, 512, 1024, 2048, 512, 512, 2, 3, 5, 6, 513, 512, 0, 1,
];
const LARGE_SIZE: usize = 65536;
const HUGE_SIZES: [usize; 4] = [MAX_WORDS, MAX_WORDS + 1, usize::MAX / 8, usize::MAX];
/// The most files and the most mappings that there are at one time.
const MOST: usize = 12;
/// The limits for an actor, and for a world, in seconds.
const PATIENCE: i64 = 60;

/// The numbers of the whole system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) descriptors: i64,
    pub(crate) handles: i64,
}

/// Reads what the implementation in Rust tells of the whole system.
pub(crate) fn statistics() -> Result<Statistics, String> {
    let number = |name: &str| {
        let path = format!("/sys/kernel/debug/kcov_statistics/{name}");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        text.trim().parse().map_err(|error| format!("{path}: {error}"))
    };
    Ok(Statistics {
        descriptors: number("descriptors")?,
        handles: number("handles")?,
    })
}

pub(crate) struct World {
    model: Model,
    /// The numbers before the first call.
    before: Option<Statistics>,
    sample: bool,
    log: bool,
    /// The first global handle and the first common one.
    bus: u64,
    common: u64,
    /// The call that is being made, for the log.
    text: String,
    kind: usize,
}

impl World {
    pub(crate) fn new(kernel: Kernel, sample: bool, log: bool, number: u64) -> Result<Self, String> {
        let before = if kernel.rust { Some(statistics()?) } else { None };
        for slot in 0..SLOTS {
            sys::mailbox(slot).reset();
        }
        let instance = (FIRST_INSTANCE + number * INSTANCES) & u64::from(u32::MAX);
        Ok(Self {
            model: Model::new(kernel, SLOTS),
            before,
            sample,
            log,
            bus: USB | instance,
            common: instance,
            text: String::new(),
            kind: 0,
        })
    }

    /// Makes all calls until one differs from the model.
    pub(crate) fn run(&mut self, steps: &[Step]) -> Checked {
        for &step in steps {
            self.step(step)?;
        }
        Ok(())
    }

    fn step(&mut self, (number, bytes): Step) -> Checked {
        let mut left = number;
        for (index, &(kind, weight, _)) in KINDS.iter().enumerate() {
            if left < weight {
                self.kind = index;
                self.text.clear();
                return self.dispatch(kind, bytes);
            }
            left -= weight;
        }
        Ok(())
    }

    /// Describes the call that follows, if it is for the log.
    fn say(&mut self, actor: usize, text: impl FnOnce(&Model) -> String) {
        if self.log {
            self.text = format!("task {actor}: {}", text(&self.model));
        }
    }

    /// Has an actor work.
    fn perform(&self, actor: usize, request: Request) -> Result<i64, String> {
        let mailbox = sys::mailbox(actor);
        request.put(mailbox);
        if actor == 0 {
            return actor::run(0).ok_or_else(|| "the first task has ended".to_owned());
        }
        mailbox
            .request(PATIENCE)
            .ok_or_else(|| format!("task {actor} did not answer within {PATIENCE} seconds"))
    }

    fn call(&self, actor: usize, number: c_long, arguments: &[usize]) -> Result<i64, String> {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        self.perform(actor, Request::Call((number, all)))
    }

    fn ioctl(&self, actor: usize, file: usize, command: usize, argument: usize) -> Result<i64, String> {
        self.call(actor, libc::SYS_ioctl, &[file, command, argument])
    }

    /// Compares a result with the model's.
    fn compare(&mut self, result: i64, expected: Outcome) -> Checked {
        let found = if result < 0 { -result as i32 } else { 0 };
        let wanted = expected.err().unwrap_or(0);
        let column = RESULTS
            .iter()
            .position(|&known| known == found)
            .unwrap_or(RESULTS.len() - 1);
        sys::report().counters[self.kind * RESULTS.len() + column].fetch_add(1, Ordering::Relaxed);
        sys::report().calls.fetch_add(1, Ordering::Relaxed);
        if self.log {
            sys::write_line(&format!("{} = {}", self.text, errno_name(found)));
        }
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{} instead of {}", errno_name(found), errno_name(wanted)))
        }
    }

    fn must(&mut self, result: i64) -> Result<usize, String> {
        self.compare(result, Ok(()))?;
        Ok(result as usize)
    }

    /// Chooses a task: the first one every second time, as it needs no other to run.
    fn pick_actor(&self, byte: u8) -> usize {
        let actors: Vec<usize> = (0..SLOTS)
            .filter(|&slot| self.model.actors[slot].is_some())
            .collect();
        if byte < 144 {
            0
        } else {
            actors[byte as usize % actors.len()]
        }
    }

    /// Chooses a file of the task's process, mostly one whose descriptor is preferred.
    fn pick_file(
        &self,
        actor: usize,
        bytes: [u8; 8],
        preferred: impl Fn(&Descriptor, usize) -> bool,
    ) -> Option<File> {
        let files = &self.model.process(actor).files;
        let fits = |file: &&File| preferred(&self.model.descriptors[file.descriptor], file.descriptor);
        let best: Vec<&File> = if bytes[7] < 208 {
            files.iter().filter(fits).collect()
        } else {
            Vec::new()
        };
        let best = if best.is_empty() {
            files.iter().collect()
        } else {
            best
        };
        best.get(bytes[1] as usize % best.len().max(1)).map(|file| **file)
    }

    fn pick_mapping(&self, actor: usize, byte: u8) -> Option<(usize, Mapping)> {
        let mappings = &self.model.process(actor).mappings;
        let index = byte as usize % mappings.len().max(1);
        mappings.get(index).map(|mapping| (index, *mapping))
    }

    fn free_slot(&self) -> Option<usize> {
        (1..SLOTS).find(|&slot| self.model.actors[slot].is_none())
    }

    fn dispatch(&mut self, kind: Kind, bytes: [u8; 8]) -> Checked {
        let actor = self.pick_actor(bytes[0]);
        let ready = |descriptor: &Descriptor, _| descriptor.state == State::Ready;
        let opened = |descriptor: &Descriptor, _| descriptor.state == State::Opened;
        let own = |descriptor: &Descriptor, _| descriptor.owner() == Some(actor);
        let any = |_: &Descriptor, _| true;
        let unmapped = |descriptor: &Descriptor, index| {
            let mapped = self
                .model
                .process(actor)
                .mappings
                .iter()
                .any(|mapping| mapping.descriptor == index);
            descriptor.state != State::Opened && descriptor.words % 512 == 0 && !mapped
        };
        let file = match kind {
            Kind::Init => self.pick_file(actor, bytes, opened),
            Kind::Map => self.pick_file(actor, bytes, unmapped),
            Kind::Enable | Kind::RemoteEnable | Kind::Unique | Kind::PcCmp => {
                self.pick_file(actor, bytes, ready)
            }
            Kind::Disable | Kind::Reset => self.pick_file(actor, bytes, own),
            _ => self.pick_file(actor, bytes, any),
        };
        match (kind, file) {
            (Kind::Open, _) => self.open(actor, bytes),
            (Kind::Init, Some(file)) => self.init(actor, file, bytes),
            (Kind::Map, Some(file)) => self.map(actor, file, bytes),
            (Kind::Enable, Some(file)) => self.enable(actor, file, bytes),
            (Kind::RemoteEnable, Some(file)) => self.remote_enable(actor, file, bytes),
            (Kind::Disable, Some(file)) => self.disable(actor, file, bytes),
            (Kind::Unique, Some(file)) => self.enable_divided(actor, file, Mode::Unique, bytes),
            (Kind::PcCmp, Some(file)) => self.enable_divided(actor, file, Mode::PcCmp, bytes),
            (Kind::Reset, Some(file)) => self.reset(actor, file, bytes),
            (Kind::Unknown, Some(file)) => self.unknown(actor, file, bytes),
            (Kind::File, Some(file)) => self.file_calls(actor, file, bytes),
            (Kind::Fdinfo, Some(file)) => self.fdinfo(actor, file),
            (Kind::Duplicate, Some(file)) => self.duplicate(actor, file),
            (Kind::Close, Some(file)) => self.close(actor, file),
            (Kind::Probe, _) => self.probe(actor, bytes),
            (Kind::Section, _) if self.sample => self.section(actor, bytes),
            (Kind::Work, _) if self.sample => self.work(actor, bytes),
            (Kind::CommonHandle, _) if self.sample => self.common_handle(actor),
            (Kind::Statistics, _) => self.statistics(),
            (Kind::Unmap, _) => self.unmap(actor, bytes),
            (Kind::Protect, _) => self.protect(actor, bytes),
            (Kind::Remap, _) => self.remap(actor, bytes),
            (Kind::Fork, _) => self.fork(actor),
            (Kind::Spawn, _) => self.spawn(actor),
            (Kind::Take, _) => self.take(actor, bytes),
            (Kind::Exit, _) => self.end(actor, false),
            (Kind::Kill, _) => self.end(actor, true),
            (Kind::Execute, _) => self.execute(actor),
            _ => Ok(()),
        }
    }

    fn files(&self) -> usize {
        self.model
            .processes
            .iter()
            .flatten()
            .map(|process| process.files.len())
            .sum()
    }

    fn open(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        if self.files() >= MOST {
            return Ok(());
        }
        let access = [
            libc::O_RDWR,
            libc::O_RDWR,
            libc::O_RDONLY,
            libc::O_RDWR,
            libc::O_RDWR,
            libc::O_WRONLY,
        ][bytes[2] as usize % 6];
        let close_on_exec = bytes[3] % 4 == 3;
        let flags = access | if close_on_exec { libc::O_CLOEXEC } else { 0 };
        // A file that is opened once more by way of /proc is another descriptor.
        let again = self
            .pick_file(actor, bytes, |_, _| true)
            .filter(|_| bytes[4] % 8 == 7);
        let path = again.map_or("/sys/kernel/debug/kcov".to_owned(), |file| {
            format!("/proc/self/fd/{}", file.number)
        });
        let descriptor = self.model.descriptors.len();
        self.say(actor, |_| {
            format!("open({path}, {flags:#o}) for descriptor {descriptor}")
        });
        self.put_text(actor, &path);
        let result = self.call(
            actor,
            libc::SYS_openat,
            &[libc::AT_FDCWD as usize, sys::data(actor), flags as usize],
        )?;
        let number = self.must(result)?;
        self.model.descriptors.push(Descriptor {
            words: 0,
            state: State::Opened,
        });
        self.model.process_mut(actor).files.push(File {
            number,
            descriptor,
            access,
            close_on_exec,
        });
        Ok(())
    }

    fn put_text(&self, actor: usize, text: &str) {
        for (index, byte) in text.bytes().chain([0]).enumerate() {
            sys::write(sys::data(actor) + index, byte);
        }
    }

    fn init(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
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

    fn map(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let mapped: usize = self
            .model
            .processes
            .iter()
            .flatten()
            .map(|process| process.mappings.len())
            .sum();
        if mapped >= MOST {
            return Ok(());
        }
        let size = self.model.descriptors[file.descriptor].words * 8;
        let (mut bytes_wanted, mut offset) = (size.max(PAGE), 0);
        match bytes[2] {
            200..=207 => bytes_wanted += PAGE,
            208..=215 => bytes_wanted = (size / 2).max(1),
            216..=223 => offset = PAGE,
            224..=231 => bytes_wanted -= 7,
            _ => {}
        }
        let shared = bytes[3] < 224;
        let writable = bytes[4] < 192;
        let descriptor = file.descriptor;
        self.say(actor, |_| {
            let how = if shared { "shared" } else { "private" };
            let what = if writable { "to be written" } else { "to be read" };
            format!("mmap, {bytes_wanted} bytes at {offset}, {how}, {what}, descriptor {descriptor}")
        });
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        let flags = if shared {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        let arguments = [
            0,
            bytes_wanted,
            protection as usize,
            flags as usize,
            file.number,
            offset,
        ];
        let result = self.call(actor, libc::SYS_mmap, &arguments)?;
        let expected = self.model.map(&file, bytes_wanted, offset, shared, writable);
        self.compare(result, expected)?;
        if expected.is_ok() {
            let mapping = Mapping {
                address: result as usize,
                bytes: size,
                descriptor,
                access: file.access,
                shared,
                writable,
            };
            self.model.process_mut(actor).mappings.push(mapping);
        }
        Ok(())
    }

    fn unmap(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let Some((index, mapping)) = self.pick_mapping(actor, bytes[1]) else {
            return Ok(());
        };
        self.say(actor, |_| format!("munmap, descriptor {}", mapping.descriptor));
        let result = self.call(actor, libc::SYS_munmap, &[mapping.address, mapping.bytes])?;
        self.model.process_mut(actor).mappings.remove(index);
        self.compare(result, Ok(()))
    }

    fn protect(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let Some((index, mapping)) = self.pick_mapping(actor, bytes[1]) else {
            return Ok(());
        };
        let writable = bytes[2] < 128;
        self.say(actor, |_| {
            format!(
                "mprotect, writable: {writable}, descriptor {}",
                mapping.descriptor
            )
        });
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        let result = self.call(
            actor,
            libc::SYS_mprotect,
            &[mapping.address, mapping.bytes, protection as usize],
        )?;
        let allowed = !writable || !mapping.shared || mapping.access == libc::O_RDWR;
        self.compare(result, if allowed { Ok(()) } else { Err(libc::EACCES) })?;
        if allowed {
            self.model.process_mut(actor).mappings[index].writable = writable;
        }
        Ok(())
    }

    fn remap(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let Some((_, mapping)) = self.pick_mapping(actor, bytes[1]) else {
            return Ok(());
        };
        self.say(actor, |_| {
            format!("mremap to twice the size, descriptor {}", mapping.descriptor)
        });
        let arguments = [
            mapping.address,
            mapping.bytes,
            2 * mapping.bytes,
            libc::MREMAP_MAYMOVE as usize,
        ];
        let result = self.call(actor, libc::SYS_mremap, &arguments)?;
        self.compare(result, Err(libc::EFAULT))
    }

    fn enable(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
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

    fn enable_divided(&mut self, actor: usize, file: File, mode: Mode, bytes: [u8; 8]) -> Checked {
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
        let mut mode = [0, 1, 0, 1, 2, 3, 0, 4, 2, 3, u32::MAX][bytes[2] as usize % 11];
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

    fn remote_enable(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
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

    fn disable(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
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

    fn reset(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let argument = usize::from(bytes[2] >= 240);
        self.say(actor, |_| {
            format!(
                "KCOV_RESET_TRACE, argument {argument}, descriptor {}",
                file.descriptor
            )
        });
        let result = self.ioctl(actor, file.number, RESET_TRACE, argument)?;
        let expected = self.model.reset(actor, file.descriptor, argument);
        self.compare(result, expected)
    }

    fn unknown(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let command = UNKNOWN[bytes[2] as usize % UNKNOWN.len()];
        self.say(actor, |_| {
            format!("command {command:#x}, descriptor {}", file.descriptor)
        });
        let result = self.ioctl(actor, file.number, command, bytes[3] as usize)?;
        self.compare(result, Err(libc::ENOTTY))
    }

    fn file_calls(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
        let data = sys::data(actor);
        let (name, number, arguments, errno) = match bytes[2] % 3 {
            0 => ("lseek", libc::SYS_lseek, [file.number, 0, 0], libc::ESPIPE),
            1 if file.access != libc::O_WRONLY => {
                ("read", libc::SYS_read, [file.number, data, 8], libc::EINVAL)
            }
            2 if file.access != libc::O_RDONLY => {
                ("write", libc::SYS_write, [file.number, data, 8], libc::EINVAL)
            }
            _ => return Ok(()),
        };
        self.say(actor, |_| format!("{name}, descriptor {}", file.descriptor));
        let result = self.call(actor, number, &arguments)?;
        self.compare(result, Err(errno))
    }

    fn duplicate(&mut self, actor: usize, file: File) -> Checked {
        if self.files() >= MOST {
            return Ok(());
        }
        self.say(actor, |_| format!("dup, descriptor {}", file.descriptor));
        let result = self.call(actor, libc::SYS_dup, &[file.number])?;
        let number = self.must(result)?;
        self.model.process_mut(actor).files.push(File {
            number,
            close_on_exec: false,
            ..file
        });
        Ok(())
    }

    fn close(&mut self, actor: usize, file: File) -> Checked {
        self.say(actor, |_| format!("close, descriptor {}", file.descriptor));
        let result = self.call(actor, libc::SYS_close, &[file.number])?;
        self.model
            .process_mut(actor)
            .files
            .retain(|other| other.number != file.number);
        self.compare(result, Ok(()))
    }

    /// Takes a file of another process.
    fn take(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let from = self.pick_actor(bytes[2] | 128);
        let process = self.model.actor(from).process;
        if process == self.model.actor(actor).process || process == 0 || self.files() >= MOST {
            return Ok(());
        }
        let Some(file) = self.pick_file(from, bytes, |_, _| true) else {
            return Ok(());
        };
        let pid = self.model.process(from).pid;
        self.say(actor, |_| {
            format!("pidfd_getfd from task {from}, descriptor {}", file.descriptor)
        });
        let pidfd = self.call(actor, libc::SYS_pidfd_open, &[pid, 0])?;
        if pidfd < 0 {
            return Err(format!("pidfd_open: {pidfd}"));
        }
        let result = self.call(actor, libc::SYS_pidfd_getfd, &[pidfd as usize, file.number, 0])?;
        self.call(actor, libc::SYS_close, &[pidfd as usize])?;
        let number = self.must(result)?;
        self.model.process_mut(actor).files.push(File {
            number,
            close_on_exec: true,
            ..file
        });
        Ok(())
    }

    fn fork(&mut self, actor: usize) -> Checked {
        let Some(slot) = self.free_slot() else {
            return Ok(());
        };
        self.say(actor, |_| format!("fork of task {slot}"));
        sys::mailbox(slot).reset();
        let sibling = self.model.actor(actor).process != 0;
        let result = self.perform(actor, Request::Fork { slot, sibling })?;
        let pid = self.must(result)?;
        self.model.start(actor, slot, Some(pid));
        Ok(())
    }

    fn spawn(&mut self, actor: usize) -> Checked {
        let Some(slot) = self.free_slot() else {
            return Ok(());
        };
        if self.model.actor(actor).process != 0 {
            return Ok(());
        }
        self.say(actor, |_| format!("start of thread {slot}"));
        sys::mailbox(slot).reset();
        let result = self.perform(actor, Request::Spawn { slot })?;
        self.must(result)?;
        self.model.start(actor, slot, None);
        Ok(())
    }

    fn end(&mut self, actor: usize, kill: bool) -> Checked {
        let process = self.model.actor(actor).process;
        if actor == 0 || (kill && process == 0) {
            return Ok(());
        }
        self.say(actor, |_| {
            if kill {
                "is killed".to_owned()
            } else {
                "exits".to_owned()
            }
        });
        if process == 0 {
            Request::Exit { process: false }.put(sys::mailbox(actor));
            sys::mailbox(actor).order();
            actor::join(actor);
        } else {
            let pid = self.model.process(actor).pid;
            if kill {
                call_with(libc::SYS_kill, &[pid, libc::SIGKILL as usize]);
            } else {
                Request::Exit { process: true }.put(sys::mailbox(actor));
                sys::mailbox(actor).order();
            }
            let waited = call_with(libc::SYS_wait4, &[pid, 0, libc::__WALL as usize, 0]);
            if waited != pid as i64 {
                return Err(format!("the end of task {actor} can't be waited for: {waited}"));
            }
        }
        self.model.exit(actor);
        self.compare(0, Ok(()))
    }

    fn execute(&mut self, actor: usize) -> Checked {
        if self.model.actor(actor).process == 0 {
            return Ok(());
        }
        self.say(actor, |_| "execve".to_owned());
        let result = self.perform(actor, Request::Execute)?;
        self.model.execute(actor);
        self.compare(result, Ok(()))
    }

    fn read(&self, actor: usize, path: &str) -> Result<String, String> {
        self.put_text(actor, path);
        let length = self.perform(actor, Request::Read)?;
        if length < 0 {
            return Err(format!("{path}: {}", errno_name(-length as i32)));
        }
        let bytes: Vec<u8> = (0..length as usize)
            .map(|index| sys::read(sys::data(actor) + index))
            .collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn fdinfo(&mut self, actor: usize, file: File) -> Checked {
        self.say(actor, |_| format!("fdinfo, descriptor {}", file.descriptor));
        let text = self.read(actor, &format!("/proc/self/fdinfo/{}", file.number))?;
        let lines: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("kcov-") && !line.starts_with("kcov-dropped-records:\t"))
            .map(str::to_owned)
            .collect();
        self.compare(0, Ok(()))?;
        let descriptor = &self.model.descriptors[file.descriptor];
        let (state, mode, handles) = match &descriptor.state {
            State::Opened => ("opened", "none", 0),
            State::Ready => ("ready", "none", 0),
            State::Local { mode, .. } => ("enabled", mode.name(), 0),
            State::Remote { mode, handles, .. } => ("remote", mode.name(), handles.len()),
        };
        let expected = [
            format!("kcov-state:\t{state}"),
            format!("kcov-mode:\t{mode}"),
            format!("kcov-words:\t{}", descriptor.words),
            format!("kcov-handles:\t{handles}"),
            "kcov-lost-sections:\t0".to_owned(),
        ];
        // The implementation in C tells nothing there.
        let expected: &[String] = if self.model.kernel.rust { &expected } else { &[] };
        if lines == expected {
            Ok(())
        } else {
            Err(format!("{lines:?} instead of {expected:?}"))
        }
    }

    fn statistics(&mut self) -> Checked {
        let Some(before) = self.before else { return Ok(()) };
        self.say(0, |_| "statistics".to_owned());
        let now = statistics()?;
        let expected = Statistics {
            descriptors: before.descriptors + self.model.living() as i64,
            handles: before.handles + self.model.registered().count() as i64,
        };
        self.compare(0, Ok(()))?;
        if now == expected {
            Ok(())
        } else {
            Err(format!("{now:?} instead of {expected:?}"))
        }
    }

    fn probe(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        self.say(actor, |_| "getpriority".to_owned());
        let result = self.observe(
            actor,
            libc::SYS_getpriority,
            [libc::PRIO_PROCESS as usize, 0, 0],
            None,
            bytes[1],
        )?;
        self.compare(result.0, Ok(()))?;
        result.1
    }

    fn section(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let (context, number, name) = CONTEXTS[if bytes[3] < 224 {
            0
        } else if bytes[3] < 252 {
            1
        } else {
            2
        }];
        // The implementation in C warns of a section in a task that is being recorded.
        if !self.model.kernel.rust && context == Context::Task && self.model.actor(actor).local.is_some() {
            return Ok(());
        }
        let known = [
            self.bus,
            self.bus + 1,
            self.bus + 2,
            self.common,
            self.common + 1,
            WORKER,
            0,
        ];
        let registered: Vec<u64> = self
            .model
            .registered()
            .map(|(handle, _)| handle)
            .take(16)
            .collect();
        let handles = if bytes[4] < 176 && !registered.is_empty() {
            &registered[..]
        } else {
            &known
        };
        let handle = handles[bytes[2] as usize % handles.len()];
        self.say(actor, |_| format!("section of {handle:#x} in a {name}"));
        // struct kcov_sample_pair with its flag for the outer section.
        let data = sys::data(actor);
        sys::write(data, [handle, 0]);
        sys::write(data + 16, [number, 1]);
        let target = self.model.section(handle, context);
        let result = self.observe(
            actor,
            libc::SYS_ioctl,
            [SAMPLE_FILE, SAMPLE_PAIR, data],
            target,
            bytes[1],
        )?;
        self.compare(result.0, Ok(()))?;
        result.1
    }

    /// A section elsewhere: of the sample module's worker, or of the task's common handle in a work item.
    fn work(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
        let common = bytes[2] < 160;
        let handle = if common {
            self.model.actor(actor).common
        } else {
            WORKER
        };
        let command = if common { SAMPLE_WORK } else { SAMPLE_WORKER };
        self.say(actor, |_| format!("work for {handle:#x} in a kernel thread"));
        let target = self.model.section(handle, Context::Task);
        let result = self.observe(
            actor,
            libc::SYS_ioctl,
            [SAMPLE_FILE, command, 0],
            target,
            bytes[1],
        )?;
        self.compare(result.0, Ok(()))?;
        result.1
    }

    fn common_handle(&mut self, actor: usize) -> Checked {
        self.say(actor, |_| "common handle".to_owned());
        let data = sys::data(actor);
        sys::write(data, [0u64, u64::MAX]);
        let result = self.ioctl(actor, SAMPLE_FILE, SAMPLE_COMMON_HANDLE, data)?;
        self.compare(result, Ok(()))?;
        let (found, expected) = (sys::read::<u64>(data + 8), self.model.actor(actor).common);
        if found == expected {
            Ok(())
        } else {
            Err(format!(
                "the common handle is {found:#x} instead of {expected:#x}"
            ))
        }
    }

    /// Makes a call and looks at all buffers that the task's process has mapped. Returns what the call returns, and whether
    /// the buffers are as they should be: the target of a section has records, the task's own buffer as well, no other.
    fn observe(
        &mut self,
        actor: usize,
        number: c_long,
        arguments: [usize; 3],
        target: Option<(usize, [bool; 2])>,
        byte: u8,
    ) -> Result<(i64, Checked), String> {
        let prepare = byte < 176;
        let mut seen: Vec<(usize, bool)> = Vec::new();
        for mapping in &self.model.process(actor).mappings {
            if seen.len() == LOOKS || seen.iter().any(|&(index, _)| index == mapping.descriptor) {
                continue;
            }
            let descriptor = &self.model.descriptors[mapping.descriptor];
            // Another task that waits for its turn may still be recorded on its way to sleep.
            let foreign = matches!(descriptor.state, State::Local { actor: owner, .. } if owner != actor);
            if foreign {
                continue;
            }
            let whole = crate::model::parts(Mode::Pc, descriptor.words, 0);
            let (parts, set) = descriptor.layout().unwrap_or((whole, 0));
            let look = Look {
                address: mapping.address,
                words: descriptor.words,
                set,
                prepare: prepare && mapping.shared && mapping.writable && descriptor.owner().is_some(),
                // The implementation in C may append a part of a record to a full buffer.
                ragged: !self.model.kernel.rust && matches!(descriptor.state, State::Remote { .. }),
                parts,
                ..Look::default()
            };
            sys::write(actor::look_at(actor, seen.len()), look);
            seen.push((mapping.descriptor, look.prepare));
        }
        sys::write(actor::looks_at(actor), seen.len() as u64);
        let call = (number, [arguments[0], arguments[1], arguments[2], 0, 0, 0]);
        let result = self.perform(actor, Request::Observe(call))?;
        let problem = seen.iter().enumerate().find_map(|(index, &(descriptor, _))| {
            let look: Look = sys::read(actor::look_at(actor, index));
            self.judge(actor, descriptor, &look, target)
                .map(|what| format!("descriptor {descriptor}: {what}"))
        });
        Ok((result, problem.map_or(Ok(()), Err)))
    }

    fn judge(
        &self,
        actor: usize,
        index: usize,
        look: &Look,
        target: Option<(usize, [bool; 2])>,
    ) -> Option<String> {
        let descriptor = &self.model.descriptors[index];
        let enabled = descriptor.owner().is_some();
        if enabled && let Some(complaint) = look.complaint() {
            return Some(complaint);
        }
        let unique = matches!(
            descriptor.state,
            State::Local {
                mode: Mode::Unique,
                ..
            } | State::Remote {
                mode: Mode::Unique,
                ..
            }
        );
        for (number, part) in look.parts.iter().enumerate().filter(|(_, part)| part.words > 0) {
            let (before, after) = (look.before[number], look.after[number]);
            let local = matches!(descriptor.state, State::Local { actor: owner, .. } if owner == actor);
            let recorded = local || target.is_some_and(|(to, parts)| to == index && parts[number]);
            let space = enabled && before < part.capacity() as u64;
            // With their bits set, PCs are not recorded again.
            let sure = !unique || look.prepare;
            let right = if recorded && space {
                after > before || (!sure && after == before)
            } else {
                after == before
            };
            if !right {
                let what = if recorded && space {
                    "records are missing"
                } else {
                    "records are not expected"
                };
                return Some(format!(
                    "{what}: the count at word {} was {before} and is {after}",
                    part.at
                ));
            }
        }
        None
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
