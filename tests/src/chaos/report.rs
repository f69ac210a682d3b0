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
#[derive(Default)]
pub struct Report {
    /// The seed of its plan.
    pub seed: u64,
    /// For how long faults struck.
    pub struck_for: Duration,
    /// For how long work came in: until the last fault was over.
    pub lasted: Duration,
    /// How often each fault struck.
    pub faults: BTreeMap<&'static str, usize>,
    /// How often each could not be made.
    pub not_made: BTreeMap<&'static str, usize>,
    /// How often the machine stood still.
    pub stalls: usize,
    /// Whether the worker in Python took part.
    pub has_python: bool,
    /// Whether it had much else to do when everything was healed.
    pub is_busy: bool,
    /// How submissions were answered.
    pub submitted: Submitted,
    /// What is in the store.
    pub found: Found,
    /// What workers did.
    pub executed: Executed,
    /// What repaired itself.
    pub repaired: BTreeMap<&'static str, usize>,
    /// How many messages changed nothing.
    pub stale: f64,
    /// How many orders travelled in bundles.
    pub bundled: f64,
    /// How many changes a watcher was told of.
    pub watched: u64,
    /// How it went on when everything was healed.
    pub afterwards: Afterwards,
    /// What was read back through the API and by SQL.
    pub invariants: Option<Invariants>,
    /// What must not be, and the jobs that it is about.
    pub problems: Vec<Problem>,
    /// Why not everything was judged, if it was not.
    pub unjudged: Option<Unjudged>,
}

/// Why a run says nothing, or not what it was asked to say.
#[derive(Debug)]
pub enum Unjudged {
    /// Somebody ended it before its time.
    Interrupted {
        /// How long it should have been.
        of: Duration,
    },
    /// A part of the installation did not come back: what that part did is not known.
    Broken(Vec<String>),
}

/// What a run says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it has to be.
    Clean,
    /// Something is not.
    Failed,
    /// Nobody knows.
    Unjudged,
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
    /// Whether jobs that were submitted then were over.
    pub works: bool,
    /// After how long work of every type went on.
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
    /// What it comes to. What was seen before an interruption was seen.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (&self.unjudged, self.problems.is_empty()) {
            (Some(Unjudged::Broken(_)), _) | (Some(Unjudged::Interrupted { .. }), true) => Verdict::Unjudged,
            (_, false) => Verdict::Failed,
            (None, true) => Verdict::Clean,
        }
    }

    /// Whether nobody will want to see the files: what was judged is as it has to be, and all was there to be judged.
    #[must_use]
    pub(super) fn leaves_no_question(&self) -> bool {
        self.problems.is_empty() && !matches!(self.unjudged, Some(Unjudged::Broken(_)))
    }

    /// Adds what must not be, if there is a case of it.
    pub(super) fn add(&mut self, what: &'static str, cases: Vec<String>) {
        if !cases.is_empty() {
            self.problems.push(Problem { what, cases });
        }
    }

    /// Work has to resume when everything is healed: in time, unless the machine stood still.
    pub(super) fn judge_afterwards(&mut self, in_time: bool) {
        match self.afterwards.resumed {
            Some(resumed) if self.afterwards.works => {
                if in_time && resumed > RESUMES_WITHIN {
                    self.add("late work", vec![format!("work of every type went on after {resumed:?} only")]);
                }
            }
            _ => self.add("no work", vec!["jobs that came in afterwards were not over".to_owned()]),
        }
    }

    fn conclusion(&self) -> String {
        let Self { stale, bundled, watched, .. } = self;
        let twice = self.cases(DOUBLED);
        format!(
            "{twice} more than once; {stale} messages changed nothing; {bundled} orders came in bundles; \
             a watcher saw {watched} changes"
        )
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
        let per_minute = |count: usize, time: Duration| {
            let seconds = time.as_secs().max(1);
            u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(60) / seconds
        };
        writeln!(
            f,
            "seed {}, {} s of faults and {} s of load; each minute {} faults and {} jobs",
            self.seed,
            self.struck_for.as_secs(),
            self.lasted.as_secs(),
            per_minute(faults, self.struck_for),
            per_minute(found.jobs, self.lasted)
        )?;
        line(f, "faults", &format!("{faults}: {}", listed(&self.faults)))?;
        line(f, "not made", &listed(&self.not_made))?;
        if !self.has_python {
            line(f, "without", "the worker in Python, which cannot be run here")?;
        }
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
        line(f, "concluded", &self.conclusion())?;
        line(f, "attempts", &listed(&found.charged))?;
        line(f, "repaired", &listed(&self.repaired))?;
        line(f, "healed", &self.afterwards.to_string())?;
        if self.stalls > 0 {
            line(
                f,
                "machine",
                &format!("it stood still {} times: lateness is not judged then", self.stalls),
            )?;
        }
        if let Some(invariants) = &self.invariants {
            write!(f, "{invariants}")?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "{problem}"))?;
        if let Some(unjudged) = &self.unjudged {
            line(f, "not judged", &unjudged.to_string())?;
        }
        line(
            f,
            "verdict",
            match self.verdict() {
                Verdict::Clean => "nothing is lost, doubled, stuck or unexplained",
                Verdict::Failed => "FAILED",
                Verdict::Unjudged => "NONE",
            },
        )
    }
}

impl Display for Unjudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted { of } => write!(
                f,
                "the rest of {} s: the run was interrupted. What came in before was judged as above",
                of.as_secs()
            ),
            Self::Broken(parts) => write!(
                f,
                "no job and no repair, because this did not come back: {}. Checked were only the troubles above",
                parts.join("; ")
            ),
        }
    }
}

impl Display for Afterwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resumed {
            Some(resumed) => {
                let late = if self.is_in_time() { "" } else { ", NOT within 15 s" };
                write!(f, "work went on after {:.1} s (I14{late})", resumed.as_secs_f64())?;
            }
            None => f.write_str("work did not go on")?,
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
