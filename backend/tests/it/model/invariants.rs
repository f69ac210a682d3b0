//! What must hold, whatever happens.

use std::fmt;

use crewcall_backend::domain::State;

use super::{
    lives::{Input, View},
    world::{ATTEMPTS_MAX, News, Outcome, World},
};

/// An invariant that does not hold. The numbers are those of the invariants of the whole system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// I3: a second conclusion was accepted.
    ConcludedTwice,
    /// I4: an attempt was charged twice.
    ChargedTwice { attempt: u8 },
    /// I4: an attempt was charged for something that did not happen in it.
    ChargedForNothing { attempt: u8, outcome: Outcome },
    /// I4: an attempt began, or the job was concluded, without the current attempt being charged.
    NotCharged,
    /// I4: there are more attempts than allowed.
    TooManyAttempts,
    /// I5: the accepted result is not that of the current attempt and its token.
    ForeignResult,
    /// I7: something changed after the end.
    ChangedAfterTheEnd,
    /// I7: news of an attempt that is over still change the job.
    PastCounts,
    /// I8: the progress fell within an execution.
    ProgressFell,
    /// A job was cancelled that nobody asked to cancel.
    CancelledByNobody,
    /// Who gave the attempt up speaks for it again: nobody runs it.
    GivenUpClaims,
    /// An order has no token.
    NoToken,
    /// The answer of the execution that has the order is refused: nobody will give another.
    AnswerRefused,
    /// I1, I9: nothing that is sure to happen leads to the end.
    Stuck,
}

/// Whether the store may change a life like this. `world` is as it was before.
pub(super) fn check_change(
    world: &World,
    input: Input,
    before: &View,
    after: &View,
    ended: Option<(u8, Outcome)>,
) -> Result<(), Violation> {
    if before.state.is_terminal() {
        return Err(if after.state.is_terminal() && after.result_of.is_some() {
            Violation::ConcludedTwice
        } else {
            Violation::ChangedAfterTheEnd
        });
    }
    if after.state.is_terminal() && world.conclusions > 0 {
        return Err(Violation::ConcludedTwice);
    }
    if after.attempt > ATTEMPTS_MAX {
        return Err(Violation::TooManyAttempts);
    }
    let execution = |view: &View| view.claim.map(|(execution, _)| execution);
    if before.given_up_by.is_some() && before.given_up_by == execution(after) {
        return Err(Violation::GivenUpClaims);
    }
    if after.attempt == before.attempt
        && execution(after).is_some()
        && execution(after) == execution(before)
        && after.percent < before.percent
    {
        return Err(Violation::ProgressFell);
    }
    if after.result_of != before.result_of {
        let accepted = match input {
            Input::Response { news: News::Completed, order, .. } => Some(order),
            _ => None,
        };
        if accepted.is_none() || accepted != before.order() || accepted != after.result_of {
            return Err(Violation::ForeignResult);
        }
    }
    check_charge(world, input, before, after, ended)
}

fn check_charge(
    world: &World,
    input: Input,
    before: &View,
    after: &View,
    ended: Option<(u8, Outcome)>,
) -> Result<(), Violation> {
    if after.state == State::Cancelled && !world.cancel_asked {
        return Err(Violation::CancelledByNobody);
    }
    let Some((attempt, outcome)) = ended else {
        // Only who cancels what waits ends a job without ending an attempt.
        let is_over = matches!(after.state, State::Completed | State::Failed);
        let is_charged = after.attempt == before.attempt && !is_over;
        return if is_charged { Ok(()) } else { Err(Violation::NotCharged) };
    };
    let truth = world.truth[usize::from(attempt) - 1];
    if truth.charged.is_some() {
        return Err(Violation::ChargedTwice { attempt });
    }
    // A worker says only what happened, so it is enough that it spoke of this attempt.
    let said = |expected| matches!(input, Input::Response { news, order, .. } if news == expected && order.attempt == attempt);
    let has_happened = match outcome {
        Outcome::Completed => said(News::Completed),
        Outcome::Handler => said(News::Failed),
        Outcome::WorkerLost => truth.unheard,
        Outcome::Cancelled => world.cancel_asked,
        Outcome::Other => false,
    };
    if attempt == before.attempt && has_happened {
        Ok(())
    } else {
        Err(Violation::ChargedForNothing { attempt, outcome })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConcludedTwice => f.write_str("the job is concluded a second time"),
            Self::ChargedTwice { attempt } => write!(f, "attempt {attempt} is charged a second time"),
            Self::ChargedForNothing { attempt, outcome } => {
                write!(f, "attempt {attempt} is charged with \"{outcome:?}\", which did not happen in it")
            }
            Self::NotCharged => f.write_str("an attempt is over without being charged"),
            Self::TooManyAttempts => f.write_str("there are more attempts than allowed"),
            Self::ForeignResult => f.write_str("the result is not that of the current attempt"),
            Self::ChangedAfterTheEnd => f.write_str("the job changes after its end"),
            Self::PastCounts => f.write_str("news of an attempt that is over would change the job"),
            Self::ProgressFell => f.write_str("the progress falls within an execution"),
            Self::CancelledByNobody => f.write_str("the job is cancelled, and nobody asked for it"),
            Self::GivenUpClaims => f.write_str("the attempt is claimed by who gave it up"),
            Self::NoToken => f.write_str("an order has no token"),
            Self::AnswerRefused => f.write_str("the answer of the execution that has the order is refused"),
            Self::Stuck => f.write_str("the job never ends, although no further fault happens"),
        }
    }
}
