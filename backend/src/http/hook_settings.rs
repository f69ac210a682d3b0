//! Reading how the requests of a hook are checked: every problem of the form is told at once, and nothing of a secret.

use super::{
    fields::Fields,
    problem::{Problem, ProblemCode},
};
use crate::domain::hook::{BodySignature, HookCheck, HookSecret, SignatureForm, UnknownSignatureForm};

/// What a hook says.
const VERIFY: &str = "a hook says how its requests are verified: {\"standard\": {}}, or {\"hmac_sha256\": {\"header\": \"X-Hub-Signature-256\", \"secret\": …}}";

/// Reads the JSON text of a hook: how its requests are checked, and the secret, if there is one.
pub(super) fn read(text: &[u8]) -> Result<(HookCheck, Option<HookSecret>), Problem> {
    let mut fields = Fields::parse("a hook", text, ProblemCode::InvalidHook)?;
    let read = read_verify(&mut fields).unwrap_or((HookCheck::Standard, None));
    fields.conclude(Ok(read))
}

fn read_verify(fields: &mut Fields) -> Option<(HookCheck, Option<HookSecret>)> {
    let Some(mut verify) = fields.inner("verify", "how a hook is verified") else {
        fields.wrong("verify", VERIFY);
        return None;
    };
    let standard = verify.inner("standard", "Standard Webhooks").map(|mut standard| {
        let secret = standard.text("secret");
        verify.within(standard);
        (HookCheck::Standard, secret)
    });
    let hmac = verify.inner("hmac_sha256", "a signature of the body").map(|mut hmac| {
        let read = read_hmac(&mut hmac);
        verify.within(hmac);
        read
    });
    let read = match (standard, hmac) {
        (Some(_), Some(_)) => {
            verify.wrong("hmac_sha256", "requests are verified in one way: standard or hmac_sha256");
            None
        }
        (None, None) => {
            verify.wrong("standard", VERIFY);
            None
        }
        (one, None) | (None, one) => one,
    };
    fields.within(verify);
    read.map(|(check, secret)| (check, secret.as_deref().map(HookSecret::new)))
}

fn read_hmac(hmac: &mut Fields) -> (HookCheck, Option<String>) {
    if !hmac.has("header") {
        hmac.wrong("header", "name the header with the signature, such as \"X-Hub-Signature-256\"");
    }
    let small = |name: String| name.to_ascii_lowercase();
    let header = hmac.some_text("header").map(small).unwrap_or_default();
    let secret = hmac.text("secret");
    let prefix = hmac.text("prefix").unwrap_or_default();
    let encoding = hmac.read("encoding", |word| {
        word.parse::<SignatureForm>().map_err(|error: UnknownSignatureForm| error.to_string())
    });
    let delivery_id_header = hmac.text("delivery_id_header").map(small);
    let encoding = encoding.unwrap_or(SignatureForm::Hex);
    (HookCheck::HmacSha256(BodySignature { header, prefix, encoding, delivery_id_header }), secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_read() {
        assert_eq!(read(br#"{"verify":{"standard":{}}}"#).unwrap(), (HookCheck::Standard, None));
        let (check, secret) =
            read(br#"{"verify":{"standard":{"secret":"whsec_x"},"hmac_sha256":null}}"#).unwrap();
        assert_eq!((check, secret.unwrap().reveal()), (HookCheck::Standard, "whsec_x"));
        let text = r#"{"verify":{"hmac_sha256":{"header":"X-Hub-Signature-256","secret":" s ","prefix":"sha256=",
            "encoding":"base64","delivery_id_header":"X-GitHub-Delivery"}}}"#;
        let (check, secret) = read(text.as_bytes()).unwrap();
        let expected = BodySignature {
            header: "x-hub-signature-256".to_owned(),
            prefix: "sha256=".to_owned(),
            encoding: SignatureForm::Base64,
            delivery_id_header: Some("x-github-delivery".to_owned()),
        };
        assert_eq!((check, secret.unwrap().reveal()), (HookCheck::HmacSha256(expected), " s "));
        let (check, _) = read(br#"{"verify":{"hmac_sha256":{"header":"x-signature"}}}"#).unwrap();
        let HookCheck::HmacSha256(BodySignature { prefix, encoding, delivery_id_header, .. }) = check else {
            panic!("{check:?}")
        };
        assert_eq!((prefix.as_str(), encoding, delivery_id_header), ("", SignatureForm::Hex, None));
    }

    #[test]
    fn everything_that_is_wrong_is_told_together() {
        let told = [
            "{}",
            r#"{"verify":null}"#,
            r#"{"verify":{"standard":null}}"#,
            r#"{"verify":{"standard":{},"hmac_sha256":{"header":"x"}}}"#,
            r#"{"verify":{"standard":{"secret":7,"prefix":"x"}},"colour":1}"#,
            r#"{"verify":{"hmac_sha256":{"encoding":"hexa","prefix":[],"secert":"s"}}}"#,
        ]
        .map(|text| {
            let body = read(text.as_bytes()).unwrap_err().body("r");
            let errors = body.errors.iter().map(|error| format!("{}: {}", error.pointer, error.message));
            errors.collect::<Vec<_>>().join("\n")
        });
        insta::assert_snapshot!(told.join("\n\n"));
    }
}
