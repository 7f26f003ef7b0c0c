//! The guest's whole file system: test program, daemon, kmod, modules. Uncompressed, because the guest's emulated
//! processor would need longer to decompress it than the host needs to write it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    Guest,
    cpio::Archive,
    fixtures::{self, Fixture},
    hiding,
    kernels::Kernel,
    package, signed,
};
use crate::{process, workspace};

/// By its full path: an ordinary user's search path may lack it.
const DEPMOD: &str = "/usr/sbin/depmod";
/// The host's kmod goes into the guest, under the names that people and the kernel call it by.
const KMOD: &str = "/usr/bin/kmod";
/// Static; many tools in one, those of modules among them.
const BUSYBOX: &str = "/bin/busybox";
/// The store that daemons of the guest share.
const REDIS: &str = "/usr/bin/redis-server";
const KMOD_APPLETS: [&str; 6] = ["depmod", "insmod", "lsmod", "modinfo", "modprobe", "rmmod"];
const MODULE_LISTS: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];

const FOLDERS: [&str; 30] = [
    "/dev",
    "/etc",
    "/fixtures",
    "/mnt",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/modules",
    "/usr/sbin",
    "/var",
    "/var/lib",
    "/var/lib/lkm-monitor",
    "/var/log",
    "/home",
    "/home/analyst",
    "/etc/depmod.d",
    "/etc/dracut.conf.d",
    "/etc/initramfs-tools",
    "/etc/lkm-monitor",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/usr/lib/modprobe.d",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/security",
    "/usr/local",
];
const WORLD_WRITABLE: [&str; 2] = ["/tmp", "/var/tmp"];

/// What the daemon finds when it starts, and scenarios change. It changes nothing of what other scenarios load.
const CONFIGURATION: [(&str, &str); 8] = [
    ("/etc/depmod.d/guest.conf", "search updates built-in\n"),
    ("/etc/dracut.conf.d/guest.conf", "add_drivers+=\" loop \"\n"),
    ("/etc/initramfs-tools/modules", "# For the initramfs of the guest\nloop\n"),
    ("/etc/modprobe.d/guest.conf", "# Of the guest\nblacklist softdog\n"),
    ("/etc/modules", "# For the boot of the guest\nloop\n"),
    ("/etc/modules-load.d/guest.conf", "loop\n"),
    ("/usr/lib/modprobe.d/guest.conf", "blacklist edd\n"),
    ("/usr/lib/x86_64-linux-gnu/security/pam_guest.so", "no module of PAM\n"),
];
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

const PASSWD: &str = "\
root:x:0:0:root:/root:/usr/sbin/nologin
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
analyst:x:1000:1000:analyst:/home/analyst:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nanalyst:x:1000:\nnogroup:x:65534:\n";
const MACHINE_ID: &str = "6c6b6d2d6d6f6e69746f722d67756573\n";
const HOSTNAME: &str = "lkm-monitor-guest\n";

