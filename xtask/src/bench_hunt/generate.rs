//! Documents of a fleet that never was: the same ones whenever they are made.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};

const SEED: u64 = 0x1b87_3593_cc9e_2d51;
const AGENTS: u64 = 10_000;
/// The first second of the first document, and how many seconds they span: more than a hunt's window.
const BEGIN_S: u64 = 1_767_225_600;
const SPAN_S: u64 = 40 * 86_400;

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

/// Writes `count` documents, of about 800 bytes each. A file that was begun and not finished has another name.
pub(super) fn documents(path: &Path, count: u64) -> Result<()> {
    let unfinished = path.with_extension("part");
    let file = File::create(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
    let mut output = BufWriter::with_capacity(1 << 20, file);
    let mut numbers = Numbers(SEED);
    for number in 0..count {
        document(&mut output, &mut numbers, number)?;
    }
    output.into_inner()?.sync_all()?;
    fs::rename(&unfinished, path).with_context(|| format!("rename {}", unfinished.display()))
}

fn document(output: &mut impl Write, numbers: &mut Numbers, number: u64) -> Result<()> {
    let agent = numbers.below(AGENTS);
    let second = BEGIN_S + numbers.below(SPAN_S);
    let (day, of_day) = ((second - BEGIN_S) / 86_400, second % 86_400);
    // January and the days behind it: the span begins on the first of a month with 31 days.
    let (month, day) = if day < 31 { (1, day + 1) } else { (2, day - 30) };
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    write!(
        output,
        r#"{{"@timestamp":"2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z","agent":{{"id":"agent-{agent:05}","name":"host-{agent:05}","type":"lkm-monitor","version":"0.1.0"}},"ecs":{{"version":"9.4.0"}},"host":{{"name":"host-{agent:05}","architecture":"x86_64","os":{{"type":"linux","kernel":"6.1.0-{}-amd64","platform":"debian"}}}},"#,
        numbers.below(1_000_000),
        numbers.below(40),
    )?;
    match numbers.below(10) {
        0..=4 => module_file(output, numbers, number)?,
        5..=7 => tool_run(output, numbers, number)?,
        _ => load(output, numbers, number)?,
    }
    output
        .write_all(b",\"observer\":{\"product\":\"lkm-monitor\",\"type\":\"sensor\",\"vendor\":\"lkm-monitor\"}}\n")?;
    Ok(())
}

/// Of a package on all hosts, or one in ten thousand times something that few have.
fn module_file(output: &mut impl Write, numbers: &mut Numbers, number: u64) -> Result<()> {
    let release = format!("6.1.0-{}-amd64", numbers.below(40));
    let name = format!("module_{:04}.ko", numbers.below(4000));
    let (path, executable) = match numbers.below(10_000) {
        0 => (format!("/tmp/{}.ko", numbers.below(50_000)), "/usr/bin/cp"),
        1 => (format!("/var/tmp/mkinitramfs_{}/{name}", numbers.below(1000)), "/usr/bin/cp"),
        _ => (format!("/usr/lib/modules/{release}/kernel/{name}"), "/usr/bin/dpkg"),
    };
    let kind = if numbers.below(20) == 0 { "change" } else { "creation" };
    let hash = numbers.below(u64::MAX);
    write!(
        output,
        r#""event":{{"id":"{number:032x}","kind":"event","category":["file"],"type":["{kind}"],"action":"{}-kernel-module-file","outcome":"success","dataset":"lkm_monitor.events"}},"file":{{"path":"{path}","extension":"ko","size":{},"mode":"0644","owner":"root","hash":{{"sha256":"{hash:064x}"}}}},"process":{{"pid":{},"executable":"{executable}","args":["{executable}","--unpack"],"args_count":2,"user":{{"id":"0","name":"root"}}}}"#,
        if kind == "creation" { "created" } else { "modified" },
        numbers.below(1 << 20),
        numbers.below(1 << 20),
    )?;
    Ok(())
}

fn tool_run(output: &mut impl Write, numbers: &mut Numbers, number: u64) -> Result<()> {
    let (name, argument) = match numbers.below(1000) {
        0 => ("insmod", format!("/tmp/{}.ko", numbers.below(3_000_000))),
        1..=99 => ("rmmod", format!("module_{:04}", numbers.below(4000))),
        _ => ("modprobe", format!("module_{:04}", numbers.below(4000))),
    };
    let effect = if numbers.below(4) == 0 { "nothing" } else { "loaded modules" };
    write!(
        output,
        r#""event":{{"id":"{number:032x}","kind":"event","category":["process"],"type":["start"],"action":"ran-module-tool","outcome":"success","dataset":"lkm_monitor.events"}},"process":{{"pid":{},"name":"{name}","executable":"/usr/bin/kmod","args":["/sbin/{name}","{argument}"],"args_count":2,"exit_code":0,"working_directory":"/","user":{{"id":"0","name":"root"}},"parent":{{"pid":1,"name":"systemd","executable":"/usr/lib/systemd/systemd"}}}},"lkm_monitor":{{"tool":{{"name":"{name}","effect":"{effect}","matched_by":["inode","build","name"]}}}}"#,
        numbers.below(1 << 20),
    )?;
    Ok(())
}

fn load(output: &mut impl Write, numbers: &mut Numbers, number: u64) -> Result<()> {
    let module = match numbers.below(10_000) {
        0 => format!("rare_{}", numbers.below(100_000)),
        _ => format!("module_{:04}", numbers.below(4000)),
    };
    write!(
        output,
        r#""event":{{"id":"{number:032x}","kind":"event","category":["driver"],"type":["start"],"action":"loaded-kernel-module","outcome":"success","dataset":"lkm_monitor.events"}},"file":{{"path":"/usr/lib/modules/6.1.0-1-amd64/kernel/{module}.ko","name":"{module}.ko"}},"process":{{"pid":{},"name":"modprobe","executable":"/usr/bin/kmod","args":["/sbin/modprobe","{module}"],"args_count":2,"user":{{"id":"0","name":"root"}}}},"lkm_monitor":{{"module":{{"name":"{module}","taints":0}},"load":{{"source":"file","stage":"live"}}}}"#,
        numbers.below(1 << 20),
    )?;
    Ok(())
}
