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
    /// But for the endings, which have their places.
    watch: Watch,
    endings: Vec<Ending>,
    names: BTreeMap<Name, u32>,
}

/// Whether the probes can compare all of it.
pub fn check(filter: &NameFilter) -> Result<(), FilterError> {
    tables(filter).map(drop)
}

/// Makes the probes report the names of `filter`, and no longer those of an earlier one. What is in both is reported all the while.
/// Gives the maps that held something else.
pub fn install(ebpf: &mut Ebpf, filter: &NameFilter) -> Result<Vec<&'static str>, FilterError> {
    let Tables { watch, endings, names: wanted } = tables(filter)?;
    let names = ebpf.map_mut("WATCHED_NAMES").ok_or(Incomplete("WATCHED_NAMES"))?;
    let mut names: HashMap<_, Name, u32> = HashMap::try_from(names)?;
    let old: BTreeMap<Name, u32> = names.iter().collect::<Result<_, _>>()?;
    let mut held_others = Vec::new();
    if old != wanted {
        held_others.push("WATCHED_NAMES");
    }
    let gone: Vec<_> = old.into_keys().filter(|name| !wanted.contains_key(name)).collect();
    // What is new comes before what is old goes, unless there is no room for both.
    let crowded = gone.len() + wanted.len() > WATCHED_NAMES as usize;
    if crowded {
        remove(&mut names, &gone)?;
    }
    wanted.iter().try_for_each(|(name, bits)| names.insert(name, bits, 0))?;
    if write_watch(ebpf, watch, &endings)? {
        held_others.push(WATCH_SECTION);
    }
    if !crowded {
        let names = ebpf.map_mut("WATCHED_NAMES").ok_or(Incomplete("WATCHED_NAMES"))?;
        remove(&mut HashMap::try_from(names)?, &gone)?;
    }
    Ok(held_others)
}

fn remove<T: BorrowMut<MapData>>(names: &mut HashMap<T, Name, u32>, gone: &[Name]) -> Result<(), MapError> {
    gone.iter().try_for_each(|name| names.remove(name))
}

/// The kernel copies it while the probes read it, byte by byte: so what stays must stay where it is. Whether it was another one.
fn write_watch(ebpf: &mut Ebpf, mut watch: Watch, endings: &[Ending]) -> Result<bool, FilterError> {
    let map = ebpf.map_mut(WATCH_SECTION).ok_or(Incomplete(WATCH_SECTION))?;
    let mut map: Array<_, WatchValue> = Array::try_from(map)?;
    let old = map.get(&0, 0)?.0;
    watch.endings = placed(endings, old.endings);
    map.set(0, &WatchValue(watch), 0)?;
    Ok(old != watch)
}

/// Endings in their places: those that were there before keep theirs.
fn placed(endings: &[Ending], mut places: [Ending; WATCHED_ENDINGS]) -> [Ending; WATCHED_ENDINGS] {
    let new: Vec<_> = endings.iter().filter(|ending| !places.contains(ending)).copied().collect();
    let mut new = new.into_iter();
    for place in places.iter_mut().filter(|place| !endings.contains(place)) {
        *place = new.next().unwrap_or_default();
    }
    places
}

fn tables(filter: &NameFilter) -> Result<Tables, FilterError> {
    let too_long = |name: &[u8]| FilterError::TooLong(String::from_utf8_lossy(name).into_owned());
    let mut watch = Watch::NOTHING;
    if filter.endings.len() > WATCHED_ENDINGS {
        return Err(FilterError::TooManyEndings(filter.endings.len()));
    }
    let mut endings = Vec::new();
    for ending in &filter.endings {
        endings.push(Ending::new(ending).ok_or_else(|| too_long(ending))?);
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
    Ok(Tables { watch, endings, names })
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
        let ending = tables.endings[0];
        for (name, ends) in [("dummy.ko", true), ("dumm.kop", false), ("nls-x.ko", true), ("foo.ko.x", false)] {
            let last = u64::from_le_bytes(name.as_bytes().try_into().unwrap());
            assert_eq!(last & ending.mask == ending.value, ends, "{name}");
        }
        assert_eq!((ending.len, tables.endings.len()), (3, 1));
    }

    #[test]
    fn endings_that_stay_stay_where_they_are() {
        let ending = |text: &str| Ending::new(text.as_bytes()).unwrap();
        let none = Ending::default();
        let before = placed(&[ending(".a"), ending(".b"), ending(".c")], [none; WATCHED_ENDINGS]);
        assert_eq!(before[..4], [ending(".a"), ending(".b"), ending(".c"), none]);
        let after = placed(&[ending(".c"), ending(".x"), ending(".y")], before);
        assert_eq!(after[..4], [ending(".x"), ending(".y"), ending(".c"), none]);
        let all = ["1", "2", "3", "4", "5", "6", "7", ".c"].map(ending);
        let full = placed(&all, after);
        assert!(full[2] == ending(".c") && all.iter().all(|ending| full.contains(ending)), "{full:?}");
        assert_eq!(placed(&[], full), [none; WATCHED_ENDINGS]);
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
