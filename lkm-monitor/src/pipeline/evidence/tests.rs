use std::{io, sync::mpsc, thread, time::Duration};

use super::*;
use crate::{
    evidence::{Archive, EvidenceError, Store, samples as kept},
    model::{
        DigestCheck, ExaminedImage, FileFacts, Finding, ImageSource, KernelPolicy, KeyFacts, KeySource, ListedKey,
        LoadStage, Manager, Operation, Provenance, Severity, SignatureFacts, SignatureVerdict, samples, taint,
    },
};

const CAUSES: [EvidenceCause; 4] =
    [EvidenceCause::Memory, EvidenceCause::Unsigned, EvidenceCause::Unpackaged, EvidenceCause::Alert];

fn alert() -> Verdict {
    let rule = crate::assess::rules().find(|rule| rule.id == "unsigned-module").unwrap();
    let findings = vec![Finding { rule, severity: Severity::Medium, reason: String::new() }];
    Verdict { findings, ..Verdict::default() }
}

fn signed(verdict: SignatureVerdict) -> ExaminedImage {
    let signature = SignatureFacts { verdict, signature_bytes: 1, signer: None, signers: 1 };
    ExaminedImage { signature: Some(signature), host_keys: 1, ..ExaminedImage::default() }
}

fn of_package(manager: Manager, digest: DigestCheck) -> ExaminedImage {
    let provenance =
        Provenance { manager, package: None, version: None, architecture: None, digest, problems: Vec::new() };
    ExaminedImage { provenance: Some(provenance), ..ExaminedImage::default() }
}

fn load_of(image: ExaminedImage) -> ModuleCall {
    ModuleCall { image: Some(Box::new(image)), ..samples::load() }
}

/// The load of a module from its file, which a key of this host signed and a package brought.
fn ordinary() -> ModuleCall {
    let provenance = of_package(Manager::Dpkg, DigestCheck::Matches).provenance;
    load_of(ExaminedImage { provenance, ..signed(SignatureVerdict::Valid { key: samples::build_key() }) })
}

fn keeping(causes: &[EvidenceCause]) -> Evidence {
    Evidence::new(None, causes.iter().copied().collect())
}

fn is_cause(cause: EvidenceCause, call: &ModuleCall) -> bool {
    keeping(&[cause]).wants(call, &alert())
}

#[test]
fn without_an_alert_nothing_is_kept() {
    let call = ModuleCall { operation: Operation::InitModule, image: None, ..samples::load() };
    assert!(CAUSES.iter().all(|cause| is_cause(*cause, &call)));
    assert!(!keeping(&CAUSES).wants(&call, &Verdict::default()));
    assert!(!keeping(&[]).wants(&call, &alert()), "nobody wants any");
}

#[test]
fn what_an_alert_is_about_is_kept_for_its_cause_only() {
    let applying = |call: &ModuleCall| CAUSES.map(|cause| is_cause(cause, call));
    assert_eq!(applying(&ordinary()), [false, false, false, true]);
    let from_memory = ModuleCall { operation: Operation::InitModule, ..ordinary() };
    assert_eq!(applying(&from_memory), [false, false, false, true], "it is the kernel's own");
    let of_file = SignatureVerdict::Valid {
        key: KeyFacts { source: KeySource::File("/etc/keys/a".into()), ..samples::build_key() },
    };
    let provenance = of_package(Manager::Dpkg, DigestCheck::Matches).provenance;
    let image = ExaminedImage { provenance, ..signed(of_file) };
    let from_memory = ModuleCall { operation: Operation::InitModule, ..load_of(image) };
    assert_eq!(applying(&from_memory), [true, false, false, true]);
    let unpackaged = load_of(signed(SignatureVerdict::Valid { key: samples::build_key() }));
    assert_eq!(applying(&unpackaged), [false, false, true, true]);
    let unsigned = load_of(of_package(Manager::Rpm, DigestCheck::Matches));
    assert_eq!(applying(&unsigned), [false, true, false, true]);
    // One cause is enough.
    assert!(keeping(&[EvidenceCause::Memory, EvidenceCause::Unsigned]).wants(&unsigned, &alert()));
}

#[test]
fn what_no_file_has_comes_from_memory() {
    let from = |change: &dyn Fn(&mut FileFacts)| {
        let mut call = ModuleCall { image: None, ..ordinary() };
        change(call.file.as_mut().unwrap());
        is_cause(EvidenceCause::Memory, &call)
    };
    assert!(!from(&|_| {}));
    assert!(from(&|file| file.unlinked = true));
    assert!(from(&|file| file.path.anonymous = true));
    assert!(from(&|file| file.kernel_mount = true));
    let read = |image_source| ModuleCall { image_source, image: None, ..ordinary() };
    assert!(is_cause(EvidenceCause::Memory, &read(Some(ImageSource::Memory))));
}

