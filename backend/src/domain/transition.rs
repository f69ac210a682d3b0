//! The state machine: what an event makes of a job.

mod guard;
mod hand_back;

use std::time::Duration;

use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, Timestamp, WorkerId,
    response::{ErrorKind, Origin},
};

use super::{
    AttemptOutcome, AttemptRecord, Cancellation, Claim, Event, Failure, Life, Policy, Progress, State,
    retry::{CRASHES_MIN, RETRY_AFTER_MAX, SENDINGS_MAX},
};
use crate::mutant::mutant;

/// What the pure function needs to know of the world at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time, by the backend's clock.
    pub now: Timestamp,
    /// A random number from 0 to 1, for the spread of back-offs.
    pub spread: f64,
}

/// An event changed the job.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The job's life from now on.
    pub life: Life,
    /// The attempt that ended with this event, if one did.
    pub ended: Option<AttemptRecord>,
}

/// Why an event changed nothing. An answer, not an error: the world repeats itself and comes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stale {
    /// The job is over.
    Terminal,
    /// The event is about another attempt.
    Attempt,
    /// The event does not carry the attempt's token.
    Token,
    /// Another execution speaks for the attempt.
    Execution,
    /// The message is older than one already taken, or a repetition.
    Sequence,
    /// The job is in no state that the event could change.
    State,
    /// The due time is still to come.
    NotDue,
}

impl Stale {
    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Attempt => "attempt",
            Self::Token => "token",
            Self::Execution => "execution",
            Self::Sequence => "sequence",
            Self::State => "state",
            Self::NotDue => "not_due",
        }
    }
}

/// What `event` makes of a job: its changed life, or why nothing changes. Total: every event has an answer
/// in every state, and an event that is repeated changes nothing the second time.
///
/// # Errors
///
/// [`Stale`] when the event changes nothing.
pub fn transition(life: &Life, policy: &Policy, event: Event, moment: Moment) -> Result<Change, Stale> {
    let machine = Machine { life, policy, moment };
    match event {
        Event::Due => machine.due(),
        Event::Dispatched { token } => machine.dispatched(token),
        Event::Returned { attempt, token } => machine.returned(attempt, token),
        Event::TypeServed => machine.type_served(),
        Event::Started { origin, seq, at } => machine.started(&origin, seq, at),
        Event::Progressed { origin, seq, percent, message, at } => {
            machine.progressed(&origin, seq, percent, message, at)
        }
        Event::Held { origin, seq } => machine.held(&origin, seq),
        Event::HandedBack { origin, resend, message, started_at, at } => {
            machine.handed_back(&origin, resend, message.map(|message| (message, at)), started_at)
        }
        Event::Completed { origin, result, started_at, finished_at } => {
            machine.completed(origin, result, started_at, finished_at)
        }
        Event::Failed { origin, failure, redelivered, retryable, retry_after, started_at, finished_at } => {
            machine.may_fail(&origin, redelivered)?;
            Ok(machine.end_attempt(Ending {
                failure,
                retryable,
                retry_after,
                worker_id: Some(origin.worker_id),
                started_at: started_at.or(life.started_at),
                finished_at,
            }))
        }
        Event::DeadLettered { attempt, token, failure } => machine.dead_lettered(attempt, token, failure),
        Event::LeaseExpired { attempt, execution_id } => machine.lease_expired(attempt, execution_id),
        Event::TimedOut { attempt, execution_id } => machine.timed_out(attempt, execution_id),
        Event::Expired => machine.expired(),
        Event::OrderLost { attempt, token } => machine.order_lost(attempt, token),
        Event::CancelRequested(cancellation) => machine.cancel_requested(cancellation),
        Event::RetryRequested => machine.retry_requested(),
    }
}

/// The arguments of one transition.
struct Machine<'a> {
    life: &'a Life,
    policy: &'a Policy,
    moment: Moment,
}

/// How an attempt ended other than well.
struct Ending {
    failure: Failure,
    retryable: bool,
    retry_after: Option<Duration>,
    worker_id: Option<WorkerId>,
    started_at: Option<Timestamp>,
    finished_at: Timestamp,
}

