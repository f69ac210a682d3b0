//! What parameters are held against: a worker's JSON Schema, of which nobody knows what it costs.
//!
//! Schemas come from workers and parameters from whoever submits, and together they may ask for more time and memory
//! than there is. So a schema is bounded when it is compiled (`extent`; its patterns run in linear time), and a check
//! when it runs (`metered`). Small ones run where they are asked for; those that turn out to be larger, and
//! everything that compiles, run on a few threads of their own, so that they never hold up anybody else.

mod extent;

mod metered;

mod mismatch;

use std::{sync::Arc, time::Duration};

use crewcall_proto::JsonObject;
use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{timeout, timeout_at},
};

use self::metered::{Exhausted, Limits, Metered, Part};
use crate::domain::Problem;

/// How many problems of one submission are told.
pub const PROBLEMS_MAX: usize = 32;

/// How long one check may run on its thread. What fits into 256 KiB is checked against an ordinary schema in
/// milliseconds.
pub const CHECK_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a submission waits for one of the threads that check.
pub const CHECK_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long the link to the workers waits for a schema to be compiled.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(2);

/// How many checks run on threads of their own at once: two cores must not be enough to stop the others.
const CHECKS_MAX: usize = 2;

/// What a check may take where it is asked for: a millisecond as a rule, and a fraction of the stack.
const IN_PLACE: Limits = Limits { steps: 20_000, time: None, stack_bytes: 256 * 1024 };

/// What a check may take on a thread of its own, which has a stack of 2 MiB.
const APART: Limits = Limits { steps: u64::MAX, time: Some(CHECK_TIME_MAX), stack_bytes: 1024 * 1024 };

/// What finding the problems may take, of parameters that are known to be wrong: each problem takes some memory.
const EXPLAINING: Limits = Limits { steps: 50_000, ..APART };

/// How large a compiled pattern may be, in bytes: the time of a match grows with it. `\p{L}*` fits, `\p{L}{0,40}` does not.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// How large the patterns of a schema may be of which nothing is checked apart: most are a tenth of it.
const PATTERN_BYTES_IN_PLACE_MAX: usize = 64 * 1024;

/// A compiled schema.
pub struct Schema {
    validator: Validator<Metered>,
    /// Whether small parameters may be checked where they are asked for.
    in_place: bool,
}

/// What is held against a schema.
pub(super) trait Checked: Clone + Send + 'static {
    /// The JSON pointer to it.
    const POINTER: &'static str;

    fn part(&self) -> Part<'_>;
}

/// The parameters of a job.
impl Checked for JsonObject {
    const POINTER: &'static str = "/parameters";

    fn part(&self) -> Part<'_> {
        Part::Whole(self)
    }
}

/// The data of an event.
impl Checked for Value {
    const POINTER: &'static str = "/data";

    fn part(&self) -> Part<'_> {
        Part::Inner(self)
    }
}

/// Why parameters could not be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckError {
    /// It would take longer than [`CHECK_TIME_MAX`], or too much of the stack: trying again does not help.
    TooCostly,
    /// Too many others are being checked: trying again helps.
    Busy,
}

/// The threads on which schemas are compiled, and the larger parameters checked.
#[derive(Clone)]
pub struct Checker {
    checks: Arc<Semaphore>,
    /// Apart from the checks: whoever submits must not keep workers from being heard.
    compilations: Arc<Semaphore>,
}

impl Default for Checker {
    fn default() -> Self {
        Self { checks: Arc::new(Semaphore::new(CHECKS_MAX)), compilations: Arc::new(Semaphore::new(1)) }
    }
}

