//! Which message a body holds, as the property `type` names it.

use std::fmt;

/// The kinds of message on the wire: the value of the AMQP property `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// [`crate::Order`].
    Order,
    /// [`crate::response::Progression`].
    Progression,
    /// [`crate::response::Held`].
    Held,
    /// [`crate::response::HandedBack`].
    HandedBack,
    /// [`crate::event::Emitted`].
    Emitted,
    /// [`crate::response::Completed`].
    Completed,
    /// [`crate::response::Failed`].
    Error,
    /// [`crate::discovery::Announcement`].
    Announce,
    /// [`crate::discovery::Heartbeat`].
    Heartbeat,
    /// [`crate::discovery::Goodbye`].
    Goodbye,
    /// [`crate::control::Control`].
    Control,
}

impl MessageKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Order,
        Self::Progression,
        Self::Held,
        Self::HandedBack,
        Self::Emitted,
        Self::Completed,
        Self::Error,
        Self::Announce,
        Self::Heartbeat,
        Self::Goodbye,
        Self::Control,
    ];

    /// The word in the property `type`; for responses and discovery also the head of the routing key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Progression => "progression",
            Self::Held => "held",
            Self::HandedBack => "handed_back",
            Self::Emitted => "emitted",
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Announce => "announce",
            Self::Heartbeat => "heartbeat",
            Self::Goodbye => "goodbye",
            Self::Control => "control",
        }
    }

    /// The kind of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
