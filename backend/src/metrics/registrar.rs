//! Makes metrics, registers them, and remembers what they are called.

use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

/// What the names of our own begin with. Those of the process are the ones that every Prometheus knows.
const PREFIX: &str = "crewcall";

/// A metric, as documents describe it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricDescription {
    /// Its full name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, in their order.
    pub labels: Vec<&'static str>,
    /// What it says.
    pub help: &'static str,
}

/// Makes and registers metrics.
pub(super) struct Registrar {
    own: Registry,
    of_the_process: Registry,
    described: Vec<MetricDescription>,
}

impl Registrar {
    pub(super) fn new() -> Self {
        let own = Registry::new_custom(Some(PREFIX.to_owned()), None)
            .expect("the prefix is a constant of the right form");
        Self { own, of_the_process: Registry::new(), described: Vec::new() }
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &[&'static str],
    ) -> IntCounterVec {
        self.own("counter", name, help, labels, IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn counter(&mut self, name: &str, help: &'static str) -> IntCounter {
        self.own("counter", name, help, &[], IntCounter::new(name, help))
    }

    pub(super) fn seconds_counter(&mut self, name: &str, help: &'static str) -> Counter {
        self.own("counter", name, help, &[], Counter::new(name, help))
    }

    pub(super) fn gauges(&mut self, name: &str, help: &'static str, labels: &[&'static str]) -> IntGaugeVec {
        self.own("gauge", name, help, labels, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauge(&mut self, name: &str, help: &'static str) -> IntGauge {
        self.own("gauge", name, help, &[], IntGauge::new(name, help))
    }

    pub(super) fn float_gauges(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &[&'static str],
    ) -> GaugeVec {
        self.own("gauge", name, help, labels, GaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn float_gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        self.own("gauge", name, help, &[], Gauge::new(name, help))
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &[&'static str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.own("histogram", name, help, labels, HistogramVec::new(options, labels))
    }

    pub(super) fn histogram(&mut self, name: &str, help: &'static str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.own("histogram", name, help, &[], Histogram::with_opts(options))
    }

    /// A gauge whose name is the same for every program.
    pub(super) fn process_gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        let made = registered(&self.of_the_process, Gauge::new(name, help));
        self.describe("gauge", name.to_owned(), help, &[]);
        made
    }

    /// A counter whose name is the same for every program.
    pub(super) fn process_counter(&mut self, name: &str, help: &'static str) -> Counter {
        let made = registered(&self.of_the_process, Counter::new(name, help));
        self.describe("counter", name.to_owned(), help, &[]);
        made
    }

    /// Nothing more is registered.
    pub(super) fn finish(self) -> Registries {
        let Self { own, of_the_process, described } = self;
        Registries { all: [own, of_the_process], described }
    }

    fn own<C: Collector + Clone + 'static>(
        &mut self,
        kind: &'static str,
        name: &str,
        help: &'static str,
        labels: &[&'static str],
        made: prometheus::Result<C>,
    ) -> C {
        self.describe_own(kind, name, help, labels);
        registered(&self.own, made)
    }

    /// Describes a metric that is written by whoever has it. Returns its full name.
    pub(super) fn describe_own(
        &mut self,
        kind: &'static str,
        name: &str,
        help: &'static str,
        labels: &[&'static str],
    ) -> String {
        let name = format!("{PREFIX}_{name}");
        self.describe(kind, name.clone(), help, labels);
        name
    }

    fn describe(&mut self, kind: &'static str, name: String, help: &'static str, labels: &[&'static str]) {
        self.described.push(MetricDescription { name, kind, labels: labels.to_vec(), help });
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("the names and labels are constants of the right form");
    registry.register(Box::new(collector.clone())).expect("every name is registered once");
    collector
}

/// What was registered.
pub(super) struct Registries {
    all: [Registry; 2],
    pub(super) described: Vec<MetricDescription>,
}

impl Registries {
    /// Everything, in the Prometheus text format 0.0.4.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for registry in &self.all {
            if let Err(error) = TextEncoder::new().encode_utf8(&registry.gather(), &mut text) {
                tracing::error!(%error, "The metrics cannot be written.");
            }
        }
        text
    }
}
