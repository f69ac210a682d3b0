//! Times that were measured, and how they are told.

use std::{io::Write, time::Duration};

/// Times of the same thing.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    /// Adds one.
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Prints them in a line, in milliseconds.
    pub(crate) fn say(&self, name: &str) -> anyhow::Result<()> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |percent: usize| milliseconds(sorted.get((sorted.len().saturating_sub(1)) * percent / 100));
        say(&format!(
            "{name:<40} median {:>8.2}   p95 {:>8.2}   p99 {:>8.2}   max {:>8.2} ms",
            at(50),
            at(95),
            at(99),
            at(100)
        ))
    }

    /// Its median, in units of the other's.
    pub(crate) fn median_over(&self, other: &Self) -> f64 {
        self.median() / other.median()
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        milliseconds(sorted.get(sorted.len() / 2))
    }
}

fn milliseconds(time: Option<&Duration>) -> f64 {
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
}

/// Prints a line.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}
