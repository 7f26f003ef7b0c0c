//! The sensor's own maps, programs and links: tells the probes which they are, and looks whether the links are still there.
//!
//! What they are the kernel says of each descriptor, in `/proc/self/fdinfo`.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{Read as _, Seek as _},
};

use aya::{maps::Map, programs::ProgramError};
use lkm_monitor_common::objects;

use super::{
    attach::{Programs, State},
    object_access::Names,
    table::{self, TableError},
};
use crate::model::ObjectKind;

/// Why the probes do not know the sensor's objects.
#[derive(Debug, thiserror::Error)]
pub enum OwnObjectsError {
    #[error("/proc/self/fd: {0}")]
    Descriptors(#[from] std::io::Error),
    #[error("/proc/self/fdinfo/{fd}: {source}")]
    Link { fd: u32, source: std::io::Error },
    #[error("the program that learns of the sensor's objects does not run: {0}")]
    Run(#[from] ProgramError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the probes did not take in {0} of the sensor's objects")]
    Refused(usize),
}

/// The probes' map of the sensor's objects.
const OWN_OBJECTS: &str = "OWN_OBJECTS";

/// What the kernel says of a link that does not change as long as it is attached (`bpf_link_show_fdinfo`).
const OF_LINK: [&str; 7] =
    ["link_type", "link_id", "prog_id", "attach_type", "target_obj_id", "target_btf_id", "tp_name"];

/// A link that was attached.
#[derive(Debug)]
struct Attached {
    /// The name of its program.
    program: &'static str,
    fd: u32,
    /// Opened at the start: nothing that is mounted over /proc later stands for it.
    info: File,
    said: BTreeMap<&'static str, String>,
}

/// The sensor's links, as they were attached.
#[derive(Debug, Default)]
pub struct Links {
    attached: Vec<Attached>,
}

/// Tells the probes what is the sensor's own. Gives the names of its objects.
pub fn announce(programs: &mut Programs) -> Result<Names, OwnObjectsError> {
    let names_of_programs = program_names(programs);
    let maps = programs.ebpf.maps().filter_map(|(name, map)| Some(((ObjectKind::Map, map_id(map)?), name.to_owned())));
    let mut names: Names = maps.collect();
    names.extend(names_of_programs.iter().map(|(id, name)| ((ObjectKind::Program, *id), (*name).to_owned())));
    let mut refused = 0;
    for object in own_descriptors()? {
        let kind = match object.kind {
            ObjectKind::Map => objects::ObjectKind::Map,
            ObjectKind::Program => objects::ObjectKind::Program,
            ObjectKind::Link => objects::ObjectKind::Link,
            ObjectKind::PerfEvent => objects::ObjectKind::PerfEvent,
        };
        let arguments = [u64::from(object.fd), u64::from(kind as u32), u64::from(object.id())];
        refused += usize::from(programs.run("own_object", arguments)? == 0);
        if object.kind == ObjectKind::Link
            && let Some(name) = object.number("prog_id").and_then(|program| names_of_programs.get(&program))
        {
            names.insert((ObjectKind::Link, object.id()), (*name).to_owned());
        }
    }
    programs.own_objects = table::read(&programs.ebpf, OWN_OBJECTS)?;
    if refused > 0 {
        return Err(OwnObjectsError::Refused(refused));
    }
    if programs.is_attached("x64_bpf_exit") {
        programs.run("bpf_returns_seen", [0; 3])?;
    }
    Ok(names)
}

/// Makes the probes know again what was [announced](announce). Whether they knew something else.
pub fn remind(programs: &mut Programs) -> Result<bool, OwnObjectsError> {
    Ok(table::fill(&mut programs.ebpf, OWN_OBJECTS, &programs.own_objects)?)
}

impl Links {
    /// The links as they are now. Probes that hang on a perf event and have no link, those before 5.15, are not among them.
    pub fn find(programs: &Programs) -> Result<Self, OwnObjectsError> {
        Self::among(own_descriptors()?, &program_names(programs))
    }

    fn among(descriptors: Vec<Descriptor>, names: &HashMap<u32, &'static str>) -> Result<Self, OwnObjectsError> {
        let links = descriptors.into_iter().filter(|object| object.kind == ObjectKind::Link);
        let attached = links.filter_map(|Descriptor { fd, info: said, .. }| {
            let program = names.get(&number(&said, "prog_id")?)?;
            let info = File::open(format!("/proc/self/fdinfo/{fd}"));
            let attached = |info| Attached { program, fd, info, said: of_link(&said) };
            Some(info.map(attached).map_err(|source| OwnObjectsError::Link { fd, source }))
        });
        Ok(Self { attached: attached.collect::<Result<_, _>>()? })
    }

    /// Looks no more at links that are known to be lost.
    pub fn forget(&mut self, lost: &[(&'static str, u32)]) {
        self.attached.retain(|link| !lost.contains(&(link.program, link.fd)));
    }

    /// Programs whose link is no longer what it was, each with the link's descriptor, which was closed or holds something else.
    pub fn lost(&self) -> Vec<(&'static str, u32)> {
        self.attached.iter().filter(|link| !link.is_there()).map(|link| (link.program, link.fd)).collect()
    }
}

impl Attached {
    fn is_there(&self) -> bool {
        let mut text = String::new();
        let mut info = &self.info;
        info.rewind().is_ok() && info.read_to_string(&mut text).is_ok() && of_link(&text) == self.said
    }
}

fn of_link(info: &str) -> BTreeMap<&'static str, String> {
    OF_LINK.into_iter().filter_map(|key| Some((key, value(info, key)?.to_owned()))).collect()
}

/// The value behind `key:` in the text of an fdinfo file.
fn value<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    info.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
}

fn number(info: &str, key: &str) -> Option<u32> {
    value(info, key)?.parse().ok()
}

/// A descriptor of this process that is an object of BPF's.
struct Descriptor {
    fd: u32,
    kind: ObjectKind,
    info: String,
}

impl Descriptor {
    fn number(&self, key: &str) -> Option<u32> {
        number(&self.info, key)
    }

    /// The kernel's number of the object; 0 where it has none.
    fn id(&self) -> u32 {
        let key = match self.kind {
            ObjectKind::Map => "map_id",
            ObjectKind::Program => "prog_id",
            ObjectKind::Link => "link_id",
            ObjectKind::PerfEvent => return 0,
        };
        self.number(key).unwrap_or(0)
    }
}

fn own_descriptors() -> Result<Vec<Descriptor>, std::io::Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // The directory's own descriptor is in it, and gone.
        let (Ok(target), Some(fd)) =
            (fs::read_link(entry.path()), entry.file_name().to_str().and_then(|fd| fd.parse().ok()))
        else {
            continue;
        };
        if let Some(kind) = target.to_str().and_then(kind) {
            found.push(Descriptor { fd, kind, info: fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))? });
        }
    }
    Ok(found)
}

