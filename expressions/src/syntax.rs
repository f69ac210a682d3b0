//! From text to a tree, and where in the text something is.

use cel::{
    IdedExpr, ParseErrors,
    parser::{
        PrattParser,
        pratt_parser::{Lexer, Token, TokenKind},
    },
};

use crate::{
    error::Invalid,
    limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_NODES_MAX},
};

/// Parses a text of at most [`EXPRESSION_BYTES_MAX`] bytes. Recursive: to be called on a known stack.
///
/// The library's own `Program::compile` uses another parser, to which 125 bytes of brackets are a gigabyte of work.
pub(crate) fn parse(text: &str) -> Result<IdedExpr, Invalid> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let message = format!(
            "an expression has at most {EXPRESSION_BYTES_MAX} bytes; let a worker do what needs more"
        );
        return Err(Invalid::new(EXPRESSION_BYTES_MAX, message));
    }
    if text.trim().is_empty() {
        return Err(Invalid::new(0, "there is no expression; write one such as `1 + 1`"));
    }
    PrattParser::new()
        .max_recursion_depth(u16::try_from(EXPRESSION_DEPTH_MAX).unwrap_or(u16::MAX))
        .max_expression_node_count(EXPRESSION_NODES_MAX)
        .error_recovery_limit(0) // The first error is enough, and to go on after it is where parsers get lost.
        .parse(text)
        .map_err(|errors| first_error(text, &errors))
}

fn first_error(text: &str, errors: &ParseErrors) -> Invalid {
    // After this one, what is said of brackets that were not read is no news.
    if errors.errors.iter().any(|error| error.msg.contains("recursion limit")) {
        return Invalid::new(
            0,
            format!("this is nested deeper than {EXPRESSION_DEPTH_MAX} levels; simplify it"),
        );
    }
    // What has no place says only that the parser gave up.
    let Some(error) = errors.errors.iter().find(|error| error.pos.0 > 0) else {
        return Invalid::new(0, "this is no expression; simplify it");
    };
    let message = error.msg.trim_start_matches("Syntax error: ");
    Invalid::new(offset(text, error.pos), format!("this is no expression: {message}"))
}

/// The library counts lines and bytes within them from 1.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let lines_before = usize::try_from(line - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(lines_before).map(str::len).sum();
    (start + usize::try_from(column - 1).unwrap_or(0)).min(text.len())
}

/// The tokens of `text`, without white space and comments, up to its end or the first that is none.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = Token> {
    let mut lexer = Lexer::new(text);
    std::iter::from_fn(move || Some(lexer.lex()))
        .take_while(|token| !matches!(token.kind, TokenKind::TokEnd | TokenKind::TokError))
        .filter(|token| !matches!(token.kind, TokenKind::TokWhitespace | TokenKind::TokComment))
}

/// Where `name` first stands in `text`: after a dot if `is_member`, else not after one. The tree has no places.
pub(crate) fn offset_of(text: &str, name: &str, is_member: bool) -> usize {
    let mut after_dot = false;
    for token in tokens(text) {
        if after_dot == is_member && text.get(token.start..token.end) == Some(name) {
            return token.start;
        }
        after_dot = token.kind == TokenKind::TokDot;
    }
    0
}
