//! Secrets that the backend tells once: those of hooks and webhooks.

/// What became of something that may have got a secret: `payments created`, and below it the secret.
pub(super) fn applied(name: &str, outcome: &str, secret: Option<&str>) -> String {
    let secret = secret.map(|secret| format!("\n{}", once(name, secret))).unwrap_or_default();
    format!("{name} {outcome}{secret}")
}

/// `the secret of payments, which is shown only now: whsec_…`
pub(super) fn once(name: &str, secret: &str) -> String {
    format!("the secret of {name}, which is shown only now: {secret}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_if_there_is_one() {
        assert_eq!(applied("payments", "unchanged", None), "payments unchanged");
        let told = "payments created\nthe secret of payments, which is shown only now: whsec_made";
        assert_eq!(applied("payments", "created", Some("whsec_made")), told);
    }
}
