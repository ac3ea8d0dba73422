// SPDX-License-Identifier: GPL-2.0
//! Matches the PCs of a recording with the call sites of the kernel's files, and explains the PCs
//! that match none.
//!
//! A program may have changed the PCs since KCOV recorded them: it may have subtracted the length of
//! a call, kept the offset of the address space, or cut the addresses. If nearly all PCs of a task
//! match after the same distance was added, they are mended. A distance is trusted only if it explains
//! the PCs much better than no distance.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail};

use crate::images::{Identity, Images, Place};
use crate::recording::{Recording, Records, Task};
use crate::symbols::{Hook, NoSites, Site, jumps_after_call, sites};

/// The distances that programs subtract from a PC: the byte before it, or the length of the call on
/// some architecture.
const SHIFTS: [u64; 5] = [1, 4, 5, 6, 8];
/// Fewer distinct PCs than these may fit a distance by chance.
const ENOUGH: usize = 4;
/// The same for the offset of an address space, of which there are more.
const ENOUGH_OFFSET: usize = 8;
/// The address spaces of all architectures move by multiples of this.
const GRANULE: u64 = 0x1_0000;
/// The bits that are missing from the address of a kernel that was cut to 32 bits.
const CUT: u64 = 0xffff_ffff_0000_0000;

/// A recording whose PCs were matched.
#[derive(Debug)]
pub struct Matching<'r> {
    /// The recording, with the PCs that had to be mended.
    pub recording: Cow<'r, Recording>,
    /// Sentences about PCs that were mended.
    pub notes: Vec<String>,
    /// Sentences about PCs that belong to no known code, with causes and remedies.
    pub missing: Vec<String>,
    /// The number of distinct PCs that match no call site.
    pub unmatched: usize,
    /// True if so many PCs are missing from reports that these are only a part of the truth.
    pub partial: bool,
}

/// The call sites of all files, for one kind of record.
struct Sites<'i, 'a> {
    images: &'i Images<'a>,
    of: Vec<Result<Vec<Site>, NoSites>>,
}

/// The relation of a PC to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A call site, or a call of a function that jumps to the hook.
    Site(Place),
    /// Other code.
    Code(Place),
    Nowhere,
}

/// The cause why a PC matches no call site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// It is in a module whose file cannot be used, for this reason.
    Module(String),
    /// It is in code, but not after a call of the hook.
    Between,
    /// It is in none of the files.
    Outside,
    /// It is not an address of the kernel.
    User,
}

/// The distance by which the PCs of a task were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Shift(u64),
    Offset(u64),
}

impl Change {
    fn undone(self, pc: u64) -> u64 {
        match self {
            Self::Shift(shift) => pc.wrapping_add(shift),
            Self::Offset(offset) => pc.wrapping_sub(offset),
        }
    }

    fn told(self, who: &str) -> String {
        match self {
            Self::Shift(1) => format!(
                "the PCs of {who} are one byte before return addresses, as tools print them for debuggers; 1 was added"
            ),
            Self::Shift(shift) => {
                format!(
                    "the PCs of {who} are addresses of calls, as syzkaller prints them, not return addresses; {shift} was added"
                )
            }
            Self::Offset(offset) if offset == 0u64.wrapping_sub(CUT) => {
                format!("the PCs of {who} were cut to 32 bits; the upper bits were added")
            }
            Self::Offset(offset) => format!(
                "the PCs of {who} include the offset {offset:#x} of the kernel's address space (KASLR), which was subtracted"
            ),
        }
    }
}

impl<'i, 'a> Sites<'i, 'a> {
    fn new(images: &'i Images<'a>, hook: Hook) -> Self {
        Self {
            images,
            of: images.list.iter().map(|image| sites(image, hook)).collect(),
        }
    }

    /// Returns the relation of a PC to the files; the place of a call site if there is one among the
    /// possible places.
    fn find(&self, pc: u64) -> Found {
        let mut first = None;
        for place in self.images.places(pc) {
            let is_site = match &self.of[place.image] {
                Ok(sites) => {
                    sites.binary_search_by_key(&place.pc, |site| site.pc).is_ok()
                        || jumps_after_call(&self.images.list[place.image], sites, place.pc)
                            .next()
                            .is_some()
                }
                // Nothing better is known than that it is code.
                Err(_) => true,
            };
            if is_site {
                return Found::Site(place);
            }
            first = first.or(Some(place));
        }
        first.map_or(Found::Nowhere, Found::Code)
    }

    fn is_site(&self, pc: u64) -> bool {
        matches!(self.find(pc), Found::Site(_))
    }

