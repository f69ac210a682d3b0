//! What a shell, a pager and a slip of the pen meet: completion, man pages, settings that are written wrong.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use e2e::{process::command, stack::Stack};
use serde_json::json;
use tokio::time::Instant;

/// The longest that somebody waits who presses the Tab key. The backend has 0.4 s; the rest is for a busy machine.
const TAB_MAX: Duration = Duration::from_secs(5);

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What the script of a shell asks when somebody presses the Tab key behind the last word.
async fn offered(folder: &Path, url: &str, words: &[&str]) -> Output {
    let mut crewcall = command("crewcall", folder).unwrap();
    crewcall.args(["--", "crewcall"]).args(words).env("_CREWCALL_COMPLETE", "bash").env("CREWCALL_URL", url);
    crewcall.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).env("_CLAP_IFS", "\n");
    crewcall.output().await.unwrap()
}

#[tokio::test]
async fn the_tab_key_offers_what_there_is() {
    let mut stack = Stack::start("tab").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep"], 1).await.unwrap();
    let id = stack.submit("test.echo", json!({"text": "a"})).await.unwrap();
    stack.api.wait_for_end(&id).await.unwrap();
    let url = format!("http://{}", stack.http_listen());
    for (words, expected) in [
        (&["types", "get", "test.e"][..], "test.echo"),
        (&["submit", "test.s"], "test.sleep"),
        (&["submit", "test.sleep", "st"], "steps:="),
        (&["jobs", "get", &id[..8]], &id),
        (&["jobs", "cancel", "@"], "@last"),
        (&["workers", "drain", "te"], "test-worker"),
        (&["jobs", "ls", "--state", "fai"], "failed"),
    ] {
        let answer = offered(stack.folder(), &url, words).await;
        let shown = text(&answer.stdout);
        assert!(
            shown.split('\n').any(|line| line == expected),
            "{words:?}: {shown:?} {}",
            text(&answer.stderr)
        );
    }
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn the_tab_key_is_quick_and_silent_when_nobody_answers() {
    let folder = tempfile::tempdir().unwrap();
    // One refuses, the other takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = ["http://127.0.0.1:1".to_owned(), format!("http://{}", silent.local_addr().unwrap())];
    for url in &urls {
        for words in [&["types", "get", ""][..], &["submit", "test.echo", ""], &["workers", "get", ""]] {
            let began = Instant::now();
            let answer = offered(folder.path(), url, words).await;
            assert!(began.elapsed() < TAB_MAX, "{words:?}: {:?}", began.elapsed());
            assert!(answer.status.success() && text(&answer.stderr).is_empty(), "{}", text(&answer.stderr));
        }
    }
    let answer = offered(folder.path(), &urls[0], &["jo"]).await;
    assert!(text(&answer.stdout).contains("jobs"), "{}", text(&answer.stdout));
}

#[tokio::test]
async fn scripts_and_pages_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let mut crewcall = command("crewcall", folder.path()).unwrap();
        crewcall.args(arguments).output().await.unwrap()
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completion", shell]).await;
        assert!(script.status.success(), "{shell}");
        assert!(text(&script.stdout).contains("_CREWCALL_COMPLETE"), "{shell}: {}", text(&script.stdout));
    }
    let script = run(&["completion", "bash"]).await;
    std::fs::write(folder.path().join("script"), &script.stdout).unwrap();
    let bash =
        tokio::process::Command::new("bash").args(["-n", "script"]).current_dir(folder.path()).output();
    assert!(bash.await.unwrap().status.success());
    assert!(run(&["man", "pages/man1"]).await.status.success());
    let page = std::fs::read_to_string(folder.path().join("pages/man1/crewcall-submit.1")).unwrap();
    assert!(page.contains("Examples:") && page.contains("image.thumbnail"), "{page}");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_without_a_word() {
    let mut stack = Stack::start("pipes").await.unwrap();
    let id = stack.submit("test.unserved", json!({})).await.unwrap();
    for arguments in [
        &["jobs", "ls"][..],
        &["jobs", "ls", "-o", "jsonl"],
        &["jobs", "get", &id, "-o", "json"],
        &["types", "ls", "--watch"],
        &["watch", &id],
        &["status"],
        &["version"],
        &["submit", "--help"],
        &["completion", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut crewcall = stack.crewcall(arguments).unwrap();
        let process = crewcall.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ended = process.wait_with_output().await.unwrap();
        let said = text(&ended.stderr);
        assert_eq!((ended.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let crewcall = stack.crewcall(&[]).unwrap();
    let program = crewcall.as_std().get_program().to_str().unwrap();
    let line = format!("set -o pipefail; '{program}' jobs ls | head -1");
    let url = format!("http://{}", stack.http_listen());
    let mut bash = tokio::process::Command::new("bash");
    let first = bash.args(["-c", &line]).env("CREWCALL_URL", url).output().await.unwrap();
    assert_eq!((first.status.code(), text(&first.stderr).as_str()), (Some(0), ""));
    assert_eq!(text(&first.stdout).lines().count(), 1, "{}", text(&first.stdout));
    stack.api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.unwrap();
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn all_that_is_wrong_with_the_settings_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("crewcall.toml"), "http-listen = \"8080\"\nretention_failed = 14\n")
        .unwrap();
    let mut serve = command("crewcall", folder.path()).unwrap();
    let ended = serve.arg("serve").env("CREWCALL_LOG", "debg").output().await.unwrap();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    for part in ["3 settings", "did you mean http_listen?", "retention_failed", "did you mean debug?"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    std::fs::remove_file(folder.path().join("crewcall.toml")).unwrap();
    let mut stranger = command("crewcall", folder.path()).unwrap();
    stranger.arg("serve").env("CREWCALL_HTP_LISTEN", "1").env("CREWCALL_HTTP_LISTEN", "0");
    let backend = e2e::process::Process::start("backend", folder.path(), stranger);
    let mut backend = backend.unwrap();
    let address = backend.line_after("listening on ").await.unwrap();
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    let log = backend.log();
    let warned = "CREWCALL_HTP_LISTEN has no effect; did you mean CREWCALL_HTTP_LISTEN?";
    assert_eq!(log.matches(warned).count(), 1, "{log}");
    backend.kill().await.unwrap();
}
