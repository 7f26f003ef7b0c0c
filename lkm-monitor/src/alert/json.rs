//! JSON values as documents need them: borrowed where they can be, and without the empty values that ECS does not know.

mod fixed;
mod from;
mod object;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;

pub(super) use fixed::Fixed;
pub(super) use object::Object;

/// What a field can hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value<'a> {
    #[default]
    Null,
    Bool(bool),
    /// Never above the type `long` of Elasticsearch.
    Number(i64),
    /// A number in the form of a string.
    Digits(u64),
    Text(Cow<'a, str>),
    /// Elements may be empty: an empty argument is an argument.
    Array(Vec<Value<'a>>),
    Object(Object<'a>),
    Fixed(&'a Fixed),
}

/// A [`Value`], written as in JSON, with expressions for values. Empty members are left out.
macro_rules! json {
    ({}) => { $crate::alert::json::Value::Object($crate::alert::json::Object::default()) };
    ({ $($members:tt)* }) => { $crate::alert::json::json!(@members [] $($members)*) };
    ([ $($element:expr),* $(,)? ]) => {
        $crate::alert::json::Value::Array(vec![$($crate::alert::json::Value::from($element)),*])
    };

    (@members [$($key:literal => $value:expr,)*]) => {
        $crate::alert::json::Value::Object($crate::alert::json::Object::literal([$(($key, $value)),*]))
    };
    (@members [$($done:tt)*] $key:literal: { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $crate::alert::json::json!(@members [$($done)* $key => $crate::alert::json::json!({ $($inner)* }),] $($($rest)*)?)
    };
    (@members [$($done:tt)*] $key:literal: [ $($inner:tt)* ] $(, $($rest:tt)*)?) => {
        $crate::alert::json::json!(@members [$($done)* $key => $crate::alert::json::json!([ $($inner)* ]),] $($($rest)*)?)
    };
    (@members [$($done:tt)*] $key:literal: $value:expr $(, $($rest:tt)*)?) => {
        $crate::alert::json::json!(@members [$($done)* $key => $crate::alert::json::Value::from($value),] $($($rest)*)?)
    };
}
pub(super) use json;

/// A number that fits the type `long` of Elasticsearch, which refuses a whole document for one that does not. Sizes and
/// lengths can be anything that a caller claims.
pub(super) fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An id as ECS wants it: a number in the form of a string.
pub(super) fn digits<'a>(number: impl Into<u64>) -> Value<'a> {
    Value::Digits(number.into())
}

/// Puts the members of `added` into `into`, level by level; what both have, `added` replaces. An empty value replaces nothing.
pub(super) fn merge<'a>(into: &mut Value<'a>, added: Value<'a>) {
    match (into, added) {
        (Value::Object(into), Value::Object(added)) => into.merge(added),
        (_, added) if added.is_empty() => {}
        (into, added) => *into = added,
    }
}

impl<'a> Value<'a> {
    /// The member at the end of a path of names with dots between.
    pub(super) fn field(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, key| match value {
            Value::Object(members) => members.get(key),
            _ => None,
        })
    }

    /// [`Self::field`], to be changed.
    pub(super) fn field_mut(&mut self, path: &str) -> Option<&mut Self> {
        path.split('.').try_fold(self, |value, key| match value {
            Value::Object(members) => members.get_mut(key),
            _ => None,
        })
    }

    pub(super) fn as_text(&self) -> Option<&Cow<'a, str>> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) const fn as_array_mut(&mut self) -> Option<&mut Vec<Self>> {
        match self {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The same, of borrowed text a copy.
    pub(super) fn into_owned<'b>(self) -> Value<'b> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(flag) => Value::Bool(flag),
            Value::Number(number) => Value::Number(number),
            Value::Digits(number) => Value::Digits(number),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Array(elements) => Value::Array(elements.into_iter().map(Value::into_owned).collect()),
            Value::Object(members) => Value::Object(members.into_owned()),
            Value::Fixed(fixed) => fixed.value().clone(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            Value::Array(elements) => elements.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Fixed(fixed) => fixed.value().is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Digits(_) => false,
        }
    }
}
