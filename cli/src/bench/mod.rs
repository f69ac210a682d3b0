//! `crewcall bench`: how fast this machine runs jobs, beside what its broker could do at all.
//!
//! One round measures everything once, one after the other, so that what slows the machine down slows down all of them;
//! a ratio is taken within its round. Reading order: [`installation`] with [`broker`] (what is measured), [`limit`] (the broker
//! alone), [`load`], [`latency`], [`paced`], [`events`] and [`growth`] with [`flood`] and [`idle_workers`] (ours), [`costs`] (what it takes of the machine),
//! [`figures`], [`report`] and [`picture`]. What is asked for by name, and measured instead, is in [`follow_up`].

mod broker;

mod by_hand;

mod costs;

mod events;

mod figures;

mod flood;

pub(crate) mod follow_up;

mod growth;

mod http;

mod idle_workers;

mod installation;

mod latency;

mod limit;

mod load;

mod paced;

pub(crate) mod picture;

pub(crate) mod report;

pub(crate) mod worker;

use std::{path::Path, pin::pin, time::Duration};

use self::{
    broker::Broker,
    costs::Costs,
    events::Events,
    figures::{Throughput, Times},
    flood::FLOOD_TYPE,
    follow_up::{FollowUps, report::FollowUpReport},
    growth::{Bench, Growth},
    http::Http,
    idle_workers::IDLE_TYPE,
    installation::{Installation, Versions},
    limit::TwoHops,
    load::Row,
    paced::Paced,
    report::Report,
};
use crate::exit::Failure;

/// The type of the jobs that do nothing.
const JOB_TYPE: &str = "bench.noop";

/// The type of those that run until they are cancelled.
const WAITING_TYPE: &str = "bench.wait";

/// The type of those that wait in the store while others run.
const PAUSED_TYPE: &str = "bench.paused";

/// How many bytes the parameters of a job, and the body of a message for the limit, have.
const BODY_BYTES: usize = 256;

/// How long anything may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How many jobs a measurement of throughput takes.
    pub(crate) jobs: usize,
    /// How many jobs are waited for one by one.
    pub(crate) single_jobs: usize,
    /// How often everything is measured.
    pub(crate) rounds: usize,
    /// How many connections submit jobs one by one.
    pub(crate) connections: usize,
    /// How many attempts the worker runs at once.
    pub(crate) slots: u32,
    /// How many jobs a second come at a steady pace.
    pub(crate) per_second: u32,
    /// For how long.
    pub(crate) paced_for: Duration,
    /// How many jobs wait in the store in the end, while others run; a tenth of them before, and a tenth of a type that nobody
    /// serves.
    pub(crate) waiting: usize,
    /// How many progress messages one worker sends while other jobs are timed.
    pub(crate) progress: usize,
    /// How many types there are in the end; a tenth of them before.
    pub(crate) types: usize,
    /// How many workers with nothing to do there are in the end; a tenth of them before.
    pub(crate) idle_workers: usize,
}

/// What is measured, in the order of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Submitted many at a time.
    Batches,
    /// Submitted one by one, on many connections at once.
    Singles,
    /// Submitted while their type was paused; measured from the end of the pause.
    Drain,
}

impl Load {
    const ALL: [Self; 3] = [Self::Batches, Self::Singles, Self::Drain];

    /// What it is called in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Singles => "singles",
            Self::Drain => "drain",
        }
    }
}

/// Starts an installation in `directory`, on the broker at `amqp_url` or on one of its own, measures it, and ends it, also when
/// `interrupted` is over first. Tells `progress` what is being measured.
///
/// # Errors
///
/// What could not be started, or did not end in time; the directory is kept then, with the logs.
pub(crate) async fn run(
    directory: &Path,
    plan: Plan,
    amqp_url: Option<&str>,
    progress: impl Fn(&str),
    interrupted: impl Future<Output = ()>,
) -> Result<Report, Failure> {
    let measure = async |broker: &Broker| run_on(broker, directory, plan, &progress).await;
    on_broker(directory, plan, amqp_url, &progress, interrupted, measure).await
}

