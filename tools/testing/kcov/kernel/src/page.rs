// SPDX-License-Identifier: GPL-2.0

//! Pages.

use std::marker::PhantomData;

pub const PAGE_SIZE: usize = 4096;

pub struct BorrowedPage<'a>(pub(crate) PhantomData<&'a u8>);
