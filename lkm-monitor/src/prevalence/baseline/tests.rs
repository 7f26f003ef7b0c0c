use proptest::prelude::*;

use super::*;
use crate::prevalence::{
    store::{Expiry, Limits, Store},
    tally::DAY_S,
};

const WINDOW: Window = Window { days: 30 };
const NOW_S: u64 = 20_000 * DAY_S;

fn store(folder: &tempfile::TempDir, name: &str, groups: &[GroupName]) -> Store {
    let mut store = Store::open(&folder.path().join(name), Limits { window: WINDOW, max_groups: 10_000 }).unwrap();
    store.name_keys(&KeyNames::default()).unwrap();
    let events: Vec<_> = groups.iter().map(|name| (name.clone(), true)).collect();
    store.count(&events, NOW_S).unwrap();
    store.write(NOW_S, Expiry::Doubtful).unwrap();
    store
}

fn group(text: &str) -> GroupName {
    GroupName::new(Kind::Module, [text, "hash"])
}

fn exported(folder: &tempfile::TempDir, now_s: u64, key: Option<&SigningKey>) -> Vec<u8> {
    let mut file = Vec::new();
    export(&folder.path().join("a"), WINDOW, now_s, "host", key, &mut file).unwrap();
    file
}

fn all(file: &[u8], key: Option<&VerifyingKey>) -> Result<(Vec<GroupName>, Trust), BaselineError> {
    let mut groups = Vec::new();
    let (_, trust) = read(file, key, |name| {
        groups.push(name);
        Ok(())
    })?;
    Ok((groups, trust))
}

fn keys() -> [SigningKey; 2] {
    [[1; 32], [2; 32]].map(|seed| SigningKey::from_bytes(&seed))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_exported_is_read_back(texts in proptest::collection::btree_set("[ -~é\u{1f}]{0,30}|x{1500}", 0..12)) {
        let folder = tempfile::tempdir().unwrap();
        let mut groups: Vec<_> = texts.iter().map(|text| GroupName::new(Kind::Tool, [text.as_str(), "2"])).collect();
        drop(store(&folder, "a", &groups));
        groups.sort();
        let [key, _] = keys();
        for (key, trust) in [(None, Trust::Unsigned), (Some(&key), Trust::SignedBy(hex(key.verifying_key().as_bytes())))] {
            let file = exported(&folder, NOW_S, key);
            prop_assert_eq!(all(&file, None).unwrap(), (groups.clone(), trust));
        }
    }

    #[test]
    fn no_change_of_a_signed_file_goes_unseen(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        drop(store(&folder, "a", &[group("a"), group("b")]));
        let [key, _] = keys();
        let mut file = exported(&folder, NOW_S, Some(&key));
        let at = at.index(file.len());
        prop_assume!(file[at] != with);
        // One sign more or less at the end of the digits' line, or a blank in it, says nothing else.
        file[at] = with;
        if let Ok((groups, trust)) = all(&file, Some(&key.verifying_key())) {
            prop_assert_eq!(groups, [group("a"), group("b")]);
            prop_assert_eq!(trust, Trust::Verified);
            let begins = file.iter().rposition(|&byte| byte == b'{').unwrap();
            prop_assert!(at >= begins, "in what is signed");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(file in any::<Vec<u8>>()) {
        let _ = all(&file, None);
    }
}

#[test]
fn a_file_is_used_only_with_a_good_signature_of_the_named_key() {
    let folder = tempfile::tempdir().unwrap();
    drop(store(&folder, "a", &[group("a")]));
    let [ours, theirs] = keys();
    let named = Some(ours.verifying_key());
    let outcome = |file: &[u8]| all(file, named.as_ref()).map(|(_, trust)| trust).map_err(|error| error.to_string());
    let signed = exported(&folder, NOW_S, Some(&ours));
    assert_eq!(outcome(&signed), Ok(Trust::Verified));
    let unsigned = exported(&folder, NOW_S, None);
    assert_eq!(outcome(&unsigned).unwrap_err(), "it is not signed, and a key was named");
    let by_others = exported(&folder, NOW_S, Some(&theirs));
    assert!(outcome(&by_others).unwrap_err().contains("not the one that was named"));
    let text = String::from_utf8(signed.clone()).unwrap();
    let changed = text.replace("\"a\"", "\"z\"");
    assert_ne!(changed, text);
    assert_eq!(outcome(changed.as_bytes()).unwrap_err(), "its signature is bad: it was changed after it was signed");
    assert!(all(changed.as_bytes(), None).is_err(), "without a named key, too");
    // A signature that was taken off.
    let cut = text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(outcome(cut.as_bytes()).unwrap_err(), "it is not signed, and a key was named");
}

#[test]
fn keys_are_those_of_openssl() {
    let pair = || {
        let made = std::process::Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]).output().unwrap();
        let private = String::from_utf8(made.stdout).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(&path, &private).unwrap();
        let public =
            std::process::Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&path).output().unwrap();
        (private, String::from_utf8(public.stdout).unwrap())
    };
    let (private, public) = pair();
    assert_eq!(private_key(&private).unwrap().verifying_key(), public_key(&public).unwrap());
    assert!(private_key(&public).unwrap_err().to_string().starts_with("the key cannot be read: "));
}

#[test]
fn files_that_are_cut_or_of_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(store(&folder, "a", &[group("a"), group("b")]));
    let text = String::from_utf8(exported(&folder, NOW_S, None)).unwrap();
    let error = |text: &str| all(text.as_bytes(), None).unwrap_err().to_string();
    let first_two = text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(error(&first_two), "it is cut: it has 1 of 2 groups");
    assert!(error(&text[..text.len() - 5]).starts_with("line 3: "));
    assert_eq!(error(""), BaselineError::Header.to_string());
    assert_eq!(error(&text.replace("\"version\":1", "\"version\":2")), BaselineError::Header.to_string());
    assert!(error(&format!("{text}{{\"kind\":\"tool\",\"count\":1}}\n")).contains("line 4: it names no group"));
}

#[test]
fn only_what_is_within_the_window_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    drop(store(&folder, "a", &[group("a")]));
    assert_eq!(all(&exported(&folder, NOW_S + 29 * DAY_S, None), None).unwrap().0.len(), 1);
    assert_eq!(all(&exported(&folder, NOW_S + 30 * DAY_S, None), None).unwrap().0.len(), 0);
}