/// The same for what follows from events, ends of steps and ticks.
///
/// # Errors
///
/// As for [`run`].
pub(crate) async fn run_follow_ups(
    directory: &Path,
    (plan, follow_ups): (Plan, FollowUps<'_>),
    amqp_url: Option<&str>,
    progress: impl Fn(&str),
    interrupted: impl Future<Output = ()>,
) -> Result<FollowUpReport, Failure> {
    let measure = async |broker: &Broker| {
        name_of_all(broker, &progress);
        follow_up::run_on(broker, directory, plan, follow_ups, &progress).await
    };
    on_broker(directory, plan, amqp_url, &progress, interrupted, measure).await
}

async fn on_broker<T>(
    directory: &Path,
    plan: Plan,
    amqp_url: Option<&str>,
    progress: &impl Fn(&str),
    interrupted: impl Future<Output = ()>,
    measure: impl AsyncFnOnce(&Broker) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut interrupted = pin!(interrupted);
    installation::make_empty(directory)?;
    let broker = match amqp_url {
        Some(amqp_url) => Broker::existing(amqp_url),
        None => {
            progress("starting a private RabbitMQ node …");
            let node = directory.join("broker");
            tokio::select! {
                started = Broker::start(&node) => started.map_err(|failure| kept(&failure, directory))?,
                () = &mut interrupted => return Err(stopped()),
            }
        }
    };
    let measured = tokio::select! {
        measured = measure(&broker) => measured,
        () = interrupted => Err(stopped()),
    };
    let removed = broker.stop(plan.job_types()).await;
    match measured.and_then(|report| removed.map(|()| report)) {
        Err(failure) if !matches!(failure, Failure::Interrupted(_)) => Err(kept(&failure, directory)),
        ended => {
            // What cannot be removed now is by the next run.
            let _ = std::fs::remove_dir_all(directory);
            ended
        }
    }
}

async fn run_on(
    broker: &Broker,
    directory: &Path,
    plan: Plan,
    progress: impl Fn(&str),
) -> Result<Report, Failure> {
    name_of_all(broker, &progress);
    progress("starting a backend and a worker …");
    let mut installation = Installation::start(broker, directory, plan.slots).await?;
    let versions = Versions::on(broker).await;
    let measured = measure(&mut installation, plan, progress).await;
    installation.stop().await;
    Ok(report::of(plan, versions, &measured?))
}

fn name_of_all(broker: &Broker, progress: impl Fn(&str)) {
    if !broker.is_private() {
        let prefix = broker.prefix();
        progress(&format!("what is made on the broker is called {prefix}.…, and removed in the end"));
    }
}

fn stopped() -> Failure {
    Failure::Interrupted("interrupted: nothing was measured to its end".to_owned())
}

fn kept(failure: &Failure, directory: &Path) -> Failure {
    Failure::Part(format!("{failure}; its logs are in {}", directory.display()).into())
}

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Measured {
    limit: Vec<Throughput>,
    loads: Vec<(Load, Vec<Row>)>,
    raw_times: Times,
    job_times: Times,
    latency_rounds: Vec<(Duration, Duration)>,
    starts: Times,
    cancels: Times,
    events: Events,
    growth: Growth,
}

async fn measure(
    installation: &mut Installation<'_>,
    plan: Plan,
    progress: impl Fn(&str),
) -> Result<Measured, Failure> {
    let http = Http::new(installation.http())?;
    http.served(JOB_TYPE).await?;
    let mut hops = TwoHops::start(installation.broker()).await?;
    progress("warming up …");
    load::run(Load::Batches, &http, plan.warm_up()).await?;
    hops.throughput(plan.warm_up().jobs).await?;
    let mut measured =
        Measured { loads: Load::ALL.map(|load| (load, Vec::new())).into(), ..Measured::default() };
    for round in 1..=plan.rounds {
        let tell = |what: &str| progress(&format!("round {round} of {}: {what} …", plan.rounds));
        tell("the limit");
        let limit = hops.throughput(plan.jobs).await?;
        measured.limit.push(limit);
        for (load, rows) in &mut measured.loads {
            tell(load.name());
            let before = Costs::now(installation)?;
            let throughput = load::run(*load, &http, plan).await?;
            rows.push(Row { throughput, limit, costs: Costs::now(installation)?.since(&before) });
        }
        tell("one job after the other");
        let (raw, jobs) = latency::run(&http, &mut hops, plan.single_jobs).await?;
        measured.latency_rounds.push((raw.percentile(50), jobs.percentile(50)));
        measured.raw_times.append(raw);
        measured.job_times.append(jobs);
        tell(&format!("{} jobs a second", plan.per_second));
        let Paced { starts, cancels } = paced::run(&http, plan.per_second, plan.paced_for).await?;
        measured.starts.append(starts);
        measured.cancels.append(cancels);
        tell("events, and jobs that are made of them");
        measured.events.round(&http, plan).await?;
    }
    let mut bench = Bench { installation, http, hops: &mut hops, plan };
    measured.growth =
        growth::run(&mut bench, |what| progress(&format!("the same with many: {what} …"))).await?;
    hops.close().await;
    Ok(measured)
}

impl Plan {
    /// The types of all jobs that may come.
    fn job_types(self) -> impl Iterator<Item = String> {
        let own = [JOB_TYPE, PAUSED_TYPE, WAITING_TYPE, IDLE_TYPE, FLOOD_TYPE].map(str::to_owned);
        own.into_iter().chain((0..self.types).map(worker::many_type))
    }

    /// What is measured and thrown away: connections open, caches fill.
    fn warm_up(self) -> Self {
        Self { jobs: (self.jobs / 10).max(1), ..self }
    }
}
