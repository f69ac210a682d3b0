//! The command `crewcall` against a real backend: what it prints, and how it ends.

use std::process::{Output, Stdio};

use crewcall_dev_broker::HOME_VARIABLE;
use e2e::{process::command, stack::Stack};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

async fn run(stack: &Stack, arguments: &[&str]) -> Output {
    stack.crewcall(arguments).unwrap().output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn submit_waits_prints_the_result_and_ends_as_the_job_did() {
    let mut stack = Stack::start("cli").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail", "test.sleep"], 2).await.unwrap();
    let done = run(&stack, &["submit", "test.echo", "text=Grüße", "--wait"]).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let result: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(result, json!({"text": "Grüße", "worker": "worker-0"}));
    let failed = run(&stack, &["submit", "test.fail", "message=no", "permanent:=true", "--wait"]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("no"), "{}", text(&failed.stderr));
    let refused = run(&stack, &["submit", "test.sleep", "steps:=0", "step_ms:=1"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("steps"), "{}", text(&refused.stderr));
    let late = run(&stack, &["submit", "test.sleep", "steps:=100", "step_ms:=50", "--wait", "1"]).await;
    assert_eq!(late.status.code(), Some(4), "{}", text(&late.stderr));
    for arguments in [["jobs", "ls"], ["workers", "ls"], ["types", "ls"]] {
        let listed = run(&stack, &arguments).await;
        assert_eq!(listed.status.code(), Some(0), "{arguments:?}: {}", text(&listed.stderr));
        assert!(text(&listed.stdout).contains("test"), "{arguments:?}: {}", text(&listed.stdout));
    }
    // What others wrote is shown, not obeyed.
    let pause = ["types", "pause", "test.fail", "--by", "ann\u{1b}]0;gotcha\u{7}"];
    assert_eq!(run(&stack, &pause).await.status.code(), Some(0));
    let paused = run(&stack, &["submit", "test.fail", "message=\u{9b}31m"]).await;
    assert!(text(&paused.stderr).contains("\\u{1b}]0;gotcha"), "{:?}", text(&paused.stderr));
    let id = text(&paused.stdout).trim().to_owned();
    for format in ["table", "json", "jsonl", "name"] {
        let shown = run(&stack, &["jobs", "get", &id, "-o", format]).await;
        assert_eq!(shown.status.code(), Some(0), "{format}");
        let steers = |text: &str| text.contains(|c: char| c.is_control() && c != '\n');
        assert!(!steers(&text(&shown.stdout)), "{format}: {:?}", text(&shown.stdout));
    }
    assert_eq!(run(&stack, &["jobs", "cancel", &id]).await.status.code(), Some(0));
    remember_all(&mut stack).await;
    stack.settle().await.unwrap();
}

/// What is seen on a terminal of 80 columns.
async fn on_a_terminal(stack: &Stack, arguments: &str) -> String {
    with_setting(stack, "", arguments).await
}

/// The same with a variable that is set, such as `NO_COLOR=1`.
async fn with_setting(stack: &Stack, setting: &str, arguments: &str) -> String {
    let crewcall = stack.crewcall(&[]).unwrap();
    let program = crewcall.as_std().get_program().to_str().unwrap();
    let line = format!("stty cols 80 rows 24; exec env {setting} '{program}' {arguments}");
    let mut script = tokio::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("CREWCALL_URL", format!("http://{}", stack.http_listen()));
    let output = script.env("TERM", "xterm").stdin(Stdio::null()).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", text(&output.stdout));
    text(&output.stdout)
}

/// What is seen of it, without colours.
fn plain(screen: &str) -> String {
    let mut parts = screen.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').unwrap().1)
}

#[tokio::test]
async fn lists_fit_a_terminal_and_what_they_show_names_jobs_and_workers() {
    let mut stack = Stack::start("lists").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 2).await.unwrap();
    let long = "a reason that is much longer than there is room for in a line of eighty columns";
    let failed = stack.submit("test.fail", json!({"message": long, "permanent": true})).await.unwrap();
    stack.submit("test.unserved.with.a.name.that.is.longer.than.most", json!({})).await.unwrap();
    let ended = run(&stack, &["watch", &failed]).await;
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended.stderr));
    for list in ["jobs ls", "workers ls", "types ls", "quarantine ls", "jobs ls --state failed --since 1h"] {
        let screen = on_a_terminal(&stack, list).await;
        for line in plain(&screen).lines() {
            assert!(line.trim_end().chars().count() <= 80, "{list}: {line:?}");
        }
    }
    let screen = on_a_terminal(&stack, "jobs ls --type test.fail --no-headers").await;
    assert!(screen.contains("\u{1b}[31mfailed\u{1b}[0m"), "{screen:?}");
    for command in ["jobs ls", "jobs ls --help"] {
        for (setting, is_coloured) in [("", true), ("NO_COLOR=", true), ("NO_COLOR=1", false)] {
            let screen = with_setting(&stack, setting, command).await;
            assert_eq!(screen.contains("\u{1b}["), is_coloured, "{command} with {setting:?}: {screen:?}");
        }
    }
    let shown = plain(&screen).split_whitespace().next().unwrap().to_owned();
    assert!(shown.len() < 36 && failed.starts_with(&shown), "{shown} of {failed}");
    for name in [shown.as_str(), &shown.to_uppercase(), &shown.replace('-', "")] {
        let got = run(&stack, &["jobs", "get", name, "-o", "name"]).await;
        assert_eq!(text(&got.stdout).trim(), failed, "{}", text(&got.stderr));
    }
    let wide = run(&stack, &["jobs", "ls", "-o", "wide"]).await;
    assert!(text(&wide.stdout).contains(&failed) && text(&wide.stdout).contains(long));
    let last = run(&stack, &["jobs", "cancel", "@last"]).await;
    assert!(text(&last.stdout).contains("cancelled"), "{}", text(&last.stderr));
    let both = run(&stack, &["jobs", "get", &failed[..6]]).await;
    assert_eq!(both.status.code(), Some(2), "{}", text(&both.stdout));
    assert!(text(&both.stderr).contains(&failed), "{}", text(&both.stderr));
    let none = run(&stack, &["jobs", "retry", "ffffff"]).await;
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("begins with ffffff"), "{}", text(&none.stderr));
    let drained = run(&stack, &["workers", "drain", "worker-0"]).await;
    assert_eq!(drained.status.code(), Some(0), "{}", text(&drained.stderr));
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_submission_says_what_was_probably_meant_and_can_be_repeated() {
    let mut stack = Stack::start("submit").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail", "test.panic", "test.sleep"], 4).await.unwrap();
    let slip = run(&stack, &["submit", "test.ecko", "text=a"]).await;
    assert_eq!(slip.status.code(), Some(0));
    assert!(text(&slip.stderr).contains("did you mean test.echo?"), "{}", text(&slip.stderr));
    let waiting = text(&slip.stdout).trim().to_owned();
    let refused = run(&stack, &["submit", "test.ecko", "text=a", "--require-worker"]).await;
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(2), String::new()));
    assert!(text(&refused.stderr).contains("did you mean test.echo?"), "{}", text(&refused.stderr));
    let wrong = run(&stack, &["submit", "test.echo", "txet=a"]).await;
    assert!(text(&wrong.stderr).contains("did you mean text, not txet?"), "{}", text(&wrong.stderr));
    let option = run(&stack, &["submit", "test.echo", "--text", "a"]).await;
    assert!(text(&option.stderr).contains("text=a"), "{}", text(&option.stderr));
    let done =
        run(&stack, &["submit", "test.echo", "text=a", "--label", "run=1", "--require-worker", "--wait"])
            .await;
    assert!(text(&done.stderr).contains("completed in "), "{}", text(&done.stderr));
    let like = run(&stack, &["submit", "--like", "@last", "text=b", "--wait", "-o", "json"]).await;
    let job: Value = serde_json::from_slice(&like.stdout).unwrap();
    assert_eq!((&job["result"]["text"], &job["labels"]["run"]), (&json!("b"), &json!("1")), "{job}");
    let panicked = run(&stack, &["submit", "test.panic", "--max-attempts", "1", "--wait"]).await;
    assert_eq!(panicked.status.code(), Some(1));
    assert!(text(&panicked.stderr).contains("it panicked at "), "{}", text(&panicked.stderr));
    let types = run(&stack, &["types", "get", "test.sleep"]).await;
    assert!(text(&types.stdout).contains("crewcall submit test.sleep steps:="), "{}", text(&types.stdout));
    let mut endless =
        stack.crewcall(&["submit", "test.sleep", "steps:=1000", "step_ms:=100", "--wait"]).unwrap();
    let mut endless = endless.arg("--cancel-on-interrupt").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(endless.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().unwrap().starts_with("running") {}
    let pid = endless.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(endless.wait().await.unwrap().code(), Some(130));
    assert_eq!(run(&stack, &["jobs", "cancel", &waiting]).await.status.code(), Some(0));
    remember_all(&mut stack).await;
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_batch_is_labelled_waited_for_and_summed_up() {
    let mut stack = Stack::start("batch-wait").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.fail"], 4).await.unwrap();
    let good = r#"{"type": "test.echo", "parameters": {"text": "a"}}"#;
    let bad = r#"{"type": "test.fail", "parameters": {"message": "broken", "permanent": true}}"#;
    let file = stack.folder().join("jobs.jsonl");
    std::fs::write(&file, format!("{good}\n{good}\n{bad}\n")).unwrap();
    let file = file.to_str().unwrap();
    let failed = run(&stack, &["submit", "--batch", file, "--label", "run=7", "--wait", "-o", "jsonl"]).await;
    let said = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    for part in ["3 accepted", "2 completed, 1 failed in ", "broken"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let lines = text(&failed.stdout);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["line"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    let labelled = run(&stack, &["jobs", "ls", "--label", "run=7", "-o", "name"]).await;
    assert_eq!(text(&labelled.stdout).lines().count(), 3);
    std::fs::write(file, format!("{good}\n{{}}\n")).unwrap();
    let refused = run(&stack, &["submit", "--batch", file, "--wait"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("1 accepted, 1 refused"), "{}", text(&refused.stderr));
    remember_all(&mut stack).await;
    stack.settle().await.unwrap();
}

/// What the command line submitted is checked like everything else.
async fn remember_all(stack: &mut Stack) {
    let lines = run(stack, &["jobs", "ls", "-o", "jsonl"]).await;
    for line in text(&lines.stdout).lines() {
        let job: Value = serde_json::from_str(line).unwrap();
        stack.remember_accepted(job["id"].as_str().unwrap().to_owned());
    }
}

#[tokio::test]
async fn what_keeps_the_backend_from_starting_is_said_in_one_line() {
    let stack = Stack::start("cli-serve").await.unwrap();
    let address = stack.http_listen().to_owned();
    let newer = tempfile::tempdir().unwrap();
    let file = newer.path().join("crewcall.db");
    let mark = "PRAGMA application_id";
    let ours: i64 =
        rusqlite::Connection::open(stack.database()).unwrap().query_row(mark, [], |row| row.get(0)).unwrap();
    let sql = rusqlite::Connection::open(&file).unwrap();
    sql.execute_batch(&format!("{mark} = {ours}; PRAGMA user_version = 9999; CREATE TABLE jobs (id)"))
        .unwrap();
    drop(sql);
    let same = format!("sqlite://{}", stack.database().display());
    let newer_url = format!("sqlite://{}", file.display());
    for (name, listen, database, amqp, says) in [
        ("port taken", address.as_str(), "sqlite://other.db", "amqp://127.0.0.1:1", "cannot listen"),
        ("database in use", "127.0.0.1:0", same.as_str(), "amqp://127.0.0.1:1", "crewcall.db"),
        ("database newer", "127.0.0.1:0", newer_url.as_str(), "amqp://127.0.0.1:1", "newer"),
        ("no broker URL", "127.0.0.1:0", "sqlite://other.db", "http://x", "amqp://"),
        ("open to all", "0.0.0.0:0", "sqlite://other.db", "amqp://127.0.0.1:1", "--insecure"),
    ] {
        let mut serve = command("crewcall", stack.folder()).unwrap();
        serve.arg("serve").env("CREWCALL_HTTP_LISTEN", listen).env("CREWCALL_DATABASE_URL", database);
        let output = serve.env("CREWCALL_AMQP_URL", amqp).output().await.unwrap();
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{name}");
        assert_eq!(said.trim().lines().count(), 1, "{name}: {said}");
        assert!(said.contains(says), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let mut ls = command("crewcall", folder.path()).unwrap();
    let output = ls.args(["jobs", "ls", "--url", "http://127.0.0.1:1"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_rabbitmq_that_is_not_where_it_is_said_to_be_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = command("crewcall", folder.path()).unwrap();
    let ended = dev.args(["dev", "--once"]).env(HOME_VARIABLE, folder.path()).output().await.unwrap();
    let said = text(&ended.stderr);
    assert!(!ended.status.success() && said.contains(HOME_VARIABLE), "{}: {said}", ended.status);
    assert!(said.contains(&folder.path().display().to_string()), "{said}");
}
