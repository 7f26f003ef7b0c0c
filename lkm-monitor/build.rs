//! Builds the kernel probes, which the daemon carries inside its binary.

use std::{fs, path::Path};

use anyhow::Context as _;
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

fn main() -> anyhow::Result<()> {
    // rustup names the toolchain that it runs; without rustup aya-build takes the one that is there.
    let toolchain = std::env::var("RUSTUP_TOOLCHAIN").unwrap_or_default();
    // aya-build compiles `core` for the bpf target only where unstable cargo flags are allowed, and takes this variable
    // as the word for it. It is set here and not for the whole build: many crates compile differently under it.
    // SAFETY: a build script has one thread at this point.
    unsafe {
        std::env::set_var("RUSTC_BOOTSTRAP", "1");
        // Or else every line of the inner build's progress comes out as a warning. Real warnings and errors still do.
        std::env::set_var("CARGO_TERM_QUIET", "true");
    }
    aya_build::build_ebpf(
        [aya_build::Package { name: "lkm-monitor-ebpf", root_dir: "../lkm-monitor-ebpf", ..Default::default() }],
        aya_build::Toolchain::Custom(&toolchain),
    )?;
    let built = std::env::var("OUT_DIR")?;
    for object in ["lkm-monitor-probes", "lkm-monitor-peek"] {
        strip(&Path::new(&built).join(object))?;
    }
    println!("cargo::rerun-if-changed=../lkm-monitor-common");
    Ok(())
}

/// Takes the debugging information out, which the linker needed for making BTF: the daemon would hold it in memory.
fn strip(object: &Path) -> anyhow::Result<()> {
    let whole = fs::read(object).with_context(|| format!("read {}", object.display()))?;
    let mut builder = Builder::read(whole.as_slice()).context("read the probes")?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = [".debug_", ".rel.debug_"].iter().any(|prefix| name.starts_with(prefix.as_bytes()));
    }
    builder.delete_orphans();
    // The linker keeps the names of sections among those of symbols, which the writer does not.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("write the probes")?;
    fs::write(object, stripped).with_context(|| format!("write {}", object.display()))
}
