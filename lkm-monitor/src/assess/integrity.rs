//! What the load itself shows: force, taints, failure, and evidence that changed or is missing.

use super::{Context, Detection, Match, attack, image::lowered, phrase::sentence};
use crate::model::{ImageExtent, LoadStage, ModuleCall, Operation, Part, Rule, Severity, taint};

pub(super) static DETECTIONS: &[Detection] = &[
    Detection {
        rule: Rule {
            code: 105,
            id: "init-failed",
            name: "Kernel module failed after its code ran",
            description: "The init function of a module ran and reported an error, so the module is in no list although its \
                          code was executed. Some rootkits do this on purpose; drivers do it when their hardware is absent.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::HIDDEN_LOADING,
        },
        matches: init_failed,
    },
    Detection {
        rule: Rule {
            code: 106,
            id: "forced-load",
            name: "Kernel module loaded by force",
            description: "A load told the kernel to ignore that the module was built for another kernel or configuration.",
            version: 1,
            severity: Severity::High,
            techniques: attack::LOADING,
        },
        matches: forced,
    },
    Detection {
        rule: Rule {
            code: 107,
            id: "tainted-module",
            name: "Tainting kernel module loaded",
            description: "A module that the distribution did not build or sign: the kernel marked it as proprietary, out of \
                          tree, staging, forced or unsigned.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::LOADING,
        },
        matches: tainted,
    },
    Detection {
        rule: Rule {
            code: 110,
            id: "load-refused",
            name: "Kernel module load refused",
            description: "The kernel refused a module for lack of permission or because image or signature are bad. An attempt \
                          by a process without privileges, or with a module that does not fit, looks like this.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::LOADING,
        },
        matches: refused,
    },
    Detection {
        rule: Rule {
            code: 111,
            id: "evidence-mismatch",
            name: "Evidence changed during a kernel module load",
            description: "What the caller showed when the call began is not what the kernel used, or the process disguised its \
                          program or its command line. Such races are made to deceive monitors.",
            version: 1,
            severity: Severity::High,
            techniques: attack::HIDDEN_LOADING,
        },
        matches: evidence_mismatch,
    },
    Detection {
        rule: Rule {
            code: 112,
            id: "incomplete-load",
            name: "Kernel module load seen in part",
            description: "Parts of what the sensor reports of every load did not arrive, because a buffer was full or did not \
                          hold them. A flood of events can be meant to cause that.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::LOADING,
        },
        matches: incomplete,
    },
];

/// Flags of finit_module (include/uapi/linux/module.h), with what each tells the kernel to ignore.
const FORCE_FLAGS: [(u32, &str); 2] = [(1, "symbol versions"), (2, "the version magic")];

const TAINTS: [(u64, &str); 5] = [
    (taint::UNSIGNED, "unsigned"),
    (taint::FORCED_LOAD, "forced"),
    (taint::OUT_OF_TREE, "out-of-tree"),
    (taint::PROPRIETARY, "proprietary"),
    (taint::STAGING, "staging"),
];

fn init_failed(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let matches = call.stage == LoadStage::InitFailed;
    matches.then(|| Match { severity: Severity::Medium, reason: sentence(call, context, "") })
}

fn forced(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let flags = call.flags.filter(|_| call.operation == Operation::FinitModule).unwrap_or_default();
    let ignored: Vec<_> = FORCE_FLAGS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, what)| *what).collect();
    let detail = if !ignored.is_empty() {
        format!(" ignoring {}", ignored.join(" and "))
    } else if call.module.is_tainted(taint::FORCED_LOAD) {
        " by force".to_owned()
    } else {
        return None;
    };
    Some(Match { severity: Severity::High, reason: sentence(call, context, &detail) })
}

fn tainted(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let words: Vec<_> = TAINTS.iter().filter(|(bit, _)| call.module.is_tainted(*bit)).map(|(_, word)| *word).collect();
    if words.is_empty() {
        return None;
    }
    let serious = call.module.is_tainted(taint::UNSIGNED | taint::FORCED_LOAD);
    let detail = format!(" with taints {} ({})", call.module.taint_flags(), words.join(", "));
    let severity = if serious { Severity::High } else { Severity::Medium };
    // Nobody packages force.
    let severity = if call.module.is_tainted(taint::FORCED_LOAD) { severity } else { lowered(severity, call) };
    Some(Match { severity, reason: sentence(call, context, &detail) })
}

