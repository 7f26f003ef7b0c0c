//! /sys/module: a folder for each module, and for each part of the kernel's image that has parameters.
//!
//! kernel/module/sysfs.c and kernel/params.c make it. What is built in has no `initstate`.

use std::{
    fs, io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::PermissionsExt as _,
    },
    path::Path,
};

use super::{gaps::Gaps, proc_modules::ModuleState};
use crate::{
    inspect::{
        contents::{HostFiles, NotThere},
        regular,
    },
    model::{Bytes, ParameterValue},
};

/// Folders that are looked at.
const MAX_MODULES: usize = 65_536;
/// Parameters of one module that are kept, and names of its holders.
const MAX_PARAMETERS: usize = 256;
/// The kernel gives a page at the most.
const MAX_VALUE_BYTES: usize = 4096;

/// What a folder says of its module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SysModule {
    pub(super) name: Vec<u8>,
    /// `None` of what is built in.
    pub(super) state: Option<ModuleState>,
    pub(super) refcount: Option<u32>,
    /// Of `coresize` and, before Linux 6.4, `initsize`.
    pub(super) size: Option<u64>,
    pub(super) taints: String,
    /// The modules that use its symbols.
    pub(super) holders: Vec<Vec<u8>>,
    /// Of its section `.text`, for who may know.
    pub(super) address: Option<u64>,
    pub(super) version: Option<Vec<u8>>,
    pub(super) srcversion: Option<Vec<u8>>,
    pub(super) parameters: Vec<ParameterValue>,
    pub(super) more_parameters: u64,
}

/// All of them below the folder `root`, by name.
pub(super) fn list(root: &Path, gaps: &mut Gaps) -> Vec<SysModule> {
    let folder = root.join("sys/module");
    // Nobody waits for a file system that is mounted over it.
    let resolved = HostFiles::open().and_then(|files| files.resolve(folder.as_os_str().as_bytes()));
    if let Err(why @ NotThere::Slow) = resolved {
        gaps.add("/sys/module", why);
        return Vec::new();
    }
    let (names, more) = match names(&folder, MAX_MODULES) {
        Ok(found) => found,
        Err(error) => {
            gaps.add("/sys/module", error.kind());
            return Vec::new();
        }
    };
    if more > 0 {
        gaps.add("/sys/module", format!("{more} of its folders were not looked at"));
    }
    names.into_iter().filter_map(|name| module(&folder, name, gaps)).collect()
}

/// The module of this folder; `None` if it has gone.
pub(super) fn one(root: &Path, folder: &[u8], gaps: &mut Gaps) -> Option<SysModule> {
    let is_name = !matches!(folder, b"" | b"." | b"..") && !folder.contains(&b'/');
    is_name.then(|| module(&root.join("sys/module"), folder.to_vec(), gaps)).flatten()
}

/// The name of the folder of a module: a slash is none there (`kobject_set_name_vargs`).
pub(crate) fn folder_of(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'/' { b'!' } else { *byte }).collect()
}

fn module(modules: &Path, name: Vec<u8>, gaps: &mut Gaps) -> Option<SysModule> {
    let folder = modules.join(super::path_of(&name));
    if !folder.is_dir() {
        return None;
    }
    let mut text = |attribute: &str| match value(&folder.join(attribute)) {
        Ok(Read::Value(value)) => Some(value.bytes).filter(|value| !value.is_empty()),
        Ok(Read::Nobodys) => None,
        // Many attributes are there for some modules only.
        Err(error) if is_gone(&error) => None,
        Err(error) => {
            gaps.add_one(attribute, &name, error.kind());
            None
        }
    };
    let state = text("initstate").and_then(|state| match state.as_slice() {
        b"coming" => Some(ModuleState::Loading),
        b"going" => Some(ModuleState::Unloading),
        b"live" => Some(ModuleState::Live),
        _ => None,
    });
    let (version, srcversion) = (text("version"), text("srcversion"));
    let refcount = text("refcnt").and_then(|count| number(&count)?.try_into().ok());
    let core = text("coresize").and_then(|size| number(&size));
    let init = text("initsize").and_then(|size| number(&size)).unwrap_or_default();
    let taints = text("taint").and_then(|letters| String::from_utf8(letters).ok()).unwrap_or_default();
    let address = address(&folder);
    let holders = names(&folder.join("holders"), MAX_PARAMETERS).map(|(names, _)| names).unwrap_or_default();
    let (parameters, more_parameters) = parameters(&folder, &name, gaps);
    Some(SysModule {
        name,
        state,
        refcount,
        size: core.map(|core| core.saturating_add(init)),
        taints: taints.chars().filter(char::is_ascii_uppercase).collect(),
        holders,
        address,
        version,
        srcversion,
        parameters,
        more_parameters,
    })
}

/// Who may not know it finds zeros, or may not read it; /proc/modules tells the same of all of them.
fn address(module: &Path) -> Option<u64> {
    let Ok(Read::Value(value)) = value(&module.join("sections/.text")) else { return None };
    let digits = str::from_utf8(&value.bytes).ok()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok().filter(|address| *address != 0)
}

fn parameters(folder: &Path, module: &[u8], gaps: &mut Gaps) -> (Vec<ParameterValue>, u64) {
    let folder = folder.join("parameters");
    let (names, more) = match names(&folder, MAX_PARAMETERS) {
        Ok(found) => found,
        Err(error) if is_gone(&error) => Default::default(),
        Err(error) => {
            gaps.add_one("parameters of module", module, error.kind());
            Default::default()
        }
    };
    let read = |name: Vec<u8>| {
        let value = match value(&folder.join(super::path_of(&name))) {
            Ok(Read::Value(value)) => Some(value),
            Ok(Read::Nobodys) => None,
            Err(error) if is_gone(&error) => return None,
            Err(error) => {
                gaps.add_one("parameter", &[module, b".", &name].concat(), error.kind());
                None
            }
        };
        Some(ParameterValue { name, value })
    };
    (names.into_iter().filter_map(read).collect(), more)
}

