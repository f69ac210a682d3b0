//! What people do to hooks.

use std::sync::Arc;

use crewcall_webhooks::SigningSecret;

use crate::{
    domain::{
        HookName, Problem,
        hook::{HookCheck, HookSecret},
    },
    engine::{
        Caller, Engine, Put,
        hooks::{problems_of, verification},
        ports::{HOOKS_MAX, HookChange, HookChanged, PutSecret, StoreError},
        rfc3339::rfc3339,
    },
};

/// Why something was not done to a hook.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The settings are not valid.
    #[error("the hook has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    #[error("there is no such hook")]
    Unknown,
    #[error("there are {HOOKS_MAX} hooks already")]
    TooMany,
    /// Its secret is not rotated: why.
    #[error("{0}")]
    NotRotatable(String),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A hook was set.
#[derive(Debug)]
pub struct HookPut {
    pub put: Put,
    /// Its secret, if it was made just now: it is told this once.
    pub made: Option<HookSecret>,
}

impl Engine {
    /// Makes a hook, or changes how its requests are checked. Without a secret it keeps the one that it has; otherwise one is
    /// made, if that is possible.
    ///
    /// # Errors
    ///
    /// [`HookError`] when nothing changes.
    pub async fn put_hook(
        self: &Arc<Self>,
        caller: &Caller,
        name: &HookName,
        check: HookCheck,
        secret: Option<HookSecret>,
    ) -> Result<HookPut, HookError> {
        let problems = match (&secret, &check) {
            (Some(secret), _) => verification(&check, std::iter::once(secret)).err().unwrap_or_default(),
            (None, HookCheck::HmacSha256(signature)) => problems_of(signature),
            (None, HookCheck::Standard) => Vec::new(),
        };
        if !problems.is_empty() {
            return Err(HookError::Invalid(problems));
        }
        let made = (secret.is_none() && check == HookCheck::Standard).then(made_secret);
        let secret = match secret.map(|secret| in_one_form(&check, secret)) {
            Some(secret) => PutSecret::Given(secret),
            None => PutSecret::Kept { or_else: made.clone() },
        };
        tracing::info!(hook = %name, by = caller.by(), "A hook is set.");
        let change = HookChange::Put { check, secret, by: caller.by().to_owned() };
        let (put, hook) = match self.change_hook(name, change).await? {
            HookChanged::Created(hook) => (Put::Created, hook),
            HookChanged::Changed(hook) => (Put::Changed, hook),
            HookChanged::Unchanged(hook) => (Put::Unchanged, hook),
            _ => return Err(broken().into()),
        };
        Ok(HookPut { put, made: made.filter(|made| hook.secret == *made) })
    }

    /// Gives a hook of Standard Webhooks a new secret, which is returned. The one before is accepted for
    /// [`SECRET_RETIRES_AFTER`](crate::domain::hook::SECRET_RETIRES_AFTER).
    ///
    /// # Errors
    ///
    /// [`HookError`] when nothing changes.
    pub async fn rotate_hook(
        self: &Arc<Self>,
        caller: &Caller,
        name: &HookName,
    ) -> Result<HookSecret, HookError> {
        tracing::info!(hook = %name, by = caller.by(), "The secret of a hook is rotated.");
        let secret = made_secret();
        let change = HookChange::Rotate { secret: secret.clone(), by: caller.by().to_owned() };
        self.change_hook(name, change).await.map(|_| secret)
    }

    /// Deletes a hook: what comes for it is refused from now on. The events that it became stay.
    ///
    /// # Errors
    ///
    /// [`HookError`] when nothing changes.
    pub async fn delete_hook(self: &Arc<Self>, caller: &Caller, name: &HookName) -> Result<(), HookError> {
        tracing::info!(hook = %name, by = caller.by(), "A hook is deleted.");
        self.change_hook(name, HookChange::Delete).await.map(drop)
    }

    async fn change_hook(
        self: &Arc<Self>,
        name: &HookName,
        change: HookChange,
    ) -> Result<HookChanged, HookError> {
        let (engine, name) = (Arc::clone(self), name.clone());
        let changed = self.to_its_end(async move { engine.store.change_hook(&name, change).await }).await?;
        match changed {
            HookChanged::Unknown => Err(HookError::Unknown),
            HookChanged::TooMany => Err(HookError::TooMany),
            HookChanged::NoSecret => {
                let message =
                    "give the secret that the sender signs with: the hook has none that could be kept";
                Err(HookError::Invalid(vec![Problem::new("/verify/hmac_sha256/secret", message)]))
            }
            HookChanged::NotStandard => {
                let reason = "the sender's own secret cannot be rotated from here: set the hook with the new one, and tell the sender";
                Err(HookError::NotRotatable(reason.to_owned()))
            }
            HookChanged::Rotating { until } => Err(HookError::NotRotatable(format!(
                "the secret was rotated a short time ago, and the one before is accepted until {}: rotate it again after that, or set the hook with a secret, from which on no other is accepted",
                rfc3339(until)
            ))),
            changed => Ok(changed),
        }
    }
}

fn made_secret() -> HookSecret {
    HookSecret::new(&SigningSecret::random().reveal())
}

/// A secret of Standard Webhooks as we write it, so that the same one is not another for a space or its padding.
fn in_one_form(check: &HookCheck, secret: HookSecret) -> HookSecret {
    match check {
        HookCheck::Standard => {
            SigningSecret::parse(secret.reveal()).map_or(secret, |parsed| HookSecret::new(&parsed.reveal()))
        }
        HookCheck::HmacSha256(_) => secret,
    }
}

fn broken() -> StoreError {
    StoreError::Broken { reason: "it answered a hook with something else".to_owned() }
}
