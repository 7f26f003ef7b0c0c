use std::fs;

use super::*;
use crate::signature::fixtures::{KEY_ID, P256, P384, RSA, kernel_image};

struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        host.write("image", &kernel_image(&[b"\x7fELF", &RSA.certificate[..]].concat()));
        host.write("listed", b"");
        fs::create_dir(host.path("trust")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
    }

    fn sources(&self) -> KeySources {
        KeySources {
            kernel_images: vec![self.path("none"), self.path("image")],
            certificates: vec![self.path("none"), self.path("trust")],
            kernel_keys: self.path("listed"),
        }
    }
}

fn sources_of(keys: &Keys) -> Vec<KeySource> {
    keys.facts().map(|key| key.source).collect()
}

#[test]
fn a_certificate_is_from_where_it_was_found_first() {
    let host = Host::new();
    host.write("trust/a", &RSA.certificate);
    host.write("trust/b", &P256.certificate);
    host.write("trust/c", &P256.certificate);
    let keys = Keys::read(&host.sources());
    let (image, file) = (KeySource::KernelImage(host.path("image")), KeySource::File(host.path("trust/b")));
    assert_eq!((sources_of(&keys), keys.problems()), (vec![image, file], &[][..]));
    assert_eq!((keys.len(), keys.is_empty()), (2, false));
    assert_eq!(keys.find(&SignerId::SubjectKeyId(KEY_ID.to_vec())).count(), 2);
    assert_eq!(keys.find(&SignerId::SubjectKeyId(vec![1])).count(), 0);
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_read() {
    let host = Host::new();
    host.write("trust/a", b"none");
    host.write("trust/b", &P256.certificate);
    host.write("image", b"none");
    fs::remove_file(host.path("listed")).unwrap();
    let keys = Keys::read(&host.sources());
    assert_eq!(keys.len(), 1);
    assert_eq!(keys.facts().next().unwrap().in_kernel, None);
    let problem = |name, start: &str| {
        let found = keys.problems().iter().find(|problem| problem.path == host.path(name)).unwrap();
        assert!(found.reason.starts_with(start), "{found:?}");
    };
    assert_eq!(keys.problems().len(), 3);
    problem("image", "it is no bzImage");
    problem("trust/a", "no certificate in DER");
    problem("listed", "No such file");

    fs::remove_file(host.path("image")).unwrap();
    assert_eq!(Keys::read(&host.sources()).problems()[0].path, host.path("none"), "neither is there");
    let nothing = KeySources { kernel_images: Vec::new(), certificates: Vec::new(), kernel_keys: host.path("none") };
    assert!(Keys::read(&nothing).is_empty());
}

#[test]
fn what_was_changed_is_read_again_and_an_image_only_then() {
    let host = Host::new();
    let mut keys = Keys::read(&host.sources());
    assert_eq!(keys.len(), 1);
    // Were the image searched again, nothing would be found: the mark is put where it is remembered.
    keys.image.as_mut().unwrap().problem = Some("remembered".to_owned());
    host.write("trust/a", &P384.certificate);
    keys.refresh(&host.sources());
    assert_eq!((keys.len(), keys.problems()[0].reason.as_str()), (2, "remembered"));

    fs::remove_file(host.path("trust/a")).unwrap();
    keys.refresh(&host.sources());
    assert_eq!(keys.len(), 1);
}

/// Who is root puts an image with a key of his own in the place of the running kernel's, and signs his modules with it.
#[test]
fn another_image_does_not_bring_another_key_of_the_running_kernel() {
    let host = Host::new();
    let sources =
        KeySources { kernel_images: ["earlier", "image"].map(|name| host.path(name)).into(), ..host.sources() };
    let mut keys = Keys::read(&sources);
    let image = KeySource::KernelImage(host.path("image"));
    let is_as_before = |keys: &Keys| {
        assert_eq!((sources_of(keys), keys.problems()), (vec![image.clone()], &[][..]));
        let found = keys.facts().next().unwrap();
        assert_eq!(found.algorithm, "rsa-2048", "the running kernel has what it had");
    };
    is_as_before(&keys);
    let foreign = kernel_image(&[b"\x7fELF", &P256.certificate[..]].concat());
    // In its place, and in one that is looked at before.
    for name in ["image", "earlier"] {
        host.write(name, &foreign);
        keys.refresh(&sources);
        is_as_before(&keys);
    }
    for name in ["image", "earlier"] {
        fs::remove_file(host.path(name)).unwrap();
    }
    keys.refresh(&sources);
    is_as_before(&keys);
}

#[test]
fn as_long_as_no_key_was_found_in_the_image_it_is_searched_when_it_changed() {
    let host = Host::new();
    let image = fs::read(host.path("image")).unwrap();
    host.write("image", b"none");
    let mut keys = Keys::read(&host.sources());
    assert!(keys.is_empty() && keys.problems()[0].reason.starts_with("it is no bzImage"));
    keys.image.as_mut().unwrap().problem = Some("remembered".to_owned());
    keys.refresh(&host.sources());
    assert_eq!((keys.len(), keys.problems()[0].reason.as_str()), (0, "remembered"));
    host.write("image", &image);
    keys.refresh(&host.sources());
    assert_eq!((keys.len(), keys.problems()), (1, &[][..]));
}

#[test]
fn certificates_and_problems_are_bounded() {
    let host = Host::new();
    for number in 0..MAX_PROBLEMS + 10 {
        host.write(&format!("trust/{number}"), b"none");
    }
    assert_eq!(Keys::read(&host.sources()).problems().len(), MAX_PROBLEMS);
}
