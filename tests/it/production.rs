//! What `deploy/rabbitmq` says is done as written, and Crewcall runs on it with the rights that it names.

use std::{fs, path::Path};

use crewcall_dev_broker::{DevBroker, DevBrokerOptions};
use e2e::stack::Stack;
use serde_json::json;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/rabbitmq");

#[tokio::test]
async fn a_broker_as_documented_serves_users_with_few_rights() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = fs::read_to_string(format!("{DEPLOY}/rabbitmq.conf")).unwrap();
    let lines: Vec<String> = configuration.lines().filter_map(for_this_test).collect();
    let broker = DevBroker::start(DevBrokerOptions {
        configuration: lines.join("\n"),
        ..DevBrokerOptions::new(folder.path())
    });
    let broker = broker.await.unwrap();

    let readme = fs::read_to_string(format!("{DEPLOY}/README.md")).unwrap();
    let commands = commands(&readme);
    assert_eq!(commands.len(), 4, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        broker.ctl(&arguments).await.unwrap();
    }
    let limit = broker.ctl(&["eval", "application:get_env(rabbit, max_message_size)."]).await.unwrap();
    assert_eq!(limit.trim(), "{ok,2097152}");

    let url = |user: &str| format!("amqp://{user}:secret@127.0.0.1:{}/crewcall", broker.amqp_port());
    let mut stack = Stack::start_on(url("crewcall-backend")).await.unwrap();
    stack.api.ready().await.unwrap();
    stack.worker_setting("CREWCALL_AMQP_URL", &url("crewcall-worker"));
    let worker = stack.worker(&["test.echo", "test.sleep"], 2).await.unwrap();
    let echo = stack.submit("test.echo", json!({"text": "few rights"})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&echo).await.unwrap()["state"], "completed");
    let long = stack.submit("test.sleep", json!({"steps": 600, "step_ms": 100})).await.unwrap();
    stack.api.job_when(&long, |job| job["state"] == "running").await.unwrap();
    stack.api.post(&format!("/v1/jobs/{long}/cancel"), json!({})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&long).await.unwrap()["state"], "cancelled");
    assert!(!worker.log().contains("ACCESS_REFUSED"), "{}", worker.log());
    stack.settle().await.unwrap();
}

/// A line of the configuration as it is for a node of our own, which has its own address, folder and disk.
fn for_this_test(line: &str) -> Option<String> {
    if line.starts_with("listeners.") || line.starts_with("disk_free_limit") {
        return None;
    }
    let definitions = Path::new(DEPLOY).join("crewcall.json");
    Some(line.replace("/etc/rabbitmq/crewcall.json", &definitions.to_string_lossy()))
}

/// What `rabbitmqctl` is given by the document, word by word.
fn commands(readme: &str) -> Vec<Vec<String>> {
    let joined = readme.replace("\\\n", " ");
    let commands = joined.lines().filter_map(|line| line.strip_prefix("rabbitmqctl "));
    let word = |word: &str| match word {
        "\"$BACKEND_PASSWORD\"" | "\"$WORKER_PASSWORD\"" => "secret".to_owned(),
        word => word.trim_matches('\'').to_owned(),
    };
    commands.map(|command| command.split_whitespace().map(word).collect()).collect()
}

/// The services share files of this repository, which are found from where the compose file is.
#[test]
fn the_compose_file_names_files_and_services_that_there_are() {
    let deploy = Path::new(DEPLOY).parent().unwrap();
    let compose: serde_json::Value =
        serde_saphyr::from_str(&fs::read_to_string(deploy.join("compose.yaml")).unwrap()).unwrap();
    let services = compose["services"].as_object().unwrap();
    let named_volumes = compose["volumes"].as_object().unwrap();
    for (name, service) in services {
        let volumes =
            service["volumes"].as_array().into_iter().flatten().filter_map(|volume| volume.as_str());
        for volume in volumes {
            let source = volume.split(':').next().unwrap();
            let is_there = match source.strip_prefix("./") {
                Some(path) => deploy.join(path).exists(),
                None => named_volumes.contains_key(source),
            };
            assert!(is_there, "{name}: {volume}");
        }
        if let Some(other) = service["network_mode"].as_str().and_then(|mode| mode.strip_prefix("service:")) {
            assert!(services.contains_key(other), "{name}: {other}");
        }
    }
    let crewcall = &compose["x-crewcall"];
    assert!(deploy.join(crewcall["build"]["context"].as_str().unwrap()).join("Cargo.toml").exists());
    assert!(services.contains_key(crewcall["depends_on"].as_object().unwrap().keys().next().unwrap()));
}
