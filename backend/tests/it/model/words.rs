//! Steps in words, for a trace that people read.

use std::fmt;

use super::{
    steps::{Fault, Step},
    world::Queued,
};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecomeDue => f.write_str("the job is due"),
            Self::Dispatch => f.write_str("the backend commits a dispatch"),
            Self::Publish(order) => write!(f, "the backend publishes the {order}"),
            Self::Mark => f.write_str("the backend keeps the high-water mark"),
            Self::Take(Queued { order, .. }) => write!(f, "a worker takes the {order}"),
            Self::Split(Queued { order, .. }) => write!(f, "a worker does not begin with the {order}"),
            Self::Report(execution, news) => write!(f, "{execution} reports \"{news:?}\""),
            Self::Answer(execution, news) => write!(f, "{execution} answers \"{news:?}\""),
            Self::AcknowledgeOrder(execution) => write!(f, "{execution} acknowledges its order"),
            Self::Record(response) => write!(f, "the backend commits {response}"),
            Self::Acknowledge(response) => write!(f, "the backend acknowledges {response}"),
            Self::SendAgain => f.write_str("the reconciler finds the order nowhere"),
            Self::EndLease => f.write_str("the lease of the held attempt ends"),
            Self::Cancel => f.write_str("somebody cancels the job"),
            Self::Fault(fault) => write!(f, "FAULT: {fault}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackendCrash => f.write_str("the backend is killed and starts again"),
            Self::WorkerKilled(execution) => write!(f, "the worker of {execution} is killed"),
            Self::WorkerSilent(execution) => write!(f, "the worker of {execution} falls silent"),
            Self::HandedBack(execution) => write!(f, "{execution} is handed back"),
            Self::OrderLost(Queued { order, .. }) => write!(f, "the {order} is lost"),
            Self::ResponseLost(response) => write!(f, "{response} is lost"),
            Self::OrderDoubled(Queued { order, .. }) => write!(f, "the {order} arrives twice"),
            Self::ResponseDoubled(response) => write!(f, "{response} arrives twice"),
            Self::SentAgainTooSoon => f.write_str("the reconciler decides before a response is recorded"),
            Self::LeaseEndedTooSoon => f.write_str("the lease ends before a response is recorded"),
        }
    }
}
