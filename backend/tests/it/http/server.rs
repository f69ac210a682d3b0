//! A served API, and what tests do to it from the other side: play the workers.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use crewcall_backend::{
    clock::{Clock, SystemClock},
    domain::{Event, JobError, State, cause::DEPTH_MAX_DEFAULT},
    engine::{
        Engine, Ports,
        discovery::Discovered,
        fleet::liveness::PROBE_EVERY,
        ports::{Applied, Broker, BrokerStatus, JobEvent, Store},
        tasks::Tasks,
        upkeep::retention::Retention,
    },
    http::{self, ANSWERS_BYTES_MAX, HttpHosts, HttpState, WATCHERS_MAX},
    metrics::Metrics,
    store::SqliteStore,
};
use crewcall_proto::{
    ContentType, ExecutionId, JobId, JobType, Order, PROTOCOL_VERSION, Timestamp, WorkerId,
    discovery::{AnnouncedType, Announcement, Goodbye, Sdk},
    response::{ErrorKind, Origin},
};
use reqwest::{Body, Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::filling_store::FillingStore;

pub(crate) use super::broker::PlayedBroker;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The request id of every request, so that answers can be compared.
const REQUEST_ID: &str = "test";

pub(super) const WORKER: &str = "worker-1";

/// A backend without a broker.
pub(crate) struct Server {
    pub(super) base: String,
    pub(super) client: Client,
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) broker: Arc<PlayedBroker>,
    state: HttpState,
    stop: CancellationToken,
    serving: TaskTracker,
    directory: TempDir,
}

/// How a [`Server`] differs from the usual.
#[derive(Default)]
pub(super) struct Options {
    pub(super) watchers_max: Option<usize>,
    pub(super) answers_bytes_max: Option<usize>,
    /// Takes the place of the store, for all but the start.
    pub(super) store: Option<Arc<dyn Store>>,
    /// Stores this many jobs and then fails.
    pub(super) stores_max: Option<usize>,
    /// By which names it may be asked for.
    pub(super) http_hosts: Option<&'static str>,
    /// The database, if it is not to be a new one.
    pub(super) file: Option<PathBuf>,
}

/// What of them concerns HTTP.
struct HttpOptions {
    watchers_max: usize,
    answers_bytes_max: usize,
    hosts: HttpHosts,
}

impl HttpOptions {
    fn of(options: &Options) -> Self {
        Self {
            watchers_max: options.watchers_max.unwrap_or(WATCHERS_MAX),
            answers_bytes_max: options.answers_bytes_max.unwrap_or(ANSWERS_BYTES_MAX),
            hosts: options.http_hosts.unwrap_or_default().parse().unwrap(),
        }
    }

    fn state(self, engine: Arc<Engine>, metrics: Arc<Metrics>, stop: CancellationToken) -> HttpState {
        HttpState::new(engine, metrics, stop)
            .hosts(self.hosts)
            .watchers_max(self.watchers_max)
            .answers_bytes_max(self.answers_bytes_max)
    }
}

