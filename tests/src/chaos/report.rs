//! What came of a run, as a person reads it.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::Duration,
};

use crate::{invariants::Invariants, stack::RESUMES_WITHIN};

/// How many examples of one problem are shown.
const EXAMPLES_MAX: usize = 20;

/// What came of a run.
pub struct Report {
    /// The seed of its plan.
    pub seed: u64,
    /// For how long work came in.
    pub lasted: Duration,
    /// How often each fault struck.
    pub faults: BTreeMap<&'static str, usize>,
    /// How submissions were answered.
    pub submitted: Submitted,
    /// What is in the store.
    pub found: Found,
    /// What workers did.
    pub executed: Executed,
    /// How many messages changed nothing.
    pub stale: f64,
    /// How it went on when everything was healed.
    pub afterwards: Afterwards,
    /// What was read back through the API and by SQL.
    pub invariants: Option<Invariants>,
    /// What must not be, and the jobs that it is about.
    pub problems: Vec<Problem>,
}

/// How submissions were answered.
#[derive(Debug, Default)]
pub struct Submitted {
    /// With an id.
    pub acknowledged: usize,
    /// Not at all.
    pub unanswered: usize,
    /// With a refusal.
    pub refused: usize,
    /// Nobody was there.
    pub unreached: usize,
}

/// What is in the store.
#[derive(Debug, Default)]
pub struct Found {
    /// How many jobs.
    pub jobs: usize,
    /// How many of them had no answer.
    pub recovered: usize,
    /// By state.
    pub states: BTreeMap<String, usize>,
    /// Attempts by outcome.
    pub charged: BTreeMap<String, usize>,
    /// Attempts that were lost with a worker to which nothing had been done.
    pub lost_alive: usize,
    /// Attempts that a stranger concluded.
    pub forged: usize,
}

/// What workers did.
#[derive(Debug, Default)]
pub struct Executed {
    /// How many executions began.
    pub executions: usize,
    /// How many attempts were executed.
    pub attempts: usize,
    /// How many of them more than once.
    pub repeated: usize,
}

/// How it went on when everything was healed.
#[derive(Debug, Default)]
pub struct Afterwards {
    /// After how long a job that was submitted then was over.
    pub resumed: Option<Duration>,
    /// After how long the last job was over.
    pub quiet: Option<Duration>,
}

/// Something that must not be.
#[derive(Debug)]
pub struct Problem {
    /// What.
    pub what: &'static str,
    /// Each case.
    pub cases: Vec<String>,
}

impl Afterwards {
    /// Whether work resumed as soon as it has to (I14).
    #[must_use]
    pub fn is_in_time(&self) -> bool {
        self.resumed.is_some_and(|resumed| resumed <= RESUMES_WITHIN)
    }
}

impl Report {
    /// Whether everything is as it has to be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many cases of a problem there are.
    fn cases(&self, what: &str) -> usize {
        self.problems.iter().filter(|problem| problem.what == what).map(|problem| problem.cases.len()).sum()
    }
}

/// An acknowledged job that is not in the store.
pub const LOST: &str = "lost";
/// A job that is not over.
pub const STUCK: &str = "stuck";
/// A job that nobody submitted, or whose submission was refused.
pub const UNEXPECTED: &str = "unexpected";
/// A submission with two jobs, or a job with two ends.
pub const DOUBLED: &str = "doubled";

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { submitted, found, executed, .. } = self;
        let faults: usize = self.faults.values().sum();
        writeln!(f, "seed {}, {} s of load, {faults} faults", self.seed, self.lasted.as_secs())?;
        line(f, "faults", &listed(&self.faults))?;
        let Submitted { acknowledged, unanswered, refused, unreached } = submitted;
        let attempted = acknowledged + unanswered + refused + unreached;
        let text = format!(
            "{attempted} attempted: {acknowledged} acknowledged, {unanswered} unanswered, {refused} refused, \
             {unreached} reached nobody"
        );
        line(f, "submitted", &text)?;
        let text = format!(
            "{} jobs, {} of them recovered; {} LOST, {} stuck, {} unexpected",
            found.jobs,
            found.recovered,
            self.cases(LOST),
            self.cases(STUCK),
            self.cases(UNEXPECTED)
        );
        line(f, "found", &text)?;
        line(f, "over", &listed(&found.states))?;
        let Executed { executions, attempts, repeated } = executed;
        let text = format!(
            "{executions} executions of {attempts} attempts; {repeated} attempts were executed more than once"
        );
        line(f, "executed", &text)?;
        let text = format!("{} more than once; {} messages changed nothing", self.cases(DOUBLED), self.stale);
        line(f, "concluded", &text)?;
        line(f, "attempts", &listed(&found.charged))?;
        let text = format!("{} attempts with a worker to which nothing had been done", found.lost_alive);
        line(f, "lost alive", &text)?;
        line(f, "healed", &self.afterwards.to_string())?;
        if let Some(invariants) = &self.invariants {
            write!(f, "{invariants}")?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "{problem}"))?;
        let verdict =
            if self.is_clean() { "nothing is lost, doubled, stuck or unexpected" } else { "FAILED" };
        line(f, "verdict", verdict)
    }
}

impl Display for Afterwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resumed {
            Some(resumed) => {
                let late = if self.is_in_time() { "" } else { ", NOT within 15 s" };
                write!(f, "a fresh job was over after {:.1} s (I14{late})", resumed.as_secs_f64())?;
            }
            None => f.write_str("no fresh job was over")?,
        }
        match self.quiet {
            Some(quiet) => write!(f, ", the last job after {:.1} s", quiet.as_secs_f64()),
            None => f.write_str(", the last job never"),
        }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    {}: {}", self.what.to_uppercase(), self.cases.len())?;
        self.cases.iter().take(EXAMPLES_MAX).try_for_each(|case| writeln!(f, "        {case}"))
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "    {name:<10} {text}")
}

fn listed<K: Display>(counts: &BTreeMap<K, usize>) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
