// SPDX-License-Identifier: GPL-2.0

//! The lines of `kcov_filter`: each means what its description says, and any other text is refused.

use crate::sites::{
    branches::{leads_to, reaches, LONGEST},
    glob::{is_glob, matches},
    line::{parse, Line, Parsed, Problem},
    selection::{Selection, Verdict, MOST_LINES},
};
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use proptest::{collection::vec, prelude::*, sample::select};

/// A part of a glob, and its text.
#[derive(Clone, Debug)]
enum Part {
    Star,
    Any,
    One(u8),
    Class { members: Vec<u8>, others: bool },
}

fn text_of(parts: &[Part]) -> Vec<u8> {
    let mut text = Vec::new();
    for part in parts {
        match part {
            Part::Star => text.push(b'*'),
            Part::Any => text.push(b'?'),
            Part::One(character) => text.push(*character),
            Part::Class { members, others } => {
                text.push(b'[');
                text.extend(others.then_some(b'!'));
                text.extend(members);
                text.push(b']');
            }
        }
    }
    text
}

/// Returns whether the parts match the whole text, by the definition.
fn parts_match(parts: &[Part], text: &[u8]) -> bool {
    match (parts, text) {
        ([], text) => text.is_empty(),
        ([Part::Star, rest @ ..], text) => {
            (0..=text.len()).any(|taken| parts_match(rest, &text[taken..]))
        }
        (_, []) => false,
        ([part, rest @ ..], [first, after @ ..]) => {
            let fits = match part {
                Part::Star => unreachable!(),
                Part::Any => true,
                Part::One(character) => character == first,
                Part::Class { members, others } => members.contains(first) != *others,
            };
            fits && parts_match(rest, after)
        }
    }
}

fn letters() -> impl Strategy<Value = u8> {
    select(&b"abc_"[..])
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    vec(
        prop_oneof![
            2 => Just(Part::Star),
            1 => Just(Part::Any),
            4 => letters().prop_map(Part::One),
            1 => (vec(letters(), 1..4), any::<bool>())
                .prop_map(|(members, others)| Part::Class { members, others }),
        ],
        1..9,
    )
}

/// Returns the line; the text must be one.
fn line(text: &[u8]) -> Line {
    match parse(text) {
        Ok(Parsed::Line(line)) => line,
        _ => panic!("{:?} is not a line", String::from_utf8_lossy(text)),
    }
}

fn problem(text: &[u8]) -> Option<Problem> {
    parse(text).err()
}

proptest! {
    #[test]
    fn glob_is_its_definition(parts in parts(), text in vec(letters(), 0..9)) {
        let glob = text_of(&parts);
        prop_assert!(is_glob(&glob));
        prop_assert_eq!(matches(&glob, &text), parts_match(&parts, &text));
    }

    /// Any text is a glob or is not, and a match ends.
    #[test]
    fn any_bytes(glob in vec(any::<u8>(), 0..20), text in vec(any::<u8>(), 0..20)) {
        is_glob(&glob);
        matches(&glob, &text);
        let _ = parse(&glob);
    }

    /// Comments and spaces change nothing, and the text of a line is a line that means the same.
    #[test]
    fn lines(parts in parts(), module in proptest::option::of(parts()), away: bool,
             function in vec(letters(), 0..6), name in vec(letters(), 0..6),
             before in "[ \t]{0,2}", after in "(|[ \t]{1,2}(#[a #]{0,4})?)") {
        let glob = text_of(&parts);
        let mut text = if away { b"!".to_vec() } else { Vec::new() };
        text.extend(&glob);
        if let Some(module) = &module {
            text.extend(b":mod:");
            text.extend(text_of(module));
        }
        let line = line(&[before.as_bytes(), &text, after.as_bytes()].concat());
        prop_assert_eq!(line.text(), &text[..]);
        prop_assert_eq!(line.takes_away(), away);
        prop_assert_eq!(line.is_for_modules(), module.is_some());
        let in_module = module.as_ref().is_none_or(|module| !name.is_empty() && parts_match(module, &name));
        prop_assert_eq!(line.matches(&function, &name), in_module && parts_match(&parts, &function));
        prop_assert_eq!(line.names_module(&name), module.is_some() && in_module);
        prop_assert!(line.addresses().is_none());
    }

    #[test]
    fn ranges(start: usize, end: usize) {
        let text = format!("0x{start:x}-0X{end:X}");
        if start < end {
            let line = line(text.as_bytes());
            prop_assert_eq!(line.addresses(), Some(start..end));
            prop_assert!(!line.matches(b"a", b""));
        } else {
            prop_assert_eq!(problem(text.as_bytes()), Some(Problem::EmptyRange));
        }
    }

    /// The last line that matches a site decides.
    #[test]
    fn verdicts(away in vec(any::<bool>(), 0..6), number in 0..6_usize, callers: bool) {
        let mut selection = Selection::new();
        let mut lines = KVec::new();
        for &away in &away {
            lines.push(line(if away { b"!a" } else { b"a" }), GFP_KERNEL).unwrap();
        }
        selection.append(lines, Some(callers)).unwrap();
        let expected = match number.min(away.len()) {
            0 if away.first() == Some(&false) => Verdict::Other,
            0 => Verdict::Selected,
            number if away[number - 1] => Verdict::TakenAway,
            _ => Verdict::Selected,
        };
        prop_assert_eq!(selection.verdict(number.min(away.len())), expected);
        prop_assert_eq!(selection.finds_callers(), callers && away.first() == Some(&false));
    }

    /// A branch is found at every place of the code, and only a branch to an entry.
    #[test]
    fn branches(mut code in vec(select(&b"\x90\xcc\x0f"[..]), LONGEST..40), place: prop::sample::Index,
                opcode in select(vec![&b"\xe8"[..], b"\xe9", b"\x0f\x80", b"\x0f\x8f"]),
                distance in -100_000..100_000_i32, off in -40..40_isize, padding in 0..20_usize) {
        const ADDRESS: usize = 0xffff_ffff_8123_4560;
        let size = opcode.len() + 4;
        let place = place.index(code.len() - size + 1);
        code.splice(place..place + size, opcode.iter().copied().chain(distance.to_le_bytes()));
        let target = (ADDRESS + place + size).wrapping_add_signed(distance as isize);
        let entry = target.wrapping_add_signed(off);
        let entries = [entry - 1000, entry, entry + 1000];
        let leads = off == -4 || (0..=padding as isize).contains(&off);
        prop_assert_eq!(leads_to(target, &entries, padding), leads);
        prop_assert_eq!(reaches(&code, ADDRESS, &|target| leads_to(target, &entries, padding)), leads);
        // A branch that is cut off does not count.
        let cut = &code[..place + size - 1];
        prop_assert!(!reaches(cut, ADDRESS, &|found| found == target));
    }
}

