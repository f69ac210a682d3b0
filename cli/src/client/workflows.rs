//! Workflows and their runs.

use crewcall_proto::RunId;
use serde_json::{Map, Value, json};

use super::{
    Client, ClientError, Submitted,
    operations::Actor,
    stream::{EventStream, StreamEvent},
};
use crate::api::{
    BulkOutcome, Document, JournalPage, Run, RunItemPage, RunPage, Workflow, WorkflowCheck, WorkflowList,
    WorkflowVersion, WorkflowVersionPage,
};

/// The media type of diagrams.
const MERMAID: &str = "text/vnd.mermaid";

impl Client {
    /// All workflows.
    pub(crate) async fn workflows(&self) -> Result<Vec<Document<Workflow>>, ClientError> {
        let list: WorkflowList = self.get(self.endpoint(&["v1", "workflows"])).await?;
        Ok(list.workflows)
    }

    /// One workflow.
    pub(crate) async fn workflow(&self, name: &str) -> Result<Document<Workflow>, ClientError> {
        self.get(self.endpoint(&["v1", "workflows", name])).await
    }

    /// Makes a workflow, or another version of it.
    pub(crate) async fn put_workflow(
        &self,
        name: &str,
        document: &Value,
    ) -> Result<Document<Workflow>, ClientError> {
        let url = self.endpoint(&["v1", "workflows", name]);
        self.json(self.http.put(url.clone()).json(document), &url).await
    }

    /// What is wrong with a document, and what may be.
    pub(crate) async fn check_workflow(&self, document: &Value) -> Result<WorkflowCheck, ClientError> {
        let url = self.endpoint(&["v1", "workflows", "check"]);
        self.json(self.http.post(url.clone()).json(document), &url).await
    }

