//! `crewcall jobs cancel|retry`: what people do to jobs, by id or by filter.

use std::sync::LazyLock;

use nix::unistd::{User, getuid};
use serde_json::{Map, Value, json};

use crate::{
    api::{BulkOutcome, Job, JobState},
    arguments::{ActionArguments, ActorArguments, JobName},
    client::{
        Client, ClientError,
        operations::{Actor, JobAction},
    },
    commands::resolve,
    exit::{Exit, Failure},
    output::{Format, print, print_json, print_message, print_one},
};

/// Does something to the jobs that were named, or to all that a filter lets through.
///
/// # Errors
///
/// When no jobs were chosen, or the backend or standard output fails us.
pub(crate) async fn run(
    client: &Client,
    action: JobAction<'_>,
    arguments: &ActionArguments,
) -> Result<Exit, Failure> {
    let (target, format) = (&arguments.target, arguments.output.format);
    if !target.ids.is_empty() {
        return each(client, action, &target.ids, format).await;
    }
    let filter = target.filter.body();
    if filter.is_empty() && !target.all {
        return Err(Failure::Usage(
            "which jobs? Name them by their ids, choose them by --state, --type, --label, --since or --until, or \
             say --all"
                .to_owned(),
        ));
    }
    let outcome = all(client, action, &filter, target.dry_run).await?;
    match format {
        Format::Table | Format::Wide | Format::Name => print(&sentence(action, outcome, target.dry_run))?,
        Format::Json | Format::Jsonl => {
            print_json(
                &json!({"matched": outcome.matched, "changed": outcome.changed, "more": outcome.more}),
            )?;
        }
    }
    Ok(Exit::Done)
}

/// One after the other. A job for which it cannot be does not keep the others from it.
async fn each(
    client: &Client,
    action: JobAction<'_>,
    names: &[JobName],
    format: Format,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for name in names {
        let id = match resolve::job(client, name).await {
            Ok(id) => id,
            Err(Failure::Usage(reason)) => {
                print_message(&format!("error: {reason}"));
                exit = Exit::Usage;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        match client.act(id, action).await {
            Ok(job) => match format {
                Format::Table | Format::Wide => print(&line(action, &job))?,
                Format::Json | Format::Jsonl | Format::Name => print_one(&job, format)?,
            },
            Err(ClientError::Problem(problem)) if matches!(problem.status, 404 | 409) => {
                print_message(&format!("error: {id}: {problem}"));
                exit = Exit::Usage;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(exit)
}

/// Who does something, and why, as far as it is known.
pub(crate) fn actor(arguments: &ActorArguments) -> Actor<'_> {
    /// The name of the user whom this process belongs to, for where no variable says it: cron, units, containers.
    static USER: LazyLock<Option<String>> =
        LazyLock::new(|| User::from_uid(getuid()).ok().flatten().map(|user| user.name));
    let said = arguments.by.as_deref().filter(|by| !by.is_empty());
    Actor { by: said.or_else(|| USER.as_deref()), reason: arguments.reason.as_deref() }
}

/// Asks until nothing is left: the backend changes some thousands at once.
async fn all(
    client: &Client,
    action: JobAction<'_>,
    filter: &Map<String, Value>,
    dry_run: bool,
) -> Result<BulkOutcome, ClientError> {
    let mut sum = BulkOutcome::default();
    loop {
        let step = client.act_on_all(action, filter, dry_run).await?;
        sum.matched += step.matched;
        sum.changed += step.changed;
        sum.more = step.more;
        // A step without a change would be followed by the same step: its jobs wait for their workers.
        if !step.more || step.changed == 0 {
            return Ok(sum);
        }
        print_message(&format!("{} so far …", jobs(sum.changed)));
    }
}

/// `0192e4a0-… cancelled`
fn line(action: JobAction<'_>, job: &Job) -> String {
    match (action, job.state) {
        (JobAction::Cancel(_), JobState::Cancelled) => format!("{} is cancelled", job.id),
        (JobAction::Cancel(_), state) => {
            format!("{} is {} and will be cancelled as soon as its worker stops", job.id, state.word())
        }
        (JobAction::Retry(_), state) => format!("{} is {} again", job.id, state.word()),
    }
}

fn sentence(action: JobAction<'_>, outcome: BulkOutcome, dry_run: bool) -> String {
    let BulkOutcome { matched, changed, more } = outcome;
    let (deed, done, others) = match (action, changed) {
        (JobAction::Cancel(_), 1) => {
            ("be cancelled", "is cancelled, or will be as soon as its worker stops", CANCEL_OTHERS)
        }
        (JobAction::Cancel(_), _) => {
            ("be cancelled", "are cancelled, or will be as soon as their workers stop", CANCEL_OTHERS)
        }
        (JobAction::Retry(_), _) => ("be retried", "will be retried", RETRY_OTHERS),
    };
    match (matched, changed, dry_run) {
        (0, ..) => format!("no matching job can {deed}"),
        (_, _, true) => {
            let at_least = if more { "at least " } else { "" };
            format!("{at_least}{} would {deed}", jobs(matched))
        }
        (_, _, false) => {
            let left = matched.saturating_sub(changed);
            let others = if left == 0 { String::new() } else { format!("; {left} {others}") };
            let rest = if more { "; there are more: ask again later" } else { "" };
            format!("{} {done}{others}{rest}", jobs(changed))
        }
    }
}

/// Why jobs matched and were not cancelled.
const CANCEL_OTHERS: &str = "more were being cancelled already, or ended meanwhile";
/// Why jobs matched and are not retried.
const RETRY_OTHERS: &str = "more changed meanwhile";

fn jobs(count: u64) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_not_say_who_they_are_is_asked_of_the_system() {
        let named = |by: &str| ActorArguments { by: Some(by.to_owned()), reason: None };
        assert_eq!(actor(&named("ann")).by, Some("ann"));
        let system =
            String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        for nobody in [ActorArguments::default(), named("")] {
            assert_eq!(actor(&nobody).by, Some(system.trim()));
        }
    }

    #[test]
    fn what_was_done_is_a_sentence() {
        let cancel = JobAction::Cancel(Actor::default());
        let retry = JobAction::Retry(Actor::default());
        let outcome = |matched, changed, more| BulkOutcome { matched, changed, more };
        let sentences = [
            sentence(cancel, outcome(0, 0, false), false),
            sentence(cancel, outcome(12, 0, false), true),
            sentence(cancel, outcome(10_000, 0, true), true),
            sentence(cancel, outcome(12, 12, false), false),
            sentence(cancel, outcome(12, 1, false), false),
            sentence(cancel, outcome(10_000, 0, true), false),
            sentence(retry, outcome(0, 0, false), true),
            sentence(retry, outcome(1, 0, false), true),
            sentence(retry, outcome(12, 12, false), false),
        ];
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
