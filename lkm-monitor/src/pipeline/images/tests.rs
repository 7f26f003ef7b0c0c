use std::{sync::mpsc, time::Duration};

use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    evidence::{Archive, Service, samples as kept},
    inspect::images::Means,
    model::{CallOutcome, Capture, EvidenceCause, Finding, ImageExtent, LoadStage, ModuleFacts, Severity, samples},
    signature::KeySources,
};

const NAME: ImageName = ImageName { id: 7, tid: 901 };
const IMAGE: &[u8] = b"no module";
const SECOND_NS: u64 = 1_000_000_000;

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Where one image was captured, and is found when `begins` says so, or has ended.
fn images(begins: Option<mpsc::Receiver<()>>, evidence: Option<Evidence>) -> (Images, Captured) {
    let captured = Captured::with(NAME, IMAGE);
    let nowhere = tempfile::tempdir().unwrap();
    let keys =
        KeySources { kernel_images: Vec::new(), certificates: Vec::new(), kernel_keys: nowhere.path().join("keys") };
    let of_examiner = captured.clone();
    let find = move |name, len, deadline| {
        if let Some(begins) = &begins {
            let _ = begins.recv();
        }
        of_examiner.wait_for(name, len, deadline)
    };
    let means = Means { find: Box::new(find), limit_bytes: 1 << 20, root: nowhere.path().to_owned(), keys };
    let examiner = Examiner::start(means).unwrap();
    (Images::new(Some(Examining { examiner, captured: captured.clone(), evidence })), captured)
}

fn load() -> ModuleCall {
    let bytes = IMAGE.len() as u64;
    ModuleCall { capture: Some(Capture { name: NAME, image_bytes: bytes, captured_bytes: bytes }), ..samples::load() }
}

/// It was told because it takes so long.
fn unfinished() -> ModuleCall {
    ModuleCall { outcome: None, stage: LoadStage::InitRunning, ..load() }
}

fn pending(call: ModuleCall) -> Pending {
    Pending::of(Observation::Call(Box::new(call)))
}

fn call(pending: Pending) -> ModuleCall {
    match pending.observation {
        Observation::Call(call) => *call,
        other => panic!("{other:?}"),
    }
}

/// The call with what was found out, for which this waits.
fn examined(images: &mut Images, call_to_ask: ModuleCall) -> ModuleCall {
    assert!(images.ask(pending(call_to_ask), &samples::host(), 0).is_none(), "it waits");
    let (id, image) = images.answer_before(in_time()).unwrap();
    call(images.take(id, image).unwrap())
}

fn is_held(captured: &Captured) -> bool {
    captured.wait_for(NAME, IMAGE.len() as u64, Instant::now()).is_some()
}

fn alert() -> Verdict {
    let rule = crate::assess::rules().find(|rule| rule.id == "unsigned-module").unwrap();
    let findings = vec![Finding { rule, severity: Severity::Medium, reason: String::new() }];
    Verdict { findings, ..Verdict::default() }
}

#[test]
fn a_load_waits_until_somebody_knows_what_was_loaded() {
    let (mut images, _) = images(None, None);
    let image = examined(&mut images, load()).image.unwrap();
    assert_eq!((image.extent, image.sha256), (ImageExtent::Whole, Some(Sha256::digest(IMAGE).into())));
    assert_eq!((images.not_examined(), images.next_deadline_ns()), (0, None));
    assert!(images.answer_before(in_time()).is_none(), "nothing waits");
}

#[test]
fn what_has_no_captured_image_does_not_wait() {
    let (mut with, _) = images(None, None);
    let not_captured = with.ask(pending(samples::load()), &samples::host(), 0).unwrap();
    assert_eq!(call(not_captured).image, None);
    let request = Observation::Tool(Box::new(samples::tool_run()));
    assert!(with.ask(Pending::of(request), &samples::host(), 0).is_some());
    let mut without = Images::new(None);
    assert_eq!(call(without.ask(pending(load()), &samples::host(), 0).unwrap()).image, None, "nothing is captured");
    assert_eq!((with.not_examined(), without.not_examined()), (0, 0));
}

#[test]
fn what_takes_too_long_is_told_without_what_it_is() {
    let (go, begins) = mpsc::channel();
    let (mut images, _) = images(Some(begins), None);
    assert!(images.ask(pending(load()), &samples::host(), SECOND_NS).is_none());
    assert!(images.ask(pending(load()), &samples::host(), 3 * SECOND_NS).is_none());
    let due_ns = SECOND_NS + PATIENCE.as_nanos() as u64;
    assert_eq!(images.next_deadline_ns(), Some(due_ns));
    assert!(images.expire(due_ns - 1).is_empty());
    let told: Vec<_> = images.expire(due_ns).into_iter().map(call).collect();
    assert_eq!(told.len(), 1, "the other one has time");
    assert_eq!(told[0].image, Some(Box::default()));
    assert_eq!((images.not_examined(), images.next_deadline_ns()), (1, Some(due_ns + 2 * SECOND_NS)));
    // The answer comes after all, for nobody.
    drop(go);
    let (id, image) = images.answer_before(in_time()).unwrap();
    assert!(images.take(id, image).is_none());
    let (id, image) = images.answer_before(in_time()).unwrap();
    let other = call(images.take(id, image).unwrap());
    assert_eq!(other.image.unwrap().extent, ImageExtent::Whole);
    assert_eq!(images.not_examined(), 1);
}

