//! Where a test can end a program within the link. Only builds with the feature `failpoints` do it.

/// A place at which the program ends when a test says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// A message is sent, and its confirm has not come.
    MessageUnconfirmed,
}

impl Failpoint {
    /// Every one of them.
    pub const ALL: [Self; 1] = [Self::MessageUnconfirmed];

    /// What the variable `FAILPOINTS` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageUnconfirmed => "message_unconfirmed",
        }
    }
}
