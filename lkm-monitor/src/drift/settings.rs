//! What the kernel was told about modules, and its taint mask.

use super::host::Host;
use crate::model::{KernelSettings, text::text};

/// `COMMAND_LINE_SIZE` is 2048 on x86 and 4096 elsewhere.
const MAX_COMMAND_LINE_BYTES: u64 = 64 << 10;
const MAX_VALUE_BYTES: u64 = 4096;

/// What words of the kernel's command line begin with that say which modules are loaded, by whom, and under which rules: those of
/// kernel-parameters.txt and of module parameters, of modprobe (kmod reads /proc/cmdline), of systemd-modules-load(8), of
/// dracut.cmdline(7), and the first program, which decides on everything else. Dashes and underscores are one in names of parameters.
const WORDS: [&str; 18] = [
    "module_blacklist",
    "module.sig_enforce",
    "modprobe.blacklist",
    "modprobe_blacklist",
    "modules_load",
    "modules-load",
    "rd.modules_load",
    "rd.modules-load",
    "rd.driver.blacklist",
    "rd.driver.pre",
    "rd.driver.post",
    "lockdown",
    "lsm",
    "security",
    "init",
    "rdinit",
    "ima_appraise",
    "sysctl.kernel.modprobe",
];

/// Reads them, where they can be read.
pub(super) fn read(host: &Host) -> KernelSettings {
    let value = |path: &str| host.read(path, MAX_VALUE_BYTES).ok();
    let command_line = host.read("proc/cmdline", MAX_COMMAND_LINE_BYTES).ok();
    KernelSettings {
        command_line: command_line.map(|line| words(&line)),
        lockdown: value("sys/kernel/security/lockdown").as_deref().and_then(in_force),
        sig_enforce: value("sys/module/module/parameters/sig_enforce").as_deref().and_then(flag),
        modules_disabled: value("proc/sys/kernel/modules_disabled").as_deref().and_then(flag),
        modprobe: value("proc/sys/kernel/modprobe").map(|path| text(path.strip_suffix(b"\n").unwrap_or(&path))),
    }
}

/// The kernel's taint mask, a number of bits (Documentation/admin-guide/tainted-kernels.rst).
pub(super) fn taints(host: &Host) -> Option<u64> {
    let mask = host.read("proc/sys/kernel/tainted", MAX_VALUE_BYTES).ok()?;
    str::from_utf8(&mask).ok()?.trim().parse().ok()
}

/// The words that matter, in their order. Blanks in double quotes part no words (lib/cmdline.c, `next_arg`).
fn words(line: &[u8]) -> Vec<String> {
    let mut quoted = false;
    let is_blank = |byte: &u8| {
        quoted ^= *byte == b'"';
        !quoted && byte.is_ascii_whitespace()
    };
    let words: Vec<&[u8]> = line.split(is_blank).filter(|word| !word.is_empty()).collect();
    words.into_iter().filter(|word| matters(word)).map(text).collect()
}

fn matters(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"\"").unwrap_or(word);
    let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
    let same = |one: u8, other: u8| one == other || (matches!(one, b'-' | b'_') && matches!(other, b'-' | b'_'));
    let is = |known: &&str| known.len() == name.len() && known.bytes().zip(name).all(|(one, other)| same(one, *other));
    WORDS.iter().any(is)
}

/// `none [integrity] confidentiality`: what is in force stands in brackets.
fn in_force(value: &[u8]) -> Option<String> {
    let (_, rest) = str::from_utf8(value).ok()?.split_once('[')?;
    let (current, _) = rest.split_once(']')?;
    ["none", "integrity", "confidentiality"].into_iter().find(|known| *known == current).map(str::to_owned)
}

fn flag(value: &[u8]) -> Option<bool> {
    match value.trim_ascii() {
        b"Y" | b"1" => Some(true),
        b"N" | b"0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_that_matter_are_kept_in_their_order() {
        let line = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet module.sig_enforce=1 lsm=lockdown,yama init=/bin/x \
                    module_blacklist=a,b modules-load=loop modprobe.blacklist=c\n";
        let kept =
            ["module.sig_enforce=1", "lsm=lockdown,yama", "init=/bin/x", "module_blacklist=a,b", "modules-load=loop"];
        assert_eq!(words(line.as_bytes()), [&kept[..], &["modprobe.blacklist=c"]].concat());
        assert_eq!(words(b"x=\"a init=/no\" \"init=/a b\" initrd=x"), ["\"init=/a b\""]);
        assert_eq!(words(b"module-blacklist=a\xff"), ["module-blacklist=a\\xff"]);
    }

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_not_known() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::open(&root.path().canonicalize().unwrap());
        assert_eq!((read(&host), taints(&host)), (KernelSettings::default(), None));
        for (path, value) in [
            ("proc/cmdline", "quiet lockdown=integrity\n"),
            ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
            ("sys/module/module/parameters/sig_enforce", "Y\n"),
            ("proc/sys/kernel/modules_disabled", "0\n"),
            ("proc/sys/kernel/modprobe", "/sbin/modprobe\n"),
            ("proc/sys/kernel/tainted", "12288\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        let settings = KernelSettings {
            command_line: Some(vec!["lockdown=integrity".to_owned()]),
            lockdown: Some("integrity".to_owned()),
            sig_enforce: Some(true),
            modules_disabled: Some(false),
            modprobe: Some("/sbin/modprobe".to_owned()),
        };
        assert_eq!((read(&host), taints(&host)), (settings, Some(12_288)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_words_or_none(line in any::<Vec<u8>>()) {
            for word in words(&line) {
                prop_assert!(!word.is_empty() && !word.chars().any(char::is_control));
            }
            let _ = (in_force(&line), flag(&line));
        }
    }
}
