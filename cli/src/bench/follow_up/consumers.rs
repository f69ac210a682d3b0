//! What plain jobs lose by consumers and workflows that select none of what happens.

use serde_json::json;

use super::{
    ground::{Ground, microseconds_each, step},
    reading::{Reading, Unit},
};
use crate::{
    bench::{JOB_TYPE, figures::Throughput},
    exit::Failure,
};

/// How often both are measured in a round, in turn: what is lost is less than what the machine varies by. Odd, so that there is one in
/// the middle.
const PAIRS: usize = 5;

/// How much may be lost.
const LOSS_MAX: f64 = 0.03;

/// Measures plain jobs alone and beside the others.
///
/// # Errors
///
/// When the backend refuses something, or something does not come in time.
pub(super) async fn round(ground: &mut Ground<'_>) -> Result<Vec<Reading>, Failure> {
    let others = ground.scale.hundredth();
    let mut readings = Vec::new();
    for pair in 0..PAIRS {
        // Neither is always first.
        let (alone, beside);
        if pair % 2 == 0 {
            alone = plain(ground).await?;
            beside = amid(ground, others).await?;
        } else {
            beside = amid(ground, others).await?;
            alone = plain(ground).await?;
        }
        let ((alone, alone_us), (beside, beside_us)) = (alone, beside);
        let amid = format!("amid {others} consumers, {others} workflows");
        readings.extend([
            Reading::new(format!("jobs {amid}"), Unit::PerSecond, beside.per_second)
                .beside("jobs alone", alone.per_second)
                .ratio_at_least(1.0 - LOSS_MAX),
            Reading::new(format!("backend's time {amid}"), Unit::MicrosecondsEach, beside_us)
                .beside("alone", alone_us)
                .ratio_at_most(1.0 + LOSS_MAX),
        ]);
    }
    Ok(readings)
}

/// Plain jobs, and what each takes of the backend's processor time.
async fn plain(ground: &Ground<'_>) -> Result<(Throughput, f64), Failure> {
    let (throughput, computed) = ground.computed(ground.plain(ground.plan.jobs)).await?;
    Ok((throughput, microseconds_each(computed, throughput.jobs)))
}

/// The same while there are so many consumers, and so many workflows. Half of each look at what is published, half at the ends
/// of jobs of other types.
async fn amid(ground: &Ground<'_>, others: usize) -> Result<(Throughput, f64), Failure> {
    let http = &ground.http;
    for number in 0..others {
        let (subject, trigger) = match number % 2 {
            0 => (format!("bench.never.{number}"), json!({"event": format!("bench.never.{number}")})),
            _ => {
                let job_type = format!("bench.other.{number}");
                (format!("job.completed.{job_type}"), json!({"job": {"type": job_type}}))
            }
        };
        http.consume(&name(number), &subject, JOB_TYPE).await?;
        let document = json!({"triggers": [trigger], "steps": {"only": step("", &json!({}))}});
        ground.put_workflow(&name(number), &document).await?;
    }
    let measured = plain(ground).await?;
    for number in 0..others {
        http.forget_consumer(&name(number)).await?;
        http.delete(&format!("/v1/workflows/{}", name(number))).await?;
    }
    Ok(measured)
}

fn name(number: usize) -> String {
    format!("bench-{number}")
}
