// SPDX-License-Identifier: GPL-2.0
//! Where output goes: standard output, or a file that appears only when it is complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl Target {
    /// The target of an option's value: `-` and no value are standard output.
    #[must_use]
    pub fn new(path: Option<&Path>) -> Self {
        match path {
            Some(path) if path != Path::new("-") => Self::File(path.into()),
            _ => Self::Stdout,
        }
    }

    /// Lets `render` write to the target. A file is written beside its place and renamed at the end: what was
    /// there before stays until then, and nothing half-finished is ever seen.
    ///
    /// # Errors
    ///
    /// What `render` answers, or the system.
    pub fn write(&self, render: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        match self {
            Self::Stdout => {
                let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
                render(&mut out)?;
                out.flush()?;
                Ok(())
            }
            // A terminal, a pipe or /dev/null cannot be replaced.
            Self::File(path) if fs::metadata(path).is_ok_and(|found| !found.is_file()) => {
                let failed = || format!("{} cannot be written", path.display());
                let file = File::options().write(true).open(path).with_context(failed)?;
                let mut out = BufWriter::new(file);
                render(&mut out)?;
                out.flush().with_context(failed)
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
    let file = File::create(&partial.0).with_context(failed)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    render(&mut out)?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .with_context(failed)?;
    fs::rename(&partial.0, path).with_context(failed)
    // After the rename there is nothing to be removed under the partial name.
}

/// A file that is removed unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the error is that nobody reads our output any more, as after `| head`.
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
