//! Random faults for minutes on end, up to three at once, under a constant load; then everything is healed,
//! and every job has to be accounted for (F60).
//!
//! `plan` chooses the faults by a seed; `faults` makes them on an `installation`, `stranger` those
//! that come over the wire; `load` works meanwhile and writes down in the `book` what it was answered;
//! `judge` holds that against what is there, and `report` tells.

pub mod plan;

mod installation;

mod faults;

mod stranger;

mod load;

mod book;

mod counters;

mod diary;

mod judge;

pub mod report;

use std::{pin::pin, time::Duration};

use anyhow::Context;
use futures_util::{
    future::join_all,
    stream::{FuturesUnordered, StreamExt},
};
use serde_json::Value;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    book::Book,
    counters::Counters,
    installation::Installation,
    judge::{Executions, Facts},
    load::{Load, SUBMITTERS},
    plan::{FAULTS_AT_ONCE_MAX, Strike, Subject},
    report::{Afterwards, Problem, Report, STUCK},
};
use crate::invariants;

/// How long jobs may take to be over once everything is healed: back-offs, an acknowledgement that the broker
/// waits for, orders that are missed for 45 s, each perhaps several times; and the machine may be busy.
const QUIET_WITHIN: Duration = Duration::from_secs(300);

/// How long the first job after the healing may take before nothing is waited for any more.
const FRESH_WITHIN: Duration = Duration::from_secs(120);

/// How often the processes are looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until `length` is over or `stop` comes, heals everything, and judges. When something is wrong, or
/// late, the files are kept, and stderr says where.
///
/// # Errors
///
/// When the installation does not come up, or cannot be read in the end.
pub async fn run(seed: u64, length: Duration, stop: &CancellationToken) -> anyhow::Result<Report> {
    let tracker = TaskTracker::new();
    let installation = Installation::start(&tracker).await?;
    let (folder, seconds) = (installation.folder().to_owned(), length.as_secs());
    installation.diary.tell(&format!("seed {seed}, {seconds} s, in {}", folder.display()));
    let run = Run { seed, installation: &installation, book: Book::default(), counters: Counters::default() };
    let outcome = Box::pin(run.all(length, stop)).await;
    // A busy machine may be late, which is no failure but worth a look.
    let keep_files = !matches!(&outcome, Ok(report) if report.is_clean() && report.afterwards.is_in_time());
    if keep_files {
        installation.diary.tell(&format!("the files are kept in {}", folder.display()));
    }
    installation.end(keep_files).await?;
    outcome
}

struct Run<'a> {
    seed: u64,
    installation: &'a Installation,
    book: Book,
    counters: Counters,
}

