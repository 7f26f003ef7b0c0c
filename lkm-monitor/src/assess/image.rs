//! What the bytes say that were loaded.

use super::{Context, Detection, Match, attack, phrase::sentence};
use crate::model::{
    ContentStatus, DigestCheck, ElfFacts, ExaminedImage, ImageExtent, KernelsWord, Manager, ModuleCall, Provenance,
    Rule, Severity, SignatureVerdict, taint, text::brief,
};

pub(super) static DETECTIONS: &[Detection] = &[
    Detection {
        rule: Rule {
            code: 150,
            id: "unsigned-module",
            name: "Kernel module without a signature",
            description: "The bytes that were loaded carry no signature, on a host whose kernel has keys for modules. What the \
                          kernel itself made of that is in the taints.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::LOADING,
        },
        matches: unsigned,
    },
    Detection {
        rule: Rule {
            code: 151,
            id: "bad-module-signature",
            name: "Kernel module with a signature that is not of its bytes",
            description: "A key of this host is named as the signer, and did not sign what was loaded; or where a signature \
                          ought to be there is something else. The module was changed after it was signed.",
            version: 1,
            severity: Severity::High,
            techniques: attack::LOADING,
        },
        matches: bad_signature,
    },
    Detection {
        rule: Rule {
            code: 152,
            id: "foreign-module-signer",
            name: "Kernel module signed by a key that the kernel does not trust",
            description: "The module is signed, whoever's the signature seems to be, and the kernel has marked it as if it were \
                          not; or the kernel revokes the key.",
            version: 1,
            severity: Severity::High,
            techniques: attack::LOADING,
        },
        matches: foreign_signer,
    },
    Detection {
        rule: Rule {
            code: 153,
            id: "module-name-mismatch",
            name: "Kernel module with more than one name",
            description: "The module's own description names another module than the kernel shows, or none, or says a thing twice \
                          in different ways. Who patches a module to have another name leaves such traces.",
            version: 1,
            severity: Severity::High,
            techniques: attack::HIDDEN_LOADING,
        },
        matches: name_mismatch,
    },
    Detection {
        rule: Rule {
            code: 154,
            id: "module-file-swapped",
            name: "Kernel module's file holds something else than was loaded",
            description: "A moment after the load the file holds other bytes than the kernel had read from it, or is gone: who \
                          looks at the file later does not see what runs.",
            version: 1,
            severity: Severity::High,
            techniques: attack::HIDDEN_LOADING,
        },
        matches: swapped,
    },
    Detection {
        rule: Rule {
            code: 155,
            id: "out-of-tree-module",
            name: "Kernel module from outside the kernel's tree",
            description: "The module does not say of itself that it was built with the kernel. Such a module taints the kernel; \
                          where that does not show, somebody has removed it.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::LOADING,
        },
        matches: out_of_tree,
    },
    Detection {
        rule: Rule {
            code: 156,
            id: "hiding-capabilities",
            name: "Kernel module with the capabilities of a rootkit",
            description: "The module uses, or has the name of, functions of the kernel that hook others, find what is not \
                          exported, write to read-only memory or change credentials. Hardly a driver does.",
            version: 1,
            severity: Severity::High,
            techniques: attack::HIDDEN_LOADING,
        },
        matches: hiding_capabilities,
    },
    Detection {
        rule: Rule {
            code: 157,
            id: "package-mismatch",
            name: "Kernel module of a package with other bytes than the package's",
            description: "A package owns the file, and its record has another digest than the bytes that were loaded.",
            version: 1,
            severity: Severity::High,
            techniques: attack::LOADING,
        },
        matches: package_mismatch,
    },
];
fn unsigned(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let image = image(call)?;
    if image.signature.as_ref()?.verdict != SignatureVerdict::Absent {
        return None;
    }
    let severity = match image.kernels_word(call.module.taints) {
        KernelsWord::Accepted => Severity::High,
        KernelsWord::Refused => lowered(Severity::Medium, call),
        // A kernel that verifies nothing takes everything, and is no reason to alert on everything.
        KernelsWord::None => return None,
    };
    let said = said_by_kernel(call, image);
    let reason = format!("{}; its image has no signature{said}{}", sentence(call, context, ""), package(image));
    Some(Match { severity, reason })
}

