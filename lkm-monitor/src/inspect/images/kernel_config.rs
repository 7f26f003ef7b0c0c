//! How the running kernel was built to treat modules' signatures, as its configuration says: a file of its package, or the kernel's own copy.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::{inspect::regular, model::KernelConfig};

/// Debian's have 300 KiB.
const MAX_BYTES: u64 = 4 << 20;

/// Where it is looked for, the likeliest place first.
pub(super) fn places(release: &str) -> [PathBuf; 3] {
    [
        format!("/boot/config-{release}").into(),
        format!("/proc/1/root/lib/modules/{release}/config").into(),
        // CONFIG_IKCONFIG_PROC.
        "/proc/config.gz".into(),
    ]
}

/// The first one that is there.
pub(super) fn read(places: &[PathBuf]) -> Option<KernelConfig> {
    places.iter().find_map(|path| {
        let content = regular::read(path, MAX_BYTES).ok()?;
        let text =
            if path.extension().is_some_and(|extension| extension == "gz") { unpacked(&content)? } else { content };
        parse(path, &text)
    })
}

fn unpacked(content: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(content).take(MAX_BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}

/// `None` for what is no configuration of a kernel with modules.
fn parse(path: &Path, text: &[u8]) -> Option<KernelConfig> {
    let text = String::from_utf8_lossy(text);
    let value = |option: &str| {
        text.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
    };
    let is_set = |option| value(option) == Some("y");
    is_set("CONFIG_MODULES").then(|| KernelConfig {
        path: path.to_owned(),
        verifies_signatures: is_set("CONFIG_MODULE_SIG"),
        enforces_signatures: is_set("CONFIG_MODULE_SIG_FORCE"),
        hash: value("CONFIG_MODULE_SIG_HASH").map(|hash| hash.chars().take(64).collect()),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    const TEXT: &str = "# Linux/x86 6.1\nCONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n# CONFIG_MODULE_SIG_FORCE is not set\n\
                        CONFIG_MODULE_SIG_SHA256=y\nCONFIG_MODULE_SIG_HASH=\"sha256\"\n";

    fn parsed(text: &str) -> Option<(bool, bool, Option<String>)> {
        parse(Path::new("/x"), text.as_bytes())
            .map(|config| (config.verifies_signatures, config.enforces_signatures, config.hash))
    }

    #[test]
    fn what_the_kernel_was_built_with_is_read() {
        assert_eq!(parsed(TEXT), Some((true, false, Some("sha256".to_owned()))));
        let forced = TEXT.replace("# CONFIG_MODULE_SIG_FORCE is not set", "CONFIG_MODULE_SIG_FORCE=y");
        assert_eq!(parsed(&forced), Some((true, true, Some("sha256".to_owned()))));
        assert_eq!(parsed("CONFIG_MODULES=y\n# CONFIG_MODULE_SIG is not set\n"), Some((false, false, None)));
        assert_eq!(parsed("something else"), None);
    }

    #[test]
    fn the_first_configuration_that_is_there_counts() {
        let folder = tempfile::tempdir().unwrap();
        let places = ["config-6.1", "config", "config.gz"].map(|name| folder.path().join(name));
        assert_eq!(read(&places), None);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(TEXT.as_bytes()).unwrap();
        fs::write(&places[2], packed.finish().unwrap()).unwrap();
        let found = |places: &[PathBuf]| read(places).map(|config| config.path);
        assert_eq!(found(&places).as_ref(), Some(&places[2]));
        fs::write(&places[1], TEXT).unwrap();
        fs::write(&places[0], "torn").unwrap();
        assert_eq!(found(&places).as_ref(), Some(&places[1]));
    }
}
