//! How long one job takes on an idle installation, beside the two hops that it cannot do without, in turn.

use std::time::Duration;

use tokio::time::Instant;

use super::{JOB_TYPE, figures::Times, http::Http, limit::TwoHops, load::job};
use crate::exit::Failure;

/// What is measured first and thrown away: what was idle wakes up.
const WARM_UP: usize = 10;

/// Measures so many. Returns how long the two hops took each time, and how long from a submission until its end was seen.
///
/// # Errors
///
/// When something does not come in time.
pub(super) async fn run(http: &Http, hops: &mut TwoHops, jobs: usize) -> Result<(Times, Times), Failure> {
    let (mut raw, mut whole) = (Times::default(), Times::default());
    for number in 0..WARM_UP + jobs {
        let hop = hops.once().await?;
        let took = one(http).await?;
        if number >= WARM_UP {
            raw.add(hop);
            whole.add(took);
        }
    }
    Ok((raw, whole))
}

/// Returns how long one job takes, from its submission until its end was seen.
///
/// # Errors
///
/// When it does not come in time.
pub(super) async fn one(http: &Http) -> Result<Duration, Failure> {
    let began = Instant::now();
    let id = http.submit(job(JOB_TYPE)).await?;
    let state = http.end_of(&id).await?;
    let took = began.elapsed();
    match state.as_str() {
        "completed" => Ok(took),
        _ => Err(Failure::Part(format!("job {id} is {state} after a minute").into())),
    }
}
