use super::*;
use crate::{
    assess::{self, Context},
    model::{
        Content, FileAction, FileChange, Observation,
        samples::{accounts, file_change, host, path},
    },
};

const SECOND_NS: u64 = 1_000_000_000;
const BY: &str = "/usr/bin/kmod run by root (login user alice)";

fn alert(at: &str) -> (Box<FileReport>, Verdict) {
    let change = FileChange { path: path(at), ..file_change() };
    let report = FileReport {
        change,
        subject: Subject::Module,
        whole_folder: false,
        left: false,
        of_host: true,
        content: Content::default(),
    };
    let (host, accounts) = (host(), accounts());
    let observation = Observation::File(Box::new(report.clone()));
    (Box::new(report), assess::assess(&observation, &Context { host: &host, accounts: &accounts }))
}

/// How many of each kind.
fn counts(folded: &[Folded]) -> (usize, usize, usize) {
    let count = |wanted: fn(&Folded) -> bool| folded.iter().filter(|folded| wanted(folded)).count();
    (
        count(|folded| matches!(folded, Folded::Alert(..))),
        count(|folded| matches!(folded, Folded::Event(..))),
        count(|folded| matches!(folded, Folded::Burst(..))),
    )
}

#[test]
fn a_few_are_told_one_by_one_after_a_moment() {
    let mut fold = Fold::default();
    for number in 0..SINGLE {
        let (report, verdict) = alert(&format!("/tmp/{number}.ko"));
        assert_eq!(fold.push(report, verdict, BY, 1), []);
    }
    assert_eq!(fold.next_deadline_ns(), Some(1 + QUIET_NS));
    assert_eq!(fold.expire(QUIET_NS), []);
    assert_eq!(counts(&fold.expire(1 + QUIET_NS)), (SINGLE, 0, 0));
    assert_eq!(fold.next_deadline_ns(), None);
}

#[test]
fn of_many_one_alert_tells() {
    let mut fold = Fold::default();
    let mut out = Vec::new();
    for number in 0..2000_u64 {
        let (mut report, verdict) = alert(&format!("/lib/modules/6.1.0/kernel/d{}/{number}.ko", number % 7));
        // Looked at in another order than made.
        report.change.boot_ns = number ^ 3;
        out.extend(fold.push(report, verdict, BY, number));
    }
    assert_eq!(counts(&out), (0, 2000, 0), "each is an event");
    let told = fold.expire(2000 + QUIET_NS);
    assert_eq!(counts(&told), (0, 0, 1));
    let Folded::Burst(burst, verdict) = &told[0] else { panic!("a burst") };
    assert_eq!((burst.count, burst.directory.as_slice()), (2000, &b"/lib/modules/6.1.0/kernel"[..]));
    assert_eq!((burst.first.as_slice(), burst.last.as_slice()), (&b"3.ko"[..], &b"1996.ko"[..]));
    assert_eq!(
        verdict.findings[0].reason,
        "2000 kernel module files were created below /lib/modules/6.1.0/kernel in 0 seconds by /usr/bin/kmod run by root \
         (login user alice); the first was 3.ko, the last 1996.ko"
    );
    assert_eq!(fold.folded(), 2000);
}

/// A folder's name is anybody's.
#[test]
fn a_name_does_not_say_who_did_it() {
    let mut fold = Fold::default();
    for number in 0..100 {
        let (report, verdict) = alert(&format!("/tmp/r21 by /usr/bin/dpkg run by root; /{number}.ko"));
        fold.push(report, verdict, BY, 1);
    }
    let told = fold.expire(1 + QUIET_NS);
    let Folded::Burst(_, verdict) = &told[0] else { panic!("a burst") };
    let reason = &verdict.findings[0].reason;
    assert!(reason.contains(&format!(" in 0 seconds by {BY}; the first was ")), "{reason}");
}

#[test]
fn what_lies_elsewhere_does_not_hide_in_a_burst() {
    let mut fold = Fold::default();
    for number in 0..100 {
        let (report, verdict) = alert(&format!("/lib/modules/6.1.0/{number}.ko"));
        fold.push(report, verdict, BY, 1);
    }
    let (report, verdict) = alert("/tmp/rootkit.ko");
    fold.push(report, verdict, BY, 1);
    assert_eq!(counts(&fold.expire(1 + QUIET_NS)), (1, 0, 1));
}

#[test]
fn severe_alerts_do_not_wait() {
    let (mut report, _) = alert("/usr/lib/modules/6.1.0/x.ko");
    report.change.action = FileAction::Written;
    let (host, accounts) = (host(), accounts());
    let observation = Observation::File(report.clone());
    let verdict = assess::assess(&observation, &Context { host: &host, accounts: &accounts });
    assert_eq!(counts(&Fold::default().push(report, verdict, BY, 1)), (1, 0, 0));
}

#[test]
fn a_burst_without_an_end_is_told_in_time_and_goes_on() {
    let mut fold = Fold::default();
    let mut told = Vec::new();
    let seconds = LONGEST_NS / SECOND_NS;
    for second in 0..=2 * seconds {
        let (report, verdict) = alert(&format!("/tmp/{second}.ko"));
        fold.push(report, verdict, BY, second * SECOND_NS);
        told.extend(fold.expire(second * SECOND_NS));
    }
    assert_eq!(counts(&told), (0, 0, 2));
    let continued: Vec<_> = told
        .iter()
        .filter_map(|folded| match folded {
            Folded::Burst(burst, _) => Some((burst.continued, burst.count)),
            _ => None,
        })
        .collect();
    assert_eq!(continued, [(false, seconds + 1), (true, seconds)]);
}

#[test]
fn at_the_end_everything_is_told() {
    let mut fold = Fold::default();
    let (report, verdict) = alert("/tmp/x.ko");
    fold.push(report, verdict, BY, 1);
    assert_eq!(counts(&fold.drain()), (1, 0, 0));
    assert_eq!(fold.drain(), []);
}

#[test]
fn common_directories() {
    for (folder, path, common) in [
        ("/a/b", "/a/b/x", "/a/b"),
        ("/a/b", "/a/bc/x", "/a"),
        ("/a/b/c", "/a/b/x", "/a/b"),
        ("/a", "/b/x", ""),
        ("", "/x", ""),
        ("/a/b", "/a/b/c/d/x", "/a/b"),
    ] {
        assert_eq!(&folder[..common_directory(folder.as_bytes(), path.as_bytes())], common, "{folder} {path}");
    }
}
