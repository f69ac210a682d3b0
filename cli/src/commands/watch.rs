//! `crewcall watch`: a line for every change of one job, or of all.

use crewcall_proto::JobId;

use crate::{
    api::{Document, Job, JobState},
    arguments::{FilterArguments, WatchArguments},
    client::{
        Client,
        follow::{ABSENCE_MAX, FeedEvent},
    },
    commands::{follow::conclude, resolve},
    exit::{Exit, Failure},
    layout::fit,
    output::{Format, View, print, print_message, print_one},
    progress::{BACK, went_away},
    tables::remark,
    text::shorten,
};

/// How much of a remark is told where no terminal ends the line, in characters.
const REMARK_CHARACTERS_MAX: usize = 200;

/// Follows one job until it ends, or all jobs until we are stopped.
///
/// # Errors
///
/// When the backend or standard output fails us, or the job did not end well.
pub(crate) async fn run(client: &Client, arguments: &WatchArguments) -> Result<Exit, Failure> {
    match &arguments.id {
        Some(name) => {
            let id = resolve::job(client, name).await?;
            watch_one(client, id, arguments.output.format).await
        }
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
        Format::Table => print(&line(job, &View::of_stdout(format))),
        Format::Wide => print(&line(job, &View { width: None, ..View::of_stdout(format) })),
        Format::Json | Format::Jsonl | Format::Name => print_one(job, format),
    }
}

/// `0192e4a0-7c41 image.thumbnail running    40% resizing`: one line on a terminal, with the whole id elsewhere.
fn line(job: &Job, view: &View) -> String {
    let state = if job.state == JobState::Unknown { "?" } else { job.state.word() };
    let id = if view.width.is_some() { resolve::short(&job.id) } else { &job.id };
    let line = format!("{id} {} {state:<10} {}", job.job_type, shorten(&remark(job), REMARK_CHARACTERS_MAX));
    let line = line.trim_end();
    view.width.map_or_else(|| line.to_owned(), |width| fit(line, width))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminals::{on_terminals, view};

    #[test]
    fn a_change_is_a_line() {
        let no_message = format!("no picture in {}", "a/very/long/path/".repeat(20));
        let jobs = [
            json!({"state": "running", "progress": {"percent": 40.4, "message": "resizing"}}),
            json!({"state": "failed", "error": {"kind": "handler", "message": no_message}}),
            json!({"state": "completed"}),
            json!({"state": "petrified"}),
        ];
        let jobs = jobs.map(|mut job| {
            job["id"] = "0192e4a0-0000-7000-8000-000000000001".into();
            job["type"] = "image.thumbnail".into();
            serde_json::from_value::<Job>(job).unwrap()
        });
        let drawn = |view: &View| jobs.iter().map(|job| line(job, view)).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(format!("{}\n\n{}", on_terminals(drawn), drawn(&view(None, false))));
    }
}
