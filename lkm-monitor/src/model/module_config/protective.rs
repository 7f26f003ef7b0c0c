//! Modules that protect a host, so that a line which keeps them from loading is dangerous.

/// A module that protects, or with `*` at the end a family of them, and what it is for.
type Entry = (&'static str, &'static str);

const FILTER: &str = "packet filter";
const CRYPT: &str = "disk encryption";
const INTEGRITY: &str = "disk integrity";
const TPM: &str = "TPM";
const AGENT: &str = "security agent";

/// Absent on purpose: IMA, EVM and the LSMs, which are no modules; auditd, USBGuard and eBPF sensors, which have none;
/// watchdogs and the helpers of connection tracking, which distributions and hardening guides blacklist themselves.
const PROTECTIVE: &[Entry] = &[
    ("x_tables", FILTER),
    ("ip_tables", FILTER),
    ("ip6_tables", FILTER),
    ("arp_tables", FILTER),
    ("ebtables", FILTER),
    ("iptable_*", FILTER),
    ("ip6table_*", FILTER),
    ("xt_*", FILTER),
    ("nf_tables", FILTER),
    ("nft_*", FILTER),
    ("nfnetlink", FILTER),
    ("nfnetlink_log", FILTER),
    ("nfnetlink_queue", FILTER),
    ("nf_log_syslog", FILTER),
    ("nf_conntrack", FILTER),
    ("nf_conntrack_netlink", FILTER),
    ("nf_defrag_ipv4", FILTER),
    ("nf_defrag_ipv6", FILTER),
    ("nf_reject_ipv4", FILTER),
    ("nf_reject_ipv6", FILTER),
    ("ip_set", FILTER),
    ("br_netfilter", FILTER),
    ("bpfilter", FILTER),
    ("af_packet", "packet capture"),
    ("wireguard", "VPN"),
    ("dm_mod", CRYPT),
    ("dm_crypt", CRYPT),
    ("ecryptfs", "file encryption"),
    ("dm_verity", INTEGRITY),
    ("dm_integrity", INTEGRITY),
    ("tpm", TPM),
    ("tpm_*", TPM),
    ("trusted", "sealed keys"),
    ("encrypted_keys", "sealed keys"),
    ("p_lkrg", "kernel integrity"),
    ("lkrg", "kernel integrity"),
    // CrowdStrike.
    ("falcon_*", AGENT),
    // Falco and Sysdig.
    ("falco", AGENT),
    ("falco_probe", AGENT),
    ("scap", AGENT),
    ("sysdig_probe", AGENT),
    ("sysdigcloud_probe", AGENT),
    // Trend Micro.
    ("tmhook", AGENT),
    ("bmhook", AGENT),
    ("gsch", AGENT),
    ("dsa_filter", AGENT),
    ("dsa_filter_hook", AGENT),
    ("redirfs", AGENT),
    // Trellix, formerly McAfee.
    ("mfe_*", AGENT),
    // Broadcom: Symantec, Carbon Black.
    ("symev_*", AGENT),
    ("symap_*", AGENT),
    ("sisips", AGENT),
    ("sisfim", AGENT),
    ("sisevt", AGENT),
    ("event_collector_*", AGENT),
    // ESET, Sophos, Cylance.
    ("eset_rtp", AGENT),
    ("talpa_*", AGENT),
    ("cyprotectdrv", AGENT),
];

/// What the module of this name is for, if it protects.
pub(super) fn purpose(module: &[u8]) -> Option<&'static str> {
    let is = |(name, _): &&Entry| match name.strip_suffix('*') {
        Some(family) => module.starts_with(family.as_bytes()),
        None => module == name.as_bytes(),
    };
    PROTECTIVE.iter().find(is).map(|(_, purpose)| *purpose)
}

