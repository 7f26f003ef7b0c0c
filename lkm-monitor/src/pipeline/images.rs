//! Loads that wait until somebody has found out what was loaded.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{Pending, evidence::Evidence};
use crate::{
    inspect::images::{Examiner, Question},
    model::{Capture, ExaminedImage, FileFacts, Host, ImageName, KeptLoad, ModuleCall, Observation, Part, Verdict},
    sensor::images::Images as Captured,
};

/// How long a load waits: what is in the kernel now is told soon, whatever it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same while its init function is running, which may be ending us. There will be another document.
const HASTE: Duration = Duration::from_millis(500);
/// At the end, for all together.
const LAST_PATIENCE: Duration = Duration::from_secs(3);
/// Calls that were told before they returned: their next document says the same of the image.
const REMEMBERED: usize = 64;
/// How long the next document of such a call may take to say what the first could not, in nanoseconds.
const OWED_NS: u64 = 60_000_000_000;

#[derive(Debug)]
pub(super) struct Images {
    /// None where nothing is captured.
    examining: Option<Examining>,
    /// By the number of the question, which grows: with the time since boot at which patience ends.
    waiting: BTreeMap<u64, (Pending, u64)>,
    last: u64,
    known: VecDeque<(ImageName, Box<ExaminedImage>)>,
    /// Images of running calls that were told without what they are, and until when the next document may say it.
    owed: VecDeque<(ImageName, u64)>,
    not_examined: u64,
}

/// Who finds out, and where the bytes are.
#[derive(Debug)]
pub struct Examining {
    pub examiner: Examiner,
    pub captured: Captured,
    /// None where no images are kept.
    pub evidence: Option<Evidence>,
}

impl Images {
    pub(super) const fn new(examining: Option<Examining>) -> Self {
        Self {
            examining,
            waiting: BTreeMap::new(),
            last: 0,
            known: VecDeque::new(),
            owed: VecDeque::new(),
            not_examined: 0,
        }
    }

    /// What does not wait: no load, one of which nothing is captured, or one whose image is known already.
    pub(super) fn ask(&mut self, mut pending: Pending, host: &Host, now_ns: u64) -> Option<Pending> {
        let (Some(examining), Some(call)) = (&self.examining, call_of(&mut pending)) else { return Some(pending) };
        let patience = if call.is_running() { HASTE } else { PATIENCE };
        let Some(question) = question(call, host, Instant::now() + patience) else { return Some(pending) };
        let name = question.capture.name;
        if let Some(image) = self.known_of(name).filter(|image| !image.was_hasty) {
            found(call, Box::new(image.clone()));
            self.owed.retain(|(owed, _)| *owed != name);
            return Some(pending);
        }
        self.last += 1;
        let patience_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let due_ns = now_ns.saturating_add(patience_ns);
        if examining.examiner.ask(self.last, question) {
            self.waiting.insert(self.last, (pending, due_ns));
            return None;
        }
        self.settle(call, Box::default(), due_ns);
        Some(pending)
    }

    fn known_of(&self, name: ImageName) -> Option<&ExaminedImage> {
        self.known.iter().find(|(known, _)| *known == name).map(|(_, image)| &**image)
    }

    /// The next answer of those who examine.
    pub(super) async fn answer(&self) -> (u64, Box<ExaminedImage>) {
        match &self.examining {
            Some(examining) => examining.examiner.answer().await,
            None => std::future::pending().await,
        }
    }

    /// The next answer as long as there is something to wait for.
    pub(super) fn answer_before(&self, deadline: Instant) -> Option<(u64, Box<ExaminedImage>)> {
        let examining = self.examining.as_ref().filter(|_| !self.waiting.is_empty())?;
        examining.examiner.answer_before(deadline)
    }

    /// Until when answers are waited for at the end, where all has to be done before `deadline`.
    pub(super) fn last_deadline(deadline: Instant) -> Instant {
        deadline.min(Instant::now() + LAST_PATIENCE)
    }

    /// What waited for this.
    pub(super) fn take(&mut self, id: u64, image: Box<ExaminedImage>) -> Option<Pending> {
        let (mut pending, due_ns) = self.waiting.remove(&id)?;
        if let Some(call) = call_of(&mut pending) {
            self.settle(call, image, due_ns);
        }
        Some(pending)
    }

    /// What there is to say of the image of a call for which somebody had time until `due_ns`.
    fn settle(&mut self, call: &mut ModuleCall, mut image: Box<ExaminedImage>, due_ns: u64) {
        let name = call.capture.map(|capture| capture.name);
        let is_examined = image.extent.is_examined();
        if let Some(name) = name.filter(|_| call.is_running()) {
            if is_examined {
                self.known.truncate(REMEMBERED - 1);
                self.known.push_front((name, image.clone()));
                found(call, image);
            } else if !self.is_asked_again(name) {
                self.owed.push_back((name, due_ns.saturating_add(OWED_NS)));
            }
            return;
        }
        // What was found in haste is better than nothing.
        if let Some(known) = name.and_then(|name| self.known_of(name)).filter(|_| !is_examined) {
            *image = known.clone();
        }
        self.owed.retain(|(owed, _)| Some(*owed) != name);
        self.not_examined += u64::from(!image.extent.is_examined());
        found(call, image);
    }

