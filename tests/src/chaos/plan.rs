//! Which faults strike when: chosen by a seed, and by nothing else.

use std::{fmt, ops::RangeInclusive, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    fault::{Death, DiskFault, Fault, Line, QUEUES, Target, Way},
    routes::{DEAD, ROUTES, Route},
};
use crate::failpoints::{BackendFailpoint, LinkFailpoint, WorkerFailpoint};

/// How many faults there are at once.
pub const FAULTS_AT_ONCE_MAX: usize = 6;

/// How many workers there are.
pub const WORKERS: usize = 4;

/// The worker in Python comes after them, where it can be run.
pub const PYTHON: usize = WORKERS;

/// How long everything is left alone in the beginning, in seconds: what repairs itself then is explained by nothing.
const CALM_SECONDS: u64 = 3;

/// The time between two choices, in milliseconds.
const GAP_MILLISECONDS: RangeInclusive<u64> = 500..=2_000;

/// How often another fault is chosen when the first is about what is broken already.
const CHOICES_MAX: usize = 4;

/// Only in the beginning of each four minutes does something strike that throws away what the broker had confirmed. In the
/// rest nothing of that may be lost, so that an order which is lost all the same has no excuse.
const LOSSES_EVERY_SECONDS: u64 = 240;
const LOSSES_WITHIN_SECONDS: u64 = 30;

/// How far the clock jumps, in seconds: F48 has it jump for days.
const CLOCK_JUMPS_SECONDS: RangeInclusive<i64> = 2..=60;

/// How often a program passes its failpoint before it dies there.
const PASSES: RangeInclusive<u32> = 0..=12;

/// The points at which a backend can die. ARCHITECTURE.md says what each leaves behind.
fn backend_points() -> Vec<&'static str> {
    let own = BackendFailpoint::ALL.map(BackendFailpoint::name);
    own.into_iter().chain(LinkFailpoint::ALL.map(LinkFailpoint::name)).collect()
}

/// The points at which a worker can die.
fn worker_points() -> Vec<&'static str> {
    let own = WorkerFailpoint::ALL.map(WorkerFailpoint::name);
    own.into_iter().chain(LinkFailpoint::ALL.map(LinkFailpoint::name)).collect()
}

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// When it strikes, from the beginning.
    pub at: Duration,
    /// For how long. What happens in a moment lasts for none; what has to start again takes its time besides.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

impl Strike {
    /// Whether it had to wait for so long, or a run of this length is so nearly over, that it must not be made any more.
    #[must_use]
    pub fn is_too_late(&self, elapsed: Duration, length: Duration) -> bool {
        let loses_what_must_stay = self.fault.loses(None) && !may_lose(elapsed);
        let takes = self.over_at().saturating_sub(self.at);
        let ends_too_late = self.fault.heals_slowly() && elapsed + takes > length;
        self.at <= elapsed && (loses_what_must_stay || ends_too_late)
    }

    /// When everything should be as before.
    #[must_use]
    pub fn over_at(&self) -> Duration {
        self.at + self.lasts + Duration::from_secs(self.fault.overhead_seconds())
    }
}

/// The faults of a run of this length, in order. The same seed and length give the same plan, and a longer
/// run begins as a shorter one does.
#[must_use]
pub fn plan(seed: u64, length: Duration) -> Vec<Strike> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut at = Duration::from_secs(CALM_SECONDS);
    let mut strikes: Vec<Strike> = Vec::new();
    loop {
        at += Duration::from_millis(dice.random_range(GAP_MILLISECONDS));
        if at >= length {
            return strikes;
        }
        let running: Vec<&Strike> = strikes.iter().filter(|strike| at <= strike.over_at()).collect();
        let taken: Vec<Target> = running.iter().map(|strike| strike.fault.target()).collect();
        if taken.iter().filter(|target| target.counts()).count() >= FAULTS_AT_ONCE_MAX {
            continue;
        }
        let mut choices = (0..CHOICES_MAX).map(|_choice| choose_at(&mut dice, at));
        if let Some(strike) = choices.find(|strike| !taken.contains(&strike.fault.target())) {
            strikes.push(strike);
        }
    }
}

