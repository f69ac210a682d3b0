//! Spans that are sent by OTLP over HTTP, in batches and in the background: whoever begins or ends one never waits.

mod client;

mod exporter;

use std::{sync::Arc, time::SystemTime};

use crewcall_proto::TraceParent;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
        Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    resource::EnvResourceDetector,
    trace::{SdkTracer, SdkTracerProvider},
};

use self::{client::Client, exporter::Exporter};
use crate::{Attribute, CLOSE_TIMEOUT, Opening, Program, SpanKind, Value};

/// Whose the spans are, among all that a program may have.
const SCOPE: &str = "crewcall";

/// Where spans go.
pub(crate) struct Sink {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Sink {
    pub(crate) fn open(program: &Program, lookup: &impl Fn(&str) -> Option<String>) -> Option<Self> {
        let endpoint = crate::endpoint(lookup)?;
        let exporter = client::timeout(lookup).and_then(|timeout| {
            let client = Client::new(timeout)?;
            let exporter = opentelemetry_otlp::SpanExporter::builder()
                .with_http()
                .with_http_client(client)
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(&endpoint)
                .with_timeout(timeout);
            exporter.build().map_err(|error| error.to_string())
        });
        let exporter = exporter
            .inspect_err(|reason| {
                tracing::error!(
                    endpoint,
                    reason,
                    "No traces are sent: the environment names no sink that can be used."
                );
            })
            .ok()?;
        tracing::info!(endpoint, "Traces are sent.");
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(program, lookup))
            .with_batch_exporter(Exporter::new(exporter, endpoint))
            .build();
        let tracer = provider.tracer(SCOPE);
        Some(Self { provider, tracer })
    }

    pub(crate) fn now(&self) -> SystemTime {
        opentelemetry::time::now()
    }

    pub(crate) fn begin(&self, opening: Opening<'_>) -> Live {
        let Opening { name, kind, parent, began, attributes } = opening;
        let mut builder = self
            .tracer
            .span_builder(name)
            .with_kind(span_kind(kind))
            .with_attributes(attributes.into_iter().map(key_value).collect::<Vec<_>>());
        builder.start_time = began;
        let parent = parent
            .and_then(remote)
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        Live(Box::new(builder.start_with_context(&self.tracer, &parent)))
    }

    /// On a thread on which it may wait: the spans are sent on this runtime.
    pub(crate) async fn close(self: Arc<Self>) {
        let closed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(CLOSE_TIMEOUT));
        if !matches!(closed.await, Ok(Ok(()))) {
            tracing::warn!("The last traces did not arrive in time, and are lost.");
        }
    }
}

/// Who sends the spans. What the environment says of it counts for more than what the program says.
fn resource(program: &Program, lookup: &impl Fn(&str) -> Option<String>) -> Resource {
    let ours = [
        Some(("service.name", program.name.clone())),
        Some(("service.version", program.version.clone())).filter(|(_, version)| !version.is_empty()),
        program.instance.clone().map(|instance| ("service.instance.id", instance)),
    ];
    let ours = ours.into_iter().flatten().map(|(name, value)| KeyValue::new(name, value));
    let name = lookup("OTEL_SERVICE_NAME").filter(|name| !name.is_empty());
    Resource::builder_empty()
        .with_attributes(ours)
        .with_detector(Box::new(EnvResourceDetector::new())) // OTEL_RESOURCE_ATTRIBUTES
        .with_attributes(name.map(|name| KeyValue::new("service.name", name)))
        .build()
}

/// A span that has begun. It ends when it is dropped.
pub(crate) struct Live(Box<opentelemetry_sdk::trace::Span>);

impl Live {
    pub(crate) fn traceparent(&self) -> Option<TraceParent> {
        let context = self.0.span_context();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
        format!("00-{trace}-{span}-{flags:02x}").parse().ok()
    }

    pub(crate) fn set(&mut self, attribute: Attribute) {
        self.0.set_attribute(key_value(attribute));
    }

    pub(crate) fn event(&mut self, name: &'static str, attributes: Vec<Attribute>) {
        self.0.add_event(name, attributes.into_iter().map(key_value).collect());
    }

    pub(crate) fn fail(&mut self, message: String) {
        self.0.set_status(Status::error(message));
    }

    pub(crate) fn end_at(mut self, time: SystemTime) {
        self.0.end_with_timestamp(time);
    }
}

/// A span of somebody else.
fn remote(parent: &TraceParent) -> Option<SpanContext> {
    let trace = TraceId::from_hex(parent.trace_id()).ok()?;
    let span = SpanId::from_hex(parent.parent_id()).ok()?;
    let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

fn span_kind(kind: SpanKind) -> opentelemetry::trace::SpanKind {
    match kind {
        SpanKind::Server => opentelemetry::trace::SpanKind::Server,
        SpanKind::Consumer => opentelemetry::trace::SpanKind::Consumer,
        SpanKind::Internal => opentelemetry::trace::SpanKind::Internal,
    }
}

fn key_value((name, value): Attribute) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text),
        Value::Number(number) => KeyValue::new(name, number),
    }
}
