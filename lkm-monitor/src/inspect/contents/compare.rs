//! What two versions of a text differ in, and what of it is dangerous.

use super::modules::Modules;
use crate::model::{
    Content, ContentStatus, Subject,
    module_config::{
        Danger, Directive, Known, MAX_LINE_BYTES, MAX_LINES, appeared, dangers, diff, load_dangers, parse,
        parse_modules_load,
    },
    text::{shorten, text},
};

/// Two versions of a text. A file that is not there has an empty one; `None` is one that is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions<'a> {
    pub(super) before: Option<&'a [u8]>,
    pub(super) after: Option<&'a [u8]>,
}

/// Says in `content` what changed. Without a known version before, everything in the file counts as dangerous that can be, and
/// nothing as new.
pub(super) fn compare(subject: Subject, versions: Versions<'_>, modules: &mut Modules, content: &mut Content) {
    let Versions { before, after: Some(after) } = versions else { return };
    content.diff = before.map(|before| diff(before, after));
    if before == Some(after) {
        return;
    }
    let known_before = before.is_some();
    let before = before.unwrap_or_default();
    let (added, removed, found) = match subject {
        Subject::Modprobe => {
            let [before, after] = [before, after].map(parse);
            let (added, removed) = (appeared(&before, &after), appeared(&after, &before));
            let found = told(modules, |known| dangers(&added, known));
            let text = |directive: &Directive| directive.text.clone();
            (shown(&added, text), shown(&removed, text), found)
        }
        Subject::ModulesLoad => {
            let [before, after] = [before, after].map(parse_modules_load);
            let (added, removed) = (appeared(&before, &after), appeared(&after, &before));
            let found = told(modules, |known| load_dangers(&added, known));
            (shown(&added, Vec::clone), shown(&removed, Vec::clone), found)
        }
        _ => return,
    };
    content.dangers = found;
    if known_before {
        content.directives_added = added;
        content.directives_removed = removed;
    }
}

/// Says in `content` why the file was not searched: who wants to hide a line could make it so long, or keep others from reading
/// it (with a lease).
pub(super) fn tell_unsearched(subject: Subject, content: &mut Content) {
    if matches!(subject, Subject::Modprobe | Subject::ModulesLoad) {
        let is_read = !matches!(content.status, ContentStatus::Failed | ContentStatus::TimedOut);
        let why = if is_read { "is too long" } else { "could not be read" };
        content.dangers.push(format!("it {why} to be searched for dangerous lines"));
    }
}

fn told(modules: &mut Modules, dangers: impl FnOnce(&Known<'_>) -> Vec<Danger>) -> Vec<String> {
    modules.refresh();
    let has = |name: &[u8]| modules.has(name);
    let found = dangers(&Known { modules: &has });
    found.iter().take(MAX_LINES).map(Danger::clause).collect()
}

fn shown<T>(items: &[T], bytes: impl Fn(&T) -> Vec<u8>) -> Vec<String> {
    items.iter().take(MAX_LINES).map(|item| shorten(&text(&bytes(item)), MAX_LINE_BYTES)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(subject: Subject, before: Option<&str>, after: &str) -> Content {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("modules.dep"), "a/loop.ko:\n").unwrap();
        let mut content = Content::default();
        let versions = Versions { before: before.map(str::as_bytes), after: Some(after.as_bytes()) };
        compare(subject, versions, &mut Modules::in_folder(folder.path().to_owned()), &mut content);
        content
    }

    #[test]
    fn modprobe_configuration_is_understood() {
        let content = compared(
            Subject::Modprobe,
            Some("blacklist a\noptions loop x=1\n"),
            "install  a-b  /bin/x\noptions loop x=1\n",
        );
        assert_eq!(content.directives_added, ["install a_b  /bin/x"]);
        assert_eq!(content.directives_removed, ["blacklist a"]);
        assert_eq!(content.dangers, ["an install command for a_b runs \"/bin/x\""]);
        assert_eq!(content.diff.unwrap().removed, [b"blacklist a"]);
    }

    #[test]
    fn the_gravest_danger_is_told_first() {
        let harmless: String = (0..MAX_LINES).map(|number| format!("options rk{number} x=1\n")).collect();
        let after = format!("{harmless}blacklist nf_tables\ninstall a /bin/x\n");
        let dangers = compared(Subject::Modprobe, Some(""), &after).dangers;
        assert_eq!(dangers[0], "an install command for a runs \"/bin/x\"");
        assert_eq!(dangers[1], "a blacklist line keeps nf_tables (packet filter) from loading");
        assert!(dangers[2].starts_with("options \"x=1\" are set for rk0"), "{dangers:?}");
    }

    #[test]
    fn lists_of_modules_are_understood() {
        let content = compared(Subject::ModulesLoad, Some("loop"), "# x\nloop\nroot-kit\n");
        assert_eq!((content.directives_added, content.directives_removed), (vec!["root_kit".to_owned()], vec![]));
        assert_eq!(content.dangers, ["root_kit is to be loaded at boot, which this host does not have"]);
    }

    #[test]
    fn other_texts_are_compared_line_by_line() {
        let content = compared(Subject::Depmod, Some("a"), "install a /bin/x");
        assert!(content.diff.is_some() && content.dangers.is_empty() && content.directives_added.is_empty());
    }

    #[test]
    fn an_unknown_version_hides_no_danger() {
        let content = compared(Subject::Modprobe, None, "install a /bin/x");
        assert!(content.diff.is_none() && content.directives_added.is_empty());
        assert_eq!(content.dangers.len(), 1);
        let same = compared(Subject::Modprobe, Some("install a /bin/x"), "install a /bin/x");
        assert!(same.dangers.is_empty() && same.diff.is_some());
    }

    #[test]
    fn what_is_told_is_bounded() {
        let lines: String = (0..100).map(|number| format!("install a{number} /bin/{}\n", "x".repeat(600))).collect();
        let content = compared(Subject::Modprobe, Some(""), &lines);
        assert_eq!((content.directives_added.len(), content.dangers.len()), (MAX_LINES, MAX_LINES));
        assert!(content.directives_added.iter().all(|line| line.len() <= MAX_LINE_BYTES));
    }
}
