//! What the files of the store are called.

use crate::model::text::{hex, unhex};

/// SHA-256 of the bytes that are kept of an image.
pub type Digest = [u8; 32];

const IMAGE: &str = ".evidence";
const RECORD: &str = ".json";
const CLOCK: &str = "clock.json";
/// Of a file that is being written.
const NEW: &str = ".new";
const DIGEST_DIGITS: usize = 64;

/// A file of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Image(Digest),
    Record(Digest),
    Clock,
}

impl Name {
    /// The file with this name, if it is one of ours.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let name = str::from_utf8(name).ok()?;
        if name == CLOCK {
            return Some(Self::Clock);
        }
        let (digits, end) = name.split_at_checked(DIGEST_DIGITS)?;
        let digest = Digest::try_from(unhex(digits)?).ok()?;
        // In other letters it is another file.
        let is_ours = hex(&digest) == digits;
        match end {
            IMAGE if is_ours => Some(Self::Image(digest)),
            RECORD if is_ours => Some(Self::Record(digest)),
            _ => None,
        }
    }

    /// Whether a file of ours is called so while it is written.
    pub(super) fn is_new(name: &[u8]) -> bool {
        name.strip_suffix(NEW.as_bytes()).is_some_and(|name| Self::parse(name).is_some())
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Image(digest) => hex(&digest) + IMAGE,
            Self::Record(digest) => hex(&digest) + RECORD,
            Self::Clock => CLOCK.to_owned(),
        }
    }

    /// What the file is called while it is written.
    pub(super) fn new_text(self) -> String {
        self.text() + NEW
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_names_in_small_letters_are_ours() {
        let image = "ab".repeat(32) + ".evidence";
        assert_eq!(Name::parse(image.as_bytes()), Some(Name::Image([0xab; 32])));
        assert_eq!(Name::parse(b"clock.json"), Some(Name::Clock));
        let digits = "ab".repeat(32);
        let others =
            [digits.to_uppercase() + ".json", digits.clone(), format!("{digits}.jsonx"), format!("a{digits}.json")];
        for other in others.iter().chain([&image.replace('a', "g"), &"é".repeat(40), &".json".to_owned()]) {
            assert_eq!(Name::parse(other.as_bytes()), None, "{other}");
        }
        assert!(Name::is_new(format!("{image}.new").as_bytes()) && Name::is_new(b"clock.json.new"));
        assert!(!Name::is_new(image.as_bytes()) && !Name::is_new(b"notes.new") && !Name::is_new(b".new"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(digest: Digest) {
            for name in [Name::Image(digest), Name::Record(digest), Name::Clock] {
                prop_assert_eq!(Name::parse(name.text().as_bytes()), Some(name));
                prop_assert!(Name::is_new(name.new_text().as_bytes()));
                prop_assert_eq!(Name::parse(name.new_text().as_bytes()), None);
            }
        }

        #[test]
        fn no_bytes_are_a_panic(name: Vec<u8>) {
            prop_assert_eq!(Name::parse(&name).map(|name| name.text().into_bytes()).unwrap_or(name.clone()), name);
        }
    }
}
