use std::sync::Arc;

use super::*;
use crate::{
    assess::samples::{finding, findings, load, refused},
    model::{
        Bytes, Capability, Content, FileState, Imports, KernelConfig, KernelPolicy, KeyFacts, KeySource, ListedKey,
        LoadStage, ModInfo, ModuleFacts, ModuleImage, SignatureFacts, Signer, SymbolOfInterest, samples::build_key,
    },
};

const HASH: [u8; 32] = [0xab; 32];

/// A module of the kernel's own tree, of which nothing is odd.
fn elf() -> ElfFacts {
    let whole = |text: &str| Some(Bytes::whole(text));
    let modinfo = ModInfo { name: whole("foo"), license: whole("GPL"), intree: whole("Y"), ..ModInfo::default() };
    ElfFacts { name: whole("foo"), modinfo: Some(modinfo), ..ElfFacts::default() }
}

fn signature(verdict: SignatureVerdict) -> SignatureFacts {
    let signer = Signer {
        name: Some("Some key".to_owned()),
        key_id: "0A:1B".to_owned(),
        digest_algorithm: "sha256".to_owned(),
        signature_algorithm: "rsa".to_owned(),
    };
    SignatureFacts { verdict, signature_bytes: 600, signer: Some(signer), signers: 1 }
}

fn provenance(manager: Manager, digest: DigestCheck) -> Option<Provenance> {
    let package = (manager != Manager::None).then(|| b"linux-image".to_vec());
    Some(Provenance { manager, package, version: None, architecture: None, digest, problems: Vec::new() })
}

/// An image that a key of this host signed.
fn signed() -> ExaminedImage {
    ExaminedImage {
        extent: ImageExtent::Whole,
        sha256: Some(HASH),
        module: Some(ModuleImage { elf: Some(elf()), ..ModuleImage::default() }),
        signature: Some(signature(SignatureVerdict::Valid { key: build_key() })),
        host_keys: 2,
        ..ExaminedImage::default()
    }
}

/// The same with this verdict on its signature.
fn with_verdict(verdict: SignatureVerdict) -> ExaminedImage {
    ExaminedImage { signature: Some(signature(verdict)), ..signed() }
}

/// The same as a package brought it.
fn packaged(image: ExaminedImage) -> ExaminedImage {
    ExaminedImage { provenance: provenance(Manager::Dpkg, DigestCheck::Matches), ..image }
}

fn with_elf(change: impl FnOnce(&mut ElfFacts)) -> ExaminedImage {
    let mut elf = elf();
    change(&mut elf);
    ExaminedImage { module: Some(ModuleImage { elf: Some(elf), ..ModuleImage::default() }), ..signed() }
}

fn with_modinfo(change: impl FnOnce(&mut ModInfo)) -> ExaminedImage {
    with_elf(|elf| change(elf.modinfo.as_mut().unwrap()))
}

fn load_of(image: ExaminedImage) -> ModuleCall {
    ModuleCall { image: Some(Box::new(image)), ..load() }
}

fn tainted(image: ExaminedImage, taints: Option<u64>) -> ModuleCall {
    ModuleCall { module: ModuleFacts { taints, ..load().module }, ..load_of(image) }
}

fn severity(call: &ModuleCall, code: u16) -> Option<Severity> {
    finding(call, code).map(|(severity, _)| severity)
}

/// How each of the severities falls when a package has these bytes, and that the sentence says so.
#[track_caller]
fn assert_lowered_by_a_package(image: ExaminedImage, code: u16) {
    let of_tainted = |image| tainted(image, Some(taint::UNSIGNED | taint::OUT_OF_TREE));
    // Who is root builds what he likes.
    let built = ExaminedImage { provenance: provenance(Manager::Dkms, DigestCheck::Matches), ..image.clone() };
    let [built, bare] = [built, image.clone()].map(|image| finding(&of_tainted(image), code).unwrap().0);
    let one_step = [(Severity::Low, Severity::Medium), (Severity::Medium, Severity::High)];
    assert!(one_step.contains(&(built, bare)), "{built:?} {bare:?}");
    let (severity, reason) = finding(&of_tainted(packaged(image.clone())), code).unwrap();
    assert_eq!(severity, Severity::Low);
    assert!(reason.ends_with("; dpkg package linux-image has these bytes"), "{reason}");
    for (manager, digest) in [
        (Manager::Dpkg, DigestCheck::Differs),
        (Manager::Dpkg, DigestCheck::NotRecorded),
        (Manager::Dkms, DigestCheck::Differs),
        (Manager::KernelBuild, DigestCheck::NotRecorded),
        (Manager::Unknown, DigestCheck::NotRecorded),
    ] {
        let image = ExaminedImage { provenance: provenance(manager, digest), ..image.clone() };
        let (severity, reason) = finding(&of_tainted(image), code).unwrap();
        assert!(severity > Severity::Low && !reason.contains("has these bytes"), "{manager:?} {digest:?}: {reason}");
    }
    let nobodys = ExaminedImage { provenance: provenance(Manager::None, DigestCheck::NotRecorded), ..image };
    let (severity, reason) = finding(&of_tainted(nobodys), code).unwrap();
    assert!(severity > Severity::Low && reason.ends_with("; no package owns its file"), "{reason}");
}

