//! Loads whose images somebody has looked at.

use super::*;
use crate::model::{
    Capability, Capture, Compression, CompressionFormat, DigestCheck, ElfFacts, ExaminedImage, ImageExtent, ImageMarks,
    ImageName, ImageProblem, ImageProblemKind, Imports, KernelConfig, KernelPolicy, KeyFacts, KeySource, Manager,
    ModInfo, ModInfoPair, ModuleFacts, ModuleImage, ModuleParameter, Problem, Provenance, SectionFacts, SignatureFacts,
    SignatureVerdict, Signer, SymbolOfInterest,
};

fn whole(text: &str) -> Option<Bytes> {
    Some(Bytes::whole(text))
}

fn section(name: &str, size_bytes: u64, entropy_bits: Option<f64>, flags: [bool; 3]) -> SectionFacts {
    let [is_allocated, is_executable, is_writable] = flags;
    SectionFacts { name: Bytes::whole(name), size_bytes, entropy_bits, is_allocated, is_executable, is_writable }
}

/// A description with every key.
fn modinfo() -> ModInfo {
    let list = |entries: &[&str]| entries.iter().map(|entry| Bytes::whole(*entry)).collect();
    ModInfo {
        name: whole("bar"),
        version: whole("1.0"),
        srcversion: whole("0123456789ABCDEF0123456"),
        license: whole("GPL"),
        vermagic: whole("6.1.0-28-amd64 SMP preempt mod_unload modversions"),
        depends: whole("x_tables,nfnetlink"),
        intree: None,
        retpoline: whole("Y"),
        staging: whole("Y"),
        livepatch: whole("Y"),
        authors: list(&["A. Nobody <a@example.org>", ""]),
        descriptions: list(&["does\nnothing"]),
        aliases: list(&["pci:v00008086d*"]),
        softdeps: list(&["pre: crc32c"]),
        firmware: list(&["foo.bin"]),
        import_namespaces: list(&["CRYPTO_INTERNAL"]),
        parameters: vec![ModuleParameter { name: Bytes::whole("debug"), description: whole("says more"), kind: None }],
        others: vec![ModInfoPair { key: Bytes::whole("x"), value: Bytes::whole("y") }],
        repeated: vec!["name"],
        entry_count: 100,
        left_out_count: 3,
    }
}

fn elf() -> ElfFacts {
    let symbol = |symbol, capability| SymbolOfInterest { symbol, capability };
    ElfFacts {
        is_64_bit: true,
        is_big_endian: false,
        is_ident_false: true,
        machine: 62,
        kind: 2,
        name: whole("foo"),
        marks: ImageMarks {
            this_module: true,
            modinfo: true,
            versions: true,
            init_text: true,
            livepatch: true,
            kcfi: true,
            retpoline: true,
            return_thunk: true,
            btf: true,
        },
        sections: vec![
            section(".text", 4096, Some(5.6), [true, true, false]),
            section(".rela.text", 960, Some(2.0), [false; 3]),
            section(".bss", 64, None, [true, false, true]),
            section(".comment", 43, Some(4.4), [false; 3]),
        ],
        section_count: 97,
        modinfo: Some(modinfo()),
        imports: Imports {
            undefined_count: 41,
            of_interest: vec![symbol("register_ftrace_function", Capability::FunctionHook)],
            mentioned: vec![symbol("kallsyms_lookup_name", Capability::SymbolLookup)],
        },
    }
}

fn key() -> KeyFacts {
    KeyFacts {
        subject: "CN=Machine owner".to_owned(),
        algorithm: "rsa-2048".to_owned(),
        sha256: [0x77; 32],
        source: KeySource::File("/var/lib/dkms/mok.pub".into()),
        revoked: true,
        in_kernel: Some(false),
    }
}

