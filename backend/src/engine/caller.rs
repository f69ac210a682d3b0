//! Who gives a command.

use crewcall_proto::TraceParent;

use crate::domain::Problem;

/// The longest name of who acts, in characters.
pub const ACTOR_LENGTH_MAX: usize = 200;

/// The longest reason, in characters.
pub const REASON_LENGTH_MAX: usize = 1_000;

/// Who acts when they do not say who they are.
pub const ACTOR_DEFAULT: &str = "anonymous";

/// By which way somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From this machine, or from a network whose owner vouches for everybody on it. Nobody has to say who they are.
    Loopback,
}

/// Who gives a command, by which way, and on whose behalf. What they may do will be decided by this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    way: Way,
    by: String,
    traceparent: Option<TraceParent>,
}

impl Caller {
    /// Somebody from this machine who does not say who they are.
    #[must_use]
    pub fn loopback() -> Self {
        Self { way: Way::Loopback, by: ACTOR_DEFAULT.to_owned(), traceparent: None }
    }

    /// The same, as part of a trace: what is submitted belongs to it.
    #[must_use]
    pub fn in_trace(self, traceparent: Option<TraceParent>) -> Self {
        Self { traceparent, ..self }
    }

    /// The trace that the command belongs to.
    #[must_use]
    pub const fn traceparent(&self) -> Option<&TraceParent> {
        self.traceparent.as_ref()
    }

    /// By which way they came in.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }

    /// As they call themselves, or those on whose behalf they act.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }
}

/// What somebody says of themselves when they give a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// As they call themselves.
    pub by: Option<String>,
    /// Why they do it.
    pub reason: Option<String>,
}

impl Actor {
    /// The caller on behalf of whom the command is given, and why.
    ///
    /// # Errors
    ///
    /// Every text that is too long, with a pointer.
    pub fn speaking_for(self, caller: &Caller) -> Result<(Caller, Option<String>), Vec<Problem>> {
        let mut problems = Vec::new();
        for (pointer, text, characters_max) in
            [("/by", &self.by, ACTOR_LENGTH_MAX), ("/reason", &self.reason, REASON_LENGTH_MAX)]
        {
            if text.as_ref().is_some_and(|text| text.chars().count() > characters_max) {
                let message = format!("the text has at most {characters_max} characters");
                problems.push(Problem { pointer: pointer.to_owned(), message });
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let by = self.by.filter(|by| !by.trim().is_empty()).unwrap_or_else(|| caller.by.clone());
        Ok((Caller { by, ..caller.clone() }, self.reason))
    }
}
