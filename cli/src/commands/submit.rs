//! `crewcall submit`: hands in a job and, when asked to, stays until it ends.

use std::{io, time::Duration};

use crewcall_proto::{JobId, JobType};
use serde_json::{Map, Value, json};
use tokio::signal;
use uuid::Uuid;

use crate::{
    api::{Document, Job, JobState},
    arguments::{ActorArguments, SubmitArguments, SubmitRetries, SubmitTimes},
    client::{Client, ClientError, Submitted, operations::JobAction},
    commands::{
        actions::actor,
        follow::{completed_line, conclude, follow_to_end},
        hints,
        resend::{RESEND_MAX, send_again},
        resolve,
    },
    exit::{Exit, Failure},
    output::{Format, print_json, print_message, print_one},
    parameters::{ParameterSource, Wanted},
    tables,
};

/// The API's word for what waits for a worker of a type that none ever announced.
const NEVER_ANNOUNCED: &str = "first_worker";

/// Submits the job, and waits for it with `--wait`.
///
/// # Errors
///
/// When the parameters or the request are wrong, the backend fails us, or the job does not end well.
pub(crate) async fn run(client: &Client, arguments: &SubmitArguments) -> Result<Exit, Failure> {
    let model = match &arguments.like {
        Some(name) => Some(client.job(resolve::job(client, name).await?).await?),
        None => None,
    };
    let (job_type, words) = type_and_words(arguments, model.as_deref())?;
    let source =
        ParameterSource { words: &words, base: arguments.parameters.as_deref(), what: Wanted::Parameters };
    let parameters = source.read(io::stdin())?;
    let mut after = Vec::with_capacity(arguments.after.len());
    for name in &arguments.after {
        after.push(resolve::job(client, name).await?);
    }
    let submission = submission(arguments, &job_type, parameters, model.as_deref(), &after)?;
    if arguments.require_worker {
        require_worker(client, job_type.as_str()).await?;
    }
    let job = match submit(client, arguments, &submission).await {
        Ok(job) => job,
        Err(error) => {
            let found = client.job_type(job_type.as_str()).await.ok();
            return Err(hints::with_hints(error, &source, found.as_ref()).into());
        }
    };
    warn(client, &job, &submission).await;
    let Some(wait) = arguments.wait else {
        if let Some(waiting) = tables::waiting(&job) {
            print_message(&format!("the job {waiting}"));
        }
        print_one(&job, arguments.output.unwrap_or(Format::Name))?;
        return Ok(Exit::Done);
    };
    let job = tokio::select! {
        ended = follow_to_end(client, &job, wait.map(Duration::from_secs)) => ended?,
        _ = signal::ctrl_c() => return Err(interrupted(client, arguments, &job).await),
    };
    match arguments.output {
        Some(format) => print_one(&job, format)?,
        None if job.state == JobState::Completed => print_json(&job.result)?,
        None => {}
    }
    if job.state == JobState::Completed {
        print_message(&completed_line(&job));
    }
    conclude(&job)
}

/// The type, and the words that are parameters: with `--like` the type may be left out.
fn type_and_words(
    arguments: &SubmitArguments,
    model: Option<&Job>,
) -> Result<(JobType, Vec<String>), Failure> {
    let mut words = arguments.words.clone();
    let name = match (&arguments.job_type, model) {
        (Some(word), Some(model)) if word.contains('=') || word == "-" => {
            words.insert(0, word.clone());
            model.job_type.clone()
        }
        (Some(word), _) if word.contains('=') => {
            return Err(Failure::Usage(format!("name the job type first: crewcall submit TYPE {word}")));
        }
        (Some(name), _) => name.clone(),
        (None, Some(model)) => model.job_type.clone(),
        (None, None) => {
            let what = "name the job type, such as image.thumbnail, or a --batch, or a job with --like";
            return Err(Failure::Usage(what.to_owned()));
        }
    };
    let job_type: Result<JobType, _> = name.parse();
    let job_type = job_type.map_err(|error| Failure::Usage(error.to_string()))?;
    Ok((job_type, words))
}

