//! How the values of settings are read.

use std::{net::SocketAddr, time::Duration};

use super::LogFormat;
use crate::duration;

/// The longest chain that may be allowed: what is longer is a circle.
const CHAIN_JOBS_MAX_MAX: u32 = 1_000;

/// Reads text of which there has to be some.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("it must not be empty") } else { Ok(text.to_owned()) }
}

/// Reads yes or no.
pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

/// Reads where to listen. A port alone is one of this machine only, and so is `localhost`.
///
/// # Errors
///
/// A sentence that shows the right form.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse::<u16>().ok().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    alone.or_else(|| local.as_deref().unwrap_or(text).parse().ok()).ok_or_else(|| {
        let every = "every address is 0.0.0.0:8080";
        format!("'{text}' is not an address with a port; write it like 127.0.0.1:8080 ({every})")
    })
}

/// Reads how many jobs may make each other.
pub(super) fn chain_jobs_max(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=CHAIN_JOBS_MAX_MAX).contains(number));
    number.ok_or_else(|| format!("'{text}' is not a whole number from 1 to {CHAIN_JOBS_MAX_MAX}"))
}

/// Reads for how long something is kept; `None` is for ever.
pub(super) fn retention(text: &str) -> Result<Option<Duration>, String> {
    if text == "forever" {
        return Ok(None);
    }
    match duration::parse(text) {
        Ok(Duration::ZERO) => {
            Err("jobs would be gone before anybody could see how they ended; write a duration such as 14d, or forever".to_owned())
        }
        Ok(kept) => Ok(Some(kept)),
        Err(reason) => Err(format!("'{text}': {reason}, or forever")),
    }
}

/// Reads how log lines look.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("'{text}' is neither text nor json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        for (written, address) in [
            ("8080", "127.0.0.1:8080"),
            ("localhost:81", "127.0.0.1:81"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(listen_address(written), Ok(address.parse().unwrap()), "{written}");
        }
        for bad in ["", ":8080", "65536", "example.org:80", "localhost", "127.0.0.1"] {
            assert!(listen_address(bad).unwrap_err().contains("127.0.0.1:8080"), "{bad}");
        }
    }
}
