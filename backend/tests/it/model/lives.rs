//! The real state machine, asked once for each question.
//!
//! `transition` is a pure function, so its answer to a life and an event never has to be asked for twice. Lives
//! are numbered, which makes a state of the world small.

use std::{collections::HashMap, time::Duration};

use crewcall_backend::domain::{
    AttemptOutcome, Backoff, Cancellation, Change, Event, JobError, JobStatus, Policy, Stale, State,
    TransitionContext,
};
use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, JobId, Timestamp,
    response::{ErrorKind, Origin},
};

use super::world::{ATTEMPTS_MAX, News, Order, Outcome};

/// The only time there is: everything is due at once, and whatever may take long may take no time.
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// More execution numbers, and more tokens, than ever exist at once.
const NUMBERS_MAX: u8 = 32;

/// How many executions late news are tried with: more than one attempt ever has at once.
const EXECUTIONS_PROBED: u8 = 8;

/// A state machine: the real one, or a broken one.
pub(super) type Transition = fn(&JobStatus, &Policy, Event, TransitionContext) -> Result<Change, Stale>;

/// The number of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LifeId(u16);

/// An event, in the terms of this world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Input {
    Due,
    Dispatched { fresh_token: u8 },
    Response { news: News, order: Order, execution: u8, redelivered: bool },
    LeaseExpired { attempt: u8, execution: u8 },
    OrderLost(Order),
    CancelRequested,
}

/// What a life says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) attempt: u8,
    pub(super) token: Option<u8>,
    /// The execution that has the claim, and whether it holds the attempt.
    pub(super) claim: Option<(u8, bool)>,
    /// The execution that gave the attempt up last.
    pub(super) given_up_by: Option<u8>,
    pub(super) percent: Option<u8>,
    pub(super) is_cancel_requested: bool,
    /// Which order the result answers.
    pub(super) result_of: Option<Order>,
}

impl View {
    /// What names the current order, once it was dispatched.
    pub(super) fn order(&self) -> Option<Order> {
        self.token.map(|token| Order { attempt: self.attempt, token })
    }
}

/// The life after an event, and the attempt that ended with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed {
    pub(super) status: LifeId,
    pub(super) ended: Option<(u8, Outcome)>,
}

/// Every life seen so far, and every answer.
pub(super) struct Lives {
    transition: Transition,
    lives: Vec<(JobStatus, View)>,
    numbers: HashMap<(String, Option<AttemptToken>), LifeId>,
    answers: HashMap<(LifeId, Input), Option<Changed>>,
    ignores: HashMap<(LifeId, u8), bool>,
}

impl Lives {
    pub(super) fn new(transition: Transition) -> Self {
        Self {
            transition,
            lives: Vec::new(),
            numbers: HashMap::new(),
            answers: HashMap::new(),
            ignores: HashMap::new(),
        }
    }

    /// The life of a job that was accepted and is due.
    pub(super) fn first(&mut self) -> LifeId {
        self.number(JobStatus::new(u32::from(ATTEMPTS_MAX), NOW, NOW))
    }

    pub(super) fn view(&self, id: LifeId) -> &View {
        &self.lives[usize::from(id.0)].1
    }

    /// Whether news of attempts before `attempt`, of whatever execution, change nothing in this life.
    pub(super) fn ignores_before(&mut self, id: LifeId, attempt: u8) -> bool {
        if let Some(known) = self.ignores.get(&(id, attempt)) {
            return *known;
        }
        let ignores = (1..attempt).all(|over| {
            let order = Order { attempt: over, token: over };
            let is_stale = |lives: &mut Self, input| lives.after(id, input).is_none();
            is_stale(self, Input::OrderLost(order))
                && (0..EXECUTIONS_PROBED).all(|execution| {
                    is_stale(self, Input::LeaseExpired { attempt: over, execution })
                        && News::ALL.into_iter().all(|news| {
                            [false, true].into_iter().all(|redelivered| {
                                is_stale(self, Input::Response { news, order, execution, redelivered })
                            })
                        })
                })
        });
        self.ignores.insert((id, attempt), ignores);
        ignores
    }

    /// Whether nothing at all changes this life any more.
    pub(super) fn ignores_everything(&mut self, id: LifeId) -> bool {
        self.ignores_before(id, ATTEMPTS_MAX + 1)
            && [Input::Due, Input::Dispatched { fresh_token: 0 }, Input::CancelRequested]
                .into_iter()
                .all(|input| self.after(id, input).is_none())
    }

    /// How many times the state machine was asked.
    pub(super) fn questions(&self) -> usize {
        self.answers.len()
    }

    /// What an event makes of a life; `None` if it is stale.
    pub(super) fn after(&mut self, id: LifeId, input: Input) -> Option<Changed> {
        if let Some(known) = self.answers.get(&(id, input)) {
            return *known;
        }
        // No wait between attempts: the time of the world stands still.
        let backoff = Backoff { initial: Duration::ZERO, ..Backoff::default() };
        let policy = Policy { backoff, ..Policy::default() };
        let context = TransitionContext { now: NOW, jitter_sample: 0.5 };
        let status = &self.lives[usize::from(id.0)].0;
        let answer = (self.transition)(status, &policy, event(input), context).ok().map(|change| Changed {
            ended: change.ended.as_ref().map(|record| (small(record.attempt), outcome(&record.outcome))),
            status: self.number(change.status),
        });
        self.answers.insert((id, input), answer);
        answer
    }

