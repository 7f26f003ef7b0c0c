//! The header of an rpm package, as the database keeps it (rpm's `lib/header.cc` and `docs/manual/format_header.md`).
//!
//! ```text
//! entries u32 | data_bytes u32 | { tag u32 | kind u32 | offset u32 | count u32 }* | data
//! ```
//!
//! All big endian; offsets count from the begin of the data.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    byteorder::big_endian::{U16, U32},
};

/// As in `lib/rpmtag.h`.
pub(super) mod tag {
    pub(crate) const NAME: u32 = 1000;
    pub(crate) const VERSION: u32 = 1001;
    pub(crate) const RELEASE: u32 = 1002;
    pub(crate) const EPOCH: u32 = 1003;
    pub(crate) const ARCH: u32 = 1022;
    pub(crate) const FILE_STATES: u32 = 1029;
    pub(crate) const FILE_MODES: u32 = 1030;
    pub(crate) const FILE_DIGESTS: u32 = 1035;
    pub(crate) const FILE_FLAGS: u32 = 1037;
    pub(crate) const DIR_INDEXES: u32 = 1116;
    pub(crate) const BASE_NAMES: u32 = 1117;
    pub(crate) const DIR_NAMES: u32 = 1118;
    pub(crate) const FILE_DIGEST_ALGO: u32 = 5011;
}

/// Kinds of values, as in `include/rpm/rpmtypes.h`.
pub(super) mod kind {
    pub(crate) const CHAR: u32 = 1;
    pub(crate) const INT16: u32 = 3;
    pub(crate) const INT32: u32 = 4;
    pub(crate) const STRING: u32 = 6;
    pub(crate) const STRING_ARRAY: u32 = 8;
}

/// `HEADER_TAGS_MAX` of rpm.
const MAX_ENTRIES: u32 = 0xffff;

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the header of a package is shorter than it says")]
    Short,
    #[error("the header of a package has {0} entries, more than rpm allows")]
    Entries(u32),
    #[error("tag {tag} in the header of a package is of kind {kind}")]
    Kind { tag: u32, kind: u32 },
    #[error("tag {tag} in the header of a package goes beyond its end")]
    Beyond { tag: u32 },
    #[error("tag {tag} in the header of a package has {bytes} bytes")]
    Long { tag: u32, bytes: usize },
}

/// Where the value of a tag is.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    tag: U32,
    kind: U32,
    offset: U32,
    count: U32,
}

/// A header. Values are looked at when they are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    entries: &'a [Entry],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, HeaderError> {
        let ([entries, data_bytes], rest) = <[U32; 2]>::ref_from_prefix(bytes).map_err(|_| HeaderError::Short)?;
        if entries.get() > MAX_ENTRIES {
            return Err(HeaderError::Entries(entries.get()));
        }
        let count = entries.get() as usize;
        let (entries, rest) = <[Entry]>::ref_from_prefix_with_elems(rest, count).map_err(|_| HeaderError::Short)?;
        let data = rest.get(..data_bytes.get() as usize).ok_or(HeaderError::Short)?;
        Ok(Self { entries, data })
    }

    /// The text of a tag, without its end.
    pub(super) fn text(&self, tag: u32) -> Result<Option<&'a [u8]>, HeaderError> {
        let Some((_, data)) = self.value(tag, kind::STRING)? else { return Ok(None) };
        texts(data).next().map(Some).ok_or(HeaderError::Beyond { tag })
    }

    /// One text of an array; `None` when the array has none at this place.
    pub(super) fn text_at(&self, tag: u32, at: u32) -> Result<Option<&'a [u8]>, HeaderError> {
        match self.value(tag, kind::STRING_ARRAY)? {
            Some((count, data)) if at < count => {
                texts(data).nth(at as usize).map(Some).ok_or(HeaderError::Beyond { tag })
            }
            _ => Ok(None),
        }
    }

    /// One number of an array; `None` when the array has none at this place.
    pub(super) fn number_at(&self, tag: u32, at: u32) -> Result<Option<u32>, HeaderError> {
        Ok(self.array::<U32>(tag, kind::INT32)?.get(at as usize).map(|number| number.get()))
    }

    pub(super) fn short_at(&self, tag: u32, at: u32) -> Result<Option<u16>, HeaderError> {
        Ok(self.array::<U16>(tag, kind::INT16)?.get(at as usize).map(|number| number.get()))
    }

    pub(super) fn byte_at(&self, tag: u32, at: u32) -> Result<Option<u8>, HeaderError> {
        Ok(self.array::<u8>(tag, kind::CHAR)?.get(at as usize).copied())
    }

    /// The numbers of a tag, none if it is not there.
    fn array<T: FromBytes + Immutable + KnownLayout + Unaligned>(
        &self,
        tag: u32,
        kind: u32,
    ) -> Result<&'a [T], HeaderError> {
        let Some((count, data)) = self.value(tag, kind)? else { return Ok(&[]) };
        let (numbers, _) =
            <[T]>::ref_from_prefix_with_elems(data, count as usize).map_err(|_| HeaderError::Beyond { tag })?;
        Ok(numbers)
    }

    /// How many values a tag has, and the data from the first one on.
    fn value(&self, tag: u32, kind: u32) -> Result<Option<(u32, &'a [u8])>, HeaderError> {
        // What was added when the package was installed comes last, and counts more (`headerLoad`).
        let Some(entry) = self.entries.iter().rfind(|entry| entry.tag.get() == tag) else { return Ok(None) };
        if entry.kind.get() != kind {
            return Err(HeaderError::Kind { tag, kind: entry.kind.get() });
        }
        let data = self.data.get(entry.offset.get() as usize..).ok_or(HeaderError::Beyond { tag })?;
        Ok(Some((entry.count.get(), data)))
    }
}