fn signature(verdict: SignatureVerdict) -> SignatureFacts {
    let signer = Signer {
        name: Some("Machine owner".to_owned()),
        key_id: "0A:1B".to_owned(),
        digest_algorithm: "sha512".to_owned(),
        signature_algorithm: "rsa".to_owned(),
    };
    SignatureFacts { verdict, signature_bytes: 670, signer: Some(signer), signers: 2 }
}

fn load_of(image: ExaminedImage) -> ModuleCall {
    let capture = Capture { name: ImageName { id: 7, tid: 901 }, image_bytes: 8192, captured_bytes: 8192 };
    ModuleCall { capture: Some(capture), image: Some(Box::new(image)), ..load_from_tmp() }
}

fn kernel_config() -> KernelConfig {
    KernelConfig {
        path: "/boot/config-6.1.0-28-amd64".into(),
        verifies_signatures: true,
        enforces_signatures: false,
        hash: Some("sha256".to_owned()),
    }
}

/// Of its image everything is known, and everything is odd.
fn odd() -> ModuleCall {
    let compression =
        Compression { format: CompressionFormat::Zstd, unpacked_bytes: Some(20_480), ignored_bytes: 7, is_cut: true };
    let problem = Problem { path: "/var/lib/dpkg/diversions".into(), reason: "it is\ntorn".to_owned() };
    load_of(ExaminedImage {
        extent: ImageExtent::Whole,
        sha256: Some([0xab; 32]),
        unpacked_sha256: Some([0xcd; 32]),
        module: Some(ModuleImage { compression: Some(compression), elf: Some(elf()), problem: None }),
        signature: Some(signature(SignatureVerdict::Valid { key: key() })),
        host_keys: 3,
        kernel_policy: KernelPolicy {
            enforces_signatures: Some(false),
            lockdown: Some("integrity"),
            config: Some(kernel_config().into()),
        },
        provenance: Some(Provenance {
            manager: Manager::Dpkg,
            package: Some(b"linux-image-6.1.0-28-amd64".to_vec()),
            version: Some(b"6.1.119-1".to_vec()),
            architecture: Some(b"amd64".to_vec()),
            digest: DigestCheck::Differs,
            problems: vec![problem],
        }),
        was_hasty: false,
        kept: true,
    })
}

/// Calls that together have every field of an image.
pub(super) fn calls() -> Vec<ModuleCall> {
    let problem = ImageProblem { kind: ImageProblemKind::NotElf, detail: "It has no header.".to_owned() };
    let module = Some(ModuleImage { compression: None, elf: None, problem: Some(problem) });
    vec![odd(), load_of(ExaminedImage { extent: ImageExtent::FirstPart, module, ..ExaminedImage::default() })]
}

/// An image that has as much of everything as is kept of one, and all of it with these bytes.
pub(super) fn full_of(bytes: &[u8]) -> ExaminedImage {
    let filled = |max_bytes: usize| Bytes { bytes: bytes[..bytes.len().min(max_bytes)].to_vec(), truncated: true };
    let list = || vec![filled(1024); 64];
    let text = || crate::model::text::text(&filled(1024).bytes);
    let mut image = *odd().image.unwrap();
    let module = image.module.as_mut().unwrap();
    module.problem = Some(ImageProblem { kind: ImageProblemKind::BrokenElf, detail: text() });
    let elf = module.elf.as_mut().unwrap();
    elf.name = Some(filled(60));
    elf.sections =
        vec![SectionFacts { name: filled(64), size_bytes: u64::MAX, ..section("", 0, Some(8.0), [true; 3]) }; 96];
    elf.section_count = u32::MAX;
    // There are no more that have a meaning.
    let symbols = elf.imports.of_interest.repeat(40);
    (elf.imports.of_interest, elf.imports.mentioned) = (symbols.clone(), symbols);
    let info = elf.modinfo.as_mut().unwrap();
    for value in [
        &mut info.name,
        &mut info.version,
        &mut info.srcversion,
        &mut info.license,
        &mut info.vermagic,
        &mut info.depends,
    ] {
        *value = Some(filled(1024));
    }
    for entries in [
        &mut info.authors,
        &mut info.descriptions,
        &mut info.aliases,
        &mut info.softdeps,
        &mut info.firmware,
        &mut info.import_namespaces,
    ] {
        *entries = list();
    }
    info.others = vec![ModInfoPair { key: filled(64), value: filled(1024) }; 64];
    info.parameters = vec![ModuleParameter { name: filled(1024), ..ModuleParameter::default() }; 128];
    (info.entry_count, info.left_out_count) = (u64::MAX, u64::MAX);
    let signature = image.signature.as_mut().unwrap();
    let signer = signature.signer.as_mut().unwrap();
    (signer.name, signer.key_id, signer.digest_algorithm) = (Some(text()), text(), text());
    signature.verdict = SignatureVerdict::Mismatch { key: KeyFacts { subject: text(), ..key() } };
    let provenance = image.provenance.as_mut().unwrap();
    (provenance.package, provenance.version) = (Some(filled(1024).bytes), Some(filled(1024).bytes));
    provenance.problems = vec![Problem { path: "/x".into(), reason: text() }; 9];
    image
}