#[test]
fn a_module_of_the_kernels_tree_that_is_signed_is_telemetry() {
    assert_eq!(findings(&load_of(signed())), []);
    assert_eq!(findings(&load_of(packaged(signed()))), []);
}

#[test]
fn nothing_is_said_of_bytes_that_nobody_has_seen() {
    let nothing = load_of(ExaminedImage::default());
    for code in 150..=157 {
        assert_eq!(finding(&nothing, code), None, "{code}");
    }
}

#[test]
fn unsigned_modules_match_where_the_kernel_verifies() {
    let unsigned = with_verdict(SignatureVerdict::Absent);
    let (severity, reason) = finding(&tainted(unsigned.clone(), Some(taint::UNSIGNED)), 150).unwrap();
    assert_eq!(severity, Severity::Medium);
    assert!(reason.starts_with("module foo was loaded by /usr/bin/kmod run by root"), "{reason}");
    assert!(reason.ends_with("; its image has no signature; the kernel has marked it as unsigned"), "{reason}");
    for other in [
        SignatureVerdict::Malformed("it is cut".to_owned()),
        SignatureVerdict::Unsupported("it is odd".to_owned()),
        SignatureVerdict::UnknownKey { listed: None },
        SignatureVerdict::Mismatch { key: build_key() },
    ] {
        assert_eq!(finding(&tainted(with_verdict(other.clone()), Some(taint::UNSIGNED)), 150), None, "{other:?}");
    }
    assert_lowered_by_a_package(unsigned.clone(), 150);
    // A kernel that verifies nothing gives no such taint, and one of its own keys is no reason to alert on everything.
    for taints in [None, Some(0), Some(taint::OUT_OF_TREE)] {
        assert_eq!(finding(&tainted(unsigned.clone(), taints), 150), None, "{taints:?}");
    }
}

#[test]
fn signatures_of_other_bytes_match_and_are_grave_if_code_ran() {
    let mismatch = with_verdict(SignatureVerdict::Mismatch { key: build_key() });
    let (severity, reason) = finding(&load_of(mismatch.clone()), 151).unwrap();
    assert_eq!(severity, Severity::High);
    assert!(reason.ends_with("; the key `CN=Build key` did not sign what the module holds"), "{reason}");
    let malformed = with_verdict(SignatureVerdict::Malformed("it is cut".to_owned()));
    let reason = finding(&load_of(malformed), 151).unwrap().1;
    assert!(reason.ends_with("; the signature is malformed: it is cut"), "{reason}");
    let stage = |stage| severity_of_stage(&mismatch, stage);
    assert_eq!(stage(LoadStage::Refused), Some(Severity::Medium));
    assert_eq!(stage(LoadStage::InitFailed), Some(Severity::High));
    assert_eq!(stage(LoadStage::Unknown), Some(Severity::High), "it may have run");
    // A package that has these bytes is no excuse for a signature that is of others.
    assert_eq!(finding(&load_of(packaged(mismatch)), 151).unwrap().0, Severity::High);
    for other in [SignatureVerdict::Absent, SignatureVerdict::UnknownKey { listed: None }] {
        assert_eq!(finding(&load_of(with_verdict(other.clone())), 151), None, "{other:?}");
    }
}

