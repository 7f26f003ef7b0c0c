//! Documents whose rare groups have another order by each column.

use serde_json::{Value, json};

pub(super) const SINCE: &str = "2026-01-01T00:00:00Z";

/// In the order of the hunt, which is that of their counts.
pub(super) const FILES: [&str; 4] = ["/tmp/zeta.ko", "/opt/alpha.ko", HOSTILE, "/srv/middle.ko"];
/// How often and on which day of January each was last made.
const COUNTS_AND_DAYS: [(u32, u32); 4] = [(1, 20), (2, 10), (3, 12), (12, 15)];
/// Where `PORT` stands for that of a listener that nobody is to ask.
const HOSTILE: &str = "/tmp/</script><img src=\"http://127.0.0.1:PORT/name\" onerror=\"alert(1)\">.ko";

/// The first file was loaded by a run of a tool, and another module of it by many.
pub(super) fn lines(port: u16) -> String {
    let mut documents = Vec::new();
    for (path, (count, day)) in FILES.into_iter().zip(COUNTS_AND_DAYS) {
        for number in 0..count {
            let mut made = document(day, number, "agent-1", "created-kernel-module-file", "creation");
            made["file"]["path"] = json!(path.replace("PORT", &port.to_string()));
            made["process"]["executable"] = json!("/usr/bin/cp");
            documents.push(made);
        }
    }
    let mut run = document(21, 0, "agent-1", "ran-module-tool", "start");
    run["process"] = json!({ "entity_id": "zeta", "args": ["insmod", FILES[0]], "args_count": 2 });
    documents.push(run);
    let load = |agent: &str, module: &str| {
        let mut load = document(21, 1, agent, "loaded-kernel-module", "start");
        load["process"]["entity_id"] = json!("zeta");
        load["file"]["path"] = json!(FILES[0]);
        load["lkm_monitor"]["module"]["name"] = json!(module);
        load
    };
    documents.push(load("agent-1", "zeta"));
    documents.extend((0..12).map(|number| load(&format!("agent-{number}"), "common")));
    documents.iter().map(|document| format!("{document}\n")).chain(["nonsense\n".to_owned()]).collect()
}

fn document(day: u32, minute: u32, agent: &str, action: &str, kind: &str) -> Value {
    json!({
        "@timestamp": format!("2026-01-{day:02}T00:{minute:02}:00Z"),
        "agent": { "id": agent },
        "event": { "action": action, "type": [kind] },
    })
}
