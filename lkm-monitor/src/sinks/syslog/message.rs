//! One document as one message of RFC 5424.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{SyslogSettings, reduce};
use crate::sinks::{
    Entry,
    facts::{Facts, severity},
};

const APP_NAME: &str = "lkm-monitor";
/// Longest values of header fields: RFC 5424, section 6.
const HOSTNAME_BYTES: usize = 255;
const MSGID_BYTES: usize = 32;

/// Why a document makes no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is not UTF-8: {0}")]
    Utf8(#[from] std::str::Utf8Error),
    #[error("it cannot be reduced to syslog.max_bytes ({0})")]
    TooLong(usize),
}

/// The message, of printable ASCII alone: some receivers change control characters, of which JSON lets DEL through. MSG would have to begin with a byte order mark if it held other characters (section 6.4), and JSON must not
/// (RFC 8259, section 8.1): so those are escaped, as JSON allows.
pub(super) fn message(entry: &Entry, settings: &SyslogSettings) -> Result<String, MessageError> {
    let facts = Facts::of(&entry.json)?;
    let mut message = String::with_capacity(entry.json.len() + 256);
    // Writing to a String cannot fail.
    let _ = write!(
        message,
        "<{priority}>1 {time} {host} {APP_NAME} {pid} {id} {data} ",
        priority = u32::from(settings.facility) * 8 + u32::from(severity(entry.class)),
        time = timestamp(&facts.timestamp),
        host = header_field(&facts.host.hostname, HOSTNAME_BYTES),
        pid = std::process::id(),
        id = header_field(&facts.event.action, MSGID_BYTES),
        data = structured_data(&facts, settings.enterprise_number),
    );
    let room = settings.max_bytes.saturating_sub(message.len());
    let whole = reduce::ascii(str::from_utf8(&entry.json)?);
    let text = if whole.len() <= room { Some(whole.into_owned()) } else { reduce::reduced(&entry.json, room)? };
    message.push_str(&text.ok_or(MessageError::TooLong(settings.max_bytes))?);
    Ok(message)
}

/// TIMESTAMP: section 6.2.3 takes what RFC 3339 does, with six digits of a second at the most.
fn timestamp(text: &str) -> String {
    let time: Option<Timestamp> = text.parse().ok();
    time.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// A field of the header: printable ASCII without spaces; `-` when nothing is left.
fn header_field(text: &str, max_bytes: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(max_bytes).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

/// What finds a document again without its JSON being read.
fn structured_data(facts: &Facts, enterprise_number: u32) -> String {
    let sequence = facts.event.sequence.map(|sequence| sequence.to_string()).unwrap_or_default();
    let mut data = format!("[{APP_NAME}@{enterprise_number}");
    for (name, value) in [("eventId", &facts.event.id), ("sequence", &sequence), ("ruleId", &facts.rule.id)] {
        if !value.is_empty() {
            let _ = write!(data, " {name}=\"{}\"", escaped(value));
        }
    }
    data.push(']');
    data
}

/// PARAM-VALUE: section 6.3.3. Only ASCII is let through; ids have nothing else.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
