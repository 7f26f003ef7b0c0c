//! /proc/vmallocinfo: which areas of memory the kernel has mapped page by page, those of modules among them (`s_show` and
//! `vmalloc_info_show` in mm/vmalloc.c). Newer kernels put several modules into one area.
//!
//! Addresses are printed by `%pK` (`restricted_pointer` in lib/vsprintf.c): as they are, as zero, or hashed with a key of the kernel's
//! (`__ptr_to_hashval`), which who reads kernel memory can do as well.

#![expect(deprecated, reason = "the kernel's SipHash-2-4 under a key of its own is what this deprecated one still is")]

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hasher as _, SipHasher},
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

use super::ground::Known;
use crate::{inspect::regular, model::Extent};

/// A hundred thousand areas.
const MAX_BYTES: u64 = 8 << 20;
/// The file is made piece by piece, and an area that goes meanwhile takes another one's line with it: what is missing is looked for again.
const READINGS: usize = 5;
/// A module's code is no further than that behind the begin of its area.
const MOST_BEHIND: u64 = 64 << 20;
const PAGE: u64 = 4096;

/// With which addresses are hashed.
pub(super) type Key = [u64; 2];

/// Which of `texts`, by any number, lie in an area, and why there may be more. An error is a clause: there is no such view.
pub(super) fn holding(
    root: &Path,
    key: Option<Key>,
    texts: &BTreeMap<u64, Extent>,
) -> Known<(BTreeSet<u64>, Option<String>)> {
    let mut found = BTreeSet::new();
    let mut broken = None;
    for _ in 0..READINGS {
        let areas = read(root, key)?;
        found.extend(texts.iter().filter(|(_, text)| areas.hold(**text)).map(|(number, _)| *number));
        broken = broken.or(areas.broken);
        if found.len() == texts.len() {
            break;
        }
    }
    Ok((found, broken))
}

fn read(root: &Path, key: Option<Key>) -> Known<Areas> {
    let cannot = |error: io::Error| format!("it cannot be read: {error}");
    let (file, _) = regular::open(&root.join("proc/vmallocinfo")).map_err(cannot)?;
    let mut reader = BufReader::with_capacity(64 << 10, file.take(MAX_BYTES));
    let mut areas = Areas { key, ..Areas::default() };
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(cannot)? > 0 {
        match parse(&line) {
            Some(Line::Area(Extent { address: 0, .. })) => {
                return Err(
                    "it tells no addresses: that takes kernel.kptr_restrict below 2, and with 1 CAP_SYSLOG".to_owned()
                );
            }
            Some(Line::Area(area)) if is_hashed(area.address) && key.is_none() => {
                return Err("it tells addresses hashed, and the kernel's key is not known".to_owned());
            }
            Some(Line::Area(area)) => areas.add(area),
            Some(Line::Freed) => {}
            None => areas.broken = Some("one of its lines is none of the kernel's".to_owned()),
        }
        line.clear();
    }
    if reader.get_ref().limit() == 0 {
        areas.broken = Some("it is longer than what is read of it".to_owned());
    }
    Ok(areas)
}

/// What one reading shows.
#[derive(Debug, Default)]
struct Areas {
    key: Option<Key>,
    /// Bytes by begin, which is an address or what it is hashed to.
    plain: BTreeMap<u64, u64>,
    hashed: BTreeMap<u64, u64>,
    broken: Option<String>,
}

impl Areas {
    fn add(&mut self, area: Extent) {
        let areas = if is_hashed(area.address) { &mut self.hashed } else { &mut self.plain };
        let bytes = areas.entry(area.address).or_default();
        *bytes = area.bytes.max(*bytes);
    }

    /// Whether all of `text` is in one area.
    fn hold(&self, text: Extent) -> bool {
        let below = self.plain.range(..=text.address).next_back();
        below.is_some_and(|(begin, bytes)| fits(text, text.address - begin, *bytes)) || self.hold_hashed(text)
    }

    /// A hash does not tell what is below: each page is tried as the begin.
    fn hold_hashed(&self, text: Extent) -> bool {
        let (Some(key), Some(most)) = (self.key, self.hashed.values().max()) else { return false };
        let mut begins = (0..(*most).min(MOST_BEHIND)).step_by(PAGE as usize);
        begins.any(|behind| {
            let begin = text.address.checked_sub(behind);
            let bytes = begin.and_then(|begin| self.hashed.get(&hash(begin, key)));
            bytes.is_some_and(|bytes| fits(text, behind, *bytes))
        })
    }
}

/// Whether `text` has room so far behind the begin of an area of so many bytes.
const fn fits(text: Extent, behind: u64, bytes: u64) -> bool {
    behind < bytes && text.bytes <= bytes - behind
}

/// Hashes have 32 bits; addresses of the kernel's are beyond.
const fn is_hashed(address: u64) -> bool {
    address <= u32::MAX as u64
}

