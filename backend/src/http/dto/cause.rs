//! Why a job was made, as the API shows it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{domain, engine::rfc3339::rfc3339};

/// Why a job was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cause {
    /// The consumer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// The event that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
    /// Which time through the log it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<u64>,
    /// The run that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The workflow of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The step of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Which item of the step it is, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// `work`, or `undo` if it compensates for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The schedule that made it; `workflow:`, a name and a number for a trigger of that workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The tick of that: the moment that it stands for.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tick: Option<String>,
    /// Where the chain of events and jobs began: `event 17`, or `job` and its id.
    #[schema(example = "event 17")]
    pub root: String,
    /// How many jobs of the chain made each other, this one included.
    pub depth: u32,
}

impl From<&domain::Cause> for Cause {
    fn from(cause: &domain::Cause) -> Self {
        let (made_of, item) = (cause.made_of(), cause.item());
        let names = match &cause.by {
            domain::CausedBy::Step { workflow, step, .. } => Some((workflow.to_string(), step.to_string())),
            domain::CausedBy::Consumer(_) | domain::CausedBy::Schedule(_) => None,
        };
        let (workflow, step) = names.unzip();
        let fired_by = cause.fired_by();
        Self {
            consumer: made_of.map(|made_of| made_of.consumer.to_string()),
            event: made_of.map(|made_of| made_of.sequence.0),
            pass: made_of.map(|made_of| made_of.pass.0),
            run: item.map(|key| key.run.to_string()),
            workflow,
            step,
            item: item.map(|key| key.index),
            role: item.map(|key| key.role.as_str()),
            schedule: fired_by.map(|by| by.schedule.to_string()),
            tick: fired_by.map(|by| rfc3339(by.tick.at)),
            root: cause.root.to_string(),
            depth: cause.depth,
        }
    }
}
