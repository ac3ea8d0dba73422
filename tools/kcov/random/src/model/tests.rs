// SPDX-License-Identifier: GPL-2.0
//! Tests of the model.

use super::*;

const RUST: Kernel = Kernel {
    rust: true,
    unique: true,
    comparisons: true,
};
const COMMON: u64 = 7;
const USB: u64 = 1 << 56 | 5;

fn ready(kernel: Kernel, descriptors: usize) -> Model {
    let mut model = Model::new(kernel, 2);
    for index in 0..descriptors {
        model.descriptors.push(Descriptor {
            words: 0,
            state: State::Opened,
        });
        assert_eq!(model.init(index, 512, true), Ok(()));
    }
    model.start(0, 1, None);
    model
}

fn remote(handles: &[u64], common: u64) -> Remote {
    let number = handles.len() as u32;
    Remote {
        mode: 0,
        area: 64,
        front: 0,
        common,
        number,
        handles: handles.to_vec(),
        readable: Readable::All,
    }
}

#[test]
fn earlier_rows_decide() {
    let mut model = ready(RUST, 3);
    assert_eq!(model.init(0, 1, true), Err(libc::EINVAL));
    assert_eq!(model.init(0, 2, false), Err(libc::ENOMEM));
    assert_eq!(model.init(0, 2, true), Err(libc::EBUSY));
    assert_eq!(model.enable(0, 0, 9), Err(libc::EINVAL));
    assert_eq!(model.enable(0, 0, 0), Ok(()));
    assert_eq!(model.enable(0, 0, 0), Err(libc::EINVAL));
    assert_eq!(model.enable(0, 1, 9), Err(libc::EBUSY));
    assert_eq!(model.remote_enable(1, 1, &remote(&[USB], COMMON)), Ok(()));
    assert_eq!(model.remote_enable(1, 2, &remote(&[USB], 0)), Err(libc::EBUSY));
    assert_eq!(
        model.remote_enable(0, 2, &remote(&[USB, 3], 0)),
        Err(libc::EEXIST)
    );
    assert_eq!(
        model.remote_enable(0, 2, &remote(&[3, USB], 0)),
        Err(libc::EINVAL)
    );
    assert_eq!(model.disable(0, 1, 0), Err(libc::EINVAL));
}

#[test]
fn exit_makes_ready_and_children_inherit_the_common_handle() {
    let mut model = ready(RUST, 1);
    assert_eq!(model.remote_enable(1, 0, &remote(&[], COMMON)), Ok(()));
    model.start(1, 1, None);
    assert_eq!(model.actor(1).common, COMMON);
    model.exit(1);
    assert_eq!(model.descriptors[0].state, State::Ready);
    assert_eq!(model.registered().count(), 0);
}

#[test]
fn only_c_forgets_the_common_handle_when_a_call_fails() {
    for rust in [true, false] {
        let mut model = ready(Kernel { rust, ..RUST }, 1);
        model.actors[0].as_mut().unwrap().common = COMMON;
        assert_eq!(model.remote_enable(0, 0, &remote(&[3], 0)), Err(libc::EINVAL));
        assert_eq!(model.actor(0).common, if rust { COMMON } else { 0 });
    }
}