/// Writes the archive and returns its path.
pub(crate) fn write(kernel: &Kernel, guests: &[Guest]) -> Result<PathBuf> {
    let mut archive = Archive::default();
    let mut libraries = Libraries::default();
    skeleton(&mut archive)?;
    programs(&mut archive)?;
    kmod(&mut archive, &mut libraries)?;
    busybox(&mut archive)?;
    redis(&mut archive, &mut libraries)?;
    for guest in guests {
        archive.file(&format!("/usr/bin/{}", guest.name), 0o755, &read(&guest.program)?);
        libraries.of(&mut archive, &guest.program, &guest.libraries)?;
    }
    modules(&mut archive, kernel)?;
    tree(&mut archive, kernel)?;
    package::put(&mut archive, kernel)?;
    signed::put(&mut archive, kernel)?;
    hiding::put(&mut archive, kernel)?;
    // It holds the key that signed the modules. A scenario puts it where distributions have it.
    archive.file("/fixtures/vmlinuz", 0o644, &read(&kernel.image)?);
    // Not every kernel's package has it.
    if let Some(config) = kernel.config() {
        archive.file("/fixtures/config", 0o644, &read(&config)?);
    }
    let path = workspace::machine(kernel.line).join("initramfs.cpio");
    fs::write(&path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn skeleton(archive: &mut Archive) -> Result<()> {
    for folder in FOLDERS {
        archive.directory(folder, 0o755);
    }
    for folder in WORLD_WRITABLE {
        archive.directory(folder, 0o1777);
    }
    for name in MERGED {
        archive.symlink(&format!("/{name}"), &format!("usr/{name}"));
    }
    archive.character_device("/dev/console", 0o600, (5, 1));
    archive.character_device("/dev/null", 0o666, (1, 3));
    archive.file("/etc/passwd", 0o644, PASSWD.as_bytes());
    archive.file("/etc/group", 0o644, GROUP.as_bytes());
    archive.file("/etc/machine-id", 0o444, MACHINE_ID.as_bytes());
    archive.file("/etc/hostname", 0o644, HOSTNAME.as_bytes());
    archive.file("/etc/os-release", 0o644, &read(Path::new("/etc/os-release"))?);
    for (path, content) in CONFIGURATION {
        archive.file(path, 0o644, content.as_bytes());
    }
    Ok(())
}

fn programs(archive: &mut Archive) -> Result<()> {
    archive.file("/init", 0o755, &read(&workspace::release_binary(workspace::STATIC, "guest"))?);
    archive.file("/usr/bin/lkm-monitor", 0o755, &read(&workspace::release_binary(workspace::STATIC, "lkm-monitor"))?);
    archive.file("/fixtures/loader32", 0o755, &read(&workspace::release_binary(workspace::STATIC_32_BIT, "loader32"))?);
    Ok(())
}

fn busybox(archive: &mut Archive) -> Result<()> {
    archive.file("/usr/bin/busybox", 0o755, &read(Path::new(BUSYBOX))?);
    Ok(())
}

fn kmod(archive: &mut Archive, libraries: &mut Libraries) -> Result<()> {
    archive.file(KMOD, 0o755, &read(Path::new(KMOD))?);
    for applet in KMOD_APPLETS {
        archive.symlink(&format!("/usr/sbin/{applet}"), "../bin/kmod");
    }
    libraries.of(archive, Path::new(KMOD), &[])
}

fn redis(archive: &mut Archive, libraries: &mut Libraries) -> Result<()> {
    // One program by many names.
    archive.file(REDIS, 0o755, &read(Path::new(REDIS))?);
    libraries.of(archive, Path::new(REDIS), &[])
}

/// Shared libraries that are in the archive, and their folders.
#[derive(Default)]
struct Libraries {
    folders: Vec<String>,
    files: Vec<String>,
}

impl Libraries {
    /// Adds what `program` needs; it looks in `search` first.
    fn of(&mut self, archive: &mut Archive, program: &Path, search: &[PathBuf]) -> Result<()> {
        let search: Vec<_> = search.iter().map(|folder| folder.to_string_lossy()).collect();
        // ldd fails for a static program, which needs nothing.
        let output = process::output(Command::new("ldd").arg(program).env("LD_LIBRARY_PATH", search.join(":")))?;
        let listing = String::from_utf8_lossy(&output.stdout);
        for library in shared_libraries(&listing) {
            // What lies elsewhere on this machine has its usual place in the guest.
            let usual = search.iter().find_map(|folder| library.strip_prefix(&**folder));
            let merged = usual.map_or_else(|| merged_path(library), |name| format!("/usr/lib/x86_64-linux-gnu{name}"));
            if self.files.contains(&merged) {
                continue;
            }
            if let Some((folder, _)) = merged.rsplit_once('/')
                && !FOLDERS.contains(&folder)
                && !self.folders.contains(&folder.to_owned())
            {
                archive.directory(folder, 0o755);
                self.folders.push(folder.to_owned());
            }
            archive.file(&merged, 0o755, &read(Path::new(library))?);
            self.files.push(merged);
        }
        Ok(())
    }
}

/// Paths in what ldd prints: behind the arrow, or the line's first word for the loader itself.
fn shared_libraries(listing: &str) -> impl Iterator<Item = &str> {
    listing
        .lines()
        .filter_map(|line| line.split_once("=> ").map_or(line, |(_, path)| path).split_whitespace().next())
        .filter(|path| path.starts_with('/'))
}

fn merged_path(library: &str) -> String {
    if library.starts_with("/usr/") { library.to_owned() } else { format!("/usr{library}") }
}

/// The modules where modprobe looks for them, and again in `/fixtures`, where scenarios pick them by name.
fn modules(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let fixtures = fixtures::collect(kernel)?;
    let staging = workspace::machine(kernel.line).join("modules");
    let release = indexed(&staging, kernel, &fixtures)?;
    let root = Path::new("/usr/lib/modules").join(&kernel.release);
    folders(archive, &root, fixtures.iter().map(|fixture| fixture.path.as_path()));
    for fixture in &fixtures {
        let installed = installed_path(fixture);
        archive.file(&root.join(&installed).to_string_lossy(), 0o644, &read(&release.join(&installed))?);
        archive.file(&format!("/fixtures/{}.ko", fixture.name), 0o644, &fixture.image);
    }
    for fixture in fixtures.iter().filter(|fixture| fixture.name == "dummy") {
        let packed = fixtures::packed(&release.join(&fixture.path))?;
        archive.file(&format!("/fixtures/{}.ko.xz", fixture.name), 0o644, &packed);
    }
    let mut lists: Vec<PathBuf> = fs::read_dir(&release)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    lists.sort();
    for list in lists.iter().filter(|path| path.is_file()) {
        let name = list.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&root.join(&*name).to_string_lossy(), 0o644, &read(list)?);
    }
    Ok(())
}

/// A part of the package's module tree, for scenarios to copy.
fn tree(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let root = Path::new("/fixtures/tree");
    let files = fixtures::tree(kernel)?;
    folders(archive, root, files.iter().map(|(path, _)| path.as_path()));
    for (path, file) in &files {
        archive.file(&root.join(path).to_string_lossy(), 0o644, &read(file)?);
    }
    Ok(())
}

/// The folders from `root` to these files below it, each once.
fn folders<'a>(archive: &mut Archive, root: &Path, files: impl Iterator<Item = &'a Path>) {
    let mut folders = BTreeSet::from([root.to_owned()]);
    for path in files.map(|file| root.join(file)) {
        folders.extend(path.ancestors().skip(1).take_while(|folder| folder.starts_with(root)).map(Path::to_owned));
    }
    folders.iter().for_each(|folder| archive.directory(&folder.to_string_lossy(), 0o755));
}

