//! What `crewcall status`, `doctor` and `topology` take.

use clap::Args;
use crewcall_proto::Topology;

use super::{ListArguments, OutputArguments};

/// What `status` takes.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// What `doctor` takes.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Where the broker is.
    #[command(flatten)]
    pub(crate) broker: BrokerArguments,
    /// The form of the output.
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// What `topology` takes.
#[derive(Debug, Args)]
pub(crate) struct TopologyArguments {
    /// Where the broker is.
    #[command(flatten)]
    pub(crate) broker: BrokerArguments,
    /// How it looks.
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

/// Where the broker is, for those who look at it themselves.
#[derive(Debug, Args)]
pub(crate) struct BrokerArguments {
    /// The broker, as the backend was told [default: that of the `crewcall dev` of this directory]
    #[arg(long, env = "CREWCALL_AMQP_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) amqp_url: Option<String>,
    /// What the names of exchanges and queues start with, as the backend was told
    #[arg(long, env = "CREWCALL_AMQP_PREFIX", value_name = "PREFIX", default_value = Topology::DEFAULT_PREFIX)]
    pub(crate) amqp_prefix: Topology,
}
