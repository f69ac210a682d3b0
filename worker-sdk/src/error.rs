//! How a handler says that it failed.

use std::{error::Error, fmt, time::Duration};

use crewcall_proto::response::{ErrorKind, Failed};

use crate::emit_error::{EVENT_REFUSED, EmitError};

/// Why a handler failed, and whether another attempt may succeed.
///
/// `?` turns any error into a retryable one, because most failures of a running system pass: a file that
/// is not there yet, a connection that broke. (An [`EmitError`] does not pass, and becomes a permanent one.) Where another attempt cannot help, use
/// [`or_fail`](crate::OrFail::or_fail) or [`JobError::permanent`].
///
/// The message is what people see at the job; the detail holds the chain of causes. Both are kept up to
/// [`JobError::MESSAGE_CHARACTERS_MAX`] characters.
///
/// ```
/// # use std::time::Duration;
/// # use crewcall_worker::JobError;
/// let error = JobError::retryable("the mail server is busy")
///     .code("server_busy")
///     .retry_after(Duration::from_secs(60));
/// assert!(error.is_retryable());
/// ```
///
/// It does not implement [`std::error::Error`] itself: only so can `?` convert every other error.
pub struct JobError {
    kind: ErrorKind,
    retryable: bool,
    code: Option<String>,
    message: String,
    detail: Option<String>,
    retry_after: Option<Duration>,
}

impl JobError {
    /// How much of the message, and of the detail, is kept, in characters.
    pub const MESSAGE_CHARACTERS_MAX: usize = Failed::MESSAGE_CHARACTERS_MAX;

    /// A failure that another attempt may get past.
    #[must_use]
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::of_kind(ErrorKind::Handler, true, message.into())
    }

    /// A failure that every attempt would meet again: the job fails at once.
    #[must_use]
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::of_kind(ErrorKind::Handler, false, message.into())
    }

    /// Adds a stable word for programs, such as `source_not_found`.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Asks for the next attempt after this time, instead of the job's own back-off.
    /// Means nothing on a permanent error.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Sets what helps to find the cause. Replaces the chain of causes.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Whether another attempt may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) const fn of_kind(kind: ErrorKind, retryable: bool, message: String) -> Self {
        Self { kind, retryable, code: None, message, detail: None, retry_after: None }
    }

    fn from_error(error: &(dyn Error + 'static), retryable: bool) -> Self {
        let mut job_error = Self::of_kind(ErrorKind::Handler, retryable, error.to_string());
        job_error.detail = causes_of(error);
        job_error
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobError")
            .field("kind", &self.kind.as_str())
            .field("retryable", &self.retryable)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("detail", &self.detail)
            .field("retry_after", &self.retry_after)
            .finish()
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        match (&error as &(dyn Error + 'static)).downcast_ref::<EmitError>() {
            Some(EmitError::Stopped(cause)) => {
                Self::of_kind(cause.kind(), cause.is_retryable(), error.to_string())
            }
            Some(_) => Self::from_error(&error, false).code(EVENT_REFUSED),
            None => Self::from_error(&error, true),
        }
    }
}

/// Says of an error whether another attempt may help. In the prelude.
///
/// Works on everything that converts into a boxed error: every error type, `anyhow::Error`, `String`, `&str`.
pub trait OrFail<T> {
    /// The error is permanent: the job fails without another attempt.
    ///
    /// ```
    /// # use crewcall_worker::{JobError, OrFail};
    /// fn width(text: &str) -> Result<u32, JobError> {
    ///     Ok(text.parse().or_fail()?)
    /// }
    /// assert!(!width("wide").unwrap_err().is_retryable());
    /// ```
    ///
    /// # Errors
    ///
    /// The error, as a permanent [`JobError`].
    fn or_fail(self) -> Result<T, JobError>;

    /// The error is retryable. Needed only for errors that `?` does not take, such as `anyhow::Error`.
    ///
    /// # Errors
    ///
    /// The error, as a retryable [`JobError`].
    fn or_retry(self) -> Result<T, JobError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self) -> Result<T, JobError> {
        self.map_err(|error| JobError::from_error(&*error.into(), false))
    }

    fn or_retry(self) -> Result<T, JobError> {
        self.map_err(|error| JobError::from_error(&*error.into(), true))
    }
}

/// How an attempt failed, as the response tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which kind of failure.
    pub kind: ErrorKind,
    /// The handler's own word for it.
    pub code: Option<String>,
    /// The sentence for people.
    pub message: String,
    /// The chain of causes, or what [`JobError::detail`] set.
    pub detail: Option<String>,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// When the next attempt should begin, if the handler asked for a time.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, retryable: bool, message: String) -> Self {
        Self::from(JobError::of_kind(kind, retryable, message))
    }

    pub(crate) fn with_detail(self, detail: Option<String>) -> Self {
        let detail = detail.map(|detail| truncated(detail, JobError::MESSAGE_CHARACTERS_MAX));
        Self { detail, ..self }
    }

    pub(crate) fn with_code(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Self {
            kind: error.kind,
            code: error.code,
            message: truncated(error.message, JobError::MESSAGE_CHARACTERS_MAX),
            detail: error.detail.map(|detail| truncated(detail, JobError::MESSAGE_CHARACTERS_MAX)),
            retryable: error.retryable,
            retry_after: error.retry_after,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.message, self.kind.as_str())?;
        if let Some(code) = &self.code {
            write!(f, ", {code}")?;
        }
        f.write_str(if self.retryable { ", retryable)" } else { ", permanent)" })?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl Error for Failure {}

/// The first `characters_max` characters. Cuts between characters, so that no text is mangled.
pub(crate) fn truncated(mut text: String, characters_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(characters_max) {
        text.truncate(end);
    }
    text
}

fn causes_of(error: &(dyn Error + 'static)) -> Option<String> {
    let causes: Vec<String> =
        std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
    (!causes.is_empty()).then(|| causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("größer als erlaubt")]
    struct Outer(#[source] std::io::Error);

    fn fails() -> Result<(), Outer> {
        Err(Outer(std::io::Error::other("диск полон")))
    }

    #[test]
    fn the_question_mark_makes_a_retryable_error_with_its_causes() {
        let handler = || -> Result<(), JobError> { Ok(fails()?) };
        let failure = Failure::from(handler().unwrap_err());
        assert_eq!(failure.message, "größer als erlaubt");
        assert_eq!(failure.detail.as_deref(), Some("диск полон"));
        assert!(failure.retryable);
    }

    #[test]
    fn or_fail_makes_a_permanent_error_of_anything() {
        assert!(!fails().or_fail().unwrap_err().is_retryable());
        assert!(!Err::<(), _>("no such colour").or_fail().unwrap_err().is_retryable());
        let wrapped = Err::<(), _>(anyhow::anyhow!("inner").context("outer")).or_fail().unwrap_err();
        assert_eq!((wrapped.message(), wrapped.detail.as_deref()), ("outer", Some("inner")));
        assert!(Err::<(), _>(anyhow::anyhow!("inner")).or_retry().unwrap_err().is_retryable());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(truncated("äöü".to_owned(), 2), "äö");
        assert_eq!(truncated("äöü".to_owned(), 3), "äöü");
        let failure = Failure::from(JobError::permanent("€".repeat(5_000)));
        assert_eq!(failure.message.chars().count(), JobError::MESSAGE_CHARACTERS_MAX);
    }
}
