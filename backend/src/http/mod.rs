//! The HTTP API: the only place that knows axum.
//!
//! A request's way: [`serve()`] takes its connection, `request` gives it an id and measures it, `access` lets it in,
//! `answers` takes room for what is returned, a route (`jobs`, `batch`, `actions`, `watch`, `workflows`, `runs`, `schedules`, `hooks`, `webhooks`,
//! `workers`, `types`, `type_settings`, `quarantine`, `health`, `openapi`) reads it through `body`, `fields`, `filter` and `query`, calls a
//! command or a query of `engine`, and returns a shape of `dto` or a `problem`. `responses` tells the document which
//! problems may come.

// The way of every request.
mod access;
mod answers;
mod request;
mod serve;

// The routes.
mod actions;
mod batch;
mod consumers;
mod event_watch;
mod events;
mod health;
mod hooks;
mod jobs;
mod openapi;
mod quarantine;
mod run_actions;
mod run_watch;
mod runs;
mod schedule_actions;
mod schedules;
mod type_settings;
mod types;
mod watch;
mod webhooks;
mod workers;
mod workflow_actions;
mod workflows;

// What they read.
mod body;
mod consumer_settings;
mod cursor;
mod document;
mod event_submission;
mod fields;
mod filter;
mod hook_settings;
mod idempotency;
mod preconditions;
mod query;
mod submission;
mod webhook_settings;

// What they return.
mod code;
mod dto;
mod json;
mod problem;
mod responses;
mod schedule_problems;
mod watchers;
mod workflow_graph;
mod workflow_problems;

use std::{ops::Deref, sync::Arc};

use axum::{Extension, Router, middleware::from_fn_with_state, routing::get};
use crewcall_traces::Traces;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use access::HttpHosts;
// Limits for the tests, which hold the document and the program against them.
pub use answers::ANSWERS_BYTES_MAX;
pub use batch::{BATCH_ITEMS_MAX, BATCHES_MAX};
pub use body::{BATCH_BYTES_MAX, BODY_BYTES_MAX};
pub use code::ProblemCode;
pub use idempotency::KEY_LENGTH_MAX;
pub use query::{PAGE_JOBS_MAX, WAIT_MAX};
pub use serve::serve;
pub use watchers::WATCHERS_MAX;

use crate::{engine::Engine, metrics::Metrics};
use body::{BODIES_BYTES_MAX, BodyBudget};
use jobs::PAGES_MAX;
use watchers::Watchers;

/// What the routes work with. Cheap to clone, as every layer does for every request.
#[derive(Clone)]
pub struct HttpState(Arc<Parts>);

/// What it consists of.
#[derive(Clone)]
pub struct Parts {
    engine: Arc<Engine>,
    /// How requests are counted.
    metrics: Arc<Metrics>,
    /// Where the spans of requests go.
    traces: Traces,
    /// By which names we may be asked for.
    hosts: HttpHosts,
    /// When streams and long polls end.
    stop: CancellationToken,
    watchers: Watchers,
    /// The places of batches.
    batches: Arc<Semaphore>,
    /// The room for all other bodies.
    bodies: BodyBudget,
    /// The room for answers.
    answers: BodyBudget,
    /// The places in which pages are put together.
    pages: Arc<Semaphore>,
}

impl HttpState {
    /// The state of a server of `engine`. Streams and long polls end on `stop`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, metrics: Arc<Metrics>, stop: CancellationToken) -> Self {
        Self(Arc::new(Parts {
            engine,
            metrics,
            traces: Traces::default(),
            hosts: HttpHosts::default(),
            stop,
            watchers: Watchers::new(WATCHERS_MAX),
            batches: Arc::new(Semaphore::new(BATCHES_MAX)),
            bodies: BodyBudget::of(BODIES_BYTES_MAX),
            answers: BodyBudget::of(ANSWERS_BYTES_MAX),
            pages: Arc::new(Semaphore::new(PAGES_MAX)),
        }))
    }

    /// The same, to be asked for by these names too.
    #[must_use]
    pub fn hosts(mut self, hosts: HttpHosts) -> Self {
        Arc::make_mut(&mut self.0).hosts = hosts;
        self
    }

    /// The same, with a sink for the spans of its requests.
    #[must_use]
    pub fn traces(mut self, traces: Traces) -> Self {
        Arc::make_mut(&mut self.0).traces = traces;
        self
    }

    /// The same with another limit than [`WATCHERS_MAX`].
    #[must_use]
    pub fn watchers_max(mut self, watchers_max: usize) -> Self {
        Arc::make_mut(&mut self.0).watchers = Watchers::new(watchers_max);
        self
    }

    /// The same with another limit than [`ANSWERS_BYTES_MAX`].
    #[must_use]
    pub fn answers_bytes_max(mut self, bytes_max: usize) -> Self {
        Arc::make_mut(&mut self.0).answers = BodyBudget::of(bytes_max);
        self
    }

    /// How many streams and long polls are open.
    #[must_use]
    pub fn watching(&self) -> usize {
        self.watchers.count()
    }
}

