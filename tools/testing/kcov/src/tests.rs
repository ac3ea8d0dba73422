// SPDX-License-Identifier: GPL-2.0

#[cfg(feature = "loom")]
mod models;
#[cfg(feature = "plain")]
mod properties;
#[cfg(feature = "shuttle")]
mod runs;
