//! Reading where events are to be delivered to: every problem is told at once.

use super::{
    consumer_settings::read_subjects,
    fields::Fields,
    problem::{Problem, ProblemCode},
};
use crate::domain::SubjectPattern;

/// What a webhook says, as far as its form is right.
#[derive(Debug, PartialEq)]
pub(super) struct WebhookSettings {
    pub(super) url: String,
    pub(super) subjects: Vec<SubjectPattern>,
    pub(super) condition: Option<String>,
}

/// Reads the JSON text of a webhook.
pub(super) fn read(text: &[u8]) -> Result<WebhookSettings, Problem> {
    let mut fields = Fields::parse("a webhook", text, ProblemCode::InvalidWebhook)?;
    if !fields.has("url") {
        fields.wrong("url", "say where events are delivered to, such as \"https://shop.example/hooks\"");
    }
    let url = fields.some_text("url").unwrap_or_default();
    let subjects = read_subjects(&mut fields, "a webhook");
    let condition = fields.text("if");
    fields.conclude(Ok(WebhookSettings { url, subjects, condition }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told_together() {
        let text = br#"{"url":"https://a.example/","subjects":["order.#"],"if":"true"}"#;
        let read_well = read(text).unwrap();
        assert_eq!((&*read_well.url, read_well.condition.as_deref()), ("https://a.example/", Some("true")));
        for (text, expected) in [
            ("{}", vec!["/subjects", "/url"]),
            (r#"{"url":7,"subjects":["A"],"secret":"whsec_x"}"#, vec!["/secret", "/subjects/0", "/url"]),
            (r#"{"url":null,"subjects":"order"}"#, vec!["/subjects", "/url"]),
        ] {
            let body = read(text.as_bytes()).unwrap_err().body("r");
            let pointers: Vec<String> = body.errors.into_iter().map(|error| error.pointer).collect();
            assert_eq!(pointers, expected, "{text}");
        }
    }
}
