//! Shows that each mutant is found: see [`e2e::mutants`]. `./dev mutants` builds and runs it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::Context;
use clap::{Parser, builder::PossibleValuesParser};
use e2e::{
    broker::NO_BROKER,
    mutants::{MUTANTS, Mutant, TEST_MUTANT, named},
    process::NOT_BUILT,
};
use futures_util::{StreamExt, stream};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{Instant, timeout},
};

/// How many mutants are tried at once: their tests wait more than they compute.
const AT_ONCE: usize = 2;

/// How long the tests may take with nothing broken: one is given a minute for each of its steps.
const CONTROL_MAX: Duration = Duration::from_secs(600);

/// How long the test of a mutant may take; one that waits for what never comes gives up after a minute.
const MUTANT_MAX: Duration = Duration::from_secs(240);

/// How much of what a test printed is shown when it was not as it should be, in lines.
const TAIL_LINES: usize = 30;

/// How much is shown of the sentence with which a test failed, in characters.
const WHY_CHARACTERS: usize = 100;

/// Break the programs on purpose, one place at a time, and see that a test finds each.
///
/// First the tests have to pass with nothing broken. The exit code is 0 when they do and each mutant is found, 1 when one
/// survives or a test fails without it, and 2 when that could not be found out. Ctrl-C ends it, with 2.
#[derive(Parser)]
#[command(name = "mutants")]
struct Arguments {
    /// Which mutants; all, when none is named.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(MUTANTS.map(|mutant| mutant.name)))]
    names: Vec<String>,
    /// Only those few that every run of CI tries.
    #[arg(long, conflicts_with = "names")]
    quick: bool,
    /// The program with the end-to-end tests.
    #[arg(long, value_name = "PROGRAM")]
    tests: PathBuf,
}

impl Arguments {
    fn mutants(&self) -> Vec<&'static Mutant> {
        if self.names.is_empty() {
            return MUTANTS.iter().filter(|mutant| mutant.is_quick || !self.quick).collect();
        }
        self.names.iter().filter_map(|name| named(name)).collect()
    }
}

/// What came of a run of tests.
enum Ran {
    /// All passed.
    Passed,
    /// A test failed, and this was printed.
    Failed(String),
    /// It says nothing about our programs: why.
    InVain(String),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ended = tokio::select! {
        tried = try_all(&arguments) => tried,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
    };
    Ok(match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("error: it could not be found out whether all mutants are found: {error:#}"))?;
            ExitCode::from(2)
        }
    })
}

/// Whether all was as it should be. An error when that could not be found out.
async fn try_all(arguments: &Arguments) -> anyhow::Result<bool> {
    let mutants = arguments.mutants();
    let mut tests: Vec<&str> = mutants.iter().map(|mutant| mutant.found_by).collect();
    tests.sort_unstable();
    tests.dedup();
    let began = Instant::now();
    match run(&arguments.tests, &tests, None, CONTROL_MAX).await? {
        Ran::Passed => {
            say(format_args!("{} tests pass with nothing broken, {}", tests.len(), seconds(began)))?;
        }
        Ran::Failed(output) => {
            say(format_args!("A test FAILS with nothing broken:\n{}", tail(&output)))?;
            return Ok(false);
        }
        Ran::InVain(why) => anyhow::bail!("with nothing broken, {why}"),
    }
    let mut rows =
        stream::iter(mutants.iter().map(|mutant| attempt(&arguments.tests, mutant))).buffered(AT_ONCE);
    let (mut found, mut in_vain) = (0, Vec::new());
    while let Some((mutant, ran, after)) = rows.next().await {
        let outcome = match ran? {
            Ran::Failed(output) => {
                found += 1;
                format!("found by {} after {after}: {}", mutant.found_by, why_it_failed(&output))
            }
            Ran::Passed => format!("SURVIVES {} ({})", mutant.found_by, mutant.breaks),
            Ran::InVain(why) => {
                in_vain.push(mutant.name);
                format!("NOT TRIED: {why}")
            }
        };
        say(format_args!("{:20} {outcome}", mutant.name))?;
    }
    say(format_args!("{found} of {} mutants are found, {}", mutants.len(), seconds(began)))?;
    let survived = mutants.len() - found - in_vain.len();
    anyhow::ensure!(survived > 0 || in_vain.is_empty(), "not tried: {}", in_vain.join(", "));
    Ok(survived == 0)
}

async fn attempt<'a>(tests: &Path, mutant: &'a Mutant) -> (&'a Mutant, anyhow::Result<Ran>, String) {
    let began = Instant::now();
    let ran = run(tests, &[mutant.found_by], Some(mutant), MUTANT_MAX).await;
    (mutant, ran, seconds(began))
}

/// Runs tests, with programs that are broken in this way.
async fn run(program: &Path, tests: &[&str], mutant: Option<&Mutant>, max: Duration) -> anyhow::Result<Ran> {
    let output = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(program);
    command.arg("--exact").args(tests).env_remove(TEST_MUTANT).process_group(0);
    let file = output.reopen()?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    if let Some(mutant) = mutant {
        command.env(TEST_MUTANT, mutant.name);
    }
    let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    let ended = timeout(max, Group(child).wait()).await;
    let text = String::from_utf8_lossy(&std::fs::read(output.path())?).into_owned();
    let in_vain = |why: String| Ok(Ran::InVain(format!("{why}:\n{}", tail(&text))));
    let Ok(status) = ended else {
        return in_vain(format!("it did not end within {max:?}"));
    };
    let passed = text.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count();
    let has_failed = tests.iter().any(|test| text.contains(&format!("test {test} ... FAILED")));
    let harness = [NO_BROKER, NOT_BUILT].iter().any(|why| text.contains(why));
    match status?.success() {
        true if passed == tests.len() => Ok(Ran::Passed),
        true => in_vain(format!("{passed} of {} tests were run", tests.len())),
        false if has_failed && !harness => Ok(Ran::Failed(text)),
        false => in_vain("the tests could not be run".to_owned()),
    }
}

/// A program and all that it started, which die with this.
struct Group(Child);

impl Group {
    async fn wait(mut self) -> std::io::Result<std::process::ExitStatus> {
        self.0.wait().await
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        // One that ended by itself has none.
        let _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
    }
}

/// The sentence with which a test failed: what follows the place where it panicked.
fn why_it_failed(output: &str) -> String {
    let mut lines = output.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    lines.next().unwrap_or("it did not say why").chars().take(WHY_CHARACTERS).collect()
}

fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn seconds(since: Instant) -> String {
    format!("{:.0} s", since.elapsed().as_secs_f64())
}

fn say(what: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{what}").context("printing")
}