#[test]
fn examples() {
    assert!(matches(b"ext4_*", b"ext4_"));
    assert!(matches(b"*a*b", b"aXbaYb"));
    assert!(!matches(b"*a*b", b"aXbY"));
    assert!(matches(b"[a-cx]", b"b") && !matches(b"[a-cx]", b"d"));
    assert!(matches(b"[]a]", b"]") && matches(b"[!]]", b"a") && matches(b"[a-]", b"-"));
    for text in [&b""[..], b"[", b"[]", b"[!]", b"a b", b"a\n", b"\xff"] {
        assert!(!is_glob(text), "{text:?}");
    }
    // The part of a function that runs rarely belongs to it.
    assert!(line(b"read").matches(b"read.cold", b"") && !line(b"read").matches(b"read.b", b""));
    assert!(line(b":mod:a").matches(b"b", b"a") && !line(b":mod:*").matches(b"b", b""));
}

#[test]
fn refusals() {
    let malformed = [
        "!",
        "a b",
        "a[",
        ":mod:",
        "a:mod:",
        "a:b",
        "a:mod:b:mod:c",
        "callers=",
        "callers=2",
    ];
    for text in malformed {
        assert_eq!(problem(text.as_bytes()), Some(Problem::Malformed), "{text}");
    }
    for text in [
        "0x",
        "0x-0x",
        "0x1",
        "0x1-2",
        "0x1-0x",
        "0x1-0x2-0x3",
        "0x1-0xg",
        "0x1 -0x2",
        "0x1-0x10000000000000000",
    ] {
        assert_eq!(problem(text.as_bytes()), Some(Problem::BadRange), "{text}");
    }
    for text in ["0x5-0x5", "0x6-0x5"] {
        assert_eq!(
            problem(text.as_bytes()),
            Some(Problem::EmptyRange),
            "{text}"
        );
    }
    for text in ["", " ", "#", "\t# a"] {
        assert!(
            matches!(parse(text.as_bytes()), Ok(Parsed::Nothing)),
            "{text}"
        );
    }
    assert!(matches!(
        parse(b"callers=0 # a"),
        Ok(Parsed::Callers(false))
    ));
    assert!(matches!(parse(b" callers=1"), Ok(Parsed::Callers(true))));
}

/// Too many lines change nothing.
#[test]
fn most_lines() {
    let lines = |number| {
        let mut lines = KVec::new();
        for _ in 0..number {
            lines.push(line(b"a"), GFP_KERNEL).unwrap();
        }
        lines
    };
    let mut selection = Selection::new();
    let before = selection.append(lines(MOST_LINES), Some(false)).unwrap();
    assert_eq!(
        selection.append(lines(1), Some(true)),
        Err(Problem::TooMany)
    );
    assert_eq!(
        (selection.lines().len(), selection.callers()),
        (MOST_LINES, false)
    );
    selection.go_back(before);
    assert_eq!((selection.lines().len(), selection.callers()), (0, true));
}