/// The file that modprobe finds, below the release's folder.
fn installed_path(fixture: &Fixture) -> PathBuf {
    fixture.path.with_extension(if fixture.name == fixtures::INSTALLED_PACKED { "ko.xz" } else { "ko" })
}

/// Lets depmod write modprobe's indexes for just these modules; returns the folder they are in.
fn indexed(staging: &Path, kernel: &Kernel, fixtures: &[Fixture]) -> Result<PathBuf> {
    if staging.exists() {
        fs::remove_dir_all(staging)?;
    }
    let release = staging.join("usr/lib/modules").join(&kernel.release);
    fs::create_dir_all(&release)?;
    std::os::unix::fs::symlink("usr/lib", staging.join("lib"))?;
    for fixture in fixtures {
        let path = release.join(&fixture.path);
        fs::create_dir_all(path.parent().unwrap_or(&release))?;
        fs::write(&path, &fixture.image)?;
        let installed = release.join(installed_path(fixture));
        if installed != path {
            fs::write(installed, fixtures::packed(&path)?)?;
            fs::remove_file(path)?;
        }
    }
    for list in MODULE_LISTS {
        // Packages from 7.x on lack some of these lists; an empty one keeps depmod content.
        fs::write(release.join(list), fs::read(kernel.modules.join(list)).unwrap_or_default())?;
    }
    process::capture(Command::new(DEPMOD).arg("--basedir").arg(staging).arg(&kernel.release))?;
    Ok(release)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_in_what_ldd_prints() {
        let listing = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\tlibnone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let found: Vec<_> = shared_libraries(listing).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn libraries_lie_below_usr_in_the_guest() {
        assert_eq!(merged_path("/lib64/ld-linux-x86-64.so.2"), "/usr/lib64/ld-linux-x86-64.so.2");
        assert_eq!(merged_path("/usr/lib/libc.so.6"), "/usr/lib/libc.so.6");
    }
}
