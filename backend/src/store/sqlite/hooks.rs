//! Hooks, in the database.

use std::sync::Arc;

use async_trait::async_trait;
use crewcall_proto::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::{
    SqliteStore,
    columns::{Columns, Parameters, Scalar, Value, all, columns, list, names_of, sql},
    transaction_error::TransactionError,
};
use crate::{
    domain::{
        Hook, HookName,
        hook::{BodySignature, HookCheck, HookSecret, RetiringSecret},
    },
    engine::{
        ports::{HookChange, HookChanged, Hooks, StoreError},
        rules::{ChangeHook, Named},
    },
};

#[async_trait]
impl Hooks for SqliteStore {
    fn hooks(&self) -> Vec<Arc<Hook>> {
        self.known.hooks.all()
    }

    fn hook(&self, name: &HookName) -> Option<Arc<Hook>> {
        self.known.hooks.get(name)
    }

    async fn change_hook(&self, name: &HookName, change: HookChange) -> Result<HookChanged, StoreError> {
        self.run(1, ChangeHook { name: name.clone(), change }).await.map(|written| written.value)
    }
}

/// All of them.
pub(super) fn load(connection: &Connection) -> Result<Named<Hook>, TransactionError> {
    let rows: Vec<HookRow> = all(connection, sql!("SELECT {} FROM hooks", list::<HookRow>()), ())?;
    Ok(Named::new(rows.into_iter().map(HookRow::hook)))
}

/// A hook.
pub(super) struct HookRow {
    name: HookName,
    settings: HookCheck,
    secret: HookSecret,
    retiring_secret: Option<HookSecret>,
    retiring_until: Option<Timestamp>,
    created_at: Timestamp,
    created_by: String,
    changed_at: Timestamp,
    changed_by: String,
    revision: u64,
}

columns!(HookRow {
    name: "name",
    settings: "settings",
    secret: "secret",
    retiring_secret: "retiring_secret",
    retiring_until: "retiring_until",
    created_at: "created_at",
    created_by: "created_by",
    changed_at: "changed_at",
    changed_by: "changed_by",
    revision: "revision",
});

impl HookRow {
    pub(super) fn of(hook: &Hook) -> Self {
        let retiring = hook.retiring.clone().map(|retiring| (retiring.secret, retiring.until));
        let (retiring_secret, retiring_until) = retiring.unzip();
        Self {
            name: hook.name.clone(),
            settings: hook.check.clone(),
            secret: hook.secret.clone(),
            retiring_secret,
            retiring_until,
            created_at: hook.created_at,
            created_by: hook.created_by.clone(),
            changed_at: hook.changed_at,
            changed_by: hook.changed_by.clone(),
            revision: hook.revision,
        }
    }

    fn hook(self) -> Hook {
        let retiring = self.retiring_secret.zip(self.retiring_until);
        Hook {
            name: self.name,
            check: self.settings,
            secret: self.secret,
            retiring: retiring.map(|(secret, until)| RetiringSecret { secret, until }),
            created_at: self.created_at,
            created_by: self.created_by,
            changed_at: self.changed_at,
            changed_by: self.changed_by,
            revision: self.revision,
        }
    }
}

impl Scalar for HookName {
    type Raw = String;

    fn decode(text: String) -> Result<Self, String> {
        text.parse().map_err(|_| text)
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        parameters.raw(self.as_str())
    }
}

impl Scalar for HookSecret {
    type Raw = String;

    fn decode(text: String) -> Result<Self, String> {
        Ok(Self::new(&text))
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        parameters.raw(self.reveal())
    }
}

impl Scalar for HookCheck {
    type Raw = String;

    fn decode(text: String) -> Result<Self, String> {
        let settings: Settings = serde_json::from_str(&text).map_err(|_| text.clone())?;
        Ok(match settings {
            Settings::Standard {} => Self::Standard,
            Settings::HmacSha256 { header, prefix, encoding, delivery_id_header } => {
                let encoding = encoding.parse().map_err(|_| text)?;
                Self::HmacSha256(BodySignature { header, prefix, encoding, delivery_id_header })
            }
        })
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let settings = match self {
            Self::Standard => Settings::Standard {},
            Self::HmacSha256(BodySignature { header, prefix, encoding, delivery_id_header }) => {
                Settings::HmacSha256 {
                    header: header.clone(),
                    prefix: prefix.clone(),
                    encoding: encoding.as_str().to_owned(),
                    delivery_id_header: delivery_id_header.clone(),
                }
            }
        };
        let text = serde_json::to_string(&settings);
        parameters.raw(text.map_err(|_| TransactionError::Inconsistent("a hook cannot be written as JSON"))?)
    }
}

/// How requests are checked, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Settings {
    Standard {},
    HmacSha256 {
        header: String,
        prefix: String,
        encoding: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery_id_header: Option<String>,
    },
}