/// The kernel reads signatures that the daemon cannot read, and knows of two keys of one name which one signed.
#[test]
fn what_the_kernel_verified_and_the_daemon_cannot_is_no_grave_alert() {
    const WORDS: &str = "; the daemon cannot verify a signature that the kernel accepted";
    for verdict in
        [SignatureVerdict::Mismatch { key: build_key() }, SignatureVerdict::Malformed("it is odd".to_owned())]
    {
        let image = verified_by_kernel(with_verdict(verdict));
        let taken = tainted(image.clone(), Some(taint::OUT_OF_TREE));
        let (severity, reason) = finding(&taken, 151).unwrap();
        assert_eq!(severity, Severity::Medium, "{reason}");
        assert!(reason.ends_with(WORDS), "{reason}");
        let is_grave = |call: &ModuleCall| {
            let (severity, reason) = finding(call, 151).unwrap();
            assert_eq!(severity, Severity::High, "{reason}");
            assert!(!reason.contains("accepted"), "{reason}");
        };
        is_grave(&tainted(image.clone(), Some(taint::UNSIGNED)));
        is_grave(&tainted(image.clone(), None));
        // It was told not to look, or cannot.
        is_grave(&ModuleCall { flags: Some(1), ..taken.clone() });
        is_grave(&ModuleCall { flags: Some(2), ..taken });
        let built = |verifies_signatures| {
            let (path, hash) = ("/boot/config".into(), None);
            let config = KernelConfig { path, verifies_signatures, enforces_signatures: false, hash };
            let kernel_policy = KernelPolicy { config: Some(Arc::new(config)), ..image.kernel_policy.clone() };
            tainted(ExaminedImage { kernel_policy, ..image.clone() }, Some(0))
        };
        is_grave(&built(false));
        assert_eq!(finding(&built(true), 151).unwrap().0, Severity::Medium);
    }
}

fn severity_of_stage(image: &ExaminedImage, stage: LoadStage) -> Option<Severity> {
    severity(&ModuleCall { stage, ..load_of(image.clone()) }, 151)
}

#[test]
fn signers_that_nobody_knows_match() {
    let unknown = with_verdict(SignatureVerdict::UnknownKey { listed: None });
    assert_eq!(finding(&load_of(unknown.clone()), 152), None, "the kernel verifies nothing");
    let (severity, reason) = finding(&tainted(unknown.clone(), Some(taint::UNSIGNED)), 152).unwrap();
    assert_eq!(severity, Severity::High);
    let clause = "; no certificate of this host is the signer's (it names Some key as its signer); \
                  the kernel has marked it as unsigned";
    assert!(reason.ends_with(clause), "{reason}");
    assert_lowered_by_a_package(unknown, 152);
}

/// The image on a host whose kernel verifies signatures.
fn verified_by_kernel(image: ExaminedImage) -> ExaminedImage {
    ExaminedImage {
        kernel_policy: KernelPolicy { enforces_signatures: Some(false), lockdown: None, config: None },
        ..image
    }
}

#[test]
fn what_the_kernel_took_for_signed_is_signed_by_a_key_of_its_own() {
    let unknown = verified_by_kernel(with_verdict(SignatureVerdict::UnknownKey { listed: None }));
    assert_eq!(finding(&load_of(unknown), 152), None);
}

#[test]
fn an_unsigned_module_that_a_verifying_kernel_has_not_marked_is_grave() {
    let unsigned = verified_by_kernel(packaged(with_verdict(SignatureVerdict::Absent)));
    let (severity, reason) = finding(&load_of(unsigned.clone()), 150).unwrap();
    assert_eq!(severity, Severity::High);
    assert!(reason.contains("; its image has no signature; the kernel has not marked it as unsigned"), "{reason}");
    let (severity, _) = finding(&tainted(unsigned, Some(taint::UNSIGNED)), 150).unwrap();
    assert_eq!(severity, Severity::Low);
}

#[test]
fn what_the_kernel_refused_is_signed_by_a_stranger_whatever_it_seems() {
    let listed = ListedKey { name: "Vendor: key".to_owned(), id: Some("0a1b".to_owned()) };
    for verdict in [
        SignatureVerdict::UnknownKey { listed: Some(listed) },
        SignatureVerdict::Unsupported("its digest is sha1".to_owned()),
        SignatureVerdict::Valid { key: KeyFacts { source: KeySource::File("/etc/keys/a".into()), ..build_key() } },
    ] {
        let image = with_verdict(verdict.clone());
        assert_eq!(findings(&load_of(image.clone())), [], "{verdict:?}");
        assert_eq!(finding(&tainted(image.clone(), None), 152), None, "{verdict:?}");
        let refused = tainted(image, Some(taint::UNSIGNED));
        assert_eq!(finding(&refused, 152).unwrap().0, Severity::High, "{verdict:?}");
        // Flags of the call can make it ignore the signature: another rule tells that.
        assert_eq!(finding(&ModuleCall { flags: Some(2), ..refused }, 152), None, "{verdict:?}");
    }
}

