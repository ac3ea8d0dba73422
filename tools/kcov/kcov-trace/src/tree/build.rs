// SPDX-License-Identifier: GPL-2.0
//! A tree of calls, and its construction from calls and returns.

/// The knowledge about who made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is the first one that was seen.
    Root,
    /// The caller has an instruction that calls the function, or calls one without call sites that
    /// does.
    Direct,
    /// The caller calls functions through pointers.
    Indirect,
    /// No open call has an instruction that could lead there, such as in an interrupt or a callback.
    Unknown,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The number of the function.
    pub function: u32,
    /// The number of the caller's node.
    pub parent: Option<u32>,
    /// The knowledge about the caller.
    pub link: Link,
    /// Set if the beginning of the call was not recorded.
    pub late: bool,
    /// The number of records in the function itself.
    pub records: u64,
    /// The number of the first record.
    pub first: usize,
}

/// The calls between two places where nothing is known about the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The calls, in the order of their beginnings.
    pub nodes: Vec<Node>,
    /// Set if records are missing before the first one.
    pub broken: bool,
}

/// Builds a tree from calls and returns.
#[derive(Debug, Default)]
pub struct Builder {
    tree: Tree,
    open: Vec<u32>,
}

impl Builder {
    /// Returns a builder of an empty tree; `broken` as in [`Tree`].
    #[must_use]
    pub fn new(broken: bool) -> Self {
        Self {
            tree: Tree {
                nodes: Vec::new(),
                broken,
            },
            open: Vec::new(),
        }
    }

    /// Returns the functions of the calls that have not ended, the last one first.
    pub fn open(&self) -> impl Iterator<Item = u32> + '_ {
        self.open
            .iter()
            .rev()
            .map(|node| self.tree.nodes[*node as usize].function)
    }

    /// Begins a call in the last one that has not ended.
    pub fn call(&mut self, function: u32, link: Link, late: bool, first: usize) {
        let number = self.tree.nodes.len() as u32;
        self.tree.nodes.push(Node {
            function,
            parent: self.open.last().copied(),
            link: if self.open.is_empty() { Link::Root } else { link },
            late,
            records: 0,
            first,
        });
        self.open.push(number);
    }

    /// Ends the last `count` calls.
    pub fn leave(&mut self, count: usize) {
        self.open.truncate(self.open.len().saturating_sub(count));
    }

    /// Counts a record in the last call that has not ended.
    pub fn record(&mut self) {
        if let Some(node) = self.open.last() {
            self.tree.nodes[*node as usize].records += 1;
        }
    }

    /// Returns the tree.
    #[must_use]
    pub fn finish(self) -> Tree {
        self.tree
    }
}
