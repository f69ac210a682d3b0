//! What commands decided about hooks, written row by row inside their transaction.

use super::{
    columns::{sql, values},
    hooks::HookRow,
    transaction_error::TransactionError,
    write_context::WriteContext,
};
use crate::engine::ports::HookWrite;

/// Writes all of it, in the order in which it was decided.
pub(super) fn write(context: &WriteContext, writes: &[HookWrite]) -> Result<(), TransactionError> {
    for write in writes {
        match write {
            HookWrite::Put(hook) => {
                let sql = sql!("INSERT OR REPLACE INTO hooks {}", values::<HookRow>());
                context.insert(sql, &HookRow::of(hook))?;
            }
            HookWrite::Deleted(name) => {
                context.execute("DELETE FROM hooks WHERE name = ?", [name.as_str()])?;
            }
        }
    }
    Ok(())
}
