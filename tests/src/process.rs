//! A program of ours as a child process.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use crewcall_dev_broker::HOME_VARIABLE;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{mutants::failpoints, wait::until};

/// How long a program may take to do what a test waits for. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The variable by which a program of a test build is told where to die, or how it is broken.
pub const FAILPOINTS: &str = "FAILPOINTS";

/// What a worker's log says right before the address of its endpoints.
pub const ENDPOINTS_SAID: &str = "Serving /metrics, /livez and /readyz. address=";

/// What is said of a program that is not there: then nothing was tested.
pub const NOT_BUILT: &str = "is missing: build it first with `cargo build --workspace`";

/// A running program. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

/// The folder with the programs of this build, such as `target/debug`; a test's own program is in its `deps`.
///
/// # Errors
///
/// When this program is in no such folder.
pub fn programs() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program")?;
    let folder = program.parent().context("this program is in no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(folder.context("this program is in no target folder")?.to_owned())
}

/// A program of this build.
///
/// # Errors
///
/// When the program was not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = programs()?.join(name);
    if !path.exists() {
        bail!("{} {NOT_BUILT}", path.display());
    }
    Ok(path)
}

/// A command of ours, free of the settings of whoever runs the tests, but for the RabbitMQ that they name.
///
/// # Errors
///
/// When the program was not built.
pub fn command(name: &str, folder: &Path) -> anyhow::Result<Command> {
    wrapped(&[], name, folder)
}

/// Variables for a program of ours: what a test lets it die at goes together with the mutant of this run.
pub fn settings(variables: &[(String, String)]) -> impl Iterator<Item = (&str, String)> {
    variables.iter().map(|(variable, value)| {
        let value = if variable == FAILPOINTS { failpoints(value) } else { value.clone() };
        (variable.as_str(), value)
    })
}

/// A command of ours that is started by another, such as `prlimit --nofile=64`, which becomes it.
///
/// # Errors
///
/// When the program was not built.
pub fn wrapped(wrapper: &[String], name: &str, folder: &Path) -> anyhow::Result<Command> {
    let mut command = match wrapper {
        [] => Command::new(program(name)?),
        [starter, arguments @ ..] => {
            let mut command = Command::new(starter);
            command.args(arguments).arg(program(name)?);
            command
        }
    };
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let is_setting = name.starts_with("CREWCALL_") || name.starts_with("OTEL_");
        if is_setting && variable != HOME_VARIABLE {
            command.env_remove(variable);
        }
    }
    let failpoints = failpoints("");
    if !failpoints.is_empty() {
        command.env(FAILPOINTS, failpoints);
    }
    command.current_dir(folder).env("NO_COLOR", "1").kill_on_drop(true).stdin(Stdio::null());
    Ok(command)
}

/// How much of its log a program shows when its test fails, in lines.
const LOG_TAIL_LINES: usize = 60;

impl Drop for Process {
    /// A test that fails says what its programs said.
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
            eprintln!("--- the log of {} ends with:\n{}", self.name, tail.join("\n"));
        }
    }
}

impl Process {
    /// Starts `command`; what it writes to stderr is appended to `<folder>/<name>.log`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(name: &str, folder: &Path, mut command: Command) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let stdout = child.stdout.take().context("its stdout is piped")?;
        Ok(Self { name: name.to_owned(), child, stdout: BufReader::new(stdout).lines(), log })
    }

    /// The rest of the first stdout line that starts with `prefix`.
    ///
    /// # Errors
    ///
    /// When the program ends, or takes longer than [`PATIENCE`].
    pub async fn line_after(&mut self, prefix: &str) -> anyhow::Result<String> {
        let read = async {
            while let Some(line) = self.stdout.next_line().await? {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return Ok(rest.trim().to_owned());
                }
            }
            bail!("{} ended:\n{}", self.name, self.log())
        };
        timeout(PATIENCE, read).await.with_context(|| format!("{} did not say {prefix:?}", self.name))?
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The sentence by which a backend that ended by itself says so and what to do. It need not be the last line: another
    /// thread may have logged meanwhile.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    #[expect(clippy::panic, reason = "a test fails with all that was logged")]
    pub fn why_it_ended(&self) -> String {
        let log = self.log();
        let sentence = log.lines().rfind(|line| line.contains("start it again"));
        sentence.map_or_else(|| panic!("it does not say why it ended:\n{log}"), str::to_owned)
    }

    /// What stands behind `words` in its log, up to the next space.
    ///
    /// # Errors
    ///
    /// When they are not there within [`PATIENCE`].
    pub async fn logged_after(&self, words: &str) -> anyhow::Result<String> {
        let found = || self.log().split_once(words)?.1.split_whitespace().next().map(str::to_owned);
        until(&format!("{} says {words:?}", self.name), PATIENCE, async || found().is_some()).await?;
        found().with_context(|| format!("{} said {words:?} and nothing more", self.name))
    }

    /// Its process id.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().with_context(|| format!("{} is gone", self.name))
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub fn try_wait(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("looking after {}", self.name))
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?).context("0 is not a process")?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    ///
    /// When it takes longer than [`PATIENCE`].
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} did not end", self.name))??)
    }
}

/// How many processes work in a folder, whether it is still there or not.
#[must_use]
pub fn running_in(folder: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let places = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
    places.filter(|place| place.starts_with(folder)).count()
}
