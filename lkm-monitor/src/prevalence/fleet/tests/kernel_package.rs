//! A fleet that installs one kernel package.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::{
    super::{MAX_MEMBERS, SCRIPT},
    server::{Server, link},
};
use crate::{
    assess::judge,
    model::{Answer, Kind, Scope, Standing, Threshold, text::hex},
    prevalence::{link::Link, name::GroupName, service::now_s, tally::day_of},
};

/// Bytes of memory that a package may cost the server.
const MOST_BYTES: u64 = 64 << 20;
/// Calls in one round trip, as agents do in a burst.
const BATCH: usize = 256;

fn groups(files: usize) -> Vec<String> {
    let group = |number| {
        let path = format!("/usr/lib/modules/*/kernel/drivers/part-{}/module-{number}.ko.xz", number % 60);
        let name = GroupName::new(Kind::File, [path.as_str(), "/usr/bin/dpkg", &hex(&[number as u8; 32])]);
        format!("lkm-monitor:{{{}}}", hex(&name.digest("")))
    };
    (0..files).map(group).collect()
}

/// Lets every host tell of every file. Alerts of each host, and what the server needs for all of it.
fn install(hosts: usize, files: usize) -> (Vec<u64>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--appendonly", "no"]);
    let used = || {
        let info: String = server.query(redis::cmd("INFO")).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = used();
    let (groups, address) = (groups(files), server.address());
    let alerts: Vec<_> = (0..hosts).map(|_| AtomicU64::new(0)).collect();
    let next = AtomicU64::new(0);
    let today = day_of(now_s());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut link = Link::open(&link(&address), SCRIPT).unwrap();
                loop {
                    let host = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(alerts) = alerts.get(host) else { return };
                    let told = tell(&mut link, host, &groups, today);
                    alerts.store(told, Ordering::Relaxed);
                }
            });
        }
    });
    let alerts = alerts.into_iter().map(AtomicU64::into_inner).collect();
    (alerts, used() - before)
}

/// What one host does: an event for each file. How many it alerts on.
fn tell(link: &mut Link, host: usize, groups: &[String], today: u32) -> u64 {
    let threshold = Threshold::of(Kind::File);
    let mut alerts = 0;
    for batch in groups.chunks(BATCH) {
        let call = |group: &String| {
            let agent = format!("{:016x}", (host as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut call = vec![
                group.clone(),
                format!("{group}:agents"),
                agent,
                format!("{host:08x}"),
                "30".to_owned(),
                MAX_MEMBERS.to_string(),
            ];
            call.extend([today.into(), 1, 0].map(|number: u64| number.to_string()));
            call
        };
        let calls: Vec<_> = batch.iter().map(call).collect();
        for [count, agents, first_s] in link.call(&calls).unwrap() {
            let standing =
                Standing { scope: Scope::Fleet, count, agents, first_s, seen_before: false, in_baseline: false };
            alerts += u64::from(judge(Answer::Known(standing), &threshold, None, false));
        }
    }
    alerts
}

/// Two hosts tell at one time, so that any of the first four or five may be among the three: but of each file just three alert.
fn first_three_alert(hosts: usize, files: usize) -> u64 {
    let (alerts, bytes) = install(hosts, files);
    let told: u64 = alerts.iter().sum();
    assert_eq!(told, 3 * files as u64, "alerts of each host: {:?}", &alerts[..hosts.min(8)]);
    assert!(alerts.iter().skip(5).all(|alerts| *alerts == 0), "a later host alerts, too");
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
    bytes
}

/// More hosts than this add nothing to the server's memory, but take long: `make bench-fleet` lets all ten thousand install it.
const HOSTS: usize = 70;
/// Says another number.
const HOSTS_VARIABLE: &str = "LKM_MONITOR_FLEET_HOSTS";

#[test]
#[allow(clippy::print_stdout, reason = "a figure for people")]
fn a_whole_package() {
    let hosts = std::env::var(HOSTS_VARIABLE).map_or(HOSTS, |hosts| hosts.parse().unwrap());
    let began = std::time::Instant::now();
    let bytes = first_three_alert(hosts, 4_000);
    println!(
        "4,000 files on {hosts} hosts: {:.1} MiB of the server's memory, alerts on the first hosts only, {:.0} s",
        bytes as f64 / f64::from(1 << 20),
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn few_files_on_ten_thousand_hosts() {
    first_three_alert(10_000, 20);
}
