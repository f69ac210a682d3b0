//! Webhooks, outward and inward: what is sent is signed, and what comes in is checked. No database, no broker and no clock:
//! the time is an argument, in seconds since 1970.
//!
//! Outward, as [Standard Webhooks](https://www.standardwebhooks.com) says:
//!
//! * [`WebhookUrl`]: where a webhook may lead to.
//! * [`SigningSecret`]: what both sides know. [`Signature`]: the headers that go with a message.
//! * [`Deliverer`]: one try, and what came of it ([`Outcome`]). [`next_try`]: when the next one is due.
//!
//! Inward:
//!
//! * [`Verification`]: what a request is checked by: Standard Webhooks, or an HMAC of the body as GitHub and others send it.
//!
//! ```
//! use crewcall_webhooks::{MessageId, Signature, SigningSecret, Verification};
//!
//! let secret = SigningSecret::random();
//! let signature = Signature::new(&MessageId::new("msg_1")?, 1_700_000_000, b"{}", &secret, None);
//!
//! let headers = signature.headers();
//! let verification = Verification::Standard { secrets: vec![secret] };
//! let id = verification.verify(&headers, b"{}", 1_700_000_100)?;
//! assert_eq!(id.as_deref(), Some("msg_1"));
//! assert!(verification.verify(&headers, b"{ }", 1_700_000_100).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

mod limits;

mod secret;

mod signature;
mod verification;

mod delivery;
mod retry;
mod url;

/// The headers of a request, as they are checked.
pub use http::{HeaderMap, HeaderName};

/// Which addresses may be delivered to.
pub use crewcall_outbound_http::AllowedNetworks;
pub use delivery::{Deliverer, Delivery, DeliveryFailure, Outcome};
pub use limits::{
    ALLOW_VARIABLE, ANSWER_BYTES_MAX, CLOCK_DIFFERENCE_SECONDS_MAX, DELIVERY_TIMEOUT, EXCERPT_CHARACTERS_MAX,
    ID_BYTES_MAX, RETRY_AFTER_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SHARED_SECRET_BYTES_MAX,
    SHARED_SECRET_BYTES_MIN, SIGNATURES_MAX, URL_CHARACTERS_MAX,
};
pub use retry::{RETRY_DELAYS, next_try};
pub use secret::{InvalidSecret, InvalidSharedSecret, SharedSecret, SigningSecret};
pub use signature::{InvalidMessageId, MessageId, Signature};
pub use url::{InvalidUrl, WebhookUrl};
pub use verification::{SignatureEncoding, Verification, VerificationError};
