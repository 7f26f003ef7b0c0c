use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::hunt::{
    Query, Subject,
    relations::findings,
    scan::{Keep, scan},
};

const TIME: &str = "2026-01-31T12:00:00Z";

/// A run of a tool, the load that it made, the file that the load came from, and a line that is no document; all with `text` wherever
/// a document can have it. The load by name alone is not rare.
fn page_on(text: &str) -> String {
    let event = |agent: usize, event: Value| {
        let (agent, path) = (format!("{text}{agent}"), format!("/tmp/{text}.ko"));
        let mut document = json!({
            "@timestamp": TIME,
            "agent": { "id": agent },
            "event": event,
            "file": { "path": path, "hash": { "sha256": text } },
            "process": { "entity_id": text, "executable": text, "args": ["insmod", text], "args_count": 2 },
        });
        document["lkm_monitor"]["module"]["name"] = json!(text);
        document
    };
    let mut documents = vec![
        event(0, json!({ "action": "ran-module-tool", "type": "start" })),
        event(0, json!({ "action": "loaded-kernel-module", "type": "start" })),
        event(0, json!({ "action": "created-kernel-module-file", "type": "creation" })),
        json!({ "@timestamp": text, "event": { "type": "creation" }, "file": { "path": "/x.ko" } }),
    ];
    for agent in 0..5 {
        let mut load = event(agent, json!({ "action": "loaded-kernel-module", "type": "start" }));
        load["file"]["hash"] = json!({});
        documents.push(load);
    }
    let lines: String = documents.iter().map(|document| format!("{document}\n")).collect();
    let made = TIME.parse().unwrap();
    let queries = [Subject::Files, Subject::Tools, Subject::Modules].map(|subject| Query::new(subject, made));
    let input = (text.to_owned(), move || Ok(std::io::Cursor::new(lines.into_bytes())));
    let (groups, totals) = scan(vec![input], &queries, Keep::Details).unwrap();
    let since = queries[0].since;
    let hunts: Vec<_> = queries.into_iter().zip(groups).collect();
    page(&Report { made, since, inputs: vec![text.to_owned()], totals: &totals, findings: findings(&hunts) })
}

/// Tags with the names of their attributes, in the order of the page. The script is one piece, as a browser takes it.
fn skeleton(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((_, tag)) = rest.split_once('<') {
        let mut quoted = false;
        let end = tag.find(|character| {
            quoted ^= character == '"';
            character == '>' && !quoted
        });
        let (tag, behind) = tag.split_at(end.unwrap());
        let outside_quotes: String = tag.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
        rest = behind;
        for raw in ["script", "style"] {
            if tag == raw {
                rest = &rest[rest.find(&format!("</{raw}")).unwrap()..];
            }
        }
        found.push(outside_quotes);
    }
    found
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("</td></tr></table>".to_owned()),
        Just("</script><script>alert(1)</script>".to_owned()),
        Just("</style><!--".to_owned()),
        Just("\" onclick=\"alert(1)".to_owned()),
        Just("' autofocus onfocus='alert(1)".to_owned()),
        Just("<img src=x onerror=alert(1)>".to_owned()),
        Just("&lt;b&gt;&#60;".to_owned()),
        Just("\u{202e}\u{1b}[2J\n".to_owned()),
        any::<String>(),
    ];
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| format!("x{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_out(text in hostile()) {
        let page = page_on(&text);
        prop_assert_eq!(skeleton(&page), skeleton(&page_on("x")));
        let body = page.split_once("<body>").unwrap().1;
        let odd = body.chars().find(|it| it.is_control() && *it != '\n' || matches!(it, '\u{202a}'..='\u{202e}'));
        prop_assert_eq!(odd, None);
    }
}

#[test]
fn rows_are_linked_both_ways() {
    let page = page_on("evil");
    let row = |id: &str| {
        let row = page.split_once(&format!("<tr id=\"{id}\">")).unwrap().1;
        row.split_once("</tr>").unwrap().0.to_owned()
    };
    let (run, load, file) = (row("run-1"), row("load-1"), row("file-1"));
    assert!(run.contains("loaded <a href=\"#load-1\"><bdi>evil</bdi></a>"), "{run}");
    assert!(load.contains("loaded by <a href=\"#run-1\"><bdi>insmod evil</bdi></a>"), "{load}");
    assert!(load.contains("from <a href=\"#file-1\"><bdi>/tmp/evil.ko</bdi> (by <bdi>evil</bdi>)</a>"), "{load}");
    assert!(file.contains("loaded as <a href=\"#load-1\"><bdi>evil</bdi></a>"), "{file}");
    for row in [run, file] {
        assert!(row.contains("<bdi>evil</bdi> <span class=\"none\">(5 events on 5 agents: not rare)"), "{row}");
    }
    assert!(page.contains("line 4: <bdi>its @timestamp is no time"), "{page}");
}

#[test]
fn long_texts_are_cut() {
    let mut html = Markup::default();
    html.text("é".repeat(2000));
    let text = html.finish();
    assert!(text.ends_with("é … (1952 more bytes)"), "{}", &text[text.len() - 30..]);
}

#[test]
fn only_files_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link.html");
    std::os::unix::fs::symlink("elsewhere", &link).unwrap();
    for path in [&link, folder.path(), &folder.path().join("missing/report.html")] {
        let error = ensure_writable(path).unwrap_err().to_string();
        assert!(error.contains(&format!("cannot write the report {}", path.display())), "{error}");
    }
    ensure_writable(&folder.path().join("report.html")).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the link");
}
