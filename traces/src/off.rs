//! What is behind the types without the feature `otlp`: nothing.

use std::{sync::Arc, time::SystemTime};

use crewcall_proto::TraceParent;

use crate::{Attribute, Opening, Program};

/// There is none.
pub(crate) enum Sink {}

/// There is none.
pub(crate) enum Live {}

impl Sink {
    /// Somebody may wait for traces that never come.
    pub(crate) fn open(_: &Program, lookup: &impl Fn(&str) -> Option<String>) -> Option<Self> {
        if let Some(endpoint) = crate::endpoint(lookup) {
            tracing::info!(
                endpoint,
                "No traces are sent to the endpoint in the environment: this program was built without the feature otlp."
            );
        }
        None
    }

    pub(crate) fn now(&self) -> SystemTime {
        match *self {}
    }

    pub(crate) fn begin(&self, _: Opening<'_>) -> Live {
        match *self {}
    }

    pub(crate) async fn close(self: Arc<Self>) {
        match *self {}
    }
}

impl Live {
    pub(crate) fn traceparent(&self) -> Option<TraceParent> {
        match *self {}
    }

    pub(crate) fn set(&mut self, _: Attribute) {
        match *self {}
    }

    pub(crate) fn event(&mut self, _: &'static str, _: Vec<Attribute>) {
        match *self {}
    }

    pub(crate) fn fail(&mut self, _: String) {
        match *self {}
    }

    pub(crate) fn end_at(self, _: SystemTime) {
        match self {}
    }
}
