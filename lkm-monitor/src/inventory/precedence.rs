//! Which files of configuration are passed over by the programs that read them.
//!
//! kmod (`conf_files_list` in libkmod-config.c), depmod and systemd (`conf_files_list_strv`) read the folders in this order. Of files with
//! one name they take the first, so that a file in /etc replaces one of a package, and only those whose names end as configuration does.

use std::collections::HashMap;

use crate::model::{FileEntry, Subject, text::brief};

/// From where files count most.
const FOLDERS: [&str; 5] = ["/etc/", "/run/", "/usr/local/lib/", "/usr/lib/", "/lib/"];

/// For each kind of file and name, the first file: the place of its folder in the order, and its path.
type First = HashMap<(Subject, Vec<u8>), (usize, Vec<u8>)>;

/// Says in the entries which of them are passed over, and why.
pub(super) fn tell_ignored(entries: &mut [FileEntry]) {
    let mut first = First::new();
    for entry in entries.iter().filter(|entry| endings(entry.subject).is_some()) {
        let Some((rank, name)) = place(&entry.file.path) else { continue };
        let known = first.entry((entry.subject, name.to_vec())).or_insert_with(|| (rank, entry.file.path.clone()));
        if rank < known.0 {
            *known = (rank, entry.file.path.clone());
        }
    }
    for entry in entries {
        entry.ignored = reason(entry, &first);
    }
}

fn reason(entry: &FileEntry, first: &First) -> Option<String> {
    let endings = endings(entry.subject)?;
    let (rank, name) = place(&entry.file.path)?;
    if name.starts_with(b".") {
        return Some("its name begins with a dot".to_owned());
    }
    if !endings.iter().any(|ending| name.ends_with(ending.as_bytes())) {
        return Some(format!("its name does not end in {}", endings.join(" or ")));
    }
    let (_, path) = first.get(&(entry.subject, name.to_vec())).filter(|(first, _)| *first < rank)?;
    Some(format!("{} has the same name and comes before it", brief(path)))
}

const fn endings(subject: Subject) -> Option<&'static [&'static str]> {
    match subject {
        Subject::Modprobe => Some(&[".conf", ".alias"]),
        Subject::ModulesLoad | Subject::Depmod => Some(&[".conf"]),
        _ => None,
    }
}

/// The place of its folder in the order, and the file's name. `None` where there is no such order.
fn place(path: &[u8]) -> Option<(usize, &[u8])> {
    let rank_and_rest = |(rank, folder): (usize, &&str)| path.strip_prefix(folder.as_bytes()).map(|rest| (rank, rest));
    let (rank, rest) = FOLDERS.iter().enumerate().find_map(rank_and_rest)?;
    let mut parts = rest.split(|byte| *byte == b'/');
    let (folder, name) = (parts.next()?, parts.next()?);
    (folder.ends_with(b".d") && parts.next().is_none()).then_some((rank, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FoundFile;

    fn ignored(files: &[(Subject, &str)]) -> Vec<Option<String>> {
        let entry = |(subject, path): &(Subject, &str)| FileEntry {
            file: FoundFile { path: path.as_bytes().to_vec(), ..FoundFile::default() },
            subject: *subject,
            meaning: Vec::new(),
            more_meaning: 0,
            dangers: Vec::new(),
            ignored: None,
        };
        let mut entries: Vec<_> = files.iter().map(entry).collect();
        tell_ignored(&mut entries);
        entries.into_iter().map(|entry| entry.ignored).collect()
    }

    #[test]
    fn the_first_file_of_a_name_counts() {
        let modprobe = Subject::Modprobe;
        let found = ignored(&[
            (modprobe, "/usr/lib/modprobe.d/a.conf"),
            (modprobe, "/run/modprobe.d/a.conf"),
            (modprobe, "/etc/modprobe.d/a.conf"),
            (Subject::Depmod, "/usr/lib/depmod.d/a.conf"),
        ]);
        let by_first = Some("/etc/modprobe.d/a.conf has the same name and comes before it".to_owned());
        assert_eq!(found, [by_first.clone(), by_first, None, None]);
    }

    #[test]
    fn names_end_as_configuration_does() {
        let found = ignored(&[
            (Subject::Modprobe, "/etc/modprobe.d/a.alias"),
            (Subject::Modprobe, "/etc/modprobe.d/a.conf.bak"),
            (Subject::ModulesLoad, "/etc/modules-load.d/a.alias"),
            (Subject::ModulesLoad, "/etc/modules"),
            (Subject::Pam, "/usr/lib/security/pam_unix.so"),
            (Subject::Modprobe, "/opt/conf.d/a"),
            (Subject::Depmod, "/etc/depmod.d/.a.conf"),
        ]);
        let why = |index: usize| found[index].as_deref();
        assert_eq!(why(1), Some("its name does not end in .conf or .alias"));
        assert_eq!(why(2), Some("its name does not end in .conf"));
        assert_eq!(why(6), Some("its name begins with a dot"));
        assert_eq!([why(0), why(3), why(4), why(5)], [None; 4]);
    }
}
