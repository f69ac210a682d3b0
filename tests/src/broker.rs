//! One RabbitMQ node for all tests of a process, with a virtual host for each.

use std::path::PathBuf;

use anyhow::Context;
use crewcall_dev_broker::{DevBroker, DevBrokerError, DevBrokerOptions};
use tokio::sync::{Mutex, OnceCell};

use crate::process::programs;

/// How many test processes may run at once in one target folder.
const FOLDERS_MAX: usize = 16;

/// What is said when a node does not come up: then nothing was tested.
pub const NO_BROKER: &str = "no RabbitMQ node could be started for the tests";

static BROKER: OnceCell<DevBroker> = OnceCell::const_new();

/// How many virtual hosts are added at once: a call of `rabbitmqctl` computes for half a second, whatever it does.
const VHOSTS_AT_ONCE: usize = 16;

static VHOSTS: Mutex<Vhosts> = Mutex::const_new(Vhosts { added: 0, unused: Vec::new() });

/// The virtual hosts of the shared node.
struct Vhosts {
    added: usize,
    unused: Vec<String>,
}

/// A virtual host of a test's own.
#[derive(Clone, Debug)]
pub struct Vhost {
    /// Its name.
    pub name: String,
    /// How to reach it.
    pub url: String,
}

/// The node that all tests of this process share; the first caller starts it. It dies with the process: a static is
/// never dropped, but the node's watchdog notices.
///
/// A test that kills, freezes or alarms the node starts one of its own ([`own_broker`]).
///
/// # Errors
///
/// Why the node could not be started.
pub async fn shared_broker() -> anyhow::Result<&'static DevBroker> {
    BROKER
        .get_or_try_init(|| async {
            for number in 0..FOLDERS_MAX {
                let dir = scratch_folder()?.join(format!("shared-broker-{number}"));
                // Every run begins with an empty node; one that is in use cannot be started, and keeps its files.
                match DevBroker::start(DevBrokerOptions::new(&dir).fresh()).await {
                    Err(DevBrokerError::InUse { .. }) => {}
                    started => return started.context(NO_BROKER),
                }
            }
            anyhow::bail!("{FOLDERS_MAX} test processes are running already")
        })
        .await
}

/// A virtual host on the shared node that nobody uses yet. A test that fails shows its name beside `purpose`.
///
/// # Errors
///
/// Why the node could not be started or virtual hosts not be added.
#[expect(clippy::print_stdout, reason = "a test that fails shows what it printed")]
pub async fn vhost(purpose: &str) -> anyhow::Result<Vhost> {
    let broker = shared_broker().await?;
    let mut vhosts = VHOSTS.lock().await;
    if vhosts.unused.is_empty() {
        let more = vhosts.added..vhosts.added + VHOSTS_AT_ONCE;
        let names: Vec<String> = more.map(|number| format!("test-{number}")).collect();
        broker.add_vhosts(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        vhosts.added += VHOSTS_AT_ONCE;
        vhosts.unused = names;
    }
    let name = vhosts.unused.pop().context("some were just added")?;
    println!("{purpose} has the virtual host {name}");
    let url = broker.url(&name);
    Ok(Vhost { name, url })
}

/// A node for one test, in `dir`.
///
/// # Errors
///
/// Why it could not be started.
pub async fn own_broker(dir: &tempfile::TempDir) -> anyhow::Result<DevBroker> {
    DevBroker::start(DevBrokerOptions::new(dir.path())).await.context(NO_BROKER)
}

/// A folder under the build's target folder, which is nobody's home and is cleaned with it.
fn scratch_folder() -> anyhow::Result<PathBuf> {
    let programs = programs()?;
    let target = programs.parent().context("the programs are in no target folder")?;
    Ok(target.join("tmp").join("e2e"))
}
