//! Objects.

use std::mem;

use super::{Value, merge};

/// Members in the order of their keys, none of them empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::alert) struct Object<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> Object<'a> {
    /// The members of a literal, of which `order` has the places in the order of the keys.
    pub(in crate::alert) fn ordered<const N: usize>(
        mut members: [(&'static str, Value<'a>); N],
        order: [usize; N],
    ) -> Self {
        let left = members.iter().filter(|(_, value)| !value.is_empty()).count();
        let mut object = Vec::with_capacity(left);
        for at in order {
            if let Some((key, value)) = members.get_mut(at).filter(|(_, value)| !value.is_empty()) {
                object.push((*key, mem::take(value)));
            }
        }
        Self(object)
    }

    /// The places of `keys` in their order.
    pub(in crate::alert) const fn order<const N: usize>(keys: &[&str; N]) -> [usize; N] {
        let mut order = [0; N];
        let mut sorted = 0;
        while sorted < N {
            let mut at = sorted;
            while at > 0 && is_less(keys[sorted], keys[order[at - 1]]) {
                order[at] = order[at - 1];
                at -= 1;
            }
            order[at] = sorted;
            sorted += 1;
        }
        order
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        let at = self.place(key).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Value<'a>> {
        let at = self.place(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    pub(in crate::alert) fn remove(&mut self, key: &str) -> Option<Value<'a>> {
        self.place(key).ok().map(|at| self.0.remove(at).1)
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
        match self.place(key) {
            Ok(at) => meet(&mut self.0[at].1, value),
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    pub(super) fn into_owned<'b>(self) -> Object<'b> {
        Object(self.0.into_iter().map(|(key, value)| (key, value.into_owned())).collect())
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(key, _)| key)
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

/// `str`'s own order, for the compiler.
const fn is_less(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return left[at] < right[at];
        }
        at += 1;
    }
    left.len() < right.len()
}