#[test]
fn load_of_an_image_that_is_odd_in_every_way() {
    insta::assert_snapshot!(pretty(&render_call(odd())));
}

#[test]
fn an_image_that_nobody_could_look_at_is_told_as_such() {
    let capture = Capture { name: ImageName { id: 7, tid: 901 }, image_bytes: 8192, captured_bytes: 4096 };
    let call = ModuleCall { capture: Some(capture), ..load_of(ExaminedImage::default()) };
    let document = render_call(call.clone());
    assert_eq!(document["lkm_monitor"]["image"], json!({ "extent": "not-examined", "captured_bytes": 4096 }));
    for absent in ["modinfo", "signature", "package"] {
        assert_eq!(document["lkm_monitor"][absent], Value::Null, "{absent}");
    }
    // Nobody has looked yet, or nothing is captured.
    let document = render_call(ModuleCall { image: None, ..call });
    assert_eq!(document["lkm_monitor"]["image"], Value::Null);
}

#[test]
fn what_a_signature_is_worth_is_told_as_ecs_has_it() {
    let told = |verdict: SignatureVerdict| {
        let load = load_of(ExaminedImage { signature: Some(signature(verdict)), ..*odd().image.unwrap() });
        let module = ModuleFacts { taints: Some(0), ..load.module.clone() };
        let document = render_call(ModuleCall { module, ..load });
        let signature = &document["file"]["code_signature"];
        ["exists", "valid", "trusted", "status"].map(|field| signature[field].clone())
    };
    let known = KeyFacts { revoked: false, in_kernel: Some(true), ..key() };
    let of = |exists: bool, valid: Option<bool>, trusted: Option<bool>, status: &str| {
        [json!(exists), json!(valid), json!(trusted), json!(status)]
    };
    let valid = |key| SignatureVerdict::Valid { key };
    assert_eq!(told(valid(known.clone())), of(true, Some(true), Some(true), "valid"));
    assert_eq!(told(valid(key())), of(true, Some(true), Some(false), "valid"));
    assert_eq!(told(SignatureVerdict::Mismatch { key: known }), of(true, Some(false), Some(false), "mismatch"));
    assert_eq!(told(SignatureVerdict::Malformed("x".to_owned())), of(true, Some(false), None, "malformed"));
    assert_eq!(told(SignatureVerdict::Unsupported("x".to_owned())), of(true, None, None, "unsupported"));
    assert_eq!(told(SignatureVerdict::UnknownKey { listed: None }), of(true, None, None, "unknown-key"));
    assert_eq!(told(SignatureVerdict::Absent), of(false, None, None, "absent"));
}

