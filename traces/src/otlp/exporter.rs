//! Sends batches, and says once when that fails and once when it works again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

/// An exporter that tells in the log how it fares.
#[derive(Debug)]
pub(super) struct Exporter {
    exporter: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    /// Whether the last batch was lost.
    failing: AtomicBool,
}

impl Exporter {
    pub(super) fn new(exporter: opentelemetry_otlp::SpanExporter, endpoint: String) -> Self {
        Self { exporter, endpoint, failing: AtomicBool::new(false) }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match (&sent, failed_before) {
            (Err(error), false) => tracing::warn!(
                endpoint = self.endpoint,
                %error,
                "Traces cannot be sent, and are lost until their sink takes them."
            ),
            (Ok(()), true) => tracing::info!(endpoint = self.endpoint, "Traces are sent again."),
            (Err(_), true) | (Ok(()), false) => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