    /// Deletes a workflow.
    pub(crate) async fn delete_workflow(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.http.delete(self.endpoint(&["v1", "workflows", name]))).await
    }

    /// One page of the versions of a workflow.
    pub(crate) async fn workflow_versions(
        &self,
        name: &str,
        cursor: Option<&str>,
    ) -> Result<WorkflowVersionPage, ClientError> {
        let mut url = self.endpoint(&["v1", "workflows", name, "versions"]);
        url.query_pairs_mut().append_pair("limit", "500");
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        self.get(url).await
    }

    /// One version, with its document.
    pub(crate) async fn workflow_version(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Document<WorkflowVersion>, ClientError> {
        self.get(self.endpoint(&["v1", "workflows", name, "versions", &version.to_string()])).await
    }

    /// A workflow as the text of a diagram.
    pub(crate) async fn workflow_diagram(&self, name: &str) -> Result<String, ClientError> {
        let url = self.endpoint(&["v1", "workflows", name, "graph"]);
        let response = self.send(self.http.get(url).header("accept", MERMAID)).await?;
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    /// Starts a run. With an idempotency key the request may be sent again: it starts one run.
    pub(crate) async fn trigger(
        &self,
        name: &str,
        body: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<Submitted<Run>, ClientError> {
        let url = self.endpoint(&["v1", "workflows", name, "trigger"]);
        let mut request = self.http.post(url.clone()).json(body);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.submitted(request, &url).await
    }

    /// Pauses a workflow, and its open runs if that is wanted.
    pub(crate) async fn pause_workflow(
        &self,
        name: &str,
        runs: bool,
        actor: Actor<'_>,
    ) -> Result<Document<Workflow>, ClientError> {
        let url = self.endpoint(&["v1", "workflows", name, "pause"]);
        let mut body = actor.body();
        body["runs"] = json!(runs);
        self.json(self.http.post(url.clone()).json(&body), &url).await
    }

    /// Lets a workflow and its runs go on: its triggers where they were, or with the next event that is recorded.
    pub(crate) async fn resume_workflow(
        &self,
        name: &str,
        is_from_now: bool,
        actor: Actor<'_>,
    ) -> Result<Document<Workflow>, ClientError> {
        let url = self.endpoint(&["v1", "workflows", name, "resume"]);
        let mut body = actor.body();
        if is_from_now {
            body["from"] = json!("now");
        }
        self.json(self.http.post(url.clone()).json(&body), &url).await
    }

    /// One page of runs.
    pub(crate) async fn runs(&self, query: &[(String, String)]) -> Result<RunPage, ClientError> {
        let mut url = self.endpoint(&["v1", "runs"]);
        url.query_pairs_mut().extend_pairs(query);
        self.get(url).await
    }

    /// One run with its steps.
    pub(crate) async fn run(&self, id: RunId) -> Result<Document<Run>, ClientError> {
        self.get(self.endpoint(&["v1", "runs", &id.to_string()])).await
    }

    /// Cancels a run.
    pub(crate) async fn cancel_run(
        &self,
        id: RunId,
        force: bool,
        actor: Actor<'_>,
    ) -> Result<Document<Run>, ClientError> {
        let mut body = actor.body();
        body["force"] = json!(force);
        self.act_on_run(id, &["cancel"], &body).await
    }

    /// Cancels all runs that a filter lets through and that are not over, up to some thousands at once.
    pub(crate) async fn cancel_runs(
        &self,
        filter: &Map<String, Value>,
        (force, dry_run): (bool, bool),
        actor: Actor<'_>,
    ) -> Result<BulkOutcome, ClientError> {
        let url = self.endpoint(&["v1", "runs", "cancel"]);
        let mut body = actor.body();
        body["filter"] = filter.clone().into();
        body["force"] = json!(force);
        body["dry_run"] = json!(dry_run);
        // As for jobs: whoever comes here has been asked.
        if filter.is_empty() {
            body["all"] = json!(true);
        }
        self.json(self.http.post(url.clone()).json(&body), &url).await
    }

    /// Tries a run again.
    pub(crate) async fn retry_run(
        &self,
        id: RunId,
        from: Option<&str>,
        actor: Actor<'_>,
    ) -> Result<Document<Run>, ClientError> {
        let mut body = actor.body();
        if let Some(from) = from {
            body["from"] = json!(from);
        }
        self.act_on_run(id, &["retry"], &body).await
    }

    /// Approves or rejects a step. What is said of it stands in the place of a reason.
    pub(crate) async fn decide(
        &self,
        id: RunId,
        step: &str,
        approved: bool,
        actor: Actor<'_>,
    ) -> Result<Document<Run>, ClientError> {
        let mut body = Actor { reason: None, ..actor }.body();
        if let Some(comment) = actor.reason {
            body["comment"] = json!(comment);
        }
        let verb = if approved { "approve" } else { "reject" };
        self.act_on_run(id, &["steps", step, verb], &body).await
    }

    /// One page of the items of a step.
    pub(crate) async fn run_items(
        &self,
        id: RunId,
        step: &str,
        query: &[(&str, String)],
    ) -> Result<RunItemPage, ClientError> {
        let mut url = self.endpoint(&["v1", "runs", &id.to_string(), "steps", step, "items"]);
        url.query_pairs_mut().extend_pairs(query);
        self.get(url).await
    }

    /// One page of the journal of a run.
    pub(crate) async fn run_journal(&self, id: RunId, after: u64) -> Result<JournalPage, ClientError> {
        let mut url = self.endpoint(&["v1", "runs", &id.to_string(), "journal"]);
        url.query_pairs_mut().append_pair("limit", "500").append_pair("after", &after.to_string());
        self.get(url).await
    }

    /// Follows one run that the backend has told us about. Ends with an error when the backend is away for `absence_max`;
    /// without one it tries for as long as it is asked.
    pub(crate) fn follow_run(&self, id: RunId, absence_max: Option<std::time::Duration>) -> RunFeed<'_> {
        let url = self.endpoint(&["v1", "runs", &id.to_string(), "watch"]);
        let mut stream = EventStream::new(self, url, absence_max);
        stream.heard();
        RunFeed { client: self, stream, id, told: Value::Null }
    }

    async fn act_on_run(&self, id: RunId, path: &[&str], body: &Value) -> Result<Document<Run>, ClientError> {
        let id = id.to_string();
        let url = self.endpoint(&[&["v1", "runs", &id], path].concat());
        self.json(self.http.post(url.clone()).json(body), &url).await
    }
}

/// What a [`RunFeed`] tells.
#[derive(Debug)]
pub(crate) enum RunFeedEvent {
    /// The run changed; steps in between may be missing, the last one never is.
    Run(Box<Document<Run>>),
    /// The backend went away. The feed is connecting again.
    Lost(String),
    /// The backend is back.
    Back,
}

/// The changes of one run, through restarts of the backend.
pub(crate) struct RunFeed<'a> {
    client: &'a Client,
    stream: EventStream<'a>,
    id: RunId,
    /// The run as it was told last.
    told: Value,
}

impl RunFeed<'_> {
    /// The next change. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// When the request is refused, or the backend stays away for too long.
    pub(crate) async fn next(&mut self) -> Result<RunFeedEvent, ClientError> {
        loop {
            let run = match self.stream.next().await? {
                StreamEvent::Event(event) if event.event == "run" => self.stream.read(&event)?,
                // Kinds of a newer backend.
                StreamEvent::Event(_) => continue,
                StreamEvent::Lost(reason) => return Ok(RunFeedEvent::Lost(reason)),
                StreamEvent::Back => return Ok(RunFeedEvent::Back),
                // Where streams are refused for now, the run itself is asked for.
                StreamEvent::Refused(_) => {
                    let Ok(run) = self.client.run(self.id).await else { continue };
                    self.stream.heard();
                    run
                }
            };
            if run.raw != self.told {
                self.told = run.raw.clone();
                return Ok(RunFeedEvent::Run(Box::new(run)));
            }
        }
    }
}
