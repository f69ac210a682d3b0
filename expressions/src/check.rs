//! What is refused although it is well-formed: names and functions that nobody knows, and shapes that could do too much.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
};

use crate::{
    error::Invalid,
    limits::{EXPRESSION_DEPTH_MAX, EXPRESSION_NODES_MAX},
    syntax,
};

/// Types, which an expression may compare with `type(x)`.
const TYPES: [&str; 9] = ["bool", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Functions, with what they are called on if anything, and how many arguments they take. The library has others, of
/// which some have no result in JSON, and some come and go with its features.
const FUNCTIONS: [(&str, Style, usize); 11] = [
    ("bool", Style::Global, 1),
    ("contains", Style::Member, 1),
    ("double", Style::Global, 1),
    ("endsWith", Style::Member, 1),
    ("int", Style::Global, 1),
    ("size", Style::Global, 1),
    ("size", Style::Member, 0),
    ("startsWith", Style::Member, 1),
    ("string", Style::Global, 1),
    ("type", Style::Global, 1),
    ("uint", Style::Global, 1),
];

/// Macros and functions as they are written.
const FORMS: [(&str, &str); 16] = [
    ("all", "list.all(name, condition)"),
    ("bool", "bool(value)"),
    ("contains", "text.contains(text)"),
    ("double", "double(value)"),
    ("endsWith", "text.endsWith(text)"),
    ("exists", "list.exists(name, condition)"),
    ("exists_one", "list.exists_one(name, condition)"),
    ("filter", "list.filter(name, condition)"),
    ("has", "has(object.field)"),
    ("int", "int(value)"),
    ("map", "list.map(name, value)"),
    ("size", "size(value)"),
    ("startsWith", "text.startsWith(text)"),
    ("string", "string(value)"),
    ("type", "type(value)"),
    ("uint", "uint(value)"),
];

const OPERATORS: [&str; 18] = [
    operators::ADD,
    operators::CONDITIONAL,
    operators::DIVIDE,
    operators::EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::INDEX,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::LOGICAL_AND,
    operators::LOGICAL_NOT,
    operators::LOGICAL_OR,
    operators::MODULO,
    operators::MULTIPLY,
    operators::NEGATE,
    operators::NOT_EQUALS,
    operators::SUBSTRACT,
];

/// How alike two names are, from 0 to 1, before one is offered for the other.
const LIKENESS_MIN: f64 = 0.75;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Global,
    Member,
}

/// Refuses what this module says. Returns how deep `tree` is, in levels. Recursive, to a known depth.
pub(crate) fn check(text: &str, tree: &IdedExpr, names: &[&str]) -> Result<usize, Invalid> {
    let mut checker = Checker { text, names, nodes: 0, depth: 0, variable: None };
    checker.expression(tree, 1)?;
    Ok(checker.depth)
}

struct Checker<'a> {
    text: &'a str,
    names: &'a [&'a str],
    nodes: usize,
    /// Of the deepest node so far.
    depth: usize,
    /// What the macro calls an element, while its body is looked at.
    variable: Option<&'a str>,
}

