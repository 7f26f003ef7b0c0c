//! Paths that no kernel ever walked.

use proptest::prelude::*;

use super::*;

fn any_path() -> impl Strategy<Value = SeenPath> {
    let bytes = || {
        prop_oneof![any::<Vec<u8>>(), "(/[a.x\u{0}]{0,3}){0,5}".prop_map(String::into_bytes), Just(b"/proc/1".to_vec())]
    };
    (bytes(), bytes(), proptest::option::of(bytes()), proptest::option::of(bytes()), any::<[bool; 5]>()).prop_map(
        |(
            seen,
            absolute,
            mount_point,
            mount_root,
            [truncated, anonymous, foreign_root, mount_unknown, outside_root],
        )| SeenPath {
            seen,
            absolute,
            mount_point,
            mount_root,
            truncated,
            anonymous,
            foreign_root,
            mount_unknown,
            outside_root,
            ..SeenPath::default()
        },
    )
}

proptest! {
    #[test]
    fn takes_any_path(
        path in any_path(),
        old_path in proptest::option::of(any_path()),
        in_host_namespace in any::<bool>(),
        action in prop::sample::select(vec![FileAction::Written, FileAction::Renamed, FileAction::Removed]),
        device in (prop::sample::select(vec![0_u32, 8, 254]), 0_u32..3),
    ) {
        let facts = FileFacts { device_major: device.0, device_minor: device.1, ..FileFacts::default() };
        let mut change = FileChange { action, path, old_path, facts: Some(facts), ..samples::file_change() };
        change.process.caller.pid = std::process::id();
        let wanted = Look { change: Box::new(change), subject: Subject::Modprobe, in_host_namespace, of_load: false };
        let memory = Memory::new(Box::new(|_| Some(Subject::Modprobe)));
        let mut modules = Modules::in_folder(PathBuf::from("/nonexistent"));
        let content = look::look(&memory, &mut modules, &wanted);
        prop_assert_ne!(content.status, ContentStatus::NotWanted);
    }
}