impl Deref for HttpState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The routes of what makes jobs: consumers, hooks and webhooks, workflows with their runs, schedules.
fn what_follows() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(consumers::list))
        .routes(routes!(consumers::put, consumers::get, consumers::delete))
        .routes(routes!(consumers::pause))
        .routes(routes!(consumers::resume))
        .routes(routes!(consumers::seek))
        .routes(routes!(consumers::replay))
        .routes(routes!(hooks::list))
        .routes(routes!(hooks::put, hooks::get, hooks::delete, hooks::deliver))
        .routes(routes!(hooks::rotate))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::put, webhooks::get, webhooks::delete))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(webhooks::pause))
        .routes(routes!(webhooks::resume))
        .routes(routes!(workflows::list))
        .routes(routes!(workflows::check))
        .routes(routes!(workflows::put, workflows::get, workflows::delete))
        .routes(routes!(workflows::versions))
        .routes(routes!(workflows::version))
        .routes(routes!(workflows::graph))
        .routes(routes!(workflow_actions::trigger))
        .routes(routes!(workflow_actions::pause))
        .routes(routes!(workflow_actions::resume))
        .routes(routes!(runs::list))
        .routes(routes!(run_actions::cancel_many))
        .routes(routes!(runs::get))
        .routes(routes!(runs::graph))
        .routes(routes!(runs::items))
        .routes(routes!(runs::journal))
        .routes(routes!(run_watch::watch_run))
        .routes(routes!(run_actions::cancel))
        .routes(routes!(run_actions::retry))
        .routes(routes!(run_actions::approve))
        .routes(routes!(run_actions::reject))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::preview))
        // The name of that route cannot be that of a schedule, which whoever asks for it is told.
        .route("/v1/schedules/preview", get(schedules::no_preview).put(schedules::refuse_preview))
        .routes(routes!(schedules::put, schedules::get, schedules::delete))
        .routes(routes!(schedules::ticks))
        .routes(routes!(schedule_actions::pause))
        .routes(routes!(schedule_actions::resume))
        .routes(routes!(schedule_actions::trigger))
        .routes(routes!(schedule_actions::backfill))
}

/// Every route.
///
/// # Panics
///
/// When the OpenAPI document cannot be written, which its parts, being constants, do not allow.
pub fn router(state: HttpState) -> Router {
    let (routes, mut document) = OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(jobs::submit, jobs::list))
        .routes(routes!(jobs::get))
        .routes(routes!(batch::submit))
        .routes(routes!(actions::cancel))
        .routes(routes!(actions::retry))
        .routes(routes!(actions::cancel_many))
        .routes(routes!(actions::retry_many))
        .routes(routes!(watch::watch_job))
        .routes(routes!(watch::watch_all))
        .routes(routes!(events::publish, events::list))
        .routes(routes!(events::publish_many))
        .routes(routes!(event_watch::watch_log))
        .routes(routes!(events::get))
        .merge(what_follows())
        .routes(routes!(workers::list))
        .routes(routes!(workers::get))
        .routes(routes!(workers::drain))
        .routes(routes!(workers::resume))
        .routes(routes!(types::subjects))
        .routes(routes!(types::list))
        .routes(routes!(types::get, types::delete))
        .routes(routes!(types::scale))
        .routes(routes!(type_settings::pause))
        .routes(routes!(type_settings::resume))
        .routes(routes!(type_settings::limit))
        .routes(routes!(quarantine::list, quarantine::delete_all))
        .routes(routes!(quarantine::delete))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi::document))
        .split_for_parts();
    responses::add_to_every(&mut document);
    let document = document.to_json().expect("a document made of constants can be written");
    routes
        .merge(openapi::pages())
        .fallback(request::route_not_found)
        .method_not_allowed_fallback(request::method_not_allowed)
        .layer(Extension(openapi::DocumentText(document.into())))
        .layer(from_fn_with_state(state.clone(), answers::hold))
        .layer(from_fn_with_state(state.clone(), access::guard))
        .layer(from_fn_with_state(state.clone(), request::observe))
        .with_state(state)
}