fn refused(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let why = match call.errno().filter(|_| call.stage.init_ran() != Some(true))? {
        libc::EPERM | libc::EACCES => "not permitted",
        libc::ENOEXEC | libc::EBADMSG => "its image is not valid",
        libc::EKEYREJECTED | libc::ENOKEY => "its signature is not accepted",
        _ => return None,
    };
    let reason = format!("{}: {why}", sentence(call, context, ""));
    Some(Match { severity: Severity::Medium, reason })
}

fn evidence_mismatch(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let caller = call.process.as_ref().map(|tree| &tree.caller);
    let mismatches = [
        (call.file_swapped, "the file behind the descriptor was exchanged"),
        (call.parameters_rewritten, "the parameters were rewritten"),
        (caller.is_some_and(|process| process.executable_replaced), "the process replaced its executable link"),
        (caller.is_some_and(|process| process.arguments_rewritten), "the process rewrote its command line"),
    ];
    let found: Vec<_> = mismatches.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    if found.is_empty() {
        return None;
    }
    let reason = format!("{}; {}", sentence(call, context, ""), found.join(", "));
    Some(Match { severity: Severity::High, reason })
}

fn incomplete(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let mut missing: Vec<_> = call.missing.iter().map(|part| part.name()).collect();
    if lacks_bytes(call) && !call.missing.contains(&Part::Image) {
        missing.push(Part::Image.name());
    }
    if call.process.as_ref().is_none_or(|tree| tree.incomplete) {
        missing.push("process");
    }
    // The kernel could, or there would be nothing that runs.
    let problem = call.image.as_ref().and_then(|image| image.module.as_ref()?.problem.as_ref());
    if let Some(problem) = problem
        && call.stage.init_ran() == Some(true)
        && extent(call) == Some(ImageExtent::Whole)
    {
        missing.push(problem.kind.what());
    }
    let is_longer = extent(call) == Some(ImageExtent::FirstPart);
    if missing.is_empty() && !is_longer {
        return None;
    }
    let severity = if missing.is_empty() { Severity::Low } else { Severity::Medium };
    if is_longer {
        missing.push("the rest of a long image");
    }
    let reason = format!("{}; of this load the sensor lacks {}", sentence(call, context, ""), missing.join(", "));
    Some(Match { severity, reason })
}

/// A probe told of the image of a module that may have run, and its bytes did not all arrive, or nobody could look at them.
fn lacks_bytes(call: &ModuleCall) -> bool {
    let is_refused = call.stage.init_ran() == Some(false);
    !is_refused && matches!(extent(call), Some(ImageExtent::Cut | ImageExtent::NotExamined))
}

