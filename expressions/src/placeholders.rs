//! Where in a string expressions stand.

use cel::parser::pratt_parser::TokenKind;

use crate::{error::Invalid, syntax};

const OPENING: &str = "${{";
const ESCAPED: &str = "$${{";
const CLOSING_BYTES: usize = 2;

/// A part of a string.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    Literal(&'t str),
    /// The text between the braces, trimmed, and where it begins in the string, in bytes.
    Expression {
        text: &'t str,
        offset: usize,
    },
}

/// The parts of `string`, in their order; literals are not empty.
pub(crate) fn parts(string: &str) -> Result<Vec<Part<'_>>, Invalid> {
    let mut parts = Vec::new();
    let mut literal_from = 0;
    let mut at = 0;
    while let Some(found) = string[at..].find('$') {
        let start = at + found;
        let rest = &string[start..];
        if rest.starts_with(ESCAPED) {
            push_literal(&mut parts, &string[literal_from..start]);
            literal_from = start + 1; // The first dollar is what goes.
            at = start + ESCAPED.len();
        } else if rest.starts_with(OPENING) {
            push_literal(&mut parts, &string[literal_from..start]);
            let inside = start + OPENING.len();
            let end = inside + closing(&string[inside..]).ok_or_else(|| unclosed(start))?;
            let text = string[inside..end].trim();
            if text.is_empty() {
                return Err(Invalid::new(
                    start,
                    "there is nothing between `${{` and `}}`; write an expression",
                ));
            }
            let offset = inside + (end - inside - string[inside..end].trim_start().len());
            parts.push(Part::Expression { text, offset });
            literal_from = end + CLOSING_BYTES;
            at = literal_from;
        } else {
            at = start + 1;
        }
    }
    push_literal(&mut parts, &string[literal_from..]);
    Ok(parts)
}

fn push_literal<'t>(parts: &mut Vec<Part<'t>>, text: &'t str) {
    if !text.is_empty() {
        parts.push(Part::Literal(text));
    }
}

fn unclosed(offset: usize) -> Invalid {
    let message = "`${{` is never closed by `}}`; close it, or write `$${{` for the characters themselves";
    Invalid::new(offset, message)
}

/// Where the two braces stand that close an expression. Those within texts are not seen, and those of objects are
/// counted: they are tokens of the language.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut last = None;
    for token in syntax::tokens(text) {
        match token.kind {
            TokenKind::TokLeftBrace => open += 1,
            TokenKind::TokRightBrace if open > 0 => open -= 1,
            TokenKind::TokRightBrace if last == Some(token.start) => return Some(token.start - 1),
            TokenKind::TokRightBrace => {
                last = Some(token.end);
                continue;
            }
            _ => {}
        }
        last = None;
    }
    None
}
