//! Several faults at once, at random (F60).

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use e2e::{
    chaos::plan::{FAULTS_AT_ONCE_MAX, plan},
    process::{PATIENCE as PROGRAM_PATIENCE, command, program, running_in},
    wait::until,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

/// A minute of faults, and what it takes to start, to heal, and to wait for the last job on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// How many lines of a log are shown when chaos finds something: of the jobs that it is about, and the last of all.
const LINES_OF_JOBS: usize = 40;
const LAST_LINES: usize = 25;

/// Long enough that every fault is chosen.
const LONG: Duration = Duration::from_secs(1_800);

/// Mounts a small file system over the working directory, and starts the program there.
const SMALL_DISK: &str = "mount -t tmpfs -o size=64m chaos-test \"$PWD\" && cd \"$PWD\" && exec \"$0\"";

/// The program `chaos` lets the faults of a fixed seed strike for a minute, while jobs come in and are
/// cancelled. It fails when a job is lost, doubled or stuck or comes to an end that it may not have, and when something
/// repairs itself, ends or logs an error without a reason.
#[tokio::test]
async fn f60_a_minute_of_chaos() {
    let _turn = super::processors().await;
    let folder = tempfile::tempdir().unwrap();
    let mut chaos = command("chaos", folder.path()).unwrap();
    chaos.args(["--seed", "60", "--minutes", "1"]);
    let ended = timeout(PATIENCE, chaos.output()).await.expect("chaos ends").unwrap();
    let (report, plan) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{plan}\n{report}\n{}", evidence(&plan, &report));
    println!("F60 faults at random\n    {}", report.trim_end());
}

/// What the files that are kept say of the jobs in the report, and the last of what each program said: where this fails, it
/// may be all that anybody gets to see.
fn evidence(plan: &str, report: &str) -> String {
    let Some((_, folder)) = plan.split_once("the files are kept in ") else { return String::new() };
    let folder = Path::new(folder.lines().next().unwrap_or_default());
    let ids: Vec<&str> =
        report.split("\"id\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let mut found = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name != "journal" && path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let (lines, of_jobs): (Vec<&str>, _) =
            (text.lines().collect(), text.lines().filter(|line| ids.iter().any(|id| line.contains(id))));
        let last = if name == "journal" { &[] } else { &lines[lines.len().saturating_sub(LAST_LINES)..] };
        for line in of_jobs.take(LINES_OF_JOBS).chain(last.iter().copied()) {
            found.push_str(&format!("{name}: {line}\n"));
        }
    }
    found
}

#[test]
fn f60_a_seed_chooses_the_faults() {
    let (short, long) = (plan(7, LONG / 10), plan(7, LONG));
    assert_eq!(long, plan(7, LONG), "the same faults");
    assert!(long.starts_with(&short), "a longer run begins as a shorter one");
    assert_ne!(long, plan(8, LONG), "another seed, other faults");
    for strike in &long {
        let running: Vec<_> = long
            .iter()
            .filter(|other| other.at <= strike.at && strike.at <= other.at + other.lasts)
            .collect();
        let counted = running.iter().filter(|other| other.fault.target().counts());
        assert!(counted.count() <= FAULTS_AT_ONCE_MAX, "{running:?}");
        let alike = running.iter().filter(|other| other.fault.target() == strike.fault.target());
        assert_eq!(alike.count(), 1, "{running:?}");
        let may_lose = strike.at.as_secs() % 240 < 30;
        assert!(
            may_lose || !strike.fault.loses(None),
            "what is confirmed stays for most of the time: {strike}"
        );
    }
    let kinds: BTreeSet<_> = long.iter().map(|strike| strike.fault.kind()).collect();
    assert_eq!(kinds.len(), 29, "each fault strikes: {kinds:?}");
}

#[tokio::test]
async fn f60_arguments_that_mean_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, advice) in [
        (["--minutes", "0"], "1..=1440"),
        (["--minutes", "soon"], "invalid digit"),
        (["--seed", "-1"], "--seed"),
        (["--hours", "1"], "--help"),
    ] {
        let refused = command("chaos", folder.path()).unwrap().args(arguments).output().await.unwrap();
        let text = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.contains(advice), "{text}");
    }
}

/// Who interrupts a run learns what it found until then, and that this is not all; nothing is left running.
#[tokio::test]
async fn f60_a_run_that_is_interrupted_says_so() {
    let (mut chaos, folder, mut lines) = started().await;
    let report = interrupted(&mut chaos, &mut lines).await;
    assert!(report.contains("the run was interrupted") && report.contains("0 LOST"), "{report}");
    assert!(!folder.exists(), "its files are gone");
    until("nothing of it runs", PROGRAM_PATIENCE, async || running_in(&folder) == 0).await.unwrap();
}

