// SPDX-License-Identifier: GPL-2.0

//! Error codes.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error(pub i32);

pub type Result<T = (), E = Error> = ::std::result::Result<T, E>;

pub mod code {
    use super::Error;

    pub const ENOENT: Error = Error(2);
    pub const ESRCH: Error = Error(3);
    pub const EINTR: Error = Error(4);
    pub const ENOMEM: Error = Error(12);
    pub const EBUSY: Error = Error(16);
    pub const EEXIST: Error = Error(17);
    pub const ENODEV: Error = Error(19);
    pub const EINVAL: Error = Error(22);
    pub const ENOSPC: Error = Error(28);
    pub const ENOTSUPP: Error = Error(524);
}

impl Error {
    /// Returns the number for C, which is negative.
    pub fn to_errno(self) -> i32 {
        -self.0
    }
}

pub fn to_result(number: i32) -> Result {
    if number < 0 {
        Err(Error(-number))
    } else {
        Ok(())
    }
}
