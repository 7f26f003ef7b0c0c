//! A reader of RFC 6587 frames and RFC 5424 messages. Panics at whatever the RFCs do not allow.

#[derive(Debug)]
pub(super) struct Message {
    pub(super) facility: u8,
    pub(super) severity: u8,
    pub(super) timestamp: String,
    pub(super) hostname: String,
    pub(super) app_name: String,
    pub(super) procid: String,
    pub(super) msgid: String,
    pub(super) data: Vec<Element>,
    pub(super) text: String,
}

/// An SD-ID, and its parameters with their values.
type Element = (String, Vec<(String, String)>);

/// MSG-LEN SP SYSLOG-MSG, one after the other.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').expect("an octet count");
        let count = str::from_utf8(&bytes[..space]).unwrap();
        assert!(!count.starts_with('0'), "{count}");
        let (frame, rest) = bytes[space + 1..].split_at(count.parse().unwrap());
        frames.push(frame);
        bytes = rest;
    }
    frames
}

pub(super) fn message(frame: &[u8]) -> Message {
    let frame = str::from_utf8(frame).unwrap();
    let (priority, rest) = frame.strip_prefix('<').and_then(|rest| rest.split_once('>')).unwrap();
    let priority: u8 = priority.parse().unwrap();
    let mut parts = rest.splitn(7, ' ');
    let mut header = |max_bytes: usize| {
        let part = parts.next().unwrap();
        assert!((1..=max_bytes).contains(&part.len()) && part.bytes().all(|byte| (33..=126).contains(&byte)), "{part}");
        part.to_owned()
    };
    assert_eq!(header(2), "1");
    let timestamp = header(32);
    assert!(timestamp == "-" || is_timestamp(&timestamp), "{timestamp}");
    let (hostname, app_name, procid, msgid) = (header(255), header(48), header(128), header(32));
    let (data, text) = structured_data(parts.next().unwrap());
    // MSG-ANY: no byte order mark, and nothing that would need one.
    assert!(text.bytes().all(|byte| (32..=126).contains(&byte)), "{text}");
    let text = text.to_owned();
    Message {
        facility: priority >> 3,
        severity: priority & 7,
        timestamp,
        hostname,
        app_name,
        procid,
        msgid,
        data,
        text,
    }
}

fn is_timestamp(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000Z"
}

/// Elements up to the space before MSG.
fn structured_data(mut rest: &str) -> (Vec<Element>, &str) {
    let mut elements = Vec::new();
    while let Some(element) = rest.strip_prefix('[') {
        let end = element.find([' ', ']']).unwrap();
        let id = name(&element[..end]);
        let mut params = Vec::new();
        rest = &element[end..];
        while let Some(param) = rest.strip_prefix(' ') {
            let (param_name, value) = param.split_once("=\"").unwrap();
            let (value, after) = quoted(value);
            params.push((name(param_name), value));
            rest = after;
        }
        rest = rest.strip_prefix(']').expect("the end of an element");
        elements.push((id, params));
    }
    (elements, rest.strip_prefix(' ').expect("a space before MSG"))
}

/// SD-NAME
fn name(text: &str) -> String {
    assert!((1..=32).contains(&text.len()), "{text}");
    assert!(text.bytes().all(|byte| (33..=126).contains(&byte) && !matches!(byte, b'=' | b']' | b'"')), "{text}");
    text.to_owned()
}

/// A PARAM-VALUE, and what follows its quotation mark.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            ']' => panic!("a bracket that is not escaped"),
            '\\' => value.push(characters.next().expect("something escaped").1),
            plain => value.push(plain),
        }
    }
    panic!("a value without an end")
}
