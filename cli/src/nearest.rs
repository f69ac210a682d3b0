//! What somebody may have meant who wrote something else.

/// How alike two names must be, from 0 to 1, for one to be meant when the other is written: a slip in a word of four letters.
const ALIKE_MIN: f64 = 0.7;

/// The name that is most like the one that was written, if any is like it at all.
pub(crate) fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = names.into_iter().map(|name| (strsim::normalized_damerau_levenshtein(written, name), name));
    let best = alike.filter(|(alike, _)| *alike >= ALIKE_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let names = ["file.checksum", "file.copy", "image.thumbnail"];
        assert_eq!(nearest("file.checksm", names), Some("file.checksum"));
        assert_eq!(nearest("fiel.copy", names), Some("file.copy"));
        assert_eq!(nearest("file.copi", names), Some("file.copy"), "beginnings in common say little");
        assert_eq!(nearest("audio.mix", names), None);
        assert_eq!(nearest("nmae", ["source", "name"]), Some("name"));
        assert_eq!(nearest("any", []), None);
    }
}
