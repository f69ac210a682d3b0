//! What a job's way through Crewcall looks like to a sink of OpenTelemetry.
//!
//! With the feature `otlp`, and an endpoint in the environment, [`Traces::begin`] begins spans that are sent there in the
//! background. Without either it begins nothing, and costs nothing: what would describe a span is asked for by a closure.
//!
//! The backend and the worker SDK say which spans there are. This crate says what their attributes are called
//! ([`names`]), and is the only one that knows the libraries of OpenTelemetry.

#![deny(missing_docs)]

pub mod names;

mod opening;

#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crewcall_proto::TraceParent;

#[cfg(not(feature = "otlp"))]
use off as sink;
pub use opening::{Attribute, Opening, SpanKind, Value};
#[cfg(feature = "otlp")]
use otlp as sink;

/// How long the end of a program waits for its last spans to arrive.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Who sends spans.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it is called, unless the environment says otherwise (`OTEL_SERVICE_NAME`).
    pub name: String,
    /// Its version; empty if it has none.
    pub version: String,
    /// What tells this process apart from others of the name, if anything does.
    pub instance: Option<String>,
}

/// Where spans go, if anywhere. Cheap to clone.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<sink::Sink>>);

impl Traces {
    /// Reads OpenTelemetry's variables from `lookup`: spans go to `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or to `/v1/traces`
    /// below `OTEL_EXPORTER_OTLP_ENDPOINT`, and nowhere if neither is set. What cannot be used is logged, and nothing is sent
    /// then: traces are no reason for a program not to work.
    ///
    /// To be called on a Tokio runtime that lives until [`Traces::close`] has returned; spans are sent on it.
    #[must_use]
    pub fn from_lookup(program: &Program, lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self(sink::Sink::open(program, &lookup).map(Arc::new))
    }

    /// Whether spans go anywhere.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What the clock of spans says; `None` if they go nowhere.
    #[must_use]
    pub fn now(&self) -> Option<SystemTime> {
        self.0.as_deref().map(sink::Sink::now)
    }

    /// Begins a span. The closure is only asked if spans go anywhere.
    #[must_use = "a span ends when it is dropped"]
    pub fn begin<'a>(&self, opening: impl FnOnce() -> Opening<'a>) -> Span {
        Span::of(self.0.as_deref().map(|sink| sink.begin(opening())))
    }

    /// Sends what is not sent yet, for at most [`CLOSE_TIMEOUT`]. Nothing is sent afterwards.
    pub async fn close(&self) {
        if let Some(sink) = self.0.clone() {
            sink.close().await;
        }
    }
}

/// A span that has begun, if anybody wants it. It ends when it is dropped, or when [`Span::end_at`] says.
#[must_use = "a span ends when it is dropped"]
#[derive(Default)]
pub struct Span(Option<sink::Live>);

impl Span {
    fn of(live: Option<sink::Live>) -> Self {
        Self(live)
    }

    /// One that nobody wants.
    pub fn none() -> Self {
        Self::default()
    }

    /// What others name as their parent to be a part of it; `None` if nobody wants it.
    #[must_use]
    pub fn traceparent(&self) -> Option<TraceParent> {
        self.0.as_ref().and_then(sink::Live::traceparent)
    }

    /// Says more of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(live) = &mut self.0 {
            live.set((name, value.into()));
        }
    }

    /// Something happened in it now.
    pub fn event(&mut self, name: &'static str, attributes: impl FnOnce() -> Vec<Attribute>) {
        if let Some(live) = &mut self.0 {
            live.event(name, attributes());
        }
    }

    /// It did not do what it was for: the kind of error, one of few, and what people read.
    pub fn fail(&mut self, kind: &'static str, message: &str) {
        if let Some(live) = &mut self.0 {
            live.set((names::ERROR_TYPE, kind.into()));
            live.fail(message.to_owned());
        }
    }

    /// It ended at this time.
    pub fn end_at(self, time: SystemTime) {
        if let Some(live) = self.0 {
            live.end_at(time);
        }
    }
}

/// The endpoint that the variables name, if they want spans to be sent.
fn endpoint(lookup: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let read = |variable| lookup(variable).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let is_off = read("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"))
        || read("OTEL_TRACES_EXPORTER").is_some_and(|text| text == "none");
    if is_off {
        return None;
    }
    let below = |base: String| format!("{}/v1/traces", base.trim_end_matches('/'));
    read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| read("OTEL_EXPORTER_OTLP_ENDPOINT").map(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_where_the_environment_says() {
        let endpoint_of = |set: &[(&str, &str)]| {
            endpoint(&|wanted: &str| {
                set.iter().find(|(variable, _)| *variable == wanted).map(|(_, text)| (*text).to_owned())
            })
        };
        const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://sink:4318/");
        const OWN: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/in");
        assert_eq!(endpoint_of(&[]), None);
        assert_eq!(endpoint_of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), None);
        assert_eq!(endpoint_of(&[BASE]).as_deref(), Some("http://sink:4318/v1/traces"));
        assert_eq!(endpoint_of(&[BASE, OWN]).as_deref(), Some("http://traces/in"));
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(endpoint_of(&[BASE, off]), None, "{off:?}");
        }
    }

    #[tokio::test]
    async fn without_an_endpoint_nothing_is_asked_for() {
        let program = Program { name: "test".to_owned(), version: String::new(), instance: None };
        let traces = Traces::from_lookup(&program, |_| None);
        let span = traces.begin(|| unreachable!("nobody wants it"));
        assert_eq!((traces.is_on(), traces.now(), span.traceparent()), (false, None, None));
        traces.close().await;
    }
}