/// Whether somebody is there to run it.
async fn require_worker(client: &Client, name: &str) -> Result<(), Failure> {
    let is_known = match client.job_type(name).await {
        Ok(found) if found.workers > 0 => return Ok(()),
        Ok(found) => found.announced,
        Err(ClientError::Problem(problem)) if problem.status == 404 => false,
        Err(error) => return Err(error.into()),
    };
    let reason = if is_known {
        format!("no worker serves {name} now; crewcall workers ls shows who is there")
    } else {
        hints::unknown_type(client, name).await
    };
    Err(Failure::Usage(format!("{reason} Nothing was submitted")))
}

/// Says what looks like a slip in what was accepted.
async fn warn(client: &Client, job: &Job, submission: &Value) {
    if job.waiting_for.as_ref().is_some_and(|waiting| waiting.reason == NEVER_ANNOUNCED) {
        let hint = hints::unknown_type(client, &job.job_type).await;
        print_message(&format!("warning: {hint}"));
        return;
    }
    let Some(parameters) = submission["parameters"].as_object().filter(|given| !given.is_empty()) else {
        return;
    };
    // A hint is not worth a failure.
    if let Ok(found) = client.job_type(&job.job_type).await {
        for hint in hints::unknown_parameters(&found, parameters) {
            print_message(&format!("warning: {hint}"));
        }
    }
}

