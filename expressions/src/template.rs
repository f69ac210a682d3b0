use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::{
    error::{Failed, Invalid},
    evaluation::{Allowance, json_kind},
    expression::{Expression, unreadable},
    limits::{JSON_LEVELS_MAX, TEMPLATE_BYTES_MAX, TEMPLATE_EXPRESSIONS_MAX, TEMPLATE_PROBLEMS_MAX},
    measure,
    placeholders::{self, Part},
    scope::Scope,
    stack::with_known_stack,
};

/// JSON with expressions in its strings, to be filled in.
///
/// A string that is one expression and nothing else, `"${{ event.width }}"`, becomes its value, of whichever type. Among
/// other characters an expression becomes text. `$${{` is the characters `${{`. Keys of objects are never templates, and
/// what is filled in is never read as an expression again.
#[derive(Debug, Clone)]
pub struct Template {
    root: Node,
}

#[derive(Debug, Clone)]
enum Node {
    /// Without an expression anywhere in it.
    Literal(Value),
    Whole(Expression),
    Text(Vec<Piece>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Expression(Expression),
}

impl Template {
    /// Parses the strings in `value`, whose expressions may use the data of `names`.
    ///
    /// # Errors
    ///
    /// Every string that is wrong, as its JSON pointer and the first problem in it, up to [`TEMPLATE_PROBLEMS_MAX`]; or
    /// one problem of the whole, at the pointer "": it has more than [`TEMPLATE_BYTES_MAX`] bytes or
    /// [`JSON_LEVELS_MAX`] levels. What stands beyond [`TEMPLATE_EXPRESSIONS_MAX`] expressions is wrong.
    pub fn parse(value: &Value, names: &[&str]) -> Result<Self, Vec<(String, Invalid)>> {
        let whole = |message: String| vec![(String::new(), Invalid::new(0, message))];
        if !measure::has_levels_within(value, JSON_LEVELS_MAX) {
            return Err(whole(format!(
                "a template has at most {JSON_LEVELS_MAX} levels of lists and objects"
            )));
        }
        if measure::json_bytes(value, TEMPLATE_BYTES_MAX).is_none() {
            return Err(whole(format!("a template has at most {TEMPLATE_BYTES_MAX} bytes")));
        }
        let parsed = with_known_stack(|| {
            let mut parser = Parser { names, pointer: String::new(), expressions: 0, problems: Vec::new() };
            let root = parser.node(value);
            (root, parser.problems)
        });
        let (root, problems) = parsed.ok_or_else(|| vec![(String::new(), unreadable())])?;
        if problems.is_empty() { Ok(Self { root }) } else { Err(problems) }
    }

    /// Fills in the data.
    ///
    /// # Errors
    ///
    /// The first expression that does not fit the data, or whose value cannot stand among characters; or all together
    /// exceed [`OUTPUT_BYTES_MAX`](crate::OUTPUT_BYTES_MAX) or [`EVALUATION_UNITS_MAX`](crate::EVALUATION_UNITS_MAX).
    pub fn fill(&self, scope: &Scope<'_>) -> Result<Value, Failed> {
        let mut filler = Filler { scope, pointer: String::new(), allowance: Allowance::default() };
        let filled = filler.node(&self.root)?;
        // The literals count as well.
        let all = Allowance::default().take_bytes(&filled);
        all.map_err(|message| Failed { pointer: None, expression: String::new(), message })?;
        Ok(filled)
    }
}

struct Parser<'a> {
    names: &'a [&'a str],
    pointer: String,
    expressions: usize,
    problems: Vec<(String, Invalid)>,
}

