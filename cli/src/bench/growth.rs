//! The same once more as an installation grows: amid very many progress messages, with many types, many workers, and very many
//! jobs that wait, that nobody serves, or that are over; and what only then takes time: a start, and lists.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    BODY_BYTES, JOB_TYPE, Load, PAUSED_TYPE, Plan,
    costs::Costs,
    figures::{Throughput, Times},
    flood::{self, Flood},
    http::Http,
    idle_workers::{IDLE_TYPE, IdleWorkers},
    installation::Installation,
    latency,
    limit::TwoHops,
    load::{self, Row},
    worker::many_type,
};
use crate::exit::Failure;

/// How many labels the many have among them.
const CUSTOMERS: usize = 1_000;
/// How often each list is read on, page by page.
const PAGES: usize = 30;
/// For how long an installation with nothing to do is looked at.
const IDLE_FOR: Duration = Duration::from_secs(5);
/// A type that nobody serves.
const UNSERVED_TYPE: &str = "bench.unserved";

/// What lists are asked for, and how that is called.
const LISTS: [(&str, &str); 4] = [
    ("the newest 100", "limit=100"),
    ("100 by state", "limit=100&state=ready"),
    ("100 by a label", "limit=100&label.customer=c7"),
    ("by a label nobody has", "limit=100&label.customer=nobody"),
];

/// Of what there are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Many {
    /// Types that the jobs are divided among.
    Types,
    /// Workers that have nothing to do.
    IdleWorkers,
    /// Jobs of a type that nobody serves.
    Unserved,
    /// Jobs of a type that is paused.
    Waiting,
    /// Jobs that are over.
    Over,
}

impl Many {
    /// How so many are called.
    pub(super) fn name(self, number: usize) -> String {
        let what = match self {
            Self::Types => "types",
            Self::IdleWorkers => "idle workers",
            Self::Unserved => "unserved",
            Self::Waiting => "waiting",
            Self::Over => "over",
        };
        format!("{number} {what}")
    }
}

/// What was measured beside many of something.
pub(super) struct Grown {
    pub(super) many: Many,
    pub(super) number: usize,
    /// Batches.
    pub(super) row: Row,
    pub(super) raw_times: Times,
    pub(super) job_times: Times,
}

/// What was measured.
#[derive(Default)]
pub(super) struct Growth {
    pub(super) flood: Option<Flood>,
    pub(super) grown: Vec<Grown>,
    /// How much of a core the backend takes with all idle workers there, and nothing to do.
    pub(super) idle_cores: Option<f64>,
    /// With all the waiting jobs.
    pub(super) pages: Vec<(&'static str, Times)>,
    /// From the start of the backend until it was ready, with all the waiting jobs.
    pub(super) start: Option<Duration>,
}

/// What is measured, and with what.
pub(super) struct Bench<'a, 'broker> {
    pub(super) installation: &'a mut Installation<'broker>,
    pub(super) http: Http,
    pub(super) hops: &'a mut TwoHops,
    pub(super) plan: Plan,
}

/// Lets the installation grow, and measures.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn run(bench: &mut Bench<'_, '_>, tell: impl Fn(&str)) -> Result<Growth, Failure> {
    let (mut growth, plan) = (Growth::default(), bench.plan);
    if plan.progress > 0 {
        tell(&format!("{} progress messages", plan.progress));
        growth.flood = Some(flood::run(bench.installation.broker(), &bench.http, plan.progress).await?);
    }
    let steps = |most: usize| [most / 10, most].into_iter().filter(|number| *number > 0);
    for number in steps(plan.types) {
        tell(&Many::Types.name(number));
        bench.installation.start_workers_of_many(number).await?;
        for index in 0..number {
            bench.http.served(&many_type(index)).await?;
        }
        growth.grown.push(bench.measure(Many::Types, number).await?);
    }
    bench.installation.stop_workers_of_many().await;
    for number in steps(plan.idle_workers) {
        tell(&Many::IdleWorkers.name(number));
        let workers = IdleWorkers::start(bench.installation.broker(), number).await?;
        bench.http.served_by(IDLE_TYPE, number).await?;
        if number == plan.idle_workers {
            growth.idle_cores = Some(idle_cores(bench.installation).await?);
        }
        growth.grown.push(bench.measure(Many::IdleWorkers, number).await?);
        workers.stop().await?;
    }
    let mut unserved = 0;
    for number in steps(plan.waiting / 10) {
        tell(&Many::Unserved.name(number));
        load::batches(&bench.http, number - unserved, |number| many_job(UNSERVED_TYPE, number)).await?;
        unserved = number;
        growth.grown.push(bench.measure(Many::Unserved, number).await?);
    }
    bench.http.pause(PAUSED_TYPE, true).await?;
    let mut waiting = 0;
    for number in steps(plan.waiting) {
        tell(&Many::Waiting.name(number));
        load::batches(&bench.http, number - waiting, |number| many_job(PAUSED_TYPE, number)).await?;
        waiting = number;
        growth.grown.push(bench.measure(Many::Waiting, number).await?);
    }
    if waiting > 0 {
        tell("lists and a start");
        for (name, query) in LISTS {
            growth.pages.push((name, bench.read_on(query).await?));
        }
        let (http, took) = restart(bench.installation).await?;
        (bench.http, growth.start) = (http, Some(took));
        tell(&Many::Over.name(waiting));
        bench.http.cancel_all(PAUSED_TYPE).await?;
        growth.grown.push(bench.measure(Many::Over, waiting).await?);
    }
    Ok(growth)
}