/// What becomes of the job after Ctrl-C.
async fn interrupted(client: &Client, arguments: &SubmitArguments, job: &Job) -> Failure {
    let id = &job.id;
    let goes_on =
        format!("the job goes on; follow it: crewcall watch {id}; or stop it: crewcall jobs cancel {id}");
    if !arguments.cancel_on_interrupt {
        return Failure::Interrupted(goes_on);
    }
    let Ok(job_id) = id.parse() else { return Failure::Interrupted(goes_on) };
    let by = ActorArguments { by: None, reason: Some("the wait was interrupted".to_owned()) };
    match client.act(job_id, JobAction::Cancel(actor(&by))).await {
        Ok(job) if job.state == JobState::Cancelled => Failure::Interrupted(format!("job {id} is cancelled")),
        Ok(_) => Failure::Interrupted(format!("job {id} will be cancelled as soon as its worker stops")),
        Err(error) => Failure::Interrupted(format!("{goes_on}; it could not be cancelled: {error}")),
    }
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
        return Ok(client.submit(submission, None).await?.made);
    };
    let resend_for =
        arguments.wait.flatten().map_or(RESEND_MAX, |wait| RESEND_MAX.min(Duration::from_secs(wait)));
    let submitted = send_again(|| client.submit(submission, Some(&key)), resend_for, "submitting").await;
    match submitted {
        Ok(Submitted { made: job, replayed }) => {
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

fn submission(
    arguments: &SubmitArguments,
    job_type: &JobType,
    parameters: Map<String, Value>,
    model: Option<&Job>,
    after: &[JobId],
) -> Result<Value, Failure> {
    let mut labels = labels(&arguments.labels)?;
    let mut submission = Map::new();
    if let Some(model) = model {
        let copied = said([
            ("parameters", Some(model.parameters.clone())),
            ("priority", model.priority.map(|priority| json!(priority))),
            ("max_attempts", (model.max_attempts > 0).then(|| json!(model.max_attempts))),
            ("timeout_seconds", model.timeout_seconds.map(|seconds| json!(seconds))),
            ("backoff", model.backoff.as_ref().map(|backoff| json!(backoff))),
        ]);
        submission.extend(copied);
        for (name, value) in &model.labels {
            labels.entry(name.clone()).or_insert_with(|| json!(value));
        }
    }
    let mut all_parameters = submission.remove("parameters").and_then(|all| all.as_object().cloned());
    let all_parameters = all_parameters.get_or_insert_default();
    all_parameters.extend(parameters);
    let parameters = std::mem::take(all_parameters);
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
    let mut backoff_of_model = submission.remove("backoff").and_then(|backoff| backoff.as_object().cloned());
    let backoff = match &mut backoff_of_model {
        Some(model) => {
            model.extend(backoff);
            std::mem::take(model)
        }
        None => backoff,
    };
    submission.extend(said([
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
        ("after", (!after.is_empty()).then(|| json!(after))),
        ("after_failure", arguments.after_failure.map(|what| json!(what.word()))),
    ]));
    Ok(Value::Object(submission))
}

/// The labels that were given, each once.
pub(super) fn labels(given: &[(String, String)]) -> Result<Map<String, Value>, Failure> {
    let mut labels = Map::new();
    for (key, value) in given {
        if labels.insert(key.clone(), json!(value)).is_some() {
            return Err(Failure::Usage(format!("the label '{key}' is given twice; write it once")));
        }
    }
    Ok(labels)
}

/// Only what was said, so that the defaults stay the backend's.
pub(super) fn said<const COUNT: usize>(fields: [(&str, Option<Value>); COUNT]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        arguments::{Arguments, Command},
        canned_backend::{CannedBackend, answer},
    };

    fn read(line: &str) -> Result<Value, Failure> {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Submit(submit) = arguments.command else { panic!("not submit") };
        submission(&submit, &submit.job_type.as_deref().unwrap().parse().unwrap(), Map::new(), None, &[])
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
    fn a_job_like_another_has_what_is_not_said_anew() {
        let model: Job = serde_json::from_value(json!({
            "id": "j", "type": "image.crop", "state": "failed", "parameters": {"source": "a.jpg", "width": 640},
            "labels": {"project": "x", "run": "1"}, "priority": 7, "max_attempts": 3, "timeout_seconds": 90.0,
            "backoff": {"initial_seconds": 2.0, "factor": 2.0, "max_seconds": 600.0, "jitter": 0.1},
        }))
        .unwrap();
        let read = |line: &str| {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            let Command::Submit(submit) = arguments.command else { panic!("not submit") };
            let (job_type, words) = type_and_words(&submit, Some(&model)).unwrap();
            let parameters =
                ParameterSource { words: &words, ..ParameterSource::default() }.read(io::empty()).unwrap();
            submission(&submit, &job_type, parameters, Some(&model), &[]).unwrap()
        };
        let like = "crewcall submit --like @last";
        insta::assert_json_snapshot!(read(like));
        let changed = read(&format!("{like} width:=320 --label run=2 --backoff-factor 3 --priority 0"));
        assert_eq!(changed["parameters"], json!({"source": "a.jpg", "width": 320}));
        assert_eq!(changed["labels"], json!({"project": "x", "run": "2"}));
        assert_eq!((&changed["priority"], &changed["backoff"]["factor"]), (&json!(0), &json!(3.0)));
        assert_eq!(changed["backoff"]["max_seconds"], json!(600.0));
        assert_eq!(read(&format!("{like} image.blur"))["type"], "image.blur");
    }

    #[test]
    fn the_type_comes_first() {
        let refusals =
            ["crewcall submit", "crewcall submit source=a.jpg", "crewcall submit Image"].map(|line| {
                let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
                let Command::Submit(submit) = arguments.command else { panic!("not submit") };
                type_and_words(&submit, None).unwrap_err().to_string()
            });
        insta::assert_snapshot!(refusals.join("\n"));
    }

    #[test]
    fn a_label_is_given_once() {
        assert!(read("crewcall submit t --label a=1 --label a=2").is_err());
    }

    const CREATED: (&str, &str, &str) =
        ("201 Created", "application/json", r#"{"id": "j", "type": "t", "state": "ready"}"#);

    #[tokio::test]
    async fn whoever_waits_submits_again_under_the_same_key() {
        let (backend, client) = CannedBackend::listen().await;
        let arguments = Arguments::try_parse_from(["crewcall", "submit", "t", "--wait"]).unwrap();
        let Command::Submit(arguments) = arguments.command else { panic!("not submit") };
        let submission = json!({"type": "t", "parameters": {}});
        let answers = [String::new(), answer(CREATED)];
        let (job, heard) = tokio::join!(submit(&client, &arguments, &submission), backend.give(answers));
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
        let (backend, client) = CannedBackend::listen().await;
        let arguments = Arguments::try_parse_from(["crewcall", "submit", "t"]).unwrap();
        let Command::Submit(arguments) = arguments.command else { panic!("not submit") };
        let submission = json!({"type": "t", "parameters": {}});
        let job = tokio::select! {
            job = submit(&client, &arguments, &submission) => job,
            _ = backend.give([String::new(), answer(CREATED)]) => panic!("submitted twice"),
        };
        assert!(matches!(job, Err(ClientError::Unreachable { .. })));
    }
}
