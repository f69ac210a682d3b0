//! Whose the names on the broker are. Two installations on one prefix would take each other's results for those of
//! jobs that nobody knows, and acknowledge them away.

use std::time::Duration;

use crewcall_amqp::{LinkConfig, LinkError, LinkState, Publisher, PublisherOptions};
use crewcall_proto::Topology;
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::topology;

/// How long a start waits for the broker to say whose the names are. Without a word it goes on: no link reads or writes
/// anything before it has claimed them.
const CLAIM_MAX: Duration = Duration::from_secs(3);

/// Claims the names for this installation, if the broker is there. `false` when they are another's.
pub(crate) async fn claim(amqp_url: &str, names: &Topology, installation: &str) -> bool {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let publisher = Publisher::start(
        LinkConfig::new(amqp_url, "crewcall-backend claim"),
        vec![topology::claim(names, installation)],
        PublisherOptions::default(),
        &stop,
        &tracker,
    );
    let said = |state: &LinkState| {
        !matches!(state, LinkState::Connecting { last_error: None, .. }) // connected, or a first attempt failed
    };
    let mut state = publisher.state();
    // Without a word in time, the link goes on, and `taken` tells later.
    let _ = timeout(CLAIM_MAX, state.wait_for(said)).await.map(|said| said.map(drop));
    let ours = !is_taken(&state.borrow(), names, installation);
    publisher.close().await;
    ours
}

/// Resolves when a link finds that the names are another's.
pub(super) async fn taken(mut link: watch::Receiver<LinkState>, names: &Topology, installation: &str) {
    if link.wait_for(|state| is_taken(state, names, installation)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn is_taken(state: &LinkState, names: &Topology, installation: &str) -> bool {
    let claim = topology::claim(names, installation).to_string();
    matches!(
        state,
        LinkState::Connecting { last_error: Some(LinkError::PreconditionFailed { what, .. }), .. } if *what == claim
    )
}
