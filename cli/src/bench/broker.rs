//! The broker that is measured: a private node, or one that is there already, on which everything has a name of its own and is
//! removed in the end.

use std::path::Path;

use crewcall_amqp::{Declaration, LinkConfig, LinkState, Publisher, PublisherOptions};
use crewcall_dev_broker::{DevBroker, DevBrokerOptions};
use crewcall_proto::{JobType, MessageKind, Topology};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::PATIENCE;
use crate::exit::Failure;

/// What the names of everything begin with on a broker that others use, before eight random digits.
const PREFIX: &str = "crewcall-bench";

/// The broker that is measured.
pub(super) struct Broker {
    /// If it is ours.
    node: Option<DevBroker>,
    amqp_url: String,
    topology: Topology,
}

impl Broker {
    /// Starts a private node in `directory`.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(super) async fn start(directory: &Path) -> Result<Self, Failure> {
        let node = DevBroker::start(DevBrokerOptions::new(directory).fresh()).await.map_err(Failure::part)?;
        Ok(Self { amqp_url: node.url("/"), topology: Topology::default(), node: Some(node) })
    }

    /// One that is there.
    pub(super) fn existing(amqp_url: &str) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        let topology = Topology::new(&format!("{PREFIX}-{}", &random[..8])).expect("it is a valid prefix");
        Self { node: None, amqp_url: amqp_url.to_owned(), topology }
    }

    /// What may be shared of a connection to it.
    pub(super) fn link(&self) -> LinkConfig {
        LinkConfig::new(self.amqp_url.as_str(), "crewcall bench")
    }

    /// A connection to publish on, once it is there.
    ///
    /// # Errors
    ///
    /// When the broker does not answer.
    pub(super) async fn publisher(
        &self,
        declarations: Vec<Declaration>,
        stop: &CancellationToken,
        tracker: &TaskTracker,
    ) -> Result<Publisher, Failure> {
        let publisher =
            Publisher::start(self.link(), declarations, PublisherOptions::default(), stop, tracker);
        let connected = async { publisher.state().wait_for(LinkState::is_connected).await.map(drop) };
        timeout(PATIENCE, connected).await.map_err(Failure::part)?.map_err(Failure::part)?;
        Ok(publisher)
    }

    pub(super) fn amqp_url(&self) -> &str {
        &self.amqp_url
    }

    /// What every name on it begins with.
    pub(super) fn prefix(&self) -> &str {
        self.topology.prefix()
    }

    /// The queues for an order and its response when the broker is measured alone.
    pub(super) fn limit_queues(&self) -> [String; 2] {
        ["orders", "responses"].map(|way| format!("{}.limit.{way}", self.prefix()))
    }

    /// Whether nobody else uses it.
    pub(super) const fn is_private(&self) -> bool {
        self.node.is_some()
    }

    /// The process of the node, if it is ours.
    pub(super) fn pid(&self) -> Option<u32> {
        self.node.as_ref().and_then(DevBroker::pid)
    }

    /// Ends it if it is ours; otherwise removes what bears our prefix, the queues of these types included. Nobody may use it
    /// any more.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub(super) async fn stop(self, job_types: impl Iterator<Item = String>) -> Result<(), Failure> {
        match self.node {
            Some(node) => {
                // One that does not stop is ended by its watchdog.
                let _ = node.stop().await;
                Ok(())
            }
            None => self.remove(job_types).await,
        }
    }

    /// Removes what bears our prefix, the queues of these types included. Nobody may use it meanwhile.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub(super) async fn remove(&self, job_types: impl Iterator<Item = String>) -> Result<(), Failure> {
        let job_types: Vec<JobType> =
            job_types.map(|job_type| job_type.parse()).collect::<Result<_, _>>().map_err(Failure::part)?;
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let publisher = self.publisher(Vec::new(), &stop, &tracker).await?;
        let names = &self.topology;
        let response = [
            MessageKind::Completed,
            MessageKind::Error,
            MessageKind::Held,
            MessageKind::Emitted,
            MessageKind::Progression,
        ];
        let own = [names.discovery_queue(), names.unroutable(), names.dead(), names.backend()];
        let queues = job_types
            .iter()
            .map(|job_type| names.jobs_queue(job_type))
            .chain(response.map(|kind| names.response_queue(kind)))
            .chain(own)
            .chain(self.limit_queues());
        for queue in queues {
            publisher.delete_queue(&queue).await.map_err(Failure::part)?;
        }
        let exchanges = [
            names.submit_exchange(),
            names.unroutable(),
            names.response_exchange(),
            names.discovery_exchange(),
            names.control_exchange(),
            names.dead(),
        ];
        for exchange in exchanges {
            publisher.delete_exchange(&exchange).await.map_err(Failure::part)?;
        }
        publisher.close().await;
        stop.cancel();
        Ok(())
    }
}