    fn number(&mut self, mut status: JobStatus) -> LifeId {
        // It only counts the changes; with it, no two ways would ever meet.
        status.version = 0;
        // A token shows itself to nobody, so it is named beside the rest.
        let key = (format!("{status:?}"), status.token);
        if let Some(known) = self.numbers.get(&key) {
            return *known;
        }
        let id = LifeId(u16::try_from(self.lives.len()).expect("there are few lives"));
        let view = view(&status);
        self.lives.push((status, view));
        self.numbers.insert(key, id);
        id
    }
}

fn view(status: &JobStatus) -> View {
    View {
        state: status.state,
        attempt: small(status.attempt),
        token: status.token.map(|token| find(|number| self::token(number) == token)),
        claim: status
            .claim
            .as_ref()
            .map(|claim| (find(|number| execution_id(number) == claim.execution_id), claim.held)),
        given_up_by: status.given_up_by.map(|given_up_by| find(|number| execution_id(number) == given_up_by)),
        percent: status.progress.as_ref().map(|progress| progress.percent),
        is_cancel_requested: status.cancellation.is_some(),
        result_of: status.result.as_ref().map(|result| {
            let all = (1..=ATTEMPTS_MAX)
                .flat_map(|attempt| (0..NUMBERS_MAX).map(move |token| Order { attempt, token }));
            all.into_iter()
                .find(|order| self::result(*order) == *result)
                .expect("every result names its order")
        }),
    }
}

fn event(input: Input) -> Event {
    match input {
        Input::Due => Event::Due,
        Input::Dispatched { fresh_token } => Event::Dispatched { token: token(fresh_token) },
        Input::Response { news, order, execution, redelivered } => {
            response(news, order, execution, redelivered)
        }
        Input::LeaseExpired { attempt, execution } => {
            Event::LeaseExpired { attempt: number(attempt), execution_id: execution_id(execution) }
        }
        Input::OrderLost(order) => {
            Event::OrderLost { attempt: number(order.attempt), token: token(order.token) }
        }
        Input::CancelRequested => {
            Event::CancelRequested(Cancellation { by: "somebody".to_owned(), reason: None, at: NOW })
        }
    }
}

fn response(news: News, order: Order, execution: u8, redelivered: bool) -> Event {
    let origin = Origin {
        job_id: JobId::from_uuid(uuid::Uuid::nil()),
        attempt: number(order.attempt),
        attempt_token: token(order.token),
        execution_id: execution_id(execution),
        worker_id: "worker".parse().expect("it is a worker's name"),
    };
    let failed = |kind, retryable| Event::Failed {
        origin: origin.clone(),
        error: JobError { kind, code: None, message: "it broke".to_owned(), detail: None },
        redelivered,
        retryable,
        retry_after: None,
        started_at: Some(NOW),
        finished_at: NOW,
    };
    match news {
        News::Started => Event::Started { origin, seq: 1, at: NOW },
        // Two executions of one attempt get differently far.
        News::Progressed => {
            let percent = Some(if execution.is_multiple_of(2) { 60 } else { 30 });
            Event::Progressed { origin, seq: 2, percent, message: None, at: NOW }
        }
        News::Held => Event::Held { origin, seq: 3 },
        News::HandedBack => {
            Event::HandedBack { origin, resend: true, message: None, started_at: Some(NOW), at: NOW }
        }
        News::NotBegun => {
            Event::HandedBack { origin, resend: true, message: None, started_at: None, at: NOW }
        }
        News::Completed => Event::Completed {
            origin,
            result: result(order),
            emitted: Vec::new(),
            started_at: NOW,
            finished_at: NOW,
        },
        News::Failed => failed(ErrorKind::Handler, true),
        News::Cancelled => failed(ErrorKind::Cancelled, false),
    }
}

fn outcome(outcome: &AttemptOutcome) -> Outcome {
    match outcome {
        AttemptOutcome::Completed => Outcome::Completed,
        AttemptOutcome::Cancelled => Outcome::Cancelled,
        AttemptOutcome::Failed(error) => match error.kind {
            ErrorKind::Handler => Outcome::Handler,
            ErrorKind::WorkerLost => Outcome::WorkerLost,
            ErrorKind::Panic
            | ErrorKind::Timeout
            | ErrorKind::InvalidParameters
            | ErrorKind::CrashLoop
            | ErrorKind::Malformed
            | ErrorKind::Cancelled
            | ErrorKind::Expired
            | ErrorKind::Unknown => Outcome::Other,
        },
    }
}

fn result(order: Order) -> String {
    format!(r#"{{"attempt":{},"token":{}}}"#, order.attempt, order.token)
}

fn token(number: u8) -> AttemptToken {
    AttemptToken::from_bits(u128::from(number))
}

fn execution_id(number: u8) -> ExecutionId {
    ExecutionId::from_uuid(uuid::Uuid::from_u128(u128::from(number)))
}

fn number(attempt: u8) -> Attempt {
    Attempt::new(u32::from(attempt)).expect("attempts count from 1")
}

fn small(attempt: Attempt) -> u8 {
    u8::try_from(attempt.get()).expect("there are few attempts")
}

fn find(is: impl Fn(u8) -> bool) -> u8 {
    (0..NUMBERS_MAX).find(|number| is(*number)).expect("every number is small")
}
