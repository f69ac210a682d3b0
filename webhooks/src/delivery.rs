use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use crewcall_outbound_http::{AllowedNetworks, GuardedClient, RequestFailure, TlsUnavailable};
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER},
};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::{
    MessageId, Signature, SigningSecret, WebhookUrl,
    limits::{ANSWER_BYTES_MAX, EXCERPT_CHARACTERS_MAX, LOCATION_CHARACTERS_MAX, RETRY_AFTER_MAX},
    url::refused_sentence,
};

/// What receivers see as the sender.
const USER_AGENT: &str = concat!("crewcall/", env!("CARGO_PKG_VERSION"));

/// Sends messages to receivers. Holds the open connections; cheap to clone.
///
/// An answer's headers are limited by the HTTP library: one with more than 100, or with more than some 400 KiB of them, is
/// a failure.
#[derive(Clone, Debug)]
pub struct Deliverer {
    client: GuardedClient,
    timeout: Duration,
}

/// One try to deliver a message.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// Where to.
    pub url: &'a WebhookUrl,
    /// The same at every try.
    pub id: &'a MessageId,
    /// The time of this try by our clock, in seconds since 1970. Receivers refuse what is too far from theirs.
    pub timestamp: i64,
    /// The message as JSON, byte for byte as it is signed.
    pub body: Bytes,
    /// What the receiver checks it by.
    pub secret: &'a SigningSecret,
    /// The secret that receivers may still check it by, while it is rotated.
    pub retiring: Option<&'a SigningSecret>,
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it. What it says beyond its status is not read.
    Delivered {
        /// Its status: 200 to 299.
        status: u16,
        /// How long it took, up to the status.
        took: Duration,
    },
    /// The receiver wants no more messages, ever (410): the webhook is to be disabled.
    Gone,
    /// The receiver does not have it, or does not say that it has. It may have got it all the same.
    Failed(DeliveryFailure),
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// A sentence for people without a full stop. Neither the webhook's URL nor anybody's query is in it.
    pub reason: String,
    /// The receiver's status, if it answered.
    pub status: Option<u16>,
    /// How long the receiver asks to be left alone, at most 24 hours.
    pub retry_after: Option<Duration>,
    /// Whether it will fail again until somebody changes the webhook or a setting. What a receiver answers never is: people mend
    /// their receivers.
    pub permanent: bool,
    /// How the body of the answer begins: at most 512 characters of whatever the receiver sent, control characters and all.
    pub excerpt: Option<String>,
}

impl Deliverer {
    /// What sends to the public internet, and to what is `allowed` besides. Each delivery takes at most `timeout`: in an
    /// installation [`DELIVERY_TIMEOUT`](crate::DELIVERY_TIMEOUT).
    ///
    /// # Errors
    ///
    /// When this host has no certificate authorities, or TLS cannot be set up.
    pub fn new(allowed: AllowedNetworks, timeout: Duration) -> Result<Self, TlsUnavailable> {
        Ok(Self { client: GuardedClient::new(USER_AGENT, allowed)?, timeout })
    }