impl Bench<'_, '_> {
    async fn measure(&mut self, many: Many, number: usize) -> Result<Grown, Failure> {
        let limit = self.hops.throughput(self.plan.jobs).await?;
        let before = Costs::now(self.installation)?;
        let throughput = match many {
            Many::Types => self.spread(number).await?,
            _ => load::run(Load::Batches, &self.http, self.plan).await?,
        };
        let row = Row { throughput, limit, costs: Costs::now(self.installation)?.since(&before) };
        let (raw_times, job_times) = latency::run(&self.http, self.hops, self.plan.single_jobs).await?;
        Ok(Grown { many, number, row, raw_times, job_times })
    }

    /// As [`load::run`], with the jobs divided among so many types.
    async fn spread(&self, types: usize) -> Result<Throughput, Failure> {
        let each = self.plan.jobs.div_ceil(types);
        let mut all = Vec::with_capacity(types);
        for index in 0..types {
            let job_type = many_type(index);
            let completed = self.http.completed(&job_type).await?;
            all.push((job_type, completed + u64::try_from(each).unwrap_or(u64::MAX)));
        }
        let began = Instant::now();
        load::batches(&self.http, each * types, |number| load::job(&many_type(number % types))).await?;
        for (job_type, count) in all {
            self.http.until_completed(&job_type, count).await?;
        }
        Ok(Throughput::of(each * types, began.elapsed()))
    }

    async fn read_on(&self, query: &str) -> Result<Times, Failure> {
        let (mut times, mut cursor) = (Times::default(), String::new());
        for _ in 0..PAGES {
            let began = Instant::now();
            let page = self.http.get(&format!("/v1/jobs?{query}{cursor}")).await?;
            times.add(began.elapsed());
            cursor = page["next_cursor"].as_str().map_or_else(String::new, |next| format!("&cursor={next}"));
        }
        Ok(times)
    }
}

/// How much of a core the backend takes while nothing is to be done.
///
/// # Errors
///
/// When it has ended.
pub(super) async fn idle_cores(installation: &Installation<'_>) -> Result<f64, Failure> {
    let before = Costs::now(installation)?;
    sleep(IDLE_FOR).await;
    let costs = Costs::now(installation)?.since(&before);
    let backend = costs.first().map(|cost| cost.computed).unwrap_or_default();
    Ok(backend.as_secs_f64() / IDLE_FOR.as_secs_f64())
}

/// Starts the backend anew. Returns how to reach it, and how long it took until it was ready.
///
/// # Errors
///
/// When it does not start.
pub(super) async fn restart(installation: &mut Installation<'_>) -> Result<(Http, Duration), Failure> {
    let began = Instant::now();
    installation.restart_backend().await?;
    let http = Http::new(installation.http())?;
    http.ready().await?;
    let took = began.elapsed();
    http.served(JOB_TYPE).await?;
    Ok((http, took))
}

/// One of the many, as JSON.
fn many_job(job_type: &str, number: usize) -> String {
    json!({
        "type": job_type,
        "parameters": {"text": "x".repeat(BODY_BYTES)},
        "priority": number % 10,
        "labels": {"customer": format!("c{}", number % CUSTOMERS)},
    })
    .to_string()
}
