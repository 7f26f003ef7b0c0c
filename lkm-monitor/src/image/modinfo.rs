//! `.modinfo`: strings of C, `key=value`, one behind the other (`get_modinfo` in kernel/module/main.c, `modinfo(8)`).

use super::sections::cut;
use crate::model::{Bytes, ModInfo, ModInfoPair, ModuleParameter};

const MAX_VALUE_BYTES: usize = 1024;
const MAX_KEY_BYTES: usize = 64;
/// Of each list. Drivers have hundreds of aliases; the first tell what it drives.
const MAX_ENTRIES: usize = 64;
const MAX_PARAMETERS: usize = 128;

/// A key, and where its values go.
type Key<T> = (&'static str, fn(&mut ModInfo) -> &mut T);

/// The keys that are there once.
const SINGLE_KEYS: &[Key<Option<Bytes>>] = &[
    ("name", |info| &mut info.name),
    ("version", |info| &mut info.version),
    ("srcversion", |info| &mut info.srcversion),
    ("license", |info| &mut info.license),
    ("vermagic", |info| &mut info.vermagic),
    ("depends", |info| &mut info.depends),
    ("intree", |info| &mut info.intree),
    ("retpoline", |info| &mut info.retpoline),
    ("staging", |info| &mut info.staging),
    ("livepatch", |info| &mut info.livepatch),
];

/// The keys that may be there often.
const LIST_KEYS: &[Key<Vec<Bytes>>] = &[
    ("author", |info| &mut info.authors),
    ("description", |info| &mut info.descriptions),
    ("alias", |info| &mut info.aliases),
    ("softdep", |info| &mut info.softdeps),
    ("firmware", |info| &mut info.firmware),
    ("import_ns", |info| &mut info.import_namespaces),
];

/// Reads the section. Work is linear in its length; what is kept is bounded by the number and the length of entries.
pub fn parse(section: &[u8]) -> ModInfo {
    let mut info = ModInfo::default();
    // The first values whole: two that differ only behind the cut are two.
    let mut firsts: [Option<&[u8]>; SINGLE_KEYS.len()] = [None; SINGLE_KEYS.len()];
    for entry in section.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        info.entry_count += 1;
        let (key, value) = split(entry);
        let single = SINGLE_KEYS.iter().zip(&mut firsts).find(|((name, _), _)| name.as_bytes() == key);
        if let (Some(((name, member), first)), Some(value)) = (single, value) {
            match first {
                None => {
                    *first = Some(value);
                    *member(&mut info) = Some(cut(value, MAX_VALUE_BYTES));
                }
                Some(first) if *first != value && !info.repeated.contains(name) => info.repeated.push(name),
                Some(_) => {}
            }
        } else if !keep(&mut info, key, value) {
            info.left_out_count += 1;
        }
    }
    info
}

/// Whether there was room for an entry that is one of many.
fn keep(info: &mut ModInfo, key: &[u8], value: Option<&[u8]>) -> bool {
    let Some(value) = value else { return keep_other(info, key, &[]) };
    match key {
        b"parm" => keep_parameter(info, value, |parameter| &mut parameter.description),
        b"parmtype" => keep_parameter(info, value, |parameter| &mut parameter.kind),
        _ => match LIST_KEYS.iter().find(|(name, _)| name.as_bytes() == key) {
            Some((_, list)) => push(list(info), cut(value, MAX_VALUE_BYTES), MAX_ENTRIES),
            None => keep_other(info, key, value),
        },
    }
}

fn keep_other(info: &mut ModInfo, key: &[u8], value: &[u8]) -> bool {
    let pair = ModInfoPair { key: cut(key, MAX_KEY_BYTES), value: cut(value, MAX_VALUE_BYTES) };
    push(&mut info.others, pair, MAX_ENTRIES)
}

/// `name:text`, of which the first for each name counts.
fn keep_parameter(info: &mut ModInfo, value: &[u8], member: fn(&mut ModuleParameter) -> &mut Option<Bytes>) -> bool {
    let mut halves = value.splitn(2, |byte| *byte == b':');
    let name = cut(halves.next().unwrap_or_default(), MAX_KEY_BYTES);
    let text = cut(halves.next().unwrap_or_default(), MAX_VALUE_BYTES);
    if let Some(known) = info.parameters.iter_mut().find(|parameter| parameter.name == name) {
        let member = member(known);
        let has_room = member.is_none();
        member.get_or_insert(text);
        return has_room;
    }
    let mut parameter = ModuleParameter { name, ..ModuleParameter::default() };
    *member(&mut parameter) = Some(text);
    push(&mut info.parameters, parameter, MAX_PARAMETERS)
}

fn push<T>(list: &mut Vec<T>, entry: T, max_entries: usize) -> bool {
    let has_room = list.len() < max_entries;
    if has_room {
        list.push(entry);
    }
    has_room
}

