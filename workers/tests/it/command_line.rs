//! The program itself, as a process.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::sample;

/// Runs the program with nothing in its environment but `variables`.
fn crewcall_workers(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crewcall-workers"))
        .env_clear()
        .env("CREWCALL_WORKER_SLOTS", "4")
        .envs(variables.iter().copied())
        .args(arguments)
        .output()
        .unwrap()
}

fn describe(variables: &[(&str, &str)]) -> Value {
    let output = crewcall_workers(variables, &["--describe"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names(types: &Value) -> Vec<&str> {
    types.as_array().unwrap().iter().map(|job_type| job_type["job_type"].as_str().unwrap()).collect()
}

#[test]
fn it_describes_what_it_serves() {
    let mut described = describe(&[]);
    // The next release is not a change of what is served.
    described["version"] = "(version)".into();
    for job_type in described["types"].as_array_mut().unwrap() {
        job_type["version"] = "(version)".into();
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_json_snapshot!("describe", described);
    });
}

#[test]
fn it_serves_the_types_that_were_chosen() {
    let described = describe(&[("CREWCALL_WORKERS_TYPES", "image.thumbnail,file.checksum")]);
    assert_eq!(names(&described["types"]), ["image.thumbnail", "file.checksum"]);
    let refused = crewcall_workers(&[("CREWCALL_WORKERS_TYPES", "image.resize")], &["--describe"]);
    assert!(!refused.status.success());
    let sentence = String::from_utf8(refused.stderr).unwrap();
    assert!(
        sentence.contains("'image.resize' is not a job type") && sentence.contains("http.request"),
        "{sentence}"
    );
}

#[test]
fn a_type_that_cannot_be_served_here_is_not_announced() {
    let described = describe(&[("CREWCALL_WORKERS_ROOT", "/no/such/root")]);
    assert_eq!(names(&described["types"]), ["http.request"]);
    assert_eq!(names(&described["unavailable"]), ["file.checksum", "image.thumbnail"]);
    assert!(described["unavailable"][0]["reason"].as_str().unwrap().contains("/no/such/root"));

    let described = describe(&[("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/no/such/directory")]);
    assert_eq!(names(&described["types"]), ["file.checksum", "image.thumbnail"]);
    assert!(described["unavailable"][0]["reason"].as_str().unwrap().contains("ca-certificates"));
}

#[test]
fn one_job_runs_without_a_broker() {
    let parameters = |name: &str| format!("{{\"source\": {:?}, \"algorithm\": \"md5\"}}", sample(name));
    let done = crewcall_workers(&[], &["--run-once", "file.checksum", &parameters("poem.txt")]);
    assert!(done.status.success(), "{done:?}");
    let result: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((result["bytes"].as_u64(), result["algorithm"].as_str()), (Some(255), Some("md5")));

    let failed = crewcall_workers(&[], &["--run-once", "file.checksum", &parameters("prose.txt")]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8(failed.stderr).unwrap().contains("source_not_found"));

    let narrow = format!("{{\"source\": {:?}, \"width\": 0}}", sample("poem.txt"));
    let refused = crewcall_workers(&[], &["--run-once", "image.thumbnail", &narrow]);
    assert_eq!(refused.status.code(), Some(1));
    let sentence = String::from_utf8(refused.stderr).unwrap();
    assert!(sentence.contains("/parameters/width: 0 is less than the minimum of 1"), "{sentence}");
}
