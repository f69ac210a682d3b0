//! Parameters as the validator sees them: every look at a value is counted, so that a check that takes too long ends
//! from within.
//!
//! The validator has no such end of its own, and a thread cannot be stopped from outside. What a schema costs is not
//! known before: one that refers to itself can take time exponential in the depth of the parameters.

use std::{
    borrow::Cow,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use crewcall_proto::JsonObject;
use jsonschema::{
    JsonType,
    json::{Array, Json, Node, NodeIdentity, Object},
};
use serde_json::{Number, Value};
use tokio::time::Instant;

/// How many steps go by between two looks at the clock: one step is some nanoseconds, rarely a millisecond.
const STEPS_PER_LOOK: u64 = 256;

/// How many bytes of a text count as one step when it is only counted; a pattern looks at each of them.
const BYTES_COUNTED_PER_STEP: usize = 64;

/// What a check may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many looks at values.
    pub(super) steps: u64,
    /// How long; `None` for no limit but that of steps.
    pub(super) time: Option<Duration>,
    /// How much of the thread's stack, in bytes: parameters and schemas may be deep.
    pub(super) stack_bytes: usize,
}

/// A check took more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted;

struct Meter {
    steps_left: Cell<u64>,
    look_below: Cell<u64>,
    ends_at: Cell<Option<Instant>>,
    stack_begin: Cell<usize>,
    stack_bytes: Cell<usize>,
}

thread_local! {
    /// A representation has no place for a meter of its own in the names of members; a check stays on its thread.
    static METER: Meter = const {
        Meter {
            steps_left: Cell::new(0),
            look_below: Cell::new(0),
            ends_at: Cell::new(None),
            stack_begin: Cell::new(0),
            stack_bytes: Cell::new(0),
        }
    };
}

/// Runs a check on this thread within limits.
pub(super) fn within<T>(limits: Limits, check: impl FnOnce() -> T) -> Result<T, Exhausted> {
    METER.with(|meter| {
        meter.steps_left.set(limits.steps);
        meter.look_below.set(limits.steps.saturating_sub(STEPS_PER_LOOK));
        meter.ends_at.set(limits.time.map(|time| Instant::now() + time));
        meter.stack_begin.set(stack_position());
        meter.stack_bytes.set(limits.stack_bytes);
    });
    catch_unwind(AssertUnwindSafe(check)).map_err(|payload| match payload.downcast::<Exhausted>() {
        Ok(exhausted) => *exhausted,
        Err(payload) => resume_unwind(payload),
    })
}

/// Counts a look at a value. Leaves the check, by unwinding to [`within`], when that was one too many.
fn step(cost: u64) {
    let exhausted = METER.with(|meter| {
        let left = meter.steps_left.get().saturating_sub(cost);
        meter.steps_left.set(left);
        let mut late = false;
        if left < meter.look_below.get() {
            meter.look_below.set(left.saturating_sub(STEPS_PER_LOOK));
            late = meter.ends_at.get().is_some_and(|ends_at| ends_at <= Instant::now());
        }
        let deep = stack_position().abs_diff(meter.stack_begin.get()) > meter.stack_bytes.get();
        left == 0 || late || deep
    });
    if exhausted {
        // Not a panic: nothing is wrong, and nobody is to be told by the hook.
        resume_unwind(Box::new(Exhausted));
    }
}

fn step_over(bytes: usize) {
    step(u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(1));
}

#[inline(never)]
fn stack_position() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)) as usize
}

/// The representation.
pub(super) struct Metered;

/// A value of it.
#[derive(Clone, Copy)]
pub(in crate::engine::settings) enum Part<'a> {
    Whole(&'a JsonObject),
    /// What is in them.
    Inner(&'a Value),
}

impl Json for Metered {
    type Node<'a> = Part<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(Part<'_>) -> T) -> T {
        step_over(string.len());
        *buffer = Value::String(string.to_owned());
        f(Part::Inner(buffer))
    }
}

