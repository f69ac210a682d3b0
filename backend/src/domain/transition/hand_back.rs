//! What a worker gives up without an answer.

use crewcall_proto::{
    Timestamp,
    response::{ErrorKind, Origin},
};

use super::{Change, Machine, Stale, job_error};
use crate::domain::{Progress, State};

impl Machine<'_> {
    /// Not charged: the attempt goes on elsewhere, with the same token. Only who has the claim gives up what began.
    pub(super) fn on_handed_back(
        &self,
        origin: &Origin,
        resend: bool,
        message: Option<(String, Timestamp)>,
        started_at: Option<Timestamp>,
    ) -> Result<Change, Stale> {
        self.expect_current(origin.attempt, origin.attempt_token)?;
        if !self.status.state.is_in_flight() {
            return Err(Stale::State);
        }
        match &self.status.claim {
            // One that waited for a slot is given up by a worker that has no claim: whoever had it lost its order.
            Some(claim)
                if claim.execution_id != origin.execution_id && (claim.held || started_at.is_some()) =>
            {
                return Err(Stale::Execution);
            }
            _ => {}
        }
        if self.status.cancellation.is_some() {
            let message = format!("worker {} gave the attempt back", origin.worker_id);
            return Ok(self.end_attempt(self.ending(job_error(ErrorKind::Cancelled, message), false)));
        }
        let is_known = message.as_ref().is_none_or(|(message, at)| {
            let known = self.status.progress.as_ref();
            known.is_some_and(|known| known.message.as_ref() == Some(message) && known.at == *at)
        });
        if !resend && self.status.claim.is_none() && is_known {
            return Err(Stale::Sequence);
        }
        let has_claim =
            self.status.claim.as_ref().is_some_and(|claim| claim.execution_id == origin.execution_id);
        Ok(self.change(|status| {
            status.state = if resend { State::Ready } else { State::Dispatched };
            status.claim = None;
            status.given_up_by = Some(origin.execution_id);
            if resend && has_claim {
                // Its worker lives, so this start is no sign of a crash loop.
                status.starts = status.starts.saturating_sub(1);
            }
            status.started_at = status.started_at.or(started_at);
            if let Some((message, at)) = message {
                let percent = status.progress.as_ref().map_or(0, |progress| progress.percent);
                status.progress = Some(Progress { percent, message: Some(message), at });
            }
        }))
    }
}
