//! For how long this process has heard its workers: the clock by which their silence is measured.
//!
//! A worker that says nothing may be dead. Or the broker is frozen, our link is half-open, this process was stopped
//! for a while, or what workers said waits in a long queue: then everybody is silent, and nobody is to blame. So the
//! backend talks to itself: every second it sends a probe the way that heartbeats take. A probe that comes back shows
//! that what was said before it was heard, and only then does this clock move on.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

/// How often a probe is sent.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What one probe moves the clock on by at most. More than the interval, so that a busy machine does not slow the
/// clock down; little enough that a long outage counts for next to nothing.
const PROBE_WORTH_MAX: Duration = Duration::from_millis(1_500);

/// What the backend says to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackProbe {
    /// The process.
    pub process: Uuid,
    /// Counts up.
    pub number: u64,
}

/// The liveness clock.
#[derive(Debug)]
pub struct LivenessClock {
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

impl Default for LivenessClock {
    fn default() -> Self {
        let state = State { time: Duration::ZERO, sent: 0, last: 0, last_at: Instant::now() };
        Self { process: Uuid::new_v4(), state: Mutex::new(state) }
    }
}

impl LivenessClock {
    /// For how long workers could be heard since the process started.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.lock().time
    }

    /// The next probe, to be sent.
    #[must_use]
    pub fn probe(&self) -> LoopbackProbe {
        let mut state = self.lock();
        state.sent += 1;
        LoopbackProbe { process: self.process, number: state.sent }
    }

    /// A probe came back. Answers by how much it moved the clock on. That of another process says nothing about ours,
    /// nor does one that came twice.
    pub fn heard(&self, probe: LoopbackProbe) -> Duration {
        let mut state = self.lock();
        if probe.process != self.process || !(state.last + 1..=state.sent).contains(&probe.number) {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let worth = now.duration_since(state.last_at).min(PROBE_WORTH_MAX);
        state.time += worth;
        state.last = probe.number;
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
        let liveness = LivenessClock::default();
        let under_way = [liveness.probe(), liveness.probe(), liveness.probe()];
        for probe in under_way {
            advance(PROBE_EVERY).await;
            liveness.heard(probe);
        }
        assert_eq!(liveness.time(), 3 * PROBE_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_of_everybody_counts_for_next_to_nothing() {
        let liveness = LivenessClock::default();
        let probes = [liveness.probe(), liveness.probe(), liveness.probe()];
        advance(Duration::from_secs(3_600)).await;
        for probe in probes {
            liveness.heard(probe);
        }
        assert_eq!(liveness.time(), PROBE_WORTH_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_of_another_a_repeated_one_and_an_invented_one_are_worth_nothing() {
        let liveness = LivenessClock::default();
        let probe = liveness.probe();
        advance(PROBE_EVERY).await;
        liveness.heard(probe);
        advance(PROBE_EVERY).await;
        liveness.heard(probe);
        liveness.heard(LivenessClock::default().probe());
        liveness.heard(LoopbackProbe { number: 7, ..probe });
        assert_eq!(liveness.time(), PROBE_EVERY);
    }
}
