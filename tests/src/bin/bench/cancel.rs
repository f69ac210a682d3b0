//! How soon the handler of a running job sees that the job was cancelled, while the installation is under load; against
//! two raw hops through the same broker at the same time.

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context, ensure};
use e2e::{api::Api, broker, stack::Stack};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    figures::{Figures, say},
    raw::{ROUND_MAX, TwoHops},
};

/// Short jobs a second, meanwhile.
const LOAD_PER_SECOND: u32 = 500;

/// Clients that submit them, each at its own steady pace.
const CLIENTS: u32 = 20;

/// Running jobs that are cancelled.
const CANCELLED_JOBS: usize = 400;

/// How often one is.
const CANCEL_EVERY: Duration = Duration::from_millis(25);

pub(crate) async fn run() -> anyhow::Result<()> {
    let mut stack = Stack::start("bench-cancel").await?;
    let slots = u32::try_from(CANCELLED_JOBS)?;
    let _echo = stack.worker(&["test.echo"], 16).await?;
    let _wait = stack.worker(&["test.wait"], slots).await?;
    let mut hops = TwoHops::start(broker::vhost("bench-raw").await?.url).await?;
    let journal = stack.folder().join("cancellations");
    let mut waiting = Vec::new();
    for _ in 0..CANCELLED_JOBS {
        waiting.push(stack.submit("test.wait", json!({"journal": journal})).await?);
    }
    let running = format!("/v1/jobs?type=test.wait&state=running&limit={CANCELLED_JOBS}");
    stack
        .api
        .json_when(&running, |page| page["jobs"].as_array().map_or(0, Vec::len) == CANCELLED_JOBS)
        .await?;

    let done = CancellationToken::new();
    let load = join_all((0..CLIENTS).map(|_| submit_steadily(stack.api.clone(), done.clone())));
    let api = stack.api.clone();
    let measure = async {
        let measured = cancel_all(&api, &waiting, &mut hops).await;
        done.cancel();
        measured
    };
    let (loaded, measured) = tokio::join!(load, measure);
    let (asked, raw) = measured?;
    hops.close().await;
    let loaded: Vec<String> = loaded.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
    let jobs = loaded.len();
    loaded.into_iter().for_each(|id| stack.remember_accepted(id));
    stack.settle().await?;
    let told = told(&journal, &asked)?;
    let seconds = CANCEL_EVERY.as_secs_f64() * CANCELLED_JOBS as f64;
    say(&format!(
        "{CANCELLED_JOBS} running jobs cancelled beside {:.0} short jobs/s",
        jobs as f64 / seconds
    ))?;
    raw.say("two raw hops")?;
    told.say("cancel → the handler sees it")?;
    say(&format!("ratio of the medians {:.2}", told.median_over(&raw)))
}

/// Submits short jobs until `done`. Returns their ids.
async fn submit_steadily(api: Api, done: CancellationToken) -> anyhow::Result<Vec<String>> {
    let mut ticks = interval(Duration::from_secs(1) * CLIENTS / LOAD_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut ids = Vec::new();
    loop {
        tokio::select! {
            () = done.cancelled() => return Ok(ids),
            _ = ticks.tick() => ids.push(api.submit(json!({"type": "test.echo", "parameters": {"text": "x"}})).await?),
        }
    }
}

/// Cancels the jobs, one at a time. Returns when each was asked for, and what the raw broker took meanwhile.
async fn cancel_all(
    api: &Api,
    ids: &[String],
    hops: &mut TwoHops,
) -> anyhow::Result<(HashMap<String, Duration>, Figures)> {
    let (mut asked, mut raw) = (HashMap::new(), Figures::default());
    let mut ticks = interval(CANCEL_EVERY);
    let mut answers = FuturesUnordered::new();
    for id in ids {
        ticks.tick().await;
        asked.insert(id.clone(), monotonic());
        answers.push(async move { api.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await });
        raw.add(timeout(ROUND_MAX, hops.round()).await.context("the broker is stuck")??);
        while let Some(Some(answer)) = futures_util::FutureExt::now_or_never(answers.next()) {
            ensure!(answer?.0.is_success(), "a running job can be cancelled");
        }
    }
    while let Some(answer) = answers.next().await {
        ensure!(answer?.0.is_success(), "a running job can be cancelled");
    }
    Ok((asked, raw))
}

/// Reads from the workers' journal how long after the request each handler saw it.
fn told(journal: &Path, asked: &HashMap<String, Duration>) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let text = std::fs::read_to_string(journal)?;
    for line in text.lines() {
        let (id, at) = line.split_once(' ').context("a line has an id and a time")?;
        let asked = asked.get(id).with_context(|| format!("{id} was not cancelled"))?;
        figures.add(Duration::from_micros(at.parse()?).saturating_sub(*asked));
    }
    ensure!(text.lines().count() == asked.len(), "every handler was told once");
    Ok(figures)
}

/// The machine's monotonic clock, which all processes share.
fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
