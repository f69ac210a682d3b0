use std::error::Error;

use crate::AddressRefused;

/// Why a request got no answer. A cause is what the libraries say, in one line and without the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// The host's name resolves to nothing that may be connected to.
    AddressRefused(AddressRefused),
    /// There is no such request: its URL or its headers are none.
    CannotBeSent {
        /// What is wrong with it.
        cause: String,
    },
    /// It took longer than it may.
    TimedOut,
    /// No connection came about: the name does not resolve, nobody listens, or TLS failed.
    CannotBeReached {
        /// What happened instead.
        cause: String,
    },
    /// The connection broke, or what came over it was not HTTP.
    ConnectionLost {
        /// What happened to it.
        cause: String,
    },
}

impl From<&reqwest::Error> for RequestFailure {
    fn from(error: &reqwest::Error) -> Self {
        // Only from the first cause on: the error itself names the URL.
        let cause = error.source().map_or_else(|| "no cause given".to_owned(), chain);
        // The order matters: a connection that takes too long is both a timeout and a failed connection.
        if let Some(refused) = refused_address(error) {
            Self::AddressRefused(refused)
        } else if error.is_builder() {
            Self::CannotBeSent { cause }
        } else if error.is_timeout() {
            Self::TimedOut
        } else if error.is_connect() {
            Self::CannotBeReached { cause }
        } else {
            Self::ConnectionLost { cause }
        }
    }
}

/// The refused address among an error's causes, if that was one.
fn refused_address(error: &(dyn Error + 'static)) -> Option<AddressRefused> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref() {
            return Some(*refused);
        }
        cause = error.source();
    }
    None
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
