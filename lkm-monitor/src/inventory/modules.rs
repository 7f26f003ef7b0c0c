//! The modules that are in the kernel now: what the kernel says of each, the file of its name, and how it came.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::{
    gaps::Gaps,
    index::Index,
    loads::Loads,
    proc_modules::{self, Row},
    survey::Survey,
    sys_module::{self, SysModule},
};
use crate::{
    image::{self, Limits},
    inspect::contents::Keep,
    model::{Gap, ModuleEntry, ModuleFile, text::text},
    signature::{self, Keys},
};

/// What a module's file may unpack to, and what its packing may refer back to.
const LIMITS: Limits = Limits { max_unpacked_bytes: 64 << 20, max_window_bytes: 64 << 20 };

/// With what the modules are looked at.
pub struct Means<'a> {
    /// `/` on a real host.
    pub root: &'a Path,
    /// `uname -r`.
    pub release: &'a str,
    /// `None` where no file can be looked at.
    pub survey: Option<&'a mut Survey>,
    pub keys: &'a Keys,
    pub loads: &'a Loads,
    /// Whether what is built into the kernel's image is listed too.
    pub with_built_in: bool,
}

/// All modules by name, and what could not be looked at. One that comes or goes meanwhile is there or not, and no gap.
pub fn list(means: &mut Means<'_>, mut gaps: Gaps) -> (Vec<ModuleEntry>, Vec<Gap>) {
    let index = Index::read(&means.root.join("lib/modules").join(means.release), &mut gaps);
    let mut entries = in_kernel(means.root, &mut gaps);
    if means.with_built_in {
        for name in index.built_in() {
            entries.entry(name.to_vec()).or_insert_with(|| ModuleEntry {
                name: name.to_vec(),
                built_in: true,
                ..ModuleEntry::default()
            });
        }
    } else {
        entries.retain(|_, entry| !entry.built_in);
    }
    let mut entries: Vec<_> = entries.into_values().collect();
    for entry in entries.iter_mut().filter(|entry| !entry.built_in) {
        entry.load = means.loads.of(&entry.name).cloned();
        entry.file = index.file(&entry.name).and_then(|path| file(means, path, &mut gaps));
    }
    (entries, gaps.into_vec())
}

/// What /proc/modules and /sys/module say of each name.
fn in_kernel(root: &Path, gaps: &mut Gaps) -> BTreeMap<Vec<u8>, ModuleEntry> {
    let rows = rows(root, gaps);
    let folders = sys_module::list(root, gaps);
    // Where one of them cannot be read, nothing follows from what is not in it.
    let are_comparable = rows.is_some() && !folders.is_empty();
    let mut entries = BTreeMap::new();
    for folder in folders {
        let name = folder.name.clone();
        add_folder(entries.entry(name).or_default(), folder);
    }
    let rows = rows.unwrap_or_default();
    for row in &rows {
        add_row(entries.entry(sys_module::folder_of(&row.name)).or_default(), row);
    }
    if are_comparable {
        look_again(root, &mut entries, gaps);
    }
    if rows.iter().any(|row| row.address.is_none()) {
        let why = "the kernel tells them only who has CAP_SYSLOG (kernel.kptr_restrict)";
        gaps.add("addresses of modules", why);
    }
    entries
}

/// `None` where there is no list.
fn rows(root: &Path, gaps: &mut Gaps) -> Option<Vec<Row>> {
    let read = proc_modules::read(root).inspect_err(|error| gaps.add("/proc/modules", error.kind()));
    let listing = read.ok()?;
    if listing.truncated {
        let why = format!("it has more than {} bytes, of which the rest was not read", proc_modules::MAX_BYTES);
        gaps.add("/proc/modules", why);
    }
    for line in &listing.strange {
        gaps.add_one("line of /proc/modules", line, "it is not as the kernel writes them");
    }
    Some(listing.rows)
}

