use std::fmt;

/// Why a text is no expression, or a value no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {message}")]
pub struct Invalid {
    /// Where it is, in bytes from the start of the text; within a template, from the start of the string.
    pub offset: usize,
    /// What is wrong, and what to do: a sentence without a full stop.
    pub message: String,
}

impl Invalid {
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }

    /// The same problem in a text that begins `bytes` before this one.
    pub(crate) fn moved(mut self, bytes: usize) -> Self {
        self.offset += bytes;
        self
    }
}

/// Why an expression has no value for the data that it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failed {
    /// Where in the template the expression stands, as a JSON pointer; `None` for an expression of its own.
    pub pointer: Option<String>,
    /// The text of the expression; empty if the template as a whole is the problem.
    pub expression: String,
    /// What went wrong: a sentence without a full stop.
    pub message: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pointer) = &self.pointer {
            write!(f, "at \"{pointer}\": ")?;
        }
        if !self.expression.is_empty() {
            write!(f, "`{}` has no value: ", self.expression)?;
        }
        f.write_str(&self.message)
    }
}

/// Why data cannot be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// There is more than [`SCOPE_BYTES_MAX`](crate::SCOPE_BYTES_MAX).
    #[error("the data has more than {} bytes, which no expression may read", crate::SCOPE_BYTES_MAX)]
    TooLarge,
    /// Lists and objects are nested deeper than [`JSON_LEVELS_MAX`](crate::JSON_LEVELS_MAX).
    #[error("the data is nested deeper than {} levels, which no expression may read", crate::JSON_LEVELS_MAX)]
    TooDeep,
}