/// What kind of object the kernel calls so (`anon_inode_getfd` in kernel/bpf/syscall.c and kernel/events/core.c).
fn kind(target: &str) -> Option<ObjectKind> {
    Some(match target.strip_prefix("anon_inode:")? {
        "bpf-map" => ObjectKind::Map,
        "bpf-prog" => ObjectKind::Program,
        "bpf_link" | "bpf-link" => ObjectKind::Link,
        "[perf_event]" => ObjectKind::PerfEvent,
        _ => return None,
    })
}

/// The number of a map of one of the kinds that the sensor has.
fn map_id(map: &Map) -> Option<u32> {
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::PerCpuArray(data)
    | Map::RingBuf(data)
    | Map::Stack(data)) = map
    else {
        return None;
    };
    Some(data.info().ok()?.id())
}

/// Names of the programs that are loaded, by number.
fn program_names(programs: &Programs) -> HashMap<u32, &'static str> {
    let loaded = programs.probes.iter().filter(|attached| attached.state == State::Attached);
    loaded
        .filter_map(|attached| {
            let program = programs.ebpf.program(attached.probe.program)?;
            Some((program.info().ok()?.id(), attached.probe.program))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "pos:\t0\nflags:\t02000000\nmnt_id:\t15\nlink_type:\ttracing\nlink_id:\t7\nprog_tag:\tab\n\
                        prog_id:\t42\nattach_type:\t24\n";

    #[test]
    fn numbers_are_those_of_the_whole_key() {
        let link = Descriptor { fd: 3, kind: ObjectKind::Link, info: LINK.to_owned() };
        assert_eq!((link.id(), link.number("prog_id"), link.number("id")), (7, Some(42), None));
        assert_eq!(kind("anon_inode:bpf_link"), Some(ObjectKind::Link));
        assert_eq!((kind("anon_inode:[eventpoll]"), kind("/dev/null")), (None, None));
    }

    #[test]
    fn a_link_is_lost_when_its_descriptor_says_something_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), LINK).unwrap();
        let info = File::open(file.path()).unwrap();
        let mut links = Links { attached: vec![Attached { program: "module_load", fd: 9, info, said: of_link(LINK) }] };
        assert_eq!(links.lost(), []);
        for other in ["", "pos:\t0\n", &LINK.replace("42", "43"), &LINK.replace("tracing", "iter")] {
            fs::write(file.path(), other).unwrap();
            assert_eq!(links.lost(), [("module_load", 9)], "{other}");
        }
        links.forget(&[("module_load", 8)]);
        assert_eq!(links.lost(), [("module_load", 9)], "another one is forgotten");
        fs::write(file.path(), LINK.replace("pos:\t0", "pos:\t9")).unwrap();
        assert_eq!(links.lost(), []);
        fs::write(file.path(), "").unwrap();
        links.forget(&[("module_load", 9)]);
        assert_eq!(links.lost(), []);
    }

    /// Who leaves one out looks at the others as if they were all.
    #[test]
    fn a_link_that_cannot_be_looked_at_is_an_error() {
        let link = |fd| Descriptor { fd, kind: ObjectKind::Link, info: LINK.to_owned() };
        let found = |fds: [u32; 2], names| Links::among(fds.map(link).into(), &HashMap::from(names));
        // Standard error is open, and that number is beyond what a process can have.
        assert_eq!(found([2, 2], [(42, "module_load")]).unwrap().attached.len(), 2);
        let error = found([2, u32::MAX], [(42, "module_load")]).unwrap_err();
        assert!(error.to_string().starts_with("/proc/self/fdinfo/4294967295: "), "{error}");
        assert!(found([2, u32::MAX], [(43, "of_others")]).unwrap().attached.is_empty());
    }
}
