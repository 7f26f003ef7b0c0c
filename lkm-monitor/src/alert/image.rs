//! The bytes that were loaded: `file.elf` and `file.code_signature` of ECS, and `lkm_monitor.image`. Who built the module chose most of it.

use std::{borrow::Cow, os::unix::ffi::OsStrExt as _};

use super::json::{Value, json, long, merge};
use crate::model::{
    Bytes, Capture, DigestCheck, ElfFacts, ExaminedImage, ImageMarks, KernelPolicy, KernelsWord, KeyFacts, KeySource,
    ModInfo, Provenance, SectionFacts, SignatureFacts, SignatureVerdict, SymbolOfInterest,
    text::{hex, readable},
};

/// Sections that are shown: a module of a driver has some forty.
const SHOWN_SECTIONS: usize = 40;
/// Aliases and parameters that are shown.
const SHOWN_ENTRIES: usize = 16;

/// What is known of an image, of which this was captured, and of which the kernel made a module with these taints.
pub(super) fn render<'a>(image: &'a ExaminedImage, capture: &Capture, taints: Option<u64>) -> Value<'a> {
    let mut document = json!({
        "lkm_monitor": { "image": {
            "extent": image.extent.name(),
            "captured_bytes": long(capture.captured_bytes),
            "sha256": image.sha256.map(|hash| hex(&hash)),
            "unpacked_sha256": image.unpacked_sha256.map(|hash| hex(&hash)),
            "kept": image.kept.then_some(true),
        } },
    });
    if let Some(module) = &image.module {
        let compression = module.compression.as_ref();
        let facts = json!({ "lkm_monitor": { "image": {
            "compression": compression.map(|compression| compression.format.name()),
            "unpacked_bytes": compression.and_then(|compression| compression.unpacked_bytes).map(long),
            "cut": compression.filter(|compression| compression.is_cut).map(|_| true),
            "ignored_bytes": compression.map(|compression| compression.ignored_bytes).filter(|bytes| *bytes > 0).map(long),
            "problem": module.problem.as_ref().map(|problem| problem.kind.name()),
            "problem_detail": module.problem.as_ref().map(|problem| problem.detail.as_str()),
        } } });
        merge(&mut document, facts);
        if let Some(elf) = &module.elf {
            merge(&mut document, render_elf(elf));
        }
    }
    if let Some(signature) = &image.signature {
        merge(&mut document, render_signature(signature, image.host_keys, image.kernels_word(taints)));
        let kernel = render_policy(&image.kernel_policy);
        merge(&mut document, json!({ "lkm_monitor": { "signature": { "kernel": kernel } } }));
    }
    if let Some(provenance) = &image.provenance {
        merge(&mut document, render_provenance(provenance));
    }
    document
}

fn render_elf(elf: &ElfFacts) -> Value<'_> {
    // Relocations say nothing, and are half of all sections.
    let is_of_interest = |section: &&SectionFacts| !section.name.bytes.starts_with(b".rel");
    let shown = elf.sections.iter().filter(is_of_interest).take(SHOWN_SECTIONS);
    let mut document = json!({
        "file": { "elf": {
            "architecture": machine(elf.machine),
            "byte_order": if elf.is_big_endian { "big-endian" } else { "little-endian" },
            "header": { "class": if elf.is_64_bit { "64-bit" } else { "32-bit" }, "type": (elf.kind != 1).then(|| elf.kind.to_string()) },
            "sections": shown.map(section).collect::<Vec<_>>(),
        } },
        "lkm_monitor": { "image": {
            "name": text(elf.name.as_ref()),
            "false_ident": elf.is_ident_false.then_some(true),
            "section_count": elf.section_count,
            "marks": marks(elf.marks),
            "undefined_count": long(elf.imports.undefined_count),
            "uses": elf.imports.of_interest.iter().map(symbol).collect::<Vec<_>>(),
            "mentions": elf.imports.mentioned.iter().map(symbol).collect::<Vec<_>>(),
        } },
    });
    if let Some(modinfo) = &elf.modinfo {
        merge(&mut document, render_modinfo(modinfo));
    }
    document
}

