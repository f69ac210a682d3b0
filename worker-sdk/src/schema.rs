//! The JSON Schemas (draft 2020-12) of the types of whoever wrote the handler.

use crewcall_proto::JsonObject;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::Value;

/// That of what is read as this type.
pub(crate) fn of_read<T: JsonSchema>() -> JsonObject {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    object_of(settings.into_generator().into_root_schema_for::<T>())
}

/// That of what this type is written as.
pub(crate) fn of_written<T: JsonSchema>() -> JsonObject {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    object_of(settings.into_generator().into_root_schema_for::<T>())
}

/// The doc comment of the type.
pub(crate) fn description(schema: &JsonObject) -> Option<String> {
    schema.get("description")?.as_str().map(str::to_owned)
}

/// The schema as an object. The schema `true`, which takes anything, is `{}` there.
fn object_of(schema: Schema) -> JsonObject {
    match schema.to_value() {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}
