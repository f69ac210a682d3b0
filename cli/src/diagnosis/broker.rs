//! What the broker's answers show.

use crewcall_amqp::{BrokerProduct, Declaration, Found, QueueDepth};

use super::{Area, BrokerFacts, Facts, Finding, Inspection, Thing, error, warning};

/// The oldest RabbitMQ that has what our queues need: at-least-once dead-lettering of quorum queues.
const RABBITMQ_MIN: (u32, u32) = (3, 10);

/// How many messages wait where the backend reads before somebody should look: it reads thousands in a second.
const BACKLOG_MESSAGES_MAX: u32 = 10_000;

/// The broker in few words.
pub(super) fn summaries(facts: &Facts) -> Vec<(Area, String)> {
    let BrokerFacts::Seen(seen) = &facts.broker else { return Vec::new() };
    let product = seen.product.as_ref().map(|product| format!("{} {}, ", product.name, product.version));
    let looked_at = seen.things.iter().filter(|thing| thing.found != Found::Unknowable).count();
    let summary = format!(
        "{}virtual host {}: {looked_at} exchanges and queues",
        product.unwrap_or_default(),
        seen.vhost
    );
    vec![(Area::Topology, summary)]
}

/// What nobody could look at.
pub(super) fn not_checked(facts: &Facts) -> Vec<String> {
    match &facts.broker {
        BrokerFacts::NotWanted | BrokerFacts::Unreachable(_) => Vec::new(),
        BrokerFacts::Unknown => vec![String::from(
            "the broker: say where it is with --amqp-url or CREWCALL_AMQP_URL, as the backend was told",
        )],
        BrokerFacts::Seen(_) => vec![
            String::from(
                "bindings: AMQP cannot list them; the backend declares its own again every 10 s, and \
                 `rabbitmqctl list_bindings` shows them",
            ),
            String::from(
                "the acknowledgement timeout: AMQP does not tell it; `rabbitmqctl eval 'application:get_env(rabbit, \
                 consumer_timeout).'` does, and it has to be well above CREWCALL_HOLD_AFTER_SECONDS of the workers (60 unless set)",
            ),
        ],
    }
}

/// What is not as it should be.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    match &facts.broker {
        BrokerFacts::NotWanted | BrokerFacts::Unknown => Vec::new(),
        BrokerFacts::Unreachable(reason) => {
            let fix = "look whether RabbitMQ runs there (rabbitmqctl status), and whether host, port, user, password and virtual \
                       host of --amqp-url are right";
            vec![error(Area::Broker, "broker-unreachable", reason.clone(), fix.to_owned())]
        }
        BrokerFacts::Seen(seen) => {
            let is_served = facts.backend.as_ref().is_ok_and(|backend| backend.readiness.checks.broker.ok);
            let mut findings: Vec<Finding> = seen.product.as_ref().and_then(too_old).into_iter().collect();
            findings.extend(seen.things.iter().flat_map(|thing| of_thing(thing, seen, is_served)));
            findings
        }
    }
}

fn too_old(product: &BrokerProduct) -> Option<Finding> {
    let mut numbers = product.version.split('.').map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    let (major, minor) = RABBITMQ_MIN;
    let message = format!("{} {} is older than {major}.{minor}", product.name, product.version);
    let fix = format!("update it: {major}.{minor} is the first that dead-letters at least once");
    (version < RABBITMQ_MIN).then(|| error(Area::Broker, "broker-too-old", message, fix))
}

fn of_thing(thing: &Thing, seen: &Inspection, is_served: bool) -> Vec<Finding> {
    let (kind, name) = thing.named();
    let what = format!("{kind} {name}");
    let mut findings = Vec::new();
    match &thing.found {
        Found::Missing => findings.push(missing(&what, is_served)),
        Found::Different { broker_says } => findings.push(drift(kind, name, broker_says, seen)),
        Found::Refused { broker_says } => findings.push(refused(&what, broker_says, seen)),
        Found::AsDeclared(Some(depth)) => findings.extend(of_queue(thing, name, *depth, is_served)),
        Found::AsDeclared(None) | Found::Unknowable => {}
    }
    if let Some(broker_says) = &thing.refusal {
        findings.push(refused(&what, broker_says, seen));
    }
    findings
}

fn missing(what: &str, is_served: bool) -> Finding {
    let fix = if is_served {
        "is --amqp-url the broker, the virtual host and the prefix of this backend? If so, it declares it anew within 10 s"
    } else {
        "the backend declares it as soon as it is connected"
    };
    error(Area::Topology, "missing", format!("{what} does not exist"), fix.to_owned())
}

fn drift(kind: &str, name: &str, broker_says: &str, seen: &Inspection) -> Finding {
    let message = format!("{kind} {name} has other properties than it should: {broker_says}");
    let fix = match kind {
        "queue" => format!(
            "when it is empty (rabbitmqctl -p '{vhost}' list_queues name messages), delete it: rabbitmqctl -p '{vhost}' \
             delete_queue {name}; the backend declares it anew. If a policy sets this, change the policy",
            vhost = seen.vhost
        ),
        _ => format!(
            "delete the exchange {name} (management page, or rabbitmqadmin); the backend declares it anew within 10 s"
        ),
    };
    error(Area::Topology, "drift", message, fix)
}

fn refused(what: &str, broker_says: &str, seen: &Inspection) -> Finding {
    let message = format!("the user may not use {what} as the backend must: {broker_says}");
    let Inspection { vhost, prefix, .. } = seen;
    let ours = format!("'^{prefix}\\.'");
    let fix = format!(
        "allow it to configure, write and read: rabbitmqctl set_permissions -p '{vhost}' USER {ours} {ours} {ours}"
    );
    error(Area::Broker, "permission", message, fix)
}

/// A queue that is as it should be may be read by nobody, or hold what nobody could use.
fn of_queue(thing: &Thing, name: &str, depth: QueueDepth, is_served: bool) -> Option<Finding> {
    let Declaration::QuorumQueue { dead_letter_exchange, .. } = &thing.expected else { return None };
    let QueueDepth { messages, consumers } = depth;
    let is_of_type = dead_letter_exchange.is_some();
    if is_of_type || consumers > 0 && messages < BACKLOG_MESSAGES_MAX {
        return None;
    }
    if consumers > 0 {
        let message = format!("{messages} messages wait in queue {name}, which the backend reads");
        let fix = "look again in a minute: if there are more, the backend is too slow (crewcall_store_commit_seconds, its log)";
        return Some(warning(Area::Topology, "backlog", message, fix.to_owned()));
    }
    let message = format!("nobody reads queue {name}, which holds {messages} messages");
    let fix = if is_served {
        "the backend reads it: is --amqp-url the broker, the virtual host and the prefix of this backend? If so, its log says why not"
    } else {
        "the backend reads it as soon as it is connected; what is in it is not lost"
    };
    Some(error(Area::Topology, "unread", message, fix.to_owned()))
}
