//! The kernel's own modules that scenarios load, with everything they depend on, decompressed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::kernels::Kernel;
use crate::process;

/// Small modules of many kinds; all four kernel lines have them.
const WANTED: [&str; 22] = [
    "acpi_pad",             // its init fails with EINVAL: the machine's processor has no MWAIT states
    "amd_freq_sensitivity", // its init fails with ENODEV: the machine's processor is not AMD's
    "brd",
    "configfs",
    "dummy",
    "edd", // its init fails with ENODEV: the machine has no BIOS disk
    "ifb",
    "isofs",
    "l2tp_core", // has dependencies
    "loop",
    "nf_defrag_ipv4", // imports a function of the kernel that gives a capability
    "nls_ascii",
    "nls_cp437",
    INSTALLED_PACKED,
    "nls_iso8859-1", // file name and module name differ
    "nls_utf8",
    "overlay",
    "rds",
    "romfs",
    "sctp", // has dependencies
    "softdog",
    "vsock",
];

/// The one that modprobe finds packed, as some distributions install all of them. No scenario has another way to its file.
pub(crate) const INSTALLED_PACKED: &str = "nls_cp850";

const DEPENDS: &[u8] = b"\0depends=";

/// A decompressed module.
pub(crate) struct Fixture {
    /// As in `/proc/modules`, but with the file's own dashes: `nls_iso8859-1`.
    pub(crate) name: String,
    /// Below the release's folder: `kernel/drivers/net/dummy.ko`.
    pub(crate) path: PathBuf,
    pub(crate) image: Vec<u8>,
}

/// In order of their names.
pub(crate) fn collect(kernel: &Kernel) -> Result<Vec<Fixture>> {
    let files = module_files(&kernel.modules)?;
    let mut pending: Vec<String> = WANTED.map(String::from).to_vec();
    let mut seen = BTreeSet::new();
    let mut fixtures = Vec::new();
    while let Some(wanted) = pending.pop() {
        if !seen.insert(canonical(&wanted)) {
            continue;
        }
        let file = files
            .get(&canonical(&wanted))
            .with_context(|| format!("kernel {} has no module {wanted}", kernel.release))?;
        let image = decompressed(file)?;
        pending.extend(dependencies(&image));
        let name = module_name(file).context("module file without a name")?.to_owned();
        let folder = file.strip_prefix(&kernel.modules)?.parent().unwrap_or(Path::new("kernel"));
        fixtures.push(Fixture { path: folder.join(format!("{name}.ko")), name, image });
    }
    fixtures.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(fixtures)
}

/// These modules, each after those that it depends on. What a kernel has built in is left out.
pub(crate) fn in_load_order(kernel: &Kernel, names: &[&str]) -> Result<Vec<Fixture>> {
    let files = module_files(&kernel.modules)?;
    let mut ordered: Vec<Fixture> = Vec::new();
    let mut pending: Vec<(String, bool)> = names.iter().rev().map(|name| (canonical(name), false)).collect();
    while let Some((name, follows_its_own)) = pending.pop() {
        let Some(file) = files.get(&name).filter(|_| ordered.iter().all(|known| known.name != name)) else { continue };
        let image = decompressed(file)?;
        if follows_its_own {
            ordered.push(Fixture { path: file.strip_prefix(&kernel.modules)?.to_owned(), name, image });
        } else {
            let needed = dependencies(&image);
            pending.push((name, true));
            pending.extend(needed.iter().map(|needed| (canonical(needed), false)));
        }
    }
    Ok(ordered)
}

/// As many module files of a kernel, of no more than so many bytes each, are enough of its tree to be copied as a whole: the
/// large ones would cost the guest minutes and show nothing more.
const TREE_FILES: usize = 700;
const TREE_FILE_BYTES: u64 = 64 * 1024;

/// A part of the kernel's own module tree, as its package has it: paths below the release's folder, and the files.
pub(crate) fn tree(kernel: &Kernel) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut files = Vec::new();
    for file in module_files(&kernel.modules)?.into_values() {
        if fs::metadata(&file)?.len() <= TREE_FILE_BYTES {
            files.push((file.strip_prefix(&kernel.modules)?.to_owned(), file));
        }
    }
    files.sort();
    files.truncate(TREE_FILES);
    Ok(files)
}

/// The kernel treats `-` and `_` in module names as the same.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Every module file below `folder`, by canonical name.
fn module_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Some(name) = module_name(&entry.path()) {
                files.insert(canonical(name), entry.path());
            }
        }
    }
    Ok(files)
}

fn module_name(path: &Path) -> Option<&str> {
    let (name, suffix) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(suffix, "" | ".xz" | ".zst").then_some(name)
}

fn decompressed(file: &Path) -> Result<Vec<u8>> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => process::capture(Command::new("xz").arg("--decompress").arg("--stdout").arg(file)),
        Some("zst") => process::capture(Command::new("zstd").arg("--decompress").arg("--stdout").arg(file)),
        _ => fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// A module file packed so that kernels which unpack modules themselves take it (they know this checksum only).
pub(crate) fn packed(file: &Path) -> Result<Vec<u8>> {
    process::capture(Command::new("xz").args(["--check=crc32", "--stdout"]).arg(file))
}

/// `.modinfo` is a row of NUL-terminated `key=value` strings, so no ELF reader is needed for one of them.
fn dependencies(image: &[u8]) -> Vec<String> {
    let Some(start) = image.windows(DEPENDS.len()).position(|window| window == DEPENDS) else { return Vec::new() };
    let value = image[start + DEPENDS.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(
            dependencies(b"\x7fELF\0license=GPL\0depends=udp_tunnel,ip6_udp_tunnel\0x=1\0"),
            ["udp_tunnel", "ip6_udp_tunnel"]
        );
        assert!(dependencies(b"\0license=GPL\0depends=\0retpoline=Y\0").is_empty());
        assert!(dependencies(b"\0license=GPL\0").is_empty());
        assert_eq!(dependencies(b"\0depends=cut"), ["cut"]);
    }

    #[test]
    fn module_files_are_known_by_their_ending() {
        assert_eq!(module_name(Path::new("/m/nls_iso8859-1.ko.xz")), Some("nls_iso8859-1"));
        assert_eq!(module_name(Path::new("/m/dummy.ko")), Some("dummy"));
        assert_eq!(module_name(Path::new("/m/dummy.ko.sig")), None);
        assert_eq!(module_name(Path::new("/m/modules.order")), None);
    }
}
