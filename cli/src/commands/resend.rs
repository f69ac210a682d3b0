//! Sending a request again while the backend is away. Only for those that can be sent twice without being done twice.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::sleep;

use crate::{client::ClientError, output::print_message};

/// How long a request is sent again: longer than a restart of the backend takes.
pub(super) const RESEND_MAX: Duration = Duration::from_secs(30);
/// The first pause before it is sent again.
const RESEND_PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause before it is sent again.
const RESEND_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Sends a request until it is answered or `at_most` is over, and says so once: "submitting" it again.
///
/// # Errors
///
/// What it was answered at last.
pub(super) async fn send_again<T, F: Future<Output = Result<T, ClientError>>>(
    send: impl FnMut() -> F,
    at_most: Duration,
    what: &str,
) -> Result<T, ClientError> {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(RESEND_PAUSE_MIN)
        .with_max_delay(RESEND_PAUSE_MAX)
        .with_total_delay(Some(at_most))
        .without_max_times()
        .with_jitter();
    let mut is_told = false;
    send.retry(pauses)
        .sleep(sleep)
        .when(ClientError::is_retryable)
        .notify(|error, _| {
            if !is_told {
                print_message(&format!("{error}\n{what} again, for at most {} s …", at_most.as_secs()));
                is_told = true;
            }
        })
        .await
}
