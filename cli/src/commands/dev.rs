//! `crewcall dev`: everything at once, and one real job to see it work.

use std::{env, path::Path, time::Duration};

use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::{
    api::JobState,
    arguments::{DevArguments, DevCommand},
    client::{Client, ClientError, parse_url},
    commands::follow::{conclude, follow_to_end},
    dev_environment,
    dev_stack::{Addresses, DevDirectory, DevStack},
    exit::{Exit, Failure},
    log_filter, logs,
    output::{print, print_json, print_message},
    settings::LOG_DEFAULT,
    signals::Signals,
};

/// The type of the first job.
const SAMPLE_TYPE: &str = "image.thumbnail";
/// How wide its thumbnail is, in pixels.
const SAMPLE_WIDTH: u32 = 320;
/// How long the workers may take to announce themselves.
const ANNOUNCEMENT_MAX: Duration = Duration::from_secs(30);
/// How often is looked whether they did.
const ANNOUNCEMENT_LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the first job may take; it needs less than a second.
const SAMPLE_JOB_MAX: Duration = Duration::from_secs(60);

/// Starts everything, runs one job, and stays until Ctrl-C unless told otherwise.
///
/// # Errors
///
/// When a part does not start or breaks, or the job does not end well with `--once`.
pub(crate) async fn run(arguments: &DevArguments) -> Result<Exit, Failure> {
    if let Some(DevCommand::Env) = arguments.command {
        let none = "no `crewcall dev` runs in this directory; start one, or go where it runs";
        let running = dev_environment::running().ok_or_else(|| Failure::Usage(none.to_owned()))?;
        print(&running.lines())?;
        return Ok(Exit::Done);
    }
    let mut signals = Signals::listen()?;
    let filter = log_filter()?;
    for hint in unused_settings(|name| env::var_os(name).is_some(), Path::new("crewcall.toml").exists()) {
        print_message(&hint);
    }
    let directory = DevDirectory::claim().await?;
    logs::to_file(directory.create_log("backend.log")?, &filter);
    let tracker = TaskTracker::new();
    let mut stack = tokio::select! {
        opened = DevStack::open(&directory, arguments, &tracker) => opened?,
        () = signals.next() => return Err(interrupted()),
    };
    let addresses = stack.addresses();
    let outcome = tokio::select! {
        outcome = work(&addresses, &directory, arguments) => outcome,
        failure = stack.wait_for_failure(&directory) => Err(failure),
        () = signals.next() => if arguments.once { Err(interrupted()) } else { Ok(Exit::Done) },
    };
    print_message("stopping …");
    tokio::select! {
        () = stack.close() => {}
        // Dropping the parts kills them.
        () = signals.next() => print_message("stopped at once"),
    }
    outcome
}

/// The first job; then nothing, for ever, unless it is to happen once.
async fn work(
    addresses: &Addresses,
    directory: &DevDirectory,
    arguments: &DevArguments,
) -> Result<Exit, Failure> {
    introduce(addresses, directory);
    let program = own_name();
    if arguments.no_workers || arguments.worker_command.is_some() {
        print_message(&format!(
            "Start a worker of yours from another terminal in this directory: it finds the broker. One in another language, or from elsewhere, is told by\n  eval \"$({program} dev env)\"\n\nEverything stays up until Ctrl-C."
        ));
        return std::future::pending().await;
    }
    let source = directory.write_sample()?;
    print_message(&format!(
        "Submit from another terminal, in this directory:\n  {program} submit {SAMPLE_TYPE} source={source} width:={SAMPLE_WIDTH} --wait\n"
    ));
    let outcome = first_job(addresses, directory, &source).await;
    if arguments.once {
        return outcome;
    }
    if let Err(failure) = outcome {
        print_message(&format!("error: {}", failure.sentence().unwrap_or_default()));
    }
    print_message("\nEverything stays up until Ctrl-C.");
    std::future::pending().await
}

/// Says where everything is.
fn introduce(addresses: &Addresses, directory: &DevDirectory) {
    let Addresses { http, amqp_url } = addresses;
    print_message(&format!(
        "
  HTTP API   http://{http}
  API docs   http://{http}/docs
  RabbitMQ   {amqp_url}
  Data       {root} (logs: backend.log, workers.log, broker/log)
",
        root = directory.root().display()
    ));
}

