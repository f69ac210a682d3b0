//! The process itself, under the names that every Prometheus knows. Read from Linux; elsewhere what cannot be asked stays 0.

use std::{fs, time::Duration};

use crewcall_proto::Timestamp;
use prometheus::{Counter, Gauge, IntGaugeVec};
use rustix::{
    param::page_size,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

use super::{Metrics, registrar::Registrar};

pub(super) struct ProcessMetrics {
    build_info: IntGaugeVec,
    start_time: Gauge,
    process_start_time: Gauge,
    clock_offset: Gauge,
    clock_set_back: Gauge,
    cpu: Counter,
    resident: Gauge,
    open_files: Gauge,
    open_files_max: Gauge,
    threads: Gauge,
}

impl ProcessMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        let made = Self {
            build_info: make.gauges("build_info", "1, with the version of the backend.", &["version"]),
            start_time: make
                .float_gauge("start_time_seconds", "When the process started, in seconds since 1970-01-01."),
            clock_offset: make.float_gauge(
                "clock_offset_seconds",
                "How far the machine's clock is ahead of the backend's, which took it over at its start; below 0 when it was set back.",
            ),
            clock_set_back: make.float_gauge(
                "clock_set_back_seconds",
                "By how much the machine's clock had been set back when the backend started; 0 when it had not.",
            ),
            process_start_time: make.process_gauge(
                "process_start_time_seconds",
                "When the process started, in seconds since 1970-01-01, as for any program.",
            ),
            cpu: make.process_counter("process_cpu_seconds_total", "Time on processors."),
            resident: make.process_gauge("process_resident_memory_bytes", "Memory that the process has."),
            open_files: make.process_gauge("process_open_fds", "Files and connections that are open."),
            open_files_max: make.process_gauge("process_max_fds", "How many may be open."),
            threads: make.process_gauge("process_threads", "Threads of the process."),
        };
        made.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        made
    }

    /// Looks at the process as it is now.
    pub(super) fn measure(&self) {
        self.cpu.inc_by((processor_time().as_secs_f64() - self.cpu.get()).max(0.0));
        self.resident.set(count(resident_bytes().unwrap_or(0)));
        self.open_files.set(count(entries("/proc/self/fd")));
        self.open_files_max.set(getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, count));
        self.threads.set(count(entries("/proc/self/task")));
    }
}

impl Metrics {
    /// The process started.
    pub(crate) fn started(&self, at: Timestamp) {
        let at = Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0)).as_secs_f64();
        self.process.start_time.set(at);
        self.process.process_start_time.set(at);
    }

    /// At the start, the machine's clock was behind the time in the database.
    pub(crate) fn clock_found_set_back(&self, by: Duration) {
        self.process.clock_set_back.set(by.as_secs_f64());
    }

    /// How far the machine's clock is ahead of ours now.
    pub(crate) fn set_clock_offset(&self, machine_ahead_ms: i64) {
        let offset = Duration::from_millis(machine_ahead_ms.unsigned_abs()).as_secs_f64();
        self.process.clock_offset.set(offset * if machine_ahead_ms < 0 { -1.0 } else { 1.0 });
    }
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// The second figure of this file is what is in memory, in pages.
fn resident_bytes() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(page_size()).ok()?)
}

fn entries(directory: &str) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.map(|_| 1).sum())
}

/// Metrics are floating-point numbers; these are far from where that matters.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53: bytes of memory and numbers of files are less"
)]
fn count(number: u64) -> f64 {
    number as f64
}
