//! Which paths of the host match a pattern, without following where links and mounts lead before it is known that somebody answers there.

use super::gaps::Gaps;
use crate::inspect::contents::{HostFiles, NotThere};

/// Paths that one pattern may match.
const MAX_MATCHES: usize = 4096;
/// Names of a folder that are compared with a part of a pattern.
const MAX_NAMES: usize = 65_536;

/// The paths that a pattern stands for, spelled as in the pattern. A part without star, question mark and bracket stands for itself and need
/// not be there.
pub(crate) fn matching(files: &HostFiles, pattern: &str, gaps: &mut Gaps) -> Vec<Vec<u8>> {
    let mut matching = vec![Vec::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?', '[']) {
            matching.iter_mut().for_each(|path| path.extend([b"/", part.as_bytes()].concat()));
            continue;
        }
        // It was compiled when it was taken into the list of what is watched.
        let Ok(compared) = glob::Pattern::new(part) else { return Vec::new() };
        let mut found = Vec::new();
        for folder in &matching {
            found.extend(below(files, folder, &compared, gaps));
        }
        if found.len() > MAX_MATCHES {
            gaps.add_one("pattern", pattern.as_bytes(), format!("more than {MAX_MATCHES} places match it"));
            found.truncate(MAX_MATCHES);
        }
        matching = found;
    }
    matching
}

fn below(files: &HostFiles, folder: &[u8], part: &glob::Pattern, gaps: &mut Gaps) -> Vec<Vec<u8>> {
    let spelled = if folder.is_empty() { b"/" } else { folder };
    let names = match files.names(spelled, MAX_NAMES) {
        Ok((_, names)) => names,
        Err(NotThere::Gone) => return Vec::new(),
        Err(why) => {
            gaps.add_one("place", spelled, why);
            return Vec::new();
        }
    };
    let names = names.iter().filter(|name| part.matches(&String::from_utf8_lossy(name)));
    names.map(|name| [folder, b"/", name].concat()).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn parts_stand_for_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for path in ["lib/a-gnu/security", "lib/b-gnu/security", "lib/c/security"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        symlink("lib", root.join("link")).unwrap();
        let root = root.to_str().unwrap();
        let mut gaps = Gaps::default();
        let mut found = |pattern: &str| -> Vec<String> {
            let found = matching(&HostFiles::open().unwrap(), &format!("{root}/{pattern}"), &mut gaps);
            found.into_iter().map(|path| String::from_utf8(path).unwrap().replace(root, "")).collect()
        };
        assert_eq!(found("lib/*-gnu/security"), ["/lib/a-gnu/security", "/lib/b-gnu/security"]);
        assert_eq!(found("link/?/security"), ["/link/c/security"]);
        assert_eq!(found("nowhere/*"), [""; 0]);
        assert_eq!(found("nowhere/x"), ["/nowhere/x"]);
        assert_eq!(gaps.into_vec(), []);
    }
}
