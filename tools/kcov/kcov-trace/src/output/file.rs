// SPDX-License-Identifier: GPL-2.0
//! The destination of output: standard output, or a file that appears only when it is complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::signals::Unfinished;

/// The destination of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl Target {
    /// Returns the target for the value of an option: standard output for `-` and for a missing
    /// value.
    #[must_use]
    pub fn new(path: Option<&Path>) -> Self {
        match path {
            Some(path) if path != Path::new("-") => Self::File(path.into()),
            _ => Self::Stdout,
        }
    }

    /// Lets `render` write to the target. A file is written under another name in the same folder
    /// and renamed at the end. Until then the old content stays, and an incomplete file never has
    /// the final name.
    ///
    /// # Errors
    ///
    /// The errors of `render`, or of the system.
    pub fn write(&self, render: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        match self {
            Self::Stdout => written(io::stdout().lock(), "standard output", render).map(drop),
            // A terminal, a pipe or /dev/null cannot be replaced.
            Self::File(path) if fs::metadata(path).is_ok_and(|found| !found.is_file()) => {
                let name = path.display().to_string();
                let file = File::options()
                    .write(true)
                    .open(path)
                    .with_context(|| format!("{name} cannot be written"))?;
                written(file, &name, render).map(drop)
            }
            Self::File(path) => write_beside(path, render),
        }
    }
}

fn write_beside(path: &Path, render: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    let mut beside = OsString::from(path);
    beside.push(format!(".{}.partial", std::process::id()));
    let partial = Partial(PathBuf::from(beside));
    let unfinished = Unfinished::note(&partial.0);
    let file = File::create(&partial.0).with_context(failed)?;
    let file = written(file, &path.display().to_string(), render)?;
    file.sync_all().with_context(failed)?;
    fs::rename(&partial.0, path).with_context(failed)?;
    drop(unfinished);
    Ok(())
    // After the rename, the partial name does not exist any more, so nothing needs to be removed.
}

/// Lets `render` write to `place`, and adds the name of the place to an error of writing.
fn written<W: Write>(place: W, name: &str, render: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<W> {
    let mut out = BufWriter::with_capacity(
        1 << 16,
        Watched {
            inner: place,
            failed: false,
        },
    );
    let failed = || format!("{name} cannot be written");
    if let Err(error) = render(&mut out) {
        // `render` may also fail for other reasons than writing.
        return Err(if out.get_ref().failed {
            error.context(failed())
        } else {
            error
        });
    }
    let mut watched = out
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .with_context(failed)?;
    watched.inner.flush().with_context(failed)?;
    Ok(watched.inner)
}

/// A writer that remembers whether a write has failed.
struct Watched<W> {
    inner: W,
    failed: bool,
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.failed |= matches!(&result, Err(error) if error.kind() != io::ErrorKind::Interrupted);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file that is removed on drop, unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns whether the error means that the reader of the output has closed it, as after `| head`.
#[must_use]
pub fn broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn failing_render_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let result = Target::new(Some(&path)).write(|out| {
            out.write_all(b"new")?;
            bail!("half-way")
        });
        assert_eq!(result.unwrap_err().to_string(), "half-way");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn complete_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        Target::new(Some(&path))
            .write(|out| Ok(out.write_all(b"new")?))
            .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_folder_is_named() {
        let error = Target::new(Some(Path::new("/nonexistent/out")))
            .write(|_| Ok(()))
            .unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/out"), "{error:#}");
    }

    #[test]
    fn broken_pipe_is_recognised_through_context() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert!(broken_pipe(&error));
        assert!(!broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
