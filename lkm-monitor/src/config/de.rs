//! From a tree to the structs of the settings. An error says at which key it is.

use std::fmt::{self, Display};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, Expected, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected, Visitor, value},
    forward_to_deserialize_any,
};

use super::{
    key::{Key, Step},
    tree::{Node, Value},
};

/// A value that does not fit.
#[derive(Debug)]
pub(super) struct Misfit {
    /// The last part first.
    steps: Vec<Step>,
    /// Something is not there, rather than wrong: another file may bring it.
    pub(super) is_missing: bool,
    problem: String,
}

impl Misfit {
    fn new(problem: String) -> Self {
        Self { steps: Vec::new(), is_missing: false, problem }
    }

    fn at(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(super) fn key(&self) -> Key {
        Key(self.steps.iter().rev().cloned().collect())
    }
}

impl Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problem)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: Display>(text: T) -> Self {
        Self::new(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("it is {}, but must be {}", shown(found), wanted(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("it is `{found}`, but must be one of {}{}", list(known), suggestion(found, known)))
    }

    fn unknown_field(found: &str, known: &'static [&'static str]) -> Self {
        let suggestion = suggestion(found, known);
        let known = if suggestion.is_empty() { format!("; there are {}", list(known)) } else { String::new() };
        Self::new(format!("there is no such key{suggestion}{known}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { is_missing: true, ..Self::new(format!("`{field}` is not set, but must be")) }
    }
}

/// As serde says it, in the words of TOML.
fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Bool(flag) => flag.to_string(),
        other => other.to_string(),
    }
}

fn wanted(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    let number = |max: u64| format!("a whole number from 0 to {max}");
    match expected.as_str() {
        "u8" => number(u8::MAX.into()),
        "u16" => number(u16::MAX.into()),
        "u32" => number(u32::MAX.into()),
        // TOML has no larger ones.
        "u64" | "usize" => number(i64::MAX as u64),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        _ => expected,
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The known name that was meant, probably: a third of it may be wrong.
fn suggestion(found: &str, known: &[&str]) -> String {
    let distance = |name: &&&str| strsim::damerau_levenshtein(found, name);
    let nearest = known.iter().min_by_key(distance).filter(|name| distance(name) * 3 <= name.len());
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(flag) => visitor.visit_bool(*flag),
            Value::Other(text) => Err(de::Error::invalid_type(Unexpected::Other(text), &visitor)),
            Value::List(list) => visitor.visit_seq(Items { left: list.iter().enumerate() }),
            Value::Table(table) => visitor.visit_map(Entries { left: table.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    /// One of several words.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => self.deserialize_any(Word).and_then(|()| visitor.visit_unit()),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// What an enumeration wants to see.
struct Word;

impl Visitor<'_> for Word {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }
}

struct Items<'de> {
    left: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some((number, node)) = self.left.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|misfit| misfit.at(Step::Item(number)))
    }
}

struct Entries<'de> {
    left: std::collections::btree_map::Iter<'de, String, Node>,
    /// Of the key that was asked for last.
    value: Option<(&'de String, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        self.value = self.left.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        let name: value::BorrowedStrDeserializer<'de, Misfit> = value::BorrowedStrDeserializer::new(key);
        seed.deserialize(name).map(Some).map_err(|misfit| misfit.at(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (key, node) = self.value.take().ok_or_else(|| Misfit::new("a value without its key".to_owned()))?;
        seed.deserialize(node).map_err(|misfit| misfit.at(Step::Key(key.clone())))
    }
}
