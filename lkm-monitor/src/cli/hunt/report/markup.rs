//! HTML into which no text of a document can break.

use std::fmt::{Display, Write as _};

use crate::cli::terminal::harmless;

/// What is shown of one text.
const SHOWN_CHARS: usize = 1024;

/// A page under construction. Markup is part of the program; all else is escaped.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// What a document says, or a number: for elements and for attributes in double quotes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        let text = text.to_string();
        let end = text.char_indices().nth(SHOWN_CHARS).map_or(text.len(), |(end, _)| end);
        for character in harmless(&text[..end]).chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        if end < text.len() {
            // Writing to a String cannot fail.
            let _ = write!(self.0, " … ({} more bytes)", text.len() - end);
        }
        self
    }

    /// The same as an element of its own, so that letters that are written from right to left leave their neighbours alone.
    pub(super) fn name(&mut self, text: &str) -> &mut Self {
        if text.is_empty() {
            return self.raw("<span class=\"none\">none</span>");
        }
        self.raw("<bdi>").text(text).raw("</bdi>")
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// `1 event`, `2 events`.
pub(super) fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