impl Run<'_> {
    async fn all(&self, length: Duration, stop: &CancellationToken) -> anyhow::Result<Report> {
        let Self { installation, book, counters, .. } = self;
        let [load_stop, give_up, done] = std::array::from_fn(|_| CancellationToken::new());
        let api = &installation.api;
        let diary = &installation.diary;
        let load = Load { api, book, counters, diary, stop: &load_stop, give_up: &give_up };
        let began = Instant::now();
        let directed = async {
            self.strike_all(length, began, stop).await;
            let lasted = began.elapsed();
            load_stop.cancel();
            let healed = Instant::now();
            diary.tell("every fault is over");
            // What is left of faults that went wrong; there should be nothing, so nothing is waited for.
            let leftovers =
                async { installation.heal().await.into_iter().for_each(|broken| diary.trouble(broken)) };
            let (resumed, ()) = tokio::join!(self.resumed(&load, healed), leftovers);
            give_up.cancel();
            (lasted, healed, resumed)
        };
        let work = async {
            let submitters = join_all((0..SUBMITTERS).map(|number| load.submit(self.seed, number)));
            let ((lasted, healed, resumed), ..) =
                tokio::join!(directed, submitters, load.cancel(), load.read());
            let quiet = self.quiet().await.then(|| healed.elapsed());
            done.cancel();
            (lasted, Afterwards { resumed, quiet })
        };
        let background = async { tokio::join!(self.look_after(), counters.run(api)) };
        let ((lasted, afterwards), _) = tokio::join!(work, done.run_until_cancelled(background));
        counters.sample(api).await;
        self.judge(lasted, afterwards).await
    }

    /// Lets the faults of the plan strike, each at its time, or later when one before it takes longer.
    async fn strike_all(&self, length: Duration, began: Instant, stop: &CancellationToken) {
        let healing = stop.child_token();
        let mut running = FuturesUnordered::new();
        let mut taken: Vec<Subject> = Vec::new();
        let mut plan = plan::plan(self.seed, length).into_iter().peekable();
        let mut end = pin!(sleep_until(began + length));
        loop {
            let next = plan.peek().filter(|strike| {
                taken.len() < FAULTS_AT_ONCE_MAX && !taken.contains(&strike.fault.subject())
            });
            let due = next.map_or(began + length, |strike| began + strike.at);
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut end => break,
                Some(subject) = running.next() => taken.retain(|other| *other != subject),
                () = sleep_until(due), if next.is_some() => {
                    if let Some(strike) = plan.next() {
                        taken.push(strike.fault.subject());
                        running.push(self.strike(strike, &healing));
                    }
                }
            }
        }
        healing.cancel();
        while running.next().await.is_some() {}
    }

    /// Makes a fault, and answers what it was about when it is over.
    async fn strike(&self, strike: Strike, healing: &CancellationToken) -> Subject {
        let Self { installation, book, counters, .. } = self;
        let number = installation.diary.begins(&strike);
        counters.sample(&installation.api).await;
        if let Err(error) = faults::strike(installation, book, &strike, healing).await {
            installation.diary.tell(&format!("    {} was not made or not healed: {error:#}", strike.fault));
        }
        installation.diary.over(number, &strike);
        strike.fault.subject()
    }

    /// After how long a job is over that comes in when everything is healed (I14); nothing when it takes too
    /// long.
    async fn resumed(&self, load: &Load<'_>, healed: Instant) -> Option<Duration> {
        let fresh = async {
            let id = load.fresh().await?;
            self.installation.api.finished(&id).await
        };
        let job = timeout(FRESH_WITHIN, fresh).await.ok()?.ok()?;
        self.installation.diary.note(&format!("the fresh job is over: {job}"));
        Some(healed.elapsed())
    }

    /// Whether every job is over in time.
    async fn quiet(&self) -> bool {
        let path = "/v1/jobs?state=scheduled,ready,unroutable,dispatched,running&limit=1";
        let over = |page: &Value| page["jobs"].as_array().is_some_and(Vec::is_empty);
        self.installation.api.json_when_within(QUIET_WITHIN, path, over).await.is_ok()
    }

    async fn look_after(&self) {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            for ended in self.installation.look_after().await {
                self.installation.diary.trouble(ended);
            }
        }
    }

    async fn judge(&self, lasted: Duration, afterwards: Afterwards) -> anyhow::Result<Report> {
        let Self { installation, book, counters, .. } = self;
        let pages = book.read();
        let jobs = invariants::read_all(&installation.api).await.context("reading every job")?;
        let executions = Executions::of(&installation.journal()?);
        let executed = executions.sums();
        let facts = Facts { pages: &pages, jobs, executions, struck: installation.diary.struck() };
        let mut problems = facts.problems();
        self.add_attempts(&mut problems).await;
        let mut add = |what, cases: Vec<String>| {
            if !cases.is_empty() {
                problems.push(Problem { what, cases });
            }
        };
        let checked =
            invariants::check(&installation.api, &installation.database, &judge::submissions(&pages)).await;
        let errors = judge::unexpected_errors(installation);
        let invariants = match checked {
            Ok(mut found) => {
                if errors.is_empty() {
                    found.hold("I15", "no program logged a panic or an unexpected error");
                }
                Some(found)
            }
            Err(error) => {
                add("invariants", vec![format!("{error:#}")]);
                None
            }
        };
        add("unexpected errors in logs", errors);
        add("troubles", installation.diary.troubles());
        let found = facts.found(&installation.database)?;
        if found.forged > 0 {
            add("forged", vec![format!("a stranger concluded {} attempts", found.forged)]);
        }
        if afterwards.resumed.is_none() {
            add("no work", vec![format!("a fresh job was not over within {FRESH_WITHIN:?}")]);
        }
        Ok(Report {
            seed: self.seed,
            lasted,
            faults: installation.diary.counts(),
            submitted: facts.submitted(),
            found,
            executed,
            stale: counters.stale(),
            afterwards,
            invariants,
            problems,
        })
    }

    /// Lists have no attempts: the jobs that are stuck are read once more, with theirs.
    async fn add_attempts(&self, problems: &mut [Problem]) {
        for case in problems.iter_mut().filter(|problem| problem.what == STUCK).flat_map(|p| &mut p.cases) {
            let id = serde_json::from_str(case).map_or(Value::Null, |job: Value| job["id"].clone());
            if let Ok(job) = self.installation.api.job(id.as_str().unwrap_or_default()).await {
                *case = job.to_string();
            }
        }
    }
}
