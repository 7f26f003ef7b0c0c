//! Values as JSON text.

use core::fmt::NumBuffer;

use super::Value;

impl Value<'_> {
    /// Appends the value as JSON without blanks.
    pub(in crate::alert) fn write(&self, json: &mut Vec<u8>) {
        match self {
            Value::Null => json.extend_from_slice(b"null"),
            Value::Bool(true) => json.extend_from_slice(b"true"),
            Value::Bool(false) => json.extend_from_slice(b"false"),
            Value::Number(number) => json.extend_from_slice(number.format_into(&mut NumBuffer::new()).as_bytes()),
            Value::Digits(number) => {
                json.push(b'"');
                json.extend_from_slice(number.format_into(&mut NumBuffer::new()).as_bytes());
                json.push(b'"');
            }
            Value::Text(text) => write_text(text, json),
            Value::Array(elements) => {
                let mut before = b'[';
                for element in elements {
                    json.push(before);
                    element.write(json);
                    before = b',';
                }
                close(elements.is_empty(), b"[]", json);
            }
            Value::Object(members) => {
                let mut before = b'{';
                for (key, value) in members.iter() {
                    json.push(before);
                    // Keys are words of this program: nothing in them is to be escaped.
                    json.push(b'"');
                    json.extend_from_slice(key.as_bytes());
                    json.extend_from_slice(b"\":");
                    value.write(json);
                    before = b',';
                }
                close(members.is_empty(), b"{}", json);
            }
            Value::Fixed(fixed) => json.extend_from_slice(fixed.json()),
        }
    }
}

/// What is left of the brackets behind the last element.
fn close(empty: bool, brackets: &[u8; 2], json: &mut Vec<u8>) {
    json.extend_from_slice(if empty { brackets } else { &brackets[1..] });
}

fn write_text(text: &str, json: &mut Vec<u8>) {
    json.push(b'"');
    let bytes = text.as_bytes();
    if is_plain(bytes) {
        json.extend_from_slice(bytes);
    } else {
        bytes.iter().for_each(|&byte| write_byte(byte, json));
    }
    json.push(b'"');
}

/// Whether text stands for itself.
fn is_plain(bytes: &[u8]) -> bool {
    // Without an exit in the middle, the compiler looks at all bytes of a chunk at once.
    let all = |chunk: &[u8]| chunk.iter().fold(true, |all, &byte| all & !is_escaped(byte));
    let (chunks, rest) = bytes.as_chunks::<16>();
    chunks.iter().all(|chunk| all(chunk)) && all(rest)
}

const fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn write_byte(byte: u8, json: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        control if control < b' ' => {
            json.extend_from_slice(b"\\u00");
            json.extend([control >> 4, control & 0xf].map(|digit| DIGITS[usize::from(digit)]));
            return;
        }
        plain => return json.push(plain),
    };
    json.extend_from_slice(&[b'\\', short]);
}
