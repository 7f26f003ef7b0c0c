//! Hash maps that the daemon alone writes, to tell the probes something.

use std::collections::BTreeMap;

use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapError},
};

use super::attach::Incomplete;

/// Why a map is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    #[error("the map {map} cannot be read or written: {source}")]
    Map { map: &'static str, source: MapError },
}

/// Makes the map `name` hold these entries and no others. Whether it held others.
pub(super) fn fill<K: Pod + Ord, V: Pod + PartialEq>(
    ebpf: &mut Ebpf,
    name: &'static str,
    entries: &BTreeMap<K, V>,
) -> Result<bool, TableError> {
    let map = ebpf.map_mut(name).ok_or(Incomplete(name))?;
    let fill = || {
        let mut map: HashMap<_, K, V> = HashMap::try_from(map)?;
        let old: BTreeMap<K, V> = map.iter().collect::<Result<_, _>>()?;
        if old == *entries {
            return Ok(false);
        }
        old.keys().filter(|key| !entries.contains_key(key)).try_for_each(|key| map.remove(key))?;
        entries.iter().try_for_each(|(key, value)| map.insert(key, value, 0))?;
        Ok(true)
    };
    fill().map_err(|source| TableError::Map { map: name, source })
}

/// What the map `name` holds.
pub(super) fn read<K: Pod + Ord, V: Pod>(ebpf: &Ebpf, name: &'static str) -> Result<BTreeMap<K, V>, TableError> {
    let map = ebpf.map(name).ok_or(Incomplete(name))?;
    let read = || HashMap::<_, K, V>::try_from(map)?.iter().collect::<Result<_, _>>();
    read().map_err(|source| TableError::Map { map: name, source })
}