/// `e_machine` of elf.h.
fn machine(machine: u16) -> String {
    match machine {
        3 => "x86".to_owned(),
        62 => "x86-64".to_owned(),
        183 => "aarch64".to_owned(),
        other => other.to_string(),
    }
}

fn section(section: &SectionFacts) -> Value<'_> {
    let flags = [("alloc", section.is_allocated), ("exec", section.is_executable), ("write", section.is_writable)];
    let flags: Vec<_> = flags.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
    json!({
        "name": readable(&section.name.bytes),
        "physical_size": long(section.size_bytes),
        // ECS has whole numbers.
        "entropy": section.entropy_bits.map(|bits| bits.round() as i64),
        "flags": (!flags.is_empty()).then(|| flags.join(",")),
    })
}

fn marks(marks: ImageMarks) -> Vec<&'static str> {
    [
        ("this-module", marks.this_module),
        ("modinfo", marks.modinfo),
        ("versions", marks.versions),
        ("init-text", marks.init_text),
        ("livepatch", marks.livepatch),
        ("kcfi", marks.kcfi),
        ("retpoline", marks.retpoline),
        ("return-thunk", marks.return_thunk),
        ("btf", marks.btf),
    ]
    .into_iter()
    .filter_map(|(name, is)| is.then_some(name))
    .collect()
}

fn symbol(symbol: &SymbolOfInterest) -> Value<'_> {
    json!({ "symbol": symbol.symbol, "capability": symbol.capability.name() })
}

fn render_modinfo(modinfo: &ModInfo) -> Value<'_> {
    let parameters = modinfo.parameters.iter().take(SHOWN_ENTRIES);
    let others = modinfo.others.iter().take(SHOWN_ENTRIES);
    // Name and versions are the kernel's own word in `module`. What it does not keep of a module can only be the module's.
    let module = json!({
        "license": text(modinfo.license.as_ref()),
        "author": texts(&modinfo.authors),
        "vermagic": text(modinfo.vermagic.as_ref()),
        "depends": text(modinfo.depends.as_ref()),
        "intree": modinfo.intree.is_some(),
    });
    let modinfo = json!({
        "name": text(modinfo.name.as_ref()),
        "version": text(modinfo.version.as_ref()),
        "srcversion": text(modinfo.srcversion.as_ref()),
        "descriptions": texts(&modinfo.descriptions),
        "softdeps": texts(&modinfo.softdeps),
        "aliases": texts(&modinfo.aliases),
        "parameters": parameters.map(|parameter| entry_text(&parameter.name)).collect::<Vec<_>>(),
        "retpoline": modinfo.retpoline.is_some().then_some(true),
        "staging": modinfo.staging.is_some().then_some(true),
        "namespaces": texts(&modinfo.import_namespaces),
        "firmware": texts(&modinfo.firmware),
        "others": others.map(|pair| format!("{}={}", readable(&pair.key.bytes), readable(&pair.value.bytes))).collect::<Vec<_>>(),
        "repeated": modinfo.repeated.clone(),
        "left_out": (modinfo.left_out_count > 0).then(|| long(modinfo.left_out_count)),
    });
    json!({ "lkm_monitor": { "module": module, "modinfo": modinfo } })
}

