//! How long a short job takes on an idle installation, against what the same broker takes for the two hops
//! that a job cannot do without. The two are measured alternately.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{broker, stack::Stack};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    figures::{Figures, say},
    raw::{ROUND_MAX, TwoHops},
};

/// What is measured first and thrown away: connections open, caches fill.
const WARM_UP: usize = 20;

/// Measures so many jobs, one after the other.
pub(crate) async fn run(jobs: usize) -> anyhow::Result<()> {
    let mut stack = Stack::start("bench").await?;
    let _worker = stack.worker(&["test.echo"], 1).await?;
    let mut hops = TwoHops::start(broker::vhost("bench-raw").await?.url).await?;
    let (mut raw, mut whole) = (Figures::default(), Figures::default());
    for round in 0..WARM_UP + jobs {
        let hop = timeout(ROUND_MAX, hops.round()).await.context("the broker is stuck")??;
        let job = timeout(ROUND_MAX, one_job(&mut stack)).await.context("the job is stuck")??;
        if round >= WARM_UP {
            raw.add(hop);
            whole.add(job);
        }
    }
    hops.close().await;
    stack.settle().await?;
    say(&format!("{jobs} jobs, one after the other"))?;
    raw.say("two raw hops")?;
    whole.say("submit → completed")?;
    say(&format!("ratio of the medians {:.2}", whole.median_over(&raw)))
}

/// Submits a job and waits until it is completed, as a client would.
async fn one_job(stack: &mut Stack) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let id = stack.submit("test.echo", json!({"text": "x"})).await?;
    let job = stack.api.json(&format!("/v1/jobs/{id}?wait=30")).await?;
    let took = began.elapsed();
    ensure!(job["state"] == "completed", "{job}");
    Ok(took)
}
