use std::{fs, path::Path};

use super::*;
use crate::{
    model::{Class, samples},
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

#[test]
fn what_is_counted_of_a_sink_goes_on_when_it_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    fs::write(&path, "{\"@timestamp\":").unwrap();
    let config = toml::from_str(&format!("[file]\npath = \"{}\"\ngroup = \"root\"\n", path.display())).unwrap();
    let plans = || BTreeMap::from([("siem".to_owned(), Plan::of("siem", &config).unwrap())]);
    let settings = || settings(folder.path());
    let dispatch = Dispatch::start(settings(), plans(), &samples::host(), &Agent::default()).unwrap();
    let deliver = |number: u64| {
        dispatch.spool().append(&[Incoming { class: Class::High, happened_ms: 0, json: b"{}".to_vec() }]);
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
    };
    let status = deliver(1);
    assert_eq!((status.max_bytes, status.durable.count()), (1 << 20, 1));
    assert_eq!(status.counts.get(&Counter::of_sink(Count::TornRecord, "siem")), Some(&1));
    dispatch.follow(plans(), settings());
    deliver(2);
    dispatch.finish(Instant::now() + Duration::from_secs(60));
}