    /// Whether the call has returned meanwhile, and waits.
    fn is_asked_again(&self, name: ImageName) -> bool {
        self.waiting.values().any(|(pending, _)| match &pending.observation {
            Observation::Call(call) => !call.is_running() && call.capture.is_some_and(|capture| capture.name == name),
            _ => false,
        })
    }

    /// What nobody could examine in time.
    pub(super) fn expire(&mut self, now_ns: u64) -> Vec<Pending> {
        let owed = self.owed.len();
        self.owed.retain(|(_, due_ns)| *due_ns > now_ns);
        self.not_examined += (owed - self.owed.len()) as u64;
        let is_due = |(_, deadline_ns): &(Pending, u64)| *deadline_ns <= now_ns;
        let due: Vec<_> = self.waiting.iter().filter(|(_, waiting)| is_due(waiting)).map(|(id, _)| *id).collect();
        due.into_iter().filter_map(|id| self.take(id, Box::default())).collect()
    }

    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let owed = self.owed.iter().map(|(_, due_ns)| *due_ns);
        self.waiting.values().map(|(_, deadline_ns)| *deadline_ns).chain(owed).min()
    }

    /// Images whose loads were told without what they are.
    pub(super) const fn not_examined(&self) -> u64 {
        self.not_examined
    }

    /// Takes note of the verdict on a load: its image is kept, or it is not. What there may be another document of is still needed.
    pub(super) fn judge(
        &mut self,
        call: &mut ModuleCall,
        verdict: &Verdict,
        record: impl FnOnce(&ModuleCall) -> KeptLoad,
    ) {
        // The same load may have been judged when it had not returned.
        let was_kept = call.capture.and_then(|capture| self.known_of(capture.name)).is_some_and(|image| image.kept);
        if let Some(image) = &mut call.image {
            image.kept |= was_kept;
        }
        let Some(examining) = &mut self.examining else { return };
        let has_image = call.capture.is_some() || call.missing.contains(&Part::Image);
        if let Some(evidence) = examining.evidence.as_mut().filter(|evidence| evidence.wants(call, verdict))
            && has_image
            && !was_kept
        {
            let captured = &examining.captured;
            let bytes = call.capture.and_then(|Capture { name, captured_bytes, .. }| {
                captured.wait_for(name, captured_bytes, Instant::now())
            });
            let image_bytes = call.capture.map_or(0, |capture| capture.image_bytes);
            let kept = evidence.keep(bytes, image_bytes, record(call));
            if let Some(image) = &mut call.image {
                image.kept = kept;
            }
            // The same load, when it has returned.
            if let Some((_, image)) =
                self.known.iter_mut().find(|(name, _)| Some(*name) == call.capture.map(|capture| capture.name))
            {
                image.kept = kept;
            }
        }
        if let Some(capture) = call.capture.filter(|_| call.outcome.is_some()) {
            examining.captured.release(capture.name);
        }
    }

    /// Images that were to be kept and are not, as far as can be told by now.
    pub(super) fn evidence_lost(&mut self) -> u64 {
        let Some(evidence) = self.examining.as_mut().and_then(|examining| examining.evidence.as_mut()) else {
            return 0;
        };
        evidence.look_after();
        evidence.lost()
    }

    /// Who keeps images, where any are kept.
    pub(super) fn evidence(&self) -> Option<&Evidence> {
        self.examining.as_ref()?.evidence.as_ref()
    }

    /// Waits until what was handed over is kept, at the longest until `deadline`. Nothing more is kept, nor told.
    pub(super) fn finish(&mut self, deadline: Instant) {
        self.not_examined += self.owed.drain(..).len() as u64;
        if let Some(evidence) = self.examining.as_mut().and_then(|examining| examining.evidence.as_mut()) {
            evidence.finish(deadline);
        }
    }
}

fn call_of(pending: &mut Pending) -> Option<&mut ModuleCall> {
    match &mut pending.observation {
        Observation::Call(call) => Some(call),
        _ => None,
    }
}

/// Puts what was found where it belongs.
fn found(call: &mut ModuleCall, mut image: Box<ExaminedImage>) {
    let is_packed = |image: &ExaminedImage| image.module.as_ref().is_none_or(|module| module.compression.is_some());
    // The kernel has read a packed file and what it made of it, and the probe was skipped the first time: the file has another hash.
    if call.was_unpacked() && image.extent.is_examined() && !is_packed(&image) {
        image.unpacked_sha256 = image.sha256.take();
        image.provenance = None;
        call.missing.push(Part::Image);
    }
    call.image = Some(image);
}

/// A package is asked for where the path is the host's own.
fn question(call: &ModuleCall, host: &Host, deadline: Instant) -> Option<Question> {
    let caller = call.process.as_ref().map(|tree| &tree.caller);
    let in_host_namespace =
        caller.is_some_and(|caller| !caller.namespaces.differing(&host.initial_namespaces).contains(&"mount"));
    let is_of_host = |file: &&FileFacts| {
        let path = &file.path;
        let is_doubtful =
            path.foreign_root || path.mount_unknown || path.truncated || path.unreadable || path.anonymous;
        in_host_namespace && !file.unlinked && !is_doubtful
    };
    let file = call.file.as_ref().filter(is_of_host);
    Some(Question { capture: call.capture?, path: file.map(|file| file.path.absolute.clone()), deadline })
}

#[cfg(test)]
mod tests;