impl Parser<'_> {
    fn node(&mut self, value: &Value) -> Node {
        match value {
            Value::String(text) => self.string(text).unwrap_or_else(|problem| {
                if self.problems.len() < TEMPLATE_PROBLEMS_MAX {
                    self.problems.push((self.pointer.clone(), problem));
                }
                Node::Literal(Value::Null)
            }),
            Value::Array(items) => {
                let nodes = items.iter().enumerate();
                let nodes: Vec<Node> =
                    nodes.map(|(index, item)| self.below(&index.to_string(), item)).collect();
                if all_literal(&nodes) { Node::Literal(value.clone()) } else { Node::List(nodes) }
            }
            Value::Object(fields) => {
                let nodes: Vec<(String, Node)> =
                    fields.iter().map(|(key, field)| (key.clone(), self.below(key, field))).collect();
                if all_literal(nodes.iter().map(|(_, node)| node)) {
                    Node::Literal(value.clone())
                } else {
                    Node::Object(nodes)
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Node::Literal(value.clone()),
        }
    }

    fn below(&mut self, key: &str, value: &Value) -> Node {
        let above = push_key(&mut self.pointer, key);
        let node = self.node(value);
        self.pointer.truncate(above);
        node
    }

    fn string(&mut self, text: &str) -> Result<Node, Invalid> {
        let mut pieces = Vec::new();
        let mut is_literal = true;
        for part in placeholders::parts(text)? {
            match part {
                Part::Literal(text) => pieces.push(Piece::Literal(text.to_owned())),
                Part::Expression { text, offset } => {
                    is_literal = false;
                    pieces.push(Piece::Expression(self.expression(text, offset)?));
                }
            }
        }
        Ok(match pieces.as_mut_slice() {
            [Piece::Expression(whole)] => Node::Whole(whole.clone()),
            _ if is_literal => Node::Literal(joined(&pieces).into()),
            _ => Node::Text(pieces),
        })
    }

    fn expression(&mut self, text: &str, offset: usize) -> Result<Expression, Invalid> {
        self.expressions += 1;
        if self.expressions > TEMPLATE_EXPRESSIONS_MAX {
            let message = format!("a template has at most {TEMPLATE_EXPRESSIONS_MAX} expressions");
            return Err(Invalid::new(offset, message));
        }
        Expression::parse_here(text, self.names).map_err(|problem| problem.moved(offset))
    }
}

fn all_literal<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> bool {
    // A string may stand for another: `$${{` does.
    nodes.into_iter().all(|node| matches!(node, Node::Literal(value) if !value.is_string()))
}

fn joined(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::Expression(_) => None,
        })
        .collect()
}

struct Filler<'s, 'a> {
    scope: &'s Scope<'a>,
    pointer: String,
    allowance: Allowance,
}

impl Filler<'_, '_> {
    fn node(&mut self, node: &Node) -> Result<Value, Failed> {
        match node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Whole(expression) => self.value(expression),
            Node::Text(pieces) => self.text(pieces).map(Value::String),
            Node::List(nodes) => nodes
                .iter()
                .enumerate()
                .map(|(index, node)| self.below(&index.to_string(), node))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::Array),
            Node::Object(nodes) => nodes
                .iter()
                .map(|(key, node)| Ok((key.clone(), self.below(key, node)?)))
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object),
        }
    }

    fn below(&mut self, key: &str, node: &Node) -> Result<Value, Failed> {
        let above = push_key(&mut self.pointer, key);
        let value = self.node(node)?;
        self.pointer.truncate(above);
        Ok(value)
    }

    fn value(&mut self, expression: &Expression) -> Result<Value, Failed> {
        let value = expression.value_within(self.scope, &mut self.allowance);
        value.map_err(|failed| Failed { pointer: Some(self.pointer.clone()), ..failed })
    }

    fn text(&mut self, pieces: &[Piece]) -> Result<String, Failed> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Expression(expression) => match self.value(expression)? {
                    Value::String(value) => text.push_str(&value),
                    Value::Bool(truth) => _ = write!(text, "{truth}"),
                    Value::Number(number) => _ = write!(text, "{number}"),
                    other => {
                        let kind = json_kind(&other);
                        let message = format!(
                            "it is {kind}, which cannot stand among other characters; choose a text, number or \
                             boolean of it, or let the expression be the whole string"
                        );
                        let failed = expression.failed(message);
                        return Err(Failed { pointer: Some(self.pointer.clone()), ..failed });
                    }
                },
            }
        }
        Ok(text)
    }
}

/// Appends a key, as JSON pointers write it (RFC 6901). Returns the length before.
fn push_key(pointer: &mut String, key: &str) -> usize {
    let above = pointer.len();
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
    above
}
