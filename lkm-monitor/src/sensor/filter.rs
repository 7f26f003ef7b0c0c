//! Tells the probes which names are of interest. The maps can be filled anew while the probes run.

use std::{borrow::BorrowMut, collections::BTreeMap};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapData, MapError},
};
use lkm_monitor_common::{
    limits::{WATCHED_ENDINGS, WATCHED_NAMES},
    watch::{self, Ending, Name, WATCH_SECTION, Watch, name_bits},
};

use super::attach::Incomplete;
use crate::model::NameFilter;

/// Why names cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("`{0}` is too long to be watched: the probes compare names of up to 31 bytes, and endings of up to 8")]
    TooLong(String),
    #[error("{0} endings are too many: the probes compare {WATCHED_ENDINGS}")]
    TooManyEndings(usize),
    #[error("{0} names are too many: the probes compare {WATCHED_NAMES}")]
    TooManyNames(usize),
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    #[error("the probes' list of names cannot be written: {0}")]
    Map(#[from] MapError),
}

/// [`Watch`], as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct WatchValue(Watch);

// SAFETY: plain numbers in a C layout, without padding.
unsafe impl Pod for WatchValue {}

/// What the maps are to hold.
#[derive(Debug, PartialEq, Eq)]
struct Tables {
    watch: Watch,
    names: BTreeMap<Name, u32>,
}

/// Whether the probes can compare all of it.
pub fn check(filter: &NameFilter) -> Result<(), FilterError> {
    tables(filter).map(drop)
}

/// Makes the probes report the names of `filter`, and no longer those of an earlier one.
pub fn install(ebpf: &mut Ebpf, filter: &NameFilter) -> Result<(), FilterError> {
    let tables = tables(filter)?;
    let names = ebpf.map_mut("WATCHED_NAMES").ok_or(Incomplete("WATCHED_NAMES"))?;
    let mut names: HashMap<_, Name, u32> = HashMap::try_from(names)?;
    replace(&mut names, &tables.names)?;
    let watch = ebpf.map_mut(WATCH_SECTION).ok_or(Incomplete(WATCH_SECTION))?;
    let mut watch: Array<_, WatchValue> = Array::try_from(watch)?;
    watch.set(0, &WatchValue(tables.watch), 0)?;
    Ok(())
}

fn replace<T: BorrowMut<MapData>>(
    map: &mut HashMap<T, Name, u32>,
    names: &BTreeMap<Name, u32>,
) -> Result<(), MapError> {
    let old: Vec<Name> = map.keys().collect::<Result<_, _>>()?;
    for name in old.iter().filter(|name| !names.contains_key(*name)) {
        map.remove(name)?;
    }
    names.iter().try_for_each(|(name, bits)| map.insert(name, bits, 0))
}

fn tables(filter: &NameFilter) -> Result<Tables, FilterError> {
    let too_long = |name: &[u8]| FilterError::TooLong(String::from_utf8_lossy(name).into_owned());
    let mut watch = Watch::NOTHING;
    if filter.endings.len() > WATCHED_ENDINGS {
        return Err(FilterError::TooManyEndings(filter.endings.len()));
    }
    for (place, ending) in watch.endings.iter_mut().zip(&filter.endings) {
        *place = Ending::new(ending).ok_or_else(|| too_long(ending))?;
        watch.last_bytes[usize::from(ending.last().copied().unwrap_or(0) & 63)] = 1;
    }
    let mut names = BTreeMap::new();
    for (list, bit) in [(&filter.files, name_bits::FILE), (&filter.folders, name_bits::FOLDER)] {
        for name in list {
            let key = watch::name(name).filter(|_| !name.is_empty()).ok_or_else(|| too_long(name))?;
            *names.entry(key).or_insert(0) |= bit;
            watch.name_lengths[(name.len() - 1) & 63] = 1;
            if bit == name_bits::FOLDER {
                watch.folder_lengths[name.len() & 63] = 1;
            }
        }
    }
    // One that is too long is found by none of its mounts; no other change is looked up by these.
    for key in filter.parents.iter().filter_map(|name| watch::name(name)) {
        *names.entry(key).or_insert(0) |= name_bits::PARENT;
    }
    if names.len() > WATCHED_NAMES as usize {
        return Err(FilterError::TooManyNames(names.len()));
    }
    Ok(Tables { watch, names })
}

#[cfg(test)]
mod tests {
    use lkm_monitor_common::watch::Hints;

    use super::*;

    fn filter(endings: &[&str], files: &[&str], folders: &[&str]) -> NameFilter {
        let set = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
        NameFilter { endings: set(endings), files: set(files), folders: set(folders), ..NameFilter::default() }
    }

    #[test]
    fn lengths_and_last_bytes_tell_quickly() {
        let tables = tables(&filter(&[".ko", ".ko.xz"], &["modules"], &["modprobe.d", "modules"])).unwrap();
        let set = |hints: &Hints| (0..64).filter(|&at| hints[at] == 1).collect::<Vec<_>>();
        assert_eq!(set(&tables.watch.name_lengths), [6, 9]);
        assert_eq!(set(&tables.watch.folder_lengths), [7, 10]);
        assert_eq!(set(&tables.watch.last_bytes), [b'o' & 63, b'z' & 63].map(usize::from));
        assert_eq!(tables.names[&watch::name(b"modules").unwrap()], name_bits::FILE | name_bits::FOLDER);
        assert_eq!(tables.names.len(), 2);
    }

    #[test]
    fn an_ending_is_compared_as_the_probes_read_it() {
        let tables = tables(&filter(&[".ko"], &[], &[])).unwrap();
        let ending = tables.watch.endings[0];
        for (name, ends) in [("dummy.ko", true), ("dumm.kop", false), ("nls-x.ko", true), ("foo.ko.x", false)] {
            let last = u64::from_le_bytes(name.as_bytes().try_into().unwrap());
            assert_eq!(last & ending.mask == ending.value, ends, "{name}");
        }
        assert_eq!((ending.len, tables.watch.endings[1].mask), (3, 0));
    }

    #[test]
    fn what_the_probes_cannot_compare_is_refused() {
        for bad in [
            filter(&[".ko.zstd1"], &[], &[]),
            filter(&[""], &[], &[]),
            filter(&[], &["a-name-of-more-than-thirty-one-bytes"], &[]),
            filter(&["1", "2", "3", "4", "5", "6", "7", "8", "9"], &[], &[]),
        ] {
            assert!(tables(&bad).is_err(), "{bad:?}");
        }
    }
}
