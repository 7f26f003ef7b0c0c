//! What `apt-cache show` prints, and Debian's order of versions (deb-version(7)).

use std::{cmp::Ordering, str::FromStr};

/// One package version: its `Name: value` lines. Continuation lines are not needed and not kept.
#[derive(Debug)]
pub(crate) struct Stanza<'a>(Vec<(&'a str, &'a str)>);

/// A dependency on one exact version: `linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExactPackage<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
}

pub(crate) fn stanzas(text: &str) -> Vec<Stanza<'_>> {
    text.split("\n\n").map(stanza).filter(|stanza| !stanza.0.is_empty()).collect()
}

fn stanza(text: &str) -> Stanza<'_> {
    Stanza(text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_once(": ")).collect())
}

impl<'a> Stanza<'a> {
    pub(crate) fn field(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    pub(crate) fn version(&self) -> &'a str {
        self.field("Version").unwrap_or_default()
    }

    /// Debian's kernel packages pin each other by exact version; every other dependency is of no use here.
    pub(crate) fn exact_dependencies(&self) -> Vec<ExactPackage<'a>> {
        let depends = self.field("Depends").unwrap_or_default();
        depends
            .split(", ")
            .filter_map(|dependency| dependency.split_once(" (= "))
            .map(|(name, version)| ExactPackage { name, version: version.trim_end_matches(')') })
            .collect()
    }
}

/// The newest version that starts with `prefix`, such as `6.1.`.
pub(crate) fn newest<'s, 'a>(stanzas: &'s [Stanza<'a>], prefix: &str) -> Option<&'s Stanza<'a>> {
    stanzas
        .iter()
        .filter(|stanza| stanza.version().starts_with(prefix))
        .max_by(|left, right| compare(left.version(), right.version()))
}

/// Alternating runs of other characters and of digits; digits compare as numbers, `~` sorts before even the end.
fn compare(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = take_while(left, |byte| !byte.is_ascii_digit());
        let (right_text, right_rest) = take_while(right, |byte| !byte.is_ascii_digit());
        let (left_digits, left_rest) = take_while(left_rest, |byte| byte.is_ascii_digit());
        let (right_digits, right_rest) = take_while(right_rest, |byte| byte.is_ascii_digit());
        let order =
            weights(left_text).cmp(weights(right_text)).then_with(|| number(left_digits).cmp(&number(right_digits)));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

fn take_while(text: &str, wanted: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(|byte| !wanted(byte)).unwrap_or(text.len()))
}

/// The end of a run weighs 0, so that `~` (-1) sorts before it and anything else after it; letters sort before signs.
fn weights(text: &str) -> impl Iterator<Item = i32> {
    let weigh = |byte| match byte {
        b'~' => -1,
        letter if letter.is_ascii_alphabetic() => i32::from(letter),
        sign => 256 + i32::from(sign),
    };
    text.bytes().map(weigh).chain([0])
}

fn number(digits: &str) -> u64 {
    u64::from_str(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
Package: linux-image-cloud-amd64
Version: 6.1.176-1
Depends: linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)
Description: Linux for cloud
 This package depends on: nothing

Package: linux-image-cloud-amd64
Version: 6.1.192-2
Depends: kmod, linux-base (>= 4.3~), linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)

Package: linux-image-cloud-amd64
Version: 6.12.107-1

";

    #[test]
    fn newest_version_of_a_line_and_what_it_pins() {
        let stanzas = stanzas(SHOWN);
        assert_eq!(stanzas.len(), 3);
        let newest = newest(&stanzas, "6.1.").unwrap();
        assert_eq!(newest.version(), "6.1.192-2");
        let pinned = ExactPackage { name: "linux-image-6.1.0-56-cloud-amd64", version: "6.1.192-2" };
        assert_eq!(newest.exact_dependencies(), [pinned]);
    }

    #[test]
    fn a_line_without_packages_has_no_newest() {
        assert!(newest(&stanzas(SHOWN), "5.10.").is_none());
        assert!(newest(&stanzas(""), "").is_none());
    }

    #[test]
    fn versions_sort_as_debian_sorts_them() {
        let ascending = [
            "5.10.223-1",
            "5.10.262-1",
            "6.1.99-1",
            "6.1.192-2~bpo1",
            "6.1.192-2",
            "6.1.192-2+b1",
            "6.1.192-2.1",
            "6.12.9-1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
            assert_eq!(compare(pair[0], pair[0]), Ordering::Equal);
        }
    }
}
