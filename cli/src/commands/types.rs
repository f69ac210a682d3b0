//! `crewcall types ls|get|pause|resume|limit|rm`: what can be submitted, and how fast it is worked on.

use std::cmp::Reverse;

use crewcall_backend::domain::pattern;

use crate::{
    api::{Document, JobType},
    arguments::{Limit, LimitArguments, TypeSort, TypesCommand, TypesListArguments},
    client::{Client, ClientError},
    commands::{actions::actor, hints, lists},
    exit::{Exit, Failure},
    output::{print, print_message, print_one},
    tables,
};

/// Lists job types, shows one, or changes how fast it is worked on.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such type.
pub(crate) async fn run(client: &Client, command: &TypesCommand) -> Result<Exit, Failure> {
    match command {
        TypesCommand::Ls(arguments) => {
            lists::show(&arguments.list, async || Ok(choose(client.types().await?, arguments).into()))
                .await?;
        }
        TypesCommand::Get { job_type, output } => {
            print_one(&client.job_type(job_type.as_str()).await?, output.format)?;
        }
        TypesCommand::Pause { job_type, actor: by } => {
            client.pause_type(job_type.as_str(), actor(by)).await?;
            warn(client, job_type.as_str()).await;
            print(&format!(
                "{job_type} is paused; what has begun goes on: crewcall types resume {job_type}"
            ))?;
        }
        TypesCommand::Resume { job_type } => {
            client.resume_type(job_type.as_str()).await?;
            print(&format!("{job_type} goes on"))?;
        }
        TypesCommand::Limit(arguments) => limit(client, arguments).await?,
        TypesCommand::Rm { job_type } => {
            client.delete_type(job_type.as_str()).await?;
            print(&format!("{job_type} is forgotten"))?;
        }
    }
    Ok(Exit::Done)
}

/// Those that were asked for, in the order that was.
fn choose(mut types: Vec<Document<JobType>>, arguments: &TypesListArguments) -> Vec<Document<JobType>> {
    let TypesListArguments { job_type, sort_by, .. } = arguments;
    types.retain(|found| job_type.as_deref().is_none_or(|pattern| pattern::matches(pattern, &found.name)));
    match sort_by {
        TypeSort::Type => types.sort_by(|a, b| a.name.cmp(&b.name)),
        TypeSort::Workers => types.sort_by_key(|found| Reverse(found.workers)),
        TypeSort::Waiting => types.sort_by_key(|found| Reverse(found.waiting())),
        TypeSort::Running => types.sort_by_key(|found| Reverse(found.running())),
        TypeSort::Failed => types.sort_by_key(|found| Reverse(found.count("failed"))),
        // None is less than any time, and waits for no time at all.
        TypeSort::Oldest => {
            types.sort_by_key(|found| (found.oldest_waiting_at.is_none(), found.oldest_waiting_at.clone()));
        }
    }
    types
}

/// Sets the limits that were named. The API sets both at once: the other is sent as it is now, so of two people
/// who do this in the same moment, one may undo the other's.
async fn limit(client: &Client, arguments: &LimitArguments) -> Result<(), Failure> {
    let LimitArguments { job_type, running_max, rate } = arguments;
    let (mut running, mut per_second) = match client.job_type(job_type.as_str()).await {
        Ok(now) => (now.running_max, now.rate_per_second),
        // Whether a type may be limited that nobody knows yet is not ours to say.
        Err(ClientError::Problem(problem)) if problem.status == 404 => (None, None),
        Err(error) => return Err(error.into()),
    };
    match running_max {
        Some(Limit::Unlimited) => running = None,
        Some(Limit::AtMost(most)) => running = Some(*most),
        None => {}
    }
    match rate {
        Some(Limit::Unlimited) => per_second = None,
        Some(Limit::AtMost(most)) => per_second = Some(most.0),
        None => {}
    }
    client.limit_type(job_type.as_str(), running, per_second).await?;
    warn(client, job_type.as_str()).await;
    print(&limited(job_type.as_str(), running, per_second))
}

/// What is set for a type that nobody serves yet may be meant so, or be a slip.
async fn warn(client: &Client, name: &str) {
    if client.job_type(name).await.is_ok_and(|found| !found.announced) {
        let hint = hints::unknown_type(client, name).await;
        print_message(&format!("warning: {hint} (to undo it: crewcall types rm {name})"));
    }
}

fn limited(job_type: &str, running_max: Option<u32>, rate_per_second: Option<f64>) -> String {
    match tables::limits(running_max, rate_per_second) {
        limits if limits.is_empty() => format!("{job_type} has no limits"),
        limits => format!("{job_type} is limited: {limits}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::arguments::{Arguments, Command};

    #[test]
    fn types_are_filtered_and_sorted() {
        let types: Vec<Document<JobType>> = serde_json::from_value(json!([
            {"type": "image.crop", "workers": 1, "jobs": {"ready": 2}, "oldest_waiting_at": "2026-11-20T16:00:02Z"},
            {"type": "file.copy", "workers": 2, "jobs": {"failed": 1, "running": 4}},
            {"type": "image.blur", "workers": 0, "jobs": {"scheduled": 3}, "oldest_waiting_at": "2026-11-20T16:00:01Z"},
        ]))
        .unwrap();
        for (line, names) in [
            ("", "file.copy image.blur image.crop"),
            ("--type image.*", "image.blur image.crop"),
            ("--sort-by workers", "file.copy image.crop image.blur"),
            ("--sort-by waiting", "image.blur image.crop file.copy"),
            ("--sort-by running --type *.c*", "file.copy image.crop"),
            ("--sort-by failed --type file.*", "file.copy"),
            ("--sort-by oldest", "image.blur image.crop file.copy"),
        ] {
            let words = "crewcall types ls".split(' ').chain(line.split_whitespace());
            let Command::Types(TypesCommand::Ls(arguments)) =
                Arguments::try_parse_from(words).unwrap().command
            else {
                panic!("not types ls")
            };
            let chosen = choose(types.clone(), &arguments);
            let chosen: Vec<&str> = chosen.iter().map(|found| found.name.as_str()).collect();
            assert_eq!(chosen.join(" "), names, "{line}");
        }
    }
}
