//! `crewcall status`: whether all is well, on one screen, from what the backend says.

use jiff::Timestamp;

use crate::{
    arguments::StatusArguments,
    client::Client,
    commands::inspect,
    diagnosis::{BrokerFacts, Facts, Report, Status},
    exit::{Exit, Failure},
    output::{Format, View, print_json, print_jsonl, print_lines},
    tables,
};

/// Shows the status.
///
/// # Errors
///
/// When the backend cannot be asked, or standard output fails us.
pub(crate) async fn run(client: &Client, arguments: &StatusArguments) -> Result<Exit, Failure> {
    let backend = Ok(inspect::backend(client).await?);
    let url = client.url().to_string();
    let report = Report::of(&Facts { now: Timestamp::now(), url, backend, broker: BrokerFacts::NotWanted });
    show(&report, arguments.output.format, false)?;
    Ok(exit(report.status))
}

/// Prints a report; with what to do about each finding, if that is wanted.
///
/// # Errors
///
/// When standard output fails us.
pub(super) fn show(report: &Report, format: Format, with_fixes: bool) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => {
            print_lines(&tables::report(report, &View::of_stdout(format), with_fixes))
        }
        Format::Json => print_json(report),
        Format::Jsonl => report.findings.iter().try_for_each(|finding| {
            print_jsonl(&serde_json::to_value(finding).expect("a finding has texts only"))
        }),
        Format::Name => report.findings.iter().try_for_each(|finding| print_lines(finding.code)),
    }
}

/// The exit code that goes with a status.
pub(super) fn exit(status: Status) -> Exit {
    match status {
        Status::Ok => Exit::Done,
        Status::Warning => Exit::Attention,
        Status::Error => Exit::Failed,
    }
}
