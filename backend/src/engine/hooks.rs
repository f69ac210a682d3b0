//! Hooks as people see them, and what their requests are checked by.

use std::sync::Arc;

use crewcall_proto::Timestamp;
use crewcall_webhooks::{HeaderName, SharedSecret, SignatureEncoding, SigningSecret, Verification};

use super::Engine;
use crate::domain::{
    Hook, HookName, Problem,
    hook::{BodySignature, HookCheck, HookSecret, SignatureForm},
};

/// The longest name of a header, in characters. The longest that is known has thirty.
pub const HEADER_CHARACTERS_MAX: usize = 100;

/// The longest prefix of a signature, in characters: `sha256=` has seven.
pub const PREFIX_CHARACTERS_MAX: usize = 64;

/// A hook as it is now, without its secret.
#[derive(Debug, Clone)]
pub struct HookView {
    pub hook: Arc<Hook>,
    /// By which people tell its secret from another one. None for a secret that people may have chosen themselves: of a word,
    /// its hash would tell the rest.
    pub fingerprint: Option<String>,
    /// That of the secret before it, and until when that is accepted, if it still is.
    pub retiring: Option<(String, Timestamp)>,
}

impl Engine {
    /// All hooks, by name.
    #[must_use]
    pub fn hook_views(&self) -> Vec<HookView> {
        self.store.hooks().into_iter().map(|hook| self.seen(hook)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn hook_view(&self, name: &HookName) -> Option<HookView> {
        self.store.hook(name).map(|hook| self.seen(hook))
    }

    fn seen(&self, hook: Arc<Hook>) -> HookView {
        let fingerprint = |secret: &HookSecret| match hook.check {
            HookCheck::Standard => SigningSecret::parse(secret.reveal()).ok().map(|key| key.fingerprint()),
            HookCheck::HmacSha256(_) => None,
        };
        let retiring = hook.retiring_at(self.clock.now());
        let retiring = retiring.and_then(|old| Some((fingerprint(&old.secret)?, old.until)));
        HookView { fingerprint: fingerprint(&hook.secret), retiring, hook }
    }
}

/// What requests are checked by: in this way, with any of these secrets.
///
/// # Errors
///
/// Every problem of what was set.
pub(super) fn verification<'a>(
    check: &HookCheck,
    mut secrets: impl Iterator<Item = &'a HookSecret>,
) -> Result<Verification, Vec<Problem>> {
    match check {
        HookCheck::Standard => {
            let parsed = secrets.map(|secret| SigningSecret::parse(secret.reveal()));
            let secrets = parsed.collect::<Result<_, _>>();
            let wrong = |error| vec![Problem::new("/verify/standard/secret", format!("{error}"))];
            Ok(Verification::Standard { secrets: secrets.map_err(wrong)? })
        }
        HookCheck::HmacSha256(signature) => {
            let mut problems = Vec::new();
            let secret = secrets.next().map(|secret| SharedSecret::new(secret.reveal()));
            if let Some(Err(error)) = &secret {
                problems.push(Problem::new("/verify/hmac_sha256/secret", error.to_string()));
            }
            let verification = body_verification(signature, &mut problems);
            match (secret, verification) {
                (Some(Ok(secret)), Some(verification)) if problems.is_empty() => Ok(verification(secret)),
                _ => Err(problems),
            }
        }
    }
}

/// What is wrong with how a signature of a body is said to stand in a request.
pub(super) fn problems_of(signature: &BodySignature) -> Vec<Problem> {
    let mut problems = Vec::new();
    body_verification(signature, &mut problems);
    problems
}

/// The check, but for its secret.
fn body_verification(
    signature: &BodySignature,
    problems: &mut Vec<Problem>,
) -> Option<impl FnOnce(SharedSecret) -> Verification + use<>> {
    let BodySignature { header, prefix, encoding, delivery_id_header } = signature;
    let header = header_name(header, "/verify/hmac_sha256/header", problems);
    let delivery_id_header = delivery_id_header
        .as_ref()
        .map(|name| header_name(name, "/verify/hmac_sha256/delivery_id_header", problems));
    if prefix.chars().count() > PREFIX_CHARACTERS_MAX || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "a prefix is up to {PREFIX_CHARACTERS_MAX} visible ASCII characters, such as \"sha256=\""
        );
        problems.push(Problem::new("/verify/hmac_sha256/prefix", message));
    }
    let encoding = match encoding {
        SignatureForm::Hex => SignatureEncoding::Hex,
        SignatureForm::Base64 => SignatureEncoding::Base64,
    };
    let delivery_id_header = match delivery_id_header {
        Some(name) => Some(name?),
        None => None,
    };
    let (header, prefix) = (header?, prefix.clone());
    Some(move |secret| Verification::HmacSha256 { header, secret, prefix, encoding, delivery_id_header })
}

fn header_name(name: &str, pointer: &str, problems: &mut Vec<Problem>) -> Option<HeaderName> {
    let read = HeaderName::from_bytes(name.as_bytes()).ok();
    let read = read.filter(|name| name.as_str().len() <= HEADER_CHARACTERS_MAX);
    if read.is_none() {
        let message = format!(
            "it is the name of a header, of up to {HEADER_CHARACTERS_MAX} characters, such as \"X-Hub-Signature-256\""
        );
        problems.push(Problem::new(pointer, message));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let signature = BodySignature {
            header: "two words".to_owned(),
            prefix: "sha256 ".to_owned(),
            encoding: SignatureForm::Hex,
            delivery_id_header: Some("x".repeat(HEADER_CHARACTERS_MAX + 1)),
        };
        let check = HookCheck::HmacSha256(signature.clone());
        let problems = verification(&check, [HookSecret::new("short")].iter()).unwrap_err();
        let pointers: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
        let expected = ["secret", "header", "delivery_id_header", "prefix"];
        assert_eq!(pointers, expected.map(|field| format!("/verify/hmac_sha256/{field}")));
        assert_eq!(problems_of(&signature).len(), 3);
        let problems = verification(&HookCheck::Standard, [HookSecret::new("whsec_c2hvcnQ")].iter());
        assert_eq!(problems.unwrap_err()[0].message, "the secret has 5 bytes; it must have 24 to 64");
    }
}