enum Read {
    Value(Bytes),
    /// The kernel lets nobody read it.
    Nobodys,
}

/// What a file of one value says, without its line end. For a parameter the kernel calls the module.
fn value(path: &Path) -> io::Result<Read> {
    let mut value = match regular::read(path, MAX_VALUE_BYTES as u64 + 1) {
        Ok(value) => value,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let is_readable = fs::metadata(path)?.permissions().mode() & 0o444 != 0;
            return if is_readable { Err(error) } else { Ok(Read::Nobodys) };
        }
        Err(error) => return Err(error),
    };
    let truncated = value.len() > MAX_VALUE_BYTES;
    value.truncate(MAX_VALUE_BYTES);
    if value.ends_with(b"\n") {
        value.pop();
    }
    Ok(Read::Value(Bytes { bytes: value, truncated }))
}

/// A module can go while it is looked at; then its files are gone, or no devices any more.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Names in a folder in their order, and how many there are besides.
fn names(folder: &Path, limit: usize) -> io::Result<(Vec<Vec<u8>>, u64)> {
    let (mut names, mut more) = (Vec::new(), 0);
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().into_vec();
        if names.len() < limit { names.push(name) } else { more += 1 }
    }
    names.sort_unstable();
    Ok((names, more))
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below /sys/module, and what they hold.
    fn made(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join("sys/module").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn a_folder_tells_of_its_module() {
        let root = made(&[
            ("vboxdrv/initstate", "live\n"),
            ("vboxdrv/coresize", "696320\n"),
            ("vboxdrv/initsize", "4096\n"),
            ("vboxdrv/refcnt", "3\n"),
            ("vboxdrv/taint", "OE\n"),
            ("vboxdrv/version", "7.0.6 r155176\n"),
            ("vboxdrv/srcversion", "E3A0DBF1\n"),
            ("vboxdrv/holders/vboxnetflt", ""),
            ("vboxdrv/sections/.text", "0xffffffffc09c7000\n"),
            ("vboxdrv/parameters/force", "a\nb\n"),
            ("vboxdrv/parameters/empty", "\n"),
            ("kernel/parameters/panic", "0\n"),
        ]);
        let mut gaps = Gaps::default();
        let found = list(root.path(), &mut gaps);
        let parameter =
            |name: &str, value: &str| ParameterValue { name: name.into(), value: Some(Bytes::whole(value)) };
        let kernel =
            SysModule { name: b"kernel".to_vec(), parameters: vec![parameter("panic", "0")], ..SysModule::default() };
        let vboxdrv = SysModule {
            name: b"vboxdrv".to_vec(),
            state: Some(ModuleState::Live),
            refcount: Some(3),
            size: Some(700_416),
            taints: "OE".to_owned(),
            holders: vec![b"vboxnetflt".to_vec()],
            address: Some(0xffff_ffff_c09c_7000),
            version: Some(b"7.0.6 r155176".to_vec()),
            srcversion: Some(b"E3A0DBF1".to_vec()),
            parameters: vec![parameter("empty", ""), parameter("force", "a\nb")],
            more_parameters: 0,
        };
        assert_eq!(found, [kernel, vboxdrv.clone()]);
        assert_eq!(one(root.path(), b"vboxdrv", &mut gaps), Some(vboxdrv));
        for name in [&b"gone"[..], b"", b".", b"..", b"vboxdrv/parameters"] {
            assert_eq!(one(root.path(), name, &mut gaps), None);
        }
        assert_eq!(gaps.into_vec(), []);
    }

    #[test]
    fn what_is_odd_is_told_and_holds_nobody_up() {
        let root = made(&[("odd/initstate", "surprised\n"), ("odd/refcnt", "-1\n"), ("odd/sections/.text", "0x0\n")]);
        let folder = root.path().join("sys/module/odd");
        let pipe = folder.join("version");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let mut gaps = Gaps::default();
        let found = list(root.path(), &mut gaps);
        assert_eq!(found, [SysModule { name: b"odd".to_vec(), ..SysModule::default() }]);
        let [gap] = &gaps.into_vec()[..] else { panic!("one gap") };
        assert_eq!(gap.sentence(), "version odd: invalid input parameter");
    }

    #[test]
    fn values_and_parameters_are_bounded() {
        let files: Vec<_> = (0..300).map(|n| (format!("many/parameters/p{n:03}"), "x".repeat(5000))).collect();
        let root = made(&files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect::<Vec<_>>());
        let found = list(root.path(), &mut Gaps::default());
        let [many] = &found[..] else { panic!("one module") };
        assert_eq!((many.parameters.len(), many.more_parameters), (MAX_PARAMETERS, 300 - MAX_PARAMETERS as u64));
        let value = many.parameters[0].value.as_ref().unwrap();
        assert_eq!((value.bytes.len(), value.truncated), (MAX_VALUE_BYTES, true));
    }

    #[test]
    fn a_host_without_modules_is_told() {
        let root = tempfile::tempdir().unwrap();
        let mut gaps = Gaps::default();
        assert!(list(root.path(), &mut gaps).is_empty());
        assert_eq!(gaps.into_vec()[0].sentence(), "/sys/module: entity not found");
    }
}
