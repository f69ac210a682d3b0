//! `crewcall doctor`: what is wrong, from what the backend says and from what the broker shows, and what to do about it.

use jiff::Timestamp;

use crate::{
    arguments::DoctorArguments,
    client::Client,
    commands::{inspect, status},
    diagnosis::{Facts, Report},
    exit::{Exit, Failure},
};

/// Looks at everything that can be reached.
///
/// # Errors
///
/// When standard output fails us. That nobody answers is a finding.
pub(crate) async fn run(client: &Client, arguments: &DoctorArguments) -> Result<Exit, Failure> {
    let asked = inspect::backend(client).await;
    let is_unreachable = asked.as_ref().is_err_and(|error| !error.is_about_the_request());
    let backend = asked.map_err(|error| error.cause());
    let types = backend.as_ref().map(|seen| inspect::served(&seen.types)).unwrap_or_default();
    let amqp_url = inspect::amqp_url(&arguments.broker);
    let broker = inspect::broker(amqp_url.as_deref(), &arguments.broker.amqp_prefix, &types).await;
    let facts = Facts { now: Timestamp::now(), url: client.url().to_string(), backend, broker };
    let report = Report::of(&facts);
    status::show(&report, arguments.output.format, true)?;
    Ok(if is_unreachable { Exit::Unreachable } else { status::exit(report.status) })
}
