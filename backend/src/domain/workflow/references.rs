//! Which steps an expression names. The expressions here were parsed before: what is looked at is well-formed.

/// A place in a text at which an expression names `steps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference<'t> {
    /// Where `steps` stands, in bytes.
    pub(super) offset: usize,
    /// Which step is named; `None` if it is computed, or all of them are meant.
    pub(super) step: Option<&'t str>,
}

/// The word that leads to the data of other steps.
pub(super) const STEPS: &str = "steps";

/// What an expression begins with in a template.
pub(super) const OPENING: &str = "${{";
const ESCAPED: &str = "$${{";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Name(&'t str),
    /// The characters of a text between its quotes.
    Text(&'t str),
    Number,
    /// One character of anything else.
    Sign(char),
}

/// The references of an expression.
pub(super) fn of_expression(text: &str) -> Vec<Reference<'_>> {
    references(&Tokens { text, at: 0 }.collect::<Vec<_>>())
}

/// The references of a string of a template.
pub(super) fn of_template(text: &str) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$') {
        let start = at + dollar;
        let rest = &text[start..];
        if rest.starts_with(ESCAPED) {
            at = start + ESCAPED.len();
        } else if rest.starts_with(OPENING) {
            let (tokens, end) = until_closed(text, start + OPENING.len());
            found.extend(references(&tokens));
            at = end;
        } else {
            at = start + 1;
        }
    }
    found
}

/// Whether a string of a template is one expression and nothing else, so that it becomes its value.
pub(super) fn is_whole_expression(text: &str) -> bool {
    text.starts_with(OPENING) && until_closed(text, OPENING.len()).1 == text.len()
}

/// The tokens of an expression that begins at a place, and the place behind the braces that close it.
fn until_closed(text: &str, at: usize) -> (Vec<(usize, Token<'_>)>, usize) {
    let mut found: Vec<(usize, Token<'_>)> = Vec::new();
    let mut open = 0_usize;
    for (offset, token) in (Tokens { text, at }) {
        match token {
            Token::Sign('{') => open += 1,
            Token::Sign('}') if open > 0 => open -= 1,
            Token::Sign('}') if text[offset..].starts_with("}}") => return (found, offset + 2),
            Token::Sign(_) | Token::Name(_) | Token::Text(_) | Token::Number => {}
        }
        found.push((offset, token));
    }
    (found, text.len())
}

fn references<'t>(tokens: &[(usize, Token<'t>)]) -> Vec<Reference<'t>> {
    let token = |at: usize| tokens.get(at).map(|(_, token)| *token);
    let mut found = Vec::new();
    for (at, (offset, this)) in tokens.iter().enumerate() {
        // A field of something else may have that name as well.
        let is_field = at >= 1
            && token(at - 1) == Some(Token::Sign('.'))
            && at >= 2
            && matches!(
                token(at - 2),
                Some(Token::Name(_) | Token::Text(_) | Token::Number | Token::Sign(')' | ']' | '}'))
            );
        if *this != Token::Name(STEPS) || is_field {
            continue;
        }
        let step = match (token(at + 1), token(at + 2), token(at + 3)) {
            (Some(Token::Sign('.')), Some(Token::Name(step)), next) if next != Some(Token::Sign('(')) => {
                Some(step)
            }
            (Some(Token::Sign('[')), Some(Token::Text(step)), Some(Token::Sign(']'))) => Some(step),
            _ => None,
        };
        found.push(Reference { offset: *offset, step });
    }
    found
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Iterator for Tokens<'t> {
    type Item = (usize, Token<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.text.get(self.at..)?;
            let start = self.at;
            let first = rest.chars().next()?;
            if first.is_whitespace() {
                self.at += first.len_utf8();
                continue;
            }
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            let word = length_while(rest, |character| character.is_ascii_alphanumeric() || character == '_');
            let (length, token) = if let Some(token) = self.quoted(rest, word) {
                token
            } else if first.is_ascii_digit() {
                (word, Token::Number)
            } else if word > 0 {
                (word, Token::Name(&rest[..word]))
            } else {
                (first.len_utf8(), Token::Sign(first))
            };
            self.at += length;
            return Some((start, token));
        }
    }
}

