//! What the expressions of a run know: read beside the transaction, of what does not change any more.

use std::sync::Arc;

use crewcall_expressions::{Json, Scope, ScopeError, Template};
use crewcall_proto::{JsonObject, RunId};
use serde_json::{Map, json};

use crate::{
    domain::{
        JobError, State,
        workflow::{
            definition::{StepIndex, Work},
            known::{ItemWork, Role, StoredItem, StoredRun},
            limits::ITEMS_MAX,
            run::{Run, RunState, RunStep, StepState},
        },
    },
    engine::{
        Engine,
        blocking::blocking,
        consumers::known_of,
        ports::{ItemQuery, RunData, StoreError},
        rfc3339::rfc3339,
    },
};

/// What expressions know, by name.
#[derive(Debug)]
pub(super) struct Knowledge {
    trigger: Json,
    event: Json,
    schedule: Json,
    run: Json,
    steps: Json,
}

impl Knowledge {
    /// Before there is a run: what its concurrency key may read.
    pub(super) fn of_trigger(data: &RunData) -> Self {
        let data_of = |text: &str| serde_json::from_str(text).unwrap_or(Json::Null);
        let mut event = data.event.as_deref().map_or(Json::Null, data_of);
        let given = data_of(&data.data);
        if let Json::Object(event) = &mut event {
            event.insert("data".to_owned(), given.clone());
        }
        // Moved: the macro would copy all of it.
        let trigger = Json::Object(Map::from_iter([("data".to_owned(), given)]));
        let schedule = data.schedule.as_deref().map_or(Json::Null, data_of);
        Self { trigger, event, schedule, run: Json::Null, steps: Json::Null }
    }

    /// Whether it has no more than so many bytes of JSON.
    pub(super) fn is_within(&self, bytes_max: usize) -> bool {
        let values = [&self.trigger, &self.event, &self.run, &self.steps];
        values.iter().map(|value| value.to_string().len()).sum::<usize>() <= bytes_max
    }

    /// The data as expressions read it.
    pub(super) fn scope(&self) -> Result<Scope<'_>, ScopeError> {
        Scope::new([
            ("trigger", &self.trigger),
            ("event", &self.event),
            ("schedule", &self.schedule),
            ("run", &self.run),
            ("steps", &self.steps),
        ])
    }
}

impl Engine {
    /// What the expressions of a run know that read these steps, as they are by `local`.
    pub(super) async fn knowledge(
        &self,
        stored: &StoredRun,
        local: &Run,
        reads: &[StepIndex],
    ) -> Result<Knowledge, StoreError> {
        let data = self.run_data(stored.id()).await?;
        let mut steps = Map::new();
        for step in reads {
            let (Some(definition), Some(state)) = (stored.info.workflow().step(*step), local.step(*step))
            else {
                continue;
            };
            let known = self.step_knowledge(stored, &definition.name, &definition.work, state).await?;
            steps.insert(definition.name.to_string(), known);
        }
        let info = &stored.info;
        let run = json!({
            "id": info.id.to_string(),
            "workflow": info.version.name().as_str(),
            "version": info.version.number,
            "created_at": rfc3339(info.created_at),
            "labels": info.labels,
        });
        Ok(Knowledge { run, steps: Json::Object(steps), ..Knowledge::of_trigger(&data) })
    }

    async fn run_data(&self, id: RunId) -> Result<RunData, StoreError> {
        let gone = || StoreError::Broken { reason: format!("run {id} is open, and not there") };
        self.store.run(id).await?.map(|(_, data)| data).ok_or_else(gone)
    }