#[test]
fn an_image_of_which_nothing_was_captured_is_told_at_once() {
    let (mut images, _) = images(None, None);
    let cut = Capture { name: ImageName { id: 8, tid: 901 }, image_bytes: 9, captured_bytes: 0 };
    let told = examined(&mut images, ModuleCall { capture: Some(cut), ..load() });
    assert_eq!(told.image.unwrap().extent, ImageExtent::Cut);
    assert_eq!(images.not_examined(), 0, "it is counted as cut");
}

#[test]
fn bytes_that_were_given_up_are_counted() {
    let (mut images, captured) = images(None, None);
    captured.give_up(NAME);
    let told = examined(&mut images, load());
    assert_eq!((told.image, images.not_examined()), (Some(Box::default()), 1));
}

#[test]
fn a_load_that_is_told_twice_is_examined_once() {
    let (mut images, captured) = images(None, None);
    let mut first = examined(&mut images, unfinished());
    images.judge(&mut first, &Verdict::default(), |_| panic!("nothing is kept"));
    assert!(is_held(&captured), "there may be a cause to keep it");
    captured.release(NAME);
    let second = images.ask(pending(load()), &samples::host(), 0).map(call).unwrap();
    assert_eq!((second.outcome, &second.image), (load().outcome, &first.image));
    assert_eq!(second.image.unwrap().extent, ImageExtent::Whole);
    // Another load by the same thread is another image.
    let next = Capture { name: ImageName { id: 8, ..NAME }, ..load().capture.unwrap() };
    assert!(images.ask(pending(ModuleCall { capture: Some(next), ..load() }), &samples::host(), 0).is_none());
}

#[test]
fn what_nobody_knew_the_first_time_is_asked_again() {
    let (go, begins) = mpsc::channel();
    let (mut images, _) = images(Some(begins), None);
    assert!(images.ask(pending(unfinished()), &samples::host(), 0).is_none());
    assert_eq!(call(images.expire(u64::MAX).remove(0)).image, None);
    assert_eq!(images.not_examined(), 0, "the next document says it");
    assert_eq!(images.next_deadline_ns(), Some(HASTE.as_nanos() as u64 + OWED_NS));
    drop(go);
    assert!(images.ask(pending(load()), &samples::host(), 0).is_none(), "it waits");
    let (id, image) = images.answer_before(in_time()).unwrap();
    assert!(images.take(id, image).is_none(), "of the first question");
    let (id, image) = images.answer_before(in_time()).unwrap();
    assert_eq!(call(images.take(id, image).unwrap()).image.unwrap().extent, ImageExtent::Whole);
}

#[test]
fn what_no_document_says_in_the_end_is_counted() {
    let (_go, begins) = mpsc::channel();
    let (mut images, _) = images(Some(begins), None);
    let haste_ns = HASTE.as_nanos() as u64;
    for id in [1, 2] {
        let capture = Capture { name: ImageName { id, tid: 1 }, ..load().capture.unwrap() };
        let call = ModuleCall { capture: Some(capture), ..unfinished() };
        assert!(images.ask(pending(call), &samples::host(), 0).is_none());
    }
    assert_eq!(images.expire(haste_ns).len(), 2, "both are told");
    // One of them returns, and is asked for again.
    let capture = Capture { name: ImageName { id: 2, tid: 1 }, ..load().capture.unwrap() };
    assert!(images.ask(pending(ModuleCall { capture: Some(capture), ..load() }), &samples::host(), 0).is_none());
    images.expire(haste_ns + OWED_NS - 1);
    let before = images.not_examined();
    images.expire(haste_ns + OWED_NS);
    assert_eq!((before, images.not_examined()), (1, 2), "who returned, after five seconds; and the other one");
}

#[test]
fn what_the_next_document_says_is_not_owed_whichever_waits_first() {
    let (go, begins) = mpsc::channel();
    let (mut images, _) = images(Some(begins), None);
    let haste_ns = HASTE.as_nanos() as u64;
    assert!(images.ask(pending(unfinished()), &samples::host(), 0).is_none());
    assert!(images.ask(pending(load()), &samples::host(), haste_ns / 2).is_none(), "it returned at once");
    assert_eq!(images.expire(haste_ns).len(), 1);
    drop(go);
    let second = (0..2).find_map(|_| images.answer_before(in_time()).and_then(|(id, image)| images.take(id, image)));
    assert_eq!(call(second.unwrap()).image.unwrap().extent, ImageExtent::Whole);
    images.expire(u64::MAX);
    assert_eq!(images.not_examined(), 0);
}

