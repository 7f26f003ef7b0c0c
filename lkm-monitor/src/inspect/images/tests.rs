use std::{io::Write as _, sync::mpsc};

use super::*;
use crate::model::{CompressionFormat, ImageProblemKind, KernelPolicy, Manager, SignatureVerdict};

const LIMIT_BYTES: u64 = 1000;
const NAME: ImageName = ImageName { id: 7, tid: 901 };
/// What makes the end of a file a signature, which this is not.
const MARKER: &[u8] = b"~Module signature appended~\n";

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Who examines on a host that has no packages and no keys.
fn examiner(find: impl Fn(ImageName, u64, Instant) -> Option<Arc<Vec<u8>>> + Send + 'static) -> Examiner {
    let nowhere = tempfile::tempdir().unwrap();
    let keys =
        KeySources { kernel_images: Vec::new(), certificates: Vec::new(), kernel_keys: nowhere.path().join("keys") };
    let means = Means { find: Box::new(find), limit_bytes: LIMIT_BYTES, root: nowhere.path().to_owned(), keys };
    Examiner::start(means).unwrap()
}

/// What is found in these bytes of an image of that many.
fn examine(bytes: &[u8], image_bytes: u64, path: Option<&str>) -> ExaminedImage {
    let (known, captured_bytes) = (Arc::new(bytes.to_vec()), bytes.len() as u64);
    let examiner = examiner(move |name, len, _| {
        let is_there = (name, len) == (NAME, captured_bytes);
        is_there.then(|| Arc::clone(&known))
    });
    let capture = Capture { name: NAME, image_bytes, captured_bytes };
    assert!(examiner.ask(1, Question { capture, path: path.map(Vec::from), deadline: in_time() }));
    let (id, image) = examiner.answer_before(in_time()).unwrap();
    assert_eq!(id, 1);
    *image
}

