//! What the binary is made of, in CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/): the crates that cargo resolves for it and for the
//! probes, which it carries in it, without those that only build or test.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{NAME, Release, write};
use crate::{process, workspace};

/// The package whose program the daemon's build puts into it: no dependency of the normal kind.
const PROBES: &str = "lkm-monitor-ebpf";

pub(super) fn write_components(release: &Release) -> Result<PathBuf> {
    let mut cargo =
        process::cargo(["metadata", "--format-version=1", "--locked", "--filter-platform", workspace::STATIC]);
    let metadata = serde_json::from_slice(&process::capture(&mut cargo)?).context("cargo metadata is not JSON")?;
    let path = workspace::dist().join(format!("{NAME}-{}.cdx.json", release.version));
    write(&path, serde_json::to_vec_pretty(&components(&metadata, &release.version)?)?)?;
    Ok(path)
}

fn components(metadata: &Value, version: &str) -> Result<Value> {
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    let named = |name: &str| packages.iter().find(|package| package["name"] == name);
    let root = named(NAME).context("cargo does not know the daemon")?;
    let probes = named(PROBES).context("cargo does not know the probes")?;
    let used = used(metadata, vec![text(&root["id"]), text(&probes["id"])]);
    let mut parts: Vec<Value> = packages
        .iter()
        .filter(|package| used.contains(text(&package["id"])) && package != &root)
        .map(component)
        .collect();
    parts.sort_by_key(|part| text(&part["bom-ref"]).to_owned());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "bom-ref": format!("{NAME}@{version}"),
            "name": NAME,
            "version": version,
            "licenses": [{ "expression": root["license"] }],
        } },
        "components": parts,
    }))
}

/// These packages and what they are linked with: what they depend on, and so on, of the normal kind.
fn used<'a>(metadata: &'a Value, mut pending: Vec<&'a str>) -> BTreeSet<&'a str> {
    let nodes = metadata["resolve"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let mut used = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if !used.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id);
        let dependencies = node.and_then(|node| node["deps"].as_array()).map_or(&[][..], Vec::as_slice);
        let is_normal = |dependency: &&Value| {
            dependency["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        };
        pending.extend(dependencies.iter().filter(is_normal).map(|dependency| text(&dependency["pkg"])));
    }
    used
}

fn component(package: &Value) -> Value {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    let mut component = json!({
        "type": "library",
        "bom-ref": format!("{name}@{version}"),
        "name": name,
        "version": version,
        "purl": format!("pkg:cargo/{name}@{version}"),
    });
    if let Some(license) = package["license"].as_str() {
        // The old spelling of OR is not SPDX.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    component
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed() {
        let package = |name: &str| json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0" });
        let needs = |id: &str, kind: Value| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [
                package(NAME), package("linked"), package("deeper"), package("builds"), package("elsewhere"), package(PROBES),
                package("in-the-kernel"),
            ],
            "resolve": { "nodes": [
                { "id": NAME, "deps": [needs("linked", Value::Null), needs("builds", json!("build"))] },
                { "id": PROBES, "deps": [needs("in-the-kernel", Value::Null), needs("builds", json!("build"))] },
                { "id": "linked", "deps": [needs("deeper", Value::Null), needs(NAME, Value::Null)] },
            ] },
        });
        let listed = components(&metadata, "2.0.0").unwrap();
        let names: Vec<_> = listed["components"].as_array().unwrap().iter().map(|part| text(&part["name"])).collect();
        assert_eq!(names, ["deeper", "in-the-kernel", "linked", PROBES]);
        assert_eq!(listed["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(listed["metadata"]["component"]["version"], "2.0.0");
    }
}
