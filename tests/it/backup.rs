//! The database is copied while jobs come and go, and put back.

use std::{fs, process::Output, time::Duration};

use e2e::{api::Api, stack::Stack};
use rustix::process::Signal;
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// So many jobs are accepted before the copy is made, and so many after.
const JOBS_BEFORE: usize = 60;

#[tokio::test]
async fn a_copy_made_under_load_is_put_back_and_each_job_in_it_ends() {
    let mut stack = Stack::start("backup").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 2).await.unwrap();
    // One that waits for long, and is in the copy whenever it is made.
    let later = stack.submit_job(json!({"type": "test.echo", "parameters": {"text": "later"}, "priority": 1,
        "delay_seconds": 86_400}));
    let later = later.await.unwrap();
    let load = Load::begin(stack.api.clone());

    let before = load.accepted_at_least(JOBS_BEFORE).await;
    let made = crewcall(&stack, &["backup", "copy.db"]).await;
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(said.starts_with("copy.db: ") && said.contains(" jobs, "), "{said}");
    load.accepted_at_least(before.len() + JOBS_BEFORE).await;
    let after = load.end().await;

    let again = crewcall(&stack, &["backup", "copy.db"]).await;
    assert_eq!(refusal(&again), "error: copy.db exists already: choose another name");
    let in_use = crewcall(&stack, &["restore", "copy.db", "--replace"]).await;
    assert!(refusal(&in_use).contains("in use by another backend"), "{in_use:?}");

    stack.backend.signal(Signal::TERM).unwrap();
    stack.backend.wait().await.unwrap();
    let occupied = crewcall(&stack, &["restore", "copy.db"]).await;
    assert!(refusal(&occupied).contains("say --replace to move it aside"), "{occupied:?}");
    let restored = crewcall(&stack, &["restore", "copy.db", "--replace"]).await;
    assert!(restored.status.success(), "{restored:?}");
    let said = String::from_utf8(restored.stdout).unwrap();
    let aside = said.lines().last().unwrap().strip_prefix("what was there before is now ").unwrap();
    assert!(fs::metadata(stack.folder().join(aside)).unwrap().len() > 0);

    stack.restart_backend().await.unwrap();
    for id in before {
        stack.remember_accepted(id);
    }
    // What was accepted while the copy was made may be in it, and what came later is not.
    let mut lost = 0;
    for id in after {
        match stack.api.job(&id).await {
            Ok(_) => stack.remember_accepted(id),
            Err(_) => lost += 1,
        }
    }
    assert!(lost > 0, "the copy holds what came after it");
    let (status, answer) = stack.api.post(&format!("/v1/jobs/{later}/cancel"), json!({})).await.unwrap();
    assert!(status.is_success(), "{answer}");
    stack.check_resumes("test.echo", json!({"text": "new"})).await.unwrap();
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn what_is_no_copy_is_not_put_back() {
    let stack = Stack::start("backup-refused").await.unwrap();
    for (name, content, says) in [
        ("missing.db", None, "there is no database at missing.db"),
        ("empty.db", Some(Vec::new()), "there is no database at empty.db"),
        ("text.db", Some(b"these are notes about films".repeat(50)), "text.db is not a SQLite database"),
    ] {
        if let Some(content) = content {
            fs::write(stack.folder().join(name), content).unwrap();
        }
        let refused = crewcall(&stack, &["restore", name, "--database-url", "sqlite://other.db"]).await;
        assert!(refusal(&refused).contains(says), "{name}: {refused:?}");
        assert!(!stack.folder().join("other.db").exists(), "{name} made a database");
    }
    let nowhere = crewcall(&stack, &["backup", "no/such/folder/copy.db"]).await;
    assert!(refusal(&nowhere).contains("no/such/folder/copy.db"), "{nowhere:?}");

    let made = crewcall(&stack, &["backup", "whole.db"]).await;
    assert!(made.status.success(), "{made:?}");
    let mut damaged = fs::read(stack.folder().join("whole.db")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..].fill(0x55);
    fs::write(stack.folder().join("damaged.db"), damaged).unwrap();
    let refused = crewcall(&stack, &["restore", "damaged.db", "--database-url", "sqlite://other.db"]).await;
    assert!(refusal(&refused).contains("damaged.db is damaged"), "{refused:?}");
    assert!(!stack.folder().join("other.db").exists());
}

/// Runs the command line, on the backend's database.
async fn crewcall(stack: &Stack, arguments: &[&str]) -> Output {
    let mut command = stack.crewcall(arguments).unwrap();
    command.env("CREWCALL_DATABASE_URL", "sqlite://crewcall.db");
    timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap()
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Jobs, one after the other, until it is told to end.
struct Load {
    accepted: watch::Receiver<Vec<String>>,
    end: watch::Sender<bool>,
    task: JoinSet<()>,
}

impl Load {
    fn begin(api: Api) -> Self {
        let (told, accepted) = watch::channel(Vec::new());
        let (end, ended) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while !*ended.borrow() {
                let job = json!({"type": "test.echo", "parameters": {"text": "load"}});
                let id = api.submit(job).await.unwrap();
                told.send_modify(|accepted: &mut Vec<String>| accepted.push(id));
            }
        });
        Self { accepted, end, task }
    }

    async fn accepted_at_least(&self, jobs: usize) -> Vec<String> {
        let mut accepted = self.accepted.clone();
        let enough = accepted.wait_for(|accepted| accepted.len() >= jobs);
        timeout(Duration::from_secs(60), enough).await.unwrap().unwrap().clone()
    }

    async fn end(self) -> Vec<String> {
        self.end.send_replace(true);
        self.task.join_all().await;
        self.accepted.borrow().clone()
    }
}
