//! What the store does, and how much room it has.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::{Metrics, gauge, registrar::Registrar};

/// From one fsync on a fast disk to a stall.
const COMMIT_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

/// From one command to the most that share a commit.
const BATCH_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

pub(super) struct StoreMetrics {
    commit: Histogram,
    batch_size: Histogram,
    rows: IntCounter,
    failed: IntCounter,
    checkpoint: Histogram,
    file_bytes: IntGauge,
    log_bytes: IntGauge,
    disk_free_bytes: IntGauge,
}

impl StoreMetrics {
    pub(super) fn new(make: &mut Registrar) -> Self {
        Self {
            commit: make.histogram("store_commit_seconds", "Duration of a commit.", &COMMIT_BUCKETS),
            batch_size: make.histogram("store_batch_size", "Commands in one commit.", &BATCH_BUCKETS),
            rows: make.counter("store_rows_total", "Rows that were inserted, changed or deleted."),
            failed: make.counter("store_commits_failed_total", "Transactions that were given up."),
            checkpoint: make.histogram(
                "store_checkpoint_seconds",
                "How long it took to move what was committed from the log into the database file.",
                &COMMIT_BUCKETS,
            ),
            file_bytes: make.gauge("store_file_bytes", "Size of the database file."),
            log_bytes: make.gauge("store_log_bytes", "Size of the database's write-ahead log."),
            disk_free_bytes: make
                .gauge("store_disk_free_bytes", "What is free on the disk that has the database."),
        }
    }
}

impl Metrics {
    /// The store committed `commands` together, which changed `rows`.
    pub(crate) fn store_committed(&self, commands: usize, rows: u64, elapsed: Duration) {
        self.store.commit.observe(elapsed.as_secs_f64());
        self.store.batch_size.observe(f64::from(u32::try_from(commands).unwrap_or(u32::MAX)));
        self.store.rows.inc_by(rows);
    }

    /// The store gave a transaction up.
    pub(crate) fn store_commit_failed(&self) {
        self.store.failed.inc();
    }

    /// The store moved what was committed into the file.
    pub(crate) fn store_checkpointed(&self, elapsed: Duration) {
        self.store.checkpoint.observe(elapsed.as_secs_f64());
    }

    /// How much room the store takes, and has.
    pub(crate) fn set_store_usage(&self, file_bytes: u64, log_bytes: u64, disk_free_bytes: u64) {
        self.store.file_bytes.set(gauge(file_bytes));
        self.store.log_bytes.set(gauge(log_bytes));
        self.store.disk_free_bytes.set(gauge(disk_free_bytes));
    }
}