fn render_signature(signature: &SignatureFacts, host_keys: usize, word: KernelsWord) -> Value<'_> {
    let signer = signature.signer.as_ref();
    let key = match &signature.verdict {
        SignatureVerdict::Valid { key } | SignatureVerdict::Mismatch { key } => Some(key),
        _ => None,
    };
    let is_valid = match &signature.verdict {
        SignatureVerdict::Valid { .. } => Some(true),
        SignatureVerdict::Mismatch { .. } | SignatureVerdict::Malformed(_) => Some(false),
        _ => None,
    };
    json!({
        "file": { "code_signature": {
            "exists": signature.verdict != SignatureVerdict::Absent,
            "valid": is_valid,
            "trusted": key.and_then(|key| is_trusted(key, is_valid == Some(true), word)),
            "status": signature.verdict.name(),
            "subject_name": signer.and_then(|signer| signer.name.as_deref()),
            "digest_algorithm": signer.map(|signer| signer.digest_algorithm.as_str()),
            "thumbprint_sha256": key.map(|key| hex(&key.sha256)),
        } },
        "lkm_monitor": { "signature": {
            "verdict": signature.verdict.reason(),
            "signer": signer.and_then(|signer| signer.name.as_deref()),
            "key_id": signer.map(|signer| signer.key_id.as_str()),
            "algorithm": signer.map(|signer| signer.signature_algorithm.as_str()),
            "bytes": (signature.signature_bytes > 0).then(|| long(signature.signature_bytes)),
            "signers": (signature.signers > 1).then_some(signature.signers as i64),
            "host_keys": host_keys as i64,
            "key": key.map(render_key),
        } },
    })
}

/// Whether the kernel trusts this key and its signature, where that can be told. A certificate in a file is anybody's who can write there.
fn is_trusted(key: &KeyFacts, is_valid: bool, word: KernelsWord) -> Option<bool> {
    if !is_valid || key.revoked || key.in_kernel == Some(false) || word == KernelsWord::Refused {
        return Some(false);
    }
    let is_known = matches!(key.source, KeySource::KernelImage(_)) || word == KernelsWord::Accepted;
    is_known.then_some(true)
}

fn render_policy(policy: &KernelPolicy) -> Value<'_> {
    let config = policy.config.as_deref().map(|config| {
        json!({
            "path": readable(config.path.as_os_str().as_bytes()),
            "verifies_signatures": config.verifies_signatures,
            "enforces_signatures": config.enforces_signatures,
            "hash": config.hash.as_deref(),
        })
    });
    json!({ "enforces_signatures": policy.enforces_signatures, "lockdown": policy.lockdown, "config": config })
}

fn render_key(key: &KeyFacts) -> Value<'_> {
    let (source, path) = match &key.source {
        KeySource::KernelImage(path) => ("kernel-image", path),
        KeySource::File(path) => ("file", path),
    };
    json!({
        "subject": key.subject.as_str(),
        "algorithm": key.algorithm.as_str(),
        "source": source,
        "path": readable(path.as_os_str().as_bytes()),
        "revoked": key.revoked.then_some(true),
        "in_kernel": key.in_kernel,
    })
}

pub(super) fn render_provenance(provenance: &Provenance) -> Value<'_> {
    let bytes = |value: &'_ Option<Vec<u8>>| value.as_deref().map(|value| readable(value).into_owned());
    let problems: Vec<_> = provenance
        .problems
        .iter()
        .take(2)
        .map(|problem| format!("{}: {}", problem.path.display(), problem.reason))
        .collect();
    json!({ "lkm_monitor": { "package": {
        "manager": provenance.manager.name(),
        "owner": bytes(&provenance.package),
        "version": bytes(&provenance.version),
        "architecture": bytes(&provenance.architecture),
        "digest_ok": match provenance.digest {
            DigestCheck::Matches => Some(true),
            DigestCheck::Differs => Some(false),
            DigestCheck::NotRecorded => None,
        },
        "problems": problems.iter().map(|problem| readable(problem.as_bytes()).into_owned()).collect::<Vec<_>>(),
    } } })
}

fn text(bytes: Option<&Bytes>) -> Option<Cow<'_, str>> {
    bytes.filter(|bytes| !bytes.bytes.is_empty()).map(|bytes| readable(&bytes.bytes))
}

fn texts(entries: &[Bytes]) -> Vec<Cow<'_, str>> {
    entries.iter().take(SHOWN_ENTRIES).map(entry_text).collect()
}

/// Lists hold no empty text.
fn entry_text(entry: &Bytes) -> Cow<'_, str> {
    if entry.bytes.is_empty() { "-".into() } else { readable(&entry.bytes) }
}
