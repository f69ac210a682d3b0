//! Durations as people write them: `90s`, `5m`, `2h`, `14d`, `1h30m`.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Reads a duration. A day is 24 hours.
///
/// # Errors
///
/// A sentence that shows the right form.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    const EXAMPLES: &str = "write it like 90s, 5m, 2h or 1d";
    if text.parse::<f64>().is_ok() {
        return Err(format!("it has no unit; {EXAMPLES}"));
    }
    let span: Span = text.parse().map_err(|_| format!("it is not a duration; {EXAMPLES}"))?;
    let signed = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| format!("a month or a year is not always equally long; {EXAMPLES}"))?;
    Duration::try_from(signed).map_err(|_| format!("it must not be negative; {EXAMPLES}"))
}

/// Seconds as people read them: `1m 30s`.
pub(crate) fn show(seconds: f64) -> String {
    match SignedDuration::try_from_secs_f64(seconds) {
        Ok(duration) => format!("{duration:#}"),
        Err(_) => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90s", 90.0),
            ("5m", 300.0),
            ("2h", 7_200.0),
            ("14d", 1_209_600.0),
            ("1h30m", 5_400.0),
            ("250ms", 0.25),
            ("0s", 0.0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        let refusals: Vec<String> = ["90", "", "soon", "-5m", "1y", "5 bananas"]
            .into_iter()
            .map(|text| format!("{text}: {}", parse(text).unwrap_err()))
            .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }

    #[test]
    fn seconds_are_shown_in_units() {
        let shown = [0.1, 2.0, 90.0, 600.0, 604_800.0].map(show);
        assert_eq!(shown, ["100ms", "2s", "1m 30s", "10m", "168h"]);
    }
}