impl Schema {
    /// Compiles a schema; `None` for `{}`, which takes anything. Takes its time: not for the threads that everybody
    /// waits for.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn compile(schema: &JsonObject) -> Result<Option<Self>, String> {
        if schema.is_empty() {
            return Ok(None);
        }
        let schema = Value::Object(schema.clone());
        extent::check(&schema)?;
        if let Ok(validator) = build(&schema, PATTERN_BYTES_IN_PLACE_MAX) {
            return Ok(Some(Self { validator, in_place: true }));
        }
        match build(&schema, PATTERN_BYTES_MAX) {
            Ok(validator) => Ok(Some(Self { validator, in_place: false })),
            Err(error) => Err(match error.kind() {
                ValidationErrorKind::Format { format } if format == "regex" => {
                    format!(
                        "{error} that can be used: it is too large, or needs backtracking (look-around, back-references)"
                    )
                }
                _ => error.to_string(),
            }),
        }
    }

    /// What is wrong with it.
    fn problems<C: Checked>(&self, checked: &C, limits: Limits) -> Result<Vec<Problem>, Exhausted> {
        // First whether there are any: that is remembered for each part, and ends with the first one.
        if metered::within(limits, || self.validator.is_valid(checked.part()))? {
            return Ok(Vec::new());
        }
        let explaining = Limits { steps: limits.steps.min(EXPLAINING.steps), ..limits };
        let problems = metered::within(explaining, || {
            let errors = self.validator.iter_errors(checked.part());
            errors.take(PROBLEMS_MAX).map(|error| problem::<C>(&error)).collect()
        });
        // A schema whose problems are too many to find all is still broken.
        problems.or_else(|Exhausted| self.first_problem(checked, explaining))
    }

    fn first_problem<C: Checked>(&self, checked: &C, limits: Limits) -> Result<Vec<Problem>, Exhausted> {
        let first = metered::within(limits, || {
            self.validator.validate(checked.part()).err().map(|error| problem::<C>(&error))
        });
        match first {
            Ok(first) => Ok(first.into_iter().collect()),
            Err(Exhausted) if limits.time.is_none() => Err(Exhausted),
            Err(Exhausted) => Ok(vec![Problem {
                pointer: C::POINTER.to_owned(),
                message: "they do not fit the type's schema; what is wrong takes too long to find out"
                    .to_owned(),
            }]),
        }
    }
}

/// Patterns are linear in the length of the text; what needs backtracking is refused.
fn build(schema: &Value, pattern_bytes: usize) -> Result<Validator<Metered>, ValidationError<'static>> {
    let patterns = PatternOptions::regex().size_limit(pattern_bytes).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options_for::<Metered>().with_pattern_options(patterns).build(schema)
}

fn problem<C: Checked>(error: &ValidationError<'_>) -> Problem {
    Problem {
        pointer: format!("{}{}", C::POINTER, error.instance_path()),
        message: mismatch::sentence(error),
    }
}

impl Checker {
    /// Compiles a schema; `None` for `{}`, which takes anything.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub async fn compile(&self, schema: &JsonObject) -> Result<Option<Arc<Schema>>, String> {
        if schema.is_empty() {
            return Ok(None);
        }
        let too_long = || format!("it could not be compiled within {} s", COMPILE_TIME_MAX.as_secs());
        let schema = schema.clone();
        let compiled = async {
            let permit = Arc::clone(&self.compilations).acquire_owned().await.map_err(|_| too_long())?;
            let compiling = spawn_blocking(move || {
                let _permit = permit;
                Schema::compile(&schema)
            });
            compiling.await.map_err(|_| "the compiler of schemas failed".to_owned())?
        };
        let compiled = timeout(COMPILE_TIME_MAX, compiled).await.map_err(|_| too_long())??;
        Ok(compiled.map(Arc::new))
    }

    /// What is wrong with parameters, or with the data of an event.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when that is not known.
    pub(super) async fn check<C: Checked>(
        &self,
        schema: &Arc<Schema>,
        checked: &C,
    ) -> Result<Vec<Problem>, CheckError> {
        if schema.in_place
            && let Ok(problems) = schema.problems(checked, IN_PLACE)
        {
            return Ok(problems);
        }
        let waiting = timeout(CHECK_WAIT_MAX, Arc::clone(&self.checks).acquire_owned());
        let Ok(Ok(permit)) = waiting.await else { return Err(CheckError::Busy) };
        // It ends by itself in time as a rule; a single step of it may take longer.
        let ends_at = tokio::time::Instant::now() + 4 * CHECK_TIME_MAX;
        let (schema, checked) = (Arc::clone(schema), checked.clone());
        let checking = spawn_blocking(move || {
            let _permit = permit;
            schema.problems(&checked, APART)
        });
        match timeout_at(ends_at, checking).await {
            Ok(Ok(Ok(problems))) => Ok(problems),
            Ok(Ok(Err(Exhausted)) | Err(_)) | Err(_) => Err(CheckError::TooCostly),
        }
    }
}

#[cfg(test)]
mod tests;
