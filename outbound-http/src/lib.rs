//! HTTP requests to servers that somebody else names: whom a program may connect to, and a client that keeps to it.
//!
//! * [`AllowedNetworks`]: the public internet, and what an operator opens besides. Which variable opens it is the business
//!   of the program, which adds its name to what [`NotANetwork`] and [`AddressRefused`] say.
//! * [`GuardedClient`]: connects to nobody else, whatever a name resolves to, and follows no redirect by itself.
//! * [`RequestFailure`]: why there was no answer, told apart. It never holds a URL, which may carry a secret.
//!
//! ```
//! use crewcall_outbound_http::AllowedNetworks;
//!
//! let allowed: AllowedNetworks = "10.0.0.0/8".parse()?;
//! assert!(allowed.check([10, 1, 2, 3].into()).is_ok());
//! let refused = allowed.check([127, 0, 0, 1].into()).unwrap_err();
//! assert_eq!(
//!     refused.opened_by("a worker", "CREWCALL_HTTP_ALLOW"),
//!     "127.0.0.1 is not an address of the public internet; a worker with CREWCALL_HTTP_ALLOW=127.0.0.1 would connect to it"
//! );
//! # Ok::<(), crewcall_outbound_http::NotANetwork>(())
//! ```

#![deny(missing_docs)]

mod client;
mod failure;
mod resolver;

mod networks;

pub use client::{GuardedClient, TlsUnavailable};
pub use failure::RequestFailure;
pub use networks::{AddressRefused, AllowedNetworks, NotANetwork};
