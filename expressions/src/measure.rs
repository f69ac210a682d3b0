//! How large JSON is.

use std::io::{self, Write};

use serde_json::Value;

use crate::limits::STEP_UNITS;

/// Counts bytes until there are too many.
struct Counter {
    bytes: usize,
    bytes_max: usize,
}

impl Write for Counter {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.bytes += written.len();
        if self.bytes > self.bytes_max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(written.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of the JSON text of `value`; `None` if there are more than `bytes_max`.
///
/// Recursive: for a value whose levels are known to be few.
pub(crate) fn json_bytes(value: &Value, bytes_max: usize) -> Option<usize> {
    let mut counter = Counter { bytes: 0, bytes_max };
    serde_json::to_writer(&mut counter, value).ok().map(|()| counter.bytes)
}

/// Whether lists and objects are nested at most `levels` deep.
pub(crate) fn has_levels_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| has_levels_within(item, levels - 1)),
        Value::Object(fields) => {
            levels > 0 && fields.values().all(|field| has_levels_within(field, levels - 1))
        }
        _ => true,
    }
}

/// What it costs to hold, copy or compare `value`, in units.
pub(crate) fn units(value: &Value) -> u64 {
    let content = match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(units).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(key, field)| STEP_UNITS + key.len() as u64 + units(field)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    STEP_UNITS + content
}
