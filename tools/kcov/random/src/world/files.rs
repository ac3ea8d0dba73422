// SPDX-License-Identifier: GPL-2.0
//! Files: opened, read, duplicated, closed, and files of debugfs and proc.

use super::{Checked, MOST, Statistics, World, errno_name, statistics};
use crate::actor::Request;
use crate::model::{Descriptor, File, State};
use crate::sys;

impl World {
    pub(super) fn files(&self) -> usize {
        self.model
            .processes
            .iter()
            .flatten()
            .map(|process| process.files.len())
            .sum()
    }

    pub(super) fn open(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
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

    pub(super) fn file_calls(&mut self, actor: usize, file: File, bytes: [u8; 8]) -> Checked {
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

    pub(super) fn duplicate(&mut self, actor: usize, file: File) -> Checked {
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

    pub(super) fn close(&mut self, actor: usize, file: File) -> Checked {
        self.say(actor, |_| format!("close, descriptor {}", file.descriptor));
        let result = self.call(actor, libc::SYS_close, &[file.number])?;
        self.model
            .process_mut(actor)
            .files
            .retain(|other| other.number != file.number);
        self.compare(result, Ok(()))
    }

    /// Takes a file of another process.
    pub(super) fn take(&mut self, actor: usize, bytes: [u8; 8]) -> Checked {
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

    pub(super) fn fdinfo(&mut self, actor: usize, file: File) -> Checked {
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

    pub(super) fn statistics(&mut self) -> Checked {
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
}
