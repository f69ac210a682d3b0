//! How hooks look.

use super::moment;
use crate::{
    api::{BodyCheck, Hook, HookVerify},
    layout::Column,
    output::{Show, View, fields},
    text::time,
};

impl Show for Hook {
    const PLURAL: &'static str = "hooks";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME").shortened_to(16),
        Column::new("VERIFIES").shortened_to(16),
        Column::new("SECRET"),
        Column::new("RETIRES (UTC)").left_out(2),
        Column::new("SUBJECT").wide(),
        Column::new("CHANGED (UTC)").left_out(1),
        Column::new("BY").wide(),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _view: &View) -> Vec<String> {
        let retiring = self.retiring.as_ref().and_then(|retiring| retiring.until.as_deref());
        vec![
            self.name.clone(),
            way(&self.verify),
            self.fingerprint.clone().unwrap_or_else(|| "hidden".to_owned()),
            time(retiring),
            self.subject.clone(),
            time(self.changed_at.as_deref()),
            self.changed_by.clone().unwrap_or_default(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let by = |by: &Option<String>| by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        let check = self.verify.hmac_sha256.clone().unwrap_or_default();
        let retiring = self.retiring.as_ref().map(|retiring| {
            format!("{}, accepted until {}", retiring.fingerprint, moment(retiring.until.as_deref(), view))
        });
        fields(
            &[
                ("name", self.name.clone()),
                ("subject", self.subject.clone()),
                ("verifies", way(&self.verify)),
                ("prefix", check.prefix),
                ("encoding", check.encoding),
                ("delivery id", check.delivery_id_header.unwrap_or_default()),
                ("secret", self.fingerprint.clone().unwrap_or_else(|| "hidden".to_owned())),
                ("retiring", retiring.unwrap_or_default()),
                ("revision", self.revision.to_string()),
                ("created", format!("{}{}", moment(self.created_at.as_deref(), view), by(&self.created_by))),
                ("changed", format!("{}{}", moment(self.changed_at.as_deref(), view), by(&self.changed_by))),
            ],
            view,
        )
    }
}

/// `Standard Webhooks`, or `HMAC-SHA256 in x-hub-signature-256`
fn way(verify: &HookVerify) -> String {
    match verify {
        HookVerify { hmac_sha256: Some(BodyCheck { header, .. }), .. } => format!("HMAC-SHA256 in {header}"),
        HookVerify { standard: Some(_), .. } => "Standard Webhooks".to_owned(),
        HookVerify { .. } => "in a way of a later version".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::Document,
        output::list,
        terminals::{on_terminals, view},
    };

    fn hooks() -> Vec<Document<Hook>> {
        serde_json::from_value(json!([
            {
                "name": "github", "subject": "hook.github", "fingerprint": null, "retiring": null, "revision": 1,
                "verify": {"hmac_sha256": {
                    "header": "x-hub-signature-256", "prefix": "sha256=", "encoding": "hex",
                    "delivery_id_header": "x-github-delivery\u{9b}31m"
                }},
                "created_at": "2026-11-20T15:00:00.000Z", "created_by": "anna",
                "changed_at": "2026-11-20T15:00:00.000Z", "changed_by": "anna"
            },
            {
                "name": "payments", "subject": "hook.payments", "verify": {"standard": {}}, "fingerprint": "f74e1720",
                "retiring": {"fingerprint": "0d1e2f30", "until": "2026-11-21T16:00:00.000Z"}, "revision": 2,
                "created_at": "2026-11-20T15:00:00.000Z", "created_by": "anna",
                "changed_at": "2026-11-20T16:00:00.000Z", "changed_by": "alice"
            },
            {"name": "of.a.newer.backend", "verify": {"ed25519": {}}}
        ]))
        .unwrap()
    }

    #[test]
    fn hooks_in_a_table_and_alone() {
        let hooks = hooks();
        let listed = [
            on_terminals(|view| list(&hooks, view, true)),
            list(&hooks, &View { is_wide: true, ..view(Some(80), false) }, true),
        ];
        insta::assert_snapshot!("hooks", listed.join("\n\n"));
        insta::assert_snapshot!("hook_of_github", on_terminals(|view| hooks[0].details(view)));
        insta::assert_snapshot!("hook_that_is_rotated", on_terminals(|view| hooks[1].details(view)));
    }
}
