// SPDX-License-Identifier: GPL-2.0

//! The file `kcov_filter`, which shows the selection and changes it.
//!
//! Lines are checked by `write`, and are in force when the file is closed. Reading shows the
//! selection at the time of `open`.

#![deny(unsafe_code)]

use super::{
    can_be_selected,
    change::{change_selection, first_without_match, set_refusal, with_selection, Change},
    line::{parse, Line, Parsed, Problem},
    selected,
    selection::{Selection, MOST_LINES},
    sites, //
};
use core::mem::{replace, take};
use kernel::{
    debugfs::device::{create_device, DeviceFile},
    fmt::{self, Write},
    fs::{
        file::{flags, Offset},
        File, //
    },
    new_mutex,
    prelude::*,
    sync::{atomic::ordering::Relaxed, Mutex},
    uaccess::{UserSliceReader, UserSliceWriter}, //
};

/// The longest line in bytes, with its comment: two of the longest names.
const LONGEST_LINE: usize = 1024;

/// The number of bytes that one call of `write` takes.
const MOST_BYTES: usize = 16 << 10;

/// The number of bytes of a refused line that are shown.
const SHOWN: usize = 100;

/// An open file.
#[pin_data]
struct Open {
    /// The text for `read`.
    text: Text,
    /// True if the selection is changed when the file is closed.
    writes: bool,
    #[pin]
    staged: Mutex<Staged>,
}

/// Lines that are not in force yet.
struct Staged {
    change: Change,
    /// The number of lines that there is space for.
    space: usize,
    /// The start of a line that has not ended.
    partial: KVec<u8>,
    /// The reason for which nothing of this file is put into force.
    failure: Option<Problem>,
}

/// A line that is refused, and the reason.
struct Refusal {
    line: Text,
    problem: Problem,
}

impl Refusal {
    fn new(line: &[u8], problem: Problem) -> Self {
        let mut text = Text::default();
        for &byte in line.trim_ascii().iter().take(SHOWN) {
            let is_shown = byte.is_ascii_graphic() || byte == b' ';
            // Without memory, the reason has to do.
            let _ = text.push(&[if is_shown { byte } else { b'?' }]);
        }
        Self {
            line: text,
            problem,
        }
    }
}

impl Staged {
    /// Takes text, of which the last line may be incomplete.
    fn take(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let without_memory = |_| Refusal::new(b"", Problem::NoMemory);
        let mut lines = KVVec::new();
        for piece in text.split_inclusive(|&byte| byte == b'\n') {
            if let Some(line) = self.take_piece(piece)? {
                if lines.len() >= self.space {
                    return Err(Refusal::new(line.text(), Problem::TooMany));
                }
                lines.push(line, GFP_KERNEL).map_err(without_memory)?;
            }
        }
        let missing = first_without_match(&lines).map_err(|problem| Refusal::new(text, problem))?;
        if let Some(line) = missing.and_then(|index| lines.get(index)) {
            return Err(Refusal::new(line.text(), Problem::NoMatch));
        }
        self.space -= lines.len();
        for line in lines {
            self.change
                .lines
                .push(line, GFP_KERNEL)
                .map_err(|_| Refusal::new(b"", Problem::NoMemory))?;
        }
        Ok(())
    }

    /// Takes a line, or a part of one. Returns the line if it is complete and selects.
    fn take_piece(&mut self, piece: &[u8]) -> Result<Option<Line>, Refusal> {
        if self.partial.len() + piece.len() > LONGEST_LINE {
            return Err(Refusal::new(&self.partial, Problem::TooLong));
        }
        self.partial
            .extend_from_slice(piece, GFP_KERNEL)
            .map_err(|_| Refusal::new(piece, Problem::NoMemory))?;
        if !self.partial.ends_with(b"\n") {
            return Ok(None);
        }
        let line = take(&mut self.partial);
        match parse(&line).map_err(|problem| Refusal::new(&line, problem))? {
            Parsed::Nothing => Ok(None),
            Parsed::Callers(callers) => {
                self.change.callers = Some(callers);
                Ok(None)
            }
            Parsed::Line(line) => Ok(Some(line)),
        }
    }