/// What the kernel makes of an address (`siphash_1u64`, of which it keeps the lower half).
fn hash(address: u64, [one, other]: Key) -> u64 {
    let mut hasher = SipHasher::new_with_keys(one, other);
    hasher.write(&address.to_le_bytes());
    hasher.finish() & u64::from(u32::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Area(Extent),
    /// It was given back, and its place waits to be.
    Freed,
}

/// `0xffffffffc0000000-0xffffffffc0005000   20480 load_module+0x7a0/0x2300 pages=4 vmalloc`.
fn parse(line: &[u8]) -> Option<Line> {
    let line = str::from_utf8(line.trim_ascii_end()).ok()?;
    let (range, rest) = line.split_once(' ')?;
    let (begin, end) = range.split_once('-')?;
    let address = |digits: &str| u64::from_str_radix(digits.strip_prefix("0x")?, 16).ok();
    let (begin, _) = (address(begin)?, address(end)?);
    let rest = rest.trim_start();
    let (bytes, what) = rest.split_once(' ').unwrap_or((rest, ""));
    let bytes = bytes.parse().ok()?;
    Some(if what == "unpurged vm_area" { Line::Freed } else { Line::Area(Extent { address: begin, bytes }) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// Of the paper on SipHash, which the kernel's own tests use.
    const KEY: Key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    const TEXT: Extent = Extent { address: 0xffff_ffff_c000_2000, bytes: 0x2000 };

    fn held(lines: &str, key: Option<Key>) -> Known<(BTreeSet<u64>, Option<String>)> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/vmallocinfo"), lines).unwrap();
        holding(root.path(), key, &BTreeMap::from([(7, TEXT)]))
    }

    #[test]
    fn a_module_is_in_the_area_that_has_all_of_its_text() {
        let other = "0xffffc90000000000-0xffffc90000002000    8192 hpet_enable+0x30/0x250 phys=0xfed00000 ioremap\n";
        let of = |line: &str| held(&format!("{other}{line}\n"), None).unwrap();
        let held = (BTreeSet::from([7]), None);
        let missing = (BTreeSet::new(), None);
        assert_eq!(of("0xffffffffc0002000-0xffffffffc0005000   12288 load_module+0x7a0/0x2300 pages=2 vmalloc"), held);
        assert_eq!(
            of("0xffffffffc0000000-0xffffffffc0200000 2101248 execmem_vmalloc+0x5/0x10 pages=512 vmalloc"),
            held
        );
        assert_eq!(of("0xffffffffc0002000-0xffffffffc0003000    4096 load_module+0x7a0/0x2300"), missing, "too small");
        assert_eq!(of("0xffffffffc0003000-0xffffffffc0013000   65536 load_module+0x7a0/0x2300"), missing, "behind");
        assert_eq!(of("0xffffffffc0002000-0xffffffffc0005000   12288 unpurged vm_area"), missing, "given back");
        let (_, broken) = of("something else");
        assert!(broken.unwrap().contains("none of the kernel's"));
    }

    #[test]
    fn addresses_are_hashed_as_the_kernel_does_it() {
        assert_eq!(hash(0x0706_0504_0302_0100, KEY), 0x9a93_2462);
        let line =
            |begin: u64, bytes: u64| format!("0x{:016x}-0x00000000deadbeef {bytes:7} f+0x1/0x2\n", hash(begin, KEY));
        let held = |line: &str| held(line, Some(KEY)).unwrap().0.contains(&7);
        assert!(held(&line(TEXT.address, TEXT.bytes)));
        assert!(held(&line(TEXT.address - 0x2000, TEXT.bytes + 0x2000)));
        assert!(!held(&line(TEXT.address - 0x2000, TEXT.bytes + 0x1000)), "it ends within");
        assert!(!held(&line(TEXT.address + 0x1000, TEXT.bytes)));
    }

    #[test]
    fn what_tells_no_addresses_is_no_view() {
        let zero = "0x0000000000000000-0x0000000000000000    8192 f+0x1/0x2\n";
        assert!(held(zero, Some(KEY)).unwrap_err().contains("CAP_SYSLOG"));
        let hashed = "0x000000008d624cfe-0x000000006bb63f20    8192 f+0x1/0x2\n";
        assert!(held(hashed, None).unwrap_err().contains("hashed"));
        assert!(holding(Path::new("/nowhere"), None, &BTreeMap::new()).unwrap_err().contains("No such file"));
    }

    proptest! {
        #[test]
        fn a_line_is_an_area_or_none(line in any::<Vec<u8>>()) {
            let _ = parse(&line);
        }

        #[test]
        fn areas_are_read_as_they_are_told(address in any::<u64>(), bytes in any::<u64>(), caller in "( [!-~]{1,20})?") {
            let end = address.wrapping_add(bytes);
            let line = format!("0x{address:016x}-0x{end:016x} {bytes:7}{caller}\n");
            prop_assert_eq!(parse(line.as_bytes()), Some(Line::Area(Extent { address, bytes })));
        }

        /// Whatever the sizes say, it ends and does not overflow.
        #[test]
        fn any_areas_are_compared(areas in prop::collection::vec(any::<(u64, u64)>(), 0..9), text in any::<(u64, u64)>()) {
            let mut shown = Areas { key: Some(KEY), ..Areas::default() };
            areas.iter().for_each(|(address, bytes)| shown.add(Extent { address: *address, bytes: *bytes }));
            shown.hold(Extent { address: text.0, bytes: text.1 });
        }
    }
}
