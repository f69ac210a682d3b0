use std::{fmt, sync::Arc};

use cel::IdedExpr;
use serde_json::Value;

use crate::{
    check,
    error::{Failed, Invalid},
    evaluation::{self, Allowance},
    limits::CALLERS_STACK_DEPTH_MAX,
    scope::Scope,
    stack::with_known_stack,
    syntax,
};

/// A parsed expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression(Arc<Parsed>);

struct Parsed {
    text: String,
    tree: IdedExpr,
    depth: usize,
}

impl Expression {
    /// Parses `text`, which may use the data of `names`, which have to be identifiers.
    ///
    /// Takes a thread for as long as it takes, which is less than a millisecond in a release build.
    ///
    /// # Errors
    ///
    /// The text is no expression, uses a name or a function that nobody knows, or exceeds a limit of this crate.
    pub fn parse(text: &str, names: &[&str]) -> Result<Self, Invalid> {
        with_known_stack(|| Self::parse_here(text, names)).unwrap_or_else(|| Err(unreadable()))
    }

    /// Parses a condition: an expression that can be `true` or `false`.
    ///
    /// # Errors
    ///
    /// As [`Expression::parse`]; or the value is certainly something else.
    pub fn parse_condition(text: &str, names: &[&str]) -> Result<Self, Invalid> {
        let expression = Self::parse(text, names)?;
        match check::certainly_not_boolean(&expression.0.tree) {
            Some(kind) => {
                let message =
                    format!("a condition is true or false, and this is {kind}; compare it with something");
                Err(Invalid::new(0, message))
            }
            None => Ok(expression),
        }
    }

    /// As [`Expression::parse`], for who is on a known stack.
    pub(crate) fn parse_here(text: &str, names: &[&str]) -> Result<Self, Invalid> {
        let tree = syntax::parse(text)?;
        let depth = check::check(text, &tree, names)?;
        Ok(Self(Arc::new(Parsed { text: text.to_owned(), tree, depth })))
    }

    /// The text that was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether the condition holds. One that is deeper than [`CALLERS_STACK_DEPTH_MAX`] is evaluated on a thread of its own.
    ///
    /// # Errors
    ///
    /// The expression does not fit the data, its value is neither `true` nor `false`, or it could take more than
    /// [`EVALUATION_UNITS_MAX`](crate::EVALUATION_UNITS_MAX).
    pub fn boolean(&self, scope: &Scope<'_>) -> Result<bool, Failed> {
        match self.value(scope)? {
            Value::Bool(truth) => Ok(truth),
            other => {
                let kind = evaluation::json_kind(&other);
                Err(self.failed(format!("a condition must be true or false, and it is {kind}")))
            }
        }
    }

    /// The value of the expression. Integers stay integers of 64 bits, and what is only picked out of the data stays
    /// exactly as it is; the fields of a new object are in the order of their names.
    ///
    /// # Errors
    ///
    /// The expression does not fit the data, its value is nothing that JSON can say, it has more than
    /// [`OUTPUT_BYTES_MAX`](crate::OUTPUT_BYTES_MAX), or it could take more than [`EVALUATION_UNITS_MAX`](crate::EVALUATION_UNITS_MAX).
    pub fn value(&self, scope: &Scope<'_>) -> Result<Value, Failed> {
        self.value_within(scope, &mut Allowance::default())
    }

    pub(crate) fn value_within(&self, scope: &Scope<'_>, allowance: &mut Allowance) -> Result<Value, Failed> {
        let mut evaluate = || evaluation::evaluate(&self.0.tree, scope, allowance);
        let value = if self.0.depth <= CALLERS_STACK_DEPTH_MAX {
            evaluate()
        } else {
            with_known_stack(evaluate).unwrap_or_else(|| Err(evaluation::UNABLE.to_owned()))
        };
        value.map_err(|message| self.failed(message))
    }

    pub(crate) fn failed(&self, message: String) -> Failed {
        Failed { pointer: None, expression: self.0.text.clone(), message }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.0.text).finish()
    }
}

/// What neither parses nor says why not: the library panicked, or there was no thread for it.
pub(crate) fn unreadable() -> Invalid {
    Invalid::new(0, "this cannot be read; simplify it")
}
