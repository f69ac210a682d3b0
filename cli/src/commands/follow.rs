//! Staying with a job until it ends, and telling how it did.

use std::time::Duration;

use crewcall_proto::JobId;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::{
    api::{Document, Job, JobError, JobState},
    client::{
        Client, ClientError,
        follow::{ABSENCE_MAX, FeedEvent},
    },
    exit::{Exit, Failure},
    progress::ProgressDisplay,
    tables, times,
};

/// Shows a job's progress until it ends.
///
/// # Errors
///
/// When the wait time is up or the backend fails us; the job goes on then.
pub(crate) async fn follow_to_end(
    client: &Client,
    job: &Document<Job>,
    wait: Option<Duration>,
) -> Result<Document<Job>, Failure> {
    let id: JobId = job.id.parse().map_err(|_| ClientError::Strange {
        url: job.id.clone(),
        reason: "the id of the new job is not a job id".to_owned(),
    })?;
    let mut display = ProgressDisplay::new();
    display.show(job);
    let ended = timeout(wait.unwrap_or(Duration::MAX), follow(client, id, wait, &mut display)).await;
    drop(display);
    match ended {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(Failure::Job {
            exit: Exit::TimedOut,
            message: format!(
                "job {id} has not ended within {} s; it goes on: crewcall watch {id}",
                wait.unwrap_or_default().as_secs()
            ),
        }),
    }
}

async fn follow(
    client: &Client,
    id: JobId,
    wait: Option<Duration>,
    display: &mut ProgressDisplay,
) -> Result<Document<Job>, ClientError> {
    // The wait time, when there is one, also bounds how long we look for an absent backend.
    let absence_max = if wait.is_none() { Some(ABSENCE_MAX) } else { None };
    let mut feed = client.follow_job(id, absence_max);
    loop {
        match feed.next().await? {
            FeedEvent::Job(job) => {
                display.show(&job);
                if job.state.is_terminal() {
                    return Ok(*job);
                }
            }
            FeedEvent::Reset => {}
            FeedEvent::Lost(reason) => display.lost(&reason),
            FeedEvent::Back => display.back(),
        }
    }
}

/// The exit code of a job that ended, or the sentence why it did not end well.
///
/// # Errors
///
/// [`Failure::Job`] for a failed or cancelled job.
pub(crate) fn conclude(job: &Job) -> Result<Exit, Failure> {
    let attempts = format!("{} of {} attempts used", job.attempt, job.max_attempts);
    match job.state {
        JobState::Failed => {
            let reason = job.error.as_ref().map_or_else(|| "no reason was given".to_owned(), explained);
            Err(Failure::Job {
                exit: Exit::Failed,
                message: format!("job {} failed, {attempts}: {reason}", job.id),
            })
        }
        JobState::Cancelled => {
            let by = job.cancellation.as_ref().map(|note| format!(" by {}", tables::by_whom(note)));
            Err(Failure::Job {
                exit: Exit::Cancelled,
                message: format!("job {} was cancelled{}; {attempts}", job.id, by.unwrap_or_default()),
            })
        }
        JobState::Blocked
        | JobState::Scheduled
        | JobState::Ready
        | JobState::Unroutable
        | JobState::Dispatched
        | JobState::Running
        | JobState::Completed
        | JobState::Unknown => Ok(Exit::Done),
    }
}

/// An error with what lies below it: `handler: cannot load the model` and `  because no such file` in the next line.
fn explained(error: &JobError) -> String {
    match error.cause() {
        Some(cause) => format!("{}\n  {} {}", error.line(), error.cause_word(), cause.replace('\n', "\n  ")),
        None => error.line(),
    }
}

/// `completed in 3.2s  0192e4a0-…`: what stays on the terminal of a job that is done.
pub(crate) fn completed_line(job: &Job) -> String {
    let took = times::took(job.started_at.as_deref(), job.finished_at.as_deref(), Timestamp::now());
    let tries = if job.attempt > 1 { format!(" at attempt {}", job.attempt) } else { String::new() };
    format!("completed in {took}{tries}  {}", job.id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(state: &str, error: &serde_json::Value) -> Job {
        serde_json::from_value(json!({
            "id": "j", "type": "t", "state": state, "attempt": 2, "max_attempts": 5, "error": error,
            "started_at": "2026-11-20T16:00:00.000Z", "finished_at": "2026-11-20T16:00:03.250Z",
        }))
        .unwrap()
    }

    #[test]
    fn how_a_job_ended_is_told_with_its_causes() {
        let because = json!({"kind": "handler", "message": "cannot load the model", "detail": "model.bin\nno such file"});
        let panic =
            json!({"kind": "panic", "message": "index out of bounds", "detail": "at src/main.rs:7:5"});
        let repeated = json!({"kind": "handler", "message": "the same", "detail": "the same"});
        let told =
            [because, panic, repeated].map(|error| conclude(&job("failed", &error)).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(completed_line(&job("completed", &json!(null))), "completed in 3.2s at attempt 2  j");
    }
}
