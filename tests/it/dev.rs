//! `crewcall dev` with a broker that runs already: other programs find it, and it is found again at the same place.

use std::path::Path;

use e2e::{
    broker,
    process::{PATIENCE, Process, command},
    wait,
};
use rustix::process::Signal;
use tokio::process::Command;
use uuid::Uuid;

/// What the command line says in the folder, knowing nothing but where it is.
async fn said(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut crewcall = command("crewcall", folder).unwrap();
    let output = crewcall.args(arguments).env_remove("CREWCALL_URL").output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

async fn start(folder: &Path, arguments: &[&str]) -> Process {
    let mut dev = command("crewcall", folder).unwrap();
    dev.arg("dev").args(arguments);
    let started = Process::start("dev", folder, dev).unwrap();
    let is_up = async || said(folder, &["dev", "env"]).await.0 == Some(0);
    wait::until("it can be reached", PATIENCE, is_up).await.unwrap();
    started
}

/// A worker that is told no more than that it is here.
fn worker(folder: &Path, told: impl FnOnce(&mut Command) -> &mut Command) -> Process {
    let mut command = command("test-worker", folder).unwrap();
    command.env("TEST_WORKER_TYPES", "test.echo");
    told(&mut command);
    let name = format!("worker-{}", Uuid::new_v4());
    Process::start(&name, folder, command).unwrap()
}

async fn end(mut dev: Process) {
    dev.signal(Signal::INT).unwrap();
    let status = dev.wait().await.unwrap();
    assert!(status.success(), "{status}: {}", dev.log());
}

#[tokio::test]
async fn others_find_what_runs_here_and_find_it_again() {
    let vhost = broker::vhost("dev").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, none) = said(folder, &["dev", "env"]).await;
    assert!(code == Some(2) && none.contains("no `crewcall dev` runs in this directory"), "{none}");

    let at = ["--http-listen", "127.0.0.1:0", "--no-workers", "--amqp-url", &vhost.url];
    let dev = start(folder, &at).await;
    let (_, environment) = said(folder, &["dev", "env"]).await;
    assert!(environment.contains(&format!("export CREWCALL_AMQP_URL='{}'", vhost.url)), "{environment}");
    let (code, types) = said(folder, &["types", "ls"]).await;
    assert_eq!(code, Some(0), "{types}");

    // A worker finds it, too, and a slip in a setting is named.
    let mut worker = worker(folder, |command| command.env("CREWCALL_WORKER_SLOST", "2"));
    let (code, done) = said(folder, &["submit", "test.echo", "text=found", "--wait"]).await;
    assert!(code == Some(0) && done.contains("completed in "), "{done}");
    for words in ["uses the broker of the `crewcall dev`", "did you mean CREWCALL_WORKER_SLOTS?"] {
        assert!(worker.log().contains(words), "{}", worker.log());
    }
    worker.kill().await.unwrap();
    end(dev).await;
    assert_eq!(said(folder, &["dev", "env"]).await.0, Some(2));
    let stale = self::worker(folder, |command| command);
    stale.logged_after("no longer runs: the worker uses the default").await.unwrap();
    drop(stale);

    // A worker of one's own, and the port of the last time.
    let worker = format!(
        "TEST_WORKER_TYPES=test.echo exec {}",
        command("test-worker", folder).unwrap().as_std().get_program().display()
    );
    let dev = start(folder, &["--worker-command", &worker, "--amqp-url", &vhost.url]).await;
    assert_eq!(said(folder, &["dev", "env"]).await.1, environment);
    let (code, done) = said(folder, &["submit", "test.echo", "text=hello", "--wait"]).await;
    assert!(code == Some(0) && done.contains("completed in "), "{done}");
    end(dev).await;
}
