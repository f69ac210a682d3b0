//! What the writer can do, each inside the transaction that it opened.

mod insert;

mod idempotency;

mod apply;

mod dispatch;

mod release;

mod delete;

mod types;

mod quarantine;

mod rehearse;

pub(super) use apply::apply;
pub(super) use delete::delete_finished;
pub(super) use dispatch::{confirm_dispatches, dispatch_due};
pub(super) use idempotency::earlier;
pub(super) use insert::{NewRow, insert};
pub(super) use quarantine::{delete_quarantined, quarantine};
pub(super) use rehearse::rehearse;
pub(super) use release::{expire_due, release_due, release_unroutable};
pub(super) use types::{delete_type, put_type, put_type_settings};
