// SPDX-License-Identifier: GPL-2.0
//! The command on recordings that the tests make themselves; no kernel with KCOV is needed.

mod browser;
mod calls;
mod changes;
mod edges;
mod fixture;
mod foreign;
mod found;
mod halves;
mod imports;
mod manual;
mod modules;
mod patches;
mod refusals;
mod reports;
mod select;
mod troubles;
mod who;