impl Machine<'_> {
    fn due(&self) -> Result<Change, Stale> {
        self.expect_state(State::Scheduled)?;
        if self.moment.now < self.life.due_at {
            return Err(Stale::NotDue);
        }
        Ok(self.change(|life| life.state = State::Ready))
    }

    fn dispatched(&self, token: AttemptToken) -> Result<Change, Stale> {
        self.expect_state(State::Ready)?;
        Ok(self.change(|life| {
            life.state = State::Dispatched;
            // An order that is sent again keeps its token: whichever copy is answered first counts.
            life.token = life.token.or(Some(token));
        }))
    }

    fn returned(&self, attempt: Attempt, token: AttemptToken) -> Result<Change, Stale> {
        self.expect_current(attempt, token)?;
        self.expect_state(State::Dispatched)?;
        Ok(self.change(|life| life.state = State::Unroutable))
    }

    fn type_served(&self) -> Result<Change, Stale> {
        self.expect_state(State::Unroutable)?;
        Ok(self.change(|life| life.state = State::Ready))
    }

    fn started(&self, origin: &Origin, seq: u64, at: Timestamp) -> Result<Change, Stale> {
        self.expect_current(origin.attempt, origin.attempt_token)?;
        match &self.life.claim {
            Some(claim) if claim.execution_id == origin.execution_id => return Err(Stale::Sequence),
            // A held attempt has no order left that could be redelivered: the second execution came from
            // a duplicate, and the first goes on speaking.
            Some(claim) if claim.held => return Err(Stale::Execution),
            _ => {}
        }
        Ok(self.change(|life| claim(life, origin, seq, at)))
    }

    fn progressed(
        &self,
        origin: &Origin,
        seq: u64,
        percent: Option<u8>,
        message: Option<String>,
        at: Timestamp,
    ) -> Result<Change, Stale> {
        self.speaks_or_unclaimed(origin)?;
        if self.life.claim.as_ref().is_some_and(|claim| seq <= claim.seq) {
            return Err(Stale::Sequence);
        }
        Ok(self.change(|life| {
            match &mut life.claim {
                Some(claim) => claim.seq = seq,
                // The report of the start was lost, or is slower than this.
                None => claim(life, origin, seq, at),
            }
            let before = life.progress.as_ref().map_or(0, |progress| progress.percent);
            life.progress =
                Some(Progress { percent: percent.unwrap_or(before).min(100).max(before), message, at });
        }))
    }

    fn held(&self, origin: &Origin, seq: u64) -> Result<Change, Stale> {
        self.speaks_or_unclaimed(origin)?;
        if self.life.claim.as_ref().is_some_and(|claim| claim.held) {
            return Err(Stale::Sequence);
        }
        Ok(self.change(|life| {
            let started_at = life.started_at.unwrap_or(self.moment.now);
            let seq = life.claim.as_ref().map_or(seq, |claim| claim.seq.max(seq));
            claim(life, origin, seq, started_at);
            if let Some(claim) = &mut life.claim {
                claim.held = true;
            }
        }))
    }

    /// The first result of the attempt counts, from whichever execution it comes.
    fn completed(
        &self,
        origin: Origin,
        result: String,
        started_at: Timestamp,
        finished_at: Timestamp,
    ) -> Result<Change, Stale> {
        self.expect_current(origin.attempt, origin.attempt_token)?;
        if mutant("one_in_ten_fails") {
            let failure = failure(ErrorKind::Handler, "a mutant".to_owned());
            return Ok(self.end_attempt(self.lost(failure, false)));
        }
        let ended = AttemptRecord {
            attempt: self.life.attempt,
            outcome: AttemptOutcome::Completed,
            worker_id: Some(origin.worker_id),
            started_at: Some(started_at),
            finished_at,
        };
        let mut change = self.change(|life| {
            life.state = State::Completed;
            life.result = Some(result);
            life.failure = None;
            life.started_at = Some(started_at);
            life.finished_at = Some(self.moment.now);
            life.claim = None;
            if let Some(progress) = &mut life.progress {
                progress.percent = 100;
            }
        });
        change.ended = Some(ended);
        Ok(change)
    }

    fn dead_lettered(
        &self,
        attempt: Attempt,
        token: AttemptToken,
        failure: Failure,
    ) -> Result<Change, Stale> {
        self.expect_current(attempt, token)?;
        if self.life.claim.as_ref().is_some_and(|claim| claim.held) {
            return Err(Stale::Execution);
        }
        // An order that came back without having been begun is no crash loop, unless it does so a second time.
        let is_innocent = self.life.starts < CRASHES_MIN && self.life.resends == 0;
        if failure.kind == ErrorKind::CrashLoop && is_innocent && self.life.cancellation.is_none() {
            let mut change = self.sent_again();
            // A fresh token for the next order: this news may come twice, and must not speak of that.
            change.life.token = None;
            return Ok(change);
        }
        let retryable = match failure.kind {
            // Whoever wants more workers to die of it can ask for a retry.
            ErrorKind::CrashLoop
            | ErrorKind::Malformed
            | ErrorKind::InvalidParameters
            | ErrorKind::Cancelled
            | ErrorKind::Expired => false,
            ErrorKind::Handler
            | ErrorKind::Panic
            | ErrorKind::Timeout
            | ErrorKind::WorkerLost
            | ErrorKind::Unknown => true,
        };
        // Whoever looks for what the order does to its workers begins with the last thing that was heard of it.
        let last_words = self.life.progress.as_ref().and_then(|progress| progress.message.clone());
        let detail = failure.detail.or_else(|| last_words.filter(|_| failure.kind == ErrorKind::CrashLoop));
        let failure = Failure { detail, ..failure };
        Ok(self.end_attempt(self.lost(failure, retryable)))
    }

    fn lease_expired(&self, attempt: Attempt, execution_id: ExecutionId) -> Result<Change, Stale> {
        let claim = self.expect_claim(attempt, execution_id)?;
        let message = format!("worker {} fell silent while it ran the attempt", claim.worker_id);
        let retryable = !mutant("lost_is_final");
        Ok(self.end_attempt(self.lost(failure(ErrorKind::WorkerLost, message), retryable)))
    }

    fn timed_out(&self, attempt: Attempt, execution_id: ExecutionId) -> Result<Change, Stale> {
        let claim = self.expect_claim(attempt, execution_id)?;
        let seconds = self.policy.timeout.unwrap_or_default().as_secs_f64();
        let message = format!(
            "the attempt ran longer than its {seconds} s, and worker {} did not end it",
            claim.worker_id
        );
        Ok(self.end_attempt(self.lost(failure(ErrorKind::Timeout, message), true)))
    }

    /// Only a job that never started can expire. An order that is with the broker is left there: whoever
    /// starts it all the same reports to a job that is over.
    fn expired(&self) -> Result<Change, Stale> {
        match self.life.state {
            State::Completed | State::Failed | State::Cancelled => return Err(Stale::Terminal),
            State::Running => return Err(Stale::State),
            State::Scheduled | State::Ready | State::Unroutable | State::Dispatched => {}
        }
        if self.life.started_at.is_some() || self.life.attempt != Attempt::FIRST {
            return Err(Stale::State);
        }
        if self.policy.expires_at.is_none_or(|expires_at| self.moment.now < expires_at) {
            return Err(Stale::NotDue);
        }
        Ok(self.change(|life| {
            life.state = State::Failed;
            life.failure = Some(failure(ErrorKind::Expired, "the job was not started in time".to_owned()));
            life.finished_at = Some(self.moment.now);
        }))
    }

    fn order_lost(&self, attempt: Attempt, token: AttemptToken) -> Result<Change, Stale> {
        self.expect_current(attempt, token)?;
        if !self.life.state.is_in_flight() {
            return Err(Stale::State);
        }
        if self.life.cancellation.is_some() {
            let message = "the order was lost while its job was to be cancelled".to_owned();
            return Ok(self.end_attempt(self.lost(failure(ErrorKind::WorkerLost, message), false)));
        }
        if self.life.resends + 1 >= SENDINGS_MAX {
            let message = format!(
                "the order was sent {SENDINGS_MAX} times and was gone each time, without an answer that could be read: \
                 a worker acknowledges what it does not answer, or somebody empties the queue"
            );
            return Ok(self.end_attempt(self.lost(failure(ErrorKind::WorkerLost, message), true)));
        }
        Ok(self.sent_again())
    }

    /// The current attempt gets another order.
    fn sent_again(&self) -> Change {
        self.change(|life| {
            life.state = State::Ready;
            life.claim = None;
            life.progress = None;
            life.resends += 1;
        })
    }

    /// What waits is cancelled at once, and so is an order that nobody reported to have started: should
    /// somebody start it all the same, his result comes too late. What runs is asked to stop.
    fn cancel_requested(&self, cancellation: Cancellation) -> Result<Change, Stale> {
        match self.life.state {
            State::Completed | State::Failed | State::Cancelled => Err(Stale::Terminal),
            State::Running if self.life.cancellation.is_some() => Err(Stale::State),
            State::Running if mutant("cancel_dropped") => Ok(self.change(|_| ())),
            State::Running => Ok(self.change(|life| life.cancellation = Some(cancellation))),
            State::Scheduled | State::Ready | State::Unroutable | State::Dispatched => {
                Ok(self.change(|life| {
                    life.state = State::Cancelled;
                    life.cancellation = Some(cancellation);
                    life.finished_at = Some(self.moment.now);
                }))
            }
        }
    }

    fn retry_requested(&self) -> Result<Change, Stale> {
        match self.life.state {
            State::Failed | State::Cancelled => Ok(self.change(|life| {
                // Without a token the attempt was never sent, so its number is still free. But a job that
                // expired would expire again: only a first attempt does.
                let expired = life.failure.as_ref().is_some_and(|failure| failure.kind == ErrorKind::Expired);
                if life.token.take().is_some() || expired {
                    life.attempt = life.attempt.next();
                }
                life.attempts_max = life.attempts_max.max(life.attempt.get());
                life.state = State::Ready;
                life.due_at = self.moment.now;
                (life.resends, life.starts) = (0, 0);
                life.cancellation = None;
                life.finished_at = None;
                life.claim = None;
                life.progress = None;
            })),
            State::Completed => Err(Stale::Terminal),
            State::Scheduled | State::Ready | State::Unroutable | State::Dispatched | State::Running => {
                Err(Stale::State)
            }
        }
    }

    /// The current attempt is over without a result: another one, or the end of the job.
    fn end_attempt(&self, ending: Ending) -> Change {
        let Ending { failure, retryable, retry_after, worker_id, started_at, finished_at } = ending;
        let cancelled = self.life.cancellation.is_some();
        let again = retryable && !cancelled && self.life.attempt.get() < self.life.attempts_max;
        let outcome =
            if cancelled { AttemptOutcome::Cancelled } else { AttemptOutcome::Failed(failure.clone()) };
        let ended = AttemptRecord { attempt: self.life.attempt, outcome, worker_id, started_at, finished_at };
        let mut change = self.change(|life| {
            life.claim = None;
            life.started_at = started_at;
            if again {
                let delay = retry_after.map_or_else(
                    || self.policy.backoff.delay_after(life.attempt.get(), self.moment.spread),
                    |asked| asked.min(RETRY_AFTER_MAX),
                );
                life.state = State::Scheduled;
                life.attempt = life.attempt.next();
                life.token = None;
                (life.resends, life.starts) = (0, 0);
                life.progress = None;
                life.due_at =
                    self.moment.now.plus_millis(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
            } else {
                life.state = if cancelled { State::Cancelled } else { State::Failed };
                life.finished_at = Some(self.moment.now);
            }
            life.failure = Some(failure);
        });
        change.ended = Some(ended).filter(|_| !mutant("attempt_uncharged"));
        change
    }

    /// An attempt that ended without a word of its worker.
    fn lost(&self, failure: Failure, retryable: bool) -> Ending {
        Ending {
            failure,
            retryable,
            retry_after: None,
            worker_id: self.life.claim.as_ref().map(|claim| claim.worker_id.clone()),
            started_at: self.life.started_at,
            finished_at: self.moment.now,
        }
    }

    fn change(&self, edit: impl FnOnce(&mut Life)) -> Change {
        let mut life = self.life.clone();
        edit(&mut life);
        life.version += 1;
        Change { life, ended: None }
    }
}

fn failure(kind: ErrorKind, message: String) -> Failure {
    Failure { kind, code: None, message, detail: None }
}

fn claim(life: &mut Life, origin: &Origin, seq: u64, started_at: Timestamp) {
    if life.claim.as_ref().is_none_or(|claim| claim.execution_id != origin.execution_id) {
        // How far another execution got says nothing about this one, which begins anew.
        life.progress = None;
        life.starts = life.starts.saturating_add(1);
    }
    life.state = State::Running;
    life.started_at = Some(started_at);
    life.claim = Some(Claim {
        execution_id: origin.execution_id,
        worker_id: origin.worker_id.clone(),
        seq,
        held: false,
    });
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
