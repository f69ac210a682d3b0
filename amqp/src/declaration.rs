//! What must exist on the broker before a session is used.

use std::fmt;

use lapin::{
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::LinkError;

/// How an exchange chooses the queues of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// By patterns over the dot-separated words of the routing key.
    Topic,
    /// Every bound queue, whatever the routing key.
    Fanout,
}

/// One thing that must exist on the broker. Declarations are executed in order on every (re)connect, and repeating
/// one is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Declaration {
    /// A durable exchange.
    Exchange {
        /// Its name.
        name: String,
        /// How it routes.
        kind: ExchangeKind,
        /// The exchange that gets what no queue is bound for.
        alternate: Option<String>,
    },
    /// A durable quorum queue.
    QuorumQueue {
        /// Its name.
        name: String,
        /// How often a message may come back before the broker gives it up. `None`: as often as it takes. The broker
        /// is told [`DELIVERIES_UNLIMITED`] then.
        delivery_limit: Option<u32>,
        /// The exchange that gets the messages given up or rejected, at least once (this needs, and sets, the
        /// overflow policy `reject-publish`; not together with `length_max`).
        dead_letter_exchange: Option<String>,
        /// How many messages the queue may hold; beyond that the oldest are dropped.
        length_max: Option<u32>,
    },
    /// A durable queue that nothing is sent to. It only says whose the names beside it are: who declares it with another
    /// owner is refused ([`LinkError::PreconditionFailed`]), also after the broker's restart.
    Claim {
        /// Its name.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// A queue of this connection alone, gone with it. Holds at most 10 000 messages; the oldest are dropped.
    ExclusiveQueue {
        /// Its name. A dead connection's queue can linger, locked: use a new name for each session.
        name: String,
    },
    /// A binding of a queue to an exchange.
    Binding {
        /// The queue that receives.
        queue: String,
        /// The exchange that routes.
        exchange: String,
        /// The key or pattern.
        routing_key: String,
    },
}

/// The delivery limit of a queue that has none. It is spelled out because to say nothing means "no limit" to RabbitMQ
/// 3.x, and 20 to 4.x, which then drops the message for good; and -1 means "no limit" to 4.x, and 0 to 3.x. With a
/// delivery every millisecond, this one lasts for 24 days.
pub const DELIVERIES_UNLIMITED: u32 = i32::MAX.unsigned_abs();

/// The most messages that an exclusive queue holds, so that a reader that stalls cannot fill the broker; the oldest
/// are dropped.
pub(crate) const EXCLUSIVE_QUEUE_LENGTH_MAX: u32 = 10_000;

impl fmt::Display for Declaration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange { name, .. } => write!(formatter, "exchange {name}"),
            Self::QuorumQueue { name, .. } | Self::Claim { name, .. } | Self::ExclusiveQueue { name } => {
                write!(formatter, "queue {name}")
            }
            Self::Binding { queue, exchange, routing_key } => {
                write!(formatter, "the binding of queue {queue} to exchange {exchange} by `{routing_key}`")
            }
        }
    }
}

impl Declaration {
    /// Executes the declaration. An error of the broker closes `channel`.
    pub(crate) async fn execute(&self, channel: &lapin::Channel) -> Result<(), LinkError> {
        match self {
            Self::Exchange { name, kind, alternate } => {
                declare_exchange(channel, name, *kind, alternate.as_deref()).await
            }
            Self::QuorumQueue { name, .. } | Self::Claim { name, .. } => {
                declare_queue(channel, name, self.queue_arguments()?, Lifetime::Durable).await
            }
            Self::ExclusiveQueue { name } => {
                declare_queue(channel, name, self.queue_arguments()?, Lifetime::Connection).await
            }
            Self::Binding { queue, exchange, routing_key } => {
                bind(channel, queue, exchange, routing_key).await
            }
        }
        .map_err(|error| match error {
            Failure::Client(error) => LinkError::from_client(self.to_string(), &error),
            Failure::Name(reason) => LinkError::Invalid { what: self.to_string(), reason },
        })
    }

    fn queue_arguments(&self) -> Result<FieldTable, LinkError> {
        let mut arguments = FieldTable::default();
        let mut text = |key: &str, value: &str| {
            arguments.insert(key.into(), AMQPValue::LongString(value.into()));
        };
        let length_max = match self {
            Self::QuorumQueue { dead_letter_exchange, length_max, .. } => {
                text("x-queue-type", "quorum");
                match (dead_letter_exchange, length_max) {
                    (Some(_), Some(_)) => {
                        return Err(LinkError::Invalid {
                            what: self.to_string(),
                            reason:
                                "dead-lettering at least once rejects what does not fit, a maximum length \
                                     drops it: choose one of them"
                                    .to_owned(),
                        });
                    }
                    (Some(exchange), None) => {
                        text("x-dead-letter-exchange", exchange);
                        text("x-dead-letter-strategy", "at-least-once");
                        text("x-overflow", "reject-publish");
                    }
                    (None, Some(_)) => text("x-overflow", "drop-head"),
                    (None, None) => {}
                }
                *length_max
            }
            Self::Claim { name, owner } => {
                text("x-queue-type", "quorum");
                // Of the arguments that the broker compares, the one that takes any text.
                text("x-dead-letter-exchange", name);
                text("x-dead-letter-routing-key", owner);
                None
            }
            _ => Some(EXCLUSIVE_QUEUE_LENGTH_MAX),
        };
        if let Some(length_max) = length_max {
            arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(i64::from(length_max)));
        }
        let delivery_limit = match self {
            Self::QuorumQueue { delivery_limit, .. } => Some(delivery_limit.unwrap_or(DELIVERIES_UNLIMITED)),
            Self::Claim { .. } => Some(DELIVERIES_UNLIMITED),
            _ => None,
        };
        if let Some(limit) = delivery_limit.map(i64::from) {
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(limit));
        }
        Ok(arguments)
    }
}

