//! Random faults for minutes on end, several at once, under a constant load; then everything is healed, and every job,
//! and everything that repaired itself, has to be accounted for (F60).
//!
//! `fault` is what may break, and `plan` chooses of it by a seed; `faults` makes them on an `installation`, `forger` and
//! `newcomer` those that come over the wire, and the `fault_log` keeps when. `load` works meanwhile with `jobs` of every
//! kind, beside an `operator`, a `watcher`, a `publisher` of events, a `scheduler` and a `runner` of workflows, and writes down in the `submission_log`
//! what it asked and was answered.
//! `judge` holds all that against what is there, and `report` tells.

pub mod fault;

pub mod plan;

mod installation;

mod workers;

mod faults;

mod forger;

mod newcomer;

mod routes;

mod load;

mod operator;

mod publisher;

mod scheduler;

mod runner;

mod watcher;

mod jobs;

mod submission_log;

mod counters;

mod fault_log;

mod judge;

pub mod report;

use std::{path::Path, time::Duration};

use anyhow::Context;
use futures_util::{
    future::{join_all, try_join_all},
    stream::{FuturesUnordered, StreamExt},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    counters::Counters,
    fault::Target,
    fault_log::counts,
    installation::Installation,
    judge::{Blame, Facts, Log},
    load::{Load, SUBMITTERS},
    plan::{FAULTS_AT_ONCE_MAX, Strike},
    report::{Afterwards, Problem, Report, STUCK, Unjudged},
    submission_log::SubmissionLog,
};
use crate::invariants;

/// How long jobs may take to be over once everything is healed: back-offs, an acknowledgement that the broker
/// waits for, orders that are missed for 45 s, each perhaps several times; and the machine may be busy.
const QUIET_WITHIN: Duration = Duration::from_secs(300);

/// How long the first jobs after the healing may take before nothing is waited for any more.
const FRESH_WITHIN: Duration = Duration::from_secs(120);

/// How often the processes are looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the driver looks whether it is held up, and for how long it has to be so to excuse others: less than any
/// program here waits before it takes another for dead.
const BEAT_EVERY: Duration = Duration::from_millis(500);
const STALL_MIN: Duration = Duration::from_secs(3);

/// How many tasks per core wait for it on a machine that is busy with other things: a run by itself makes two or three.
const BUSY_PER_CORE: f64 = 4.0;

/// How much room a run needs on its disk, and how much has to be left in the end: the broker takes no messages with less
/// than 50 MB, and with little more it is the disk that is tested.
const ROOM_BYTES_MIN: u64 = 500 * 1024 * 1024;
const ROOM_LEFT_BYTES_MIN: u64 = 100 * 1024 * 1024;

/// Runs until `length` is over or `stop` comes, heals everything, and judges. When something is wrong, the files are kept,
/// and stderr says where.
///
/// # Errors
///
/// When the installation does not come up, or cannot be read in the end: then nothing is judged.
pub async fn run(seed: u64, length: Duration, stop: &CancellationToken) -> anyhow::Result<Report> {
    ensure_room(&std::env::temp_dir(), ROOM_BYTES_MIN)?;
    let tracker = TaskTracker::new();
    let installation = Installation::start(&tracker).await?;
    let (folder, seconds) = (installation.folder().to_owned(), length.as_secs());
    installation.log.tell(&format!("seed {seed}, {seconds} s, in {}", folder.display()));
    let run = Run {
        seed,
        length,
        installation: &installation,
        submissions: SubmissionLog::default(),
        counters: Counters::default(),
    };
    let outcome = Box::pin(run.all(stop)).await;
    let keep_files = !matches!(&outcome, Ok(report) if report.leaves_no_question());
    if keep_files {
        installation.log.tell(&format!("the files are kept in {}", folder.display()));
    }
    installation.end(keep_files).await?;
    outcome
}

/// # Errors
///
/// When the disk is full, or nearly.
fn ensure_room(folder: &Path, needed: u64) -> anyhow::Result<()> {
    let disk = rustix::fs::statvfs(folder).context("asking how much room there is")?;
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    anyhow::ensure!(room >= needed, "{} has {room} bytes of room, and {needed} are needed", folder.display());
    Ok(())
}

/// Whether the machine has so much else to do that nothing here can be in time.
fn is_busy() -> bool {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let waiting: f64 = load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).is_ok_and(|cores| waiting > f64::from(cores) * BUSY_PER_CORE)
}

struct Run<'a> {
    seed: u64,
    length: Duration,
    installation: &'a Installation,
    submissions: SubmissionLog,
    counters: Counters,
}

/// When what ends.
#[derive(Default)]
struct Ends {
    /// Nothing more is submitted.
    load: CancellationToken,
    /// Nobody waits for an answer any more.
    patience: CancellationToken,
    /// Nobody looks after the installation any more.
    background: CancellationToken,
    /// Everything ends at once.
    all: CancellationToken,
}

