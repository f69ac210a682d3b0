//! A real node, from its start to the last of its processes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use crewcall_dev_broker::{DevBroker, DevBrokerError, DevBrokerOptions};
use tokio::time::{Instant, sleep};

/// The processes that were started for a node in `dir`, by their environment.
fn processes(dir: &Path) -> Vec<String> {
    let ours =
        format!("CREWCALL_DEV_BROKER_DIR={}", dir.canonicalize().expect("the folder exists").display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == ours.as_bytes()) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!("{}: {}", entry.file_name().display(), String::from_utf8_lossy(&command)));
        }
    }
    found
}

async fn no_process_left(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes(dir).is_empty() {
        assert!(Instant::now() < deadline, "left over: {:#?}", processes(dir));
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_node_lives_dies_comes_back_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = DevBroker::start(DevBrokerOptions::new(dir.path())).await.unwrap();
    assert_ne!(broker.amqp_port(), 5672);
    broker.add_vhosts(&["one", "two"]).await.unwrap();
    let pid = broker.pid().unwrap();

    broker.kill().await.unwrap();
    assert!(broker.pid().is_none());
    assert!(matches!(broker.suspend(), Err(DevBrokerError::NotRunning)));
    let port = broker.amqp_port();
    broker.restart().await.unwrap();
    assert_eq!(broker.amqp_port(), port);
    assert_ne!(broker.pid().unwrap(), pid);
    let vhosts = broker.ctl(&["list_vhosts"]).await.unwrap();
    assert!(vhosts.contains("one") && vhosts.contains("two"), "the data survive: {vhosts}");

    let refused = broker.ctl(&["no_such_command"]).await.unwrap_err();
    assert!(matches!(refused, DevBrokerError::Control { .. }), "{refused}");

    broker.kill().await.unwrap();
    broker.wipe().unwrap();
    broker.restart().await.unwrap();
    let vhosts = broker.ctl(&["list_vhosts"]).await.unwrap();
    assert!(!vhosts.contains("one"), "the data are gone: {vhosts}");

    let second = DevBroker::start(DevBrokerOptions::new(dir.path())).await.err().unwrap();
    assert!(matches!(second, DevBrokerError::InUse { .. }), "{second}");

    broker.stop().await.unwrap();
    assert_eq!(processes(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn dropping_it_kills_everything() {
    let dir = tempfile::tempdir().unwrap();
    let broker = DevBroker::start(DevBrokerOptions::new(dir.path())).await.unwrap();
    assert!(!processes(dir.path()).is_empty());
    drop(broker);
    no_process_left(dir.path()).await;
}

/// Another process that owns a node; killed at the latest when the test ends.
struct Owner(Child);

impl Owner {
    fn kill(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// The ids of its children, whichever of its threads started them.
    fn children(&self) -> Vec<String> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("the owner lives").flatten();
        let children =
            threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
        children.flat_map(|ids| ids.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs this test binary again as the owner of a node in `dir`, and waits until the node is up.
async fn owner(dir: &Path) -> Owner {
    let owner = Command::new(std::env::current_exe().expect("a test binary"))
        .args(["owner_process", "--exact", "--nocapture"])
        .env("OWNER_TEST_DIR", dir)
        .spawn()
        .expect("the test binary runs");
    let owner = Owner(owner);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !dir.join("up").exists() {
        assert!(Instant::now() < deadline, "the owner's node did not come up");
        sleep(Duration::from_millis(50)).await;
    }
    owner
}

#[tokio::test]
async fn a_killed_owner_takes_its_node_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = owner(dir.path()).await;
    assert!(!processes(dir.path()).is_empty());
    owner.kill();
    no_process_left(dir.path()).await;
}

#[tokio::test]
async fn a_node_that_lost_owner_and_watchdog_is_ended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = owner(dir.path()).await;
    let is_shell = |pid: &String| fs::read(format!("/proc/{pid}/cmdline")).unwrap().starts_with(b"/bin/sh");
    let watchdog = owner.children().into_iter().find(is_shell).expect("the watchdog");
    assert!(Command::new("kill").args(["-KILL", watchdog.as_str()]).status().unwrap().success());
    owner.kill();
    let orphans = processes(dir.path());
    assert!(!orphans.is_empty(), "without a watchdog the node lives on");

    let broker = DevBroker::start(DevBrokerOptions::new(dir.path())).await.unwrap();
    let living = processes(dir.path());
    assert!(orphans.iter().all(|orphan| !living.contains(orphan)), "{orphans:#?} in {living:#?}");
    broker.stop().await.unwrap();
    assert_eq!(processes(dir.path()), Vec::<String>::new());
}

/// Not a test of its own: the process that the test above kills.
#[tokio::test]
async fn owner_process() {
    let Some(dir) = std::env::var_os("OWNER_TEST_DIR") else { return };
    let broker = DevBroker::start(DevBrokerOptions::new(&dir)).await.unwrap();
    fs::write(Path::new(&dir).join("up"), broker.amqp_port().to_string()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_missing_rabbitmq_is_one_line_that_says_what_to_type() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = DevBrokerOptions::new(dir.path());
    options.home = Some(dir.path().join("nowhere"));
    let named = DevBroker::start(options).await.err().unwrap();
    assert!(matches!(named, DevBrokerError::NoHome { .. }));
    let packaged = DevBrokerError::NotInstalled { missing: dir.path().join("rabbitmq-server") };
    for (error, advice) in [(named, "CREWCALL_RABBITMQ_HOME"), (packaged, "apt-get install")] {
        let message = error.to_string();
        assert!(message.contains(advice) && !message.contains('\n'), "{message}");
    }
}

/// A RabbitMQ elsewhere, whose scripts note that they are used, and are those of the real one.
#[tokio::test]
async fn a_node_of_another_home_starts_and_obeys() {
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut options = DevBrokerOptions::new(dir.path());
    let real = options.home.take().unwrap_or_else(|| "/usr/lib/rabbitmq".into());
    let scripts = ["sbin", "bin"].map(|folder| real.join(folder)).into_iter().find(|it| it.exists()).unwrap();
    fs::create_dir(home.path().join("sbin")).unwrap();
    for script in ["rabbitmq-server", "rabbitmqctl"] {
        let text = format!(
            "#!/bin/sh\ntouch '{}'\nexec '{}' \"$@\"\n",
            home.path().join(format!("{script}.used")).display(),
            scripts.join(script).display()
        );
        let path = home.path().join("sbin").join(script);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    options.home = Some(home.path().to_owned());
    let broker = DevBroker::start(options).await.unwrap();
    broker.ctl(&["list_vhosts"]).await.unwrap();
    broker.stop().await.unwrap();
    for script in ["rabbitmq-server", "rabbitmqctl"] {
        assert!(home.path().join(format!("{script}.used")).exists(), "{script}");
    }
}

#[tokio::test]
async fn a_node_that_cannot_start_says_why_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // The log folder cannot be made because a file is in its way.
    fs::write(dir.path().join("data"), "in the way").unwrap();
    let error = DevBroker::start(DevBrokerOptions::new(dir.path())).await.err().unwrap();
    assert!(matches!(error, DevBrokerError::EndedWhileStarting { .. }), "{error}");
    assert!(error.to_string().len() > 100, "the log's end is in the message: {error}");
    no_process_left(dir.path()).await;
}
