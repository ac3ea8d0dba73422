// SPDX-License-Identifier: GPL-2.0

//! Handles, the pool of areas, and remote sections that outlive their registration.

use super::*;

/// Returns the raw handles that the check accepts, or its error.
fn checked(global: &[u64], common: u64) -> Result<KVec<u64>> {
    let mut list = KVec::new();
    list.extend_from_slice(global, GFP_KERNEL)?;
    let mut passed = KVec::new();
    for handle in HandleList::new(list, common).keys() {
        passed.push(handle?.raw(), GFP_KERNEL)?;
    }
    Ok(passed)
}

#[kunit_tests(kcov_remote)]
mod cases {
    use super::*;

    #[test]
    fn handles() {
        assert_eq!(Handle::parse(0), Some(Handle::None));
        assert_eq!(Handle::parse(1), Some(Handle::Common(1)));
        assert_eq!(
            Handle::parse(0xffff_ffff),
            Some(Handle::Common(0xffff_ffff))
        );
        assert_eq!(Handle::parse(1 << 32), None);
        assert_eq!(Handle::parse(1 << 55), None);
        assert_eq!(Handle::parse(1 << 56), Some(Handle::Global(1 << 56)));
        assert_eq!(
            Handle::parse(1 << 56 | 3),
            Some(Handle::Global(1 << 56 | 3))
        );
        assert_eq!(
            Handle::parse(1 << 56 | 0xffff_ffff),
            Some(Handle::Global(1 << 56 | 0xffff_ffff))
        );
        assert_eq!(Handle::parse(1 << 56 | 1 << 32), None);
        assert_eq!(Handle::parse(1 << 56 | 1 << 55), None);
        assert_eq!(Handle::parse(2 << 56), None);
        assert_eq!(Handle::parse(0xff << 56), None);
        assert_eq!(Handle::parse(u64::MAX), None);
    }

    #[test]
    fn handle_lists() {
        const USB: u64 = 1 << 56;
        assert!(HandleList::new(KVec::new(), 0).len() > 0);
        assert_eq!(HandleList::new(KVec::new(), 5).common(), 5);
        assert_eq!(checked(&[], 0).map(|list| list.len()), Ok(0));
        assert_eq!(checked(&[USB, USB | 1], 5).map(|list| list.len()), Ok(3));
        assert_eq!(checked(&[], USB).err(), Some(EINVAL));
        assert_eq!(checked(&[5], 0).err(), Some(EINVAL));
        assert_eq!(checked(&[0], 0).err(), Some(EINVAL));
        assert_eq!(checked(&[USB | 1 << 40], 0).err(), Some(EINVAL));
    }

    #[test]
    fn larger_areas_are_kept() -> Result {
        const LARGE: usize = 1 << 16;
        // Areas of tasks are kept while there is a user.
        pool::open();
        let kept = || -> Result<bool> {
            // More areas than a CPU has slots for.
            for words in [64, 64, 64, LARGE] {
                pool::give_back(Context::Task, Area::new(words, GFP_KERNEL)?);
            }
            let before = statistics::areas();
            let area = pool::lend(Context::Task, LARGE).ok_or(ENOMEM)?;
            Ok(area.words() >= LARGE && statistics::areas() == before)
        };
        let kept = kept();
        pool::close();
        assert_eq!(kept, Ok(true));
        Ok(())
    }

    #[test]
    fn sections_of_an_earlier_registration() -> Result {
        const HANDLE: u64 = 0x7e5d_4b55;
        let descriptor = Descriptor::new()?;
        descriptor.init(512)?;
        let request = RemoteRequest {
            mode: Ok(Mode::Pc),
            front: 0,
            area_words: 64,
            handles: HandleList::new(KVec::new(), HANDLE),
        };
        let enable = || descriptor.as_arc_borrow().remote_enable(&request);
        // Runs a section, and returns the number of records in the buffer after its stop. An
        // interrupt may add some.
        let run = |meanwhile: &dyn Fn() -> Result| -> Result<u64> {
            section::start(HANDLE);
            call!(
                crate::hooks::pc::__sanitizer_cov_trace_pc,
                unsafe extern "C" fn(),
            );
            let result = meanwhile();
            section::stop();
            result?;
            let buffer = descriptor.buffer().ok_or(EINVAL)?;
            Ok(content(&buffer)?[0])
        };
        enable()?;
        let first = run(&|| Ok(()))?;
        assert!(first >= 1);
        // The descriptor is disabled, or disabled and enabled again, while the section runs.
        assert_eq!(run(&|| descriptor.disable(0)), Ok(first));
        enable()?;
        assert_eq!(
            run(&|| descriptor.disable(0).and_then(|()| enable())),
            Ok(first)
        );
        assert!(run(&|| Ok(()))? > first);
        descriptor.disable(0)?;
        assert!(run(&|| Ok(())).is_ok());
        Ok(())
    }
}
