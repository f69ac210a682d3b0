//! Where a test can end a worker. Only builds with the feature `failpoints` do it.

/// A place at which the program ends when a test says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// A handler runs, and nobody has been told.
    StartUnreported,
    /// A handler has ended, and its response is not sent yet.
    AttemptEnded,
    /// The broker has the response, and the order is not acknowledged yet.
    ResponseConfirmed,
}

impl Failpoint {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::StartUnreported, Self::AttemptEnded, Self::ResponseConfirmed];

    /// What the variable `FAILPOINTS` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StartUnreported => "start_unreported",
            Self::AttemptEnded => "attempt_ended",
            Self::ResponseConfirmed => "response_confirmed",
        }
    }
}
