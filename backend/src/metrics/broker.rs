//! The links to the broker, and what comes and goes through them.

use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Metrics, gauge, registrar::Registrar};
use crate::domain::Stale;

/// From a broker that confirms at once to an outage of a few minutes.
const CONFIRM_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0];

/// A message that names a job which there is not.
pub(crate) const UNKNOWN_JOB: &str = "unknown_job";

/// Why messages change nothing.
const STALE: [&str; 8] = [
    Stale::Terminal.as_str(),
    Stale::Attempt.as_str(),
    Stale::Token.as_str(),
    Stale::Execution.as_str(),
    Stale::Sequence.as_str(),
    Stale::State.as_str(),
    Stale::NotDue.as_str(),
    UNKNOWN_JOB,
];

/// Why the broker gives orders up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DeadLettered {
    DeliveryLimit,
    Rejected,
    Other,
}

impl DeadLettered {
    const ALL: [Self; 3] = [Self::DeliveryLimit, Self::Rejected, Self::Other];

    const fn as_str(self) -> &'static str {
        match self {
            Self::DeliveryLimit => "delivery_limit",
            Self::Rejected => "rejected",
            Self::Other => "other",
        }
    }
}

/// Why events that jobs publish are refused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EventRefused {
    /// The type did not announce that it publishes them.
    Undeclared,
    /// They are no events, or do not fit what was announced.
    Invalid,
    /// No attempt of the job can have published them.
    UnknownAttempt,
    /// Their id belongs to another event.
    IdReused,
}

impl EventRefused {
    const ALL: [Self; 4] = [Self::Undeclared, Self::Invalid, Self::UnknownAttempt, Self::IdReused];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Undeclared => "undeclared",
            Self::Invalid => "invalid",
            Self::UnknownAttempt => "unknown_attempt",
            Self::IdReused => "id_reused",
        }
    }
}

pub(super) struct BrokerMetrics {
    connected: IntGaugeVec,
    blocked: IntGauge,
    reconnects: IntCounterVec,
    unconfirmed: IntGauge,
    unconfirmed_oldest: Gauge,
    confirm: Histogram,
    bundled: IntCounter,
    unroutable: IntCounter,
    dead_lettered: IntCounterVec,
    sent_again: IntCounter,
    events_refused: IntCounterVec,
    stale: IntCounterVec,
    malformed: IntCounterVec,
    quarantined: IntGauge,
}

impl BrokerMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        let made = Self {
            connected: make.gauges("amqp_connected", "Whether a link to the broker is up.", &["link"]),
            blocked: make
                .gauge("amqp_blocked", "1 while the broker takes no messages (memory or disk alarm)."),
            reconnects: make.counters("amqp_reconnects_total", "Links that were made again.", &["link"]),
            unconfirmed: make.gauge("dispatch_unconfirmed", "Orders whose confirm is awaited."),
            unconfirmed_oldest: make.float_gauge(
                "dispatch_unconfirmed_oldest_seconds",
                "For how long the oldest of them has been awaited; 0 when none is.",
            ),
            confirm: make.histogram(
                "dispatch_confirm_seconds",
                "From the dispatch of an order until the broker confirmed it.",
                &CONFIRM_BUCKETS,
            ),
            bundled: make.counter(
                "orders_bundled_total",
                "Orders that the broker took in a message together with others.",
            ),
            unroutable: make.counter(
                "orders_unroutable_total",
                "Orders that the broker returned, because their type has no queue: few of each type, for the rest of it are not sent.",
            ),
            dead_lettered: make.counters(
                "orders_dead_lettered_total",
                "Orders that the broker gave up: delivery_limit, rejected, other.",
                &["reason"],
            ),
            sent_again: make.counter(
                "orders_sent_again_total",
                "Orders that were in no queue and with no worker, and were sent again or given up.",
            ),
            stale: make.counters(
                "responses_stale_total",
                "Messages that changed nothing: late, repeated, or not entitled.",
                &["reason"],
            ),
            events_refused: make.counters(
                "events_refused_total",
                "Events that jobs publish and that are not recorded: undeclared, invalid, of an attempt that nobody knows, or with the id of another event.",
                &["reason"],
            ),
            malformed: make.counters(
                "messages_malformed_total",
                "Messages that could not be read and were quarantined.",
                &["queue", "reason"],
            ),
            quarantined: make.gauge("quarantine_messages", "Messages in quarantine; the oldest make room."),
        };
        for reason in STALE {
            made.stale.with_label_values(&[reason]);
        }
        for reason in EventRefused::ALL {
            made.events_refused.with_label_values(&[reason.as_str()]);
        }
        for reason in DeadLettered::ALL {
            made.dead_lettered.with_label_values(&[reason.as_str()]);
        }
        made
    }
}

impl Metrics {
    /// A link to the broker came up or went down.
    pub(crate) fn amqp_link(&self, link: &str, up: bool) {
        self.broker.connected.with_label_values(&[link]).set(i64::from(up));
        self.broker.reconnects.with_label_values(&[link]);
    }

    /// A link to the broker was made again.
    pub(crate) fn amqp_reconnected(&self, link: &str) {
        self.broker.reconnects.with_label_values(&[link]).inc();
    }

    /// The broker began or ceased to refuse messages.
    pub(crate) fn amqp_blocked(&self, blocked: bool) {
        self.broker.blocked.set(i64::from(blocked));
    }

    /// How many orders await their confirm, and for how long the oldest of them has.
    pub(crate) fn set_unconfirmed(&self, orders: usize, oldest: Duration) {
        self.broker.unconfirmed.set(gauge(orders));
        self.broker.unconfirmed_oldest.set(oldest.as_secs_f64());
    }

    /// The broker confirmed an order, so long after its dispatch.
    pub(crate) fn dispatch_confirmed(&self, after: Duration) {
        self.broker.confirm.observe(after.as_secs_f64());
    }

    /// The broker took a message with so many orders.
    pub(crate) fn orders_sent_together(&self, orders: usize) {
        if orders > 1 {
            self.broker.bundled.inc_by(u64::try_from(orders).unwrap_or(u64::MAX));
        }
    }

    /// The broker returned orders: nobody ever served their types.
    pub(crate) fn orders_unroutable(&self, orders: usize) {
        self.broker.unroutable.inc_by(u64::try_from(orders).unwrap_or(u64::MAX));
    }

    /// An event that a job publishes is not recorded.
    pub(crate) fn event_refused(&self, reason: EventRefused) {
        self.broker.events_refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// The broker gave an order up.
    pub(crate) fn order_dead_lettered(&self, reason: DeadLettered) {
        self.broker.dead_lettered.with_label_values(&[reason.as_str()]).inc();
    }

    /// An order was lost.
    pub(crate) fn order_lost(&self) {
        self.broker.sent_again.inc();
    }

    /// A message changed nothing.
    pub(crate) fn response_stale(&self, reason: &str) {
        self.broker.stale.with_label_values(&[reason]).inc();
    }

    /// A message could not be read.
    pub(crate) fn message_malformed(&self, queue: &str, reason: &str) {
        self.broker.malformed.with_label_values(&[queue, reason]).inc();
    }

    /// How many messages are in quarantine.
    pub(crate) fn set_quarantined(&self, messages: u64) {
        self.broker.quarantined.set(gauge(messages));
    }
}
