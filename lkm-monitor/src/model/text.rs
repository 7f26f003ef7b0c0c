//! How bytes from the kernel become text: one way, everywhere.

use std::{borrow::Cow, fmt::Write as _};

/// Readable text that stands for `bytes` and for no other bytes.
///
/// Valid UTF-8 passes. A backslash becomes `\\`; control characters (C0, DEL, C1) and bytes that are no UTF-8 become
/// `\xNN`, byte by byte, in lower-case hexadecimal. So the text is safe on a terminal and in a log line, and nothing of
/// the evidence is lost.
pub fn text(bytes: &[u8]) -> String {
    readable(bytes).into_owned()
}

/// [`text`], which nearly always is the bytes themselves.
pub fn readable(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) if is_plain(bytes) => Cow::Borrowed(text),
        _ => Cow::Owned(escaped(bytes)),
    }
}

/// Whether these are printable ASCII and no backslash.
fn is_plain(bytes: &[u8]) -> bool {
    // Without an exit in the middle, the compiler looks at all bytes of a chunk at once.
    let all = |chunk: &[u8]| chunk.iter().fold(true, |all, &byte| all & matches!(byte, b' '..=b'~') & (byte != b'\\'));
    let (chunks, rest) = bytes.as_chunks::<16>();
    chunks.iter().all(|chunk| all(chunk)) && all(rest)
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                control if control.is_control() => {
                    escape(control.encode_utf8(&mut [0; 4]).as_bytes(), &mut text);
                }
                plain => text.push(plain),
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

/// [`text`] for a sentence: a long one loses its middle, so that both ends of a path stay.
pub fn brief(bytes: &[u8]) -> String {
    shorten(&text(bytes), BRIEF_BYTES)
}

/// `text` in at most `max_bytes` bytes (but never fewer than the mark itself takes), the middle replaced by `…`.
pub fn shorten(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let side = max_bytes.saturating_sub(CUT_MARK.len()) / 2;
    let head = &text[..text.floor_char_boundary(side)];
    let tail = &text[text.ceil_char_boundary(text.len() - side)..];
    format!("{head}{CUT_MARK}{tail}")
}

/// Bytes of one path or name inside a sentence.
const BRIEF_BYTES: usize = 160;
const CUT_MARK: &str = "…";

/// Text that was made readable before, as a file gives it back which others may have written to: without control characters.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) { readable(text.as_bytes()) } else { Cow::Borrowed(text) }
}

fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// A hash, or other bytes that are no text.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from(if four < 10 { b'0' + four } else { b'a' + four - 10 });
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(digit).collect()
}

/// The bytes that hexadecimal digits stand for.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes that an escaped text stands for.
    fn bytes_of(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            if let Some(after) = rest[at..].strip_prefix("\\\\") {
                bytes.push(b'\\');
                rest = after;
            } else {
                bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap());
                rest = &rest[at + 4..];
            }
        }
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    }

    #[test]
    fn escapes_what_is_not_text() {
        assert_eq!(text(b"a\nb"), "a\\x0ab");
        assert_eq!(text(b"C:\\x0a"), "C:\\\\x0a");
        assert_eq!(text(b"\xff\x1b[31m"), "\\xff\\x1b[31m");
        assert_eq!(text("né\u{85}".as_bytes()), "né\\xc2\\x85");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn what_was_made_readable_stays_as_it_is() {
        let text = text(b"a\\b\n\xff");
        assert_eq!(clean(&text), text);
        assert_eq!(clean("a\x1b"), "a\\x1b");
    }

    #[test]
    fn brief_keeps_both_ends() {
        let path = [b"/tmp/".as_slice(), &[b'a'; 4000], b"/evil.ko"].concat();
        let text = brief(&path);
        assert!(text.starts_with("/tmp/a") && text.ends_with("/evil.ko") && text.len() <= BRIEF_BYTES, "{text}");
    }

    proptest! {
        #[test]
        fn is_injective_and_safe(bytes in any::<Vec<u8>>()) {
            let text = text(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(text.is_empty(), bytes.is_empty());
            prop_assert_eq!(bytes_of(&text), bytes);
        }

        #[test]
        fn shortens_to_the_limit(text in any::<String>(), max_bytes in 3_usize..200) {
            prop_assert!(shorten(&text, max_bytes).len() <= max_bytes);
        }
    }
}