/// Executes `declarations` in order; the first failure ends it and closes `channel`.
pub(crate) async fn execute_all(
    channel: &lapin::Channel,
    declarations: &[Declaration],
) -> Result<(), LinkError> {
    for declaration in declarations {
        declaration.execute(channel).await?;
    }
    Ok(())
}

enum Failure {
    Client(lapin::Error),
    Name(String),
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        Self::Client(error)
    }
}

enum Lifetime {
    Durable,
    Connection,
}

fn short(name: &str) -> Result<ShortString, Failure> {
    short_string(name).map_err(Failure::Name)
}

/// AMQP's short string: at most 255 bytes. The client library's own conversion panics on longer ones.
pub(crate) fn short_string(text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_| format!("it has {} bytes, AMQP allows 255", text.len()))
}

async fn declare_exchange(
    channel: &lapin::Channel,
    name: &str,
    kind: ExchangeKind,
    alternate: Option<&str>,
) -> Result<(), Failure> {
    let kind = match kind {
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
    };
    let options = ExchangeDeclareOptions {
        passive: false,     // create it when it is missing
        durable: true,      // the topology outlives the broker's restart
        auto_delete: false, // and a moment without bindings
        internal: false,    // clients publish to it
        nowait: false,      // an error must be told to whoever declares
    };
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        arguments.insert("alternate-exchange".into(), AMQPValue::LongString(alternate.into()));
    }
    Ok(channel.exchange_declare(short(name)?, kind, options, arguments).await?)
}

async fn declare_queue(
    channel: &lapin::Channel,
    name: &str,
    arguments: FieldTable,
    lifetime: Lifetime,
) -> Result<(), Failure> {
    let options = match lifetime {
        Lifetime::Durable => QueueDeclareOptions {
            passive: false,     // create it when it is missing
            durable: true,      // quorum queues are always durable
            exclusive: false,   // several processes consume it
            auto_delete: false, // work waits there while nobody consumes
            nowait: false,      // an error must be told to whoever declares
        },
        Lifetime::Connection => QueueDeclareOptions {
            passive: false,     // create it
            durable: false,     // it is gone with its connection anyway
            exclusive: true,    // nobody else may read or remove it
            auto_delete: false, // cancelling the consumer must not remove it: the connection's end does
            nowait: false,      // an error must be told to whoever declares
        },
    };
    channel.queue_declare(short(name)?, options, arguments).await?;
    Ok(())
}

async fn bind(
    channel: &lapin::Channel,
    queue: &str,
    exchange: &str,
    routing_key: &str,
) -> Result<(), Failure> {
    let options = QueueBindOptions {
        nowait: false, // an error must be told to whoever declares
    };
    let (queue, exchange, routing_key) = (short(queue)?, short(exchange)?, short(routing_key)?);
    Ok(channel.queue_bind(queue, exchange, routing_key, options, FieldTable::default()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(dead_letter_exchange: Option<&str>, length_max: Option<u32>) -> Declaration {
        Declaration::QuorumQueue {
            name: "q".to_owned(),
            delivery_limit: Some(20),
            dead_letter_exchange: dead_letter_exchange.map(str::to_owned),
            length_max,
        }
    }

    fn text(arguments: &FieldTable, key: &str) -> Option<String> {
        arguments.inner().get(key).and_then(AMQPValue::as_long_string).map(ToString::to_string)
    }

    #[test]
    fn dead_lettering_is_at_least_once_and_rejects_what_does_not_fit() {
        let arguments = queue(Some("dead"), None).queue_arguments().unwrap();
        assert_eq!(text(&arguments, "x-dead-letter-strategy").as_deref(), Some("at-least-once"));
        assert_eq!(text(&arguments, "x-overflow").as_deref(), Some("reject-publish"));
        assert_eq!(arguments.inner().get("x-delivery-limit"), Some(&AMQPValue::LongLongInt(20)));
    }

    #[test]
    fn a_queue_without_a_delivery_limit_says_a_number_that_every_broker_understands() {
        let Declaration::QuorumQueue { name, dead_letter_exchange, length_max, .. } = queue(None, None)
        else {
            unreachable!("it is a quorum queue")
        };
        let unlimited =
            Declaration::QuorumQueue { name, delivery_limit: None, dead_letter_exchange, length_max };
        let limit = unlimited.queue_arguments().unwrap().inner().get("x-delivery-limit").cloned();
        assert_eq!(limit, Some(AMQPValue::LongLongInt(2_147_483_647)));
    }

    #[test]
    fn a_bounded_queue_drops_the_oldest_and_excludes_dead_lettering() {
        let arguments = queue(None, Some(5)).queue_arguments().unwrap();
        assert_eq!(text(&arguments, "x-overflow").as_deref(), Some("drop-head"));
        assert!(matches!(queue(Some("dead"), Some(5)).queue_arguments(), Err(LinkError::Invalid { .. })));
    }
}