#[test]
fn revoked_keys_match() {
    let revoked = with_verdict(SignatureVerdict::Valid { key: KeyFacts { revoked: true, ..build_key() } });
    let (severity, reason) = finding(&load_of(revoked.clone()), 152).unwrap();
    assert_eq!(severity, Severity::High);
    assert!(reason.contains("; the key `CN=Build key` signed the module, and the kernel's blacklist revokes it"));
    // Whoever revoked it meant what it had signed.
    assert_eq!(finding(&load_of(packaged(revoked)), 152).unwrap().0, Severity::High);
}

#[test]
fn another_name_in_the_description_matches() {
    let renamed = with_modinfo(|modinfo| modinfo.name = Some(Bytes::whole("diamorphine")));
    let (severity, reason) = finding(&load_of(renamed.clone()), 153).unwrap();
    assert_eq!(severity, Severity::High);
    assert!(reason.ends_with("; its own description calls it diamorphine"), "{reason}");
    // Of one that was refused the kernel shows nothing; its image has the name that it would have got.
    let unseen = |image| refused(ModuleCall { module: ModuleFacts::default(), ..load_of(image) }, libc::EPERM);
    assert_eq!(severity_of_name(&unseen(renamed)), Some(Severity::High));
    assert_eq!(severity_of_name(&unseen(signed())), None);
    let nameless = with_modinfo(|modinfo| modinfo.name = None);
    let (severity, reason) = finding(&load_of(nameless.clone()), 153).unwrap();
    assert_eq!(severity, Severity::Medium);
    assert!(reason.ends_with("; its description names no module"), "{reason}");
    // The rest may.
    assert_eq!(severity_of_name(&load_of(ExaminedImage { extent: ImageExtent::FirstPart, ..nameless })), None);
    assert_eq!(severity_of_name(&load_of(with_elf(|elf| elf.modinfo = None))), None);
}

fn severity_of_name(call: &ModuleCall) -> Option<Severity> {
    severity(call, 153)
}

#[test]
fn hyphens_and_underscores_are_the_same_in_names() {
    let named = |shown: &str, own: &str| {
        let module = ModuleFacts { name: Some(Bytes::whole(shown)), ..load().module };
        let image = with_modinfo(|modinfo| modinfo.name = Some(Bytes::whole(own)));
        severity_of_name(&ModuleCall { module, ..load_of(image) })
    };
    assert_eq!(named("snd_hda_intel", "snd-hda-intel"), None);
    assert_eq!(named("snd-hda_intel", "snd_hda-intel"), None);
    assert_eq!(named("snd_hda_intel", "snd.hda.intel"), Some(Severity::High));
    assert_eq!(named("foo", "Foo"), Some(Severity::High), "the case counts");
    assert_eq!(named("foo", "foo_"), Some(Severity::High));
}

