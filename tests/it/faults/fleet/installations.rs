//! Two backends use the same names on one broker: with databases of their own (F85), or copies of one (F112).

use std::path::Path;

use e2e::{
    broker,
    process::{Process, command},
    proxy::{FaultProxy, Mode},
    stack::Stack,
};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// What the second one says.
const TAKEN: &str = "the prefix crewcall on this broker belongs to an installation with another database";

/// The second installation does not start, and one that was started while the broker could not be reached ends when it
/// can. The first one is not disturbed: its jobs are done, and it can be killed and started again at once.
#[tokio::test]
async fn f85_two_installations_on_one_prefix() {
    let tracker = TaskTracker::new();
    let vhost = broker::vhost("f85").await.unwrap();
    let mut stack = Stack::start_on(vhost.url.clone()).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    let id = stack.submit("test.sleep", json!({"steps": 20, "step_ms": 200})).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let mut second = backend(folder.path(), &vhost.url);
    refused(&mut second).await;

    let (line, url) = FaultProxy::before(&vhost.url, &tracker).await.unwrap();
    line.set(Mode::Refuse);
    let mut second = backend(folder.path(), &url);
    second.line_after("listening on ").await.unwrap();
    stack.backend.kill().await.unwrap();
    line.set(Mode::Pass);
    refused(&mut second).await;

    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    assert_eq!(stack.api.wait_for_end(&id).await.unwrap()["state"], "completed");
    stack.check_resumes("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I2",
        "the second installation took nothing of the first, which was killed and came back at once",
    );
    found.print("F85 two installations on one prefix");
}

/// What the second one says that has a copy of the database.
const DISPLACED: &str = "works on the same queues: it seems to have a copy of this database";

/// A second backend with a copy of the first one's database has the same right to the names, so that the broker lets it in. It
/// hears the first one, and ends; the first one says so and goes on.
#[tokio::test]
async fn f112_a_second_backend_has_a_copy_of_the_database() {
    let vhost = broker::vhost("f112").await.unwrap();
    let mut stack = Stack::start_on(vhost.url.clone()).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.sleep"], 1).await.unwrap();
    stack.check_resumes("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    stack.expect_error("Another backend works on the same queues");

    let folder = tempfile::tempdir().unwrap();
    stack.backend.kill().await.unwrap();
    for file in ["crewcall.db", "crewcall.db-wal"] {
        if stack.folder().join(file).exists() {
            std::fs::copy(stack.folder().join(file), folder.path().join(file)).unwrap();
        }
    }
    stack.restart_backend().await.unwrap();
    stack.api.ready().await.unwrap();
    let mut second = backend(folder.path(), &vhost.url);
    let begun = Instant::now();
    let status = second.wait().await.unwrap();
    assert!(!status.success() && second.log().contains(DISPLACED), "{status}: {}", second.log());
    let after = begun.elapsed();

    stack.check_resumes("test.sleep", json!({"steps": 1, "step_ms": 1})).await.unwrap();
    let mut found = stack.settle().await.unwrap();
    found.hold("I14", format_args!("the second backend ended by itself {after:.1?} after its start"));
    found.print("F112 a second backend has a copy of the database");
}

fn backend(folder: &Path, amqp_url: &str) -> Process {
    let mut command = command("crewcall", folder).unwrap();
    command
        .arg("serve")
        .env("CREWCALL_AMQP_URL", amqp_url)
        .env("CREWCALL_HTTP_LISTEN", "127.0.0.1:0")
        .env("CREWCALL_DATABASE_URL", "sqlite://crewcall.db");
    Process::start("second", folder, command).unwrap()
}

async fn refused(second: &mut Process) {
    let status = second.wait().await.unwrap();
    assert!(!status.success() && second.log().contains(TAKEN), "{status}: {}", second.log());
}
