//! `crewcall top` in a real terminal: what is typed, what is seen, and that the terminal is left as it was.

use std::process::Stdio;

use e2e::{process::PATIENCE, stack::Stack};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// What leaves the screen of one's own, and what shows the cursor again.
const LEAVES: [&str; 2] = ["\u{1b}[?1049l", "\u{1b}[?25h"];

/// `crewcall top` in a terminal. Behind it, the terminal says whether it is as it was.
struct Top {
    terminal: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Top {
    fn start(stack: &Stack, columns: u16) -> Self {
        Self::start_with(stack, columns, "")
    }

    fn start_with(stack: &Stack, columns: u16, failpoints: &str) -> Self {
        let crewcall = stack.crewcall(&[]).unwrap();
        let program = crewcall.as_std().get_program().to_str().unwrap().to_owned();
        let line = format!(
            "stty cols {columns} rows 24; before=$(stty -g); sh -c 'echo $$ > pid; exec \"{program}\" top'; code=$?; \
             [ \"$before\" = \"$(stty -g)\" ] && echo \"the terminal is as it was, code $code\""
        );
        let mut script = Command::new("script");
        script
            .args(["-qec", &line, "/dev/null"])
            .env("CREWCALL_URL", format!("http://{}", stack.http_listen()));
        script
            .env("FAILPOINTS", failpoints)
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .current_dir(stack.folder())
            .kill_on_drop(true);
        let mut terminal = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
        Self { terminal, keys, screen, seen: String::new() }
    }

    async fn press(&mut self, keys: &str) {
        self.seen.clear();
        self.keys.write_all(keys.as_bytes()).await.unwrap();
        self.keys.flush().await.unwrap();
    }

    /// Reads until all of these were seen since the last key.
    async fn sees(&mut self, parts: &[&str]) {
        let read = async {
            let mut bytes = [0; 4096];
            while !parts.iter().all(|part| self.seen.contains(part)) {
                let count = self.screen.read(&mut bytes).await.unwrap();
                assert!(count > 0, "{parts:?} is not in {:?}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        let in_time = timeout(PATIENCE, read).await.is_ok();
        assert!(in_time, "{parts:?} is not in {:?}", self.seen);
    }

    async fn ends_with_code(mut self, code: i32) {
        let said = format!("the terminal is as it was, code {code}");
        self.sees(&[LEAVES[0], LEAVES[1], &said]).await;
        self.terminal.wait().await.unwrap();
    }
}

fn pid(stack: &Stack) -> Pid {
    let pid = std::fs::read_to_string(stack.folder().join("pid")).unwrap();
    Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
}

#[tokio::test]
async fn what_goes_on_is_seen_and_keys_act() {
    let mut stack = Stack::start("top").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep"], 2).await.unwrap();
    let long = stack.submit("test.sleep", json!({"steps": 1_000, "step_ms": 100})).await.unwrap();
    stack.api.job_when(&long, |job| job["state"] == "running").await.unwrap();
    let mut top = Top::start(&stack, 80);
    top.sees(&["types by name", "test.echo", "1 running", "1/2 slots"]).await;
    top.press("/echo\r").await;
    top.sees(&["only /echo"]).await;
    top.press("p").await;
    top.sees(&["pause test.echo?"]).await;
    top.press("y").await;
    top.sees(&["test.echo is paused"]).await;
    let paused = |found: &Value| !found["paused"].is_null();
    stack.api.json_when("/v1/types/test.echo", paused).await.unwrap();
    top.press("\t").await;
    top.sees(&["worker-0", "busy"]).await;
    top.press("\t").await;
    top.sees(&["newest jobs", "test.sleep"]).await;
    top.press("\r").await;
    top.sees(&[&long, "any key goes back"]).await;
    top.press("x").await;
    top.sees(&["newest jobs"]).await;
    top.press("c").await;
    top.sees(&["cancel "]).await;
    top.press("y").await;
    stack.api.job_when(&long, |job| job["state"] == "cancelled").await.unwrap();
    top.press("q").await;
    top.ends_with_code(0).await;
    stack.settle().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_read_on_the_terminal_as_it_was() {
    let stack = Stack::start("top-panics").await.unwrap();
    // It has drawn its screen once before.
    let mut top = Top::start_with(&stack, 80, "top_panics=1*off->panic");
    top.sees(&["types by name", "panicked at", LEAVES[0], LEAVES[1]]).await;
    let (left, told) = (top.seen.find(LEAVES[0]), top.seen.find("panicked at"));
    assert!(left < told, "what it says went away with its screen: {:?}", top.seen);
    top.ends_with_code(101).await;
}

#[tokio::test]
async fn the_terminal_is_left_as_it_was_however_it_ends() {
    let stack = Stack::start("top-ends").await.unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut top = Top::start(&stack, 20);
        top.sees(&["types by name", "nothing here"]).await;
        kill_process(pid(&stack), signal).unwrap();
        top.ends_with_code(0).await;
    }
    let mut top = Top::start(&stack, 80);
    top.sees(&["types by name"]).await;
    top.press("\u{3}").await;
    top.ends_with_code(0).await;
    // Without a terminal it says so.
    let piped = stack.crewcall(&["top"]).unwrap().output().await.unwrap();
    assert_eq!(piped.status.code(), Some(2));
    let said = String::from_utf8(piped.stderr).unwrap();
    assert!(said.contains("needs a terminal"), "{said}");
}
