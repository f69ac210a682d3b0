//! What is repeated of a refused value.

/// How much of a refused value is repeated to the caller, in characters: enough to know it again. The caller has the
/// whole; whoever reads the answer or a log along with them need not get it.
pub(crate) const VALUE_SHOWN_MAX: usize = 100;

/// The beginning of a value, as far as it is repeated.
#[must_use]
pub fn excerpt(value: &str) -> String {
    cut(value, VALUE_SHOWN_MAX)
}

/// The beginning of a text, of so many characters at most.
#[must_use]
pub(crate) fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_between_characters() {
        assert_eq!(excerpt("short"), "short");
        let long = excerpt(&"ü".repeat(VALUE_SHOWN_MAX + 1));
        assert_eq!(long, format!("{}…", "ü".repeat(VALUE_SHOWN_MAX)));
    }
}
