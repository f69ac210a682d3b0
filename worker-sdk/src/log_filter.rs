//! What is logged: levels, judged before they are used.
//!
//! `tracing_subscriber` takes a word that is not a level for the name of a module. With `debg` instead of `debug`
//! nothing would be logged any more, not even that. So a word that stands alone has to be a level.
//! `cli/src/log_filter.rs` is the same for the backend, which shares no library with workers but the contract.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// The levels, by their usual names.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How alike a word and a level must be, from 0 to 1, for the level to be meant.
const ALIKE_MIN: f64 = 0.75;

/// Reads a filter: a level, or levels by module, separated by commas.
///
/// # Errors
///
/// A sentence that says what would be right.
pub(crate) fn read(text: &str) -> Result<String, String> {
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if directives.is_empty() {
        return Err(format!("it is empty; write a level: {}", LEVELS.join(", ")));
    }
    for directive in &directives {
        // What is about spans has a grammar of its own, which the library checks.
        if directive.contains('[') {
            continue;
        }
        let level = directive.rsplit_once('=').map_or(*directive, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() {
            return Err(no_level(level));
        }
    }
    let filter = directives.join(",");
    match EnvFilter::builder().parse(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(format!(
            "'{text}' is not a log filter ({error}); write a level such as debug, or info,crewcall_worker=debug"
        )),
    }
}

fn no_level(word: &str) -> String {
    let alike = |level: &&str| strsim::jaro_winkler(&word.to_ascii_lowercase(), level);
    let nearest = LEVELS.into_iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let hint = match nearest.filter(|level| alike(level) >= ALIKE_MIN) {
        Some(level) => format!("did you mean {level}?"),
        None => format!("use {}.", LEVELS.join(", ")),
    };
    format!("'{word}' is not a log level: {hint} A module needs a level, as in crewcall_worker=debug")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_stand_alone_or_with_a_module() {
        for text in ["info", "INFO,lapin=off", "3", "a::b=trace", "[request]", "[request{id=7}]=debug"] {
            assert_eq!(read(text), Ok(text.to_owned()));
        }
        assert_eq!(read(" info , lapin=off,"), Ok("info,lapin=off".to_owned()));
        assert!(read("").is_err() && read(" , ").is_err());
    }

    #[test]
    fn a_typing_error_is_refused_with_the_nearest_level() {
        for (text, hint) in [
            ("debg", "did you mean debug?"),
            ("info,wran", "did you mean warn?"),
            ("Warning", "did you mean warn?"),
            ("lapin=of", "did you mean off?"),
            ("crewcall_worker", "use off, error"),
            ("crewcall=loud", "use off, error"),
        ] {
            let refusal = read(text).unwrap_err();
            assert!(refusal.contains(hint), "{refusal}");
        }
    }
}