    /// Puts the lines into force.
    fn finish(&mut self) -> Result<(), Refusal> {
        if !self.partial.is_empty() {
            self.take(b"\n")?;
        }
        let change = replace(&mut self.change, Change::none());
        if change.is_none() {
            return Ok(());
        }
        change_selection(change).map_err(|problem| Refusal::new(b"", problem))
    }

    /// Keeps the lines of this file out of force, and stores the reason for readers.
    fn fail(&mut self, refusal: Refusal) -> Error {
        let Refusal { line, problem } = refusal;
        self.failure = Some(problem);
        let mut text = Text::default();
        let shown = text
            .push(b"# refused: \"")
            .and_then(|()| text.push(&line.0))
            .and_then(|()| writeln!(text, "\": {}", problem.sentence()));
        if shown.is_ok() {
            set_refusal(text.0);
        }
        problem.errno()
    }
}

/// Text that grows.
#[derive(Default)]
struct Text(KVVec<u8>);

impl Text {
    fn push(&mut self, bytes: &[u8]) -> fmt::Result {
        self.0
            .extend_from_slice(bytes, GFP_KERNEL)
            .map_err(|_| fmt::Error)
    }

    /// Shows the selection.
    fn push_selection(
        &mut self,
        selection: &Selection,
        matched: &[usize],
        refusal: &[u8],
    ) -> fmt::Result {
        let (selected, all) = (selected().load(Relaxed), sites().load(Relaxed));
        self.push(refusal)?;
        writeln!(self, "# {selected} of {all} sites are selected")?;
        writeln!(self, "callers={}", u8::from(selection.callers()))?;
        for (line, matched) in selection.lines().iter().zip(matched) {
            self.push(line.text())?;
            writeln!(self, "\t# {matched}")?;
        }
        Ok(())
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes())
    }
}

/// Returns the text that a reader gets.
fn show() -> Result<Text> {
    let mut text = Text::default();
    with_selection(|selection, matched, refusal| text.push_selection(selection, matched, refusal))
        .map_err(Problem::errno)?
        .map_err(|_| ENOMEM)?;
    Ok(text)
}

struct FilterFile;

#[vtable]
impl DeviceFile for FilterFile {
    type Ptr = Pin<KBox<Open>>;

    fn open(file: &File) -> Result<Self::Ptr> {
        let access = file.flags() & flags::O_ACCMODE;
        let writes = access != flags::O_RDONLY;
        if writes && !can_be_selected() {
            return Err(EOPNOTSUPP);
        }
        let text = if access == flags::O_WRONLY {
            Text::default()
        } else {
            show()?
        };
        let change = Change {
            replaces: file.flags() & flags::O_TRUNC != 0,
            ..Change::none()
        };
        let staged = Staged {
            space: MOST_LINES - change.lines_before(),
            change,
            partial: KVec::new(),
            failure: None,
        };
        KBox::pin_init(
            pin_init!(Open {
                text,
                writes,
                staged <- new_mutex!(staged),
            }),
            GFP_KERNEL,
        )
    }

    fn release(open: Self::Ptr, _file: &File) {
        let mut staged = open.staged.lock();
        if open.writes && staged.failure.is_none() {
            if let Err(refusal) = staged.finish() {
                staged.fail(refusal);
            }
        }
    }

    fn read(open: Pin<&Open>, to: &mut UserSliceWriter, offset: &mut Offset) -> Result<usize> {
        to.write_slice_file(&open.get_ref().text.0, offset)
    }

    fn write(open: Pin<&Open>, from: &mut UserSliceReader) -> Result<usize> {
        let mut text = KVec::from_elem(0, from.len().min(MOST_BYTES), GFP_KERNEL)?;
        from.read_slice(&mut text)?;
        let mut staged = open.staged.lock();
        if let Some(problem) = staged.failure {
            return Err(problem.errno());
        }
        match staged.take(&text) {
            Ok(()) => Ok(text.len()),
            Err(refusal) => Err(staged.fail(refusal)),
        }
    }
}

/// Creates the file.
#[expect(unsafe_code)]
pub(crate) fn create() {
    // SAFETY: KCOV is built into the kernel.
    unsafe { create_device::<FilterFile>(c"kcov_filter", 0o600) };
}
