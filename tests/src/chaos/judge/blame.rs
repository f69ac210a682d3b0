//! Which faults may be blamed for what: every self-repair has to be the consequence of something that was done.

use jiff::{SignedDuration, Timestamp};

use crate::chaos::{
    fault::{Fault, Line, Target},
    fault_log::{Stall, Struck},
};

/// For how long after its healing a fault goes on to show: so long may a link take to notice that it is dead, and to come
/// back.
pub(super) const SHOWS_FOR: SignedDuration = SignedDuration::from_secs(30);

/// The faults that struck, and when the machine stood still.
#[derive(Debug, Default)]
pub(in crate::chaos) struct Blame {
    struck: Vec<Struck>,
    stalls: Vec<Stall>,
}

impl Blame {
    /// What can be blamed.
    #[must_use]
    pub(in crate::chaos) const fn new(struck: Vec<Struck>, stalls: Vec<Stall>) -> Self {
        Self { struck, stalls }
    }

    /// Whether such a fault struck, or still showed, between the two times.
    #[must_use]
    pub(super) fn struck(&self, blamed: impl Fn(Fault) -> bool, from: Timestamp, until: Timestamp) -> bool {
        self.went_on(blamed, shown_since(from), until)
    }

    /// Whether such a fault went on at some moment between the two times.
    #[must_use]
    pub(super) fn went_on(&self, blamed: impl Fn(Fault) -> bool, from: Timestamp, until: Timestamp) -> bool {
        self.overlapping(from, until).any(|struck| blamed(struck.fault))
    }

    /// How many such faults struck, or still showed, between the two times.
    #[must_use]
    pub(super) fn count(&self, blamed: impl Fn(Fault) -> bool, from: Timestamp, until: Timestamp) -> usize {
        self.overlapping(shown_since(from), until).filter(|struck| blamed(struck.fault)).count()
    }

    /// Whether something that was confirmed may have been thrown away between the two times: by a fault that struck just
    /// then, since what is thrown away is gone at once.
    #[must_use]
    pub(super) fn lost(&self, queues: &[&str], from: Timestamp, until: Timestamp) -> bool {
        let loses = |fault: Fault| queues.iter().any(|queue| fault.loses(Some(queue)));
        self.overlapping(from, until).any(|struck| loses(struck.fault))
    }

    /// Whether the machine stood still between the two times, or shortly before.
    #[must_use]
    pub(super) fn stalled(&self, from: Timestamp, until: Timestamp) -> bool {
        self.stalls.iter().any(|stall| stall.from <= until && stall.until + SHOWS_FOR >= from)
    }

    /// Whether something was done to a worker, because of which an attempt that it had between the two times may be lost.
    /// One that is asked to end loses nothing, unless it cannot say goodbye.
    #[must_use]
    pub(super) fn worker(&self, number: usize, from: Timestamp, until: Timestamp) -> bool {
        let line = Target::Line(Line::Worker(number));
        let done = |fault: Fault| match fault {
            Fault::WorkerStopped(_) => false,
            _ => [Target::Worker(number), line].contains(&fault.target()),
        };
        if self.stalled(from, until) || self.struck(done, from, until) {
            return true;
        }
        let mut stops = self.overlapping(shown_since(from), until);
        stops.any(|struck| {
            let over = struck.until.unwrap_or(until);
            struck.fault == Fault::WorkerStopped(number)
                && self.struck(is_about_the_broker, struck.from, over)
        })
    }

    /// When something may really have been logged that says it was `at`: the clock may have been another just then.
    pub(super) fn moments(&self, at: Timestamp) -> impl Iterator<Item = Timestamp> {
        let jumped = self.struck.iter().filter_map(move |struck| {
            let Fault::ClockJumped(ahead) = struck.fault else { return None };
            let really = at - SignedDuration::from_secs(ahead);
            (really >= struck.from && struck.until.is_none_or(|until| really <= until)).then_some(really)
        });
        std::iter::once(at).chain(jumped)
    }

    fn overlapping(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = &Struck> {
        self.struck
            .iter()
            .filter(move |struck| struck.from <= until && struck.until.is_none_or(|over| over >= from))
    }
}

/// Since when a fault that was over may still have shown at this time, of which there may be no sensible one: the job is deleted.
fn shown_since(from: Timestamp) -> Timestamp {
    from.saturating_sub(SHOWS_FOR).unwrap_or(Timestamp::MIN)
}

/// Whether the broker, or somebody's way to it, is concerned.
#[must_use]
pub(super) fn is_about_the_broker(fault: Fault) -> bool {
    fault.removes_a_route() || matches!(fault.target(), Target::Broker | Target::Newcomer)
}

/// Whether the backend, its way to the broker, or its database is concerned.
#[must_use]
pub(super) fn is_about_the_backend(fault: Fault) -> bool {
    matches!(fault.target(), Target::Backend | Target::Store | Target::Line(Line::Backend))
}
