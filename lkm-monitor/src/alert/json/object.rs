//! Objects.

use super::{Value, merge};

/// Members in the order in which they were put, none of them empty.
///
/// There are few: looking at each is faster than an order would be, since keys of other lengths are told apart at once.
#[derive(Clone, Debug, Default)]
pub(in crate::alert) struct Object<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> Object<'a> {
    /// The members of a literal.
    pub(in crate::alert) fn literal<const N: usize>(members: [(&'static str, Value<'a>); N]) -> Self {
        let mut members = Vec::from(members);
        members.retain(|(_, value)| !value.is_empty());
        Self(members)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.iter().find_map(|(there, value)| (there == key).then_some(value))
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Value<'a>> {
        self.iter_mut().find_map(|(there, value)| (there == key).then_some(value))
    }

    pub(in crate::alert) fn remove(&mut self, key: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|(there, _)| *there == key)?;
        Some(self.0.remove(at).1)
    }

    pub(in crate::alert) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value<'a>)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    pub(in crate::alert) fn iter_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Value<'a>)> {
        self.0.iter_mut().map(|(key, value)| (*key, value))
    }

    pub(super) fn merge(&mut self, added: Self) {
        if self.is_empty() {
            *self = added;
            return;
        }
        for (key, value) in added.0 {
            self.put(key, value, merge);
        }
    }

    fn put(&mut self, key: &'static str, value: Value<'a>, meet: impl FnOnce(&mut Value<'a>, Value<'a>)) {
        match self.get_mut(key) {
            Some(there) => meet(there, value),
            None => self.0.push((key, value)),
        }
    }

    pub(super) fn into_owned<'b>(self) -> Object<'b> {
        Object(self.0.into_iter().map(|(key, value)| (key, value.into_owned())).collect())
    }
}

/// The same members, in whatever order.
impl PartialEq for Object<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

/// Of members with the same key the last one stays.
impl<'a> FromIterator<(&'static str, Value<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (&'static str, Value<'a>)>>(members: I) -> Self {
        let mut object = Self::default();
        for (key, value) in members.into_iter().filter(|(_, value)| !value.is_empty()) {
            object.put(key, value, |there, value| *there = value);
        }
        object
    }
}
