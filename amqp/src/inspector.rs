//! Looks at what is on a broker and what its user may do there, and changes nothing.

use std::time::Duration;

use lapin::{
    options::{BasicConsumeOptions, ExchangeDeclareOptions, ExchangeUnbindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use crate::{
    Declaration, LinkConfig, LinkError, QueueDepth, declaration::short_string, greeting,
    greeting::BrokerProduct, transport::Transport,
};

/// What an [`Inspector`] found where something should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there as we declare it; of a queue, how full it is.
    AsDeclared(Option<QueueDepth>),
    /// It is there, with other properties than we declare.
    Different {
        /// The broker's own words, which name the property and both values.
        broker_says: String,
    },
    /// It is not there.
    Missing,
    /// It is there, but the user may not declare it, so nothing is known about its properties.
    Refused {
        /// The broker's own words.
        broker_says: String,
    },
    /// AMQP has no way to look: at a binding, or at a queue of another connection.
    Unknowable,
}

/// What a user may do with a thing on the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To publish to an exchange.
    Write,
    /// To consume from a queue.
    Read,
}

/// A connection for looking, and for nothing else. Dropping it cuts the connection off.
///
/// What it asks is what a broker refuses or answers without doing anything: passive declarations, declarations of what is
/// there already, and two requests that are wrong in a way that the broker only finds after the user's rights.
pub struct Inspector {
    transport: Transport,
    /// An error of the broker closes it; the next question opens another one.
    channel: Option<lapin::Channel>,
    limit: Duration,
    product: Option<BrokerProduct>,
}

/// An exchange cannot be bound by this key to itself before somebody asks whether it may be unbound.
const NO_KEY: &str = "crewcall.inspector.nothing-is-bound-by-this";

impl Inspector {
    /// Connects, once.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when the URL is wrong, nobody answers, or the broker refuses the user.
    pub async fn connect(config: &LinkConfig) -> Result<Self, LinkError> {
        config.validate()?;
        let transport = Transport::connect(config).await?;
        let product = greeting::product(config).await;
        Ok(Self { transport, channel: None, limit: config.operation_timeout, product })
    }

    /// What the broker says it is, if it could be asked: over TLS it cannot.
    pub fn product(&self) -> Option<&BrokerProduct> {
        self.product.as_ref()
    }

