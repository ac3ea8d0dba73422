// SPDX-License-Identifier: GPL-2.0

//! One line of the file `kcov_filter`: names functions or a range of addresses.

#![deny(unsafe_code)]

use super::glob;
use core::ops::Range;
use kernel::prelude::*;

/// The text between a glob of functions and a glob of modules.
const MODULE: &[u8] = b":mod:";

/// The text that a compiler appends to the name of a function for its code that runs rarely.
const COLD: &[u8] = b".cold";

/// The reason for which a line is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    Malformed,
    BadRange,
    EmptyRange,
    TooLong,
    NoMatch,
    TooMany,
    NoMemory,
    Killed,
}

impl Problem {
    pub(crate) fn errno(self) -> Error {
        match self {
            Self::Malformed | Self::BadRange | Self::EmptyRange | Self::TooLong => EINVAL,
            Self::NoMatch => ENOENT,
            Self::TooMany => ENOSPC,
            Self::NoMemory => ENOMEM,
            Self::Killed => EINTR,
        }
    }

    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Malformed => "this is not a glob of functions, nor a range, nor callers=",
            Self::BadRange => "a range is two hexadecimal addresses, as in 0x1000-0x2000",
            Self::EmptyRange => "the range does not end after its start",
            Self::TooLong => "the line is too long",
            Self::NoMatch => "no call of a hook matches",
            Self::TooMany => "there are too many lines",
            Self::NoMemory => "there is not enough memory",
            Self::Killed => "the task was killed",
        }
    }
}

enum Pattern {
    /// Addresses of the running kernel.
    Addresses(Range<usize>),
    /// Functions whose names match the glob at the first place of the line's text; if there is a
    /// second place, in modules whose names match the glob there.
    Functions(Range<usize>, Option<Range<usize>>),
}

/// A line that selects sites, or takes them away.
pub(crate) struct Line {
    text: KVec<u8>,
    takes_away: bool,
    pattern: Pattern,
}

/// The meaning of a line.
pub(crate) enum Parsed {
    /// A comment, or a line without text.
    Nothing,
    /// True if the callers of selected functions are kept, too.
    Callers(bool),
    Line(Line),
}

/// Returns the reason for a failure of the allocator.
pub(crate) fn no_memory<E>(_: E) -> Problem {
    Problem::NoMemory
}

fn copy(text: &[u8]) -> Result<KVec<u8>, Problem> {
    let mut copy = KVec::new();
    copy.extend_from_slice(text, GFP_KERNEL)
        .map_err(no_memory)?;
    Ok(copy)
}

/// Parses a line. Its end is not in the text.
pub(crate) fn parse(text: &[u8]) -> Result<Parsed, Problem> {
    let text = without_comment(text);
    let (takes_away, start) = match text {
        [] => return Ok(Parsed::Nothing),
        b"callers=0" => return Ok(Parsed::Callers(false)),
        b"callers=1" => return Ok(Parsed::Callers(true)),
        _ if text.starts_with(b"callers=") => return Err(Problem::Malformed),
        [b'!', ..] => (true, 1),
        _ => (false, 0),
    };
    let pattern = match text.get(start..).unwrap_or_default() {
        range @ [b'0', b'x' | b'X', ..] => Pattern::Addresses(parse_range(range)?),
        _ => parse_functions(text, start)?,
    };
    Ok(Parsed::Line(Line {
        text: copy(text)?,
        takes_away,
        pattern,
    }))
}

/// Returns the text without spaces around it, and without a comment, which begins at the start or
/// after a space.
fn without_comment(text: &[u8]) -> &[u8] {
    let mut after_space = true;
    let end = text.iter().position(|&character| {
        let begins = after_space && character == b'#';
        after_space = character.is_ascii_whitespace();
        begins
    });
    text.get(..end.unwrap_or(text.len()))
        .unwrap_or_default()
        .trim_ascii()
}

fn parse_range(text: &[u8]) -> Result<Range<usize>, Problem> {
    let mut ends = text.split(|&character| character == b'-');
    let start = ends.next().and_then(parse_address);
    let end = ends.next().and_then(parse_address);
    match (start, end, ends.next()) {
        (Some(start), Some(end), None) if start < end => Ok(start..end),
        (Some(_), Some(_), None) => Err(Problem::EmptyRange),
        _ => Err(Problem::BadRange),
    }
}

fn parse_address(text: &[u8]) -> Option<usize> {
    let [b'0', b'x' | b'X', digits @ ..] = text else {
        return None;
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |address, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(address.checked_mul(16)? + digit as usize)
    })
}

/// Parses `GLOB`, `GLOB:mod:GLOB` or `:mod:GLOB`, from a place in the text on.
fn parse_functions(text: &[u8], start: usize) -> Result<Pattern, Problem> {
    let mut windows = text.windows(MODULE.len());
    let (functions, module) = match windows.position(|window| window == MODULE) {
        Some(place) => (start..place, Some(place + MODULE.len()..text.len())),
        None => (start..text.len(), None),
    };
    let is_glob = |place: &Range<usize>| {
        let name = text.get(place.clone()).unwrap_or_default();
        glob::is_glob(name) && !name.contains(&b':')
    };
    let is_every_function = module.is_some() && functions.is_empty();
    if !is_every_function && !is_glob(&functions) || !module.iter().all(is_glob) {
        return Err(Problem::Malformed);
    }
    Ok(Pattern::Functions(functions, module))
}

impl Line {
    /// Returns the line without comment.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns whether the line takes sites away.
    pub(crate) fn takes_away(&self) -> bool {
        self.takes_away
    }

    /// Returns the addresses that the line matches, if it has addresses.
    pub(crate) fn addresses(&self) -> Option<Range<usize>> {
        match &self.pattern {
            Pattern::Addresses(range) => Some(range.clone()),
            Pattern::Functions(..) => None,
        }
    }

    /// Returns whether the line matches a function of a module; of the kernel image if the name of
    /// the module is empty.
    pub(crate) fn matches(&self, function: &[u8], module: &[u8]) -> bool {
        let Pattern::Functions(place, module_place) = &self.pattern else {
            return false;
        };
        if module_place.is_some() && !self.names_module(module) {
            return false;
        }
        let pattern = self.text.get(place.clone()).unwrap_or_default();
        pattern.is_empty()
            || glob::matches(pattern, function)
            || function
                .strip_suffix(COLD)
                .is_some_and(|function| glob::matches(pattern, function))
    }

    /// Returns whether the line is only for functions of modules.
    pub(crate) fn is_for_modules(&self) -> bool {
        matches!(&self.pattern, Pattern::Functions(_, Some(_)))
    }

    /// Returns whether the line is for modules, and matches the name of this one.
    pub(crate) fn names_module(&self, module: &[u8]) -> bool {
        match &self.pattern {
            Pattern::Functions(_, Some(place)) => {
                let pattern = self.text.get(place.clone()).unwrap_or_default();
                !module.is_empty() && glob::matches(pattern, module)
            }
            _ => false,
        }
    }
}