#[test]
fn a_certificate_on_the_host_is_trusted_only_if_the_kernel_does() {
    let trusted = |source: KeySource, enforces_signatures: Option<bool>, taints: Option<u64>| {
        let verdict = SignatureVerdict::Valid { key: KeyFacts { revoked: false, in_kernel: None, source, ..key() } };
        let kernel_policy = KernelPolicy { enforces_signatures, ..KernelPolicy::default() };
        let image = ExaminedImage { signature: Some(signature(verdict)), kernel_policy, ..*odd().image.unwrap() };
        let load = load_of(image);
        let module = ModuleFacts { taints, ..load.module.clone() };
        render_call(ModuleCall { module, ..load })["file"]["code_signature"]["trusted"].clone()
    };
    let (file, image) = (|| KeySource::File("/etc/keys/a".into()), || KeySource::KernelImage("/boot/vmlinuz".into()));
    let verifies = Some(false);
    assert_eq!(trusted(file(), verifies, Some(0)), json!(true), "the kernel took it");
    assert_eq!(trusted(file(), verifies, Some(taint::UNSIGNED)), json!(false));
    assert_eq!(trusted(file(), None, Some(0)), json!(null), "this kernel takes anything");
    assert_eq!(trusted(file(), verifies, None), json!(null), "it did not come that far");
    assert_eq!(trusted(image(), None, None), json!(true));
    assert_eq!(trusted(image(), verifies, Some(taint::UNSIGNED)), json!(false), "not every key there is for modules");
}

/// The same, with few symbols: those that there are can be told.
fn load_of_huge(bytes: &[u8]) -> ModuleCall {
    let mut image = full_of(bytes);
    image.module.as_mut().unwrap().elf.as_mut().unwrap().imports = elf().imports;
    load_of(image)
}

#[test]
fn of_a_huge_image_the_lists_go_before_anything_else() {
    let mut call = load_of_huge(&[b'x'; 160]);
    call.process.as_mut().unwrap().ancestors[0].arguments = vec![Bytes::whole(vec![b'a'; 300])];
    let document = render_call(call);
    let cut = [
        "file.elf.sections",
        "lkm_monitor.modinfo.aliases",
        "lkm_monitor.modinfo.descriptions",
        "lkm_monitor.modinfo.firmware",
        "lkm_monitor.modinfo.namespaces",
        "lkm_monitor.modinfo.others",
        "lkm_monitor.modinfo.parameters",
        "lkm_monitor.modinfo.softdeps",
        "lkm_monitor.module.author",
    ];
    assert_eq!(document["lkm_monitor"]["truncated"], json!(cut));
    for field in cut {
        let pointer = format!("/{}", field.replace('.', "/"));
        assert_eq!(document.pointer(&pointer), None, "{field}");
    }
    // What rules are about stays.
    let own = &document["lkm_monitor"];
    assert_eq!(own["modinfo"]["repeated"], json!(["name"]));
    assert_eq!(own["modinfo"]["name"], "x".repeat(160));
    assert_eq!((&own["image"]["section_count"], &own["image"]["kept"]), (&json!(u32::MAX), &json!(true)));
    assert_eq!(document["process"]["parent"]["args"][0], "a".repeat(300));
}

#[test]
fn sections_go_first() {
    let with_argument_of = |bytes: usize| {
        let mut call = load_of_huge(b"x");
        call.process.as_mut().unwrap().caller.arguments = vec![Bytes::whole(vec![b'a'; bytes])];
        render_call(call)
    };
    let small = with_argument_of(1);
    assert_eq!(small["lkm_monitor"]["truncated"], Value::Null);
    assert_eq!(small["file"]["elf"]["sections"].as_array().map(Vec::len), Some(40), "of 96");
    let cut = (1..100).map(|step| with_argument_of(step * 100));
    let cut = cut.into_iter().find(|document| document["lkm_monitor"]["truncated"] != Value::Null).unwrap();
    assert_eq!(cut["lkm_monitor"]["truncated"], json!(["file.elf.sections"]));
    assert_eq!(cut["lkm_monitor"]["modinfo"]["aliases"].as_array().map(Vec::len), Some(16), "of 64");
}
