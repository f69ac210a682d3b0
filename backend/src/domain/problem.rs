//! What is wrong with a request.

/// How many problems of a document are told at once.
pub const PROBLEMS_MAX: usize = 100;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901) into its body.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// All of them in one sentence, for whoever has no list to show.
    #[must_use]
    pub fn sentence(problems: &[Self]) -> String {
        let told: Vec<String> =
            problems.iter().map(|Self { pointer, message }| format!("{pointer}: {message}")).collect();
        told.join("; ")
    }
}

/// A name within a JSON pointer (RFC 6901, section 3).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