fn choose_at(dice: &mut StdRng, at: Duration) -> Strike {
    let loses = may_lose(at) && dice.random_range(0..2) == 0;
    let fault = if loses { choose_loss(dice) } else { choose(dice) };
    let long = dice.random_range(0..5) == 0;
    let lasts = Duration::from_secs(dice.random_range(fault.seconds(long)));
    Strike { at, lasts, fault }
}

fn may_lose(at: Duration) -> bool {
    at.as_secs() % LOSSES_EVERY_SECONDS < LOSSES_WITHIN_SECONDS
}

/// What throws away what the broker had confirmed.
fn choose_loss(dice: &mut StdRng) -> Fault {
    let queue = QUEUES[dice.random_range(0..QUEUES.len())];
    match dice.random_range(0..6) {
        0 => Fault::BrokerWiped,
        1 | 2 => Fault::QueuePurged(queue),
        3 | 4 => Fault::QueueDeleted(queue),
        _ => choose_route(dice, |route| route.exchange == DEAD),
    }
}

/// What loses nothing that was confirmed.
fn choose(dice: &mut StdRng) -> Fault {
    let worker = dice.random_range(0..WORKERS);
    let any_worker = dice.random_range(0..=PYTHON);
    let way = [Way::Both, Way::ToServer, Way::ToClient][dice.random_range(0..3)];
    let line = match dice.random_range(0..7) {
        0 | 1 => Line::Backend,
        2 => Line::Callers,
        3 => Line::Worker(PYTHON),
        _ => Line::Worker(worker),
    };
    let jump = dice.random_range(CLOCK_JUMPS_SECONDS) * [1, -1][dice.random_range(0..2)];
    let passes = dice.random_range(PASSES);
    let mut death =
        |points: &[&'static str]| Death { point: points[dice.random_range(0..points.len())], passes };
    let (backend_dies, worker_dies) = (death(&backend_points()), death(&worker_points()));
    match dice.random_range(0..37) {
        0 => Fault::BrokerStopped,
        1 => Fault::BrokerKilled,
        2 => Fault::BrokerFrozen,
        3 => Fault::MemoryAlarm,
        4 => Fault::DiskAlarm,
        5 => Fault::ConnectionsClosed,
        6 | 7 => Fault::BackendKilled,
        8 | 9 => Fault::BackendStopped,
        10..=12 => Fault::BackendDies(backend_dies),
        13 => Fault::BackendFrozen,
        14 => Fault::DiskFails(DiskFault::Write),
        15 => Fault::DiskFails(DiskFault::Sync),
        16 => Fault::DiskFails(DiskFault::Room),
        17 => Fault::WorkerKilled(worker),
        18 => Fault::WorkerKilled(any_worker),
        19 => Fault::WorkerStopped(worker),
        20 => Fault::WorkerDies(worker, worker_dies),
        21 => Fault::WorkerFrozen(worker),
        22 => Fault::WorkerFrozen(any_worker),
        23 => Fault::WorkerDoubled(worker),
        24..=26 => Fault::LineFrozen(line, way),
        27 | 28 => Fault::LineReset(line),
        29 => Fault::LineSlow(line),
        30 => Fault::ResponsesRepeated,
        31 => Fault::ResponsesForged,
        32 | 33 => choose_route(dice, |route| route.exchange != DEAD),
        34 => Fault::BrokerKilledEarly,
        35 => Fault::ClockJumped(jump),
        _ => Fault::StoreLocked,
    }
}

/// An exchange or one of its bindings.
fn choose_route(dice: &mut StdRng, wanted: impl Fn(&Route) -> bool) -> Fault {
    let routes: Vec<Route> = ROUTES.into_iter().filter(wanted).collect();
    let route = routes[dice.random_range(0..routes.len())];
    if dice.random_range(0..2) == 0 { Fault::Unbound(route) } else { Fault::ExchangeDeleted(route.exchange) }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, lasts, fault } = self;
        write!(f, "[{:>4} s] {fault}", at.as_secs())?;
        if lasts.is_zero() { Ok(()) } else { write!(f, ", {} s", lasts.as_secs()) }
    }
}
