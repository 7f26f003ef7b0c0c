//! Values that stay the same from document to document.

use super::Value;

/// A value that was written once.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::alert) struct Fixed {
    value: Value<'static>,
    json: Vec<u8>,
}

impl Fixed {
    pub(in crate::alert) fn new(value: &Value<'_>) -> Self {
        let mut json = Vec::new();
        value.write(&mut json);
        Self { value: value.clone().into_owned(), json }
    }

    pub(in crate::alert) const fn value(&self) -> &Value<'static> {
        &self.value
    }

    pub(super) fn json(&self) -> &[u8] {
        &self.json
    }
}
