use lkm_monitor_common::section::CallEnd;
use proptest::prelude::*;

use super::*;
use crate::sensor::join::tests::{SECOND, event};

fn part(kind: EventKind, boot_ns: u64) -> Event {
    event(kind, 0, boot_ns)
}

fn exit(syscall: Syscall, ret: i64, boot_ns: u64) -> Event {
    let end = CallEnd { ret, happened: 0, sent: 0, syscall: syscall as u8, abi: 0, reserved: [0; 6] };
    Event { end: Some(end), ..part(EventKind::CallExit, boot_ns) }
}

fn image(source: u32, boot_ns: u64) -> Event {
    Event {
        image: Some(Image { size: 1, source, reserved: 0, id: 0, captured_bytes: 0 }),
        ..part(EventKind::ImageRead, boot_ns)
    }
}

/// The kinds in each call that `events` are cut into.
fn kinds(events: &[Event]) -> Vec<Vec<EventKind>> {
    cut(events.to_vec()).iter().map(|call| call.present().map(|part| part.kind).collect()).collect()
}

use EventKind::{CallExit, ImageRead, ModuleFreed, ModuleLoaded, Parameters};

#[test]
fn repeated_loads_are_told_apart() {
    let events = [part(ImageRead, 1), part(ModuleLoaded, 2), part(ImageRead, 3), part(ModuleLoaded, 4)];
    assert_eq!(kinds(&events), [[ImageRead, ModuleLoaded], [ImageRead, ModuleLoaded]]);
}

#[test]
fn an_unload_is_not_a_part_of_the_load_before_it() {
    let events = [part(ImageRead, 1), part(Parameters, 2), part(ModuleLoaded, 3), part(ModuleFreed, 4)];
    assert_eq!(kinds(&events), [vec![ImageRead, Parameters, ModuleLoaded], vec![ModuleFreed]]);
}

#[test]
fn a_failed_load_frees_its_module_itself() {
    let failed = [part(ModuleLoaded, 1), part(ModuleFreed, 2), exit(Syscall::FinitModule, -22, 3)];
    assert_eq!(kinds(&failed), [[ModuleLoaded, ModuleFreed, CallExit]]);
    let unloaded = [part(ModuleLoaded, 1), part(ModuleFreed, 2), exit(Syscall::DeleteModule, 0, 3)];
    assert_eq!(kinds(&unloaded), [vec![ModuleLoaded], vec![ModuleFreed, CallExit]]);
}

#[test]
fn the_return_of_another_system_call_is_another_call() {
    let deleted = [part(ModuleLoaded, 1), exit(Syscall::DeleteModule, 0, 2)];
    assert_eq!(kinds(&deleted), [[ModuleLoaded], [CallExit]]);
    let loaded = [part(ModuleFreed, 1), exit(Syscall::InitModule, 0, 2)];
    assert_eq!(kinds(&loaded), [[ModuleFreed], [CallExit]]);
}

#[test]
fn a_compressed_image_is_reported_twice() {
    let events = [image(Image::FROM_COMPRESSED_FILE, 1), image(Image::FROM_FILE, 2), part(ModuleLoaded, 3)];
    assert_eq!(kinds(&events), [[ImageRead, ModuleLoaded]]);
    let two = [image(Image::FROM_FILE, 1), image(Image::FROM_FILE, 2)];
    assert_eq!(kinds(&two), [[ImageRead], [ImageRead]]);
}

#[test]
fn a_late_part_waits_for_company() {
    let mut loose = Loose::default();
    loose.push(part(ModuleLoaded, 1));
    loose.push(part(ImageRead, SECOND));
    assert!(loose.take_due(SECOND, SECOND).is_empty());
    assert_eq!(loose.take_due(SECOND + 1, SECOND).len(), 1);
    loose.push(part(ModuleLoaded, SECOND + 5));
    assert_eq!(loose.next_deadline_ns(SECOND), Some(2 * SECOND));
    let second = loose.take_due(2 * SECOND, SECOND);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].present().count(), 2);
    assert_eq!((loose.len(), loose.next_deadline_ns(SECOND)), (0, None));
}

proptest! {
    /// No part is lost or told twice, but for an image that is shown packed and unpacked.
    #[test]
    fn cutting_keeps_every_part(parts in proptest::collection::vec((2..7u16, 0..9u64, -2..1i64, 1..4u8), 0..40)) {
        let events: Vec<_> = parts
            .into_iter()
            .filter_map(|(kind, boot_ns, ret, syscall)| {
                let kind = EventKind::from_raw(kind)?;
                let end = CallEnd { ret, happened: 0, sent: 0, syscall, abi: 0, reserved: [0; 6] };
                Some(Event { end: (kind == CallExit).then_some(end), ..part(kind, boot_ns) })
            })
            .collect();
        let told: usize = cut(events.clone()).iter().map(|call| call.present().count()).sum();
        prop_assert_eq!(told, events.len());
    }
}
