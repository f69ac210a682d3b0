//! Hooks as the API shows them.

use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::{
    domain::{
        PublishedEvent, Subject,
        hook::{BodySignature, HookCheck},
    },
    engine::HookView,
};

/// How a hook is to verify its requests: in one of the two ways. Any other field is refused by name.
// Only describes the request: `hook_settings` reads it, so that every problem is told at once.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewHook {
    verify: NewHookCheck,
}

/// One of these.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewHookCheck {
    /// By [Standard Webhooks](https://www.standardwebhooks.com).
    standard: Option<NewStandardCheck>,
    /// By an HMAC-SHA256 of the body in a header, as GitHub and others send it.
    hmac_sha256: Option<NewBodyCheck>,
}

/// Standard Webhooks: the id, the time and the body are signed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewStandardCheck {
    /// `whsec_` and the base64 of 24 to 64 bytes. Left out, the hook keeps the one that it has, or one is made.
    secret: Option<String>,
}

/// An HMAC-SHA256 of the body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the request; never made as a value")]
pub(crate) struct NewBodyCheck {
    /// The header with the signature.
    #[schema(example = "X-Hub-Signature-256", max_length = 100)]
    header: String,
    /// What the sender signs with: 8 to 256 bytes. Left out, the hook keeps the one that it has.
    secret: Option<String>,
    /// What stands before the signature, if anything does.
    #[schema(example = "sha256=", max_length = 64)]
    prefix: Option<String>,
    /// How the signature is written: `hex` or `base64`.
    #[schema(default = "hex")]
    encoding: Option<String>,
    /// The header with the sender's id of the delivery, by which one that comes again is known. Without one, the same body counts as the
    /// same delivery.
    #[schema(example = "X-GitHub-Delivery", max_length = 100)]
    delivery_id_header: Option<String>,
}

/// All hooks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HookList {
    /// By name.
    pub hooks: Vec<Hook>,
}

/// A hook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hook {
    /// Its name.
    #[schema(example = "github")]
    pub name: String,
    /// The subject of the events that deliveries to it become.
    #[schema(example = "hook.github")]
    pub subject: String,
    /// How its requests are verified.
    pub verify: HookVerify,
    /// Eight digits of a hash, by which people tell its secret from another one; only of Standard Webhooks.
    #[schema(example = "f74e1720")]
    pub fingerprint: Option<String>,
    /// The secret before a rotation, while it is still accepted.
    pub retiring: Option<Retiring>,
    /// Its secret: only in the answer to the request that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    pub changed_at: String,
    /// Who changed it.
    pub changed_by: String,
    /// Counts its changes, from 1.
    pub revision: u64,
}

/// How requests are verified: one of these.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct HookVerify {
    /// By Standard Webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard: Option<StandardCheck>,
    /// By an HMAC-SHA256 of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmac_sha256: Option<BodyCheck>,
}

/// Standard Webhooks, which has nothing to set but its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandardCheck {}

/// Where the signature of a body stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BodyCheck {
    /// The header with the signature, in small letters.
    #[schema(example = "x-hub-signature-256")]
    pub header: String,
    /// What stands before the signature; may be empty.
    #[schema(example = "sha256=")]
    pub prefix: String,
    /// How the signature is written: `hex` or `base64`.
    #[schema(example = "hex")]
    pub encoding: &'static str,
    /// The header with the sender's id of the delivery, in small letters.
    #[schema(example = "x-github-delivery")]
    pub delivery_id_header: Option<String>,
}

/// A secret that another one replaced.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Retiring {
    /// By which people tell it from another one.
    #[schema(example = "0d1e2f30")]
    pub fingerprint: String,
    /// Until when it is accepted.
    #[schema(format = DateTime)]
    pub until: String,
}

/// What a delivery became.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HookDelivery {
    /// The place of the event in the log.
    #[schema(example = 17)]
    pub sequence: u64,
    /// Its subject.
    #[schema(example = "hook.github")]
    pub subject: String,
    /// Its id: `hook:`, the hook, and the sender's id of the delivery or a hash of the body.
    #[schema(example = "hook:github:72d3162e-cc78-11e3-81ab-4c9367dc0958")]
    pub id: Option<String>,
}

impl From<&HookView> for Hook {
    fn from(HookView { hook, fingerprint, retiring }: &HookView) -> Self {
        Self {
            name: hook.name.to_string(),
            subject: Subject::of_hook(&hook.name).to_string(),
            verify: HookVerify::from(&hook.check),
            fingerprint: fingerprint.clone(),
            retiring: retiring.as_ref().map(|(fingerprint, until)| Retiring {
                fingerprint: fingerprint.clone(),
                until: rfc3339(*until),
            }),
            secret: None,
            created_at: rfc3339(hook.created_at),
            created_by: hook.created_by.clone(),
            changed_at: rfc3339(hook.changed_at),
            changed_by: hook.changed_by.clone(),
            revision: hook.revision,
        }
    }
}

impl From<&HookCheck> for HookVerify {
    fn from(check: &HookCheck) -> Self {
        match check {
            HookCheck::Standard => Self { standard: Some(StandardCheck {}), ..Self::default() },
            HookCheck::HmacSha256(BodySignature { header, prefix, encoding, delivery_id_header }) => {
                let check = BodyCheck {
                    header: header.clone(),
                    prefix: prefix.clone(),
                    encoding: encoding.as_str(),
                    delivery_id_header: delivery_id_header.clone(),
                };
                Self { hmac_sha256: Some(check), ..Self::default() }
            }
        }
    }
}

impl From<&PublishedEvent> for HookDelivery {
    fn from(event: &PublishedEvent) -> Self {
        Self { sequence: event.sequence.0, subject: event.subject.to_string(), id: event.id.clone() }
    }
}
