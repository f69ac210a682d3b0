//! When a submission wants to be tried, and for how long: read and checked against limits.

use std::time::Duration;

use crewcall_proto::Timestamp;

use super::{Backoff, Policy, Problem};

/// How far ahead a job may be scheduled: 366 days.
pub const SCHEDULE_AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How far a `run_at` may lie in the past and still mean "now": the clocks of submitters differ.
pub const RUN_AT_PAST_MAX: Duration = Duration::from_secs(60);

/// The longest timeout of an attempt: 7 days.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The shortest timeout of an attempt.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// The longest wait between two attempts: 1 day.
pub const BACKOFF_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The fastest growth of the waits between attempts.
pub const BACKOFF_FACTOR_MAX: f64 = 10.0;

/// The times of a submission, as they came in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times {
    pub run_at: Option<Timestamp>,
    /// How long to wait before, in seconds.
    pub delay_seconds: Option<f64>,
    /// When it is not worth starting any more.
    pub expires_at: Option<Timestamp>,
    /// How long an attempt may run, in seconds.
    pub timeout_seconds: Option<f64>,
    /// The waits between attempts.
    pub backoff: Option<BackoffRequest>,
}

/// A back-off, as it came in. What is absent takes the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackoffRequest {
    pub initial_seconds: Option<f64>,
    /// How much longer each further wait is.
    pub factor: Option<f64>,
    pub max_seconds: Option<f64>,
    /// How far waits are spread, 0 to 1.
    pub jitter: Option<f64>,
}

impl Times {
    /// When the job is due, and its policy. Problems are added to `problems`; a default is returned in their place.
    pub(super) fn read(self, now: Timestamp, problems: &mut Vec<Problem>) -> (Timestamp, Policy) {
        let due_at = self.due_at(now, problems);
        let expires_at = self.expires_at.filter(|expires_at| {
            check(problems, "/expires_at", *expires_at > due_at, || {
                "the job would expire before it is due: give a later time".to_owned()
            }) && check_ahead(problems, "/expires_at", now, *expires_at)
        });
        let timeout = self.timeout_seconds.and_then(|seconds| {
            let range = TIMEOUT_MIN..=TIMEOUT_MAX;
            read_seconds(problems, "/timeout_seconds", seconds, range)
        });
        let backoff = self.backoff.map_or_else(Backoff::default, |asked| asked.read(problems));
        (due_at, Policy { backoff, timeout, expires_at, run_at: self.run_at })
    }

    fn due_at(&self, now: Timestamp, problems: &mut Vec<Problem>) -> Timestamp {
        match (self.run_at, self.delay_seconds) {
            (None, None) => now,
            (Some(_), Some(_)) => {
                let message = "give either run_at or delay_seconds, not both";
                problems.push(Problem::new("/delay_seconds", message));
                now
            }
            (Some(run_at), None) => {
                let earliest = now.plus_millis(-milliseconds(RUN_AT_PAST_MAX));
                let fits = check(problems, "/run_at", run_at >= earliest, || {
                    "the time has passed: leave run_at out to run the job at once".to_owned()
                }) && check_ahead(problems, "/run_at", now, run_at);
                if fits { run_at } else { now }
            }
            (None, Some(seconds)) => {
                let delay =
                    read_seconds(problems, "/delay_seconds", seconds, Duration::ZERO..=SCHEDULE_AHEAD_MAX);
                now.plus_millis(milliseconds(delay.unwrap_or_default()))
            }
        }
    }
}

impl BackoffRequest {
    fn read(self, problems: &mut Vec<Problem>) -> Backoff {
        let default = Backoff::default();
        let mut seconds = |pointer, asked: Option<f64>| {
            asked.and_then(|asked| read_seconds(problems, pointer, asked, Duration::ZERO..=BACKOFF_MAX))
        };
        let initial = seconds("/backoff/initial_seconds", self.initial_seconds).unwrap_or(default.initial);
        // The default limit must not shorten a first wait that somebody asked for.
        let max_delay =
            seconds("/backoff/max_seconds", self.max_seconds).unwrap_or(default.max_delay.max(initial));
        check(problems, "/backoff/max_seconds", max_delay >= initial, || {
            "the longest wait is shorter than the first: raise max_seconds or lower initial_seconds"
                .to_owned()
        });
        let mut number = |pointer, asked: Option<f64>, default, range: std::ops::RangeInclusive<f64>| {
            let Some(asked) = asked else { return default };
            check(problems, pointer, range.contains(&asked), || {
                format!("a number from {} to {} is expected", range.start(), range.end())
            });
            asked
        };
        let factor = number("/backoff/factor", self.factor, default.factor, 1.0..=BACKOFF_FACTOR_MAX);
        let jitter = number("/backoff/jitter", self.jitter, default.jitter, 0.0..=1.0);
        Backoff { initial, factor, max_delay, jitter }
    }
}