#[test]
fn a_description_that_contradicts_itself_matches() {
    let repeated = |keys: &[&'static str]| load_of(with_modinfo(|modinfo| modinfo.repeated = keys.to_vec()));
    // As rds_rdma has it.
    assert_eq!(severity_of_name(&repeated(&["license"])), None);
    let (severity, reason) = finding(&repeated(&["name", "license", "vermagic"]), 153).unwrap();
    assert_eq!(severity, Severity::High);
    assert!(reason.ends_with("; its description gives different values of name, vermagic"), "{reason}");
    let both = with_modinfo(|modinfo| (modinfo.name, modinfo.repeated) = (Some(Bytes::whole("bar")), vec!["name"]));
    let reason = finding(&load_of(both), 153).unwrap().1;
    assert!(reason.ends_with("; its own description calls it bar; its description gives different values of name"));
}

#[test]
fn a_file_that_holds_something_else_by_now_matches() {
    let holding = |status, sha256: Option<[u8; 32]>| {
        let after = sha256.map(|hash| FileState { sha256: Some(hash), ..FileState::default() });
        ModuleCall { content: Content { status, after, ..Content::default() }, ..load_of(signed()) }
    };
    let (severity, reason) = finding(&holding(ContentStatus::Gone, None), 154).unwrap();
    assert_eq!(severity, Severity::Medium);
    assert!(reason.ends_with("; a moment later the file was gone"), "{reason}");
    // Also one of which nothing but its content has changed.
    for status in [ContentStatus::Read, ContentStatus::Replaced, ContentStatus::ChangedSince] {
        let (severity, reason) = finding(&holding(status, Some([0xcd; 32])), 154).unwrap();
        assert_eq!(severity, Severity::High, "{status:?}");
        assert!(reason.ends_with("; a moment later the file held other bytes"), "{reason}");
        assert_eq!(finding(&holding(status, Some(HASH)), 154), None, "{status:?}");
    }
    for status in [ContentStatus::NotWanted, ContentStatus::TimedOut, ContentStatus::Busy, ContentStatus::Unreachable] {
        assert_eq!(finding(&holding(status, None), 154), None, "{status:?}");
    }
    // What was loaded is not known.
    let mut part = holding(ContentStatus::Read, Some(HASH));
    part.image.as_mut().unwrap().sha256 = None;
    assert_eq!(finding(&part, 154), None);
}

#[test]
fn modules_from_outside_the_tree_match_and_are_grave_if_the_taint_is_gone() {
    let outside = || with_modinfo(|modinfo| modinfo.intree = None);
    let (severity, reason) = finding(&tainted(outside(), Some(taint::OUT_OF_TREE)), 155).unwrap();
    assert_eq!(severity, Severity::Medium);
    assert!(reason.ends_with("; it was not built with the kernel"), "{reason}");
    let (severity, reason) = finding(&tainted(packaged(outside()), Some(taint::OUT_OF_TREE)), 155).unwrap();
    assert_eq!(severity, Severity::Low);
    assert!(reason.ends_with("; it was not built with the kernel; dpkg package linux-image has these bytes"));
    // A package is no excuse for that.
    for image in [outside(), packaged(outside())] {
        let (severity, reason) = finding(&tainted(image, Some(taint::PROPRIETARY)), 155).unwrap();
        assert_eq!(severity, Severity::High);
        assert!(reason.contains("; it was not built with the kernel, and its taint does not say so"), "{reason}");
    }
    // It was not linked, and so had no taint to hide.
    let refused = refused(tainted(outside(), None), libc::ENOEXEC);
    assert_eq!(finding(&refused, 155).unwrap().0, Severity::Medium);
    let says_nothing = with_elf(|elf| elf.modinfo = None);
    assert!(finding(&tainted(says_nothing.clone(), Some(taint::OUT_OF_TREE)), 155).is_some());
    let part = ExaminedImage { extent: ImageExtent::FirstPart, ..says_nothing };
    assert_eq!(finding(&tainted(part, Some(taint::OUT_OF_TREE)), 155), None, "it may say so further behind");
    // The kernel asks only whether the key is there.
    assert_eq!(finding(&load_of(with_modinfo(|modinfo| modinfo.intree = Some(Bytes::whole("N")))), 155), None);
}

#[test]
fn the_capabilities_of_rootkits_match() {
    const HOOK: SymbolOfInterest =
        SymbolOfInterest { symbol: "register_ftrace_function", capability: Capability::FunctionHook };
    const LOOKUP: SymbolOfInterest =
        SymbolOfInterest { symbol: "kallsyms_lookup_name", capability: Capability::SymbolLookup };
    const USUAL: SymbolOfInterest =
        SymbolOfInterest { symbol: "nf_register_net_hook", capability: Capability::PacketHook };
    let with = |used: &[SymbolOfInterest], named: &[SymbolOfInterest]| {
        let imports = Imports { undefined_count: 9, of_interest: used.to_vec(), mentioned: named.to_vec() };
        with_elf(|elf| elf.imports = imports)
    };
    let ends_with = |image: ExaminedImage, clause: &str| {
        let (severity, reason) = finding(&load_of(image), 156).unwrap();
        assert_eq!(severity, Severity::High);
        assert!(reason.ends_with(clause), "{reason}");
    };
    ends_with(with(&[USUAL, HOOK], &[]), "; it uses register_ftrace_function");
    ends_with(with(&[], &[LOOKUP]), "; it holds the name of kallsyms_lookup_name");
    ends_with(
        with(&[HOOK], &[LOOKUP]),
        "; it uses register_ftrace_function and it holds the name of kallsyms_lookup_name",
    );
    assert_eq!(finding(&load_of(with(&[USUAL], &[])), 156), None, "many drivers have that");
    assert_lowered_by_a_package(with(&[HOOK], &[]), 156);
}

#[test]
fn other_bytes_than_the_packages_match() {
    let of = |manager, digest| load_of(ExaminedImage { provenance: provenance(manager, digest), ..signed() });
    for manager in [Manager::Dpkg, Manager::Rpm] {
        let (severity, reason) = finding(&of(manager, DigestCheck::Differs), 157).unwrap();
        assert_eq!(severity, Severity::High);
        let clause =
            format!("; the file is of {} package linux-image, whose record has another digest", manager.name());
        assert!(reason.ends_with(&clause), "{reason}");
        for digest in [DigestCheck::Matches, DigestCheck::NotRecorded] {
            assert_eq!(finding(&of(manager, digest), 157), None, "{digest:?}");
        }
    }
    assert_eq!(finding(&of(Manager::None, DigestCheck::NotRecorded), 157), None);
}
