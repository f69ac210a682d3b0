//! The state machine: what an event makes of a job.

mod guard;
mod hand_back;

use std::time::Duration;

use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, Timestamp, WorkerId,
    response::{ErrorKind, Origin},
};

use super::{
    AttemptOutcome, AttemptRecord, Cancellation, Claim, Event, JobError, JobStatus, NewEvent, Policy,
    Progress, State,
    retry::{CRASHES_MIN, RETRY_AFTER_MAX, SENDINGS_MAX},
};
use crate::mutant::mutant;

/// What the pure function needs to know of the world at this moment.
#[derive(Debug, Clone, Copy)]
pub struct TransitionContext {
    /// The time, by the backend's clock.
    pub now: Timestamp,
    /// A random number from 0 to 1, for the spread of back-offs.
    pub jitter_sample: f64,
}

/// An event changed the job.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The job's status from now on.
    pub status: JobStatus,
    /// The attempt that ended with this event, if one did.
    pub ended: Option<AttemptRecord>,
    /// What is published with it.
    pub emitted: Vec<NewEvent>,
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

/// What `event` makes of a job: its changed status, or why nothing changes. Total: every event has an answer
/// in every state, and an event that is repeated changes nothing the second time.
///
/// # Errors
///
/// [`Stale`] when the event changes nothing.
pub fn transition(
    status: &JobStatus,
    policy: &Policy,
    event: Event,
    context: TransitionContext,
) -> Result<Change, Stale> {
    let machine = Machine { status, policy, context };
    match event {
        Event::Unblocked => machine.on_unblocked(),
        Event::Due => machine.on_due(),
        Event::Dispatched { token } => machine.on_dispatched(token),
        Event::Unroutable { attempt, token } => machine.on_unroutable(attempt, token),
        Event::TypeUnserved => machine.on_type_unserved(),
        Event::TypeServed => machine.on_type_served(),
        Event::Started { origin, seq, at } => machine.on_started(&origin, seq, at),
        Event::Progressed { origin, seq, percent, message, at } => {
            machine.on_progressed(&origin, seq, percent, message, at)
        }
        Event::Held { origin, seq } => machine.on_held(&origin, seq),
        Event::HandedBack { origin, resend, message, started_at, at } => {
            machine.on_handed_back(&origin, resend, message.map(|message| (message, at)), started_at)
        }
        Event::Completed { origin, result, emitted, started_at, finished_at } => {
            let change = machine.on_completed(origin, result, started_at, finished_at)?;
            Ok(Change { emitted, ..change })
        }
        Event::Failed { origin, error, redelivered, retryable, retry_after, started_at, finished_at } => {
            machine.may_fail(&origin, redelivered)?;
            Ok(machine.end_attempt(Ending {
                error,
                retryable,
                retry_after,
                worker_id: Some(origin.worker_id),
                started_at: started_at.or(status.started_at),
                finished_at,
            }))
        }
        Event::DeadLettered { attempt, token, error } => machine.on_dead_lettered(attempt, token, error),
        Event::LeaseExpired { attempt, execution_id } => machine.on_lease_expired(attempt, execution_id),
        Event::TimedOut { attempt, execution_id } => machine.on_timed_out(attempt, execution_id),
        Event::Expired => machine.on_expired(),
        Event::OrderLost { attempt, token } => machine.on_order_lost(attempt, token),
        Event::CancelRequested(cancellation) => machine.on_cancel_requested(cancellation),
        Event::RetryRequested => machine.on_retry_requested(),
    }
}

/// The arguments of one transition.
struct Machine<'a> {
    status: &'a JobStatus,
    policy: &'a Policy,
    context: TransitionContext,
}

/// How an attempt ended other than well.
struct Ending {
    error: JobError,
    retryable: bool,
    retry_after: Option<Duration>,
    worker_id: Option<WorkerId>,
    started_at: Option<Timestamp>,
    finished_at: Timestamp,
}

