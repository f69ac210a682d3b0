//! The `crewcall` command: `serve` runs the backend, `dev` everything at once; all others are clients of
//! the HTTP API.
//!
//! Reading order: [`arguments`] (what can be typed), [`commands`] (one file each), [`client`] and [`api`]
//! (the HTTP API), [`diagnosis`] (is all well?), [`output`], [`text`], [`tables`] and [`progress`] (what is shown), [`exit`] (how it ends).

mod arguments;

mod commands;

mod backend;

mod client;

mod api;

mod diagnosis;

mod parameters;

mod duration;

mod times;

mod nearest;

mod settings;

mod output;

mod text;

mod layout;

mod tables;

mod progress;

#[cfg(test)]
mod canned_backend;
#[cfg(test)]
mod terminals;

mod logs;

mod log_filter;

mod signals;

mod dev_environment;
mod dev_stack;

mod bench;

mod watched_process;

mod exit;

use crate::{
    arguments::{Arguments, Command, attach_wait_time, parameter_hint},
    exit::{Exit, Failure},
    output::{print, print_message},
};

fn main() {
    install_tls();
    commands::completion::answer_shell();
    work();
}

#[tokio::main]
async fn work() {
    let arguments = parse(&attach_wait_time(std::env::args()));
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    let outcome = run(&arguments).await;
    // Without the end of the runtime: it would wait for a read that has begun and cannot be taken back, and take the clock
    // from a link that still waits for its broker, which panics.
    std::process::exit(conclude(outcome) as i32);
}

/// Ends the process where the command line is wrong, and after `--help`.
fn parse(words: &[String]) -> Arguments {
    Arguments::read(words).unwrap_or_else(|error| match parameter_hint(&error, words) {
        Some(hint) => std::process::exit(conclude(Err(Failure::Usage(hint))) as i32),
        None => error.exit(),
    })
}

async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Dev(dev) => Box::pin(commands::dev::run(dev)).await,
        Command::Serve(flags) => Box::pin(commands::serve::run(flags)).await,
        Command::Submit(submit) => match &submit.batch {
            Some(origin) => commands::batch::run(&arguments.client()?, origin, submit).await,
            None => commands::submit::run(&arguments.client()?, submit).await,
        },
        Command::Watch(watch) => commands::watch::run(&arguments.client()?, watch).await,
        Command::Jobs(command) => commands::jobs::run(&arguments.client()?, command).await,
        Command::Ps(list) => commands::jobs::list(&arguments.client()?, list).await,
        Command::Workers(command) => commands::workers::run(&arguments.client()?, command).await,
        Command::Types(command) => commands::types::run(&arguments.client()?, command).await,
        Command::Events(command) => commands::events::run(&arguments.client()?, command).await,
        Command::Consumers(command) => commands::consumers::run(&arguments.client()?, command).await,
        Command::Workflows(command) => commands::workflows::run(&arguments.client()?, command).await,
        Command::Hooks(command) => commands::hooks::run(&arguments.client()?, command).await,
        Command::Webhooks(command) => commands::webhooks::run(&arguments.client()?, command).await,
        Command::Schedules(command) => commands::schedules::run(&arguments.client()?, command).await,
        Command::Runs(command) => commands::runs::run(&arguments.client()?, command).await,
        Command::Quarantine(command) => commands::quarantine::run(&arguments.client()?, command).await,
        Command::Status(status) => commands::status::run(&arguments.client()?, status).await,
        Command::Top => commands::top::run(&arguments.client()?).await,
        Command::Doctor(doctor) => commands::doctor::run(&arguments.client()?, doctor).await,
        Command::Topology(topology) => commands::topology::run(&arguments.client()?, topology).await,
        Command::Backup(backup) => commands::backup::back_up_to(backup).await,
        Command::Restore(restore) => commands::backup::restore_from(restore).await,
        Command::Bench(bench) => Box::pin(commands::bench::run(bench)).await,
        Command::Version => {
            print(concat!("crewcall ", env!("CARGO_PKG_VERSION")))?;
            Ok(Exit::Done)
        }
        Command::Completion { shell } => commands::completion::run(*shell),
        Command::Man { directory } => commands::man::run(directory),
    }
}

/// The HTTP client brings no cryptography of its own; ring is the one that the broker link uses too.
fn install_tls() {
    // Only fails when there is one already, and then it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn conclude(outcome: Result<Exit, Failure>) -> Exit {
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                print_message(&format!("error: {sentence}"));
            }
            failure.exit()
        }
    }
}