fn extent(call: &ModuleCall) -> Option<ImageExtent> {
    call.capture.and(call.image.as_ref()).map(|image| image.extent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::{self, finding, load},
        model::{
            Capture, ExaminedImage, ImageName, ImageProblem, ImageProblemKind, ModuleFacts, ModuleImage, errno_name,
        },
    };

    fn with_taints(taints: u64) -> ModuleCall {
        let module = ModuleFacts { taints: Some(taints), ..load().module };
        ModuleCall { module, ..load() }
    }

    #[test]
    fn failed_init_matches() {
        let call = ModuleCall { stage: LoadStage::InitFailed, ..samples::refused(load(), libc::ENODEV) };
        let (severity, reason) = finding(&call, 105).unwrap();
        assert_eq!(severity, Severity::Medium);
        assert!(reason.ends_with("; its init function ran and failed with ENODEV"), "{reason}");
        assert!(finding(&load(), 105).is_none());
    }

    #[test]
    fn force_matches_by_flag_or_taint() {
        let (severity, reason) = finding(&ModuleCall { flags: Some(3), ..load() }, 106).unwrap();
        assert_eq!(severity, Severity::High);
        assert!(reason.contains("ignoring symbol versions and the version magic"), "{reason}");
        assert!(finding(&with_taints(taint::FORCED_LOAD), 106).is_some());
        // 4: a compressed file.
        assert!(finding(&ModuleCall { flags: Some(4), ..load() }, 106).is_none());
    }

    #[test]
    fn taints_match_and_unsigned_or_forced_is_severe() {
        let severity = |taints| finding(&with_taints(taints), 107).map(|(severity, _)| severity);
        assert_eq!(severity(taint::OUT_OF_TREE), Some(Severity::Medium));
        assert_eq!(severity(taint::PROPRIETARY | taint::STAGING), Some(Severity::Medium));
        assert_eq!(severity(taint::OUT_OF_TREE | taint::UNSIGNED), Some(Severity::High));
        assert_eq!(severity(taint::FORCED_LOAD), Some(Severity::High));
        // K, live patch, and N, test, say nothing about the origin.
        assert_eq!(severity(1 << 15 | 1 << 18), None);
        assert_eq!(severity(0), None);
        let reason = finding(&with_taints(taint::OUT_OF_TREE | taint::UNSIGNED), 107).unwrap().1;
        assert!(reason.contains("with taints OE (unsigned, out-of-tree)"), "{reason}");
    }

    #[test]
    fn refusals_match_by_errno() {
        for errno in [libc::EPERM, libc::EACCES, libc::ENOEXEC, libc::EBADMSG, libc::EKEYREJECTED, libc::ENOKEY] {
            assert!(finding(&samples::refused(load(), errno), 110).is_some(), "{}", errno_name(errno));
        }
        assert!(finding(&samples::refused(load(), libc::EEXIST), 110).is_none());
        assert!(finding(&load(), 110).is_none());
        // An init function may return what it likes: it ran.
        let ran = ModuleCall { stage: LoadStage::InitFailed, ..samples::refused(load(), libc::EPERM) };
        assert!(finding(&ran, 110).is_none());
    }

    #[test]
    fn changed_evidence_matches() {
        let mut disguised = load();
        let caller = &mut disguised.process.as_mut().unwrap().caller;
        caller.arguments_rewritten = true;
        caller.executable_replaced = true;
        for call in [
            ModuleCall { file_swapped: true, ..load() },
            ModuleCall { parameters_rewritten: true, ..load() },
            disguised,
        ] {
            assert_eq!(finding(&call, 111).unwrap().0, Severity::High);
        }
        assert!(finding(&load(), 111).is_none());
    }

    #[test]
    fn missing_parts_match() {
        let call = ModuleCall { missing: vec![Part::Enter, Part::Image], ..load() };
        assert!(finding(&call, 112).unwrap().1.ends_with("lacks enter, image"));
        assert!(finding(&ModuleCall { process: None, ..load() }, 112).is_some());
        let mut stuffed = load();
        stuffed.process.as_mut().unwrap().incomplete = true;
        assert!(finding(&stuffed, 112).is_some());
        assert!(finding(&load(), 112).is_none());
    }
    #[test]
    fn an_image_without_its_bytes_is_a_missing_part() {
        let with = |extent| {
            let capture = Capture { name: ImageName { id: 1, tid: 901 }, image_bytes: 8192, captured_bytes: 64 };
            let image = Some(Box::new(ExaminedImage { extent, ..ExaminedImage::default() }));
            ModuleCall { capture: Some(capture), image, ..load() }
        };
        for extent in [ImageExtent::Cut, ImageExtent::NotExamined] {
            let (severity, reason) = finding(&with(extent), 112).unwrap();
            assert_eq!(severity, Severity::Medium);
            assert!(reason.ends_with("; of this load the sensor lacks image"), "{extent:?}: {reason}");
            // Nothing is captured of what no probe has seen.
            assert!(finding(&ModuleCall { capture: None, ..with(extent) }, 112).is_none(), "{extent:?}");
        }
        assert!(finding(&with(ImageExtent::Whole), 112).is_none());
        let (severity, reason) = finding(&with(ImageExtent::FirstPart), 112).unwrap();
        assert_eq!(severity, Severity::Low, "drivers of graphics cards are that long");
        assert!(reason.ends_with("lacks the rest of a long image"), "{reason}");
        // It did not come in.
        assert!(finding(&samples::refused(with(ImageExtent::Cut), libc::EEXIST), 112).is_none());
        // It runs, so the kernel could read it.
        let problem = Some(ImageProblem { kind: ImageProblemKind::TooLarge, detail: String::new() });
        let mut unread = with(ImageExtent::Whole);
        unread.image.as_mut().unwrap().module = Some(ModuleImage { problem, ..ModuleImage::default() });
        assert!(finding(&unread, 112).unwrap().1.ends_with("lacks what is packed in its image"));
        assert!(finding(&samples::refused(unread, libc::ENOEXEC), 112).is_none(), "nor could the kernel");
        // Nobody has looked yet.
        assert!(finding(&ModuleCall { image: None, ..with(ImageExtent::Cut) }, 112).is_none());
        let twice = ModuleCall { missing: vec![Part::Image, Part::Exit], ..with(ImageExtent::Cut) };
        assert!(finding(&twice, 112).unwrap().1.ends_with("lacks image, exit"));
    }
}
