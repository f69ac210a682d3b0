use std::fmt;

/// Why a text or a number makes no calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidPattern {
    /// What is wrong, and what to do: a sentence without a full stop.
    pub message: String,
}

impl InvalidPattern {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// There is no zone of this name.
///
/// It reads `there is no time zone "Europe/Athen": did you mean "Europe/Athens"?`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnknownZone {
    /// What was asked for; of a name that is too long, its beginning.
    pub name: String,
    /// The name that is most alike, if one is.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no time zone {:?}: ", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(f, "did you mean {nearest:?}?"),
            None => f.write_str("give a name of the IANA database, such as \"Europe/Athens\" or \"UTC\""),
        }
    }
}
