//! Builds the kernel probes, which the daemon carries inside its binary.

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
    println!("cargo::rerun-if-changed=../lkm-monitor-common");
    Ok(())
}
