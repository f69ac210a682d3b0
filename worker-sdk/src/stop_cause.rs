//! Why a running attempt is asked to end.

use crewcall_proto::response::ErrorKind;

/// Why an attempt should end before its handler is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// Somebody cancelled the job.
    Cancelled,
    /// It ran longer than the order allows.
    TimedOut,
    /// The worker ends and gives the order back; the attempt is not reported.
    HandedBack,
}

impl StopCause {
    pub(crate) const fn kind(self) -> ErrorKind {
        match self {
            Self::Cancelled | Self::HandedBack => ErrorKind::Cancelled,
            Self::TimedOut => ErrorKind::Timeout,
        }
    }

    pub(crate) const fn is_retryable(self) -> bool {
        match self {
            Self::Cancelled => false,
            Self::TimedOut | Self::HandedBack => true,
        }
    }

    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Cancelled => "the job was cancelled while the attempt ran",
            Self::TimedOut => "the attempt ran longer than the job allows",
            Self::HandedBack => "the worker ends and hands the order back",
        }
    }
}
