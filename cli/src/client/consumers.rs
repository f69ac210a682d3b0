//! Consumers: settings, a pause, their place in the log, and replays.

use serde_json::{Value, json};

use super::{Client, ClientError, Submitted, operations::Actor};
use crate::api::{Consumer, ConsumerList, Document, Replay};

/// A part of the log: the events after one, up to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogRange {
    /// It begins after this event.
    pub(crate) after: u64,
    /// Its last event.
    pub(crate) to: u64,
}

impl Client {
    /// All consumers.
    pub(crate) async fn consumers(&self) -> Result<Vec<Document<Consumer>>, ClientError> {
        let list: ConsumerList = self.get(self.endpoint(&["v1", "consumers"])).await?;
        Ok(list.consumers)
    }

    /// One consumer.
    pub(crate) async fn consumer(&self, name: &str) -> Result<Document<Consumer>, ClientError> {
        self.get(self.endpoint(&["v1", "consumers", name])).await
    }

    /// Creates a consumer, or changes its settings.
    pub(crate) async fn put_consumer(
        &self,
        name: &str,
        settings: &Value,
    ) -> Result<Document<Consumer>, ClientError> {
        let url = self.endpoint(&["v1", "consumers", name]);
        self.json(self.http.put(url.clone()).json(settings), &url).await
    }

    /// Deletes a consumer.
    pub(crate) async fn delete_consumer(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.http.delete(self.endpoint(&["v1", "consumers", name]))).await
    }

    /// Lets it make no jobs.
    pub(crate) async fn pause_consumer(
        &self,
        name: &str,
        actor: Actor<'_>,
    ) -> Result<Document<Consumer>, ClientError> {
        self.act_on_consumer(name, "pause", actor.body()).await
    }

    /// Lets it go on: where it was, or with the next event that is recorded.
    pub(crate) async fn resume_consumer(
        &self,
        name: &str,
        is_from_now: bool,
        actor: Actor<'_>,
    ) -> Result<Document<Consumer>, ClientError> {
        let mut body = actor.body();
        if is_from_now {
            body["from"] = json!("now");
        }
        self.act_on_consumer(name, "resume", body).await
    }

    /// Moves it to another place of the log.
    pub(crate) async fn seek_consumer(
        &self,
        name: &str,
        to: &Value,
        actor: Actor<'_>,
    ) -> Result<Document<Consumer>, ClientError> {
        let mut body = actor.body();
        body["to"] = to.clone();
        self.act_on_consumer(name, "seek", body).await
    }

    /// Has it go through a part of the log once more. The request may be sent again under the same key: it makes one replay.
    pub(crate) async fn replay(
        &self,
        name: &str,
        range: LogRange,
        actor: Actor<'_>,
        idempotency_key: &str,
    ) -> Result<Submitted<Replay>, ClientError> {
        let url = self.endpoint(&["v1", "consumers", name, "replay"]);
        let mut body = actor.body();
        body["after"] = json!(range.after);
        body["to"] = json!(range.to);
        let request = self.http.post(url.clone()).header("idempotency-key", idempotency_key);
        self.submitted(request.json(&body), &url).await
    }

    async fn act_on_consumer(
        &self,
        name: &str,
        action: &str,
        body: Value,
    ) -> Result<Document<Consumer>, ClientError> {
        let url = self.endpoint(&["v1", "consumers", name, action]);
        self.json(self.http.post(url.clone()).json(&body), &url).await
    }
}
