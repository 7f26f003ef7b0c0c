//! Folds bursts: a package of a kernel makes thousands of module files, of which one alert is enough.
//!
//! An alert on a module file waits a moment for others of its kind, by the same program under the same parent. A few are told as
//! they are; of many, each is telemetry, and one alert tells of all. Nothing is lost: what is folded is written as an event.

use std::collections::HashMap;

use crate::model::{FileAction, FileBurst, FileReport, Finding, Rarity, Severity, Subject, Verdict, text::brief};

/// So many alerts of one kind are told one by one.
const SINGLE: usize = 8;
/// No further one for so long ends a burst, in nanoseconds.
const QUIET_NS: u64 = 3_000_000_000;
/// So long a burst may last before it is told, in nanoseconds.
const LONGEST_NS: u64 = 120_000_000_000;
/// Bursts at one time. Another one is not folded.
const MAX_BURSTS: usize = 64;

/// What comes out of the folder.
#[derive(Clone, Debug, PartialEq)]
pub enum Folded {
    /// An alert of its own.
    Alert(Box<FileReport>, Verdict),
    /// Telemetry: an alert tells, or will tell, of it together with others.
    Event(Box<FileReport>, Option<Rarity>),
    /// The alert on all of them.
    Burst(Box<FileBurst>, Verdict),
}

/// What changes have in common that are told together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    /// The parent, or the process itself where that is not known; with its start.
    process: (u32, u64),
    executable: Vec<u8>,
    rule: u16,
    severity: Severity,
}

#[derive(Debug)]
struct Group {
    /// As long as they are few.
    waiting: Vec<(Box<FileReport>, Verdict)>,
    lead: Finding,
    /// Who did it, for the sentence.
    by: String,
    burst: FileBurst,
    /// When the last one came in.
    news_ns: u64,
    began_ns: u64,
}

/// The state of the folder.
#[derive(Debug, Default)]
pub struct Fold {
    groups: HashMap<Kind, Group>,
    folded: u64,
}

impl Fold {
    /// Takes an alert on a file in. `by` says in a sentence who made the change, and `now_ns` is the time since boot up to which everything has been taken in.
    pub fn push(&mut self, report: Box<FileReport>, verdict: Verdict, by: &str, now_ns: u64) -> Vec<Folded> {
        let Some(lead) = verdict.lead().filter(|lead| is_foldable(&report, lead)).cloned() else {
            return vec![Folded::Alert(report, verdict)];
        };
        let kind = kind(&report, &lead);
        if !self.groups.contains_key(&kind) && self.groups.len() >= MAX_BURSTS {
            return vec![Folded::Alert(report, verdict)];
        }
        let group = self.groups.entry(kind).or_insert_with(|| Group {
            waiting: Vec::new(),
            burst: burst(&report),
            lead,
            by: by.to_owned(),
            news_ns: now_ns,
            began_ns: now_ns,
        });
        group.news_ns = now_ns;
        group.add(&report);
        if group.burst.count <= SINGLE as u64 && !group.burst.continued {
            group.waiting.push((report, verdict));
            return Vec::new();
        }
        let mut folded = std::mem::take(&mut group.waiting);
        folded.push((report, verdict));
        self.folded += folded.len() as u64;
        group.burst.settles.extend(folded.iter().filter_map(|(_, verdict)| verdict.rarity?.settles));
        folded.into_iter().map(|(report, verdict)| Folded::Event(report, verdict.rarity)).collect()
    }

    /// Tells of bursts that are over, or last too long.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Folded> {
        let mut out = Vec::new();
        self.groups.retain(|_, group| {
            if group.deadline_ns() > now_ns {
                return true;
            }
            let goes_on = group.news_ns.saturating_add(QUIET_NS) > now_ns;
            group.tell(&mut out);
            group.began_ns = now_ns;
            goes_on
        });
        out
    }

    /// When [`Self::expire`] will next have something to tell.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.groups.values().map(Group::deadline_ns).min()
    }

    /// Tells of everything, at the end.
    pub fn drain(&mut self) -> Vec<Folded> {
        let mut out = Vec::new();
        self.groups.drain().for_each(|(_, mut group)| group.tell(&mut out));
        out
    }

    /// Changes that were told together with others since the start.
    pub const fn folded(&self) -> u64 {
        self.folded
    }
}

impl Group {
    fn deadline_ns(&self) -> u64 {
        self.news_ns.saturating_add(QUIET_NS).min(self.began_ns.saturating_add(LONGEST_NS))
    }

