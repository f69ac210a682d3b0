use std::fmt;

use crewcall_outbound_http::{AddressRefused, AllowedNetworks};
use url::Url;

use crate::limits::{ALLOW_VARIABLE, URL_CHARACTERS_MAX};

/// Where a webhook leads to: an absolute URL of http or https, without a user's name, a password or a fragment, of at most
/// 2,048 characters. `Debug` shows its origin only: its path and its query may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why a text is no URL of a webhook. Nothing of the text is in it, but an address that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is relative, or no URL.
    #[error("the URL must be absolute and start with http:// or https://")]
    NotAbsolute,
    /// It is too long, as it was given or as it would be sent.
    #[error("the URL has {characters} characters, more than {URL_CHARACTERS_MAX}")]
    TooLong {
        /// How many characters it has.
        characters: usize,
    },
    /// It has a name or a password in front of its host, which every log would show.
    #[error("the URL must not contain a user's name or a password: what is sent is signed instead")]
    Credentials,
    /// It has a part that is never sent.
    #[error("the URL must not have a fragment (#…): it would not be sent")]
    Fragment,
    /// Its host is an address that may not be connected to.
    #[error("{}", refused_sentence(.0))]
    AddressRefused(AddressRefused),
}

impl WebhookUrl {
    /// Reads a URL. Whether it may be connected to is another question: [`check_address`](Self::check_address).
    ///
    /// # Errors
    ///
    /// When a webhook cannot have it.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        check_length(text)?;
        let url = Url::parse(text).map_err(|_| InvalidUrl::NotAbsolute)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(InvalidUrl::NotAbsolute);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidUrl::Credentials);
        }
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        // What is not ASCII is longer when it is sent.
        check_length(url.as_str())?;
        Ok(Self(url))
    }

    /// Whether the host may be connected to, as far as its text tells: an address that is not allowed is refused here, so
    /// that whoever makes the webhook learns of it. What a name resolves to is seen at each delivery.
    ///
    /// # Errors
    ///
    /// When the host is an address that is not allowed.
    pub fn check_address(&self, allowed: &AllowedNetworks) -> Result<(), InvalidUrl> {
        allowed.check_literal(&self.0).map_err(InvalidUrl::AddressRefused)
    }

    /// Whether what is sent cannot be read on its way: it goes over TLS, or into a network that an operator opened. Of a name over
    /// plain HTTP nobody knows where it leads to; it counts as such a network if there is one.
    #[must_use]
    pub fn is_protected(&self, allowed: &AllowedNetworks) -> bool {
        self.0.scheme() == "https" || allowed.opens(&self.0)
    }

    /// The URL as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) const fn as_url(&self) -> &Url {
        &self.0
    }
}

/// What is said of an address that may not be connected to.
pub(crate) fn refused_sentence(refused: &AddressRefused) -> String {
    refused.opened_by("a backend", ALLOW_VARIABLE)
}

fn check_length(text: &str) -> Result<(), InvalidUrl> {
    let characters = text.chars().count();
    if characters > URL_CHARACTERS_MAX { Err(InvalidUrl::TooLong { characters }) } else { Ok(()) }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({})", self.0.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> InvalidUrl {
        WebhookUrl::parse(text).unwrap_err()
    }

    #[test]
    fn a_webhook_leads_to_http_or_https() {
        for (text, sent) in [
            ("https://hooks.example/in?key=1", "https://hooks.example/in?key=1"),
            ("HTTP://Hooks.Example:8080", "http://hooks.example:8080/"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ] {
            assert_eq!(WebhookUrl::parse(text).unwrap().as_str(), sent);
        }
        for text in
            ["", "/in", "hooks.example", "ftp://hooks.example", "file:///etc/passwd", "mailto:a@b", "http://"]
        {
            assert_eq!(refused(text), InvalidUrl::NotAbsolute, "{text}");
        }
    }

    #[test]
    fn it_has_neither_credentials_nor_a_fragment() {
        for text in [
            "https://user@hooks.example/",
            "https://user:secret@hooks.example/",
            "https://:secret@hooks.example/",
        ] {
            assert_eq!(refused(text), InvalidUrl::Credentials, "{text}");
        }
        assert_eq!(refused("https://hooks.example/#here"), InvalidUrl::Fragment);
        let shown =
            format!("{:?}", WebhookUrl::parse("https://hooks.example:444/secret?key=secret").unwrap());
        assert_eq!(shown, "WebhookUrl(https://hooks.example:444)");
    }

    #[test]
    fn it_has_at_most_2048_characters_as_it_is_sent() {
        let start = "https://hooks.example/";
        let of = |character: &str, characters: usize| {
            format!("{start}{}", character.repeat(characters - start.len()))
        };
        assert!(WebhookUrl::parse(&of("x", 2048)).is_ok());
        assert_eq!(refused(&of("x", 2049)), InvalidUrl::TooLong { characters: 2049 });
        let sent = start.len() + 6 * (1000 - start.len());
        assert_eq!(refused(&of("ü", 1000)), InvalidUrl::TooLong { characters: sent });
    }

    #[test]
    fn plain_http_leads_into_networks_that_were_opened() {
        let check =
            |text: &str, allow: &str| WebhookUrl::parse(text).unwrap().is_protected(&allow.parse().unwrap());
        assert!(check("https://hooks.example/", ""));
        assert!(!check("http://hooks.example/", "") && !check("http://1.1.1.1/", ""));
        assert!(check("http://10.1.2.3/", "10.0.0.0/8") && check("http://erp/", "10.0.0.0/8"));
        assert!(!check("http://1.1.1.1/", "10.0.0.0/8"), "that is elsewhere");
        assert!(check("http://1.1.1.1/", "*") && check("http://1.1.1.1/", "1.1.1.0/24"));
    }

    #[test]
    fn an_address_of_our_own_network_is_refused_at_once_unless_it_is_opened() {
        let check =
            |text: &str, allow: &str| WebhookUrl::parse(text).unwrap().check_address(&allow.parse().unwrap());
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data/",
        ] {
            let error = check(text, "").unwrap_err().to_string();
            assert!(
                error.contains(
                    " is not an address of the public internet; a backend with CREWCALL_WEBHOOK_ALLOW="
                ),
                "{error}"
            );
            assert!(check(text, "*").is_ok(), "{text}");
        }
        assert!(check("http://127.0.0.1/", "127.0.0.0/8").is_ok());
        assert!(check("http://1.1.1.1/", "").is_ok());
        assert!(check("http://localhost/", "").is_ok(), "what a name is shows when it is resolved");
    }
}
