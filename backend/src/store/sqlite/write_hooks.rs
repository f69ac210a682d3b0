//! What commands decided about hooks and webhooks, written row by row inside their transaction.

use super::{
    columns::{sql, values},
    hooks::HookRow,
    transaction_error::TransactionError,
    webhooks::WebhookRow,
    write_context::WriteContext,
};
use crate::engine::ports::{HookWrite, WebhookWrite};

/// Writes all of it, each kind in the order in which it was decided.
pub(super) fn write(
    context: &WriteContext,
    hooks: &[HookWrite],
    webhooks: &[WebhookWrite],
) -> Result<(), TransactionError> {
    for write in hooks {
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
    for write in webhooks {
        match write {
            WebhookWrite::Put(webhook) => {
                let sql = sql!("INSERT OR REPLACE INTO webhooks {}", values::<WebhookRow>());
                context.insert(sql, &WebhookRow::of(webhook))?;
            }
            WebhookWrite::Deleted(name) => {
                context.execute("DELETE FROM webhooks WHERE name = ?", [name.as_str()])?;
            }
        }
    }
    Ok(())
}
