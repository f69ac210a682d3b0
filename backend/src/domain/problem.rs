//! What is wrong with a request.

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