fn bad_signature(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let image = image(call)?;
    let verdict = &image.signature.as_ref()?.verdict;
    if !matches!(verdict, SignatureVerdict::Mismatch { .. } | SignatureVerdict::Malformed(_)) {
        return None;
    }
    let is_taken = is_taken_by_kernel(call, image);
    // The kernel reads more than the daemon can. A rootkit that removed the mark looks the same, so that it stays an alert.
    let taken = if is_taken { "; the daemon cannot verify a signature that the kernel accepted" } else { "" };
    let said = said_by_kernel(call, image);
    let reason = format!("{}; {}{said}{taken}", sentence(call, context, ""), verdict.reason());
    // Code of it did not run.
    let is_idle = call.stage.init_ran() == Some(false);
    let severity = if is_idle || is_taken { Severity::Medium } else { Severity::High };
    Some(Match { severity, reason })
}

/// Whether the kernel says that it has verified the signature.
fn is_taken_by_kernel(call: &ModuleCall, image: &ExaminedImage) -> bool {
    !call.is_forced() && image.kernels_word(call.module.taints) == KernelsWord::Accepted
}

fn foreign_signer(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let image = image(call)?;
    let signature = image.signature.as_ref()?;
    let is_refused = !call.is_forced() && image.kernels_word(call.module.taints) == KernelsWord::Refused;
    let severity = match &signature.verdict {
        SignatureVerdict::Valid { key } if key.revoked => Severity::High,
        // Names of keys can be chosen, and certificates be put where they are looked for. What the kernel takes, another key of its own has
        // signed: of the firmware, or enrolled by its owner.
        SignatureVerdict::Valid { .. } | SignatureVerdict::UnknownKey { .. } | SignatureVerdict::Unsupported(_)
            if is_refused =>
        {
            lowered(Severity::High, call)
        }
        _ => return None,
    };
    let signer = signature.signer.as_ref().and_then(|signer| signer.name.as_deref());
    let signer = signer.map_or_else(String::new, |name| format!(" (it names {name} as its signer)"));
    let reason = format!(
        "{}; {}{signer}{}{}",
        sentence(call, context, ""),
        signature.verdict.reason(),
        said_by_kernel(call, image),
        package(image)
    );
    Some(Match { severity, reason })
}

fn name_mismatch(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let elf = elf(call)?;
    let modinfo = elf.modinfo.as_ref()?;
    let shown = call.module.name.as_ref().or(elf.name.as_ref());
    let mut traces = Vec::new();
    if let (Some(shown), Some(own)) = (shown, &modinfo.name)
        && canonical(&shown.bytes) != canonical(&own.bytes)
    {
        traces.push(format!("its own description calls it {}", brief(&own.bytes)));
    }
    // rds_rdma of the kernel's own tree has two licenses.
    let repeated: Vec<_> = modinfo.repeated.iter().copied().filter(|key| *key != "license").collect();
    if !repeated.is_empty() {
        traces.push(format!("its description gives different values of {}", repeated.join(", ")));
    }
    let severity = if traces.is_empty() { Severity::Medium } else { Severity::High };
    // modpost writes it into each module of Linux 5.10 and later.
    if modinfo.name.is_none() && image(call)?.extent == ImageExtent::Whole {
        traces.push("its description names no module".to_owned());
    }
    if traces.is_empty() {
        return None;
    }
    let reason = format!("{}; {}", sentence(call, context, ""), traces.join("; "));
    Some(Match { severity, reason })
}

fn swapped(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let loaded = image(call)?.sha256?;
    let content = &call.content;
    let holds = content.after.as_ref().and_then(|state| state.sha256);
    let (severity, what) = match (content.status, holds) {
        (ContentStatus::Gone, _) => (Severity::Medium, "a moment later the file was gone"),
        (ContentStatus::Replaced, None) | (ContentStatus::Special, _) => {
            (Severity::Medium, "a moment later something else had the file's name")
        }
        (_, Some(holds)) if holds != loaded => (Severity::High, "a moment later the file held other bytes"),
        _ => return None,
    };
    Some(Match { severity, reason: format!("{}; {what}", sentence(call, context, "")) })
}

