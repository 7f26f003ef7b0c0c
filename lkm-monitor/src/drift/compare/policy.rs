//! What the kernel was told about modules, and its taint mask.

use super::{Between, Compared};
use crate::{
    drift::seen::Found,
    model::{Drifted, HostState, KernelSettings, Setting, Weight},
};

/// Where the kernel has the name of the program that it starts to get a module.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";
/// From the weakest to the strongest.
const LOCKDOWN: [&str; 3] = ["none", "integrity", "confidentiality"];
/// What keeps modules out, or makes the kernel demand something of them.
const PROTECTING: [&str; 8] = [
    "module_blacklist",
    "module.sig_enforce",
    "modprobe.blacklist",
    "rd.driver.blacklist",
    "lockdown",
    "lsm",
    "security",
    "ima_appraise",
];

pub(super) fn compare(between: &Between<'_>, same_boot: bool, compared: &mut Compared) {
    let (last, now) = (&between.last.policy, &between.now.policy);
    let Compared { drifts, explained } = compared;
    let mut add = |setting, before: String, now: String, weight| {
        drifts.push(between.drift(Drifted::Policy { setting, before, now, weight }));
    };
    // It was told when it could not be read for the first time.
    for (setting, before) in unreadable(last, now) {
        if !between.last.policy_unread.contains(setting.name()) {
            add(setting, before, "not readable".to_owned(), Weight::Other);
        }
    }
    // Nothing but a restart changes it.
    if let (Some(before), Some(now)) = (&last.command_line, &now.command_line)
        && before != now
    {
        let weight = if same_boot { Weight::Impossible } else { of_words(before, now) };
        add(Setting::CommandLine, before.join(" "), now.join(" "), weight);
    }
    for (setting, before, now) in switches(last, now) {
        let (Some(before), Some(now)) = (before, now) else { continue };
        let weight = match setting {
            _ if now >= before => continue,
            // The kernel makes it stronger and never weaker (`bool_enable_only` in kernel/params.c, `lock_kernel_down` in
            // security/lockdown/lockdown.c, `proc_dointvec_minmax` from 1 to 1 in kernel/sysctl.c).
            _ if same_boot => Weight::Impossible,
            // Each boot begins without, and somebody turns it on: until the next look.
            Setting::ModulesDisabled => continue,
            _ => Weight::Weaker,
        };
        let shown = |value: usize| match setting {
            Setting::Lockdown => LOCKDOWN.get(value).copied().unwrap_or_default().to_owned(),
            _ => value.to_string(),
        };
        add(setting, shown(before), shown(now), weight);
    }
    if same_boot && between.last.modules_disabled_due && now.modules_disabled == Some(false) {
        add(Setting::ModulesDisabled, "1".to_owned(), "0".to_owned(), Weight::Other);
    }
    if let (Some(before), Some(now)) = (&last.modprobe, &now.modprobe) {
        match between.notes.find_setting(MODPROBE, before, now) {
            Found::Another(expected) => add(Setting::Modprobe, expected, now.clone(), Weight::Weaker),
            _ if before == now => {}
            Found::Expected => *explained += 1,
            Found::Unnoted | Found::Perhaps => add(Setting::Modprobe, before.clone(), now.clone(), Weight::Weaker),
        }
    }
    if let (Some(before), Some(now), true) = (between.last.taints, between.now.taints, same_boot) {
        let before = before | between.notes.taints();
        let lost = before & !now;
        if lost != 0 {
            drifts.push(between.drift(Drifted::TaintLost { lost, before, now }));
        }
    }
}

/// What was known and cannot be read now, with what it was.
fn unreadable(last: &KernelSettings, now: &KernelSettings) -> Vec<(Setting, String)> {
    let flag = |flag: Option<bool>| flag.map(|flag| u8::from(flag).to_string());
    let values = |settings: &KernelSettings| {
        [
            (Setting::CommandLine, settings.command_line.as_ref().map(|words| words.join(" "))),
            (Setting::Lockdown, settings.lockdown.clone()),
            (Setting::SignatureEnforcement, flag(settings.sig_enforce)),
            (Setting::ModulesDisabled, flag(settings.modules_disabled)),
            (Setting::Modprobe, settings.modprobe.clone()),
        ]
    };
    let pairs = values(last).into_iter().zip(values(now));
    pairs.filter_map(|((setting, before), (_, now))| Some((setting, before.filter(|_| now.is_none())?))).collect()
}

/// What is known of the policy after this look: what could not be read is what it was.
pub(super) fn settle(last: &HostState, same_boot: bool, now: &mut HostState) {
    let unreadable = unreadable(&last.policy, &now.policy);
    now.policy_unread = unreadable.into_iter().map(|(setting, _)| setting.name().to_owned()).collect();
    let (before, policy) = (&last.policy, &mut now.policy);
    let was_set = before.modules_disabled == Some(true) || last.modules_disabled_due;
    now.modules_disabled_due = !same_boot && was_set && policy.modules_disabled == Some(false);
    policy.command_line = policy.command_line.take().or_else(|| before.command_line.clone());
    policy.lockdown = policy.lockdown.take().or_else(|| before.lockdown.clone());
    policy.sig_enforce = policy.sig_enforce.or(before.sig_enforce);
    policy.modules_disabled = policy.modules_disabled.or(before.modules_disabled);
    policy.modprobe = policy.modprobe.take().or_else(|| before.modprobe.clone());
}

/// What has degrees, as numbers that grow with what is demanded.
fn switches(last: &KernelSettings, now: &KernelSettings) -> [(Setting, Option<usize>, Option<usize>); 3] {
    let level = |settings: &KernelSettings| {
        let name = settings.lockdown.as_deref()?;
        LOCKDOWN.iter().position(|known| *known == name)
    };
    let flag = |flag: Option<bool>| flag.map(usize::from);
    [
        (Setting::Lockdown, level(last), level(now)),
        (Setting::SignatureEnforcement, flag(last.sig_enforce), flag(now.sig_enforce)),
        (Setting::ModulesDisabled, flag(last.modules_disabled), flag(now.modules_disabled)),
    ]
}

/// It is weaker when a word is gone that protects, or one is new that does not.
fn of_words(before: &[String], now: &[String]) -> Weight {
    let is_protecting = |word: &String| {
        let name = word.trim_start_matches('"').split('=').next().unwrap_or_default().replace('-', "_");
        PROTECTING.contains(&name.as_str())
    };
    let gone = before.iter().any(|word| !now.contains(word) && is_protecting(word));
    let new = now.iter().any(|word| !before.contains(word) && !is_protecting(word));
    if gone || new { Weight::Weaker } else { Weight::Other }
}
