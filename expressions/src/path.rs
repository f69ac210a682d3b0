//! Expressions that are no more than a place in the data, such as `event.data.lines[0]`.

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, operators},
};
use serde_json::Value;

use crate::scope::Scope;

/// What is at the place that `node` is; `None` if it is no place, or there is nothing.
pub(crate) fn find<'a>(node: &IdedExpr, scope: &Scope<'a>) -> Option<&'a Value> {
    match &node.expr {
        Expr::Ident(name) => scope.json(name),
        Expr::Select(select) if !select.test => find(&select.operand, scope)?.as_object()?.get(&select.field),
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [of, index] = call.args.as_slice() else { return None };
            match &index.expr {
                Expr::Literal(LiteralValue::String(key)) => find(of, scope)?.as_object()?.get(key.inner()),
                Expr::Literal(LiteralValue::Int(position)) => {
                    find(of, scope)?.as_array()?.get(usize::try_from(*position.inner()).ok()?)
                }
                _ => None,
            }
        }
        _ => None,
    }
}