    /// Finds the change that explains the PCs.
    fn change(&self, pcs: &BTreeSet<u64>) -> Option<Change> {
        let matched = |change: Option<Change>| {
            pcs.iter()
                .filter(|pc| self.is_site(change.map_or(**pc, |change| change.undone(**pc))))
                .count()
        };
        let plain = matched(None);
        let missing = pcs
            .iter()
            .filter(|pc| self.images.missing_module(**pc).is_some())
            .count();
        let known = pcs.len() - missing;
        if plain * 10 > known || known < ENOUGH {
            return None;
        }
        let explains = |change: &Change| matched(Some(*change)) * 10 >= known * 9;
        SHIFTS
            .into_iter()
            .map(Change::Shift)
            .find(explains)
            .or_else(|| self.offsets(pcs).into_iter().map(Change::Offset).find(explains))
    }

    /// Returns the distances from the first PC to all call sites that it may be.
    fn offsets(&self, pcs: &BTreeSet<u64>) -> Vec<u64> {
        let (Some(first), Ok(sites)) = (pcs.iter().nth(pcs.len() / 2), &self.of[0]) else {
            return Vec::new();
        };
        if pcs.len() < ENOUGH_OFFSET {
            return Vec::new();
        }
        sites
            .iter()
            .map(|site| first.wrapping_sub(site.pc))
            .filter(|offset| *offset != 0 && offset % GRANULE == 0)
            .collect()
    }

    fn cause(&self, pc: u64, found: Found) -> Cause {
        if let Some(missing) = self.images.missing_module(pc) {
            return Cause::Module(missing.reason.clone());
        }
        match found {
            Found::Nowhere if pc >> 63 == 0 => Cause::User,
            Found::Nowhere => Cause::Outside,
            _ => Cause::Between,
        }
    }
}

/// Matches the PCs with the call sites.
///
/// # Errors
///
/// No PC matches, or the files have no call sites.
pub fn matched<'r>(images: &Images<'_>, recording: &'r Recording) -> Result<Matching<'r>> {
    let mut matching = Matching {
        recording: Cow::Borrowed(recording),
        notes: Vec::new(),
        missing: Vec::new(),
        unmatched: 0,
        partial: false,
    };
    for hook in [Hook::Pc, Hook::Comparison] {
        match_kind(images, recording, hook, &mut matching)?;
    }
    Ok(matching)
}

fn pcs_of(task: &Task, hook: Hook) -> BTreeSet<u64> {
    match (&task.records, hook) {
        (Records::Pcs(_) | Records::Edges(_), Hook::Pc) | (Records::Comparisons(_), Hook::Comparison) => {
            task.records.all_pcs().collect()
        }
        _ => BTreeSet::new(),
    }
}

fn match_kind<'r>(
    images: &Images<'_>,
    recording: &'r Recording,
    hook: Hook,
    matching: &mut Matching<'r>,
) -> Result<()> {
    let tasks: Vec<BTreeSet<u64>> = recording.tasks.iter().map(|task| pcs_of(task, hook)).collect();
    if tasks.iter().all(BTreeSet::is_empty) {
        return Ok(());
    }
    let sites = Sites::new(images, hook);
    usable(&sites)?;
    let mut all = BTreeSet::new();
    let mut changes: BTreeMap<Change, Vec<usize>> = BTreeMap::new();
    // The PCs to be replaced, for each task.
    let mut replaced: Vec<HashMap<u64, u64>> = vec![HashMap::new(); tasks.len()];
    let mut causes: BTreeMap<Cause, BTreeSet<u64>> = BTreeMap::new();
    let mut known: HashMap<u64, Found> = HashMap::new();
    for (number, pcs) in tasks.iter().enumerate() {
        let change = if pcs.is_empty() { None } else { sites.change(pcs) };
        if let Some(change) = change {
            changes.entry(change).or_default().push(number);
        }
        for recorded in pcs {
            let pc = change.map_or(*recorded, |change| change.undone(*recorded));
            let found = *known.entry(pc).or_insert_with(|| sites.find(pc));
            let mut right = pc;
            match found {
                Found::Site(place) => right = images.pc_of(place).unwrap_or(pc),
                found => drop(causes.entry(sites.cause(pc, found)).or_default().insert(pc)),
            }
            if right != *recorded {
                replaced[number].insert(*recorded, right);
            }
            all.insert(right);
        }
    }
    for (change, numbers) in changes {
        matching.notes.push(change.told(&who(recording, &numbers)));
    }
    if replaced.iter().any(|map| !map.is_empty()) {
        let recording = matching.recording.to_mut();
        for (task, map) in recording.tasks.iter_mut().zip(&replaced) {
            replace(&mut task.records, map);
        }
    }
    tell(&sites, &causes, all.len(), matching)
}