#[test]
fn what_no_key_of_this_host_signed_is_unsigned() {
    let is_unsigned = |image| is_cause(EvidenceCause::Unsigned, &load_of(image));
    for verdict in [
        SignatureVerdict::Absent,
        SignatureVerdict::Malformed("it is cut".to_owned()),
        SignatureVerdict::Mismatch { key: samples::build_key() },
        SignatureVerdict::UnknownKey { listed: None },
        SignatureVerdict::Valid { key: KeyFacts { revoked: true, ..samples::build_key() } },
    ] {
        assert!(is_unsigned(signed(verdict.clone())), "{verdict:?}");
    }
    let listed = Some(ListedKey { name: "Vendor: key".to_owned(), id: None });
    for verdict in [SignatureVerdict::Valid { key: samples::build_key() }, SignatureVerdict::UnknownKey { listed }] {
        assert!(!is_unsigned(signed(verdict.clone())), "{verdict:?}");
    }
    // The kernel may know better.
    let kernel_policy = KernelPolicy { enforces_signatures: Some(false), lockdown: None, config: None };
    for verdict in [
        SignatureVerdict::Valid { key: samples::build_key() },
        SignatureVerdict::UnknownKey { listed: None },
        SignatureVerdict::Unsupported("it is odd".to_owned()),
    ] {
        let mut call = load_of(ExaminedImage { kernel_policy: kernel_policy.clone(), ..signed(verdict.clone()) });
        assert!(!is_cause(EvidenceCause::Unsigned, &call), "{verdict:?}");
        call.module.taints = Some(taint::UNSIGNED);
        assert!(is_cause(EvidenceCause::Unsigned, &call), "{verdict:?}");
    }
    // Nobody could look.
    assert!(is_unsigned(ExaminedImage::default()));
    assert!(is_cause(EvidenceCause::Unsigned, &ModuleCall { image: None, ..samples::load() }));
}

#[test]
fn what_no_record_of_a_package_has_is_unpackaged() {
    for (manager, digest, expected) in [
        (Manager::Dpkg, DigestCheck::Matches, false),
        (Manager::Rpm, DigestCheck::Matches, false),
        (Manager::Dpkg, DigestCheck::Differs, true),
        (Manager::Rpm, DigestCheck::NotRecorded, true),
        (Manager::Dkms, DigestCheck::Matches, true),
        (Manager::None, DigestCheck::NotRecorded, true),
    ] {
        let call = load_of(of_package(manager, digest));
        assert_eq!(is_cause(EvidenceCause::Unpackaged, &call), expected, "{manager:?} {digest:?}");
    }
    assert!(is_cause(EvidenceCause::Unpackaged, &ModuleCall { image: None, ..samples::load() }));
}

#[test]
fn what_is_there_already_is_not_kept_but_what_only_says_so_is() {
    let refused = |errno| samples::refused(load_of(ExaminedImage::default()), errno);
    let is_wanted = |call: &ModuleCall| keeping(&CAUSES).wants(call, &alert());
    assert!(!is_wanted(&refused(libc::EEXIST)));
    assert!(is_wanted(&refused(libc::EPERM)));
    // Whoever builds a module chooses what its init function returns.
    for stage in [LoadStage::InitFailed, LoadStage::Unknown] {
        assert!(is_wanted(&ModuleCall { stage, ..refused(libc::EEXIST) }), "{stage:?}");
    }
}

#[test]
fn what_waits_at_the_end_and_was_overdue_is_lost_once() {
    let (opening, opens) = mpsc::channel();
    let (go, hangs) = mpsc::channel::<()>();
    let hang = move |_| {
        opening.send(()).unwrap();
        let _ = hangs.recv_timeout(Duration::from_secs(60));
        Err(EvidenceError::Thread(io::Error::other("it hung")))
    };
    let service = Service::start_with(1 << 20, hang).unwrap();
    let mut evidence = Evidence::new(Some(service), CAUSES.into());
    opens.recv().unwrap();
    let keep = |evidence: &mut Evidence| assert!(evidence.keep(Some(Arc::default()), 0, kept::load(1)));
    (0..3).for_each(|_| keep(&mut evidence));
    evidence.look_after_with(Duration::from_secs(3600));
    assert_eq!(evidence.lost(), 0, "it has not hung for that long");
    evidence.look_after_with(Duration::ZERO);
    assert_eq!(evidence.lost(), 3);
    keep(&mut evidence);
    evidence.finish(Instant::now());
    assert_eq!(evidence.lost(), 4);
    drop(go);
}