impl<'t> Tokens<'t> {
    /// A text in quotes, of which so many characters may stand in front.
    fn quoted(&self, rest: &'t str, prefix: usize) -> Option<(usize, Token<'t>)> {
        let is_raw = match &rest[..prefix] {
            "" => false,
            "r" | "R" => true,
            _ => return None,
        };
        let quoted = &rest[prefix..];
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| quoted.starts_with(quote))?;
        let mut inside = prefix + quote.len();
        let begin = inside;
        while let Some(character) = rest[inside..].chars().next() {
            if rest[inside..].starts_with(quote) {
                return Some((inside + quote.len(), Token::Text(&rest[begin..inside])));
            }
            inside += character.len_utf8();
            if character == '\\' && !is_raw {
                inside += rest[inside..].chars().next().map_or(0, char::len_utf8);
            }
        }
        Some((rest.len(), Token::Text(&rest[begin..])))
    }
}

fn length_while(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|character| !is_part(character)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use crewcall_expressions::{Expression, Json, Template};

    use super::*;

    const NAMES: [&str; 2] = ["steps", "event"];

    fn named(text: &str) -> Vec<(usize, Option<&str>)> {
        Expression::parse(text, &NAMES).unwrap_or_else(|invalid| panic!("{text}: {invalid}"));
        of_expression(text).into_iter().map(|reference| (reference.offset, reference.step)).collect()
    }

    fn named_in_template(text: &str) -> Vec<(usize, Option<&str>)> {
        Template::parse(&Json::from(text), &NAMES).unwrap_or_else(|invalid| panic!("{text}: {invalid:?}"));
        of_template(text).into_iter().map(|reference| (reference.offset, reference.step)).collect()
    }

    #[test]
    fn steps_are_named_with_a_dot_or_in_brackets() {
        assert_eq!(named("steps.probe.result > 0"), [(0, Some("probe"))]);
        assert_eq!(named("1 + steps['a'].b + steps [ \"c\" ] . d"), [(4, Some("a")), (19, Some("c"))]);
        assert_eq!(
            named("has(steps.a.result) && steps.b.x.map(e, e.steps)[0]"),
            [(4, Some("a")), (23, Some("b"))]
        );
    }

    #[test]
    fn what_is_computed_has_no_name() {
        assert_eq!(named("steps[event.name]"), [(0, None)]);
        assert_eq!(named("size(steps)"), [(5, None)]);
        assert_eq!(named("steps['a' + 'b']"), [(0, None)]);
        assert_eq!(named("steps.map(s, s)"), [(0, None)]);
        assert_eq!(named("steps == event"), [(0, None)]);
    }

    #[test]
    fn fields_texts_and_comments_of_that_name_are_something_else() {
        assert!(named("event.steps.a").is_empty());
        assert!(named("event['x'].steps == (event).steps").is_empty());
        assert!(named("'steps.a' + \"it\\\"steps.a\" + r'\\' + '''a'steps.b''' == 'x'").is_empty());
        assert_eq!(named("r'\\' + steps.a"), [(7, Some("a"))], "a backslash is one in a raw text");
        assert!(named("event.a // steps.b\n + 1").is_empty());
        assert!(named("event.mysteps + event.steps_of").is_empty());
        assert_eq!(named("{'steps': steps.a}"), [(10, Some("a"))]);
        assert_eq!(named("[1][0] + steps.a"), [(9, Some("a"))]);
    }

    #[test]
    fn a_template_names_them_within_its_braces_only() {
        assert_eq!(
            named_in_template("steps.a: ${{ steps.b.result }}, ${{steps.c}}!"),
            [(13, Some("b")), (35, Some("c"))]
        );
        assert!(named_in_template("$${{ steps.a }} and ${{ '}} steps.b' }}").is_empty());
        assert_eq!(named_in_template("${{ {'a': {'b': 1}} == steps.c }} steps.d"), [(23, Some("c"))]);
    }

    #[test]
    fn a_whole_expression_has_nothing_around_it() {
        for text in ["${{ a }}", "${{ {'a': 1} }}", "${{ '}}' }}"] {
            assert!(is_whole_expression(text), "{text}");
        }
        for text in ["a", " ${{ a }}", "${{ a }} ", "${{ a }}${{ b }}", "$${{ a }}"] {
            assert!(!is_whole_expression(text), "{text}");
        }
    }
}
