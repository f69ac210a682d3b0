//! Announced types, and what was set for types, are kept beside the jobs.

use crewcall_proto::JobType;

use super::super::{
    columns::{Value as _, sql, values},
    rows::SettingsRow,
    transaction_error::TransactionError,
    write_context::WriteContext,
};
use crate::{
    domain::TypeSettings,
    engine::{ports::StoredType, rules::Terms},
    mutant::mutant,
};

/// Keeps a type as it was last announced.
pub(in super::super) fn put_type(
    context: &mut WriteContext,
    stored: &StoredType,
) -> Result<(), TransactionError> {
    let sql = sql!(
        "INSERT INTO types {} ON CONFLICT (type) DO UPDATE SET {}",
        values::<StoredType>(),
        StoredType::names("")
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    context.insert(sql, stored)?;
    let terms = Terms { announced: true, ..context.counts.terms(&stored.job_type) };
    context.counts.set_terms(&stored.job_type, terms);
    Ok(())
}

/// Deletes a type that has no jobs, and what was set for it. Returns how much that was; `None`, if it has jobs.
pub(in super::super) fn delete_type(
    context: &mut WriteContext,
    job_type: &JobType,
) -> Result<Option<usize>, TransactionError> {
    if context.counts.has_jobs(job_type) {
        return Ok(None);
    }
    let set = Terms { announced: false, ..context.counts.terms(job_type) };
    let set = usize::from(set != Terms::default());
    put_terms(context, job_type, Terms::default())?;
    let types = context.execute("DELETE FROM types WHERE type = ?", [job_type.as_str()])?;
    Ok(Some(types + set))
}

/// Keeps what was set for a type, unless that is one type too many. What was taken of a rate limit stays taken, for as
/// long as there is one.
pub(in super::super) fn put_type_settings(
    context: &mut WriteContext,
    job_type: &JobType,
    settings: TypeSettings,
) -> Result<bool, TransactionError> {
    if settings != TypeSettings::default() && !context.counts.takes(job_type) {
        return Ok(false);
    }
    let terms = context.counts.terms(job_type).with(settings);
    put_terms(context, job_type, terms)?;
    Ok(true)
}

/// Keeps what is kept for a type beside its jobs.
pub(super) fn put_terms(
    context: &mut WriteContext,
    job_type: &JobType,
    terms: Terms,
) -> Result<(), TransactionError> {
    if terms.settings == TypeSettings::default() || mutant("settings_unkept") {
        context.execute("DELETE FROM type_settings WHERE type = ?", [job_type.as_str()])?;
    } else {
        let row =
            SettingsRow { job_type: job_type.clone(), settings: terms.settings.clone(), slot: terms.slot };
        context.insert(sql!("INSERT OR REPLACE INTO type_settings {}", values::<SettingsRow>()), &row)?;
    }
    context.counts.set_terms(job_type, terms);
    Ok(())
}
