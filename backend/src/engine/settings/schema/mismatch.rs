//! What is said of parameters that do not fit their schema.

use jsonschema::{ValidationError, error::ValidationErrorKind};

use crate::domain::excerpt::{VALUE_SHOWN_MAX, excerpt};

/// How many names are repeated that should not be there.
const NAMES_SHOWN_MAX: usize = 8;

/// The sentence of the library, in which the refused value and its names are cut to what helps.
pub(super) fn sentence(error: &ValidationError<'_>) -> String {
    if let ValidationErrorKind::PropertyNames { error } = error.kind() {
        return sentence(error);
    }
    if let ValidationErrorKind::AdditionalProperties { unexpected }
    | ValidationErrorKind::UnevaluatedProperties { unexpected } = error.kind()
        && (unexpected.len() > NAMES_SHOWN_MAX || unexpected.iter().any(|name| name.len() > VALUE_SHOWN_MAX))
    {
        let shown = unexpected.iter().take(NAMES_SHOWN_MAX).map(|name| format!("'{}'", excerpt(name)));
        let shown: Vec<String> = shown.collect();
        let others = unexpected.len().saturating_sub(NAMES_SHOWN_MAX);
        let more = if others > 0 { format!(" and {others} more") } else { String::new() };
        return format!("Additional properties are not allowed ({}{more} unexpected)", shown.join(", "));
    }
    let value = error.instance().to_string();
    if value.len() > VALUE_SHOWN_MAX {
        error.masked_with(excerpt(&value)).to_string()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_value_is_cut_to_what_helps() {
        let schema = json!({
            "additionalProperties": false,
            "properties": {
                "number": {"type": "integer"}, "word": {"enum": ["a", "b"]}, "pattern": {"pattern": "^a$"},
                "one": {"oneOf": [{"type": "null"}]}, "names": {"propertyNames": {"maxLength": 3}},
                "few": {"maxItems": 1}, "no": false, "unique": {"uniqueItems": true}, "const": {"const": 1},
            },
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let secret = "s3cret".repeat(100);
        let list = json!([secret, secret]);
        let mut names = serde_json::Map::new();
        names.insert(secret.clone(), json!(1));
        let mut parameters = json!({
            "number": secret, "word": secret, "pattern": secret, "one": secret, "names": names, "few": list, "no": secret,
            "unique": list, "const": secret,
        });
        parameters[&secret] = json!(1);
        let sentences: Vec<String> =
            validator.iter_errors(&parameters).map(|error| sentence(&error)).collect();
        assert_eq!(sentences.len(), 10, "{sentences:#?}");
        for sentence in sentences {
            assert!(sentence.chars().count() < VALUE_SHOWN_MAX + 100, "{sentence}");
        }
        let small = json!({"number": "x", "a": 1, "b": 2});
        let sentences: Vec<String> = validator.iter_errors(&small).map(|error| sentence(&error)).collect();
        assert!(sentences.iter().any(|sentence| sentence.contains("\"x\" is not of type")), "{sentences:?}");
        assert!(
            sentences.iter().any(|sentence| sentence.contains("'a', 'b' were unexpected")),
            "{sentences:?}"
        );
    }
}