fn open(
    options: &Options,
    directory: &TempDir,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Arc<dyn Store> {
    let path = options.file.clone().unwrap_or_else(|| directory.path().join("crewcall.db"));
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&path, Arc::clone(clock), Arc::clone(metrics)).unwrap());
    match options.stores_max {
        Some(room) => Arc::new(FillingStore { store, room: Mutex::new(room) }),
        None => options.store.clone().unwrap_or(store),
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(super) async fn start_with(options: Options) -> Self {
        let metrics = Arc::new(Metrics::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let http = HttpOptions::of(&options);
        let directory = tempfile::tempdir().unwrap();
        let store = open(&options, &directory, &clock, &metrics);
        let (stop, serving) = (CancellationToken::new(), TaskTracker::new());
        let (tasks, _fallen) = Tasks::new(serving.clone(), stop.clone());
        let broker = Arc::new(PlayedBroker::default());
        let ports = Ports {
            depth_max: DEPTH_MAX_DEFAULT,
            webhook_allow: Default::default(),
            own_worker: WorkerId::generate(),
            store: Arc::clone(&store),
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            tasks,
            observers: Vec::new(),
        };
        let engine = Engine::assemble(ports, Retention::default()).await.unwrap();
        let state = http.state(Arc::clone(&engine), metrics, stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        serving.spawn(http::serve(listener, http::router(state.clone()), stop.clone()));
        Self { base, client: client(), engine, store, clock, broker, state, stop, serving, directory }
    }

    /// The store's file.
    pub(super) fn database(&self) -> PathBuf {
        self.directory.path().join("crewcall.db")
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base)).header("x-request-id", REQUEST_ID)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).header("x-request-id", REQUEST_ID).json(body)
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.put(format!("{}{path}", self.base)).header("x-request-id", REQUEST_ID).json(body)
    }

    pub(super) fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(format!("{}{path}", self.base)).header("x-request-id", REQUEST_ID)
    }

    /// A POST without a body.
    pub(super) fn post_empty(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).header("x-request-id", REQUEST_ID)
    }

    /// A POST whose body is what it is.
    pub(super) fn post_text(&self, path: &str, content_type: &str, body: impl Into<Body>) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.base)).header("x-request-id", REQUEST_ID);
        request.header("content-type", content_type).body(body)
    }

    /// What a GET answers, which must be 200.
    pub(super) async fn read(&self, path: &str) -> Value {
        let response = answer(self.get(path)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        sorted(response.json().await.unwrap())
    }

    /// Submits a job and returns its id.
    pub(super) async fn submit(&self, submission: Value) -> JobId {
        let response = answer(self.post("/v1/jobs", &submission)).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{submission}");
        let job: Value = response.json().await.unwrap();
        job["id"].as_str().unwrap().parse().unwrap()
    }

    /// From here on there is a broker: jobs are dispatched.
    pub(super) fn connect(&self) {
        self.broker.set(BrokerStatus::Up);
    }

    /// Submits a job that is dispatched at once: its attempt can be played.
    pub(super) async fn submit_dispatched(&self, job_type: &str) -> JobId {
        self.connect();
        let id = self.submit(json!({"type": job_type})).await;
        assert!(self.origin(id).await.is_some(), "the job was not dispatched");
        id
    }

    /// A worker announces the type.
    pub(super) async fn announce(&self, job_type: &str, parameters_schema: Value) {
        self.announce_as(job_type, parameters_schema, |_| {}).await;
    }

    /// A worker announces the type, and something else than usual.
    pub(super) async fn announce_as(
        &self,
        job_type: &str,
        parameters_schema: Value,
        change: impl FnOnce(&mut Announcement),
    ) {
        let mut announcement = announcement(job_type, &parameters_schema);
        change(&mut announcement);
        self.engine.discover(vec![Discovered::Announced(announcement)]).await.unwrap();
    }

    /// A worker announces something that cannot be read.
    pub(super) async fn unreadable(&self, content_type: ContentType, reason: &str) {
        self.engine.announcement_unreadable(WORKER.parse().unwrap(), content_type, reason.to_owned());
        self.engine.discover(Vec::new()).await.unwrap();
    }

    /// The worker leaves.
    pub(super) async fn goodbye(&self) {
        let goodbye =
            Goodbye { worker_id: WORKER.parse().unwrap(), reason: "drained".to_owned(), handed_back: None };
        self.engine.discover(vec![Discovered::Goodbye(goodbye)]).await.unwrap();
    }

    /// Deletes the cancelled jobs.
    pub(super) async fn delete_jobs(&self) {
        let deleted = async {
            while self
                .store
                .delete_finished(State::Cancelled, Duration::ZERO, 100)
                .await
                .unwrap()
                .changes
                .is_empty()
            {}
        };
        timeout(PATIENCE, deleted).await.expect("no cancelled job was deleted");
    }

    /// Lets time pass in which the link is well, and nobody says anything.
    pub(crate) async fn hear_nobody_for(&self, silence: Duration) {
        tokio::time::pause();
        for _ in 0..silence.as_secs() / PROBE_EVERY.as_secs() {
            tokio::time::advance(PROBE_EVERY).await;
            self.engine.send_probe().await;
            self.engine.discover(vec![Discovered::Probe(self.broker.last_probe())]).await.unwrap();
        }
        tokio::time::resume();
    }

    /// Who speaks for the current attempt, if it was dispatched.
    pub(super) async fn origin(&self, id: JobId) -> Option<Origin> {
        let (job, _) = self.store.get(id).await.unwrap().unwrap();
        Some(Origin {
            job_id: id,
            attempt: job.status.attempt,
            attempt_token: job.status.token?,
            execution_id: job.status.claim.map_or_else(ExecutionId::generate, |claim| claim.execution_id),
            worker_id: WORKER.parse().unwrap(),
        })
    }

    pub(super) async fn start_job(&self, id: JobId) {
        let origin = self.origin(id).await.unwrap();
        self.apply(id, Event::Started { origin, seq: 1, at: self.clock.now() }).await;
    }

    pub(super) async fn progress(&self, id: JobId, seq: u64, percent: u8) {
        let origin = self.origin(id).await.unwrap();
        let at = self.clock.now();
        let message = Some(format!("step {seq}"));
        self.apply(id, Event::Progressed { origin, seq, percent: Some(percent), message, at }).await;
    }

    pub(crate) async fn complete(&self, id: JobId, result: Value) {
        let origin = self.origin(id).await.unwrap();
        let now = self.clock.now();
        let event = Event::Completed {
            origin,
            result: result.to_string(),
            emitted: Vec::new(),
            started_at: now,
            finished_at: now,
        };
        self.apply(id, event).await;
    }

    pub(super) async fn fail(&self, id: JobId, retryable: bool) {
        let origin = self.origin(id).await.unwrap();
        let now = self.clock.now();
        let error = JobError {
            kind: ErrorKind::Handler,
            code: Some("no_luck".to_owned()),
            message: "it did not work".to_owned(),
            detail: None,
        };
        let event = Event::Failed {
            origin,
            error,
            redelivered: false,
            retryable,
            retry_after: None,
            started_at: Some(now),
            finished_at: now,
        };
        self.apply(id, event).await;
    }

    /// The worker keeps an attempt without its order.
    pub(super) async fn hold(&self, id: JobId) {
        let origin = self.origin(id).await.unwrap();
        self.apply(id, Event::Held { origin, seq: 2 }).await;
    }

    /// The order of the current attempt.
    pub(super) async fn order(&self, id: JobId) -> Order {
        let (job, _) = self.store.get(id).await.unwrap().unwrap();
        Order {
            protocol: PROTOCOL_VERSION,
            job_id: id,
            job_type: job.job_type,
            attempt: job.status.attempt,
            attempt_token: job.status.token.unwrap(),
            max_attempts: 1,
            parameters: job.parameters,
            timeout_ms: None,
            expires_at: None,
            created_at: job.created_at,
        }
    }

    async fn apply(&self, job_id: JobId, event: Event) {
        let applied = self.engine.changes().record(vec![JobEvent { job_id, event }]).await.unwrap();
        assert_eq!(applied.value, [Applied::Changed], "{applied:?}");
    }

    /// The paths that the router knows, but for those of its fallback. Only its debug output tells them.
    pub(super) fn routes(&self) -> Vec<String> {
        let text = format!("{:?}", http::router(self.state.clone()));
        let paths = text.split('"').filter(|word| word.starts_with('/'));
        paths.filter(|path| *path != "/" && !path.contains("fallback")).map(str::to_owned).collect()
    }

    /// Lets the relay and the upkeep run until the end.
    pub(crate) fn run(&self) {
        let engine = Arc::clone(&self.engine);
        self.serving.spawn(async move { engine.run().await.unwrap() });
    }

    /// Returns when something is the case.
    pub(super) async fn until(&self, is_the_case: impl AsyncFn() -> bool) {
        let reached = async {
            while !is_the_case().await {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("it did not become the case");
    }

    /// Returns when this many streams and long polls are open.
    pub(super) async fn until_watching(&self, watchers: usize) {
        let reached = async {
            while self.state.watching() != watchers {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("the number of watchers was not reached");
    }

    /// Stops serving and waits for everything to end.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.serving.close();
        timeout(PATIENCE, self.serving.wait()).await.expect("the server did not end");
    }
}

fn client() -> Client {
    // The client wants a provider of TLS even where nothing is encrypted. Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Sends a request.
pub(super) async fn answer(request: RequestBuilder) -> Response {
    request.send().await.expect("the server answers every request")
}

/// The problem that a request is answered with, its status and headers checked.
pub(super) async fn problem(request: RequestBuilder) -> Value {
    let response = answer(request).await;
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["x-request-id"], REQUEST_ID);
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], REQUEST_ID);
    sorted(problem)
}

/// The order of fields depends on which crates are built together; snapshots must not.
pub(super) fn sorted(mut value: Value) -> Value {
    value.sort_all_objects();
    value
}

/// What a worker of this type says.
pub(crate) fn announcement(job_type: &str, parameters_schema: &Value) -> Announcement {
    let announced = AnnouncedType {
        job_type: JobType::new(job_type).unwrap(),
        description: format!("Does {job_type}."),
        version: "1.2.3".to_owned(),
        parameters_schema: parameters_schema.as_object().unwrap().clone(),
        result_schema: serde_json::Map::new(),
        bundles: false,
        emits: Vec::new(),
    };
    Announcement {
        worker_id: WORKER.parse().unwrap(),
        name: "player".to_owned(),
        version: "0.0.1".to_owned(),
        sdk: Sdk { language: "rust".to_owned(), version: "0.1.0".to_owned() },
        host: "here".to_owned(),
        pid: 7,
        slots: 3,
        content_type: ContentType::Json,
        types: vec![announced],
        started_at: Timestamp::from_millis(1_700_000_000_000),
    }
}