fn out_of_tree(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let image = image(call)?;
    // One that says nothing of itself says that neither; of a part the rest may.
    let says_so = elf(call)?.modinfo.as_ref().is_some_and(|modinfo| modinfo.intree.is_some());
    if says_so || image.extent != ImageExtent::Whole {
        return None;
    }
    // check_modinfo in kernel/module/main.c.
    let is_hidden = call.module.taints.is_some() && !call.module.is_tainted(taint::OUT_OF_TREE);
    let (severity, hidden) = match is_hidden {
        true => (Severity::High, ", and its taint does not say so"),
        false => (lowered(Severity::Medium, call), ""),
    };
    let reason = format!("{}; it was not built with the kernel{hidden}{}", sentence(call, context, ""), package(image));
    Some(Match { severity, reason })
}

fn hiding_capabilities(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let image = image(call)?;
    let imports = &elf(call)?.imports;
    let rare = |symbols: &[crate::model::SymbolOfInterest]| -> Vec<_> {
        symbols.iter().filter(|symbol| symbol.capability.is_rare()).map(|symbol| symbol.symbol).collect()
    };
    let (used, named) = (rare(&imports.of_interest), rare(&imports.mentioned));
    let mut traces = Vec::new();
    if !used.is_empty() {
        traces.push(format!("it uses {}", used.join(", ")));
    }
    if !named.is_empty() {
        traces.push(format!("it holds the name of {}", named.join(", ")));
    }
    if traces.is_empty() {
        return None;
    }
    let reason = format!("{}; {}{}", sentence(call, context, ""), traces.join(" and "), package(image));
    Some(Match { severity: lowered(Severity::High, call), reason })
}

fn package_mismatch(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let provenance = image(call)?.provenance.as_ref().filter(|provenance| provenance.digest == DigestCheck::Differs)?;
    let owner = owner(provenance);
    let reason = format!("{}; the file is of {owner}, whose record has another digest", sentence(call, context, ""));
    Some(Match { severity: Severity::High, reason })
}

fn image(call: &ModuleCall) -> Option<&ExaminedImage> {
    call.image.as_deref()
}

fn elf(call: &ModuleCall) -> Option<&ElfFacts> {
    image(call)?.module.as_ref()?.elf.as_ref()
}

fn said_by_kernel(call: &ModuleCall, image: &ExaminedImage) -> &'static str {
    match image.kernels_word(call.module.taints) {
        KernelsWord::Refused => "; the kernel has marked it as unsigned",
        KernelsWord::Accepted => "; the kernel has not marked it as unsigned",
        KernelsWord::None => "",
    }
}

/// What a package brought is less severe, and is told all the same: who is root can change its record. What was built here for this kernel
/// is, by one step.
pub(super) fn lowered(severity: Severity, call: &ModuleCall) -> Severity {
    let Some(image) = image(call) else { return severity };
    let is_built_here = image
        .provenance
        .as_ref()
        .is_some_and(|provenance| provenance.manager == Manager::Dkms && provenance.digest == DigestCheck::Matches);
    match severity {
        _ if image.is_packaged() => Severity::Low,
        Severity::Critical if is_built_here => Severity::High,
        Severity::High if is_built_here => Severity::Medium,
        Severity::Medium if is_built_here => Severity::Low,
        severity => severity,
    }
}

/// Where it comes from, as the end of a sentence.
fn package(image: &ExaminedImage) -> String {
    match &image.provenance {
        Some(provenance) if image.is_packaged() => format!("; {} has these bytes", owner(provenance)),
        Some(Provenance { manager: Manager::None, .. }) => "; no package owns its file".to_owned(),
        _ => String::new(),
    }
}

fn owner(provenance: &Provenance) -> String {
    let package = provenance.package.as_deref().map_or_else(|| "a package".to_owned(), brief);
    format!("{} package {package}", provenance.manager.name())
}

/// The kernel treats both as the same in names of modules.
fn canonical(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect()
}

#[cfg(test)]
mod tests;
