// SPDX-License-Identifier: GPL-2.0

use super::Flags;
use crate::error::Result;
use std::ops::{Deref, DerefMut};

/// A vector whose capacity is fixed when it is created.
pub struct KVec<T> {
    values: Vec<T>,
    capacity: usize,
}

/// The value for which there was no space.
pub struct PushError<T>(pub T);

impl<T> KVec<T> {
    pub const fn new() -> Self {
        Self {
            values: Vec::new(),
            capacity: 0,
        }
    }

    pub fn with_capacity(capacity: usize, _flags: Flags) -> Result<Self> {
        Ok(Self {
            values: Vec::with_capacity(capacity),
            capacity,
        })
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn push(&mut self, value: T, _flags: Flags) -> Result {
        self.values.push(value);
        self.capacity = self.capacity.max(self.values.len());
        Ok(())
    }

    pub fn reserve(&mut self, more: usize, _flags: Flags) -> Result {
        self.values.reserve(more);
        self.capacity = self.capacity.max(self.values.len() + more);
        Ok(())
    }

    pub fn truncate(&mut self, number: usize) {
        self.values.truncate(number);
    }

    pub fn push_within_capacity(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.values.len() == self.capacity {
            return Err(PushError(value));
        }
        self.values.push(value);
        Ok(())
    }
}

impl<T: Clone> KVec<T> {
    pub fn extend_from_slice(&mut self, values: &[T], _flags: Flags) -> Result {
        self.values.extend_from_slice(values);
        self.capacity = self.capacity.max(self.values.len());
        Ok(())
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

impl<T> IntoIterator for KVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.iter()
    }
}
