// SPDX-License-Identifier: GPL-2.0
//! System calls of a real task, without KCOV.

use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;

use super::buffer::Layout;
use super::tests::QUEUE;
use super::{Options, Traced, Tracer, start};
use crate::calls::described;

#[test]
fn each_call_has_its_arguments_and_result() {
    let _alone = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    let options = Options {
        each_system_call: true,
        ..Options::default()
    };
    let command = ["sh", "-c", "cd /nonexistent-folder 2>/dev/null; exit 7"];
    let (first, _) = start(&command.map(Into::into)).unwrap();
    let mut tracer = Tracer {
        options: options.clone(),
        layout: Layout::of(&options).unwrap(),
        pool: Vec::new(),
        tasks: HashMap::from([(first, Traced::new(&options))]),
        parents: HashMap::new(),
        finished: Vec::new(),
        pending: VecDeque::new(),
    };
    assert_eq!(tracer.follow(first).unwrap(), 7);
    let calls: Vec<String> = tracer.finished[0].calls.iter().map(described).collect();
    let all = calls.join("\n");
    let chdir = calls.iter().find(|call| call.contains(": chdir(0x"));
    assert!(chdir.is_some_and(|call| call.ends_with("= -2")), "{all}");
    let last = calls.last().unwrap();
    assert!(
        last.contains(": exit_group(0x7, ") && last.ends_with("did not return"),
        "{all}"
    );
}
