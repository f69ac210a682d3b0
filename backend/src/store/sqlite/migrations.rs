//! The shape of the database, in steps that are each taken once. A step that was released never changes.

use rusqlite::{Connection, TransactionBehavior};

use super::open_error::Refusal;

/// The steps, in order. `user_version` counts those that a file has taken.
const STEPS: [&str; 13] = [
    include_str!("migrations/0001_jobs.sql"),
    include_str!("migrations/0002_limits.sql"),
    include_str!("migrations/0003_names.sql"),
    include_str!("migrations/0004_traces.sql"),
    include_str!("migrations/0005_given_up.sql"),
    include_str!("migrations/0006_events.sql"),
    include_str!("migrations/0007_consumers.sql"),
    include_str!("migrations/0008_emitted.sql"),
    include_str!("migrations/0009_workflows.sql"),
    include_str!("migrations/0010_schedules.sql"),
    include_str!("migrations/0011_followers.sql"),
    include_str!("migrations/0012_hooks.sql"),
    include_str!("migrations/0013_webhooks.sql"),
];

/// Marks a SQLite file as ours: "CREW" in ASCII.
const APPLICATION_ID: i64 = 0x4352_4557;

/// The version of the files that this program writes.
const VERSION: i64 = STEPS.len() as i64;

/// Makes sure that the file is empty or ours, and not from a later version. Writes nothing.
pub(super) fn check(connection: &Connection) -> Result<(), Refusal> {
    let application_id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    let version = version(connection)?;
    if application_id != APPLICATION_ID && tables > 0 {
        return Err(Refusal::Foreign);
    }
    if version > VERSION {
        return Err(Refusal::Newer { found: version, known: VERSION });
    }
    Ok(())
}

/// Takes the steps that the file has not taken, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    for (step, number) in STEPS.iter().zip(1_i64..) {
        if number <= version(connection)? {
            continue;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
