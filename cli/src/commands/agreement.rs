//! Asking whoever sits at the terminal before something is done that cannot be taken back. A script says `--yes`.

use std::io::{IsTerminal as _, stdin};

use crate::{exit::Failure, output::print_message};

/// What is asked.
pub(super) struct Question<'a> {
    /// What would be done, as a sentence without its end.
    pub(super) what: &'a str,
    /// When a script should agree: "nobody needs it meanwhile".
    pub(super) yes_if: &'a str,
    /// What is said when nobody agrees: "nothing was measured".
    pub(super) undone: &'a str,
    /// Whether `--yes` was said.
    pub(super) is_agreed: bool,
}

/// Waits for the answer.
///
/// # Errors
///
/// When nobody agrees.
pub(super) fn ask(question: &Question<'_>) -> Result<(), Failure> {
    if question.is_agreed {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return judge(question, None);
    }
    print_message(&format!("{}. Go on? [y/N]", question.what));
    let mut answer = String::new();
    stdin()
        .read_line(&mut answer)
        .map_err(|source| Failure::System { what: "read the answer".to_owned(), source })?;
    judge(question, Some(answer.trim()))
}

/// Without an answer there is nobody to ask.
fn judge(question: &Question<'_>, answer: Option<&str>) -> Result<(), Failure> {
    let Question { what, yes_if, undone, .. } = question;
    match answer {
        Some("y" | "Y" | "yes") => Ok(()),
        Some(_) => Err(Failure::Usage((*undone).to_owned())),
        None => Err(Failure::Usage(format!("{what}: say --yes if {yes_if}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        let question = Question {
            what: "this erases all",
            yes_if: "all may go",
            undone: "nothing was erased",
            is_agreed: false,
        };
        let judged = |answer| judge(&question, answer).map_err(|refused| refused.to_string());
        assert_eq!(judged(Some("yes")), Ok(()));
        for no in ["", "n", "maybe"] {
            assert_eq!(judged(Some(no)), Err("nothing was erased".to_owned()));
        }
        assert_eq!(judged(None), Err("this erases all: say --yes if all may go".to_owned()));
        assert!(ask(&Question { is_agreed: true, ..question }).is_ok());
    }
}
