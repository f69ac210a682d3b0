//! Jobs that nobody submitted: what a consumer makes of an event, and a run of its steps.

use crewcall_proto::{JobId, Timestamp};

use super::{Engine, SubmitError};
use crate::domain::{
    Job, Problem, Submission,
    job::{UNFILLED, UNFIT},
};

impl Engine {
    /// The job that is made; one that is failed already, if there is nothing to run: `bare`, without what could not be filled in, shows
    /// why. `None` when that cannot be said now, or there is nothing at all.
    pub(in crate::engine) async fn job_made(
        &self,
        bare: Option<Submission>,
        submission: Result<Box<Submission>, String>,
        now: Timestamp,
    ) -> Option<Job> {
        let failed = |submission: Option<Submission>, code: &str, message: String| {
            let new = submission?.validate_made(now).ok()?;
            Some(new.fail(JobId::generate(), now, code, message))
        };
        let submission = match submission {
            Ok(submission) => *submission,
            Err(unfilled) => return failed(bare, UNFILLED, unfilled),
        };
        let problems = match self.check_made(submission.clone()).await {
            Ok((job, _)) => return Some(job),
            Err(SubmitError::Invalid(problems)) => {
                return failed(bare, UNFILLED, Problem::sentence(&problems));
            }
            Err(SubmitError::InvalidParameters(problems)) => problems,
            Err(_) => return None,
        };
        failed(Some(submission), UNFIT, Problem::sentence(&problems))
    }
}
