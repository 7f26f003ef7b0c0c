//! os-release(5).

use std::{collections::HashMap, fs};

use crate::model::{OperatingSystem, text::text};

/// Reads /etc/os-release or, where that is missing, /usr/lib/os-release.
pub fn read() -> OperatingSystem {
    let file = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read_to_string(path).ok());
    parse(&file.unwrap_or_default())
}

/// Families of distributions under the names that Beats and Elastic Agent use.
const FAMILIES: [(&str, &str); 8] = [
    ("debian", "debian"),
    ("ubuntu", "debian"),
    ("rhel", "redhat"),
    ("fedora", "redhat"),
    ("centos", "redhat"),
    ("amzn", "redhat"),
    ("suse", "suse"),
    ("sles", "suse"),
];

fn parse(file: &str) -> OperatingSystem {
    let values: HashMap<_, _> = file.lines().filter_map(|line| line.trim().split_once('=')).collect();
    let value = |key| values.get(key).map_or_else(String::new, |value| text(unquote(value).as_bytes()));
    let (platform, like) = (value("ID"), value("ID_LIKE"));

    let known = [platform.as_str()]
        .into_iter()
        .chain(like.split_whitespace())
        .find_map(|id| FAMILIES.iter().find(|(member, _)| *member == id));
    let family = known.map_or_else(|| like.split_whitespace().next().unwrap_or(&platform), |&(_, family)| family);
    OperatingSystem {
        family: family.to_owned(),
        name: value("NAME"),
        version: value("VERSION_ID"),
        full: value("PRETTY_NAME"),
        platform,
    }
}

/// The value of a shell assignment, in the simple forms that os-release(5) allows.
fn unquote(value: &str) -> String {
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(plain) = quoted('\'') {
        return plain.to_owned();
    }
    let escaped = quoted('"').unwrap_or(value);
    let mut plain = String::with_capacity(escaped.len());
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian() {
        let system = parse(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n",
        );
        assert_eq!(
            (system.family.as_str(), system.platform.as_str(), system.version.as_str()),
            ("debian", "debian", "12")
        );
        assert_eq!(system.full, "Debian GNU/Linux 12 (bookworm)");
    }

    #[test]
    fn families() {
        let family = |file| parse(file).family;
        assert_eq!(family("ID=rocky\nID_LIKE=\"rhel centos fedora\""), "redhat");
        assert_eq!(family("ID=linuxmint\nID_LIKE='ubuntu debian'"), "debian");
        assert_eq!(family("ID=alpine"), "alpine");
        assert_eq!(family("ID=manjaro\nID_LIKE=arch"), "arch");
        assert_eq!(family(""), "");
    }

    #[test]
    fn quotes() {
        assert_eq!(unquote(r#""a \"b\" \$c""#), "a \"b\" $c");
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(unquote("\""), "\"");
    }
}
