//! Texts of documents, borrowed from the line wherever they stand in it as they are.
//!
//! Most of what a hunt reads is thrown away at once. So nothing of it is copied: `Option<Cow<str>>` would be, always, since serde borrows
//! only what is a `Cow` by itself; and an untagged enum would keep a copy of the value to try its variants on.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

/// One text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A field with one text or several.
#[derive(Debug, Default)]
pub(super) enum Texts<'a> {
    One(Text<'a>),
    Many(Vec<Text<'a>>),
    #[default]
    None,
}

impl<'a> Texts<'a> {
    pub(super) fn has(&self, wanted: &str) -> bool {
        match self {
            Self::One(text) => **text == *wanted,
            Self::Many(texts) => texts.iter().any(|text| **text == *wanted),
            Self::None => false,
        }
    }

    pub(super) fn take(&mut self) -> Vec<Cow<'a, str>> {
        match std::mem::take(self) {
            Self::One(text) => vec![text.0],
            Self::Many(texts) => texts.into_iter().map(|text| text.0).collect(),
            Self::None => Vec::new(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or several")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Texts::One(Text(text.into())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Texts::One(Text(text.to_owned().into())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Texts::None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Some(first) = seq.next_element()? else { return Ok(Texts::None) };
        let Some(second) = seq.next_element()? else { return Ok(Texts::One(first)) };
        let mut texts = vec![first, second];
        while let Some(text) = seq.next_element()? {
            texts.push(text);
        }
        Ok(Texts::Many(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_borrowed_where_they_stand() {
        let borrowed = |json: &'static str| match serde_json::from_str::<Texts<'_>>(json).unwrap() {
            Texts::One(text) => vec![matches!(text.0, Cow::Borrowed(_))],
            Texts::Many(texts) => texts.iter().map(|text| matches!(text.0, Cow::Borrowed(_))).collect(),
            Texts::None => Vec::new(),
        };
        assert_eq!(borrowed(r#""a""#), [true]);
        assert_eq!(borrowed(r#"["a"]"#), [true]);
        assert_eq!(borrowed(r#"["a","\u0062"]"#), [true, false], "the second stands there in other words");
        assert!(borrowed("[]").is_empty() && borrowed("null").is_empty());
        assert!(serde_json::from_str::<Texts<'_>>("[1]").is_err());
        let option: Option<Text<'_>> = serde_json::from_str(r#""a""#).unwrap();
        assert!(matches!(option.unwrap().0, Cow::Borrowed("a")));
    }
}
