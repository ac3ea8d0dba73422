// SPDX-License-Identifier: GPL-2.0
//! The control flow of a function, and what the call sites that ran tell about blocks without one.
//!
//! A conclusion must hold on every path. Where the flow is not known, more paths are assumed: a jump
//! through a register may lead to any block, and a block that nothing leads to may follow any block
//! (the kernel changes jumps while it runs, and repairs faults).

use std::collections::HashSet;

use super::decode::{Instruction, Relocated, Step, Target, instructions};
use super::image::{Image, Symbol};

/// The state of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// It ran.
    Ran,
    /// It did not run.
    NotRun,
    /// Some paths that fit what ran go through it, and others do not.
    Undecided,
}

/// Instructions that run one after the other.
#[derive(Debug, Default)]
struct Block {
    start: u64,
    end: u64,
    next: Vec<usize>,
    /// Set if control may leave the function for ever: it returns, or calls what may not return.
    leaves: bool,
    /// The answer of its own call sites.
    measured: Option<bool>,
}

/// The blocks of a function.
#[derive(Debug)]
pub struct Flow {
    blocks: Vec<Block>,
    /// The blocks that can be reached from the entry without those that did not run.
    reached: Vec<bool>,
}

impl Flow {
    /// Reads the function of a symbol, with its parts elsewhere. `sites` has the call sites of the
    /// image, `ran` those that ran.
    #[must_use]
    pub fn of(
        image: &Image<'_>,
        relocated: &Relocated,
        symbol: &Symbol<'_>,
        sites: &[u64],
        ran: &HashSet<u64>,
    ) -> Self {
        let mut code = instructions(image, relocated, symbol);
        for part in image.cold_parts(symbol) {
            code.extend(instructions(image, relocated, part));
        }
        let mut blocks = split(&code, |pc| sites.binary_search(&pc).is_ok());
        for block in &mut blocks {
            let from = sites.partition_point(|site| *site <= block.start);
            let inside = sites[from..].iter().take_while(|site| **site <= block.end);
            block.measured = inside.map(|site| ran.contains(site)).reduce(|a, b| a || b);
        }
        let mut flow = Self {
            reached: Vec::new(),
            blocks,
        };
        flow.reached = flow.reach(&[0], None);
        flow
    }

    /// Returns whether the function has call sites.
    #[must_use]
    pub fn is_instrumented(&self) -> bool {
        self.blocks.iter().any(|block| block.measured.is_some())
    }

    /// Returns the states of the blocks that have code of a range.
    pub fn states(&self, start: u64, end: u64) -> impl Iterator<Item = BlockState> + '_ {
        let inside = move |block: &Block| block.start < end && start < block.end;
        (0..self.blocks.len())
            .filter(move |number| inside(&self.blocks[*number]))
            .map(|number| self.state(number))
    }

    fn state(&self, number: usize) -> BlockState {
        match self.blocks[number].measured {
            Some(true) => return BlockState::Ran,
            Some(false) => return BlockState::NotRun,
            None => {}
        }
        if !self.reached[number] || self.leads_to_blocks_that_did_not_run(number) {
            BlockState::NotRun
        } else if self.is_on_all_paths_to_one_that_ran(number) || self.follows_one_that_ran(number) {
            BlockState::Ran
        } else {
            BlockState::Undecided
        }
    }

    fn ran(&self, number: usize) -> bool {
        self.blocks[number].measured == Some(true)
    }

    /// Returns the blocks on the paths from `from`, which avoid blocks that did not run, and the block
    /// `without`.
    fn reach(&self, from: &[usize], without: Option<usize>) -> Vec<bool> {
        let mut reached = vec![false; self.blocks.len()];
        let mut left: Vec<usize> = from.to_vec();
        while let Some(number) = left.pop() {
            let Some(block) = self.blocks.get(number) else {
                continue;
            };
            if reached[number] || block.measured == Some(false) || without == Some(number) {
                continue;
            }
            reached[number] = true;
            left.extend(&block.next);
        }
        reached
    }

    fn is_on_all_paths_to_one_that_ran(&self, number: usize) -> bool {
        let others = self.reach(&[0], Some(number));
        (0..self.blocks.len()).any(|other| self.ran(other) && self.reached[other] && !others[other])
    }

    fn follows_one_that_ran(&self, number: usize) -> bool {
        let leads_here = |other: &usize| {
            let block = &self.blocks[*other];
            let passed = self.reach(&block.next, Some(number));
            let leaves = passed
                .iter()
                .zip(&self.blocks)
                .any(|(passed, block)| *passed && block.leaves);
            !block.leaves && !leaves && self.reach(&block.next, None)[number]
        };
        (0..self.blocks.len())
            .filter(|other| self.ran(*other))
            .any(|other| leads_here(&other))
    }

    fn leads_to_blocks_that_did_not_run(&self, number: usize) -> bool {
        let block = &self.blocks[number];
        let after = self.reach(&block.next, None);
        let way_out = |other: usize| after[other] && (self.ran(other) || self.blocks[other].leaves);
        // A loop without an end is not an answer.
        let not_run = |other: usize| self.blocks[other].measured == Some(false);
        let mut ends = block.next.clone();
        ends.extend(
            (0..after.len())
                .filter(|other| after[*other])
                .flat_map(|other| &self.blocks[other].next),
        );
        !block.leaves && !(0..after.len()).any(way_out) && ends.into_iter().any(not_run)
    }
}

/// Returns whether the instruction ends a block. The hook always returns, so its calls do not.
fn ends_block(instruction: &Instruction, is_site: bool) -> bool {
    match instruction.step {
        Step::Next => false,
        Step::Call(_) => !is_site,
        _ => true,
    }
}

