//! For how long the store's thread was busy at a time, as far as the backend's metrics tell it.

use super::reading::{Reading, Unit};
use crate::{bench::http::Http, exit::Failure};

/// The longest that a transaction may keep the thread busy is 20 ms without the fsync. What is told has it, so that the next bound
/// of the histogram stands for both.
const BUSY_MAX: &str = "0.025";

/// Transactions so far: how many, and how many of them took longer.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Commits {
    all: f64,
    long: f64,
}

impl Commits {
    /// Those until now.
    ///
    /// # Errors
    ///
    /// When the backend does not answer.
    pub(super) async fn now(http: &Http) -> Result<Self, Failure> {
        let metrics = http.text("/metrics").await?;
        // Without the bound, no transaction would seem to be long.
        Self::read(&metrics)
            .ok_or_else(|| Failure::Part("the metrics do not tell how long commits take".into()))
    }

    fn read(metrics: &str) -> Option<Self> {
        let value = |series: &str| {
            metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok())
        };
        let short = value(&format!("crewcall_store_commit_seconds_bucket{{le=\"{BUSY_MAX}\"}}"))?;
        let all = value("crewcall_store_commit_seconds_count")?;
        Some(Self { all, long: all - short })
    }

    /// Those after `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self { all: self.all - before.all, long: self.long - before.long }
    }

    /// How many of a hundred took longer.
    fn percent(self) -> f64 {
        if self.all > 0.0 { self.long / self.all * 100.0 } else { 0.0 }
    }

    /// What is told of them, beside those of plain jobs.
    pub(super) fn reading(self, amid: &str, plain: Self) -> Reading {
        let what = format!("{amid}: commits of over 25 ms, with fsync");
        Reading::new(what, Unit::Percent, self.percent())
            .beside("plain jobs in batches", plain.percent())
            .at_most(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commits_are_those_above_the_bound() {
        let metrics = "# TYPE crewcall_store_commit_seconds histogram\n\
                       crewcall_store_commit_seconds_bucket{le=\"0.01\"} 5\n\
                       crewcall_store_commit_seconds_bucket{le=\"0.025\"} 198\n\
                       crewcall_store_commit_seconds_bucket{le=\"+Inf\"} 200\n\
                       crewcall_store_commit_seconds_sum 3.5\n\
                       crewcall_store_commit_seconds_count 200\n";
        let commits = Commits::read(metrics).unwrap();
        assert_eq!(commits, Commits { all: 200.0, long: 2.0 });
        assert!((commits.percent() - 1.0).abs() < f64::EPSILON);
        assert!(commits.since(commits).percent().abs() < f64::EPSILON);
        assert_eq!(Commits::read(&metrics.replace("0.025", "0.02")), None);
    }
}
