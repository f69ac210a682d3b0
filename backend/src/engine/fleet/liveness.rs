//! For how long this process has heard its workers: the clock by which their silence is measured.
//!
//! A worker that says nothing may be dead. Or the broker is frozen, our link is half-open, this process was stopped
//! for a while, or what workers said waits in a long queue: then everybody is silent, and nobody is to blame. So the
//! backend talks to itself: every second it sends a pulse the way that heartbeats take. A pulse that comes back shows
//! that what was said before it was heard, and only then does this clock move on.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

/// How often a pulse is sent.
pub const PULSE_EVERY: Duration = Duration::from_secs(1);

/// What one pulse moves the clock on by at most. More than the interval, so that a busy machine does not slow the
/// clock down; little enough that a long outage counts for next to nothing.
const PULSE_WORTH_MAX: Duration = Duration::from_millis(1_500);

/// What the backend says to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// The process.
    pub process: Uuid,
    /// Counts up.
    pub number: u64,
}

/// The clock of hearing.
#[derive(Debug)]
pub struct Hearing {
    process: Uuid,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    time: Duration,
    sent: u64,
    last: u64,
    last_at: Instant,
}

impl Default for Hearing {
    fn default() -> Self {
        let state = State { time: Duration::ZERO, sent: 0, last: 0, last_at: Instant::now() };
        Self { process: Uuid::new_v4(), state: Mutex::new(state) }
    }
}

impl Hearing {
    /// For how long workers could be heard since the process started.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.lock().time
    }

    /// The next pulse, to be sent.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        let mut state = self.lock();
        state.sent += 1;
        Pulse { process: self.process, number: state.sent }
    }

    /// A pulse came back. Answers by how much it moved the clock on. That of another process says nothing about ours,
    /// nor does one that came twice.
    pub fn heard(&self, pulse: Pulse) -> Duration {
        let mut state = self.lock();
        if pulse.process != self.process || !(state.last + 1..=state.sent).contains(&pulse.number) {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let worth = now.duration_since(state.last_at).min(PULSE_WORTH_MAX);
        state.time += worth;
        state.last = pulse.number;
        state.last_at = now;
        worth
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pulses_that_come_back_late_but_steadily_keep_the_time() {
        let hearing = Hearing::default();
        let under_way = [hearing.pulse(), hearing.pulse(), hearing.pulse()];
        for pulse in under_way {
            advance(PULSE_EVERY).await;
            hearing.heard(pulse);
        }
        assert_eq!(hearing.time(), 3 * PULSE_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_of_everybody_counts_for_next_to_nothing() {
        let hearing = Hearing::default();
        let pulses = [hearing.pulse(), hearing.pulse(), hearing.pulse()];
        advance(Duration::from_secs(3_600)).await;
        for pulse in pulses {
            hearing.heard(pulse);
        }
        assert_eq!(hearing.time(), PULSE_WORTH_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_of_another_a_repeated_one_and_an_invented_one_are_worth_nothing() {
        let hearing = Hearing::default();
        let pulse = hearing.pulse();
        advance(PULSE_EVERY).await;
        hearing.heard(pulse);
        advance(PULSE_EVERY).await;
        hearing.heard(pulse);
        hearing.heard(Hearing::default().pulse());
        hearing.heard(Pulse { number: 7, ..pulse });
        assert_eq!(hearing.time(), PULSE_EVERY);
    }
}
