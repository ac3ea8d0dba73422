// SPDX-License-Identifier: GPL-2.0

//! Globs of names: `*` is any text, `?` one character, `[a-z]` one of a class, `[!a-z]` one that is
//! not in the class.

#![deny(unsafe_code)]

/// Returns whether the text is a glob: printable, without spaces, and with an end for each class.
pub(crate) fn is_glob(pattern: &[u8]) -> bool {
    let mut rest = pattern;
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'[' => match split_class(after) {
                Some((_, after)) => after,
                None => return false,
            },
            _ => after,
        };
    }
    !pattern.is_empty() && pattern.iter().all(u8::is_ascii_graphic)
}

/// Returns whether the glob matches the whole text.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // The glob after the last star, and the text that the star has not taken yet.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            retry = Some((pattern, text));
            continue;
        }
        let Some((&character, after)) = text.split_first() else {
            return pattern.is_empty();
        };
        if let Some(rest) = match_one(pattern, character) {
            (pattern, text) = (rest, after);
            continue;
        }
        // The last star takes one more character. Earlier stars need not: the text in between has
        // matched as early as it can.
        let Some((after_star, [_, left @ ..])) = retry else {
            return false;
        };
        (pattern, text) = (after_star, left);
        retry = Some((pattern, text));
    }
}

/// Returns the glob after the part that matches the character; [`None`] if it does not match.
fn match_one(pattern: &[u8], character: u8) -> Option<&[u8]> {
    let (&first, rest) = pattern.split_first()?;
    match first {
        b'?' => Some(rest),
        b'[' => {
            let (class, rest) = split_class(rest)?;
            is_in_class(class, character).then_some(rest)
        }
        _ => (first == character).then_some(rest),
    }
}

/// Returns the text up to the bracket that ends a class, and the text after the bracket.
///
/// A bracket that is the first character belongs to the class.
fn split_class(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = 1 + usize::from(text.first() == Some(&b'!'));
    let length = first + text.get(first..)?.iter().position(|&c| c == b']')?;
    Some((text.get(..length)?, text.get(length + 1..)?))
}

fn is_in_class(class: &[u8], character: u8) -> bool {
    let (mut rest, wanted) = match class {
        [b'!', rest @ ..] => (rest, false),
        _ => (class, true),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [low, b'-', high, after @ ..] => {
                found |= (low..=high).contains(&&character);
                after
            }
            [one, after @ ..] => {
                found |= *one == character;
                after
            }
            [] => return found == wanted,
        };
    }
}
