//! Keeping what was declared.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{Declaration, LinkError, declaration::execute_all, mutant::mutant, transport::open_channel};

/// How often exchanges and bindings are declared again. Somebody may remove one, and the broker tells nobody; what is
/// sent meanwhile comes back or is dropped. Ten thousand workers with four bindings each make 4 000 a second of it, which
/// RabbitMQ only looks up.
const EVERY: Duration = Duration::from_secs(10);

/// How soon it is tried again when one could not be declared: what it builds on may be declared by somebody else, who looks
/// every ten seconds, too.
const RETRIED_AFTER: Duration = Duration::from_secs(1);

/// How often it is tried so soon: the broker logs every refusal.
const RETRIES_MAX: u32 = 12;

/// Declares exchanges and bindings again and again for as long as a session lasts. Queues need none of it: a consumer
/// whose queue is deleted is told.
pub(crate) async fn keep(
    connection: Arc<lapin::Connection>,
    declarations: Vec<Declaration>,
    limit: Duration,
) -> Infallible {
    let can_vanish = |declaration: &Declaration| {
        matches!(declaration, Declaration::Exchange { .. } | Declaration::Binding { .. })
    };
    let kept: Vec<Declaration> = declarations.into_iter().filter(can_vanish).collect();
    let mut failures = 0_u32;
    loop {
        sleep(if (1..=RETRIES_MAX).contains(&failures) { RETRIED_AFTER } else { EVERY }).await;
        if connection.status().blocked() || mutant("topology_unkept") {
            continue; // it reads nothing from us
        }
        // The session notices by itself what becomes of its connection.
        let Ok(refused) = declare_each(&connection, &kept, limit).await else { continue };
        if failures == 0 {
            for error in &refused {
                tracing::warn!(%error, "What was declared is gone, and cannot be declared again yet; it is tried again and again.");
            }
        }
        failures = if refused.is_empty() { 0 } else { failures.saturating_add(1) };
    }
}

/// Declares one after the other on channels of their own. What the broker refuses is returned, and keeps nothing else
/// from being declared.
///
/// # Errors
///
/// [`LinkError`], when the broker does not answer, or the connection is lost.
pub(crate) async fn declare_each(
    connection: &lapin::Connection,
    declarations: &[Declaration],
    limit: Duration,
) -> Result<Vec<LinkError>, LinkError> {
    let mut refused = Vec::new();
    let mut rest = declarations;
    while !rest.is_empty() {
        let channel = open_channel(connection, limit).await?;
        while let Some((declaration, others)) = rest.split_first() {
            rest = others;
            let declared = timeout(limit, execute_all(&channel, std::slice::from_ref(declaration))).await;
            match declared {
                Ok(Ok(())) => {}
                Ok(Err(error)) if connection.status().connected() => {
                    refused.push(error);
                    break; // the refusal closed the channel
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(LinkError::Timeout { what: declaration.to_string(), after: limit }),
            }
        }
    }
    Ok(refused)
}
