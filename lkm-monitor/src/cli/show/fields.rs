//! Fields of a document, as text that a terminal can show.

use serde_json::Value;

use crate::{cli::terminal::harmless, model::text::shorten};

/// Bytes of one line's text: what is longer can be read in the document.
pub(super) const MAX_TEXT_BYTES: usize = 400;

/// Fields of a document of which nothing is certain.
pub(super) struct Fields<'a>(pub(super) &'a Value);

impl<'a> Fields<'a> {
    pub(super) fn value(&self, pointer: &str) -> Option<&'a Value> {
        self.0.pointer(pointer)
    }

    /// A scalar as text that a terminal can show.
    pub(super) fn text(&self, pointer: &str) -> Option<String> {
        match self.value(pointer)? {
            Value::String(text) if !text.is_empty() => Some(shorten(&harmless(text.trim_end()), MAX_TEXT_BYTES)),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Those of the fields that are there, each behind its label.
    pub(super) fn join(&self, fields: &[(&str, &str)]) -> String {
        let present = fields.iter().filter_map(|(label, pointer)| Some(format!("{label}{}", self.text(pointer)?)));
        present.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn list(&self, pointer: &str, separator: &str) -> String {
        let elements = self.value(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        elements.iter().filter_map(Value::as_str).map(harmless).collect::<Vec<_>>().join(separator)
    }
}
