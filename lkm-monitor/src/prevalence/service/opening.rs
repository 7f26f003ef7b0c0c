//! How a store is opened, and what becomes of one that is damaged.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use super::Settings;
use crate::{
    database,
    prevalence::{
        groups::KeyNames,
        store::{Store, StoreError},
    },
};

/// Opens the store. What is damaged is put aside: a host that cannot count must not be one that tells nothing.
pub(super) fn open(settings: &Settings) -> Result<Store, StoreError> {
    let attempt = || -> Result<(Store, Option<KeyNames>), StoreError> {
        let mut store = Store::open(&settings.path, settings.limits)?;
        let before = store.name_keys(&settings.keys)?;
        Ok((store, before))
    };
    // redb panics on some damaged files.
    let opened = match panic::catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Err(error)) if error.is_damage() => put_aside(&settings.path, &error.to_string()).and_then(|()| attempt()),
        Ok(opened) => opened,
        Err(_) => put_aside(&settings.path, "it cannot be read").and_then(|()| attempt()),
    };
    let (store, before) = opened?;
    if let Some(before) = before {
        tracing::warn!(?before, now = ?settings.keys, "groups are made of something else than before: they are counted anew");
    }
    Ok(store)
}

pub(super) fn put_aside(path: &Path, damage: &str) -> Result<(), StoreError> {
    let aside = database::put_aside(path)?;
    tracing::error!(damage, put_aside = %aside.display(), "the prevalence store is damaged: counting begins anew");
    Ok(())
}
