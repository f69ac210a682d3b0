//! From a tree and data to JSON, and from the library's errors to sentences.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};

use cel::{Context, Env, ExecutionError, IdedExpr, objects::Key};
use serde_json::{Number, Value};

use crate::{
    budget,
    limits::{EVALUATION_UNITS_MAX, OUTPUT_BYTES_MAX},
    measure, path,
    scope::Scope,
};

/// The functions. Without optional values, whose syntax the parser refuses as well.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// What is said where the library panicked, or there was no thread for it.
pub(crate) const UNABLE: &str = "it cannot be evaluated; simplify it";

/// What evaluations may still do, and how much may still come out.
pub(crate) struct Allowance {
    units: u64,
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { units: EVALUATION_UNITS_MAX, bytes: OUTPUT_BYTES_MAX }
    }
}

impl Allowance {
    /// Takes the units that an evaluation of `tree` may need.
    fn take_units(&mut self, tree: &IdedExpr, scope: &Scope<'_>) -> Result<(), String> {
        let units = budget::units(tree, scope, self.units);
        self.units = self.units.checked_sub(units).ok_or_else(|| {
            "for data of this size it could take too long, or too much memory; \
             go through a shorter list, or do less with each element"
                .to_owned()
        })?;
        Ok(())
    }

    /// Takes the bytes of the JSON text of what comes out.
    pub(crate) fn take_bytes(&mut self, value: &Value) -> Result<(), String> {
        let bytes = measure::json_bytes(value, self.bytes).ok_or_else(|| {
            format!("what comes out has more than {OUTPUT_BYTES_MAX} bytes; choose less of the data")
        })?;
        self.bytes -= bytes;
        Ok(())
    }
}

/// The value of `tree`, as JSON. An error is a sentence without a full stop.
pub(crate) fn evaluate(
    tree: &IdedExpr,
    scope: &Scope<'_>,
    allowance: &mut Allowance,
) -> Result<Value, String> {
    // What is only picked out stays exactly as it is, with the order of its fields.
    if let Some(found) = path::find(tree, scope) {
        allowance.take_bytes(found)?;
        return Ok(found.clone());
    }
    allowance.take_units(tree, scope)?;
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(scope);
    // A panic of the library is its mistake, and must not become everybody's.
    let value = catch_unwind(AssertUnwindSafe(|| cel::Value::resolve(tree, &context)))
        .map_err(|_| UNABLE.to_owned())?
        .map_err(|error| sentence(&error))?;
    let value = json(value)?;
    allowance.take_bytes(&value)?;
    Ok(value)
}

fn json(value: cel::Value) -> Result<Value, String> {
    match value {
        cel::Value::Null => Ok(Value::Null),
        cel::Value::Bool(truth) => Ok(truth.into()),
        cel::Value::Int(integer) => Ok(integer.into()),
        cel::Value::UInt(integer) => Ok(integer.into()),
        cel::Value::Float(double) => Number::from_f64(double)
            .map(Value::Number)
            .ok_or_else(|| format!("it is {double}, which JSON cannot say")),
        cel::Value::String(text) => Ok(Arc::unwrap_or_clone(text).into()),
        cel::Value::List(items) => Arc::unwrap_or_clone(items).into_iter().map(json).collect(),
        cel::Value::Map(map) => {
            let mut fields = Vec::with_capacity(map.map.len());
            for (key, field) in Arc::unwrap_or_clone(map.map) {
                let Key::String(key) = key else {
                    return Err(
                        "a key of an object is no text, as JSON wants it; use `string(key)`".to_owned()
                    );
                };
                fields.push((Arc::unwrap_or_clone(key), json(field)?));
            }
            // The library's map has them in another order each time.
            fields.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            Ok(Value::Object(fields.into_iter().collect()))
        }
        _ => Err("it is nothing that JSON can say; choose a part of it".to_owned()),
    }
}

fn sentence(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(field) => {
            format!("there is no field `{field}`; `has(…)` says whether there is")
        }
        ExecutionError::UndeclaredReference(name) => format!("there is no data called `{name}` here"),
        ExecutionError::NoSuchOverload(call) => overload(call.function(), call.argument_types()),
        ExecutionError::UnexpectedType { got, want } if want == "iterable" => {
            format!("it goes through {}, which has no elements", said(got))
        }
        ExecutionError::UnexpectedType { got, want } => {
            format!("{} stands where {} must stand", said(got), said(want))
        }
        ExecutionError::ValuesNotComparable(one, other) => {
            format!("{} and {} cannot be compared", kind(one), kind(other))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, one, other) => {
            format!("there is no `{}` for {} and {}", operator_text(operator), kind(one), kind(other))
        }
        ExecutionError::UnsupportedKeyType(value) => format!("{} cannot be a key", kind(value)),
        ExecutionError::UnsupportedIndex(index, of) => {
            format!("{} has no index that is {}", kind(of), kind(index))
        }
        ExecutionError::DivisionByZero(_) => "it divides by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "it takes a remainder of a division by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => {
            format!("the result of `{}` is no integer of 64 bits", operator_text(operator))
        }
        ExecutionError::IndexOutOfBounds(_) => "the list has no element with this index".to_owned(),
        ExecutionError::DuplicateKey(_) => "two keys of an object are the same".to_owned(),
        ExecutionError::FunctionError { function, message } => {
            let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
            format!("`{function}` does not accept its argument: {message}")
        }
        _ => "it does not fit the data".to_owned(),
    }
}

/// How much of a message of the library is passed on, in characters: it may quote data.
const MESSAGE_CHARS_MAX: usize = 200;

fn overload(function: &str, types: &[String]) -> String {
    let types: Vec<String> = types.iter().map(|name| said(name)).collect();
    format!("there is no `{}` for {}", operator_text(function), types.join(" and "))
}

fn operator_text(operator: &str) -> &str {
    match operator {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        "negate" => "-",
        "_?_:_" => "? :",
        "@in" => "in",
        "_[_]" => "[ ]",
        other => other.trim_matches('_'),
    }
}

/// A type of the language, as people say it.
fn said(name: &str) -> String {
    let said = match name {
        "bool" => "a boolean",
        "int" => "an integer",
        "uint" => "an unsigned integer",
        "double" => "a fraction",
        "string" => "a text",
        "list" => "a list",
        "map" => "an object",
        "null_type" => "null",
        "type" => "a type",
        other => return format!("a value of type `{other}`"),
    };
    said.to_owned()
}

fn kind(value: &cel::Value) -> String {
    said(match value {
        cel::Value::Bool(_) => "bool",
        cel::Value::Int(_) => "int",
        cel::Value::UInt(_) => "uint",
        cel::Value::Float(_) => "double",
        cel::Value::String(_) => "string",
        cel::Value::List(_) => "list",
        cel::Value::Map(_) => "map",
        cel::Value::Null => "null_type",
        _ => "type",
    })
}

/// What `value` is, as people say it.
pub(crate) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