impl<'a> Node<'a, Metered> for Part<'a> {
    type Object = Members<'a>;
    type Array = Elements<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        step(1);
        match *self {
            Part::Whole(members) | Part::Inner(Value::Object(members)) => Some(Members(members)),
            Part::Inner(_) => None,
        }
    }

    fn as_array(&self) -> Option<Elements<'a>> {
        step(1);
        match *self {
            Part::Inner(Value::Array(elements)) => Some(Elements(elements)),
            Part::Whole(_) | Part::Inner(_) => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match *self {
            Part::Inner(Value::String(text)) => {
                step_over(text.len());
                Some(Cow::Borrowed(text))
            }
            Part::Whole(_) | Part::Inner(_) => {
                step(1);
                None
            }
        }
    }

    fn as_number(&self) -> Option<&'a Number> {
        step(1);
        match *self {
            Part::Inner(Value::Number(number)) => Some(number),
            Part::Whole(_) | Part::Inner(_) => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        step(1);
        match *self {
            Part::Inner(Value::Bool(boolean)) => Some(*boolean),
            Part::Whole(_) | Part::Inner(_) => None,
        }
    }

    fn is_null(&self) -> bool {
        self.json_type() == JsonType::Null
    }

    fn json_type(&self) -> JsonType {
        step(1);
        match self {
            Part::Whole(_) | Part::Inner(Value::Object(_)) => JsonType::Object,
            Part::Inner(Value::Null) => JsonType::Null,
            Part::Inner(Value::Bool(_)) => JsonType::Boolean,
            Part::Inner(Value::Number(_)) => JsonType::Number,
            Part::Inner(Value::String(_)) => JsonType::String,
            Part::Inner(Value::Array(_)) => JsonType::Array,
        }
    }

    fn string_length(&self) -> Option<u64> {
        let Part::Inner(Value::String(text)) = *self else { return None };
        step_over(text.len() / BYTES_COUNTED_PER_STEP);
        u64::try_from(text.chars().count()).ok()
    }

    fn is_string(&self) -> bool {
        self.json_type() == JsonType::String
    }

    fn equals_value(&self, expected: &Value) -> bool {
        step(1);
        match *self {
            Part::Inner(value) => jsonschema::json::cmp::equal(value, expected),
            Part::Whole(_) => jsonschema::json::cmp::equal(&self.to_value(), expected),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        match *self {
            Part::Inner(value) => Cow::Borrowed(value),
            Part::Whole(members) => Cow::Owned(Value::Object(members.clone())),
        }
    }

    fn identity(&self) -> Option<NodeIdentity> {
        step(1);
        Some(NodeIdentity::new(match *self {
            Part::Whole(members) => std::ptr::from_ref(members) as usize,
            Part::Inner(value) => std::ptr::from_ref(value) as usize,
        }))
    }
}

/// The members of an object.
pub(super) struct Members<'a>(&'a JsonObject);

impl<'a> Object<'a, Metered> for Members<'a> {
    type Node = Part<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<Part<'a>> {
        step(1);
        self.0.get(key.as_str()).map(Part::Inner)
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter(self.0.iter())
    }
}

/// Goes through the members of an object.
pub(super) struct MembersIter<'a>(serde_json::map::Iter<'a>);

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, Part<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        step_over(name.len() / BYTES_COUNTED_PER_STEP);
        Some((name.as_str(), Part::Inner(value)))
    }
}

/// The elements of an array.
pub(super) struct Elements<'a>(&'a [Value]);

impl<'a> Array<'a, Metered> for Elements<'a> {
    type Node = Part<'a>;
    type ElementsIter = ElementsIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> ElementsIter<'a> {
        ElementsIter(self.0.iter())
    }

    fn is_unique(&self) -> bool {
        step(u64::try_from(self.0.len()).unwrap_or(u64::MAX));
        jsonschema::json::unique::is_unique(self.0)
    }
}

/// Goes through the elements of an array.
pub(super) struct ElementsIter<'a>(std::slice::Iter<'a, Value>);

impl<'a> Iterator for ElementsIter<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.0.next()?;
        step(1);
        Some(Part::Inner(value))
    }
}
