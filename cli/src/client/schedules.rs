//! Schedules: documents, ticks, and what people do to them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Client, ClientError, operations::Actor};
use crate::api::{Backfill, Document, Schedule, ScheduleList, SchedulePreview, Tick, TickPage};

/// Which ticks are to be made up for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackfillRange {
    /// From this moment on.
    pub(crate) from: Timestamp,
    /// Up to this one.
    pub(crate) to: Timestamp,
    /// All at once; otherwise one after the other.
    pub(crate) at_once: bool,
    /// Only count them.
    pub(crate) dry_run: bool,
}

impl Client {
    /// All schedules.
    pub(crate) async fn schedules(&self) -> Result<Vec<Document<Schedule>>, ClientError> {
        let list: ScheduleList = self.get(self.endpoint(&["v1", "schedules"])).await?;
        Ok(list.schedules)
    }

    /// One schedule.
    pub(crate) async fn schedule(&self, name: &str) -> Result<Document<Schedule>, ClientError> {
        self.get(self.endpoint(&["v1", "schedules", name])).await
    }

    /// Makes a schedule, or changes what it does.
    pub(crate) async fn put_schedule(
        &self,
        name: &str,
        document: &Value,
    ) -> Result<Document<Schedule>, ClientError> {
        let url = self.endpoint(&["v1", "schedules", name]);
        self.json(self.http.put(url.clone()).json(document), &url).await
    }

    /// What the times of a document mean.
    pub(crate) async fn preview_schedule(&self, document: &Value) -> Result<SchedulePreview, ClientError> {
        let url = self.endpoint(&["v1", "schedules", "preview"]);
        self.json(self.http.post(url.clone()).json(document), &url).await
    }

    /// Deletes a schedule.
    pub(crate) async fn delete_schedule(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.http.delete(self.endpoint(&["v1", "schedules", name]))).await
    }

    /// Has its ticks not fire.
    pub(crate) async fn pause_schedule(
        &self,
        name: &str,
        actor: Actor<'_>,
    ) -> Result<Document<Schedule>, ClientError> {
        let url = self.endpoint(&["v1", "schedules", name, "pause"]);
        self.json(self.http.post(url.clone()).json(&actor.body()), &url).await
    }

    /// Has its ticks fire again.
    pub(crate) async fn resume_schedule(
        &self,
        name: &str,
        actor: Actor<'_>,
    ) -> Result<Document<Schedule>, ClientError> {
        let url = self.endpoint(&["v1", "schedules", name, "resume"]);
        self.json(self.http.post(url.clone()).json(&actor.body()), &url).await
    }

    /// Has it fire now.
    pub(crate) async fn trigger_schedule(
        &self,
        name: &str,
        actor: Actor<'_>,
    ) -> Result<Document<Tick>, ClientError> {
        let url = self.endpoint(&["v1", "schedules", name, "trigger"]);
        self.json(self.http.post(url.clone()).json(&actor.body()), &url).await
    }

    /// Makes up for ticks of the past.
    pub(crate) async fn backfill_schedule(
        &self,
        name: &str,
        range: BackfillRange,
        actor: Actor<'_>,
    ) -> Result<Document<Backfill>, ClientError> {
        let url = self.endpoint(&["v1", "schedules", name, "backfill"]);
        let mut body = actor.body();
        body["from"] = json!(range.from.to_string());
        body["to"] = json!(range.to.to_string());
        body["dry_run"] = json!(range.dry_run);
        if range.at_once {
            body["overlap"] = json!("allow");
        }
        self.json(self.http.post(url.clone()).json(&body), &url).await
    }

    /// One page of what became of ticks.
    pub(crate) async fn schedule_ticks(
        &self,
        name: &str,
        query: &[(&str, String)],
    ) -> Result<TickPage, ClientError> {
        let mut url = self.endpoint(&["v1", "schedules", name, "ticks"]);
        url.query_pairs_mut().extend_pairs(query);
        self.get(url).await
    }
}
