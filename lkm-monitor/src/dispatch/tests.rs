use std::{fs, path::Path};

use super::*;
use crate::{
    model::{Class, samples},
    sinks::fake::{
        self,
        server::{Response, Server},
    },
    spool::{Count, Counter, Incoming, RETRY},
};

fn settings(folder: &Path) -> Settings {
    Settings {
        path: folder.join("spool.redb"),
        limits: Limits { max_bytes: 1 << 20, max_age_s: 3600, max_dead_letter_bytes: 1 << 20 },
        min_free_bytes: 0,
        retry: RETRY,
    }
}

#[test]
fn a_dispatch_that_died_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut dispatch =
        Dispatch::start(settings(folder.path()), BTreeMap::new(), &samples::host(), &Agent::default()).unwrap();
    assert_eq!(dispatch.status().failure, None);
    // The one that lives goes on with its own orders, and ends with the test.
    dispatch.thread = std::thread::spawn(|| panic!("of this test"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while dispatch.status().failure.is_none() {
        assert!(Instant::now() < deadline, "nothing is told of a thread that died");
        std::thread::yield_now();
    }
}

/// One sink of these settings.
fn plans(config: &str) -> BTreeMap<String, Plan> {
    [("siem".to_owned(), Plan::of("siem", &toml::from_str(config).unwrap()).unwrap())].into()
}

/// Hands a document over, and waits until so many have arrived.
fn deliver(dispatch: &Dispatch, document: &[u8], number: u64) -> Status {
    dispatch.spool().append(&[Incoming { class: Class::High, happened_ms: 0, json: document.to_vec() }]);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = dispatch.status();
        if status.sinks.get("siem").is_some_and(|health| health.latency.count() == number)
            && status.waiting["siem"] == 0
        {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        std::thread::yield_now();
    }
}

/// Lets these sinks be used, and waits until they are: the bound that comes with them tells.
fn follow(dispatch: &Dispatch, plans: BTreeMap<String, Plan>, mut settings: Settings, max_bytes: u64) {
    settings.limits.max_bytes = max_bytes;
    dispatch.follow(plans, settings);
    let deadline = Instant::now() + Duration::from_secs(60);
    while dispatch.status().max_bytes != max_bytes {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn a_sink_that_did_not_change_goes_on_undisturbed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Response::new(200, "").into());
    let config = |more: &str| plans(&format!("{more}\n[webhook]\nurl = \"{}\"\n", server.url()));
    let dispatch = Dispatch::start(settings(folder.path()), config(""), &samples::host(), &Agent::default()).unwrap();
    let document = |number| fake::entry(number).json;
    deliver(&dispatch, &document(0), 1);
    follow(&dispatch, config(""), settings(folder.path()), 2 << 20);
    deliver(&dispatch, &document(1), 2);
    follow(&dispatch, config("timeout_s = 31"), settings(folder.path()), 3 << 20);
    deliver(&dispatch, &document(2), 3);
    dispatch.finish(Instant::now() + Duration::from_secs(60));
    let connections: Vec<_> = server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[test]
fn what_is_counted_of_a_sink_goes_on_when_it_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    fs::write(&path, "{\"@timestamp\":").unwrap();
    let config = |more: &str| plans(&format!("{more}\n[file]\npath = \"{}\"\ngroup = \"root\"\n", path.display()));
    let dispatch = Dispatch::start(settings(folder.path()), config(""), &samples::host(), &Agent::default()).unwrap();
    let status = deliver(&dispatch, b"{}", 1);
    assert_eq!((status.max_bytes, status.durable.count()), (1 << 20, 1));
    assert_eq!(status.counts.get(&Counter::of_sink(Count::TornRecord, "siem")), Some(&1));
    follow(&dispatch, config("timeout_s = 31"), settings(folder.path()), 2 << 20);
    deliver(&dispatch, b"{}", 2);
    dispatch.finish(Instant::now() + Duration::from_secs(60));
}
