//! Whether the backend can do its work, as `/readyz` says it.

use jiff::{Timestamp, fmt::rfc2822};
use serde::Deserialize;

/// What the backend says about itself.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Readiness {
    /// What it looked at.
    pub(crate) checks: Checks,
    /// The backend's time when it answered, to the second.
    #[serde(skip)]
    pub(crate) at: Option<Timestamp>,
}

/// What readiness is made of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Checks {
    /// Whether it can store jobs.
    pub(crate) store: Check,
    /// Whether it reaches the broker.
    pub(crate) broker: Check,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Check {
    /// Whether it is well.
    pub(crate) ok: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
}

/// Reads the time of an HTTP header: `Fri, 20 Nov 2026 16:07:00 GMT`.
pub(crate) fn http_time(text: &str) -> Option<Timestamp> {
    rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_answer_is_read() {
        let time = http_time("Fri, 20 Nov 2026 16:07:00 GMT");
        assert_eq!(time, "2026-11-20T16:07:00Z".parse().ok());
        assert_eq!(http_time("soon"), None);
    }
}
