//! The files of one package: `NAME.list`, a path in each line, and `NAME.md5sums`, a digest and a path without its first slash.

use memchr::memmem;

use crate::provenance::digest::unhex;

/// Kernel modules lie below such a folder, wherever /lib is.
const MODULES: &[u8] = b"/lib/modules/";

pub(super) type Md5 = [u8; 16];
const MD5_DIGITS: usize = 2 * size_of::<Md5>();

pub(super) fn is_below_modules(path: &[u8]) -> bool {
    memmem::find(path, MODULES).is_some()
}

/// The paths below module folders.
pub(super) fn modules(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Nearly all packages have none, and this is ten times as fast as looking at each line.
    let list = if is_below_modules(list) { list } else { b"" };
    lines(list).filter(|line| is_below_modules(line))
}

pub(super) fn holds(list: &[u8], path: &[u8]) -> bool {
    memmem::find(list, path).is_some() && lines(list).any(|line| line == path)
}

/// Digests, each with its path without the first slash. Lines that are anything else are left out.
pub(super) fn md5sums(content: &[u8]) -> impl Iterator<Item = (&[u8], Md5)> {
    lines(content).filter_map(|line| {
        let (digits, rest) = line.split_at_checked(MD5_DIGITS)?;
        // As md5sum(1) writes it: text or binary.
        let path = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
        Some((path, unhex(digits)?.try_into().ok()?))
    })
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &[u8] = b"/.\n/lib/modules\n/lib/modules/6.1/a.ko\n/opt/x/lib/modules/b\n/usr/bin/a";

    #[test]
    fn a_list_holds_whole_lines() {
        assert_eq!(modules(LIST).collect::<Vec<_>>(), [&b"/lib/modules/6.1/a.ko"[..], b"/opt/x/lib/modules/b"]);
        assert_eq!(modules(b"/usr/bin/a\n").count(), 0);
        for path in [&b"/."[..], b"/usr/bin/a", b"/lib/modules"] {
            assert!(holds(LIST, path));
        }
        for path in [&b"/usr/bin"[..], b"usr/bin/a", b"/lib/modules/6.1"] {
            assert!(!holds(LIST, path));
        }
    }

    #[test]
    fn lines_that_are_no_digests_are_left_out() {
        let content = b"d41d8cd98f00b204e9800998ecf8427e  lib/a b\\c\n\
            D41D8CD98F00B204E9800998ECF8427E *lib/b\n\
            d41d8cd98f00b204e9800998ecf8427e lib/c\n\
            x41d8cd98f00b204e9800998ecf8427e  lib/d\nshort  lib/e\n\n";
        let read: Vec<_> = md5sums(content).collect();
        assert_eq!(read.iter().map(|(path, _)| *path).collect::<Vec<_>>(), [&b"lib/a b\\c"[..], b"lib/b"]);
        assert!(read.iter().all(|(_, md5)| md5[..4] == [0xd4, 0x1d, 0x8c, 0xd9]));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(content: Vec<u8>, path: Vec<u8>) {
            let _ = (modules(&content).count(), holds(&content, &path), md5sums(&content).count());
        }

        #[test]
        fn every_line_is_found(paths in prop::collection::vec("/[^\n]{0,9}", 1..9), at: prop::sample::Index) {
            let list = paths.join("\n");
            prop_assert!(holds(list.as_bytes(), at.get(&paths).as_bytes()));
        }
    }
}