/// Returns an error if the kernel's files cannot have made the recording.
fn usable(sites: &Sites<'_, '_>) -> Result<()> {
    match &sites.of[0] {
        Err(error @ NoSites::NoHook { .. }) => bail!("{error}"),
        Ok(found) if found.is_empty() && sites.of.iter().all(|of| of.as_ref().is_ok_and(Vec::is_empty)) => {
            bail!(
                "{} has KCOV's hooks, but no code that calls them: build the kernel with a compiler that has -fsanitize-coverage=trace-pc, and with CONFIG_KCOV_INSTRUMENT_ALL, or name the vmlinux of the kernel that ran",
                sites.images.list[0].path().display()
            )
        }
        _ => Ok(()),
    }
}

fn who(recording: &Recording, numbers: &[usize]) -> String {
    match numbers {
        [one] => format!("'{}'", recording.tasks[*one].name),
        all if all.len() == recording.tasks.len() => format!("all {} tasks", all.len()),
        all => format!("{} of {} tasks", all.len(), recording.tasks.len()),
    }
}

fn replace(records: &mut Records, map: &HashMap<u64, u64>) {
    if !map.is_empty() {
        records.change_pcs(|pc| *pc = map.get(pc).copied().unwrap_or(*pc));
    }
}

/// Explains the PCs that match no call site. An error is the explanation if none matches.
fn tell(
    sites: &Sites<'_, '_>,
    causes: &BTreeMap<Cause, BTreeSet<u64>>,
    total: usize,
    matching: &mut Matching<'_>,
) -> Result<()> {
    let unmatched: usize = causes.values().map(BTreeSet::len).sum();
    let told: Vec<String> = causes
        .iter()
        .map(|(cause, pcs)| {
            let count = pcs.len();
            let some = match count {
                1 => format!("1 of {total} different PCs is"),
                _ => format!("{count} of {total} different PCs are"),
            };
            format!("{some} {}", explained(sites, cause, pcs))
        })
        .collect();
    if unmatched == total && total > 0 {
        bail!("no PC matches {}: {}", vmlinux(sites), told.join("; "));
    }
    // A few are those of functions that end in a jump to the hook and are called through pointers.
    let few = (total / 100).max(3);
    let module = causes.keys().any(|cause| matches!(cause, Cause::Module(_)));
    matching.partial |= module || unmatched > few;
    matching.missing.extend(told);
    matching.unmatched += unmatched;
    Ok(())
}

fn vmlinux(sites: &Sites<'_, '_>) -> String {
    sites.images.list[0].path().display().to_string()
}

fn explained(sites: &Sites<'_, '_>, cause: &Cause, pcs: &BTreeSet<u64>) -> String {
    let images = sites.images;
    match cause {
        Cause::Module(reason) => format!("in a module that cannot be looked at: {reason}"),
        Cause::Between => {
            let shift = SHIFTS
                .into_iter()
                .find(|shift| pcs.iter().all(|pc| sites.is_site(pc.wrapping_add(*shift))));
            let reason = match (shift, images.identity()) {
                (Some(shift), _) => format!(
                    "they are {shift} bytes before return addresses; if the program that printed them has subtracted {shift}, import them with --add {shift}"
                ),
                (None, Identity::Same) => {
                    "the program that collected them has changed them, or a function that ends in a jump to the hook was called through a pointer; import PCs as KCOV records them".into()
                }
                (None, Identity::Unknown) => format!(
                    "{} is probably another build than the kernel that ran; name the vmlinux of that kernel, and give 'import' a copy of /sys/kernel/notes, so that it can be checked",
                    vmlinux(sites)
                ),
                (None, Identity::Other) => {
                    "the build ids differ; name the vmlinux of the kernel that ran".into()
                }
            };
            format!("in code, but not after a call of the hook: {reason}")
        }
        Cause::Outside if images.hidden() > 0 => format!(
            "in none of the kernel's files, and the addresses of {} modules are hidden: record as root, with kernel.kptr_restrict below 2",
            images.hidden()
        ),
        Cause::Outside if !images.knows_modules() => {
            "in none of the kernel's files, probably in modules, of which the recording has no list: give 'import' copies of /proc/modules and /sys/module with --proc, or trace as root".into()
        }
        Cause::Outside => {
            "in none of the kernel's files, probably in a module that was both loaded and removed while the command ran: load it before".into()
        }
        Cause::User => "not addresses of a kernel: import PCs as KCOV records them".into(),
    }
}
