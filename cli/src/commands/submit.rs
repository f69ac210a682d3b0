//! `crewcall submit`: hands in a job and, when asked to, stays until it ends.

use std::{io, time::Duration};

use crewcall_proto::JobId;
use serde_json::{Map, Value, json};
use tokio::{signal, time::timeout};

use crate::{
    api::{Document, Job, JobState},
    arguments::SubmitArguments,
    client::{
        Client, ClientError,
        follow::{ABSENCE_MAX, FeedEvent},
        problem::{Mistake, Problem},
    },
    exit::{Exit, Failure},
    output::{Format, note, print_json, print_one},
    parameters::{Form, ParameterSource},
    progress::ProgressDisplay,
};

/// Submits the job, and waits for it with `--wait`.
///
/// # Errors
///
/// When the parameters or the request are wrong, the backend fails us, or the job does not end well.
pub(crate) async fn run(client: &Client, arguments: &SubmitArguments) -> Result<Exit, Failure> {
    let source = ParameterSource { words: &arguments.words, base: arguments.parameters.as_deref() };
    let parameters = source.read(io::stdin())?;
    let submission = submission(arguments, parameters)?;
    let job = client.submit(&submission).await.map_err(|error| with_hints(error, &source))?;
    let Some(wait) = arguments.wait else {
        if let Some(waiting) = &job.waiting_for {
            note(&format!("the job {}", waiting.message));
        }
        print_one(&job, arguments.output.unwrap_or(Format::Name))?;
        return Ok(Exit::Done);
    };
    let job = tokio::select! {
        ended = attend(client, &job, wait.map(Duration::from_secs)) => ended?,
        _ = signal::ctrl_c() => {
            return Err(Failure::Interrupted(format!("the job goes on: crewcall watch {}", job.id)));
        }
    };
    match arguments.output {
        Some(format) => print_one(&job, format)?,
        None if job.state == JobState::Completed => print_json(&job.result)?,
        None => {}
    }
    conclude(&job)
}

/// Shows a job's progress until it ends.
///
/// # Errors
///
/// When the wait time is up or the backend fails us; the job goes on then.
pub(crate) async fn attend(
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
    display.finish();
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
            let reason =
                job.error.as_ref().map_or_else(|| "no reason was given".to_owned(), |error| error.line());
            Err(Failure::Job {
                exit: Exit::Failed,
                message: format!("job {} failed, {attempts}: {reason}", job.id),
            })
        }
        JobState::Cancelled => Err(Failure::Job {
            exit: Exit::Cancelled,
            message: format!("job {} was cancelled, {attempts}", job.id),
        }),
        JobState::Scheduled
        | JobState::Ready
        | JobState::Unroutable
        | JobState::Dispatched
        | JobState::Running
        | JobState::Completed
        | JobState::Unknown => Ok(Exit::Done),
    }
}

fn submission(arguments: &SubmitArguments, parameters: Map<String, Value>) -> Result<Value, Failure> {
    let mut labels = Map::new();
    for (key, value) in &arguments.labels {
        if labels.insert(key.clone(), json!(value)).is_some() {
            return Err(Failure::Usage(format!("the label '{key}' is given twice; write it once")));
        }
    }
    // Only what was said is sent, so that the defaults stay the backend's.
    let mut submission = Map::new();
    submission.insert("type".to_owned(), json!(arguments.job_type.as_str()));
    submission.insert("parameters".to_owned(), Value::Object(parameters));
    if let Some(priority) = arguments.priority {
        submission.insert("priority".to_owned(), json!(priority));
    }
    if let Some(max_attempts) = arguments.max_attempts {
        submission.insert("max_attempts".to_owned(), json!(max_attempts));
    }
    if !labels.is_empty() {
        submission.insert("labels".to_owned(), Value::Object(labels));
    }
    Ok(Value::Object(submission))
}

/// The commonest mistake is `width=640` where a number is wanted: says how to write it.
fn with_hints(error: ClientError, source: &ParameterSource<'_>) -> ClientError {
    let ClientError::Problem(problem) = error else { return error };
    let errors = problem.errors.iter().map(|mistake| with_hint(mistake, source)).collect();
    ClientError::Problem(Box::new(Problem { errors, ..*problem }))
}

fn with_hint(mistake: &Mistake, source: &ParameterSource<'_>) -> Mistake {
    let mut hinted = mistake.clone();
    let Some(key) = mistake.parameter() else { return hinted };
    let word = source.words.iter().find_map(|word| word.strip_prefix(&format!("{key}=")));
    let (Some(Form::Text), Some(value)) = (source.form_of(&key), word) else { return hinted };
    let is_json = serde_json::from_str::<Value>(value).is_ok_and(|value| !value.is_string());
    if is_json {
        hinted.message.push_str(&format!(" (key=value is always text; write {key}:={value})"));
    }
    hinted
}
