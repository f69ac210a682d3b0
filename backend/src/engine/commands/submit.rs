//! Submitting jobs.

use std::sync::Arc;

use crewcall_proto::{JobId, codec::PAYLOAD_BYTES_MAX};

use crate::{
    domain::{After, Job, NewJob, Problem, Submission},
    engine::{
        Caller, Engine,
        ports::{Accepted, IdempotencyKey, Inserted, JobQuery, LINKS_MAX, StoreError, UNANNOUNCED_TYPES_MAX},
        settings::schema::{CHECK_TIME_MAX, CheckError},
    },
    mutant::mutant,
};

/// Why a submission is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It is not a valid job.
    #[error("the submission has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    /// Its parameters do not fit the type's schema.
    #[error("the parameters have {} problems", .0.len())]
    InvalidParameters(Vec<Problem>),
    /// Its parameters could not be held against the type's schema yet: too many others are.
    #[error("too many parameters are being checked")]
    CheckBusy,
    /// Its idempotency key belongs to another submission.
    #[error("the idempotency key was used for another body")]
    KeyReused,
    /// Nobody announced its type, and there are too many like it.
    #[error("{UNANNOUNCED_TYPES_MAX} types that nobody announced have jobs or settings already")]
    TooManyTypes,
    /// So many jobs come after others that no more may.
    #[error("{LINKS_MAX} links from blocked jobs to those that they come after are kept already")]
    TooManyLinks,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a submission that is a job.
#[derive(Debug, Clone)]
pub enum Submitted {
    Accepted(Arc<Job>),
    /// It was accepted before, under the same idempotency key: the job as it is now.
    Replayed(Arc<Job>),
}