fn examine_whole(bytes: &[u8]) -> ExaminedImage {
    examine(bytes, bytes.len() as u64, None)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn hash(bytes: &[u8]) -> Option<[u8; 32]> {
    Some(Sha256::digest(bytes).into())
}

#[test]
fn of_a_whole_image_everything_is_found_out() {
    let image = examine(b"no module", 9, Some("/lib/modules/x.ko"));
    assert_eq!((image.extent, image.sha256, image.unpacked_sha256), (ImageExtent::Whole, hash(b"no module"), None));
    let problem = image.module.unwrap().problem.unwrap();
    assert_eq!(problem.kind, ImageProblemKind::NotElf);
    assert_eq!(image.signature.unwrap().verdict, SignatureVerdict::Absent);
    assert_eq!(image.host_keys, 0);
    // No database of packages is there that could be read.
    let manager = image.provenance.unwrap().manager;
    assert!(matches!(manager, Manager::None | Manager::Unknown), "{manager:?}");
    assert!(!image.kept, "that is for others to say");
}

#[test]
fn an_image_without_a_file_is_of_no_package() {
    assert_eq!(examine_whole(b"no module").provenance, None);
}

#[test]
fn of_a_part_there_is_neither_hash_nor_signature_nor_package() {
    for (captured_bytes, image_bytes, extent) in
        [(LIMIT_BYTES, LIMIT_BYTES + 1, ImageExtent::FirstPart), (64, LIMIT_BYTES, ImageExtent::Cut)]
    {
        let image = examine(&vec![7; captured_bytes as usize], image_bytes, Some("/x.ko"));
        assert_eq!(image.extent, extent);
        assert_eq!((image.sha256, image.unpacked_sha256), (None, None), "{extent:?}");
        assert_eq!((image.signature, image.provenance), (None, None), "{extent:?}");
        assert!(image.module.is_some(), "what there is was looked at");
    }
    assert_eq!(examine_whole(&vec![7; LIMIT_BYTES as usize]).extent, ImageExtent::Whole);
}

#[test]
fn a_compressed_image_is_unpacked_before_its_signature_is_looked_at() {
    let module = [b"\x7fELF and so on".as_slice(), &[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0], MARKER].concat();
    let packed = gzip(&module);
    let image = examine_whole(&packed);
    assert_eq!((image.sha256, image.unpacked_sha256), (hash(&packed), hash(&module)));
    let compression = image.module.unwrap().compression.unwrap();
    assert_eq!((compression.format, compression.unpacked_bytes), (CompressionFormat::Gzip, Some(module.len() as u64)));
    let verdict = image.signature.unwrap().verdict;
    assert!(matches!(verdict, SignatureVerdict::Malformed(_)), "{verdict:?}: the packed bytes have none");
}

#[test]
fn of_what_cannot_be_unpacked_nobody_says_that_it_has_no_signature() {
    let mut packed = gzip(&[7; 500]);
    packed[15] ^= 0xff;
    let image = examine_whole(&packed);
    assert_eq!((image.sha256, image.unpacked_sha256), (hash(&packed), None));
    let module = image.module.unwrap();
    assert_eq!(module.compression.unwrap().unpacked_bytes, None);
    assert!(module.problem.is_some());
    assert_eq!(image.signature, None);
}

#[test]
fn bytes_that_are_not_there_are_not_examined() {
    let examiner = examiner(|_, _, _| None);
    let capture = Capture { name: NAME, image_bytes: 9, captured_bytes: 9 };
    assert!(examiner.ask(3, Question { capture, path: Some(b"/x.ko".to_vec()), deadline: in_time() }));
    let (id, image) = examiner.answer_before(in_time()).unwrap();
    assert_eq!((id, *image), (3, ExaminedImage::default()));
    assert!(!ExaminedImage::default().extent.is_examined());
}

/// As a mount that nobody serves does it.
#[test]
fn who_reads_what_never_answers_costs_what_he_would_have_found_and_nothing_else() {
    fn hang<T>(until: &Receiver<()>) -> T {
        let _ = until.recv();
        panic!("this test is over")
    }
    let (never, hangs) = bounded(0);
    let [keys, config, policy, records] = [(); 4].map(|()| hangs.clone());
    let sources = KeySources { kernel_images: Vec::new(), certificates: Vec::new(), kernel_keys: "/none".into() };
    let work = Work {
        find: Box::new(|_, _, _| Some(Arc::new(b"no module".to_vec()))),
        limit_bytes: LIMIT_BYTES,
        keyring: Keyring::start_with(sources, move |_| hang(&keys)).unwrap(),
        policy: Policy::start_with(move || hang(&config), move || hang(&policy)).unwrap(),
        records: Records::start_with(move |_| hang(&records)).unwrap(),
    };
    let examiner = Examiner::start_with(work).unwrap();
    let capture = Capture { name: NAME, image_bytes: 9, captured_bytes: 9 };
    for id in 0..3 {
        assert!(examiner.ask(id, Question { capture, path: Some(b"/x.ko".to_vec()), deadline: in_time() }));
        // It does not wait until its deadline.
        let (answered, image) = examiner.answer_before(Instant::now() + Duration::from_secs(20)).unwrap();
        assert_eq!((answered, image.extent, image.sha256), (id, ImageExtent::Whole, hash(b"no module")));
        assert_eq!(image.signature.unwrap().verdict, SignatureVerdict::Absent);
        assert_eq!((image.host_keys, image.kernel_policy), (0, KernelPolicy::default()));
        let provenance = image.provenance.unwrap();
        assert_eq!(provenance.manager, Manager::Unknown);
        assert_eq!(provenance.problems[0].reason, "the records of packages could not be read in time");
    }
    drop(never);
}

#[test]
fn what_is_known_shortly_before_the_deadline_is_answered() {
    let (never, hangs) = bounded::<()>(0);
    let mut records = Records::start_with(move |_| {
        let _ = hangs.recv();
        None
    })
    .unwrap();
    // Nothing but the deadline ends it.
    records.reader.patience = Duration::from_secs(3600);
    let keys = KeySources { kernel_images: Vec::new(), certificates: Vec::new(), kernel_keys: "/none".into() };
    let work = Work {
        find: Box::new(|_, _, _| Some(Arc::new(b"no module".to_vec()))),
        limit_bytes: LIMIT_BYTES,
        keyring: Keyring::start(keys).unwrap(),
        policy: Policy::start(Vec::new()).unwrap(),
        records,
    };
    let examiner = Examiner::start_with(work).unwrap();
    let capture = Capture { name: NAME, image_bytes: 9, captured_bytes: 9 };
    let mut answer_in_time = |id| {
        let deadline = Instant::now() + Duration::from_secs(1);
        assert!(examiner.ask(id, Question { capture, path: Some(b"/x.ko".to_vec()), deadline }));
        let (_, image) = examiner.answer_before(in_time()).unwrap();
        assert_eq!((image.sha256, image.provenance.unwrap().manager), (hash(b"no module"), Manager::Unknown));
        Instant::now() < deadline
    };
    // A machine that has other things to do may take longer once.
    assert!((0..5).any(&mut answer_in_time));
    drop(never);
}

/// Who asks is the one who reads the rings.
#[test]
fn nobody_waits_to_ask_and_what_has_no_room_is_told() {
    let (go, begins) = mpsc::channel::<()>();
    let examiner = examiner(move |_, _, _| {
        let _ = begins.recv();
        None
    });
    let capture = Capture { name: NAME, image_bytes: 9, captured_bytes: 9 };
    let question = || Question { capture, path: None, deadline: in_time() };
    // One may be under way already.
    let taken = (0..QUEUE as u64 + 2).filter(|id| examiner.ask(*id, question())).count();
    assert!((QUEUE..=QUEUE + 1).contains(&taken), "{taken}");
    assert!(examiner.answer_before(Instant::now()).is_none());
    drop(go);
    let answers = (0..taken).map(|_| examiner.answer_before(in_time()).unwrap().0);
    assert!(answers.eq(0..taken as u64), "in the order of the questions");
}

#[test]
fn who_waits_for_an_answer_is_woken() {
    let examiner = examiner(|_, _, _| Some(Arc::new(b"no module".to_vec())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let capture = Capture { name: NAME, image_bytes: 9, captured_bytes: 9 };
    for id in 0..200 {
        assert!(examiner.ask(id, Question { capture, path: None, deadline: in_time() }));
    }
    runtime.block_on(async {
        for expected in 0..200 {
            let answer = tokio::time::timeout(Duration::from_secs(60), examiner.answer()).await;
            assert_eq!(answer.unwrap().0, expected);
        }
    });
}
