use std::collections::{BTreeMap, HashMap};

use cel::{
    common::{
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use serde_json::{Number, Value};

use crate::{
    error::ScopeError,
    limits::{JSON_LEVELS_MAX, SCOPE_BYTES_MAX},
    measure,
};

/// The data that expressions read, by name. Made once for an event; any number of expressions and templates can read
/// it, from any thread. It borrows the values, and copies no text of theirs.
#[derive(Debug)]
pub struct Scope<'a> {
    entries: BTreeMap<&'a str, Entry<'a>>,
    /// Where the names are looked up that it does not have itself.
    base: Option<&'a Self>,
    bytes_left: usize,
}

#[derive(Debug)]
struct Entry<'a> {
    json: &'a Value,
    /// The same in the language's form.
    form: Box<dyn Val + 'a>,
    units: u64,
}

impl<'a> Scope<'a> {
    /// Lets in `entries`: names, as they were given to [`Expression::parse`](crate::Expression::parse), with their
    /// values. Of two values of one name, the later counts.
    ///
    /// # Errors
    ///
    /// The values have together more than [`SCOPE_BYTES_MAX`] bytes, or one is nested deeper than [`JSON_LEVELS_MAX`].
    pub fn new(entries: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Result<Self, ScopeError> {
        Self::on(None, SCOPE_BYTES_MAX, entries)
    }

    /// Lets in some values more, beside those that are there already: these are not looked at again.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new): the limit is that of all of them together.
    pub fn with(
        &'a self,
        entries: impl IntoIterator<Item = (&'a str, &'a Value)>,
    ) -> Result<Self, ScopeError> {
        Self::on(Some(self), self.bytes_left, entries)
    }

    fn on(
        base: Option<&'a Self>,
        mut bytes_left: usize,
        entries: impl IntoIterator<Item = (&'a str, &'a Value)>,
    ) -> Result<Self, ScopeError> {
        let mut admitted = BTreeMap::new();
        for (name, json) in entries {
            if !measure::has_levels_within(json, JSON_LEVELS_MAX) {
                return Err(ScopeError::TooDeep);
            }
            bytes_left -= measure::json_bytes(json, bytes_left).ok_or(ScopeError::TooLarge)?;
            admitted.insert(name, Entry { json, form: form(json), units: measure::units(json) });
        }
        Ok(Self { entries: admitted, base, bytes_left })
    }

    fn entry(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.get(name).or_else(|| self.base?.entry(name))
    }

    pub(crate) fn json(&self, name: &str) -> Option<&'a Value> {
        self.entry(name).map(|entry| entry.json)
    }

    /// What it costs to hold, copy or compare the value of a name.
    pub(crate) fn units(&self, name: &str) -> u64 {
        self.entry(name).map_or(0, |entry| entry.units)
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        self.entry(name).map(|entry| CowVal::Borrowed(entry.form.as_ref()))
    }
}

fn form(json: &Value) -> Box<dyn Val + '_> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        Value::Number(number) => number_form(number),
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => Box::new(CelList::from(items.iter().map(form).collect::<Vec<_>>())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, field)| (CelMapKey::from(key.as_str()), form(field)));
            Box::new(CelMap::from(fields.collect::<HashMap<_, _>>()))
        }
    }
}

fn number_form<'a>(number: &Number) -> Box<dyn Val + 'a> {
    if let Some(integer) = number.as_i64() {
        Box::new(CelInt::from(integer))
    } else if let Some(integer) = number.as_u64() {
        Box::new(CelUInt::from(integer))
    } else {
        // There is no other number, unless serde_json is built to keep those that no double can hold.
        Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::INFINITY)))
    }
}
