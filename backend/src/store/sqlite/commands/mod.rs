//! What the writer can do, each inside the transaction that it opened.

mod insert;

mod apply;

mod dispatch;

mod release;

mod keep;

pub(super) use apply::apply;
pub(super) use dispatch::{confirm_dispatches, dispatch_due};
pub(super) use insert::{NewRow, insert};
pub(super) use keep::{put_type, quarantine};
pub(super) use release::{release_due, release_unroutable};
