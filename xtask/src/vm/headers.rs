//! What modules for the test machines' kernels are built with: Debian's headers and the kernel's own tools, unpacked below `target/headers`,
//! with the C library that the tools were built for. The compiler is this machine's.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

use super::{
    apt::Apt,
    apt_index,
    kernels::{self, Kernel, KernelLine},
};
use crate::{process, workspace};

/// Names the release that they are of. It is written last.
const STAMP: &str = "release";
/// Where packages have them, below the root.
const SOURCES: &str = "usr/src";
const KBUILD: &str = "usr/lib";
/// Where the C library and its loader are, before and after the /usr merge.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
const LOADER: &str = "ld-linux-x86-64.so.2";
/// The tools that building a module takes. Some are there once for each kind of machine, behind a program that chooses.
const TOOLS: [(&str, &str); 3] = [
    ("scripts/basic/fixdep", "fixdep.real"),
    ("scripts/mod/modpost", "modpost.real-lsb-64"),
    ("tools/objtool/objtool", "objtool.real-x86"),
];
const PROGRAM: u32 = 0o755;

/// What was asked of the kernel's compiler when it was configured, and this machine's may not have: another option does in its place. Types
/// of the kernel in a module's debug information need a program more, and nobody asks for them.
const WITHOUT: [&str; 2] = ["CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=", "CONFIG_DEBUG_INFO_BTF_MODULES="];

/// Unpacks the headers of this kernel unless that was done before.
pub(crate) fn fetch(line: &KernelLine, kernel: &Kernel) -> Result<()> {
    let folder = root(kernel);
    let there = fs::read_to_string(folder.join(STAMP)).is_ok_and(|release| release.trim_end() == kernel.release);
    if there {
        return Ok(());
    }
    process::step(&format!("headers of kernel {}", line.name), || download(line, kernel, &folder)).with_context(|| {
        // Mirrors keep some versions only.
        let kernel = workspace::display(&workspace::kernels().join(line.name));
        format!("when the headers of an older kernel are gone, delete {kernel} to get the newest")
    })
}

/// Builds the module whose sources are in `folder`, there.
pub(super) fn build_module(kernel: &Kernel, folder: &Path) -> Result<()> {
    let sources = root(kernel).join(SOURCES);
    let configured = sources.join(format!("linux-headers-{}", kernel.release));
    // Debian's makefile would include this one by the path that it has when it is installed.
    let makefile = entry(&sources, |name| name.ends_with("-common"))?.join("Makefile");
    process::capture(
        Command::new("make")
            .args(["CC=gcc", "modules"])
            .args(WITHOUT)
            .arg("-C")
            .arg(&configured)
            .arg("-f")
            .arg(makefile)
            .arg(format!("KBUILD_OUTPUT={}", configured.display()))
            .arg(format!("M={}", folder.display())),
    )
    .map(drop)
}

fn root(kernel: &Kernel) -> PathBuf {
    workspace::headers().join(kernel.line)
}

fn download(line: &KernelLine, kernel: &Kernel, folder: &Path) -> Result<()> {
    let partial = folder.with_extension("partial");
    kernels::remove_folder(&partial)?;
    let root = partial.join("root");
    fs::create_dir_all(&root)?;

    let apt = Apt::of(line, partial.join("apt"))?;
    let headers = format!("linux-headers-{}", kernel.release);
    let needed = needed(&apt.show(&headers)?)?;
    let mut packages = apt.with_what_they_need(&needed.iter().map(String::as_str).collect::<Vec<_>>())?;
    packages.push(headers);
    apt.unpack(&packages, &root)?;
    wrap_tools(&root)?;
    fs::write(root.join(STAMP), format!("{}\n", kernel.release))?;
    kernels::put_in_place(&root, folder, &partial)
}

/// The packages with the parts that all flavours of a kernel share: headers and tools. They depend on a compiler too, which is not needed.
fn needed(shown: &str) -> Result<Vec<String>> {
    let stanzas = apt_index::stanzas(shown);
    let depends = stanzas.first().and_then(|stanza| stanza.field("Depends")).context("headers that need nothing")?;
    let names = depends.split(", ").filter_map(|dependency| dependency.split(' ').next());
    let wanted = |name: &&str| {
        name.starts_with("linux-kbuild-") || (name.starts_with("linux-headers-") && name.ends_with("-common"))
    };
    Ok(names.filter(wanted).map(String::from).collect())
}

/// Puts a script in the place of each tool, which runs it with the C library that it was built for: that may be newer than this machine's.
fn wrap_tools(root: &Path) -> Result<()> {
    let kbuild = entry(&root.join(KBUILD), |name| name.starts_with("linux-kbuild-"))?;
    let mut loaders = LIBRARIES.iter().map(|folder| format!("{folder}/{LOADER}"));
    let loader = loaders.find(|path| root.join(path).exists()).context("the kernel's tools have no loader")?;
    for (tool, real) in TOOLS {
        let place = kbuild.join(tool);
        let real = place.with_file_name(real);
        if !real.exists() {
            fs::rename(&place, &real).with_context(|| format!("the kernel has no {tool}"))?;
        }
        fs::write(&place, wrapper(&loader, &real.file_name().unwrap_or_default().to_string_lossy()))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(PROGRAM))?;
    }
    Ok(())
}

/// Each tool lies five folders below the root, which may be moved.
fn wrapper(loader: &str, real: &str) -> String {
    let libraries = LIBRARIES.map(|folder| format!("$root/{folder}")).join(":");
    format!(
        "#!/bin/sh\nhere=$(dirname \"$0\")\nroot=$here/../../../../..\n\
         exec \"$root/{loader}\" --library-path \"{libraries}\" \"$here/{real}\" \"$@\"\n"
    )
}

/// The one entry of a folder with such a name.
fn entry(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.filter_map(Result::ok).filter(|entry| entry.file_name().to_str().is_some_and(&is_wanted));
    paths.next().map(|entry| entry.path()).ok_or_else(|| anyhow!("{} lacks what modules need", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_that_flavours_share_are_needed_and_no_compiler_is() {
        let shown = "\
Package: linux-headers-6.1.0-56-cloud-amd64
Version: 6.1.192-2
Depends: linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), linux-compiler-gcc-12-x86
";
        assert_eq!(needed(shown).unwrap(), ["linux-headers-6.1.0-56-common", "linux-kbuild-6.1"]);
        assert!(needed("Package: linux-headers\nVersion: 1\n").is_err());
    }

    #[test]
    fn tools_are_run_with_their_own_library_wherever_the_root_is() {
        assert_eq!(
            wrapper("lib/ld.so", "fixdep.real"),
            "#!/bin/sh\nhere=$(dirname \"$0\")\nroot=$here/../../../../..\nexec \"$root/lib/ld.so\" --library-path \
             \"$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu\" \"$here/fixdep.real\" \"$@\"\n"
        );
    }
}