/// The same for a shell pattern: of the first module that it covers.
pub(super) fn purpose_of_pattern(pattern: &[u8]) -> Option<&'static str> {
    if !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\')) {
        return purpose(pattern);
    }
    let mut pattern = pattern.to_vec();
    pattern.dedup_by(|next, previous| *next == b'*' && *previous == b'*');
    if pattern.len() > MAX_PATTERN_BYTES {
        return Some("unreadable pattern");
    }
    // A family stands for a name in it: its star is a letter to a pattern.
    let covered = |(name, _): &&Entry| matches(&pattern, name.as_bytes());
    purpose(&pattern).or_else(|| PROTECTIVE.iter().find(covered).map(|(_, purpose)| *purpose))
}

/// Bounds the work: a name has no more letters than a pattern has parts. No honest pattern is as long, and a longer one
/// may cover anything.
const MAX_PATTERN_BYTES: usize = 256;

/// fnmatch() without flags.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // Where to go on when the last star has to take one letter more.
    let mut star = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, in_name));
            continue;
        }
        let letter = name.get(in_name);
        let part = match letter {
            Some(letter) => one(&pattern[at..], *letter),
            None if at == pattern.len() => return true,
            None => None,
        };
        match (part, star) {
            (Some(length), _) => (at, in_name) = (at + length, in_name + 1),
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                (at, in_name) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// The length of the pattern's first part, if it takes `letter`.
fn one(pattern: &[u8], letter: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == letter).then_some(2),
        [b'[', set @ ..] => match bracket(set, letter) {
            Some((length, taken)) => taken.then_some(1 + length),
            // Without its end it is no set.
            None => (letter == b'[').then_some(1),
        },
        [plain, ..] => (*plain == letter).then_some(1),
        [] => None,
    }
}

/// The length of a set after its opening bracket, and whether it holds `letter`.
fn bracket(set: &[u8], letter: u8) -> Option<(usize, bool)> {
    let negated = matches!(set.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    // A closing bracket in the first place is a member.
    let end = start + 1 + set.get(start + 1..)?.iter().position(|byte| *byte == b']')?;
    let mut members = &set[start..end];
    let mut held = false;
    while let [first, rest @ ..] = members {
        (held, members) = match rest {
            [b'-', last, rest @ ..] => (held || (*first..=*last).contains(&letter), rest),
            _ => (held || *first == letter, rest),
        };
    }
    Some((end + 1, held != negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_protects() {
        assert_eq!(purpose(b"nf_tables"), Some(FILTER));
        assert_eq!(purpose(b"tpm_tis"), Some(TPM));
        assert_eq!(purpose(b"falcon_lsm_serviceable"), Some(AGENT));
        for other in ["usb_storage", "iTCO_wdt", "nf_conntrack_ftp", "tpmx", "", "nf_tables2"] {
            assert_eq!(purpose(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn knows_what_patterns_cover() {
        for pattern in ["*", "nf_tables", "nf_t*", "xt_?cp", "*****_tab*es", "dm[_x]crypt", "\\nf_tables", "falcon_?"] {
            assert!(purpose_of_pattern(pattern.as_bytes()).is_some(), "{pattern}");
        }
        for pattern in ["usb*", "char_major_10_*", "nf_table", "?", "[", "net_pf_[0-9]*", "\\"] {
            assert!(purpose_of_pattern(pattern.as_bytes()).is_none(), "{pattern}");
        }
        assert!(purpose_of_pattern(&[b"[".as_slice(), &[b'a'; 300], b"]"].concat()).is_some());
        assert!(purpose_of_pattern(&[b'a'; 300]).is_none());
    }

    #[test]
    fn matches_like_the_shell() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "axxbyybc", true),
            ("a*b*c", "axxbyyb", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[^]]", "a", true),
            ("[a-]", "-", true),
            ("[ab", "[ab", true),
            ("?", "", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("ab", "a", false),
            ("*[0-9]*a", "xx1xxa", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn takes_any_pattern(pattern in "[ab*?\\[\\]!\\\\-]{0,12}", name in "[ab-]{0,6}") {
            let found = matches(pattern.as_bytes(), name.as_bytes());
            if !pattern.contains(['*', '?', '[', '\\']) {
                proptest::prop_assert_eq!(found, pattern == name);
            }
            let anywhere = format!("*{pattern}*");
            proptest::prop_assert!(!found || matches(anywhere.as_bytes(), name.as_bytes()));
        }
    }
}
