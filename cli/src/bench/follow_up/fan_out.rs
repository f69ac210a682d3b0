//! A job for each item of a list, and one more when all of them are over: beside plain jobs, with few and with very many items, and
//! what a plain job waits amid it.

use serde_json::{Value, json};

use super::{
    commits::Commits,
    ground::{Ground, float, microseconds_each, percentile_ms, step, text},
    reading::{Reading, Unit},
};
use crate::{
    bench::{
        figures::{Spread, Throughput, Times},
        latency,
    },
    exit::Failure,
};

/// The workflow with the usual number of open items, and one with all of them open at once.
const FAN_OUT: &str = "bench.fan-out";
const FAN_OUT_AT_ONCE: &str = "bench.fan-out.at-once";
/// The most that may be open at once.
const OPEN_MAX: usize = 10_000;

/// How often a fan-out of a thousand is measured in a round.
const TIMES: usize = 5;

/// What is left of the pace of plain jobs.
const PACE_MIN: f64 = 0.6;
/// What an item among very many may cost, beside one among few.
const ITEM_MAX: f64 = 1.3;
/// How long a plain job may take meanwhile, in seconds.
const AMID_MAX: f64 = 1.0;

/// Measures all of it.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn round(ground: &mut Ground<'_>) -> Result<Vec<Reading>, Failure> {
    ground.put_workflow(FAN_OUT, &workflow(None)).await?;
    ground.put_workflow(FAN_OUT_AT_ONCE, &workflow(Some(OPEN_MAX))).await?;
    let mut readings = thousand(ground).await?;
    readings.extend(costs(ground).await?);
    readings.push(amid(ground, FAN_OUT, "").await?.at_most(AMID_MAX));
    // Whoever opens all at once puts every item in front of what comes later.
    readings.push(amid(ground, FAN_OUT_AT_ONCE, " open at once").await?);
    Ok(readings)
}

async fn thousand(ground: &Ground<'_>) -> Result<Vec<Reading>, Failure> {
    let items = ground.scale.tenth();
    let (mut plain, mut burst, mut usual, mut at_once) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let pace = async |workflow: &str| {
        let took = ground.run(workflow, &data(items)).await?;
        Ok::<_, Failure>(Throughput::of(items + 1, took).per_second)
    };
    for _ in 0..TIMES {
        plain.push(ground.plain(ground.plan.jobs).await?.per_second);
        usual.push(pace(FAN_OUT).await?);
        burst.push(ground.plain(items).await?.per_second);
        at_once.push(pace(FAN_OUT_AT_ONCE).await?);
    }
    let [plain, burst, usual, at_once] =
        [plain, burst, usual, at_once].map(|figures| Spread::of(figures).median);
    let reading = |what: &str, figure| {
        Reading::new(format!("fan-out of {items} {what}"), Unit::PerSecond, figure)
            .beside("plain jobs in batches", plain)
            .ratio_at_least(PACE_MIN)
    };
    Ok(vec![
        reading("and its fan-in", usual),
        reading("and its fan-in, all open at once", at_once),
        Reading::new(format!("{items} plain jobs alone"), Unit::PerSecond, burst)
            .beside("plain jobs in batches", plain),
    ])
}

async fn costs(ground: &Ground<'_>) -> Result<Vec<Reading>, Failure> {
    let (many, few) = (ground.scale.most(), ground.scale.hundredth());
    let http = &ground.http;
    let begun = Commits::now(http).await?;
    ground.plain(many).await?;
    let after_plain = Commits::now(http).await?;
    let one_by_one = async {
        for _ in 0..many / few {
            ground.run(FAN_OUT, &data(few)).await?;
        }
        Ok(())
    };
    let ((), small) = ground.computed(one_by_one).await?;
    let before = Commits::now(http).await?;
    let (took, large) = ground.computed(ground.run(FAN_OUT, &data(many))).await?;
    let commits = Commits::now(http).await?.since(before);
    let what = format!("backend's time for an item of {many}");
    Ok(vec![
        Reading::new(what, Unit::MicrosecondsEach, microseconds_each(large, many))
            .beside("for an item of a hundredth", microseconds_each(small, many))
            .ratio_at_most(ITEM_MAX),
        Reading::new(format!("fan-out of {many} and its fan-in"), Unit::Seconds, took.as_secs_f64()),
        commits.reading(&format!("fan-out of {many}"), after_plain.since(begun)),
    ])
}

/// The longest that a plain job took, one after the other, while very many items were under way.
async fn amid(ground: &Ground<'_>, workflow: &str, how: &str) -> Result<Reading, Failure> {
    let many = ground.scale.most();
    let idle = latency::one(&ground.http).await?;
    let id = ground.trigger(workflow, &data(many)).await?;
    let mut times = Times::default();
    loop {
        times.add(latency::one(&ground.http).await?);
        let run = ground.http.get(&format!("/v1/runs/{id}")).await?;
        if run["state"] != "running" {
            break;
        }
    }
    ground.end_of_run(&id).await?;
    let what = format!("a plain job amid {many} items{how}, at most");
    Ok(Reading::new(what, Unit::Seconds, percentile_ms(&times, 100) / float(1_000))
        .beside("on an idle installation", idle.as_secs_f64()))
}

fn workflow(parallel: Option<usize>) -> Value {
    let mut each = step("${{ item }}", &json!({"each": "${{ trigger.data.items }}"}));
    each["parameters"]["more"] = text().into();
    if let Some(parallel) = parallel {
        each["parallel"] = parallel.into();
    }
    let gather = step("${{ steps.spread.results.size() }} items", &json!({"needs": ["spread"]}));
    json!({"steps": {"spread": each, "gather": gather}})
}

fn data(items: usize) -> Value {
    let items: Vec<String> = (0..items).map(|number| number.to_string()).collect();
    json!({"items": items})
}
