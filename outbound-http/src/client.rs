use reqwest::{Client, Method, RequestBuilder, Url, redirect::Policy};

use crate::{AddressRefused, AllowedNetworks, failure::chain, resolver::CheckingResolver};

/// Sends requests to the public internet, and to what is allowed besides. Holds the open connections; cheap to clone.
///
/// A proxy that the environment names is used only if everything is allowed, since it is the proxy that connects then.
#[derive(Clone, Debug)]
pub struct GuardedClient {
    client: Client,
    allowed: AllowedNetworks,
}

/// TLS cannot be set up: this host has no certificate authorities. The text is a sentence for whoever started the
/// program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be set up: {cause}; install the package ca-certificates")]
pub struct TlsUnavailable {
    cause: String,
}

impl GuardedClient {
    /// A client that trusts the host's certificate authorities, and says that it is `user_agent`. It follows no redirect
    /// and has no time limit of its own: both are for whoever sends a request.
    ///
    /// # Errors
    ///
    /// When this host has no authorities, or TLS cannot be set up.
    pub fn new(user_agent: &str, allowed: AllowedNetworks) -> Result<Self, TlsUnavailable> {
        // Fails only if somebody already chose a provider for this process, which is as good.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(user_agent)
            // Whoever follows a redirect looks at it first: a policy could not take headers away.
            .redirect(Policy::none())
            // A URL may carry a secret in its query, which is nobody else's business.
            .referer(false)
            .dns_resolver(CheckingResolver { allowed: allowed.clone() });
        if !allowed.is_everything() {
            // With a proxy it is the proxy that connects, to wherever it likes.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| TlsUnavailable { cause: chain(&error) })?;
        Ok(Self { client, allowed })
    }

    /// Begins a request. Names are looked at when they are resolved, at the moment of connecting; an address is not
    /// resolved, so it is looked at here.
    ///
    /// # Errors
    ///
    /// When the URL names an address that may not be connected to.
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, AddressRefused> {
        self.allowed.check_literal(&url)?;
        Ok(self.client.request(method, url))
    }
}
