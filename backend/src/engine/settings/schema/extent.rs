//! How large a schema is when its references are followed: twenty definitions that each refer twice to the next one
//! are a kilobyte of text, and a million schemas to hold parameters against.

use std::collections::HashMap;

use referencing::{Draft, Registry, RegistryBuilder, Resolver, uri};
use serde_json::Value;

/// How many objects and arrays a schema may have when its references are followed. The largest that 64 KiB hold
/// without references has about half as many.
pub(super) const EXPANDED_MAX: u64 = 10_000;

/// How deep a schema may go when its references are followed: each level takes a place on the stack of the thread
/// that compiles or checks.
pub(super) const DEPTH_MAX: usize = 512;

/// Where a schema is read from that names no other place.
const BASE_URI: &str = "json-schema:///";

/// Looks whether a schema stays within [`EXPANDED_MAX`] and [`DEPTH_MAX`]. A reference back to a schema that it is
/// part of counts once: what it costs depends on the parameters, and is counted when they are checked.
///
/// # Errors
///
/// Why it is refused.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let registry = Registry::new()
        .draft(Draft::default())
        .add(BASE_URI, schema)
        .and_then(RegistryBuilder::prepare)
        .map_err(|error| failed(&error))?;
    let base = uri::from_str(BASE_URI).map_err(|error| failed(&error))?;
    let mut walk = Walk::default();
    walk.size(schema, &registry.resolver(base), 0).map(drop)
}

/// What is known of the schemas that were met, by where they stand in memory.
#[derive(Default)]
struct Walk(HashMap<*const Value, Extent>);

enum Extent {
    /// It is being walked: this is a reference back.
    Open,
    /// How many objects and arrays it has.
    Known(u64),
}

impl Walk {
    fn size(&mut self, schema: &Value, resolver: &Resolver<'_>, depth: usize) -> Result<u64, String> {
        if !schema.is_object() && !schema.is_array() {
            return Ok(0);
        }
        if depth > DEPTH_MAX {
            return Err(format!(
                "it is nested deeper than {DEPTH_MAX} levels when its references are followed"
            ));
        }
        let place = std::ptr::from_ref(schema);
        match self.0.get(&place) {
            Some(Extent::Known(size)) => return Ok(*size),
            Some(Extent::Open) => return Ok(1),
            None => {}
        }
        self.0.insert(place, Extent::Open);
        let size = self.inner(schema, resolver, depth)?.saturating_add(1);
        if size > EXPANDED_MAX {
            return Err(format!("it has more than {EXPANDED_MAX} parts when its references are followed"));
        }
        self.0.insert(place, Extent::Known(size));
        Ok(size)
    }

    fn inner(&mut self, schema: &Value, resolver: &Resolver<'_>, depth: usize) -> Result<u64, String> {
        let members = match schema {
            Value::Array(elements) => return self.sum(elements.iter(), resolver, depth),
            Value::Object(members) => members,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(0),
        };
        // One that names itself is where its references begin.
        let resource = Draft::default().create_resource_ref(schema);
        let resolver = resolver.in_subresource(resource).map_err(|error| error.to_string())?;
        let mut size = 0_u64;
        for (keyword, value) in members {
            let more = match (keyword.as_str(), value) {
                // Only what is referred to is held against anything.
                ("$defs" | "definitions", _) => 0,
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    // What leads nowhere is refused when the schema is compiled, or is no keyword where it stands.
                    let Ok(target) = resolver.lookup(reference) else { continue };
                    self.size(target.contents(), target.resolver(), depth + 1)?
                }
                // Their names are those of properties, whatever they are.
                ("properties" | "patternProperties" | "dependentSchemas", Value::Object(named)) => {
                    self.sum(named.values(), &resolver, depth + 1)?.saturating_add(1)
                }
                _ => self.size(value, &resolver, depth + 1)?,
            };
            size = size.saturating_add(more);
        }
        Ok(size)
    }

    fn sum<'s>(
        &mut self,
        parts: impl Iterator<Item = &'s Value>,
        resolver: &Resolver<'_>,
        depth: usize,
    ) -> Result<u64, String> {
        let mut sum = 0_u64;
        for part in parts {
            sum = sum.saturating_add(self.size(part, resolver, depth + 1)?);
        }
        Ok(sum)
    }
}
