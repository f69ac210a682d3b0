//! One RabbitMQ node for all tests of a process, with a virtual host for each.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Context;
use crewcall_dev_broker::{DevBroker, DevBrokerError, DevBrokerOptions};
use tokio::sync::OnceCell;

use crate::process::programs;

/// How many test processes may run at once in one target folder.
const FOLDERS_MAX: usize = 16;

/// What is said when a node does not come up: then nothing was tested.
pub const NO_BROKER: &str = "no RabbitMQ node could be started for the tests";

static BROKER: OnceCell<DevBroker> = OnceCell::const_new();

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

/// A new virtual host on the shared node; `purpose` is part of its name.
///
/// # Errors
///
/// Why the node could not be started or the virtual host not be added.
pub async fn vhost(purpose: &str) -> anyhow::Result<Vhost> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let broker = shared_broker().await?;
    let name = format!("{purpose}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    broker.add_vhosts(&[&name]).await?;
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
