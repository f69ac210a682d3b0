//! What `crewcall dev` runs: everything that a job needs, on this machine, under one directory.
//!
//! A private RabbitMQ node and the workers are processes of their own, the backend runs in this one. No
//! process outlives us: the node and the workers each have a watchdog that notices when we are gone.

mod directory;

mod workers;

use std::{
    env,
    error::Error,
    future::pending,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use crewcall_backend::{App, Config, DatabaseUrl};
use crewcall_dev_broker::{DevBroker, DevBrokerOptions};
use crewcall_webhooks::{ALLOW_VARIABLE, AllowedNetworks};
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    arguments::DevArguments,
    backend::{self, BackendError},
    dev_environment::DevEnvironment,
    exit::Failure,
    output::print_message,
    watched_process::WatchedProcess,
};

pub(crate) use directory::DevDirectory;

/// The port of the HTTP API when it is free: the one that clients try by themselves.
pub(crate) const HTTP_PORT_PREFERRED: u16 = 8080;
/// How often is looked whether the RabbitMQ node still takes connections.
const NODE_LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the backend may take to drain: what it says itself, 2 s for its last traces, and a little to end.
const BACKEND_STOP_MAX: Duration = Duration::from_secs(crewcall_backend::app::SHUTDOWN_GRACE.as_secs() + 4);

/// Everything that runs.
pub(crate) struct DevStack {
    /// None when it is somebody else's.
    broker: Option<DevBroker>,
    /// None when the user's own come by themselves.
    workers: Option<WatchedProcess>,
    backend: JoinHandle<Result<(), BackendError>>,
    stop: CancellationToken,
    addresses: Addresses,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// The HTTP API.
    pub(crate) http: SocketAddr,
    /// The broker, as clients name it. Its password is RabbitMQ's well-known one: it only listens here.
    pub(crate) amqp_url: String,
}

impl DevStack {
    /// Starts everything, telling on standard error how it goes. Dropping the future ends what it started.
    ///
    /// # Errors
    ///
    /// One sentence that says what to do.
    pub(crate) async fn open(
        directory: &DevDirectory,
        arguments: &DevArguments,
        tracker: &TaskTracker,
    ) -> Result<Self, Failure> {
        let last = DevEnvironment::read(directory.root());
        let program = match arguments.no_workers {
            true => None,
            false => Some(workers::find(arguments.worker_command.as_deref())?),
        };
        let (broker, amqp_url) = match &arguments.amqp_url {
            Some(url) => (None, url.clone()),
            None => {
                let broker = start_broker(directory, last.as_ref()).await?;
                let url = broker.url("/");
                (Some(broker), url)
            }
        };
        let config = Config {
            amqp_url: amqp_url.clone(),
            database: DatabaseUrl::Sqlite(directory.path("crewcall.db")),
            http_listen: arguments.http_listen.unwrap_or_else(|| http_listen(last.as_ref())),
            webhook_allow: webhook_allow()?,
            ..Config::default()
        };
        let prefix = config.amqp_prefix.prefix().to_owned();
        let app = App::build(config.clone()).await.map_err(part)?;
        let http = app.http_address();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let backend = tracker.spawn(async move { Box::pin(backend::run(app, &config, stopping)).await });
        let workers =
            program.map(|words| workers::start(&words, &amqp_url, &prefix, directory)).transpose()?;
        let addresses = Addresses { http, amqp_url: amqp_url.clone() };
        DevEnvironment { url: format!("http://{http}"), amqp_url }.write(directory.root())?;
        Ok(Self { broker, workers, backend, stop, addresses })
    }

    /// Where everything is.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Waits until a part ends that should not, and says which, with the end of its log.
    pub(crate) async fn wait_for_failure(&mut self, directory: &DevDirectory) -> Failure {
        tokio::select! {
            status = ended(self.workers.as_mut()) => {
                directory.failure(&format!("the workers ended by themselves ({status})"), "workers.log")
            }
            ended = &mut self.backend => {
                let reason = match ended {
                    Ok(Ok(())) => "it stopped by itself".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                directory.failure(&format!("the backend ended: {reason}"), "backend.log")
            }
            () = broker_gone(self.broker.as_ref().map(DevBroker::amqp_port)) => {
                directory.failure("the RabbitMQ node no longer takes connections", "broker/log")
            }
        }
    }

    /// Stops everything in order: workers first, so that they can hand in what they finish.
    pub(crate) async fn close(self) {
        if let Some(mut workers) = self.workers {
            workers.stop().await;
        }
        self.stop.cancel();
        if timeout(BACKEND_STOP_MAX, self.backend).await.is_err() {
            print_message("the backend did not stop in time; it ends with this process");
        }
        let Some(broker) = self.broker else { return };
        if let Err(error) = broker.stop().await {
            print_message(&format!("the RabbitMQ node did not stop cleanly: {error}"));
        }
    }
}

/// What webhooks may lead into besides the public internet, as the environment says.
fn webhook_allow() -> Result<AllowedNetworks, Failure> {
    let list = env::var(ALLOW_VARIABLE).unwrap_or_default();
    list.parse().map_err(|error| Failure::Usage(format!("{ALLOW_VARIABLE}: {error}")))
}

async fn start_broker(directory: &DevDirectory, last: Option<&DevEnvironment>) -> Result<DevBroker, Failure> {
    print_message(&format!("starting a private RabbitMQ node in {} …", directory.shown("broker")));
    let amqp_port = last.and_then(DevEnvironment::amqp_port);
    let options = DevBrokerOptions { amqp_port, ..DevBrokerOptions::new(directory.path("broker")) };
    DevBroker::start(options).await.map_err(part)
}

/// How the workers ended, if they are ours.
async fn ended(workers: Option<&mut WatchedProcess>) -> String {
    match workers {
        Some(workers) => workers.wait().await,
        None => pending().await,
    }
}

async fn broker_gone(port: Option<u16>) {
    // The backend waits for one that is not ours.
    let Some(port) = port else { return pending().await };
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
        sleep(NODE_LOOK_EVERY).await;
    }
}

/// The port of the last time, the preferred one, or any that is free.
fn http_listen(last: Option<&DevEnvironment>) -> SocketAddr {
    let preferred = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT_PREFERRED));
    let wanted = last.and_then(DevEnvironment::http).filter(|address| address.ip().is_loopback());
    let free = wanted.into_iter().chain([preferred]).find(|address| TcpListener::bind(address).is_ok());
    free.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn part(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::Part(Box::new(error))
}