fn check(problems: &mut Vec<Problem>, pointer: &str, fits: bool, message: impl Fn() -> String) -> bool {
    if !fits {
        problems.push(Problem::new(pointer, message()));
    }
    fits
}

fn check_ahead(problems: &mut Vec<Problem>, pointer: &str, now: Timestamp, at: Timestamp) -> bool {
    check(problems, pointer, at <= now.plus_millis(milliseconds(SCHEDULE_AHEAD_MAX)), || {
        "the time is more than 366 days ahead".to_owned()
    })
}

fn read_seconds(
    problems: &mut Vec<Problem>,
    pointer: &str,
    seconds: f64,
    range: std::ops::RangeInclusive<Duration>,
) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| range.contains(duration));
    check(problems, pointer, duration.is_some(), || {
        let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
        format!("a number of seconds from {least} to {most} is expected")
    });
    duration
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn read(times: Times) -> Result<(Timestamp, Policy), Vec<String>> {
        let mut problems = Vec::new();
        let read = times.read(NOW, &mut problems);
        if problems.is_empty() {
            Ok(read)
        } else {
            Err(problems.into_iter().map(|problem| problem.pointer).collect())
        }
    }

    #[test]
    fn nothing_asked_is_at_once_and_for_ever() {
        assert_eq!(read(Times::default()), Ok((NOW, Policy::default())));
    }

    #[test]
    fn a_delay_ends_at_a_time() {
        let delayed = read(Times { delay_seconds: Some(1.5), ..Times::default() });
        let timed = read(Times { run_at: Some(NOW.plus_millis(1_500)), ..Times::default() });
        let at = NOW.plus_millis(1_500);
        assert_eq!(delayed, Ok((at, Policy::default())));
        assert_eq!(
            timed,
            Ok((at, Policy { run_at: Some(at), ..Policy::default() })),
            "it is known which was asked for"
        );
    }

    #[test]
    fn the_absurd_is_refused_by_name() {
        let refused = |times| read(times).unwrap_err();
        let at = |milliseconds| Some(NOW.plus_millis(milliseconds));
        assert_eq!(refused(Times { run_at: at(-61_000), ..Times::default() }), ["/run_at"]);
        assert_eq!(refused(Times { run_at: at(400 * 86_400_000), ..Times::default() }), ["/run_at"]);
        assert_eq!(refused(Times { delay_seconds: Some(-1.0), ..Times::default() }), ["/delay_seconds"]);
        assert_eq!(refused(Times { delay_seconds: Some(f64::NAN), ..Times::default() }), ["/delay_seconds"]);
        assert_eq!(
            refused(Times { run_at: at(1), delay_seconds: Some(1.0), ..Times::default() }),
            ["/delay_seconds"]
        );
        assert_eq!(refused(Times { expires_at: at(0), ..Times::default() }), ["/expires_at"]);
        assert_eq!(refused(Times { run_at: at(10), expires_at: at(5), ..Times::default() }), ["/expires_at"]);
        assert_eq!(refused(Times { timeout_seconds: Some(0.0), ..Times::default() }), ["/timeout_seconds"]);
        assert_eq!(refused(Times { timeout_seconds: Some(1e9), ..Times::default() }), ["/timeout_seconds"]);
        let backoff = BackoffRequest {
            initial_seconds: Some(10.0),
            factor: Some(0.5),
            max_seconds: Some(5.0),
            jitter: Some(2.0),
        };
        assert_eq!(
            refused(Times { backoff: Some(backoff), ..Times::default() }),
            ["/backoff/max_seconds", "/backoff/factor", "/backoff/jitter"]
        );
    }
}