    fn add(&mut self, report: &FileReport) {
        let path = shown(report);
        let burst = &mut self.burst;
        let at = report.change.boot_ns;
        // They come as their files were looked at, which is not how they were made.
        if burst.count == 0 || at < burst.boot_ns {
            (burst.boot_ns, burst.first) = (at, name(path));
        }
        if burst.count == 0 || at >= burst.last_boot_ns {
            (burst.last_boot_ns, burst.last) = (at, name(path));
        }
        burst.count += 1;
        let common = common_directory(&burst.directory, path);
        burst.directory.truncate(common);
    }

    /// Tells what has come together, and begins anew.
    fn tell(&mut self, out: &mut Vec<Folded>) {
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            out.extend(waiting.into_iter().map(|(report, verdict)| Folded::Alert(report, verdict)));
            // What follows is few, too, until it is many.
        } else if self.burst.count > 0 {
            let finding = Finding { reason: reason(&self.burst, &self.by), ..self.lead.clone() };
            let settles = std::mem::take(&mut self.burst.settles);
            let burst = FileBurst { settles, ..self.burst.clone() };
            out.push(Folded::Burst(Box::new(burst), Verdict { findings: vec![finding], ..Verdict::default() }));
            self.burst.continued = true;
        }
        self.burst.count = 0;
    }
}

/// Rules on module files that packages match by the thousand. Writing an installed module in place is not among them, and
/// nothing that is severe by itself is; the severity of what is rare is a setting.
fn is_foldable(report: &FileReport, lead: &Finding) -> bool {
    let action = report.change.action;
    let is_grave = action == FileAction::MountedOver || (!action.makes_name() && lead.severity > Severity::Medium);
    report.subject == Subject::Module && !is_grave
}

fn kind(report: &FileReport, lead: &Finding) -> Kind {
    let tree = &report.change.process;
    let parent = tree.ancestors.first().filter(|parent| parent.pid > 1 && !parent.kernel_thread);
    let process = parent.unwrap_or(&tree.caller);
    Kind {
        process: (process.pid, process.start_boot_ns),
        executable: tree.caller.executable.as_ref().map(|path| path.absolute.clone()).unwrap_or_default(),
        rule: lead.rule.code,
        severity: lead.severity,
    }
}

fn burst(report: &FileReport) -> FileBurst {
    let change = &report.change;
    let path = shown(report);
    let event_type = match () {
        () if report.has_left() || change.action == FileAction::Removed => "deletion",
        () if change.action.makes_name() => "creation",
        () => "change",
    };
    FileBurst {
        boot_ns: change.boot_ns,
        last_boot_ns: change.boot_ns,
        cpu: change.cpu,
        tid: change.tid,
        count: 0,
        participle: match event_type {
            "deletion" => "removed",
            "creation" => "created",
            _ => "modified",
        },
        event_type,
        directory: directory(path).to_vec(),
        first: name(path),
        last: name(path),
        process: change.process.clone(),
        continued: false,
        settles: Vec::new(),
    }
}

fn shown(report: &FileReport) -> &[u8] {
    report.content.resolved_path.as_deref().unwrap_or(&report.change.path.seen)
}

fn name(path: &[u8]) -> Vec<u8> {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default().to_vec()
}

fn directory(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    &path[..slash]
}

/// Bytes of the deepest folder that holds both `folder` and the file `path`; 0 for the root.
fn common_directory(folder: &[u8], path: &[u8]) -> usize {
    let other = directory(path);
    let same = folder.iter().zip(other).take_while(|(a, b)| a == b).count();
    let ends = |whole: &[u8]| whole.len() == same || whole.get(same) == Some(&b'/');
    if ends(folder) && ends(other) {
        return same;
    }
    folder[..same].iter().rposition(|&byte| byte == b'/').unwrap_or(0)
}

/// The sentence of one of them, in the plural.
fn reason(burst: &FileBurst, by: &str) -> String {
    let seconds = burst.last_boot_ns.saturating_sub(burst.boot_ns) / 1_000_000_000;
    let root: &[u8] = b"/";
    let directory = if burst.directory.is_empty() { root } else { &burst.directory };
    format!(
        "{} kernel module files were {} below {} in {seconds} seconds by {by}; the first was {}, the last {}",
        burst.count,
        burst.participle,
        brief(directory),
        brief(&burst.first),
        brief(&burst.last)
    )
}

#[cfg(test)]
mod tests;
