//! Addresses as they may be shown: what stands behind host and port is a secret with many receivers.

use crate::config::{
    key::Step,
    tree::{Node, Value},
};

/// An address up to the first character that no host and port have: it may be malformed, and still hold a secret.
pub(super) fn without_path(address: &str) -> String {
    let host = address.find("://").map_or(0, |scheme| scheme + 3);
    match address[host..].find(|c: char| !c.is_alphanumeric() && !".-_:[]".contains(c)) {
        Some(end) => format!("{}/...", &address[..host + end]),
        None => address.to_owned(),
    }
}

/// Cuts all addresses of sinks like that.
pub(in crate::config) fn hide_paths(settings: &mut Node) {
    let sinks = settings.at_mut(&[Step::Key("sinks".to_owned())]).map(|sinks| &mut sinks.value);
    let Some(Value::Table(sinks)) = sinks else { return };
    for sink in sinks.values_mut() {
        for (kind, key) in [("webhook", "url"), ("elasticsearch", "endpoints"), ("splunk", "endpoints")] {
            if let Some(node) = sink.at_mut(&[kind, key].map(|step| Step::Key(step.to_owned()))) {
                hide_path(node);
            }
        }
    }
}

fn hide_path(node: &mut Node) {
    match &mut node.value {
        Value::Text(address) => *address = without_path(address),
        Value::List(addresses) => addresses.iter_mut().for_each(hide_path),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_host_is_cut() {
        for (address, shown) in [
            ("https://a:1", "https://a:1"),
            ("https://a:1/services/T1/hush", "https://a:1/..."),
            ("https://a?token=hush", "https://a/..."),
            ("a/hush", "a/..."),
            ("https://a\\hush", "https://a/..."),
            ("https://a#hush", "https://a/..."),
            ("https://a hush", "https://a/..."),
            ("https://a%2Fhush", "https://a/..."),
            ("https://[::1]:1/hush", "https://[::1]:1/..."),
            ("", ""),
        ] {
            assert_eq!(without_path(address), shown);
        }
    }
}