/// What came of the healing.
struct Healed {
    struck_for: Duration,
    lasted: Duration,
    at: Timestamp,
    afterwards: Afterwards,
    /// What does not come back.
    broken: Vec<String>,
}

impl Run<'_> {
    async fn all(&self, stop: &CancellationToken) -> anyhow::Result<Report> {
        let Self { installation, submissions, counters, seed, .. } = self;
        let (ends, log) = (Ends::default(), &installation.log);
        let has_python = installation.has_python();
        let through = |api| {
            let (stop, give_up) = (&ends.load, &ends.patience);
            Load { api, submissions, counters, log, stop, give_up, has_python }
        };
        let (near, far) = (through(&installation.api), through(&installation.callers));
        let directed = self.direct(&near, stop, &ends);
        // Every other one is far away.
        let submitters = (0..SUBMITTERS).map(|number| {
            if number % 2 == 0 { near.submit(*seed, number) } else { far.submit(*seed, number) }
        });
        let (mut published, mut runs) = (Vec::new(), Vec::new());
        let callers = async {
            tokio::join!(
                join_all(submitters),
                near.cancel(),
                far.read(),
                far.watch(),
                near.pause_types(*seed),
                near.limit_types(*seed),
                near.drain_workers(*seed),
                near.retry(),
                near.follow_log(),
                near.schedule(),
                async { published.extend(far.publish().await) },
                async { runs.extend(near.start_runs(*seed).await) },
            );
        };
        let background =
            async { tokio::join!(self.look_after(), counters.run(&installation.api), self.beat()) };
        let callers = ends.all.run_until_cancelled(callers);
        let (healed, _, _) = tokio::join!(directed, callers, ends.background.run_until_cancelled(background));
        counters.sample(&installation.api).await;
        if !healed.broken.is_empty() {
            return Ok(self.unjudged(healed));
        }
        match publisher::judge(&installation.api, &published).await {
            Ok(events) => log.tell(&format!("{} events acknowledged, {events} in the log", published.len())),
            Err(error) => log.trouble(format!("{error:#}")),
        }
        match scheduler::judge(&installation.api).await {
            Ok(fired) => log.tell(&format!("{fired} ticks of a schedule fired, each once")),
            Err(error) => log.trouble(format!("{error:#}")),
        }
        match runner::judge(&installation.api, &runs).await {
            Ok(ends) => log.tell(&format!("{} runs of a workflow were asked for: {ends:?}", runs.len())),
            Err(error) => log.trouble(format!("{error:#}")),
        }
        let interrupted = stop.is_cancelled();
        let mut report = self.judge(healed).await?;
        if interrupted {
            report.unjudged = Some(Unjudged::Interrupted { of: self.length });
        }
        Ok(report)
    }

    /// Lets the faults strike, heals everything, and waits until the work is done.
    async fn direct(&self, near: &Load<'_>, stop: &CancellationToken, ends: &Ends) -> Healed {
        let Self { installation, .. } = self;
        let began = Instant::now();
        let struck_for = self.strike_all(stop).await;
        let lasted = began.elapsed();
        ends.load.cancel();
        installation.log.tell("every fault is over");
        let (healed, at) = (Instant::now(), Timestamp::now());
        // What is left of faults that went wrong; there should be nothing, so nothing is waited for.
        let healing = async {
            let mut broken = installation.heal().await;
            let room = ensure_room(installation.folder(), ROOM_LEFT_BYTES_MIN);
            broken.extend(room.err().map(|error| format!("the disk: {error:#}")));
            if !broken.is_empty() {
                ends.all.cancel(); // nobody has to wait for what does not come
            }
            broken
        };
        let (works, broken) = tokio::join!(ends.all.run_until_cancelled(self.works_again(near)), healing);
        let works = works.unwrap_or(false);
        ends.patience.cancel();
        let quiet = broken.is_empty() && self.quiet().await;
        let quiet = quiet.then(|| healed.elapsed());
        ends.background.cancel();
        let afterwards = Afterwards { works, quiet, ..Afterwards::default() };
        Healed { struck_for, lasted, at, afterwards, broken }
    }

    /// Lets the faults of the plan strike, each at its time, or later when what it is about is busy, and waits until all
    /// are over. Returns for how long they struck.
    async fn strike_all(&self, stop: &CancellationToken) -> Duration {
        let (began, length) = (Instant::now(), self.length);
        let healing = stop.child_token();
        let mut running = FuturesUnordered::new();
        let mut taken: Vec<Target> = Vec::new();
        let mut plan = plan::plan(self.seed, length);
        loop {
            let elapsed = began.elapsed();
            plan.retain(|strike| !strike.is_too_late(elapsed, length));
            let is_free = |strike: &Strike| strike.at <= elapsed && !taken.contains(&strike.fault.target());
            let at_once = taken.iter().filter(|target| target.counts()).count();
            let free = plan.iter().position(is_free).filter(|_| at_once < FAULTS_AT_ONCE_MAX);
            if let Some(next) = free {
                let strike = plan.remove(next);
                taken.push(strike.fault.target());
                running.push(self.strike(strike, &healing));
                continue;
            }
            let next = plan.iter().map(|strike| strike.at).find(|at| *at > elapsed).unwrap_or(length);
            tokio::select! {
                () = stop.cancelled() => break,
                Some(target) = running.next() => taken.retain(|other| *other != target),
                () = sleep_until(began + next.min(length)) => {
                    if began.elapsed() >= length {
                        break;
                    }
                }
            }
        }
        let struck_for = began.elapsed();
        healing.cancel();
        while running.next().await.is_some() {}
        struck_for
    }

    /// Makes a fault, and returns what it was about when it is over.
    async fn strike(&self, strike: Strike, healing: &CancellationToken) -> Target {
        let Self { installation, submissions, counters, .. } = self;
        let number = installation.log.begin(&strike);
        counters.sample(&installation.api).await;
        let made = faults::strike(installation, submissions, &strike, healing).await;
        installation.log.end(number, made.err().map(|error| format!("{error:#}")));
        strike.fault.target()
    }

    /// Whether a job of each type is over that comes in when everything is healed.
    async fn works_again(&self, load: &Load<'_>) -> bool {
        let fresh = async {
            let ids = load.fresh().await?;
            try_join_all(ids.iter().map(|id| self.installation.api.wait_for_end(id))).await
        };
        matches!(timeout(FRESH_WITHIN, fresh).await, Ok(Ok(_)))
    }

    /// Whether every job is over in time.
    async fn quiet(&self) -> bool {
        let path = "/v1/jobs?state=blocked,scheduled,ready,unroutable,dispatched,running&limit=1";
        let over = |page: &Value| page["jobs"].as_array().is_some_and(Vec::is_empty);
        self.installation.api.json_when_within(QUIET_WITHIN, path, over).await.is_ok()
    }

    async fn look_after(&self) {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            for ended in self.installation.look_after().await {
                self.installation.log.trouble(ended);
            }
        }
    }

    /// Notes when the machine held the driver up.
    async fn beat(&self) {
        let mut beats = interval(BEAT_EVERY);
        let mut last = Instant::now();
        loop {
            beats.tick().await;
            let gap = last.elapsed();
            if gap >= STALL_MIN {
                let now = Timestamp::now();
                let since = SignedDuration::try_from(gap).map_or(Timestamp::MIN, |gap| now - gap);
                self.installation.log.record_stall(since, now);
            }
            last = Instant::now();
        }
    }

    async fn judge(&self, healed: Healed) -> anyhow::Result<Report> {
        let Self { installation, submissions, .. } = self;
        let log = &installation.log;
        let facts = Facts {
            known: submissions.read(),
            jobs: invariants::read_all(&installation.api).await.context("reading every job")?,
            attempts: judge::read_attempts(&installation.database).context("reading the attempts")?,
            dispatches: judge::read_dispatches(&installation.database).context("reading the dispatches")?,
            executions: judge::read_executions(&installation.journal()?)?,
            log: Log::read(&installation.logs()),
            blame: Blame::new(log.struck(), log.stalls()),
            healed_at: healed.at,
            judged_at: Timestamp::now(),
        };
        let mut report = Report { found: facts.found(), executed: facts.executed(), ..self.report(healed) };
        report.submitted = facts.submitted();
        report.repaired = facts.repaired();
        report.problems.extend(facts.problems());
        self.add_attempts(&mut report.problems).await;
        let submitted = facts.submissions();
        match invariants::check(&installation.api, &installation.database, &submitted).await {
            Ok(invariants) => report.invariants = Some(invariants),
            Err(error) => report.add("invariants", vec![format!("{error:#}")]),
        }
        report.afterwards.resumed = facts.resumed();
        report.is_busy = is_busy();
        report.judge_afterwards(log.stalls().is_empty() && !report.is_busy);
        Ok(report)
    }

    /// When the installation is not what it was, nothing of it can be judged.
    fn unjudged(&self, mut healed: Healed) -> Report {
        let broken = std::mem::take(&mut healed.broken);
        Report { unjudged: Some(Unjudged::Broken(broken)), ..self.report(healed) }
    }

    /// What is known without asking anybody.
    fn report(&self, healed: Healed) -> Report {
        let log = &self.installation.log;
        let struck = log.struck();
        let mut report = Report {
            seed: self.seed,
            struck_for: healed.struck_for,
            lasted: healed.lasted,
            faults: counts(&struck, true),
            not_made: counts(&struck, false),
            stalls: log.stalls().len(),
            has_python: self.installation.has_python(),
            stale: self.counters.stale(),
            bundled: self.counters.bundled(),
            watched: self.counters.watched(),
            afterwards: healed.afterwards,
            ..Report::default()
        };
        report.add("troubles", log.troubles());
        report
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