#[test]
fn what_was_found_in_haste_is_asked_again_and_told_where_nobody_knows_better() {
    let (mut images, captured) = images(None, None);
    assert!(images.ask(pending(unfinished()), &samples::host(), 0).is_none());
    let hasty = ExaminedImage { extent: ImageExtent::Whole, was_hasty: true, host_keys: 7, ..ExaminedImage::default() };
    assert!(images.take(images.last, Box::new(hasty)).is_some());
    assert!(images.examining.as_ref().unwrap().examiner.answer_before(in_time()).is_some(), "of the first question");
    let better = examined(&mut images, load()).image.unwrap();
    assert_eq!((better.extent, better.host_keys), (ImageExtent::Whole, 0));
    captured.give_up(NAME);
    let told = examined(&mut images, load()).image.unwrap();
    assert_eq!((told.extent, told.host_keys), (ImageExtent::Whole, 7));
    assert_eq!(images.not_examined(), 0);
}

#[test]
fn what_is_owed_at_the_end_is_counted() {
    let (_go, begins) = mpsc::channel();
    let (mut images, _) = images(Some(begins), None);
    assert!(images.ask(pending(unfinished()), &samples::host(), 0).is_none());
    images.expire(u64::MAX);
    images.finish(Instant::now());
    assert_eq!(images.not_examined(), 1);
}

#[test]
fn a_call_of_which_nobody_can_say_that_it_returned_is_no_running_one() {
    let (_go, begins) = mpsc::channel();
    let (mut images, _) = images(Some(begins), None);
    assert!(images.ask(pending(ModuleCall { call_id: 0, ..unfinished() }), &samples::host(), 0).is_none());
    assert_eq!(images.next_deadline_ns(), Some(PATIENCE.as_nanos() as u64));
    assert_eq!(call(images.expire(u64::MAX).remove(0)).image, Some(Box::default()));
    assert_eq!(images.not_examined(), 1);
}

#[test]
fn what_the_kernel_unpacked_is_not_taken_for_the_file() {
    const COMPRESSED_FILE: Option<u32> = Some(4);
    let told = |call: ModuleCall| {
        let call = examined(&mut images(None, None).0, call);
        let image = call.image.unwrap();
        (image.sha256.is_some(), image.unpacked_sha256.is_some(), call.missing.contains(&Part::Image))
    };
    assert_eq!(told(ModuleCall { flags: COMPRESSED_FILE, ..load() }), (false, true, true));
    // It may have refused to unpack this.
    let refused = ModuleCall { flags: COMPRESSED_FILE, module: ModuleFacts::default(), ..load() };
    assert_eq!(told(refused), (true, false, false));
    assert_eq!(told(load()), (true, false, false));
}

#[test]
fn only_so_many_are_remembered() {
    let (mut images, _) = images(None, None);
    for id in 0..=REMEMBERED as u64 {
        let capture = Capture { name: ImageName { id, tid: 1 }, ..load().capture.unwrap() };
        assert!(
            images.ask(pending(ModuleCall { capture: Some(capture), ..unfinished() }), &samples::host(), 0).is_none()
        );
        let whole = ExaminedImage { extent: ImageExtent::Whole, ..ExaminedImage::default() };
        assert!(images.take(images.last, Box::new(whole)).is_some());
    }
    let names: Vec<_> = images.known.iter().map(|(name, _)| name.id).collect();
    assert!(names.into_iter().eq((1..=REMEMBERED as u64).rev()), "the first one is forgotten");
}

#[test]
fn an_image_is_kept_if_an_alert_wants_it_and_held_until_its_call_returns() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(kept::settings(place.path()), 1 << 20).unwrap();
    let evidence = Evidence::new(Some(service), [EvidenceCause::Unsigned].into());
    let (mut images, captured) = images(None, Some(evidence));
    let mut first = examined(&mut images, unfinished());
    images.judge(&mut first, &Verdict::default(), |_| panic!("there is no alert"));
    assert!(!first.image.as_ref().unwrap().kept && is_held(&captured));
    let mut second = images.ask(pending(load()), &samples::host(), 0).map(call).unwrap();
    images.judge(&mut second, &alert(), |_| kept::load(1));
    assert!(second.image.unwrap().kept && !is_held(&captured));
    assert_eq!(images.evidence_lost(), 0);
    // One whose image was examined before the other document was judged.
    let examined_before = first.image.clone().filter(|image| !image.kept);
    let mut third = ModuleCall { image: examined_before, ..load() };
    images.judge(&mut third, &alert(), |_| panic!("it is kept already"));
    assert!(third.image.unwrap().kept);
    // The bytes of another one are gone by now.
    let capture = Some(Capture { name: ImageName { id: 8, ..NAME }, ..load().capture.unwrap() });
    let outcome = Some(CallOutcome { ret: 0, boot_ns: 1 });
    let mut late = ModuleCall { image: first.image, outcome, capture, ..load() };
    images.judge(&mut late, &alert(), |_| kept::load(2));
    assert!(!late.image.unwrap().kept);
    assert_eq!(images.evidence_lost(), 1);
    images.finish(in_time());
    let archive = Archive::open(&place.path().join("evidence")).unwrap();
    assert_eq!(archive.digests().unwrap(), [<[u8; 32]>::from(Sha256::digest(IMAGE))]);
    assert_eq!(archive.record(&Sha256::digest(IMAGE).into()).unwrap().loads, 1);
}
