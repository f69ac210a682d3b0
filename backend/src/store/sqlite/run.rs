//! The three steps of a command, inside the transaction that the writer opened.

use super::{
    load::{jobs, load},
    transaction_error::TransactionError,
    write::write,
    write_context::WriteContext,
};
use crate::engine::{
    ports::Written,
    rules::{Decide, decide},
};

/// Reads what a command wants, lets it decide, and writes what it decided.
pub(super) fn run<D: Decide>(
    context: &mut WriteContext,
    command: D,
) -> Result<Written<D::Value>, TransactionError> {
    let wanted = command.wants(&context.rules);
    let mut loaded = load(&context.connection, &context.versions, wanted, context.rules.now())?;
    let followers = context.rules.followers.of(loaded.ending());
    if !followers.is_empty() {
        loaded.followers = jobs(&context.connection, &followers)?;
    }
    let (written, writes) = decide(command, loaded, &mut context.rules)?;
    write(context, writes)?;
    Ok(written)
}
