//! What is recorded of the end of a run, if anybody may want it.

use std::sync::Arc;

use serde_json::json;

use crate::{
    domain::{
        NewEvent, Origin, PublishedEvent, Source, Subject,
        workflow::known::{RunInfo, StoredRun},
    },
    engine::{rfc3339::rfc3339, rules::Rules},
};

/// A run that came to its end.
pub(super) struct RunEnded<'a> {
    pub(super) run: &'a StoredRun,
}

impl RunEnded<'_> {
    /// The event that is recorded of it, for whoever may want it; in its place of the log.
    pub(super) fn record(&self, rules: &mut Rules) -> Option<Arc<PublishedEvent>> {
        let StoredRun { info, run, .. } = self.run;
        let subject = rules.hear(|| Subject::of_run(run.state, info.version.name()))?;
        let RunInfo { id, version, labels, root, depth, created_at, .. } = info.as_ref();
        let names = |step: crate::domain::workflow::definition::StepIndex| {
            version.workflow.step(step).map(|step| step.name.to_string())
        };
        let failed: Vec<String> = run.failures(&version.workflow).filter_map(names).collect();
        let data = json!({
            "run_id": id.to_string(),
            "workflow": version.name().as_str(),
            "version": version.number,
            "state": run.state.as_str(),
            "failed_steps": failed,
            "labels": labels,
            "created_at": rfc3339(*created_at),
            "started_at": run.started_at.map(rfc3339),
            "ended_at": run.ended_at.map(rfc3339),
        });
        let origin = Some(Origin { source: Source::Run(*id), root: *root, depth: *depth });
        let event = NewEvent { subject, data: data.to_string(), id: None, occurred_at: None, origin };
        Some(Arc::new(event.record(rules.counts.next_sequence(), rules.now())))
    }
}
