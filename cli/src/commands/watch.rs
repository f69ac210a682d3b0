//! `crewcall watch`: a line for every change of one job, or of all.

use crewcall_proto::JobId;

use crate::{
    api::{Document, Job, JobState},
    arguments::{FilterArguments, WatchArguments},
    client::{
        Client,
        follow::{ABSENCE_MAX, FeedEvent},
    },
    commands::submit::conclude,
    exit::{Exit, Failure},
    output::{Format, print, print_message, print_one},
    progress::{BACK, went_away},
    tables::remark,
};

/// Follows one job until it ends, or all jobs until we are stopped.
///
/// # Errors
///
/// When the backend or standard output fails us, or the job did not end well.
pub(crate) async fn run(client: &Client, arguments: &WatchArguments) -> Result<Exit, Failure> {
    match arguments.id {
        Some(id) => watch_one(client, id, arguments.output.format).await,
        None => watch_all(client, arguments).await,
    }
}

async fn watch_one(client: &Client, id: JobId, format: Format) -> Result<Exit, Failure> {
    // Asked once in plain: a wrong id or an absent backend is an error at once, not a reason to wait.
    client.job(id).await?;
    let mut feed = client.follow_job(id, Some(ABSENCE_MAX));
    loop {
        match feed.next().await? {
            FeedEvent::Job(job) => {
                print_change(&job, format)?;
                if job.state.is_terminal() {
                    return conclude(&job);
                }
            }
            FeedEvent::Reset => {}
            FeedEvent::Lost(reason) => print_message(&went_away(&reason)),
            FeedEvent::Back => print_message(BACK),
        }
    }
}

async fn watch_all(client: &Client, arguments: &WatchArguments) -> Result<Exit, Failure> {
    let (state, job_type) = (arguments.state.clone(), arguments.job_type.clone());
    let filter = FilterArguments { state, job_type, ..FilterArguments::default() };
    let mut feed = client.follow_all(&filter.query());
    loop {
        match feed.next().await? {
            FeedEvent::Job(job) => print_change(&job, arguments.output.format)?,
            FeedEvent::Reset => {
                print_message("some changes were missed; `crewcall jobs ls` shows how things stand");
            }
            FeedEvent::Lost(reason) => print_message(&went_away(&reason)),
            FeedEvent::Back => print_message(BACK),
        }
    }
}

fn print_change(job: &Document<Job>, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => print(&line(job)),
        Format::Json | Format::Jsonl | Format::Name => print_one(job, format),
    }
}

/// `0192e4a0-… image.thumbnail running 40% resizing`; the columns stand still, so that eyes can follow.
fn line(job: &Job) -> String {
    let state = if job.state == JobState::Unknown { "?" } else { job.state.word() };
    let line = format!("{} {} {state:<10} {}", job.id, job.job_type, crate::text::shorten(&remark(job), 200));
    line.trim_end().to_owned()
}
