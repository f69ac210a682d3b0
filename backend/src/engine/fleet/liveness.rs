//! For how long this process has heard its workers: the clock by which their silence is measured.
//!
//! A worker that says nothing may be dead. Or the broker is frozen, our link is half-open, this process was stopped
//! for a while, or what workers said waits in a long queue: then everybody is silent, and nobody is to blame. So the
//! backend talks to itself: every second it sends a probe the way that heartbeats take. A probe that comes back shows
//! that what was said before it was heard, and only then does this clock move on.
//!
//! Whoever hears the probes of another backend, again and again, shares its queues with it: each of them hears half of
//! what workers say, and takes the other half for silence. The one that came later has to go ([`LivenessClock::displaced`]).

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::engine::ports::{BackendId, LoopbackProbe};

/// How often a probe is sent, on average.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What an interval is multiplied by, drawn anew for each. The broker serves the backends on one queue in turn: two that
/// send at the same pace, one after the other, would each hear its own probes only.
pub const PROBE_JITTER: Range<f64> = 0.6..1.4;

/// What one probe moves the clock on by at most. More than the interval, so that a busy machine does not slow the
/// clock down; little enough that a long outage counts for next to nothing.
const PROBE_WORTH_MAX: Duration = Duration::from_millis(1_500);

/// For how long the probes of another backend have to be heard before it is there: those that an earlier process left in the
/// queue come all at once. Ten of them, of which half are heard.
const ANOTHER_AFTER: Duration = Duration::from_secs(10);

/// The liveness clock.
#[derive(Debug)]
pub struct LivenessClock {
    backend: BackendId,
    state: Mutex<State>,
    /// An earlier backend that works on the same queues.
    earlier: watch::Sender<Option<BackendId>>,
}

#[derive(Debug)]
struct State {
    time: Duration,
    sent: u64,
    last: u64,
    last_at: Instant,
    another: Option<Another>,
}

/// Another backend that was heard.
#[derive(Debug)]
struct Another {
    backend: BackendId,
    since: Instant,
    /// The last of its probes.
    last: u64,
    told: bool,
}

impl Default for LivenessClock {
    fn default() -> Self {
        let state = State { time: Duration::ZERO, sent: 0, last: 0, last_at: Instant::now(), another: None };
        let backend = BackendId::generate();
        Self { backend, state: Mutex::new(state), earlier: watch::Sender::new(None) }
    }
}

impl LivenessClock {
    /// Which backend this is.
    #[must_use]
    pub fn backend(&self) -> BackendId {
        self.backend
    }

    /// Resolves when an earlier backend works on the same queues: with its id.
    pub async fn displaced(&self) -> BackendId {
        let mut earlier = self.earlier.subscribe();
        loop {
            if let Some(backend) = *earlier.borrow_and_update() {
                return backend;
            }
            // The sender lives as long as the clock.
            let _ = earlier.changed().await;
        }
    }

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
        LoopbackProbe { backend: self.backend, number: state.sent }
    }

    /// A probe came back. Returns by how much it moved the clock on. That of another process says nothing about ours,
    /// nor does one that came twice.
    pub fn on_probe(&self, probe: LoopbackProbe) -> Duration {
        let mut state = self.lock();
        if probe.backend != self.backend {
            self.on_probe_of_another(&mut state, probe);
            return Duration::ZERO;
        }
        if !(state.last + 1..=state.sent).contains(&probe.number) {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let worth = now.duration_since(state.last_at).min(PROBE_WORTH_MAX);
        state.time += worth;
        state.last = probe.number;
        state.last_at = now;
        worth
    }

    fn on_probe_of_another(&self, state: &mut State, LoopbackProbe { backend, number }: LoopbackProbe) {
        let another = match &mut state.another {
            Some(another) if another.backend == backend => another,
            _ => {
                let since = Instant::now();
                state.another = Some(Another { backend, since, last: number, told: false });
                return;
            }
        };
        // One that comes again is left over, and shows nothing.
        let is_new = number > another.last;
        another.last = another.last.max(number);
        if another.told || !is_new || another.since.elapsed() < ANOTHER_AFTER {
            return;
        }
        another.told = true;
        if backend < self.backend {
            self.earlier.send_replace(Some(backend));
        } else {
            tracing::error!(
                backend.id = %self.backend, other.id = %backend,
                "Another backend works on the same queues and takes half of what workers say. It ends by itself, for it came later; should it not, stop it."
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pulses_that_come_back_late_but_steadily_keep_the_time() {
        let liveness = LivenessClock::default();
        let under_way = [liveness.probe(), liveness.probe(), liveness.probe()];
        for probe in under_way {
            advance(PROBE_EVERY).await;
            liveness.on_probe(probe);
        }
        assert_eq!(liveness.time(), 3 * PROBE_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_of_everybody_counts_for_next_to_nothing() {
        let liveness = LivenessClock::default();
        let probes = [liveness.probe(), liveness.probe(), liveness.probe()];
        advance(Duration::from_secs(3_600)).await;
        for probe in probes {
            liveness.on_probe(probe);
        }
        assert_eq!(liveness.time(), PROBE_WORTH_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_backends_on_the_same_queues_the_later_one_learns_of_the_other() {
        let (earlier, later) = (LivenessClock::default(), LivenessClock::default());
        assert!(earlier.backend() < later.backend());
        // What an earlier process left comes at once; and what came once more, again.
        let left_over = [earlier.probe(), earlier.probe(), earlier.probe()];
        for probe in left_over.into_iter().chain(left_over) {
            later.on_probe(probe);
        }
        advance(2 * ANOTHER_AFTER).await;
        later.on_probe(left_over[2]);
        assert_eq!(later.displaced().now_or_never(), None);
        later.on_probe(earlier.probe());
        assert_eq!(later.displaced().now_or_never(), Some(earlier.backend()));
        for _ in 0..12 {
            earlier.on_probe(later.probe());
            advance(PROBE_EVERY).await;
        }
        assert_eq!(earlier.displaced().now_or_never(), None, "it was there first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_of_another_a_repeated_one_and_an_invented_one_are_worth_nothing() {
        let liveness = LivenessClock::default();
        let probe = liveness.probe();
        advance(PROBE_EVERY).await;
        liveness.on_probe(probe);
        advance(PROBE_EVERY).await;
        liveness.on_probe(probe);
        liveness.on_probe(LivenessClock::default().probe());
        liveness.on_probe(LoopbackProbe { number: 7, ..probe });
        assert_eq!(liveness.time(), PROBE_EVERY);
    }
}