/// The store's opening hangs with three images, until somebody lets it go on, and so it ends.
fn lost_after_a_hang(opened: impl FnOnce(Arc<Totals>) -> Result<Store, EvidenceError> + Send + 'static) -> [u64; 2] {
    let (opening, opens) = mpsc::channel();
    let (go, hangs) = mpsc::channel::<()>();
    let hang = move |totals| {
        opening.send(()).unwrap();
        let _ = hangs.recv_timeout(Duration::from_secs(60));
        opened(totals)
    };
    let mut evidence = Evidence::new(Some(Service::start_with(1 << 20, hang).unwrap()), CAUSES.into());
    opens.recv().unwrap();
    (0..3).for_each(|_| assert!(evidence.keep(Some(Arc::default()), 0, kept::load(1))));
    evidence.look_after_with(Duration::ZERO);
    assert_eq!(evidence.lost(), 3);
    drop(go);
    let end = Instant::now() + Duration::from_secs(60);
    while evidence.service.as_ref().is_some_and(|service| service.waiting_images() > 0) {
        assert!(Instant::now() < end, "they wait for ever");
        thread::yield_now();
    }
    evidence.look_after_with(PATIENCE);
    let after = evidence.lost();
    // One more that cannot be kept.
    assert!(!evidence.keep(None, 0, kept::load(1)));
    evidence.finish(end);
    [after, evidence.lost()]
}

#[test]
fn what_was_overdue_and_then_is_lost_counts_once() {
    let fail = |_| Err(EvidenceError::Thread(io::Error::other("it is not there")));
    assert_eq!(lost_after_a_hang(fail), [3, 4]);
}

#[test]
fn what_was_overdue_and_is_kept_after_all_does_not_hide_what_is_lost_afterwards() {
    let place = tempfile::tempdir().unwrap();
    let settings = kept::settings(place.path());
    assert_eq!(lost_after_a_hang(move |totals| Store::open_counted(settings, totals)), [3, 4]);
}

#[test]
fn each_image_for_a_store_that_cannot_be_opened_is_a_loss() {
    let (go, waits) = mpsc::channel::<()>();
    let fail = move |_| {
        let _ = waits.recv_timeout(Duration::from_secs(60));
        Err(EvidenceError::Thread(io::Error::other("it is not there")))
    };
    let service = Service::start_with(1 << 20, fail).unwrap();
    let mut evidence = Evidence::new(Some(service), CAUSES.into());
    let mut keep = || evidence.keep(Some(Arc::default()), 0, kept::load(1));
    assert!(keep(), "nobody knows yet");
    drop(go);
    let (mut handed_over, end) = (2, Instant::now() + Duration::from_secs(60));
    while keep() {
        assert!(Instant::now() < end, "they are taken for ever");
        handed_over += 1;
        thread::yield_now();
    }
    evidence.finish(end);
    assert_eq!(evidence.lost(), handed_over);
}

#[test]
fn what_is_not_kept_is_a_loss() {
    let place = tempfile::tempdir().unwrap();
    let bytes = || Some(Arc::new(b"\x7fELF".to_vec()));
    let mut nowhere = keeping(&CAUSES);
    assert!(!nowhere.keep(bytes(), 4, kept::load(1)), "there is no store");
    assert_eq!((nowhere.lost(), nowhere.metrics()), (1, Vec::new()));

    let service = Service::start(kept::settings(place.path()), 4).unwrap();
    let mut evidence = Evidence::new(Some(service), CAUSES.into());
    assert!(!evidence.keep(None, 4, kept::load(1)), "the bytes did not arrive");
    assert!(!evidence.keep(Some(Arc::new(vec![0; 5])), 5, kept::load(1)), "the queue has no room for them");
    evidence.look_after();
    assert_eq!(evidence.lost(), 2);
    assert!(evidence.keep(bytes(), 8, kept::load(1)));
    assert_eq!(evidence.lost(), 2);
    evidence.finish(Instant::now() + Duration::from_secs(60));
    let archive = Archive::open(&place.path().join("evidence")).unwrap();
    assert_eq!(archive.digests().unwrap().len(), 1);
}

#[test]
fn a_record_says_what_was_loaded_by_whom_and_why_it_is_kept() {
    let clock = Clock { realtime_offset_ns: 1_700_000_000_000_000_000 };
    let host = samples::host();
    let call = ModuleCall { boot_ns: 5_000_000_000, ..samples::load_from("/tmp/foo.ko") };
    let load = record(&call, &alert(), (&host, clock), &samples::accounts());
    let expected = KeptLoad {
        at: jiff::Timestamp::from_second(1_700_000_005).unwrap(),
        event_id: alert::call_id(&call, &host.boot_id),
        boot_id: host.boot_id.clone(),
        module_name: b"foo".to_vec(),
        path: Some(b"/tmp/foo.ko".to_vec()),
        pid: 901,
        uid: Some(0),
        user: Some("root".to_owned()),
        rules: vec!["unsigned-module".to_owned()],
        ran: true,
    };
    assert_eq!(load, expected);
    let blind = ModuleCall { process: None, file: None, ..call };
    let load = record(&blind, &Verdict::default(), (&host, clock), &samples::accounts());
    let unknown = KeptLoad { path: None, pid: 0, uid: None, user: None, rules: Vec::new(), ..expected };
    assert_eq!(load, unknown);
}