/// Who is in a hurry learns nothing; nothing is left running either.
#[tokio::test]
async fn f60_a_run_that_is_interrupted_twice_ends() {
    let (mut chaos, folder, mut lines) = started().await;
    interrupt(&chaos);
    while lines.next_line().await.unwrap().expect("it heals").as_str() != "every fault is over" {}
    interrupt(&chaos);
    let ended = timeout(PROGRAM_PATIENCE, chaos.wait()).await.expect("chaos ends").unwrap();
    assert_eq!(ended.code(), Some(2));
    until("nothing of it runs", PROGRAM_PATIENCE, async || running_in(&folder) == 0).await.unwrap();
}

/// The broker dies and cannot come back, because somebody took its port: the run says so, and what it did not judge.
#[tokio::test]
async fn f60_a_broker_that_does_not_come_back() {
    let (mut chaos, folder, mut lines) = started().await;
    let broker = node_in(&folder);
    let pid: i32 = std::fs::read_to_string(broker.join("node.pid")).unwrap().trim().parse().unwrap();
    let configuration = std::fs::read_to_string(broker.join("rabbitmq.conf")).unwrap();
    let (_, address) = configuration.split_once("listeners.tcp.1 = ").expect("it says where it listens");
    let address = address.lines().next().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let mut taken = None;
    let take = async || {
        taken = TcpListener::bind(address).ok();
        taken.is_some()
    };
    until("its port is free", PROGRAM_PATIENCE, take).await.unwrap();
    let report = interrupted(&mut chaos, &mut lines).await;
    for words in ["did not come back: the broker does not come back", "no job and no repair", "NONE"] {
        assert!(report.contains(words), "{words}: {report}");
    }
    until("nothing of it runs", PROGRAM_PATIENCE, async || running_in(&folder) == 0).await.unwrap();
    std::fs::remove_dir_all(&folder).expect("its files are kept");
}

/// Where there is no room, nothing is begun.
#[tokio::test]
async fn f60_a_disk_without_room() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", SMALL_DISK, program]).current_dir(folder.path());
        command.env("TMPDIR", folder.path()).kill_on_drop(true);
        command
    };
    if !mounts("true").output().await.is_ok_and(|attempt| attempt.status.success()) {
        println!("F60 a disk without room: NOT TRIED, no file system can be mounted here");
        return;
    }
    let chaos = program("chaos").unwrap();
    let mut chaos = mounts(chaos.to_str().unwrap());
    let ended = timeout(PROGRAM_PATIENCE, chaos.output()).await.expect("chaos ends").unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{text}");
    assert!(text.contains("nothing was judged") && text.contains("bytes of room"), "{text}");
}

/// The program, with everything up; where its installation is; and what it says of its faults.
async fn started() -> (Child, PathBuf, Lines<BufReader<ChildStderr>>) {
    let mut chaos = command("chaos", Path::new("/")).unwrap();
    chaos.args(["--seed", "60", "--minutes", "9"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut chaos = chaos.spawn().unwrap();
    let mut lines = BufReader::new(chaos.stderr.take().unwrap()).lines();
    let first = timeout(PROGRAM_PATIENCE, lines.next_line()).await.expect("it starts").unwrap().unwrap();
    let (_, folder) = first.split_once(" in ").unwrap_or_else(|| panic!("it says where: {first}"));
    let folder = PathBuf::from(folder);
    (chaos, folder, lines)
}

/// The folder of the broker of an installation.
fn node_in(folder: &Path) -> PathBuf {
    let folders = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let is_the_brokers = |path: &PathBuf| path.join("node.pid").exists();
    folders.into_iter().find(is_the_brokers).expect("the broker has a folder")
}

/// Interrupts a run. Returns its report, which leaves questions open.
async fn interrupted(chaos: &mut Child, lines: &mut Lines<BufReader<ChildStderr>>) -> String {
    interrupt(chaos);
    // What it says has to be read, or it would wait for that.
    while let Ok(Some(_)) = lines.next_line().await {}
    let ended = timeout(PATIENCE, chaos.wait()).await.expect("chaos ends").unwrap();
    let mut report = String::new();
    chaos.stdout.take().unwrap().read_to_string(&mut report).await.unwrap();
    assert_eq!(ended.code(), Some(2), "{report}");
    report
}

fn interrupt(chaos: &Child) {
    let pid = Pid::from_raw(i32::try_from(chaos.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}
