//! How things are, told to the metrics when somebody asks for them, so that nobody pays for it otherwise. No lock is held for
//! longer than it takes to look at one job type or worker.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crewcall_proto::{JobType, Timestamp};

use super::{
    ConsumerState, ConsumerView, Engine, WorkflowView,
    fleet::registry::WorkerStatus,
    ports::{Count, StoreError},
    queries::WAITING,
};
use crate::{
    domain::{Demand, ScheduleName, State, Waiting},
    metrics::{ConsumerFigures, FleetFigures, TypeFigures, WorkflowFigures},
};

impl Engine {
    /// Everything that is counted, in the Prometheus text format.
    pub async fn render_metrics(&self) -> String {
        let _alone = self.scrape.lock().await;
        match self.type_figures().await {
            Ok(types) => self.metrics.set_types(&types),
            Err(error) => {
                tracing::warn!(%error, "The jobs could not be counted; their gauges keep their last values.");
            }
        }
        match self.store.usage().await {
            Ok(usage) => {
                self.metrics.set_store_usage(usage.file_bytes, usage.log_bytes, usage.disk_free_bytes);
                self.metrics.set_quarantined(usage.quarantined);
            }
            Err(error) => {
                tracing::warn!(%error, "The store could not be measured; its gauges keep their last values.");
            }
        }
        match self.consumers().await {
            Ok(consumers) => {
                let figures: Vec<ConsumerFigures> = consumers.iter().map(consumer_figures).collect();
                self.metrics.set_consumers(&figures);
            }
            Err(error) => {
                tracing::warn!(%error, "The log could not be read; the gauges of consumers keep their last values.");
            }
        }
        match self.workflows().await {
            Ok(workflows) => {
                let now = self.clock.now();
                let figures: Vec<WorkflowFigures> =
                    workflows.iter().map(|view| workflow_figures(view, now)).collect();
                self.metrics.set_workflows(&figures);
            }
            Err(error) => {
                tracing::warn!(%error, "Workflows could not be read; their gauges keep their last values.");
            }
        }
        self.metrics.set_fleet(&self.fleet_figures());
        let schedules = self.store.schedules();
        let schedules: Vec<(ScheduleName, bool)> =
            schedules.iter().map(|schedule| (schedule.name.clone(), schedule.pause.is_some())).collect();
        self.metrics.set_schedules(&schedules, self.schedules.held());
        self.metrics.set_hooks(self.store.hooks().iter().map(|hook| &hook.name));
        self.metrics.set_webhooks(self.store.webhooks().iter().map(|webhook| &webhook.name));
        let (orders, oldest) = self.publisher.unconfirmed();
        self.metrics.set_unconfirmed(orders, oldest);
        self.metrics.set_clock_offset(self.clock.machine_ahead_ms());
        self.metrics.render()
    }

    /// Every type that was announced, has jobs, or had something set for it.
    async fn type_figures(&self) -> Result<Vec<TypeFigures>, StoreError> {
        let mut by_type: BTreeMap<JobType, Vec<Count>> = BTreeMap::new();
        for job_type in self.catalogue.names().into_iter().chain(self.limits.names()) {
            by_type.entry(job_type).or_default();
        }
        for count in self.store.counts().await? {
            by_type.entry(count.job_type.clone()).or_default().push(count);
        }
        let oldest = self.oldest_waiting(&by_type).await?;
        let now = self.clock.now();
        let figures = by_type.into_iter().map(|(job_type, counts)| {
            let oldest = oldest.get(&job_type).map(|created_at| now.since(*created_at));
            self.figures_of(job_type, &counts, oldest)
        });
        Ok(figures.collect())
    }

    /// When the oldest waiting job of each type was created. Each state is asked for of those types alone that have jobs in
    /// it: every answer costs a look into an index.
    async fn oldest_waiting(
        &self,
        by_type: &BTreeMap<JobType, Vec<Count>>,
    ) -> Result<HashMap<JobType, Timestamp>, StoreError> {
        let mut oldest: HashMap<JobType, Timestamp> = HashMap::new();
        for state in WAITING.chunks(1) {
            let is_in = |counts: &[Count]| counts.iter().any(|count| state.contains(&count.state));
            let types = by_type.iter().filter(|(_, counts)| is_in(counts));
            let names = types.map(|(job_type, _)| job_type.clone()).collect();
            for (job_type, created_at) in self.store.oldest(names, state).await? {
                let known = oldest.entry(job_type).or_insert(created_at);
                *known = created_at.min(*known);
            }
        }
        Ok(oldest)
    }

    fn figures_of(
        &self,
        job_type: JobType,
        counts: &[Count],
        oldest_waiting: Option<Duration>,
    ) -> TypeFigures {
        let jobs = |state| counts.iter().find(|count| count.state == state).map_or(0, |count| count.jobs);
        let settings = self.limits.get(&job_type);
        let capacity = self.registry.capacity(&job_type);
        TypeFigures {
            jobs: State::ALL.into_iter().map(|state| (state.as_str(), jobs(state))).collect(),
            waiting: self.waiting_for(&job_type, counts),
            oldest_waiting,
            slots_wanted: Demand::of(jobs, &settings).slots_wanted,
            window: self.relay.window(&job_type),
            window_used: self.store.in_flight(&job_type).with_broker,
            workers: capacity.workers,
            slots: capacity.slots,
            paused: settings.pause.is_some(),
            running_max: settings.running_max,
            rate_per_second: settings.rate_per_second,
            job_type,
        }
    }

    /// What the jobs of a type wait for that are due.
    fn waiting_for(&self, job_type: &JobType, counts: &[Count]) -> Vec<(&'static str, u64)> {
        let due: Vec<&Count> = counts.iter().filter(|count| WAITING.contains(&count.state)).collect();
        if due.is_empty() {
            return Vec::new();
        }
        let context = self.waiting_context(job_type);
        let reason = |count: &Count| Waiting::of_due(job_type, count.state, &context);
        due.into_iter().filter_map(|count| Some((reason(count)?.reason(), count.jobs))).collect()
    }

    fn fleet_figures(&self) -> FleetFigures {
        let mut figures = FleetFigures::default();
        let mut by_status: HashMap<WorkerStatus, usize> = HashMap::new();
        self.registry.for_each(|worker| {
            *by_status.entry(worker.status).or_default() += 1;
            if worker.status == WorkerStatus::Lost {
                return;
            }
            let announced = &worker.announcement;
            let sdk = format!("{} {}", announced.sdk.language, announced.sdk.version);
            let version = [announced.name.clone(), announced.version.clone(), sdk];
            *figures.versions.entry(version).or_default() += 1;
            figures.slots += worker.slots();
            figures.slots_busy += worker.slots_taken();
        });
        let with = |status| by_status.get(&status).copied().unwrap_or(0);
        figures.by_status = WorkerStatus::ALL.map(|status| (status.as_str(), with(status))).to_vec();
        (figures.held, figures.delivered) = self.leases.counts();
        figures
    }
}

fn consumer_figures(view: &ConsumerView) -> ConsumerFigures {
    ConsumerFigures {
        name: view.consumer.name.clone(),
        states: ConsumerState::ALL.map(|state| (state.as_str(), state == view.state)),
        lag_events: view.lag_events(),
        lag: view.lag,
        in_flight: view.consumer.in_flight,
    }
}

fn workflow_figures(view: &WorkflowView, now: Timestamp) -> WorkflowFigures {
    WorkflowFigures {
        name: view.known.name().clone(),
        open: view.open_runs.clone(),
        standstill: view.still_since.map_or(Duration::ZERO, |since| now.since(since)),
        problems: view.problems.len(),
    }
}
