//! `crewcall submit`: hands in a job and, when asked to, stays until it ends.

use std::{io, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use crewcall_proto::{JobId, JobType};
use serde_json::{Map, Value, json};
use tokio::{
    signal,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    api::{Document, Job, JobState, Mistake, Problem},
    arguments::{SubmitArguments, SubmitRetries, SubmitTimes},
    client::{
        Client, ClientError, Submitted,
        follow::{ABSENCE_MAX, FeedEvent},
    },
    exit::{Exit, Failure},
    output::{Format, print_json, print_message, print_one},
    parameters::{Form, ParameterSource},
    progress::ProgressDisplay,
    tables,
};

/// How long a submission under a key is sent again while the backend is away: longer than it takes to restart.
const RESEND_MAX: Duration = Duration::from_secs(30);
/// The first pause before it is sent again.
const RESEND_PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause before it is sent again.
const RESEND_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Submits the job, and waits for it with `--wait`.
///
/// # Errors
///
/// When the parameters or the request are wrong, the backend fails us, or the job does not end well.
pub(crate) async fn run(client: &Client, arguments: &SubmitArguments) -> Result<Exit, Failure> {
    let Some(job_type) = &arguments.job_type else {
        return Err(Failure::Usage("name the job type, such as image.thumbnail, or a --batch".to_owned()));
    };
    let source = ParameterSource { words: &arguments.words, base: arguments.parameters.as_deref() };
    let parameters = source.read(io::stdin())?;
    let submission = submission(arguments, job_type, parameters)?;
    let job = submit(client, arguments, &submission).await.map_err(|error| with_hints(error, &source))?;
    let Some(wait) = arguments.wait else {
        if let Some(waiting) = tables::waiting(&job) {
            print_message(&format!("the job {waiting}"));
        }
        print_one(&job, arguments.output.unwrap_or(Format::Name))?;
        return Ok(Exit::Done);
    };
    let job = tokio::select! {
        ended = follow_to_end(client, &job, wait.map(Duration::from_secs)) => ended?,
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

/// Submits the job. Under a key it is sent again while the backend is away; whoever waits for the end of the
/// job gets a key, since a restart of the backend should not end their wait.
async fn submit(
    client: &Client,
    arguments: &SubmitArguments,
    submission: &Value,
) -> Result<Document<Job>, ClientError> {
    let asked = arguments.idempotency_key.clone();
    let Some(key) = asked.clone().or_else(|| arguments.wait.map(|_| Uuid::now_v7().to_string())) else {
        return Ok(client.submit(submission, None).await?.job);
    };
    let resend_for =
        arguments.wait.flatten().map_or(RESEND_MAX, |wait| RESEND_MAX.min(Duration::from_secs(wait)));
    let pauses = ExponentialBuilder::default()
        .with_min_delay(RESEND_PAUSE_MIN)
        .with_max_delay(RESEND_PAUSE_MAX)
        .with_total_delay(Some(resend_for))
        .without_max_times()
        .with_jitter();
    let mut is_told = false;
    let submitted = (|| client.submit(submission, Some(&key)))
        .retry(pauses)
        .sleep(sleep)
        .when(ClientError::is_retryable)
        .notify(|error, _| {
            if !is_told {
                print_message(&format!(
                    "{error}\nsubmitting again, for at most {} s …",
                    resend_for.as_secs()
                ));
                is_told = true;
            }
        })
        .await;
    match submitted {
        Ok(Submitted { job, replayed }) => {
            if replayed && asked.is_some() {
                print_message(
                    "this key was used before, for the same submission: this is the job that it made",
                );
            }
            Ok(job)
        }
        Err(error) => {
            if error.is_retryable() {
                print_message(&format!(
                    "to submit again without making a second job, add --idempotency-key {key}"
                ));
            }
            Err(error)
        }
    }
}

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
        JobState::Cancelled => {
            let by = job.cancellation.as_ref().map(|note| format!(" by {}", tables::by_whom(note)));
            Err(Failure::Job {
                exit: Exit::Cancelled,
                message: format!("job {} was cancelled{}; {attempts}", job.id, by.unwrap_or_default()),
            })
        }
        JobState::Scheduled
        | JobState::Ready
        | JobState::Unroutable
        | JobState::Dispatched
        | JobState::Running
        | JobState::Completed
        | JobState::Unknown => Ok(Exit::Done),
    }
}

fn submission(
    arguments: &SubmitArguments,
    job_type: &JobType,
    parameters: Map<String, Value>,
) -> Result<Value, Failure> {
    let mut labels = Map::new();
    for (key, value) in &arguments.labels {
        if labels.insert(key.clone(), json!(value)).is_some() {
            return Err(Failure::Usage(format!("the label '{key}' is given twice; write it once")));
        }
    }
    let SubmitTimes { run_at, delay, expires_at, timeout } = &arguments.times;
    let SubmitRetries { max_attempts, backoff_initial, backoff_factor, backoff_max, backoff_jitter } =
        &arguments.retries;
    let seconds = |duration: &Option<Duration>| duration.map(|duration| json!(duration.as_secs_f64()));
    let backoff = said([
        ("initial_seconds", seconds(backoff_initial)),
        ("factor", backoff_factor.map(|factor| json!(factor.0))),
        ("max_seconds", seconds(backoff_max)),
        ("jitter", backoff_jitter.map(|jitter| json!(jitter.0))),
    ]);
    Ok(Value::Object(said([
        ("type", Some(json!(job_type.as_str()))),
        ("parameters", Some(Value::Object(parameters))),
        ("priority", arguments.priority.map(|priority| json!(priority))),
        ("max_attempts", max_attempts.map(|max_attempts| json!(max_attempts))),
        ("labels", (!labels.is_empty()).then_some(Value::Object(labels))),
        ("run_at", run_at.map(|time| json!(time.to_string()))),
        ("delay_seconds", seconds(delay)),
        ("expires_at", expires_at.map(|time| json!(time.to_string()))),
        ("timeout_seconds", seconds(timeout)),
        ("backoff", (!backoff.is_empty()).then_some(Value::Object(backoff))),
    ])))
}

/// Only what was said, so that the defaults stay the backend's.
fn said<const COUNT: usize>(fields: [(&str, Option<Value>); COUNT]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn read(line: &str) -> Result<Value, Failure> {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Submit(submit) = arguments.command else { panic!("not submit") };
        submission(&submit, submit.job_type.as_ref().unwrap(), Map::new())
    }

    #[test]
    fn only_what_was_said_is_sent() {
        assert_eq!(read("crewcall submit t").unwrap(), json!({"type": "t", "parameters": {}}));
        let all = "crewcall submit t --label a=b --priority 9 --delay 90s --expires-at 2026-11-20T16:00:00Z \
                   --timeout 2h --max-attempts 3 --backoff-initial 250ms --backoff-factor 1.5 --backoff-max 5m \
                   --backoff-jitter 0";
        insta::assert_json_snapshot!(read(all).unwrap());
    }

    #[test]
    fn a_label_is_given_once() {
        assert!(read("crewcall submit t --label a=1 --label a=2").is_err());
    }

    /// A backend that hangs up on the first submission and answers the second. Gives back what it read.
    async fn restarting_backend(listener: TcpListener) -> [String; 2] {
        let mut heard = [String::new(), String::new()];
        for (turn, text) in heard.iter_mut().enumerate() {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            while !text.ends_with("{}}") {
                let read = connection.read(&mut bytes).await.unwrap();
                text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
            if turn == 1 {
                let body = r#"{"id": "j", "type": "t", "state": "ready"}"#;
                let head = format!("content-type: application/json\r\ncontent-length: {}", body.len());
                let answer = format!("HTTP/1.1 201 Created\r\n{head}\r\n\r\n{body}");
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        }
        heard
    }

    #[tokio::test]
    async fn whoever_waits_submits_again_under_the_same_key() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let arguments = Arguments::try_parse_from(["crewcall", "submit", "t", "--wait"]).unwrap();
        let Command::Submit(arguments) = arguments.command else { panic!("not submit") };
        let (client, submission) = (Client::new(url), json!({"type": "t", "parameters": {}}));
        let (job, heard) =
            tokio::join!(submit(&client, &arguments, &submission), restarting_backend(listener));
        assert_eq!(job.unwrap().id, "j");
        let keys = heard.map(|text| {
            let key = text.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned));
            key.unwrap()
        });
        assert_eq!(keys[0], keys[1]);
        assert!(keys[0].parse::<Uuid>().is_ok(), "{}", keys[0]);
    }

    #[tokio::test]
    async fn without_a_key_nothing_is_submitted_twice() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let arguments = Arguments::try_parse_from(["crewcall", "submit", "t"]).unwrap();
        let Command::Submit(arguments) = arguments.command else { panic!("not submit") };
        let (client, submission) = (Client::new(url), json!({"type": "t", "parameters": {}}));
        let job = tokio::select! {
            job = submit(&client, &arguments, &submission) => job,
            _ = restarting_backend(listener) => panic!("submitted twice"),
        };
        assert!(matches!(job, Err(ClientError::Unreachable { .. })));
    }
}
