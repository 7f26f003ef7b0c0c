//! The module that hides itself, built for each test machine's kernel. It is in no package: what it is for ends with the machine.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, headers, kernels::Kernel};
use crate::{process, workspace};

const SOURCES: &str = "tests/fixtures/hiding";
const FILES: [&str; 2] = ["Makefile", "lkm_fixture.c"];
const MODULE: &str = "lkm_fixture.ko";
/// What the module that is there was built from. It is written last.
const STAMP: &str = "built-from";

/// Builds it unless it is there, built from the same sources for the same kernel.
pub(crate) fn build(kernel: &Kernel) -> Result<()> {
    let folder = workspace::built_fixtures(kernel.line);
    let stamp = folder.join(STAMP);
    let sources = FILES.map(|name| (name, workspace::root().join(SOURCES).join(name)));
    let mut from = format!("{}\n", kernel.release);
    for (_, path) in &sources {
        from.push_str(&fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    if module(kernel).exists() && fs::read_to_string(&stamp).is_ok_and(|built_from| built_from == from) {
        return Ok(());
    }
    process::step(&format!("module that hides, for kernel {}", kernel.line), || {
        super::kernels::remove_folder(&folder)?;
        fs::create_dir_all(&folder)?;
        for (name, path) in &sources {
            fs::copy(path, folder.join(name))?;
        }
        headers::build_module(kernel, &folder)?;
        Ok(fs::write(&stamp, &from)?)
    })
}

pub(super) fn put(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let module = module(kernel);
    let image = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    archive.file(&format!("/fixtures/{MODULE}"), 0o644, &image);
    Ok(())
}

fn module(kernel: &Kernel) -> PathBuf {
    workspace::built_fixtures(kernel.line).join(MODULE)
}