impl Machine<'_> {
    fn on_unblocked(&self) -> Result<Change, Stale> {
        self.expect_state(State::Blocked)?;
        let is_due = self.status.due_at <= self.context.now;
        Ok(self.change(|status| status.state = if is_due { State::Ready } else { State::Scheduled }))
    }

    fn on_due(&self) -> Result<Change, Stale> {
        self.expect_state(State::Scheduled)?;
        if self.context.now < self.status.due_at {
            return Err(Stale::NotDue);
        }
        Ok(self.change(|status| status.state = State::Ready))
    }

    fn on_dispatched(&self, token: AttemptToken) -> Result<Change, Stale> {
        self.expect_state(State::Ready)?;
        Ok(self.change(|status| {
            status.state = State::Dispatched;
            // An order that is sent again keeps its token: whichever copy is answered first counts.
            status.token = status.token.or(Some(token));
        }))
    }

    fn on_unroutable(&self, attempt: Attempt, token: AttemptToken) -> Result<Change, Stale> {
        self.expect_current(attempt, token)?;
        self.expect_state(State::Dispatched)?;
        Ok(self.change(|status| status.state = State::Unroutable))
    }

    fn on_type_unserved(&self) -> Result<Change, Stale> {
        self.expect_state(State::Ready)?;
        Ok(self.change(|status| status.state = State::Unroutable))
    }

    fn on_type_served(&self) -> Result<Change, Stale> {
        self.expect_state(State::Unroutable)?;
        Ok(self.change(|status| status.state = State::Ready))
    }

    fn on_started(&self, origin: &Origin, seq: u64, at: Timestamp) -> Result<Change, Stale> {
        self.expect_current(origin.attempt, origin.attempt_token)?;
        match &self.status.claim {
            Some(claim) if claim.execution_id == origin.execution_id => return Err(Stale::Sequence),
            // A held attempt has no order left that could be redelivered: the second execution came from
            // a duplicate, and the first goes on speaking.
            Some(claim) if claim.held => return Err(Stale::Execution),
            _ => self.expect_not_given_up(origin)?,
        }
        Ok(self.change(|status| claim(status, origin, seq, at)))
    }

    fn on_progressed(
        &self,
        origin: &Origin,
        seq: u64,
        percent: Option<u8>,
        message: Option<String>,
        at: Timestamp,
    ) -> Result<Change, Stale> {
        self.speaks_or_unclaimed(origin)?;
        if self.status.claim.as_ref().is_some_and(|claim| seq <= claim.seq) {
            return Err(Stale::Sequence);
        }
        Ok(self.change(|status| {
            match &mut status.claim {
                Some(claim) => claim.seq = seq,
                // The report of the start was lost, or is slower than this.
                None => claim(status, origin, seq, at),
            }
            let before = status.progress.as_ref().map_or(0, |progress| progress.percent);
            status.progress =
                Some(Progress { percent: percent.unwrap_or(before).min(100).max(before), message, at });
        }))
    }

    fn on_held(&self, origin: &Origin, seq: u64) -> Result<Change, Stale> {
        self.speaks_or_unclaimed(origin)?;
        if self.status.claim.as_ref().is_some_and(|claim| claim.held) {
            return Err(Stale::Sequence);
        }
        Ok(self.change(|status| {
            let started_at = status.started_at.unwrap_or(self.context.now);
            let seq = status.claim.as_ref().map_or(seq, |claim| claim.seq.max(seq));
            claim(status, origin, seq, started_at);
            if let Some(claim) = &mut status.claim {
                claim.held = true;
            }
        }))
    }

    /// The first result of the attempt counts, from whichever execution it comes.
    fn on_completed(
        &self,
        origin: Origin,
        result: String,
        started_at: Timestamp,
        finished_at: Timestamp,
    ) -> Result<Change, Stale> {
        self.expect_current(origin.attempt, origin.attempt_token)?;
        if mutant("one_in_ten_fails") {
            let error = job_error(ErrorKind::Handler, "a mutant".to_owned());
            return Ok(self.end_attempt(self.ending(error, false)));
        }
        let ended = AttemptRecord {
            attempt: self.status.attempt,
            outcome: AttemptOutcome::Completed,
            worker_id: Some(origin.worker_id),
            started_at: Some(started_at),
            finished_at,
            token: self.status.token,
        };
        let mut change = self.change(|status| {
            status.state = State::Completed;
            status.result = Some(result);
            status.error = None;
            status.started_at = Some(started_at);
            status.finished_at = Some(self.context.now);
            status.claim = None;
            if let Some(progress) = &mut status.progress {
                progress.percent = 100;
            }
        });
        change.ended = Some(ended);
        Ok(change)
    }

    fn on_dead_lettered(
        &self,
        attempt: Attempt,
        token: AttemptToken,
        error: JobError,
    ) -> Result<Change, Stale> {
        self.expect_current(attempt, token)?;
        if self.status.claim.as_ref().is_some_and(|claim| claim.held) {
            return Err(Stale::Execution);
        }
        // An order that came back without having been begun is no crash loop, unless it does so a second time.
        let is_innocent = self.status.starts < CRASHES_MIN && self.status.resends == 0;
        if error.kind == ErrorKind::CrashLoop && is_innocent && self.status.cancellation.is_none() {
            let mut change = self.send_again();
            // A fresh token for the next order: this news may come twice, and must not speak of that.
            change.status.token = None;
            return Ok(change);
        }
        let retryable = match error.kind {
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
        let last_words = self.status.progress.as_ref().and_then(|progress| progress.message.clone());
        let detail = error.detail.or_else(|| last_words.filter(|_| error.kind == ErrorKind::CrashLoop));
        let error = JobError { detail, ..error };
        Ok(self.end_attempt(self.ending(error, retryable)))
    }

    fn on_lease_expired(&self, attempt: Attempt, execution_id: ExecutionId) -> Result<Change, Stale> {
        let claim = self.expect_claim(attempt, execution_id)?;
        let message = format!("worker {} fell silent while it ran the attempt", claim.worker_id);
        let retryable = !mutant("lost_is_final");
        Ok(self.end_attempt(self.ending(job_error(ErrorKind::WorkerLost, message), retryable)))
    }

    fn on_timed_out(&self, attempt: Attempt, execution_id: ExecutionId) -> Result<Change, Stale> {
        let claim = self.expect_claim(attempt, execution_id)?;
        let seconds = self.policy.timeout.unwrap_or_default().as_secs_f64();
        let message = format!(
            "the attempt ran longer than its {seconds} s, and worker {} did not end it",
            claim.worker_id
        );
        Ok(self.end_attempt(self.ending(job_error(ErrorKind::Timeout, message), true)))
    }

    /// Only a job that never started can expire. An order that is with the broker is left there: whoever
    /// starts it all the same reports to a job that is over.
    fn on_expired(&self) -> Result<Change, Stale> {
        match self.status.state {
            State::Completed | State::Failed | State::Cancelled => return Err(Stale::Terminal),
            State::Running => return Err(Stale::State),
            State::Blocked | State::Scheduled | State::Ready | State::Unroutable | State::Dispatched => {}
        }
        if self.status.started_at.is_some() || self.status.attempt != Attempt::FIRST {
            return Err(Stale::State);
        }
        if self.policy.expires_at.is_none_or(|expires_at| self.context.now < expires_at) {
            return Err(Stale::NotDue);
        }
        Ok(self.change(|status| {
            status.state = State::Failed;
            status.error = Some(job_error(ErrorKind::Expired, "the job was not started in time".to_owned()));
            status.finished_at = Some(self.context.now);
        }))
    }

    fn on_order_lost(&self, attempt: Attempt, token: AttemptToken) -> Result<Change, Stale> {
        self.expect_current(attempt, token)?;
        if !self.status.state.is_in_flight() {
            return Err(Stale::State);
        }
        if self.status.cancellation.is_some() {
            let message = "the order was lost while its job was to be cancelled".to_owned();
            return Ok(self.end_attempt(self.ending(job_error(ErrorKind::WorkerLost, message), false)));
        }
        if self.status.resends + 1 >= SENDINGS_MAX {
            let message = format!(
                "the order was sent {SENDINGS_MAX} times and was gone each time, without an answer that could be read: \
                 a worker acknowledges what it does not answer, or somebody empties the queue"
            );
            return Ok(self.end_attempt(self.ending(job_error(ErrorKind::WorkerLost, message), true)));
        }
        Ok(self.send_again())
    }

    /// The current attempt gets another order.
    fn send_again(&self) -> Change {
        self.change(|status| {
            status.state = State::Ready;
            status.claim = None;
            status.progress = None;
            status.resends += 1;
        })
    }

    /// What waits is cancelled at once, and so is an order that nobody reported to have started:     /// somebody start it all the same, their result comes too late. What runs is asked to stop.
    fn on_cancel_requested(&self, cancellation: Cancellation) -> Result<Change, Stale> {
        match self.status.state {
            State::Completed | State::Failed | State::Cancelled => Err(Stale::Terminal),
            State::Running if self.status.cancellation.is_some() => Err(Stale::State),
            State::Running if mutant("cancel_dropped") => Ok(self.change(|_| ())),
            State::Running => Ok(self.change(|status| status.cancellation = Some(cancellation))),
            State::Blocked | State::Scheduled | State::Ready | State::Unroutable | State::Dispatched => {
                Ok(self.change(|status| {
                    status.state = State::Cancelled;
                    status.cancellation = Some(cancellation);
                    status.finished_at = Some(self.context.now);
                }))
            }
        }
    }

    fn on_retry_requested(&self) -> Result<Change, Stale> {
        match self.status.state {
            State::Failed if self.status.failed_at_birth() => Err(Stale::State),
            State::Failed | State::Cancelled => Ok(self.change(|status| {
                // Without a token the attempt was never sent, so its number is still free. But a job that
                // expired would expire again: only a first attempt does.
                let expired = status.error.as_ref().is_some_and(|error| error.kind == ErrorKind::Expired);
                if status.token.take().is_some() || expired {
                    status.attempt = status.attempt.next();
                }
                status.max_attempts = status.max_attempts.max(status.attempt.get());
                status.state = State::Ready;
                status.due_at = self.context.now;
                (status.resends, status.starts, status.given_up_by) = (0, 0, None);
                status.cancellation = None;
                status.finished_at = None;
                status.claim = None;
                status.progress = None;
            })),
            State::Completed => Err(Stale::Terminal),
            State::Blocked
            | State::Scheduled
            | State::Ready
            | State::Unroutable
            | State::Dispatched
            | State::Running => Err(Stale::State),
        }
    }

    /// The current attempt is over without a result: another one, or the end of the job.
    fn end_attempt(&self, ending: Ending) -> Change {
        let Ending { error, retryable, retry_after, worker_id, started_at, finished_at } = ending;
        let cancelled = self.status.cancellation.is_some();
        let again = retryable && !cancelled && self.status.attempt.get() < self.status.max_attempts;
        let outcome =
            if cancelled { AttemptOutcome::Cancelled } else { AttemptOutcome::Failed(error.clone()) };
        let JobStatus { attempt, token, .. } = *self.status;
        let ended = AttemptRecord { attempt, outcome, worker_id, started_at, finished_at, token };
        let mut change = self.change(|status| {
            status.claim = None;
            status.started_at = started_at;
            if again {
                let delay = retry_after.map_or_else(
                    || self.policy.backoff.delay_after(status.attempt.get(), self.context.jitter_sample),
                    |asked| asked.min(RETRY_AFTER_MAX),
                );
                status.state = State::Scheduled;
                status.attempt = status.attempt.next();
                status.token = None;
                (status.resends, status.starts, status.given_up_by) = (0, 0, None);
                status.progress = None;
                status.due_at =
                    self.context.now.plus_millis(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
            } else {
                status.state = if cancelled { State::Cancelled } else { State::Failed };
                status.finished_at = Some(self.context.now);
            }
            status.error = Some(error);
        });
        change.ended = Some(ended).filter(|_| !mutant("attempt_uncharged"));
        change
    }

    /// An attempt that ended without a word of its worker.
    fn ending(&self, error: JobError, retryable: bool) -> Ending {
        Ending {
            error,
            retryable,
            retry_after: None,
            worker_id: self.status.claim.as_ref().map(|claim| claim.worker_id.clone()),
            started_at: self.status.started_at,
            finished_at: self.context.now,
        }
    }

    fn change(&self, edit: impl FnOnce(&mut JobStatus)) -> Change {
        let mut status = self.status.clone();
        edit(&mut status);
        status.version += 1;
        Change { status, ended: None, emitted: Vec::new() }
    }
}

fn job_error(kind: ErrorKind, message: String) -> JobError {
    JobError { kind, code: None, message, detail: None }
}

fn claim(status: &mut JobStatus, origin: &Origin, seq: u64, started_at: Timestamp) {
    if status.claim.as_ref().is_none_or(|claim| claim.execution_id != origin.execution_id) {
        // How far another execution got says nothing about this one, which begins anew.
        status.progress = None;
        status.starts = status.starts.saturating_add(1);
    }
    status.state = State::Running;
    status.started_at = Some(started_at);
    status.claim = Some(Claim {
        execution_id: origin.execution_id,
        worker_id: origin.worker_id.clone(),
        seq,
        held: false,
    });
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
