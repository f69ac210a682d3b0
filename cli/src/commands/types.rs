//! `crewcall types ls|get|pause|resume|limit|rm`: what can be submitted, and how fast it is worked on.

use crate::{
    arguments::{Limit, LimitArguments, TypesCommand},
    client::{Client, ClientError},
    commands::jobs::actor,
    exit::{Exit, Failure},
    output::{print, print_list, print_one},
    tables,
};

/// Lists job types, shows one, or changes how fast it is worked on.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such type.
pub(crate) async fn run(client: &Client, command: &TypesCommand) -> Result<Exit, Failure> {
    match command {
        TypesCommand::Ls(output) => print_list(&client.types().await?, output.format)?,
        TypesCommand::Get { job_type, output } => {
            print_one(&client.job_type(job_type.as_str()).await?, output.format)?;
        }
        TypesCommand::Pause { job_type, actor: by } => {
            client.pause_type(job_type.as_str(), actor(by)).await?;
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
    print(&limited(job_type.as_str(), running, per_second))
}

fn limited(job_type: &str, running_max: Option<u32>, rate_per_second: Option<f64>) -> String {
    match tables::limits(running_max, rate_per_second) {
        limits if limits.is_empty() => format!("{job_type} has no limits"),
        limits => format!("{job_type} is limited: {limits}"),
    }
}
