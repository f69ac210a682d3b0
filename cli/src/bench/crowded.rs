//! The same once more while very many jobs wait in the store, and what only then takes time: a start, and lists.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{
    BODY_BYTES, Load, PAUSED_TYPE, Plan,
    costs::Costs,
    figures::Times,
    http::Http,
    installation::Installation,
    latency,
    limit::TwoHops,
    load::{self, Row},
};
use crate::exit::Failure;

/// How many labels they have among them.
const CUSTOMERS: usize = 1_000;
/// How often each list is read on, page by page.
const PAGES: usize = 30;

/// What lists are asked for, and how that is called.
const LISTS: [(&str, &str); 4] = [
    ("the newest 100", "limit=100"),
    ("100 by state", "limit=100&state=ready"),
    ("100 by a label", "limit=100&label.customer=c7"),
    ("by a label nobody has", "limit=100&label.customer=nobody"),
];

/// What was measured.
pub(super) struct Crowded {
    pub(super) row: Row,
    pub(super) raw_times: Times,
    pub(super) job_times: Times,
    pub(super) pages: Vec<(&'static str, Times)>,
    /// From the start of the backend until it was ready.
    pub(super) start: Duration,
}

/// Submits the many, and measures.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn run(
    installation: &mut Installation,
    http: &Http,
    hops: &mut TwoHops,
    plan: Plan,
) -> Result<Crowded, Failure> {
    http.pause(PAUSED_TYPE, true).await?;
    load::batches(http, plan.waiting, waiting_job).await?;
    let limit = hops.throughput(plan.jobs).await?;
    let before = Costs::now(installation)?;
    let throughput = load::run(Load::Batches, http, plan).await?;
    let row = Row { throughput, limit, costs: Costs::now(installation)?.since(&before) };
    let (raw_times, job_times) = latency::run(http, hops, plan.single_jobs).await?;
    let mut pages = Vec::new();
    for (name, query) in LISTS {
        pages.push((name, read_on(http, query).await?));
    }
    let began = Instant::now();
    installation.restart_backend().await?;
    Http::new(installation.http())?.ready().await?;
    Ok(Crowded { row, raw_times, job_times, pages, start: began.elapsed() })
}

async fn read_on(http: &Http, query: &str) -> Result<Times, Failure> {
    let (mut times, mut cursor) = (Times::default(), String::new());
    for _ in 0..PAGES {
        let began = Instant::now();
        let page = http.get(&format!("/v1/jobs?{query}{cursor}")).await?;
        times.add(began.elapsed());
        cursor = page["next_cursor"].as_str().map_or_else(String::new, |next| format!("&cursor={next}"));
    }
    Ok(times)
}

/// One that waits, as JSON.
fn waiting_job(number: usize) -> String {
    json!({
        "type": PAUSED_TYPE,
        "parameters": {"text": "x".repeat(BODY_BYTES)},
        "priority": number % 10,
        "labels": {"customer": format!("c{}", number % CUSTOMERS)},
    })
    .to_string()
}