    /// Whether something is there as it is declared. Should it be deleted in the very moment in which it is looked at, it
    /// is declared again.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when the broker does not answer, or answers with something else than what is looked for.
    pub async fn look_at(&mut self, declaration: &Declaration) -> Result<Found, LinkError> {
        let found = match declaration {
            Declaration::Binding { .. } | Declaration::ExclusiveQueue { .. } => return Ok(Found::Unknowable),
            Declaration::Exchange { name, .. } => self.find_exchange(name).await.map(|()| None),
            Declaration::QuorumQueue { name, .. } | Declaration::Claim { name, .. } => {
                self.find_queue(name).await.map(Some)
            }
        };
        let depth = match found {
            Ok(depth) => depth,
            Err(LinkError::NotFound { .. }) => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        // Whose the names are is not ours to say.
        if matches!(declaration, Declaration::Claim { .. }) {
            return Ok(Found::AsDeclared(depth));
        }
        let declared = self.ask(declaration.to_string(), async |channel| declaration.execute(&channel).await);
        match declared.await {
            Ok(()) => Ok(Found::AsDeclared(depth)),
            Err(LinkError::PreconditionFailed { broker_says, .. }) => Ok(Found::Different { broker_says }),
            Err(LinkError::AccessRefused { broker_says, .. }) => Ok(Found::Refused { broker_says }),
            Err(error) => Err(error),
        }
    }

    /// Whether the user may publish to an exchange, or consume from a queue, that is there; if not, the broker's words.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when the broker does not answer.
    pub async fn refusal(&mut self, right: Right, name: &str) -> Result<Option<String>, LinkError> {
        let asked = match right {
            Right::Write => self.unbind_nothing(name).await,
            Right::Read => self.consume_wrongly(name).await,
        };
        match asked {
            Err(LinkError::AccessRefused { broker_says, .. }) => Ok(Some(broker_says)),
            // The rights are looked at first: what comes after them is the mistake that we made on purpose.
            Ok(()) | Err(LinkError::PreconditionFailed { .. } | LinkError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.transport.close().await;
    }

    async fn find_exchange(&mut self, name: &str) -> Result<(), LinkError> {
        let options = ExchangeDeclareOptions {
            passive: true,  // only ask
            durable: false, // ignored when passive, as are the next two and the kind
            auto_delete: false,
            internal: false,
            nowait: false, // the answer is the point
        };
        let what = format!("exchange {name}");
        let name = valid(name, &what)?;
        self.ask(what.clone(), async |channel| {
            let kind = lapin::ExchangeKind::Topic;
            let asked = channel.exchange_declare(name.clone(), kind, options, FieldTable::default()).await;
            asked.map_err(|error| LinkError::from_client(what.clone(), &error))
        })
        .await
    }

    async fn find_queue(&mut self, name: &str) -> Result<QueueDepth, LinkError> {
        let options = QueueDeclareOptions {
            passive: true,  // only ask
            durable: false, // ignored when passive, as are the next two
            exclusive: false,
            auto_delete: false,
            nowait: false, // the answer is the point
        };
        let what = format!("queue {name}");
        let name = valid(name, &what)?;
        self.ask(what.clone(), async |channel| {
            let asked = channel.queue_declare(name.clone(), options, FieldTable::default()).await;
            let found = asked.map_err(|error| LinkError::from_client(what.clone(), &error))?;
            Ok(QueueDepth { messages: found.message_count(), consumers: found.consumer_count() })
        })
        .await
    }

    /// Whoever unbinds an exchange needs the right to write to it; that nothing is bound is no error.
    async fn unbind_nothing(&mut self, exchange: &str) -> Result<(), LinkError> {
        let options = ExchangeUnbindOptions {
            nowait: false, // the answer is the point
        };
        let what = format!("exchange {exchange}");
        let (name, key) = (valid(exchange, &what)?, valid(NO_KEY, &what)?);
        self.ask(what.clone(), async |channel| {
            let (to, from, key) = (name.clone(), name.clone(), key.clone());
            let asked = channel.exchange_unbind(to, from, key, options, FieldTable::default()).await;
            asked.map_err(|error| LinkError::from_client(what.clone(), &error))
        })
        .await
    }

    /// A consumer whose priority is no number gets nothing but a refusal: because of the user, or else of the priority.
    async fn consume_wrongly(&mut self, queue: &str) -> Result<(), LinkError> {
        let options = BasicConsumeOptions {
            no_local: false,  // RabbitMQ does not know it
            no_ack: false,    // nothing may get lost should it be taken after all
            exclusive: false, // others consume there
            nowait: false,    // the answer is the point
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x-priority".into(), AMQPValue::LongString("not a number".into()));
        let what = format!("queue {queue}");
        let (name, tag) = (valid(queue, &what)?, valid("", &what)?);
        self.ask(what.clone(), async |channel| {
            let (name, tag) = (name.clone(), tag.clone());
            let asked = channel.basic_consume(name, tag, options, arguments.clone()).await;
            asked.map(drop).map_err(|error| LinkError::from_client(what.clone(), &error))
        })
        .await
    }

    /// Asks the broker something, in time.
    async fn ask<T>(
        &mut self,
        what: String,
        question: impl AsyncFnOnce(lapin::Channel) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.transport.open_channel().await?,
        };
        let answer = timeout(self.limit, question(channel.clone())).await;
        let answer = answer.map_err(|_| LinkError::Timeout { what, after: self.limit })?;
        if answer.is_ok() {
            self.channel = Some(channel);
        }
        answer
    }
}

fn valid(name: &str, what: &str) -> Result<lapin::types::ShortString, LinkError> {
    short_string(name).map_err(|reason| LinkError::Invalid { what: what.to_owned(), reason })
}