impl Engine {
    /// Accepts a job: when this returns `Ok`, the job is on disk.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when it is not accepted; nothing is stored then.
    pub async fn submit(
        &self,
        caller: &Caller,
        submission: Submission,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Submitted, SubmitError> {
        tracing::debug!(by = caller.by(), job.r#type = submission.job_type, "A job is submitted.");
        let (job, after) = self.check(caller, submission).await?;
        if mutant("wrong_id") {
            let newest = JobQuery { limit: 1, ..JobQuery::default() };
            if let Some(another) = self.store.list(&newest).await?.pop() {
                return Ok(Submitted::Accepted(Arc::new(another)));
            }
        }
        let stored = self.store_all(vec![(job, after.clone(), idempotency)]).await?;
        match stored.into_iter().next() {
            Some(inserted) => self.submitted(inserted, after.as_ref()),
            None => {
                Err(StoreError::Broken { reason: "it answered an insert with nothing".to_owned() }.into())
            }
        }
    }

    /// What became of an earlier submission with this key, if there was one. Asked of a submission that would be refused:
    /// what was a job once stays accepted, though its times have passed or its type's schema has changed since.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when the key belongs to another body, or the store cannot tell.
    pub async fn submitted_before(&self, key: &IdempotencyKey) -> Result<Option<Submitted>, SubmitError> {
        self.store.submitted_before(key).await?.map(|inserted| self.submitted(inserted, None)).transpose()
    }

    /// Accepts many jobs, each for itself: one that is no job does not spoil the others. Returns what became of them, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when not all could be stored; those of earlier calls are.
    pub async fn submit_batch(
        &self,
        caller: &Caller,
        submissions: Vec<Submission>,
    ) -> Result<Vec<Result<Arc<Job>, SubmitError>>, StoreError> {
        tracing::debug!(by = caller.by(), jobs = submissions.len(), "Jobs are submitted.");
        let mut checked: Vec<Result<(Job, Option<After>), SubmitError>> =
            Vec::with_capacity(submissions.len());
        for submission in submissions {
            checked.push(self.check(caller, submission).await);
            // Each takes little, all of them may take long.
            tokio::task::consume_budget().await;
        }
        let jobs = checked.iter().filter_map(|job| job.as_ref().ok().cloned());
        let jobs = jobs.map(|(job, after)| (job, after, None)).collect();
        let mut stored = self.store_all(jobs).await?.into_iter();
        let answers = checked.into_iter().map(|checked| {
            let (_, after) = checked?;
            match stored.next() {
                Some(inserted) => match self.submitted(inserted, after.as_ref())? {
                    Submitted::Accepted(job) | Submitted::Replayed(job) => Ok(job),
                },
                None => Err(StoreError::Broken {
                    reason: "it answered for fewer jobs than it was given".to_owned(),
                }
                .into()),
            }
        });
        Ok(answers.collect())
    }

    /// Reads a submission as a job, and which others it comes after.
    pub(in crate::engine) async fn check(
        &self,
        caller: &Caller,
        submission: Submission,
    ) -> Result<(Job, Option<After>), SubmitError> {
        let new = submission.validate(self.clock.now()).map_err(SubmitError::Invalid)?;
        self.judge(caller, new).await
    }

    /// The same of what the backend makes itself, of types that are its own as well.
    pub(in crate::engine) async fn check_made(
        &self,
        submission: Submission,
    ) -> Result<(Job, Option<After>), SubmitError> {
        let new = submission.validate_made(self.clock.now()).map_err(SubmitError::Invalid)?;
        self.judge(&Caller::loopback(), new).await
    }

    /// Holds the parameters against their limit, and against the schema of the type.
    async fn judge(&self, caller: &Caller, mut new: NewJob) -> Result<(Job, Option<After>), SubmitError> {
        let now = self.clock.now();
        let after = new.after.take();
        let parameters_bytes = serde_json::to_vec(&new.parameters).map_or(usize::MAX, |text| text.len());
        if parameters_bytes > PAYLOAD_BYTES_MAX {
            return Err(SubmitError::Invalid(vec![Problem {
                pointer: "/parameters".to_owned(),
                message: format!(
                    "the parameters are {parameters_bytes} bytes of JSON; at most {PAYLOAD_BYTES_MAX} travel with a job: pass larger data by reference"
                ),
            }]));
        }
        match self.catalogue.parameter_problems(&new.job_type, &new.parameters).await {
            Ok(problems) if problems.is_empty() => {
                let traceparent = caller.traceparent().cloned();
                Ok((Job { traceparent, ..new.accept(JobId::generate(), now) }, after))
            }
            Ok(problems) => Err(SubmitError::InvalidParameters(problems)),
            Err(CheckError::TooCostly) => Err(SubmitError::InvalidParameters(vec![Problem {
                pointer: "/parameters".to_owned(),
                message: format!(
                    "they cannot be held against the type's schema within {} s: pass less, or ask whoever wrote the schema for a simpler one",
                    CHECK_TIME_MAX.as_secs()
                ),
            }])),
            Err(CheckError::Busy) => Err(SubmitError::CheckBusy),
        }
    }

    async fn store_all(
        &self,
        jobs: Vec<(Job, Option<After>, Option<IdempotencyKey>)>,
    ) -> Result<Vec<Inserted>, StoreError> {
        let accepted = jobs.into_iter().map(|(job, after, idempotency)| {
            let window = self.relay.window(&job.job_type);
            Accepted { job, window, idempotency, after }
        });
        let (changes, accepted) = (self.changes.clone(), accepted.collect());
        self.to_its_end(async move { changes.insert(accepted).await }).await
    }

    fn submitted(&self, inserted: Inserted, after: Option<&After>) -> Result<Submitted, SubmitError> {
        match inserted {
            Inserted::Stored { job } => Ok(Submitted::Accepted(job)),
            Inserted::Replayed { job } => {
                self.metrics.submission_repeated(true);
                Ok(Submitted::Replayed(job))
            }
            Inserted::KeyReused => {
                self.metrics.submission_repeated(false);
                Err(SubmitError::KeyReused)
            }
            Inserted::TooManyTypes => Err(SubmitError::TooManyTypes),
            Inserted::TooManyLinks => Err(SubmitError::TooManyLinks),
            Inserted::UnknownJobs(unknown) => {
                Err(SubmitError::Invalid(after.map(|after| after.unknown(&unknown)).unwrap_or_default()))
            }
        }
    }
}