    async fn step_knowledge(
        &self,
        stored: &StoredRun,
        name: &Arc<str>,
        work: &Work,
        step: &RunStep,
    ) -> Result<Json, StoreError> {
        let mut known = Map::new();
        known.insert("state".to_owned(), json!(step.state.as_str()));
        known.insert("result".to_owned(), Json::Null);
        let began = !matches!(step.state, StepState::Skipped | StepState::Pending);
        match work {
            Work::Job { each, .. } => {
                let items = if began { self.results(stored.id(), name, step).await? } else { Vec::new() };
                if each.is_some() {
                    let (results, failures) = results_of(&items);
                    known.insert("results".to_owned(), results);
                    known.insert("failures".to_owned(), failures);
                } else if let Some(StoredItem { work: ItemWork::Job { result, error, .. }, .. }) =
                    items.first()
                {
                    known.insert("result".to_owned(), result.as_deref().map_or(Json::Null, read));
                    known.insert("error".to_owned(), error.as_ref().map_or(Json::Null, error_of));
                }
            }
            Work::Event(_) => {
                if let Some(sequence) = step.answer
                    && let Some(event) = self.store.event(sequence).await?
                {
                    let event = known_of(&event);
                    known.insert("result".to_owned(), event.get("data").cloned().unwrap_or_default());
                    known.insert("event".to_owned(), event);
                }
            }
            Work::Approval(_) => {
                if let Some(decision) = &step.decision {
                    let decision = json!({
                        "approved": decision.approved,
                        "by": decision.by,
                        "comment": decision.comment,
                        "at": rfc3339(decision.at),
                    });
                    known.insert("decision".to_owned(), decision);
                }
            }
            Work::Child { .. } => {
                if let Some(child) = self.child_of(stored.id(), name, step).await?
                    && let Some(Ok(outputs)) = Box::pin(self.outputs(child)).await?
                {
                    known.insert("result".to_owned(), outputs);
                }
            }
            Work::Until(_) => {}
        }
        Ok(Json::Object(known))
    }

    /// All items of a step, with what came out of them.
    pub(super) async fn results(
        &self,
        run: RunId,
        step: &Arc<str>,
        state: &RunStep,
    ) -> Result<Vec<StoredItem>, StoreError> {
        let (generation, limit) = (state.generation, usize::try_from(ITEMS_MAX).unwrap_or(usize::MAX));
        let step = Arc::clone(step);
        let role = Role::Work;
        self.store
            .items(ItemQuery { run, step, generation, role, after: None, open: false, results: true, limit })
            .await
    }

    /// The run that is the work of a step, once there is one.
    pub(super) async fn child_of(
        &self,
        run: RunId,
        step: &Arc<str>,
        state: &RunStep,
    ) -> Result<Option<RunId>, StoreError> {
        let (step, generation, role) = (Arc::clone(step), state.generation, Role::Work);
        let query =
            ItemQuery { run, step, generation, role, after: None, open: false, results: false, limit: 1 };
        Ok(self.store.items(query).await?.first().and_then(|item| match item.work {
            ItemWork::Run { id, .. } => Some(id),
            ItemWork::Job { .. } => None,
        }))
    }

    /// What came out of a run that completed; `None` if it did not, or its workflow says nothing of it. It is not kept: it is told by what
    /// is.
    pub(super) async fn outputs(&self, id: RunId) -> Result<Option<Result<Json, String>>, StoreError> {
        let Some((stored, _)) = self.store.run(id).await? else { return Ok(None) };
        self.outputs_of(&stored).await
    }

    pub(super) async fn outputs_of(
        &self,
        stored: &StoredRun,
    ) -> Result<Option<Result<Json, String>>, StoreError> {
        let workflow = stored.info.workflow();
        if stored.run.state != RunState::Completed || workflow.outputs.is_none() {
            return Ok(None);
        }
        let knowledge = self.knowledge(stored, &stored.run, &workflow.outputs_read).await?;
        let info = Arc::clone(&stored.info);
        let filled = blocking(move || {
            let template: &Template = info.workflow().outputs.as_ref()?;
            let scope = knowledge.scope().map_err(|error| error.to_string());
            Some(scope.and_then(|scope| template.fill(&scope).map_err(|failed| failed.to_string())))
        });
        filled.await
    }
}

fn read(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_default()
}

fn error_of(error: &JobError) -> Json {
    json!({ "kind": error.kind.as_str(), "code": error.code, "message": error.message })
}

/// The results of the items that completed, in their order; and what became of the others.
fn results_of(items: &[StoredItem]) -> (Json, Json) {
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for item in items {
        let ItemWork::Job { state, result, error, .. } = &item.work else { continue };
        if *state == State::Completed {
            results.push(result.as_deref().map_or(Json::Null, read));
        } else {
            let error = error.as_ref().map_or(Json::Null, error_of);
            let fields = [
                ("index".to_owned(), json!(item.key.index)),
                ("state".to_owned(), json!(state.as_str())),
                ("error".to_owned(), error),
            ];
            failures.push(Json::Object(JsonObject::from_iter(fields)));
        }
    }
    (Json::Array(results), Json::Array(failures))
}
