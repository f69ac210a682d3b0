//! What an evaluation could do at most, told from the shape of the expression and the sizes of the data.
//!
//! Nothing stops an evaluation that has begun, so what might do too much does not begin. Only macros repeat anything, and
//! none stands in the body of another: what a body does for an element is at most a fixed part, and a part in
//! proportion to the element. Over all elements that is the fixed part times their number, and the other part
//! times the size of the list.

use std::{collections::HashMap, ops::AddAssign};

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
};
use serde_json::Value;

use crate::{check::RESULT, limits::STEP_UNITS, measure, path, scope::Scope};

/// Units, of which some are for each unit of the element that a macro is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Units {
    fixed: u64,
    per_element_unit: u64,
}

const STEP: Units = Units { fixed: STEP_UNITS, per_element_unit: 0 };

/// The text of a fraction, which has up to 343 characters: it is written without an exponent.
const NUMBER_TEXT: Units = Units { fixed: 6 * STEP_UNITS, per_element_unit: 0 };

impl AddAssign for Units {
    fn add_assign(&mut self, other: Self) {
        self.fixed = self.fixed.saturating_add(other.fixed);
        self.per_element_unit = self.per_element_unit.saturating_add(other.per_element_unit);
    }
}

impl Units {
    fn max(self, other: Self) -> Self {
        Self {
            fixed: self.fixed.max(other.fixed),
            per_element_unit: self.per_element_unit.max(other.per_element_unit),
        }
    }

    /// For `elements` that have `units` together.
    fn over(self, elements: u64, units: u64) -> Self {
        let fixed = self.fixed.saturating_mul(elements);
        Self { fixed: fixed.saturating_add(self.per_element_unit.saturating_mul(units)), per_element_unit: 0 }
    }
}

/// How many units evaluating `tree` takes at most.
///
/// Looks into the data only if that is needed to find at most `units_max`: to say that `event.name` is no larger than
/// `event` is quick, and mostly enough.
pub(crate) fn units(tree: &IdedExpr, scope: &Scope<'_>, units_max: u64) -> u64 {
    let coarse = Estimator::new(scope, false).total(tree);
    if coarse <= units_max { coarse } else { Estimator::new(scope, true).total(tree) }
}

struct Estimator<'s, 'a> {
    scope: &'s Scope<'a>,
    looks_into_data: bool,
    work: Units,
    variable: Option<&'s str>,
    /// The units of values that were looked at, by their address.
    known: HashMap<*const Value, u64>,
}

impl<'s, 'a> Estimator<'s, 'a> {
    fn new(scope: &'s Scope<'a>, looks_into_data: bool) -> Self {
        Self { scope, looks_into_data, work: Units::default(), variable: None, known: HashMap::new() }
    }

    fn total(mut self, tree: &'s IdedExpr) -> u64 {
        let result = self.value(tree);
        self.work += result; // It is copied out.
        self.work.fixed
    }

    /// The size of the value of `node`; what it takes to make it is added to the work.
    fn value(&mut self, node: &'s IdedExpr) -> Units {
        self.work += STEP;
        if let Some(units) = self.data(node) {
            return units;
        }
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => {
                Units { fixed: STEP_UNITS + text.inner().len() as u64, per_element_unit: 0 }
            }
            Expr::Ident(name) if self.variable == Some(name) => Units { fixed: 0, per_element_unit: 1 },
            // A macro adds to what it has in place; what it adds is counted where it is made.
            Expr::Ident(name) if name == RESULT => Units::default(),
            Expr::Ident(name) => Units { fixed: self.scope.units(name).max(STEP_UNITS), per_element_unit: 0 },
            Expr::Select(select) => self.value(&select.operand),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.copies(list.elements.iter()),
            Expr::Map(map) => self.copies(map.entries.iter().flat_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => [&entry.key, &entry.value],
                EntryExpr::StructField(field) => [&field.value, &field.value],
            })),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => STEP,
        }
    }

    /// Values that are put into a new one.
    fn copies(&mut self, nodes: impl Iterator<Item = &'s IdedExpr>) -> Units {
        let mut size = STEP;
        for node in nodes {
            size += self.value(node);
        }
        self.work += size;
        size
    }

    fn call(&mut self, call: &'s CallExpr) -> Units {
        let operands: Vec<Units> =
            call.target.as_deref().into_iter().chain(&call.args).map(|operand| self.value(operand)).collect();
        let mut sum = Units::default();
        for operand in &operands {
            sum += *operand;
        }
        match call.func_name.as_str() {
            operators::CONDITIONAL => operands[1..].iter().copied().fold(Units::default(), Units::max),
            operators::INDEX => {
                self.work += operands[1];
                operands[0]
            }
            operators::ADD => {
                sum += STEP;
                self.work += sum;
                sum
            }
            "string" => {
                sum += NUMBER_TEXT;
                self.work += sum;
                sum
            }
            // Texts are counted; of lists and objects it is known.
            "size" if call.target.as_deref().or(call.args.first()).is_some_and(|of| self.is_counted(of)) => {
                STEP
            }
            // Everything else reads its operands at most once, and its result is a boolean, a number or a type.
            _ => {
                self.work += sum;
                STEP
            }
        }
    }

    fn comprehension(&mut self, comprehension: &'s ComprehensionExpr) -> Units {
        let range = self.value(&comprehension.iter_range).fixed;
        let elements = self.elements(&comprehension.iter_range, range);
        let before = std::mem::replace(&mut self.work, Units { fixed: 4 * STEP_UNITS, per_element_unit: 1 });
        self.variable = Some(&comprehension.iter_var);
        self.value(&comprehension.loop_cond);
        let step = self.value(&comprehension.loop_step);
        self.variable = None;
        let repeated = std::mem::replace(&mut self.work, before);
        self.work += repeated.over(elements, range);
        self.value(&comprehension.result);
        match comprehension.accu_init.expr {
            Expr::List(_) => {
                let mut list = step.over(elements, range);
                list += STEP;
                list
            }
            _ => STEP,
        }
    }

    /// How many elements a list, or an object, of that many units has at most.
    fn elements(&self, node: &IdedExpr, units: u64) -> u64 {
        match (&node.expr, self.looked_up(node)) {
            (_, Some(Value::Array(items))) => items.len() as u64,
            (_, Some(Value::Object(fields))) => fields.len() as u64,
            (Expr::List(list), _) => list.elements.len() as u64,
            (Expr::Comprehension(inner), _) if matches!(inner.accu_init.expr, Expr::List(_)) => {
                // As many as it goes through; what it makes of them may be large.
                self.elements(&inner.iter_range, units)
            }
            _ => units / STEP_UNITS,
        }
    }

    fn is_counted(&self, node: &IdedExpr) -> bool {
        matches!(self.looked_up(node), Some(Value::Array(_) | Value::Object(_)))
    }

    /// The size of `node` if it is a place in the data, and this looks there.
    fn data(&mut self, node: &IdedExpr) -> Option<Units> {
        let value = self.looked_up(node)?;
        let fixed = *self.known.entry(std::ptr::from_ref(value)).or_insert_with(|| measure::units(value));
        Some(Units { fixed, per_element_unit: 0 })
    }

    fn looked_up(&self, node: &IdedExpr) -> Option<&'a Value> {
        if self.looks_into_data { path::find(node, self.scope) } else { None }
    }
}
