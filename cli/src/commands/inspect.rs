//! Looks at the backend and the broker, for whoever judges what is seen.

use crewcall_amqp::{Declaration, Found, Inspector, LinkConfig, LinkError, Right};
use crewcall_backend::broker::topology;
use crewcall_proto::{JobType, Topology};
use jiff::Timestamp;
use url::Url;

use crate::{
    api::Document,
    arguments::BrokerArguments,
    client::{Client, ClientError},
    dev_environment,
    diagnosis::{BackendFacts, BrokerFacts, Inspection, Thing},
};

/// What the broker's tools show as the name of our connection.
const CONNECTION_NAME: &str = "crewcall doctor";

/// Asks the backend for everything that shows how it is.
///
/// # Errors
///
/// When it cannot be asked.
pub(super) async fn backend(client: &Client) -> Result<BackendFacts, ClientError> {
    let readiness = client.readiness().await?;
    let answered_at = Some(Timestamp::now());
    let (types, workers, metrics) = tokio::try_join!(client.types(), client.workers(), client.metrics())?;
    Ok(BackendFacts { readiness, answered_at, types, workers: workers.workers, metrics })
}

/// Where the broker is: as it was said, or the one of a `crewcall dev` that runs here.
pub(super) fn amqp_url(arguments: &BrokerArguments) -> Option<String> {
    let said = arguments.amqp_url.clone().filter(|url| !url.is_empty());
    said.or_else(|| dev_environment::running().map(|running| running.amqp_url))
}

/// The names of the types that should have a queue.
pub(super) fn served(types: &[Document<crate::api::JobType>]) -> Vec<JobType> {
    let announced = types.iter().filter(|found| found.announced && found.refused.is_none());
    announced.filter_map(|found| found.name.parse().ok()).collect()
}

/// Looks at everything that an installation with these types has on the broker.
pub(super) async fn broker(amqp_url: Option<&str>, names: &Topology, types: &[JobType]) -> BrokerFacts {
    let Some(url) = amqp_url else { return BrokerFacts::Unknown };
    match inspection(url, names, types).await {
        Ok(seen) => BrokerFacts::Seen(seen),
        Err(error) => BrokerFacts::Unreachable(error.to_string()),
    }
}

async fn inspection(url: &str, names: &Topology, types: &[JobType]) -> Result<Inspection, LinkError> {
    let mut inspector = Inspector::connect(&LinkConfig::new(url, CONNECTION_NAME)).await?;
    // Whose the names are is nobody's business here: the inspector does not compare it.
    let mut wanted = topology::declarations(names, "");
    wanted.extend(types.iter().flat_map(|job_type| topology::type_declarations(names, job_type)));
    let mut things = Vec::new();
    for expected in wanted {
        things.push(look_at(&mut inspector, expected).await?);
    }
    let product = inspector.product().cloned();
    inspector.close().await;
    Ok(Inspection { product, vhost: vhost(url), prefix: names.prefix().to_owned(), things })
}

async fn look_at(inspector: &mut Inspector, expected: Declaration) -> Result<Thing, LinkError> {
    let found = inspector.look_at(&expected).await?;
    let right = match (&found, &expected) {
        (Found::AsDeclared(_) | Found::Different { .. }, Declaration::Exchange { name, .. }) => {
            Some((Right::Write, name))
        }
        (Found::AsDeclared(_) | Found::Different { .. }, Declaration::QuorumQueue { name, .. }) => {
            Some((Right::Read, name))
        }
        _ => None,
    };
    let refusal = match right {
        Some((right, name)) => inspector.refusal(right, name).await?,
        None => None,
    };
    Ok(Thing { expected, found, refusal })
}

/// The virtual host in a broker's URL, as RabbitMQ's tools name it.
fn vhost(url: &str) -> String {
    let path = Url::parse(url).map(|url| url.path().trim_start_matches('/').to_owned()).unwrap_or_default();
    let name = url::form_urlencoded::parse(format!("name={}", path.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, name)| name.into_owned())
        .unwrap_or_default();
    if name.is_empty() { "/".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_hosts_are_named_as_rabbitmq_names_them() {
        for (url, name) in [
            ("amqp://127.0.0.1", "/"),
            ("amqp://127.0.0.1/", "/"),
            ("amqp://u:p@h:1/%2f", "/"),
            ("amqp://h/team%20a+b", "team a+b"),
        ] {
            assert_eq!(vhost(url), name, "{url}");
        }
    }
}
