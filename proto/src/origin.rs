//! Whose message it is, of those that name an attempt and echo its token.

use crate::{Attempt, AttemptToken, ExecutionId, JobId, WorkerId};

/// Which execution of which attempt a response speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The job of the order that is answered.
    pub job_id: JobId,
    /// The attempt, as the order numbered it.
    pub attempt: Attempt,
    /// The token of that order, which only its receiver knows: without it nothing can be said of the attempt.
    pub attempt_token: AttemptToken,
    /// The delivery that this worker works on.
    pub execution_id: ExecutionId,
    /// Whose run it is: the id that the worker announced itself by.
    pub worker_id: WorkerId,
}

/// How the five fields of an [`Origin`] stand in each message: side by side with the others, because a
/// flattened struct would lose the error messages and the speed of the codec.
macro_rules! origin {
    ($name:ident) => {
        impl $name {
            /// Which execution this response speaks for.
            #[must_use]
            pub fn origin(&self) -> $crate::origin::Origin {
                $crate::origin::Origin {
                    job_id: self.job_id,
                    attempt: self.attempt,
                    attempt_token: self.attempt_token,
                    execution_id: self.execution_id,
                    worker_id: self.worker_id.clone(),
                }
            }
        }
    };
}

pub(crate) use origin;