    /// Signs the message and sends it, once. Redirects are not followed. When the future is dropped, the connection is;
    /// the receiver may have got the message.
    pub async fn deliver(&self, delivery: Delivery<'_>) -> Outcome {
        let began = Instant::now();
        let deadline = began + self.timeout;
        let mut response = match timeout_at(deadline, self.send(&delivery)).await {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => return Outcome::Failed(failure),
            Err(_elapsed) => {
                let seconds = self.timeout.as_secs_f64();
                return failed(format!("the receiver did not answer within {seconds} s"), false);
            }
        };
        let status = response.status();
        if status.is_success() {
            return Outcome::Delivered { status: status.as_u16(), took: began.elapsed() };
        }
        if status == StatusCode::GONE {
            return Outcome::Gone;
        }
        let mut beginning = Vec::new();
        // However the answer goes on, its status is known: what there is of it will do.
        let _cut_short = timeout_at(deadline, read_beginning(&mut response, &mut beginning)).await;
        Outcome::Failed(DeliveryFailure {
            reason: explain_status(&response),
            status: Some(status.as_u16()),
            retry_after: retry_after(response.headers(), delivery.timestamp),
            permanent: false,
            excerpt: excerpt(&beginning),
        })
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Response, DeliveryFailure> {
        let Delivery { url, id, timestamp, body, secret, retiring } = delivery;
        let signature = Signature::new(id, *timestamp, body, secret, *retiring);
        let request = self
            .client
            .request(Method::POST, url.as_url().clone())
            .map_err(|refused| failure(refused_sentence(&refused), true))?
            .header(CONTENT_TYPE, "application/json")
            .headers(signature.headers())
            .body(body.clone());
        request.send().await.map_err(|error| explain(RequestFailure::from(&error)))
    }
}

/// Why there is no answer, and whether there will never be one.
fn explain(why: RequestFailure) -> DeliveryFailure {
    match why {
        RequestFailure::AddressRefused(refused) => failure(refused_sentence(&refused), true),
        RequestFailure::CannotBeSent { cause } => failure(format!("the URL cannot be used: {cause}"), true),
        // Of the system's network: what this delivery may take is measured elsewhere.
        RequestFailure::TimedOut => failure("the connection to the receiver timed out".to_owned(), false),
        RequestFailure::CannotBeReached { cause } => {
            failure(format!("the receiver cannot be reached: {cause}"), false)
        }
        RequestFailure::ConnectionLost { cause } => {
            failure(format!("the connection to the receiver broke: {cause}"), false)
        }
    }
}

fn explain_status(response: &Response) -> String {
    let status = response.status();
    if !status.is_redirection() {
        return format!("the receiver answered {status}");
    }
    match response
        .headers()
        .get(LOCATION)
        .and_then(|location| shown_target(response.url(), location.to_str().ok()?))
    {
        Some(target) => format!(
            "the receiver answered {status} and points to {target}: redirects are not followed, give the webhook its new URL"
        ),
        None => format!(
            "the receiver answered {status}: redirects are not followed, give the webhook its new URL"
        ),
    }
}

/// Where a redirect leads to, without what may be secret in it.
fn shown_target(from: &Url, location: &str) -> Option<String> {
    let mut target = from.join(location).ok()?;
    target.set_query(None);
    target.set_fragment(None);
    // These fail for what has no host, and so neither of the two.
    let _no_host = (target.set_username(""), target.set_password(None));
    Some(target.as_str().chars().take(LOCATION_CHARACTERS_MAX).collect())
}

/// Reads as much as is of use; the connection is dropped with the response.
async fn read_beginning(response: &mut Response, beginning: &mut Vec<u8>) {
    while beginning.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        let room = ANSWER_BYTES_MAX - beginning.len();
        beginning.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
}

fn excerpt(beginning: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(beginning).chars().take(EXCERPT_CHARACTERS_MAX).collect();
    (!text.is_empty()).then_some(text)
}

/// The wait that a receiver asks for, in seconds or until a date. A date is held against the receiver's own clock if it
/// shows it, since two clocks need not agree.
fn retry_after(headers: &HeaderMap, now: i64) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match asked.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(asked).ok()?;
            let theirs =
                headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
            let ours = UNIX_EPOCH.checked_add(Duration::from_secs(now.try_into().unwrap_or_default()))?;
            // A date that is over asks for nothing.
            until.duration_since(theirs.unwrap_or(ours)).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn failed(reason: String, permanent: bool) -> Outcome {
    Outcome::Failed(failure(reason, permanent))
}

fn failure(reason: String, permanent: bool) -> DeliveryFailure {
    DeliveryFailure { reason, status: None, retry_after: None, permanent, excerpt: None }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Fri, 15 May 2015 15:34:21 GMT
    const NOW: i64 = 1_431_704_061;

    fn asked(named: &[(http::HeaderName, &'static str)]) -> Option<Duration> {
        let header = |(name, value): &(http::HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        retry_after(&named.iter().map(header).collect(), NOW)
    }

    #[test]
    fn a_receiver_asks_for_a_wait_in_seconds_or_until_a_date() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[(RETRY_AFTER, " 120 ")]), seconds(120));
        assert_eq!(asked(&[(RETRY_AFTER, "Fri, 15 May 2015 15:36:21 GMT")]), seconds(120));
        assert_eq!(asked(&[(RETRY_AFTER, "Friday, 15-May-15 15:36:21 GMT")]), seconds(120), "as of old");
        assert_eq!(
            asked(&[(RETRY_AFTER, "Fri, 15 May 2015 15:34:20 GMT")]),
            seconds(0),
            "a date that is over"
        );
        let by_its_clock =
            [(RETRY_AFTER, "Fri, 15 May 2015 18:00:30 GMT"), (DATE, "Fri, 15 May 2015 18:00:00 GMT")];
        assert_eq!(asked(&by_its_clock), seconds(30));
        assert_eq!(asked(&[(RETRY_AFTER, "99999999")]), Some(RETRY_AFTER_MAX));
        assert_eq!(asked(&[(RETRY_AFTER, "Fri, 31 Dec 9999 23:59:59 GMT")]), Some(RETRY_AFTER_MAX));
        for nonsense in ["soon", "-1", "1.5", "", "Fri, 99 May 2015 15:36:21 GMT"] {
            assert_eq!(asked(&[(RETRY_AFTER, nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn a_redirects_target_is_shown_without_what_may_be_secret() {
        let shown = |location| shown_target(&Url::parse("https://old.example/in?key=1").unwrap(), location);
        assert_eq!(shown("https://a:b@new.example/in?key=2#x").as_deref(), Some("https://new.example/in"));
        assert_eq!(shown("/there?key=2").as_deref(), Some("https://old.example/there"));
        assert_eq!(shown("mailto:someone@example").as_deref(), Some("mailto:someone@example"));
        assert_eq!(shown("https://[").as_deref(), None);
        assert_eq!(shown(&format!("/{}", "x".repeat(1000))).unwrap().len(), LOCATION_CHARACTERS_MAX);
    }

    #[test]
    fn an_excerpt_is_512_characters_of_text() {
        assert_eq!(excerpt(b""), None);
        assert_eq!(excerpt("grüße".as_bytes()).as_deref(), Some("grüße"));
        assert_eq!(excerpt("ü".repeat(600).as_bytes()).unwrap().chars().count(), 512);
        assert_eq!(excerpt(&[0xFF, b'x']).as_deref(), Some("\u{FFFD}x"));
    }
}
