//! Who is let in. There is no authentication yet, and a browser runs the pages of strangers: on a machine where one
//! is open, "only this machine can connect" keeps nobody out. Decision 0023 says more.
//!
//! * A stranger's name that suddenly resolves to us (DNS rebinding) makes their page one of ours to the browser. So a
//!   request has to ask for us by an address, by `localhost`, or by a name that the operator gave us.
//! * A page may send simple requests to anybody, and only not read the answers. So what changes something must not
//!   come from a page of another site, and no answer allows another site to read it.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, Uri, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use url::Url;

use super::{
    HttpState,
    problem::{Problem, ProblemCode},
};
use crate::domain::excerpt;

/// The name that every machine has for itself. Nobody else can own it (RFC 6761, section 6.3).
const LOCALHOST: &str = "localhost";

/// The longest name that DNS knows, in characters (RFC 1035, section 3.1).
const NAME_LENGTH_MAX: usize = 253;

/// The longest part of one.
const LABEL_LENGTH_MAX: usize = 63;

/// Where a browser says whose page asks.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// By which names the backend may be asked for, beside every address and `localhost`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpHosts(BTreeSet<String>);

/// A text that is not a list of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a host: give names such as crewcall.example.org, with commas between them and without scheme, port or *. Addresses and localhost need no entry"
)]
pub struct InvalidHost(String);

impl FromStr for HttpHosts {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let read = |name: &str| match plain(name) {
            plain if is_name(&plain) => Ok(plain),
            _ => Err(InvalidHost(name.to_owned())),
        };
        names.map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl HttpHosts {
    /// Whether a request may ask for this host.
    fn allow(&self, host: &str) -> bool {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_address = match literal {
            Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
            None => host.parse::<Ipv4Addr>().is_ok(),
        };
        let name = plain(host);
        is_address || name == LOCALHOST || self.0.contains(&name)
    }
}

/// A name in the one form that is compared: in small letters, and without the dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_LENGTH_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= NAME_LENGTH_MAX && name.split('.').all(is_label)
}

/// Lets a request through, or says why not.
pub(super) async fn guard(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let host = host_header(request.headers())?;
    // Who sends the whole address means that host (RFC 9112, section 3.2.2); both must be ours.
    for asked in request.uri().authority().into_iter().chain([&host]) {
        if !state.hosts.allow(asked.host()) {
            return Err(not_allowed(asked.host()));
        }
    }
    if is_preflight(&request) || (changes(request.method()) && is_foreign(request.headers(), &host)) {
        return Err(cross_site(request.uri()));
    }
    Ok(next.run(request).await)
}

/// The host that the request asks for: there has to be one, once (RFC 9112, section 3.2).
fn host_header(headers: &HeaderMap) -> Result<Authority, Problem> {
    let invalid = |detail: &str| Problem::new(ProblemCode::InvalidHost, detail);
    let mut values = headers.get_all(header::HOST).iter();
    let value = values.next().ok_or_else(|| invalid("the request has no header Host"))?;
    if values.next().is_some() {
        return Err(invalid("the header Host is given more than once"));
    }
    let host = Authority::try_from(value.as_bytes()).ok().filter(is_host);
    host.ok_or_else(|| invalid("the header Host is not a host with an optional port"))
}

/// Whether it is what may stand in the header Host: an authority may also name a user.
fn is_host(authority: &Authority) -> bool {
    let after = authority.as_str().strip_prefix(authority.host());
    let port = after.map(|after| after.strip_prefix(':').unwrap_or(after));
    port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok()) && !authority.host().is_empty()
}

/// Whether a browser asks if a page of another site may send something. Nothing else sends this.
fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether a request of this method may change something.
pub(super) fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a page of another site sent the request. Browsers say so; programs have nothing to say. Only where the
/// address is trustworthy (HTTPS, loopback) they say it in a word, otherwise by the origin of the page.
fn is_foreign(headers: &HeaderMap, host: &Authority) -> bool {
    if headers.contains_key(SEC_FETCH_SITE) {
        let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
        return !sites.all(|site| site == "same-origin" || site == "none");
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    !origins.all(|origin| origin.to_str().is_ok_and(|origin| is_ours(origin, host)))
}

/// Whether pages of this origin come from us: the same host and port. A proxy may end TLS in front of us, so the
/// scheme is the page's.
fn is_ours(origin: &str, host: &Authority) -> bool {
    let Ok(page) = Url::parse(origin) else { return false };
    let Ok(own) = Url::parse(&format!("{}://{host}", page.scheme())) else { return false };
    matches!(page.scheme(), "http" | "https") && page.origin() == own.origin()
}

fn not_allowed(host: &str) -> Problem {
    let detail = format!(
        "this backend does not answer to the name {:?}: ask for it by its IP address or by localhost, or add the name to its setting --http-hosts",
        excerpt(host)
    );
    Problem::new(ProblemCode::HostNotAllowed, detail)
}

fn cross_site(uri: &Uri) -> Problem {
    let detail = format!("a page of another site cannot change anything here (path {})", excerpt(uri.path()));
    Problem::new(ProblemCode::CrossSite, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_hosts_has_names_only() {
        let hosts: HttpHosts = " crewcall.example.org., Jobs-2.internal,,my_host".parse().unwrap();
        for host in ["CREWCALL.example.org", "jobs-2.internal.", "my_host", "127.0.0.1", "[::1]", "localhost"]
        {
            assert!(hosts.allow(host), "{host}");
        }
        for host in ["example.org", "evil.example", "", ".", "1.2.3", "::1"] {
            assert!(!hosts.allow(host), "{host}");
        }
        assert_eq!("".parse(), Ok(HttpHosts::default()));
        let long = format!("{}.example", "x".repeat(64));
        for text in ["*", "*.example.org", "http://a", "a:8080", "a b", "a..b", "ä.example", &long] {
            assert!(text.parse::<HttpHosts>().is_err(), "{text}");
        }
    }
}
