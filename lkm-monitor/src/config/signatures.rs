//! `[signatures]`: whose keys modules may be signed with.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Invalid, Key};
use crate::signature::KeySources;

/// Our own, what the firmware was told to trust (shim's list of machine owner keys), and where distributions keep those of modules that are
/// built on the host.
const USUAL: [&str; 8] = [
    "/etc/lkm-monitor/certificates",
    "/sys/firmware/efi/mok-variables/MokListRT",
    "/etc/keys",
    "/etc/pki/akmods/certs",
    "/etc/pki/elrepo",
    "/etc/uefi/certs",
    "/var/lib/shim-signed/mok",
    "/var/lib/dkms/mok.pub",
];

/// `[signatures]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignaturesConfig {
    /// Files with certificates, in DER or PEM, and folders of such files.
    pub certificates: Vec<PathBuf>,
}

impl Default for SignaturesConfig {
    fn default() -> Self {
        Self { certificates: USUAL.map(PathBuf::from).to_vec() }
    }
}

impl SignaturesConfig {
    /// Where keys are looked for on a host with the kernel of this release.
    pub fn sources(&self, kernel_release: &str) -> Result<KeySources, Invalid> {
        if let Some(path) = self.certificates.iter().find(|path| !path.is_absolute()) {
            let problem = format!("`{}` must be an absolute path", path.display());
            return Err(Invalid::new(Key::from("signatures").key("certificates"), problem));
        }
        Ok(KeySources {
            kernel_images: vec![
                format!("/boot/vmlinuz-{kernel_release}").into(),
                // As process 1 sees it: a service manager may hide modules from the daemon's own side.
                format!("/proc/1/root/lib/modules/{kernel_release}/vmlinuz").into(),
            ],
            certificates: self.certificates.clone(),
            kernel_keys: "/proc/keys".into(),
        })
    }
}