impl<'a> Checker<'a> {
    fn expression(&mut self, node: &'a IdedExpr, depth: usize) -> Result<(), Invalid> {
        self.nodes += 1;
        if self.nodes > EXPRESSION_NODES_MAX {
            let message = format!("an expression has at most {EXPRESSION_NODES_MAX} parts; simplify it");
            return Err(Invalid::new(0, message));
        }
        self.depth = self.depth.max(depth);
        if depth > EXPRESSION_DEPTH_MAX {
            let message = format!("this is nested deeper than {EXPRESSION_DEPTH_MAX} levels; simplify it");
            return Err(Invalid::new(0, message));
        }
        match &node.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => {
                Err(Invalid::new(0, "JSON has no bytes; write a text without the `b` before it"))
            }
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.expression(&select.operand, depth + 1),
            Expr::Call(call) => self.call(call, depth),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.expression(element, depth + 1))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, depth + 1)?;
                    self.expression(&entry.value, depth + 1)
                }
                EntryExpr::StructField(_) => Err(no_types()),
            }),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Struct(_) => Err(no_types()),
            Expr::Unspecified => Err(Invalid::new(0, "this is no expression; simplify it")),
        }
    }

    fn name(&self, name: &str) -> Result<(), Invalid> {
        let is_known = self.names.contains(&name)
            || self.variable == Some(name)
            || TYPES.contains(&name)
            || name == RESULT; // Only macros write it.
        if is_known {
            return Ok(());
        }
        let known: Vec<&str> = self.names.iter().copied().chain(self.variable).collect();
        let hint = match nearest(name, &known) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if known.is_empty() => "there are no names here".to_owned(),
            None => format!("there is {}", list(&known)),
        };
        let offset = syntax::offset_of(self.text, name, false);
        Err(Invalid::new(offset, format!("nothing is called `{name}`; {hint}")))
    }

    fn call(&mut self, call: &'a CallExpr, depth: usize) -> Result<(), Invalid> {
        let style = if call.target.is_some() { Style::Member } else { Style::Global };
        let is_operator = style == Style::Global
            && (OPERATORS.contains(&call.func_name.as_str())
                || call.func_name == operators::NOT_STRICTLY_FALSE);
        let name = call.func_name.as_str();
        if !is_operator && !FUNCTIONS.contains(&(name, style, call.args.len())) {
            let offset = syntax::offset_of(self.text, name, style == Style::Member);
            return Err(Invalid::new(offset, unknown_function(name)));
        }
        let target = call.target.as_deref().into_iter();
        target.chain(&call.args).try_for_each(|operand| self.expression(operand, depth + 1))
    }

    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr, depth: usize) -> Result<(), Invalid> {
        let variable = comprehension.iter_var.as_str();
        let offset = syntax::offset_of(self.text, variable, false);
        if self.variable.is_some() {
            let message = "a macro cannot stand in the body of another: it would run for every pair; \
                           let a worker do that";
            return Err(Invalid::new(offset, message));
        }
        if self.names.contains(&variable) || TYPES.contains(&variable) {
            let message = format!("`{variable}` is something else already; call the element differently");
            return Err(Invalid::new(offset, message));
        }
        self.expression(&comprehension.iter_range, depth + 1)?;
        self.variable = Some(variable);
        for part in [
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ] {
            self.expression(part, depth + 1)?;
        }
        self.variable = None;
        Ok(())
    }
}

/// What macros call that which they have so far.
pub(crate) const RESULT: &str = "@result";

/// What the value of `node` certainly is, if it is not what a condition must be.
pub(crate) fn certainly_not_boolean(node: &IdedExpr) -> Option<&'static str> {
    match &node.expr {
        Expr::Literal(LiteralValue::Boolean(_)) => None,
        Expr::Literal(LiteralValue::String(_)) => Some("a text"),
        Expr::Literal(LiteralValue::Null) => Some("null"),
        Expr::Literal(_) => Some("a number"),
        Expr::List(_) => Some("a list"),
        Expr::Map(_) => Some("an object"),
        Expr::Comprehension(comprehension) => match comprehension.accu_init.expr {
            Expr::List(_) => Some("a list"),
            _ => None,
        },
        Expr::Call(call) => match call.func_name.as_str() {
            operators::ADD => Some("a number, text or list"),
            operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE
            | "int"
            | "uint"
            | "double"
            | "size" => Some("a number"),
            "string" => Some("a text"),
            "type" => Some("a type"),
            operators::CONDITIONAL => {
                let kinds: Option<Vec<_>> = call.args.iter().skip(1).map(certainly_not_boolean).collect();
                kinds?.first().copied()
            }
            _ => None,
        },
        Expr::Ident(_) | Expr::Select(_) | Expr::Struct(_) | Expr::Unspecified => None,
    }
}

fn no_types() -> Invalid {
    Invalid::new(0, "there are no types to make values of; write an object such as `{\"field\": 1}`")
}

fn unknown_function(name: &str) -> String {
    if name == "matches" {
        return "there are no regular expressions; use `contains`, `startsWith` or `endsWith`".to_owned();
    }
    let known = FORMS.map(|(name, _)| name);
    let form = |name: &str| FORMS.iter().find(|(known, _)| *known == name).map_or("", |(_, form)| form);
    if known.contains(&name) {
        return format!("`{name}` is written `{}`", form(name));
    }
    match nearest(name, &known) {
        Some(nearest) => format!("there is no function `{name}`; did you mean `{}`?", form(nearest)),
        None => format!("there is no function `{name}`; there is {}", list(&known)),
    }
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let alike = known.iter().map(|known| (strsim::jaro_winkler(name, known), *known));
    let nearest = alike.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (nearest.0 >= LIKENESS_MIN).then_some(nearest.1)
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
