//! What is asked for over HTTP.

use std::time::Duration;

use prometheus::{HistogramVec, IntGauge};

use super::{Metrics, gauge, registrar::Registrar};

/// From a read of one job to a long poll of a minute.
const HTTP_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];

pub(super) struct HttpMetrics {
    request_duration: HistogramVec,
    in_flight: IntGauge,
    watchers: IntGauge,
}

impl HttpMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        Self {
            request_duration: make.histograms(
                "http_request_duration_seconds",
                "Duration of requests; a stream counts until its head is sent.",
                &["route", "method", "status"],
                &HTTP_BUCKETS,
            ),
            in_flight: make.gauge("http_requests_in_flight", "Requests that are being answered."),
            watchers: make.gauge("http_watchers", "Streams and long polls that are open."),
        }
    }
}

/// A request that is being answered.
pub(crate) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// A request came; it is being answered until what this returns is dropped.
    pub(crate) fn http_request_began(&self) -> InFlight {
        self.http.in_flight.inc();
        InFlight(self.http.in_flight.clone())
    }

    /// A request was answered. `route` is the matched pattern, never the path.
    pub(crate) fn http_request(&self, route: &str, method: &str, status: u16, elapsed: Duration) {
        self.http
            .request_duration
            .with_label_values(&[route, method, status.to_string().as_str()])
            .observe(elapsed.as_secs_f64());
    }

    /// How many streams and long polls are open.
    pub(crate) fn set_http_watchers(&self, watchers: usize) {
        self.http.watchers.set(gauge(watchers));
    }
}
