//! Who may say what of an attempt: the fences.

use crewcall_proto::{Attempt, AttemptToken, ExecutionId, response::Origin};

use super::{Machine, Stale};
use crate::{
    domain::{Claim, State},
    mutant::mutant,
};

impl Machine<'_> {
    pub(super) fn expect_state(&self, state: State) -> Result<(), Stale> {
        if self.status.state == state {
            Ok(())
        } else if self.status.state.is_terminal() {
            Err(Stale::Terminal)
        } else {
            Err(Stale::State)
        }
    }

    /// The attempt fence: without it, one error could be charged to two attempts.
    pub(super) fn expect_attempt(&self, attempt: Attempt) -> Result<(), Stale> {
        if self.status.state.is_terminal() && !mutant("end_is_not_final") {
            Err(Stale::Terminal)
        } else if self.status.attempt == attempt {
            Ok(())
        } else {
            Err(Stale::Attempt)
        }
    }

    /// The attempt fence and the capability together.
    pub(super) fn expect_current(&self, attempt: Attempt, token: AttemptToken) -> Result<(), Stale> {
        self.expect_attempt(attempt)?;
        let is_known = self.status.token == Some(token) || mutant("token_unchecked");
        if is_known { Ok(()) } else { Err(Stale::Token) }
    }

    /// The claim of this execution on the current attempt.
    pub(super) fn expect_claim(&self, attempt: Attempt, execution_id: ExecutionId) -> Result<&Claim, Stale> {
        self.expect_attempt(attempt)?;
        self.expect_state(State::Running)?;
        self.status.claim.as_ref().filter(|claim| claim.execution_id == execution_id).ok_or(Stale::Execution)
    }

    /// What a single execution may say: it has the claim, or nobody has.
    pub(super) fn speaks_or_unclaimed(&self, origin: &Origin) -> Result<(), Stale> {
        self.expect_current(origin.attempt, origin.attempt_token)?;
        match &self.status.claim {
            Some(claim) if claim.execution_id != origin.execution_id => Err(Stale::Execution),
            Some(_) => Ok(()),
            None => self.expect_not_given_up(origin),
        }
    }

    /// Whoever gave its order up no longer works on it. News of it that come by another queue may be slower than that word:
    /// they would claim an attempt that nobody runs.
    pub(super) fn expect_not_given_up(&self, origin: &Origin) -> Result<(), Stale> {
        if self.status.given_up_by == Some(origin.execution_id) { Err(Stale::Execution) } else { Ok(()) }
    }

    /// Who may end the attempt with an error: who may speak, and an execution whose order was delivered again. Its report of
    /// the start may be slower than the error, or lost; nobody else will answer the order. A held attempt has none.
    pub(super) fn may_fail(&self, origin: &Origin, redelivered: bool) -> Result<(), Stale> {
        match self.speaks_or_unclaimed(origin) {
            Err(Stale::Execution)
                if redelivered && !self.status.claim.as_ref().is_some_and(|claim| claim.held) =>
            {
                Ok(())
            }
            other => other,
        }
    }
}
