//! What the Tab key offers: beside commands and options, the types, jobs, workers, consumers, hooks and schedules that the backend knows. Whoever presses it
//! must not wait, nor be told of trouble: a backend that does not answer at once offers nothing.

use std::{env, ffi::OsStr, path::Path, time::Duration};

use clap::Command;
use clap_complete::{
    Shell,
    engine::{ArgValueCompleter, CompletionCandidate},
    env::{CompleteEnv, Shells},
};

use crate::{
    api::{Document, JobType},
    arguments::{self, Arguments},
    client::Client,
    exit::{Exit, Failure},
    output::print,
};

/// The variable by which the scripts in the shell ask this program.
const VARIABLE: &str = "_CREWCALL_COMPLETE";
/// How long the backend has to answer.
const ANSWER_MAX: Duration = Duration::from_millis(400);
/// How many jobs are offered: the newest.
const JOBS_MAX: usize = 50;
/// The shortest beginning of an id that the backend looks for.
const PREFIX_DIGITS_MIN: usize = 6;

/// Answers a shell that asks what may follow, and ends the process; does nothing if none asks.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(command).var(VARIABLE).bin("crewcall").complete();
}

/// Prints the script.
///
/// # Errors
///
/// When standard output cannot be written.
pub(crate) fn run(shell: Shell) -> Result<Exit, Failure> {
    let completer = Shells::builtins().completer(&shell.to_string()).map(|completer| {
        let mut script = Vec::new();
        completer
            .write_registration(VARIABLE, "crewcall", "crewcall", &own_name(), &mut script)
            .map(|()| script)
    });
    let script = completer.unwrap_or_else(|| Ok(Vec::new()))?;
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// How the script finds this program: as it was called now.
fn own_name() -> String {
    let called = env::args().next().unwrap_or_default();
    let is_path = Path::new(&called).components().count() > 1;
    let own = env::current_exe().ok().filter(|_| is_path);
    own.map_or_else(|| "crewcall".to_owned(), |path| path.display().to_string())
}

/// The command line, whose arguments know what they may be.
fn command() -> Command {
    with_completers(arguments::command())
}

fn with_completers(command: Command) -> Command {
    let of = |complete: fn(&OsStr) -> Vec<CompletionCandidate>| ArgValueCompleter::new(complete);
    command
        .mut_args(|argument| match argument.get_id().as_str() {
            "job_type" => argument.add(of(types)),
            "id" | "ids" | "like" => argument.add(of(jobs)),
            "worker" => argument.add(of(workers)),
            "consumer" => argument.add(of(consumers)),
            "hook" => argument.add(of(hooks)),
            "webhook" => argument.add(of(webhooks)),
            "schedule" => argument.add(of(schedules)),
            "words" => argument.add(of(parameters)),
            _ => argument,
        })
        .mut_subcommands(with_completers)
}

fn types(written: &OsStr) -> Vec<CompletionCandidate> {
    let found = ask(async |client| client.types().await.ok()).unwrap_or_default();
    offers(
        written,
        found.iter().map(|found| (found.name.clone(), found.description.clone().unwrap_or_default())),
    )
}

fn workers(written: &OsStr) -> Vec<CompletionCandidate> {
    let Some(found) = ask(async |client| client.workers().await.ok()) else { return Vec::new() };
    let mut names: Vec<(String, String)> = Vec::new();
    for worker in &found.workers {
        let told = format!("{} on {}", worker.status, worker.host);
        let is_alone = found.workers.iter().filter(|other| other.name == worker.name).count() == 1;
        names.push((if is_alone { worker.name.clone() } else { worker.id.clone() }, told));
    }
    offers(written, names)
}

fn consumers(written: &OsStr) -> Vec<CompletionCandidate> {
    let found = ask(async |client| client.consumers().await.ok()).unwrap_or_default();
    offers(written, found.iter().map(|found| (found.name.clone(), found.state.clone())))
}

fn hooks(written: &OsStr) -> Vec<CompletionCandidate> {
    let found = ask(async |client| client.hooks().await.ok()).unwrap_or_default();
    offers(written, found.iter().map(|found| (found.name.clone(), found.subject.clone())))
}

fn webhooks(written: &OsStr) -> Vec<CompletionCandidate> {
    let found = ask(async |client| client.webhooks().await.ok()).unwrap_or_default();
    offers(written, found.iter().map(|found| (found.name.clone(), found.url.clone())))
}

fn schedules(written: &OsStr) -> Vec<CompletionCandidate> {
    let found = ask(async |client| client.schedules().await.ok()).unwrap_or_default();
    offers(written, found.iter().map(|found| (found.name.clone(), found.words.clone())))
}

fn jobs(written: &OsStr) -> Vec<CompletionCandidate> {
    let beginning = written.to_string_lossy().to_ascii_lowercase();
    let mut query = vec![("limit".to_owned(), JOBS_MAX.to_string())];
    if beginning.len() >= PREFIX_DIGITS_MIN && !beginning.starts_with('@') {
        query.push(("id_prefix".to_owned(), beginning));
    }
    let found = ask(async |client| client.jobs(&query).await.ok());
    let jobs = found.map(|page| page.jobs).unwrap_or_default();
    let offered = jobs.iter().map(|job| (job.id.clone(), format!("{} {}", job.job_type, job.state.word())));
    offers(written, offered.chain([("@last".to_owned(), "the newest".to_owned())]))
}

/// The parameters of the type that is named before them.
fn parameters(written: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<String> = env::args().collect();
    let Some(name) = type_of(&words) else { return Vec::new() };
    let Some(found) = ask(async |client| client.job_type(name).await.ok()) else { return Vec::new() };
    offers(written, of_type(&found))
}

/// The type in `… submit [OPTIONS] TYPE …`.
fn type_of(words: &[String]) -> Option<&str> {
    let after = words.iter().skip_while(|word| *word != "submit").skip(1);
    after.map(String::as_str).find(|word| !word.starts_with('-') && word.contains('.'))
}

/// `source=` and `width:=`, with what they are for.
fn of_type(found: &Document<JobType>) -> Vec<(String, String)> {
    let properties = found.parameters_schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, property)| {
            let sign = if property["type"] == "string" { "=" } else { ":=" };
            (format!("{name}{sign}"), property["description"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

/// Those that begin as it was written, with the first line of what is to be said of them.
fn offers(written: &OsStr, all: impl IntoIterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let written = written.to_string_lossy();
    let fitting = all.into_iter().filter(|(name, _)| name.starts_with(written.as_ref()));
    fitting
        .map(|(name, help)| {
            let help = help.lines().next().filter(|line| !line.is_empty()).map(|line| line.to_owned().into());
            CompletionCandidate::new(name).help(help)
        })
        .collect()
}

/// Asks the backend, if it answers at once. No runtime is there yet: the shell is answered before anything else.
fn ask<T>(question: impl AsyncFnOnce(&Client) -> Option<T>) -> Option<T> {
    let words: Vec<String> = env::args().collect();
    let named = words.iter().position(|word| word == "--url").and_then(|place| words.get(place + 1));
    let url = named.cloned().or_else(|| env::var("CREWCALL_URL").ok());
    let client = Arguments::client_of(url.as_deref()).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, question(&client)).await.ok()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_type_before_the_parameters_is_found() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            type_of(&words("crewcall -- crewcall submit --wait image.thumbnail so")),
            Some("image.thumbnail")
        );
        assert_eq!(type_of(&words("crewcall -- crewcall types get image.thumbnail")), None);
        assert_eq!(type_of(&words("crewcall -- crewcall submit")), None);
    }

    #[test]
    fn what_is_offered_begins_as_it_was_written() {
        let found: Document<JobType> = serde_json::from_value(json!({
            "type": "image.thumbnail",
            "parameters_schema": {"properties": {
                "source": {"type": "string", "description": "Path of the picture.\nReads JPEG."}, "width": {"type": "integer"}
            }},
        }))
        .unwrap();
        let offered = |written: &str| {
            let offers = offers(OsStr::new(written), of_type(&found));
            let shown = offers.iter().map(|offer| {
                let help = offer.get_help().map(ToString::to_string).unwrap_or_default();
                format!("{} {help}", offer.get_value().to_string_lossy())
            });
            shown.collect::<Vec<_>>().join("|")
        };
        assert_eq!(offered(""), "source= Path of the picture.|width:= ");
        assert_eq!(offered("w"), "width:= ");
        assert_eq!(offered("x"), "");
    }

    #[test]
    fn arguments_that_have_candidates_are_there() {
        fn count(command: &Command) -> usize {
            let own =
                command.get_arguments().filter(|argument| argument.get::<ArgValueCompleter>().is_some());
            own.count() + command.get_subcommands().map(count).sum::<usize>()
        }
        assert!(count(&command()) >= 45, "an argument has another name now");
    }
}
