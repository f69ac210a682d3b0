//! Which name was meant.

/// How alike two names must be, from 0 to 1, for one to be meant when the other is written.
const ALIKE_MIN: f64 = 0.8;

/// The longest name that is compared, in bytes: what a comparison takes grows with the product of both lengths.
const COMPARED_BYTES_MAX: usize = 128;

/// The one of `known` that was meant by `name`, if one is alike enough.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let is_compared = |name: &str| name.len() <= COMPARED_BYTES_MAX;
    let known = known.into_iter().filter(|known| is_compared(known) && is_compared(name));
    let alike = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let (likeness, known) = alike.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (likeness >= ALIKE_MIN).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_is_meant_if_it_is_alike_enough() {
        let known = ["probe", "publish", "tidy"];
        assert_eq!(nearest("prob", known), Some("probe"));
        assert_eq!(nearest("published", known), Some("publish"));
        assert_eq!(nearest("encode", known), None);
        assert_eq!(nearest("x", []), None);
        let long = "a".repeat(COMPARED_BYTES_MAX + 1);
        assert_eq!(nearest(&long, [&*long]), None, "it would take too long");
        assert_eq!(nearest(&long[1..], [&long[1..]]), Some(&long[1..]));
    }
}