fn split(code: &[Instruction], is_site: impl Fn(u64) -> bool) -> Vec<Block> {
    let mut starts: HashSet<u64> = HashSet::new();
    for instruction in code {
        if let Step::Jump(Target::Address(to)) | Step::Branch(Target::Address(to)) = instruction.step {
            starts.insert(to);
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut steps: Vec<(&Step, bool)> = Vec::new();
    let mut open = false;
    for instruction in code {
        let follows = blocks
            .last()
            .is_some_and(|block| block.end == instruction.address);
        if !open || !follows || starts.contains(&instruction.address) {
            blocks.push(Block {
                start: instruction.address,
                ..Block::default()
            });
            steps.push((&Step::Next, false));
        }
        let site = is_site(instruction.end);
        open = !ends_block(instruction, site);
        if let (Some(block), Some(step)) = (blocks.last_mut(), steps.last_mut()) {
            block.end = instruction.end;
            *step = (&instruction.step, site);
        }
    }
    connect(&mut blocks, &steps);
    blocks
}

/// Adds the ways from each block to others.
fn connect(blocks: &mut [Block], steps: &[(&Step, bool)]) {
    let starts: Vec<u64> = blocks.iter().map(|block| block.start).collect();
    let at = |address: u64| starts.iter().position(|start| *start == address);
    let all: Vec<usize> = (0..blocks.len()).collect();
    for (number, (step, site)) in steps.iter().enumerate() {
        let after = at(blocks[number].end);
        let mut next: Vec<usize> = Vec::new();
        let leaves = match step {
            Step::Next => after.is_none(),
            Step::Call(_) => !site || after.is_none(),
            Step::Trap | Step::Return => true,
            Step::Jump(Target::Unknown) => {
                next.extend(&all);
                true
            }
            Step::Jump(to) | Step::Branch(to) => {
                let to = match to {
                    Target::Address(to) => at(*to),
                    _ => None,
                };
                next.extend(to);
                to.is_none()
            }
        };
        if !matches!(step, Step::Return | Step::Jump(_)) {
            next.extend(after);
        }
        blocks[number].next = next;
        blocks[number].leaves = leaves;
    }
    let led_to: HashSet<usize> = blocks.iter().flat_map(|block| block.next.clone()).collect();
    let hidden: Vec<usize> = all
        .into_iter()
        .skip(1)
        .filter(|number| !led_to.contains(number))
        .collect();
    for block in blocks {
        block.next.extend(&hidden);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the flow of blocks of 16 bytes. Each is its successors, whether it may leave, and what
    /// its site tells.
    fn flow(blocks: &[(&[usize], bool, Option<bool>)]) -> Flow {
        let blocks = blocks.iter().enumerate();
        let mut flow = Flow {
            blocks: blocks
                .map(|(i, (next, leaves, measured))| Block {
                    start: i as u64 * 16,
                    end: i as u64 * 16 + 16,
                    next: next.to_vec(),
                    leaves: *leaves,
                    measured: *measured,
                })
                .collect(),
            reached: Vec::new(),
        };
        flow.reached = flow.reach(&[0], None);
        flow
    }

    fn states(flow: &Flow) -> Vec<BlockState> {
        (0..flow.blocks.len()).map(|number| flow.state(number)).collect()
    }

    use BlockState::{NotRun, Ran, Undecided};

    #[test]
    fn block_on_all_paths_ran() {
        // 0 leads to 1 or 2, both to 3, which leads to 4.
        let site = Some(true);
        let flow = flow(&[
            (&[1, 2], false, site),
            (&[3], false, None),
            (&[3], false, None),
            (&[4], true, None),
            (&[], true, site),
        ]);
        assert_eq!(states(&flow), [Ran, Undecided, Undecided, Ran, Ran]);
    }

    #[test]
    fn block_that_only_others_reach_did_not_run() {
        let flow = flow(&[
            (&[1, 3], false, Some(true)),
            (&[2], true, Some(false)),
            (&[4], true, None),
            (&[4], false, None),
            (&[], true, None),
        ]);
        assert_eq!(states(&flow), [Ran, NotRun, NotRun, Ran, Ran]);
    }

    #[test]
    fn what_follows_decides_only_without_a_way_out() {
        for (leaves, wanted) in [(false, NotRun), (true, Undecided)] {
            let flow = flow(&[
                (&[1, 2], false, Some(true)),
                (&[3], leaves, None),
                (&[], true, Some(true)),
                (&[], true, Some(false)),
            ]);
            assert_eq!(states(&flow)[1], wanted);
        }
        for (leaves, wanted) in [(false, Ran), (true, Undecided)] {
            let flow = flow(&[(&[1], leaves, Some(true)), (&[], true, None)]);
            assert_eq!(states(&flow)[1], wanted);
        }
    }

    #[test]
    fn jump_through_a_register_may_lead_anywhere() {
        let instruction = |address: u64, step| Instruction {
            address,
            end: address + 1,
            step,
        };
        let code = [
            instruction(0, Step::Branch(Target::Address(3))),
            instruction(1, Step::Jump(Target::Unknown)),
            instruction(2, Step::Return),
            instruction(3, Step::Return),
            instruction(4, Step::Return),
        ];
        let blocks = split(&code, |_| false);
        let next: Vec<Vec<usize>> = blocks.iter().map(|block| block.next.clone()).collect();
        assert_eq!(next, [vec![3, 1], vec![0, 1, 2, 3, 4], vec![], vec![], vec![]]);
        // Without it, what nothing leads to may follow everything.
        let blocks = split(&code[2..], |_| false);
        assert_eq!(blocks[0].next, [1, 2]);
    }
}
