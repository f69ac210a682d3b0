//! `crewcall topology`: what should be on the broker, beside what is there.

use crate::{
    api::Document,
    arguments::TopologyArguments,
    client::{Client, ClientError},
    commands::{inspect, lists},
    diagnosis::BrokerFacts,
    exit::{Exit, Failure},
    output::print_message,
    tables::TopologyEntry,
};

/// Shows both.
///
/// # Errors
///
/// When the broker cannot be asked, or standard output fails us.
pub(crate) async fn run(client: &Client, arguments: &TopologyArguments) -> Result<Exit, Failure> {
    let TopologyArguments { broker, list } = arguments;
    let no_url = "say where the broker is, with --amqp-url or CREWCALL_AMQP_URL, as the backend was told";
    let url = inspect::amqp_url(broker).ok_or_else(|| Failure::Usage(no_url.to_owned()))?;
    let is_as_wanted = std::cell::Cell::new(true);
    lists::show(list, async || {
        let types = match client.types().await {
            Ok(types) => inspect::served(&types),
            Err(error) => {
                print_message(&format!("without the queues of job types: {}", error.cause()));
                Vec::new()
            }
        };
        match inspect::broker(Some(&url), &broker.amqp_prefix, &types).await {
            BrokerFacts::Seen(seen) => {
                let entries: Vec<Document<TopologyEntry>> =
                    seen.things.iter().map(TopologyEntry::of).collect();
                is_as_wanted.set(entries.iter().all(|entry| entry.is_as_wanted()));
                Ok(entries.into())
            }
            BrokerFacts::Unreachable(reason) => Err(ClientError::Broker(reason)),
            BrokerFacts::NotWanted | BrokerFacts::Unknown => Ok(Vec::new().into()),
        }
    })
    .await?;
    Ok(if is_as_wanted.get() { Exit::Done } else { Exit::Failed })
}
