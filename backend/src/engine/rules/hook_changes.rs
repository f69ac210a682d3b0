//! Hooks come, change and go.

use std::sync::Arc;

use crewcall_proto::Timestamp;

use super::{Decide, Decision, Inconsistent, Loaded, Rules, Wanted};
use crate::{
    domain::{
        Hook, HookName,
        hook::{HookCheck, HookSecret, RetiringSecret, SECRET_RETIRES_AFTER},
    },
    engine::ports::{HOOKS_MAX, HookChange, HookChanged, HookWrite, PutSecret},
};

/// Does something to one hook.
pub struct ChangeHook {
    pub name: HookName,
    pub change: HookChange,
}

impl Decide for ChangeHook {
    type Value = HookChanged;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, _: Loaded, rules: &mut Rules) -> Result<Decision<HookChanged>, Inconsistent> {
        let Self { name, change } = self;
        let known = rules.hooks.get(&name).map(|known| known.as_ref().clone());
        let is_new = known.is_none();
        let decided = match (known, change) {
            (None, HookChange::Put { check, secret, by }) => create(&name, check, (secret, by), rules),
            (None, _) => Err(HookChanged::Unknown),
            (Some(_), HookChange::Delete) => {
                rules.hooks.remove(&name);
                let mut decision = Decision::nothing(HookChanged::Deleted);
                decision.writes.hooks.push(HookWrite::Deleted(name));
                return Ok(decision);
            }
            (Some(known), HookChange::Put { check, secret, by }) => {
                put(known, check, (secret, by), rules.now())
            }
            (Some(known), HookChange::Rotate { secret, by }) => rotate(known, secret, by, rules.now()),
        };
        let hook = match decided {
            Err(unchanged) => return Ok(Decision::nothing(unchanged)),
            Ok(hook) => rules.hooks.set(hook),
        };
        let told = if is_new { HookChanged::Created } else { HookChanged::Changed };
        let mut decision = Decision::nothing(told(Arc::clone(&hook)));
        decision.writes.hooks.push(HookWrite::Put(hook));
        Ok(decision)
    }
}

fn create(
    name: &HookName,
    check: HookCheck,
    (secret, by): (PutSecret, String),
    rules: &Rules,
) -> Result<Hook, HookChanged> {
    if rules.hooks.count() >= HOOKS_MAX {
        return Err(HookChanged::TooMany);
    }
    let (PutSecret::Given(secret) | PutSecret::Kept { or_else: Some(secret) }) = secret else {
        return Err(HookChanged::NoSecret);
    };
    let now = rules.now();
    Ok(Hook {
        name: name.clone(),
        check,
        secret,
        retiring: None,
        created_at: now,
        created_by: by.clone(),
        changed_at: now,
        changed_by: by,
        revision: 1,
    })
}

fn put(
    known: Hook,
    check: HookCheck,
    (secret, by): (PutSecret, String),
    now: Timestamp,
) -> Result<Hook, HookChanged> {
    let same_kind = std::mem::discriminant(&check) == std::mem::discriminant(&known.check);
    let secret = match secret {
        PutSecret::Given(secret) => secret,
        PutSecret::Kept { .. } if same_kind => known.secret.clone(),
        PutSecret::Kept { or_else } => or_else.ok_or(HookChanged::NoSecret)?,
    };
    if check == known.check && secret == known.secret {
        return Err(HookChanged::Unchanged(Arc::new(known)));
    }
    Ok(changed(Hook { check, secret, retiring: None, ..known }, by, now))
}

fn rotate(known: Hook, secret: HookSecret, by: String, now: Timestamp) -> Result<Hook, HookChanged> {
    if known.check != HookCheck::Standard {
        return Err(HookChanged::NotStandard);
    }
    if let Some(RetiringSecret { until, .. }) = known.retiring_at(now) {
        return Err(HookChanged::Rotating { until: *until });
    }
    let retires_after_ms = i64::try_from(SECRET_RETIRES_AFTER.as_millis()).unwrap_or(i64::MAX);
    let until = now.plus_millis(retires_after_ms);
    let retiring = Some(RetiringSecret { secret: known.secret.clone(), until });
    Ok(changed(Hook { secret, retiring, ..known }, by, now))
}

fn changed(hook: Hook, by: String, now: Timestamp) -> Hook {
    Hook { changed_at: now, changed_by: by, revision: hook.revision + 1, ..hook }
}