/// Texts that end with a NUL. What has no end is none.
fn texts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split_inclusive(|byte| *byte == 0).filter_map(|text| text.strip_suffix(b"\0"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::fixture::Builder, *};

    fn ask(header: &Header<'_>, tag: u32, at: u32) {
        let _ = (header.text(tag), header.text_at(tag, at), header.number_at(tag, at));
        let _ = (header.short_at(tag, at), header.byte_at(tag, at));
    }

    fn ask_all(bytes: &[u8], at: u32) {
        let Ok(header) = Header::parse(bytes) else { return };
        for tag in header.entries.iter().take(20).map(|entry| entry.tag.get()) {
            ask(&header, tag, at);
        }
    }

    #[test]
    fn what_was_added_later_counts() {
        let bytes = Builder::default().text(1, "old").text(2, "x").text(1, "new").build();
        assert_eq!(Header::parse(&bytes).unwrap().text(1), Ok(Some(&b"new"[..])));
    }

    #[test]
    fn a_value_that_is_not_there_is_no_error_and_a_wrong_one_is() {
        let bytes = Builder::default().text(1, "a").numbers(2, &[7, 8]).texts(3, &["b", ""]).build();
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.text(9), Ok(None));
        assert_eq!(header.number_at(2, 2), Ok(None));
        assert_eq!(header.text_at(3, 1), Ok(Some(&b""[..])));
        assert_eq!(header.text_at(3, 2), Ok(None));
        assert_eq!(header.text(2), Err(HeaderError::Kind { tag: 2, kind: kind::INT32 }));
        assert_eq!(header.number_at(1, 0), Err(HeaderError::Kind { tag: 1, kind: kind::STRING }));
    }

    #[test]
    fn what_a_header_says_of_its_size_is_not_believed() {
        let head = |entries: u32, data: u32| [entries.to_be_bytes(), data.to_be_bytes()].concat();
        let parse = |bytes: &[u8]| Header::parse(bytes).map(|_| ()).unwrap_err();
        assert_eq!(parse(&head(MAX_ENTRIES + 1, 0)), HeaderError::Entries(MAX_ENTRIES + 1));
        assert_eq!(parse(&head(MAX_ENTRIES, 0)), HeaderError::Short);
        assert_eq!(parse(&head(0, u32::MAX)), HeaderError::Short);
        let beyond = |entry: [u32; 4]| [head(1, 4), entry.map(u32::to_be_bytes).concat(), b"abcd".to_vec()].concat();
        for entry in [[1, kind::STRING, 5, 1], [1, kind::STRING, 0, 1], [1, kind::STRING, u32::MAX, 1]] {
            assert_eq!(Header::parse(&beyond(entry)).unwrap().text(1), Err(HeaderError::Beyond { tag: 1 }));
        }
        for entry in [[1, kind::INT32, 0, 2], [1, kind::INT32, 1, 1], [1, kind::INT32, 0, u32::MAX]] {
            assert_eq!(Header::parse(&beyond(entry)).unwrap().number_at(1, 0), Err(HeaderError::Beyond { tag: 1 }));
        }
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(
            text in "[^\0]{0,20}",
            texts in prop::collection::vec("[^\0]{0,9}", 1..9),
            numbers in prop::collection::vec(any::<u32>(), 0..9),
            shorts in prop::collection::vec(any::<u16>(), 0..9),
            states: Vec<u8>,
        ) {
            let borrowed: Vec<_> = texts.iter().map(String::as_str).collect();
            let bytes = Builder::default()
                .bytes(1, &states).text(2, &text).numbers(3, &numbers).texts(4, &borrowed).shorts(5, &shorts).build();
            let header = Header::parse(&bytes).unwrap();
            prop_assert_eq!(header.text(2), Ok(Some(text.as_bytes())));
            for at in 0..10 {
                let place = at as usize;
                prop_assert_eq!(header.byte_at(1, at), Ok(states.get(place).copied()));
                prop_assert_eq!(header.number_at(3, at), Ok(numbers.get(place).copied()));
                prop_assert_eq!(header.text_at(4, at), Ok(texts.get(place).map(String::as_bytes)));
                prop_assert_eq!(header.short_at(5, at), Ok(shorts.get(place).copied()));
            }
            for cut in 0..bytes.len() {
                prop_assert!(Header::parse(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>, at: u32, tag: u32) {
            ask_all(&bytes, at);
            if let Ok(header) = Header::parse(&[&[0, 0, 0, 1, 0, 0, 0, 4][..], &bytes].concat()) {
                ask(&header, tag, at);
            }
        }

        #[test]
        fn no_change_is_a_panic(at: prop::sample::Index, bit in 0..8_u8, number in 0..4_u32) {
            let mut bytes = Builder::default().text(1, "a").numbers(2, &[7, 8]).texts(3, &["b", "c"]).bytes(4, b"d").build();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            ask_all(&bytes, number);
        }
    }
}
