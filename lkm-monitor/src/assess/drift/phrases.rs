//! The sentences.

use jiff::Timestamp;

use crate::model::{
    DigestCheck, Drift, Drifted, FileSeen, Moment, PlaceSeen, Provenance, RecordLoss, Setting, Subject, Unseen, Weight,
    Window,
    text::{brief, clean, shorten},
};

/// Bytes of a name or a value in a sentence.
const SHOWN: usize = 160;

fn shown(text: &str) -> String {
    shorten(&clean(text), SHOWN)
}

pub(super) fn reason(drift: &Drift) -> String {
    let Drift { what, window, unseen, perhaps_seen, provenance } = drift;
    let seen = if *perhaps_seen { "; it may have been seen live: what was seen is not known whole" } else { "" };
    let package = provenance.as_ref().map_or_else(String::new, package);
    let when = when(*window);
    match what {
        Drifted::ModuleLoaded { name, before, file, .. } => {
            let name = shown(name);
            let other = if before.is_some() { "another module by the name " } else { "module " };
            let file = file
                .as_ref()
                .map_or_else(String::new, |file| format!("; the host's file of that name is {}", shown(file)));
            format!("{other}{name} was loaded {}, {when}{file}{package}{seen}", how(*unseen))
        }
        Drifted::ModuleGone { name, .. } => {
            format!("module {} went away {}, {when}{seen}", shown(name), how(*unseen))
        }
        Drifted::File { path, before, now } => {
            let done = done(before.as_deref(), now.as_deref());
            let subject = before.as_ref().or(now.as_ref()).map_or("file", |file| phrase(&file.subject));
            format!("{subject} {} {done} {}, {when}{package}{seen}", shown(path), how(*unseen))
        }
        Drifted::Place { path, before, now } => {
            format!("watched place {} {} {}, {when}{seen}", shown(path), of_place(before, now), how(*unseen))
        }
        Drifted::More(number) => {
            format!("{number} more differences were found, which happened {}, {when}", how(*unseen))
        }
        Drifted::NoEnd => {
            format!("the look at the host comes to no end: what changed while nobody watched is not known, {when}")
        }
        Drifted::Policy { setting, before, now, weight } => of_policy(*setting, (before, now), *weight, *unseen, &when),
        Drifted::TaintLost { lost, before, now } => {
            format!("the kernel's taint mask was {before} and is {now}: bits {lost:#x} were cleared, {when}")
        }
        Drifted::Record(loss) => of_record(loss),
    }
}

/// `between 2026-01-01T00:00:00Z and ...`. A wall clock that was set back says nothing; within one boot the other clock does.
fn when(Window { not_before, not_after }: Window) -> String {
    let end = time(not_after);
    match not_before {
        Some(start) if start.unix_ms <= not_after.unix_ms => format!("between {} and {end}", time(start)),
        Some(start) if start.boot_ns <= not_after.boot_ns => {
            let seconds = (not_after.boot_ns - start.boot_ns).div_ceil(1_000_000_000);
            format!("in the {seconds} s before {end}, by the clock since the boot")
        }
        _ => format!("at a time before {end} that is not known"),
    }
}

fn time(moment: Moment) -> String {
    let second = Timestamp::from_second(moment.unix_ms.div_euclid(1000)).unwrap_or_default();
    second.to_string()
}

const fn how(unseen: Unseen) -> &'static str {
    match unseen {
        Unseen::NotRunning => "while nobody watched (the sensor was not running)",
        Unseen::BeforeStart => "while nobody watched (the host was started, and the sensor was not running yet)",
        Unseen::Blind => "unnoticed (hooks of the sensor did not report)",
        Unseen::LostEvents => "unnoticed (events were lost)",
        Unseen::Unknown => "unnoticed (the sensor ran, and no event told of it)",
    }
}

fn package(provenance: &Provenance) -> String {
    let name = provenance.package.as_ref().map(|name| brief(name));
    match (name, provenance.digest) {
        (Some(name), DigestCheck::Matches) => format!("; it is as {} {name} has it", provenance.manager.name()),
        (Some(name), DigestCheck::Differs) => format!("; it is not as {} {name} has it", provenance.manager.name()),
        _ => String::new(),
    }
}

fn phrase(subject: &str) -> &'static str {
    Subject::ALL.iter().find(|(_, name, _)| *name == subject).map_or("file", |(.., phrase)| phrase)
}

fn done(before: Option<&FileSeen>, now: Option<&FileSeen>) -> String {
    let (Some(before), Some(now)) = (before, now) else {
        return if now.is_some() { "was created".to_owned() } else { "was removed".to_owned() };
    };
    let target = |file: &FileSeen| file.target.clone().unwrap_or_default();
    let mut done = Vec::new();
    if before.mode & 0o170_000 != now.mode & 0o170_000 {
        done.push("became something else".to_owned());
    } else if target(before).says != target(now).says {
        done.push(format!("was made to lead to {}", shown(&target(now).says)));
    } else if target(before) != target(now) {
        done.push("leads to a file that was changed".to_owned());
    } else if before.sha256 != now.sha256 {
        done.push("was modified".to_owned());
    }
    if before.mode & 0o7777 != now.mode & 0o7777 {
        done.push(format!("was given the mode {:04o}", now.mode & 0o7777));
    }
    if (before.uid, before.gid) != (now.uid, now.gid) {
        done.push("was given another owner".to_owned());
    }
    // Of one whose content was not read.
    if done.is_empty() { "was replaced or modified".to_owned() } else { done.join(" and ") }
}

fn of_place(before: &PlaceSeen, now: &PlaceSeen) -> String {
    if before.sight != now.sight {
        return format!("{}, which it was not before; that happened", now.sight.phrase());
    }
    match (&before.leads_to, &now.leads_to) {
        (before, Some(now)) if before.as_ref() != Some(now) => format!("was made to lead to {}", shown(now)),
        (Some(_), None) => "was put in the place of a link".to_owned(),
        _ => "was hidden by another mount, or one was taken away,".to_owned(),
    }
}

fn of_policy(setting: Setting, (before, now): (&str, &str), weight: Weight, unseen: Unseen, when: &str) -> String {
    let show = |value: &str| if value.is_empty() { "empty".to_owned() } else { format!("`{}`", shown(value)) };
    let name = match setting {
        Setting::CommandLine => "what the kernel's command line says of modules",
        _ => setting.name(),
    };
    let ending = match weight {
        Weight::Impossible => {
            "; the kernel allows no such change while it runs: its memory was written to, or something hides the truth"
        }
        Weight::Weaker | Weight::Other => "",
    };
    format!("{name} was {} and is {}; it was changed {}, {when}{ending}", show(before), show(now), how(unseen))
}

fn of_record(loss: &RecordLoss) -> String {
    match loss {
        RecordLoss::Gone { kept_one: true } => {
            "there is no record of the last look, although the run before kept one: what changed since is not known".to_owned()
        }
        RecordLoss::Gone { kept_one: false } => {
            "there is no record of a last look, and an earlier run, which was short or of another program or had other settings, may have kept none".to_owned()
        }
        RecordLoss::Damaged(reason) => format!("the record of the last look says nothing: {}", shown(reason)),
        RecordLoss::OtherHost(agent) => {
            format!("the record of the last look is of another host, whose agent is {}: it is compared with nothing", shown(agent))
        }
    }
}