/// What only one of the two has may have come or gone between the looks at them: such modules are looked at once more, and those that are
/// in neither then are forgotten.
fn look_again(root: &Path, entries: &mut BTreeMap<Vec<u8>, ModuleEntry>, gaps: &mut Gaps) {
    let is_half = |entry: &ModuleEntry| !entry.built_in && entry.in_proc != entry.in_sysfs;
    if !entries.values().any(is_half) {
        return;
    }
    let rows = rows(root, &mut Gaps::default()).unwrap_or_default();
    entries.retain(|folder, entry| {
        if !is_half(entry) {
            return true;
        }
        let row = rows.iter().find(|row| row.name == entry.name);
        let sys = sys_module::one(root, folder, &mut Gaps::default()).filter(|sys| sys.state.is_some());
        match (row, &sys) {
            (None, None) => return false,
            (Some(_), None) => {
                gaps.add_one("module", folder, "/proc/modules lists it, and /sys/module does not have it")
            }
            (None, Some(_)) => gaps.add_one("module", folder, "/sys/module has it, and /proc/modules does not list it"),
            (Some(_), Some(_)) => {}
        }
        (entry.in_proc, entry.in_sysfs) = (false, false);
        if let Some(sys) = sys {
            add_folder(entry, sys);
        }
        if let Some(row) = row {
            add_row(entry, row);
        }
        true
    });
}

fn add_folder(entry: &mut ModuleEntry, folder: SysModule) {
    let SysModule { name, state, refcount, size, taints, holders, address, version, srcversion, .. } = folder;
    *entry = ModuleEntry {
        name,
        in_sysfs: true,
        built_in: state.is_none(),
        state: state.map(proc_modules::ModuleState::name),
        refcount,
        size,
        taints,
        used_by: holders,
        address,
        version,
        srcversion,
        parameters: folder.parameters,
        more_parameters: folder.more_parameters,
        ..ModuleEntry::default()
    };
}

/// What /proc/modules says counts: it is one answer of the kernel's, where sysfs gives one for each file.
fn add_row(entry: &mut ModuleEntry, row: &Row) {
    entry.name.clone_from(&row.name);
    (entry.in_proc, entry.built_in) = (true, false);
    entry.state = Some(row.state.name());
    entry.size = Some(row.size);
    entry.refcount = row.refcount;
    entry.used_by.clone_from(&row.used_by);
    entry.permanent = row.permanent;
    entry.address = row.address.or(entry.address);
    entry.taints.clone_from(&row.taints);
}

/// The file that depmod has for a name.
fn file(means: &mut Means<'_>, path: &[u8], gaps: &mut Gaps) -> Option<ModuleFile> {
    const WHAT: &str = "module file";
    let survey = means.survey.as_deref_mut()?;
    let folder = means.root.join("lib/modules").join(means.release);
    let spelled: PathBuf = folder.join(super::path_of(path));
    let resolved = survey.files.resolve(spelled.as_os_str().as_bytes());
    let path = resolved.inspect_err(|why| gaps.add_one(WHAT, path, why)).ok()?;
    let (file, content) = survey.look((WHAT, &path), Keep::All, gaps)?;
    let mut found = ModuleFile { file, ..ModuleFile::default() };
    let Some(content) = content else { return Some(found) };
    let image::Examined { facts, unpacked } = image::examine(&content, &LIMITS);
    if let Some(problem) = &facts.problem {
        gaps.add_one(WHAT, &path, format!("it is no module that can be read: {}", text(problem.detail.as_bytes())));
    }
    let modinfo = facts.elf.and_then(|elf| elf.modinfo);
    found.srcversion = modinfo.and_then(|modinfo| modinfo.srcversion).map(|srcversion| srcversion.bytes);
    // Nobody knows how a module ends that cannot be unpacked.
    let signed = if facts.compression.is_some() { unpacked } else { Some(content) };
    found.signature = signed.map(|signed| signature::examine(&signed, means.keys));
    found.host_keys = means.keys.len();
    Some(found)
}