fn split(entry: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut halves = entry.splitn(2, |byte| *byte == b'=');
    (halves.next().unwrap_or_default(), halves.next())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Option<Bytes> {
        Some(Bytes::whole(text))
    }

    #[test]
    fn every_key_has_its_place() {
        let info = parse(
            b"version=1.0\0license=GPL v2\0author=A <a@b>\0author=C\0description=Does\0alias=pci:v1\0alias=x\0\0\0\
              srcversion=AB\0depends=\0softdep=pre: crc\0firmware=f.bin\0import_ns=DMA_BUF\0intree=Y\0name=dummy\0\
              retpoline=Y\0staging=Y\0livepatch=Y\0vermagic=6.1 SMP = x \0parm=count:How many: all\0parmtype=count:int\0\
              parmtype=mode:charp\0supported=yes\0bare",
        );
        let parameter = |name: &str, description, kind| ModuleParameter { name: Bytes::whole(name), description, kind };
        let pair = |key: &str, value: &str| ModInfoPair { key: Bytes::whole(key), value: Bytes::whole(value) };
        let expected = ModInfo {
            name: whole("dummy"),
            version: whole("1.0"),
            srcversion: whole("AB"),
            license: whole("GPL v2"),
            vermagic: whole("6.1 SMP = x "),
            depends: whole(""),
            intree: whole("Y"),
            retpoline: whole("Y"),
            staging: whole("Y"),
            livepatch: whole("Y"),
            authors: vec![Bytes::whole("A <a@b>"), Bytes::whole("C")],
            descriptions: vec![Bytes::whole("Does")],
            aliases: vec![Bytes::whole("pci:v1"), Bytes::whole("x")],
            softdeps: vec![Bytes::whole("pre: crc")],
            firmware: vec![Bytes::whole("f.bin")],
            import_namespaces: vec![Bytes::whole("DMA_BUF")],
            parameters: vec![
                parameter("count", whole("How many: all"), whole("int")),
                parameter("mode", None, whole("charp")),
            ],
            others: vec![pair("supported", "yes"), pair("bare", "")],
            repeated: vec![],
            entry_count: 23,
            left_out_count: 0,
        };
        assert_eq!(info, expected);
    }

    #[test]
    fn the_first_value_counts_and_others_are_told() {
        let info = parse(b"license=GPL\0name=a\0license=GPL\0name=b\0name=c\0license\0");
        assert_eq!((info.license, info.name), (whole("GPL"), whole("a")));
        assert_eq!(info.repeated, ["name"]);
        assert_eq!(info.others.len(), 1, "a key without a value is none that the kernel finds");
        let start = "v".repeat(MAX_VALUE_BYTES);
        let info = parse(format!("version={start}1\0version={start}2").as_bytes());
        assert_eq!(info.repeated, ["version"]);
        assert_eq!(info.version, Some(Bytes { bytes: start.into(), truncated: true }));
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let parameters = (0..MAX_PARAMETERS + 1).map(|at| format!("parm=p{at}:x\0parmtype=p{at}:int\0"));
        let others = (0..MAX_ENTRIES + 3).map(|at| format!("k{at}=v\0"));
        let aliases = (0..MAX_ENTRIES + 5).map(|_| "alias=a\0".to_owned());
        let section: String =
            parameters.chain(others).chain(aliases).chain(["license=GPL\0parm=p0:y".into()]).collect();
        let info = parse(section.as_bytes());
        assert_eq!(info.left_out_count, 2 + 3 + 5 + 1);
        assert_eq!((info.parameters.len(), info.others.len()), (MAX_PARAMETERS, MAX_ENTRIES));
        assert_eq!(info.aliases.len(), MAX_ENTRIES);
        assert_eq!(info.license, whole("GPL"), "behind all of them");
        assert_eq!(info.parameters[0].description, whole("x"));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic_and_none_is_kept_twice(section in "(parm=|license=|alias=|[a-z=:\0]|\\PC){0,400}") {
            let info = parse(section.as_bytes());
            let entries = section.split('\0').filter(|entry| !entry.is_empty()).count();
            prop_assert_eq!(info.entry_count, entries as u64);
            prop_assert!(info.left_out_count <= info.entry_count);
            let parameters: std::collections::HashSet<_> = info.parameters.iter().map(|known| &known.name.bytes).collect();
            prop_assert_eq!(parameters.len(), info.parameters.len());
        }

        #[test]
        fn what_is_kept_is_bounded(section in prop::collection::vec(prop::sample::select(b"parm=:\0x".to_vec()), 0..3000)) {
            let info = parse(&section);
            prop_assert!(info.parameters.len() <= MAX_PARAMETERS && info.others.len() <= MAX_ENTRIES);
            prop_assert!(info.others.iter().all(|pair| pair.key.bytes.len() <= MAX_KEY_BYTES));
        }

        #[test]
        fn what_is_written_is_read(values in prop::collection::vec("[^\0]{0,40}", 1..MAX_ENTRIES)) {
            let section: String = values.iter().map(|value| format!("alias={value}\0")).collect();
            let aliases: Vec<_> = values.into_iter().map(Bytes::whole).collect();
            prop_assert_eq!(parse(section.as_bytes()).aliases, aliases);
        }
    }
}