async fn first_job(addresses: &Addresses, directory: &DevDirectory, source: &str) -> Result<Exit, Failure> {
    let url =
        parse_url(&format!("http://{}", addresses.http)).map_err(|reason| Failure::Part(reason.into()))?;
    let client = Client::new(url);
    if timeout(ANNOUNCEMENT_MAX, announcement(&client)).await.is_err() {
        let what = format!("no worker has announced {SAMPLE_TYPE} within {} s", ANNOUNCEMENT_MAX.as_secs());
        return Err(directory.failure(&what, "workers.log"));
    }
    print_message(&format!("submitting a first job: {SAMPLE_TYPE} of {source}"));
    let submission = json!({"type": SAMPLE_TYPE, "parameters": {"source": source, "width": SAMPLE_WIDTH}});
    let job = client.submit(&submission, None).await?.made;
    let job = follow_to_end(&client, &job, Some(SAMPLE_JOB_MAX)).await?;
    if job.state == JobState::Completed {
        print_message(&format!("job {} is completed; its result:", job.id));
        print_json(&job.result)?;
    }
    conclude(&job)
}

/// Waits until a live worker serves the type.
async fn announcement(client: &Client) {
    let is_served =
        async || -> Result<bool, ClientError> { Ok(client.job_type(SAMPLE_TYPE).await?.workers > 0) };
    // "Not found" is what the API says before the first announcement ever.
    while !is_served().await.unwrap_or(false) {
        sleep(ANNOUNCEMENT_LOOK_EVERY).await;
    }
}

/// How to call this program from here: by its name where the shell would find it, else by its path.
fn own_name() -> String {
    const NAME: &str = "crewcall";
    let Ok(own) = env::current_exe() else { return NAME.to_owned() };
    let is_found = env::var_os("PATH").is_some_and(|path| {
        let first =
            env::split_paths(&path).map(|directory| directory.join(NAME)).find(|program| program.is_file());
        first.and_then(|program| program.canonicalize().ok()) == own.canonicalize().ok()
    });
    if is_found {
        return NAME.to_owned();
    }
    let here = env::current_dir().unwrap_or_default();
    match own.strip_prefix(&here) {
        Ok(below) => quote(&Path::new(".").join(below)),
        Err(_) => quote(&own),
    }
}

/// A path as a word of the shell.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|character| character.is_alphanumeric() || "/._-+".contains(character));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Says of settings of `crewcall serve` that they are not used here.
fn unused_settings(is_set: impl Fn(&str) -> bool, has_file: bool) -> Vec<String> {
    let variables = [
        ("CREWCALL_HTTP_LISTEN", "give --http-listen"),
        ("CREWCALL_AMQP_PREFIX", "the prefix is crewcall"),
        ("CREWCALL_DATABASE_URL", "the database is in ./.crewcall"),
    ];
    let set = variables.into_iter().filter(|(name, _)| is_set(name));
    let mut hints: Vec<String> =
        set.map(|(name, instead)| format!("note: {name} is for `crewcall serve`; here {instead}")).collect();
    if has_file {
        hints.push(
            "note: crewcall.toml is for `crewcall serve`; `crewcall dev --help` says what there is here"
                .to_owned(),
        );
    }
    hints
}

fn log_filter() -> Result<String, Failure> {
    match env::var("CREWCALL_LOG") {
        Ok(text) if !text.is_empty() => {
            log_filter::read(&text).map_err(|reason| Failure::Part(format!("CREWCALL_LOG: {reason}").into()))
        }
        _ => Ok(LOG_DEFAULT.to_owned()),
    }
}

fn interrupted() -> Failure {
    Failure::Interrupted("interrupted; everything is stopped".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_backend_are_not_ignored_in_silence() {
        assert_eq!(unused_settings(|_| false, false), [""; 0]);
        let hints = unused_settings(|name| name == "CREWCALL_HTTP_LISTEN", true);
        assert!(
            hints[0].ends_with("here give --http-listen") && hints[1].contains("crewcall.toml"),
            "{hints:?}"
        );
    }

    #[test]
    fn paths_are_words_of_the_shell() {
        assert_eq!(quote(Path::new("./target/debug/crewcall")), "./target/debug/crewcall");
        assert_eq!(quote(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
