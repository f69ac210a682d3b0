//! Webhooks, in the database.

use std::sync::Arc;

use async_trait::async_trait;
use crewcall_proto::Timestamp;
use crewcall_webhooks::{SigningSecret, WebhookUrl};
use rusqlite::Connection;

use super::{
    SqliteStore,
    columns::{Columns, Parameters, Value, all, columns, list, names_of, sql},
    transaction_error::TransactionError,
};
use crate::{
    domain::{RetiringSecret, Webhook, WebhookName},
    engine::{
        ports::{StoreError, WebhookChange, WebhookChanged, Webhooks},
        rules::{ChangeWebhook, Named},
    },
};

/// A webhook.
pub(super) struct WebhookRow {
    name: WebhookName,
    url: WebhookUrl,
    secret: SigningSecret,
    retiring_secret: Option<SigningSecret>,
    retiring_until: Option<Timestamp>,
    created_at: Timestamp,
    created_by: String,
    changed_at: Timestamp,
    changed_by: String,
    revision: u64,
}

columns!(WebhookRow {
    name: "name",
    url: "url",
    secret: "secret",
    retiring_secret: "retiring_secret",
    retiring_until: "retiring_until",
    created_at: "created_at",
    created_by: "created_by",
    changed_at: "changed_at",
    changed_by: "changed_by",
    revision: "revision",
});

impl WebhookRow {
    pub(super) fn of(webhook: &Webhook) -> Self {
        let Webhook { name, url, secret, retiring, created_at, created_by, changed_at, changed_by, revision } =
            webhook.clone();
        let (retiring_secret, retiring_until) =
            retiring.map(|RetiringSecret { secret, until }| (secret, until)).unzip();
        Self {
            name,
            url,
            secret,
            retiring_secret,
            retiring_until,
            created_at,
            created_by,
            changed_at,
            changed_by,
            revision,
        }
    }

    fn webhook(self) -> Webhook {
        let retiring = self.retiring_secret.zip(self.retiring_until);
        Webhook {
            name: self.name,
            url: self.url,
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

#[async_trait]
impl Webhooks for SqliteStore {
    fn webhooks(&self) -> Vec<Arc<Webhook>> {
        self.known.webhooks.all()
    }

    fn webhook(&self, name: &WebhookName) -> Option<Arc<Webhook>> {
        self.known.webhooks.get(name)
    }

    async fn change_webhook(
        &self,
        name: &WebhookName,
        change: WebhookChange,
    ) -> Result<WebhookChanged, StoreError> {
        let command = ChangeWebhook { name: name.clone(), change };
        self.run(1, command).await.map(|written| written.value)
    }
}

/// All of them.
pub(super) fn load(connection: &Connection) -> Result<Named<Webhook>, TransactionError> {
    let rows: Vec<WebhookRow> = all(connection, sql!("SELECT {} FROM webhooks", list::<WebhookRow>()), ())?;
    Ok(Named::new(rows.into_iter().map(WebhookRow::webhook)))
}
