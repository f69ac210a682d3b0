//! Patterns of job types, as filters and lists take them.

/// Whether the text is the pattern, in which `*` stands for any characters and nothing else is special.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut words = rest.split('*').peekable();
    while let Some(word) = words.next() {
        if words.peek().is_none() {
            return text.ends_with(word);
        }
        // The first place is the best: it leaves the most for what follows.
        match text.find(word) {
            Some(at) => text = &text[at + word.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_star_is_special() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("*", "anything", true),
            ("a.*", "a.b.c", true),
            ("a.*", "a", false),
            ("*.c", "a.b.c", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abced", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("?.b", "a.b", false),
            ("[a].b", "a.b", false),
            ("%", "a", false),
            ("", "", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn patterns_match_as_people_expect() {
        for (pattern, text, expected) in [
            ("image.*", "image.crop", true),
            ("image.*", "image", false),
            ("*", "anything", true),
            ("*.crop", "image.crop", true),
            ("a*b*c", "a.x.b.y.c", true),
            ("a*b*c", "a.c.b", false),
            ("ab*b", "ab", false),
            ("a.b", "a.bc", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
