//! The documents of what was named: all are read before anything is done, and then each is done for itself.

use std::{
    fmt::Display,
    io::Read,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde_json::Value;

use super::{
    files::{files, mistakes, text_of, told},
    yaml::{self, Mistake, Places, Written},
};
use crate::{
    client::ClientError,
    exit::{Exit, Failure},
    output::print_message,
};

/// What stands in a file: a document, or why it is none.
pub(crate) type Found<D> = (PathBuf, Result<D, Mistake>);

/// Reads all that was named before anything is done with it: `document` makes one of what is written, and `what` is the word for it.
///
/// # Errors
///
/// When a file cannot be read, or there is nothing in them.
pub(crate) fn read_all<D>(
    named: &[PathBuf],
    stdin: &mut impl Read,
    what: &str,
    document: fn(Written) -> Result<D, Mistake>,
) -> Result<Vec<Found<D>>, Failure> {
    let mut found = Vec::new();
    for file in files(named)? {
        let text = text_of(&file, stdin)?;
        found.extend(read(&text, document).into_iter().map(|document| (file.clone(), document)));
    }
    if found.is_empty() {
        return Err(Failure::Usage(format!("there is no {what} in what was named")));
    }
    Ok(found)
}

/// The documents of a text, each for itself; of one that is neither YAML nor JSON, why.
pub(crate) fn read<D>(text: &str, document: fn(Written) -> Result<D, Mistake>) -> Vec<Result<D, Mistake>> {
    match yaml::read(text) {
        Ok(written) => written.into_iter().map(document).collect(),
        Err(mistake) => vec![Err(mistake)],
    }
}

/// The name of a document, its other fields as the API reads them, and where each value stands.
pub(crate) type Settings<N> = (N, Value, Places);

/// The settings that are written. `shape` says what a document is, for one that is something else than an object.
pub(crate) fn settings<N: FromStr<Err: Display>>(
    Written { value, places }: Written,
    shape: &str,
) -> Result<Settings<N>, Mistake> {
    let Value::Object(mut settings) = value else {
        return Err(Mistake { place: places.of(""), message: shape.to_owned() });
    };
    // In the order of the file: `remove` would move the last field to the place of the name.
    let name = name(settings.shift_remove("name").as_ref(), &places)?;
    Ok((name, Value::Object(settings), places))
}

/// The name that a document gives itself in the field `name`.
pub(crate) fn name<N: FromStr<Err: Display>>(given: Option<&Value>, places: &Places) -> Result<N, Mistake> {
    let refuse = |pointer: &str, message: String| Err(Mistake { place: places.of(pointer), message });
    match given {
        Some(Value::String(name)) => {
            name.parse().or_else(|message: N::Err| refuse("/name", format!("name {name:?}: {message}")))
        }
        Some(other) => refuse("/name", format!("name is not a text: {other}")),
        None => refuse("", "it has no name".to_owned()),
    }
}

/// Does something with each document, in their order, which returns a line for each mistake. What is none is told; it does not keep
/// the others from being done.
///
/// # Errors
///
/// The first that `act` returns.
pub(crate) async fn do_each<D>(
    found: &[Found<D>],
    act: impl AsyncFn(&Path, &D) -> Result<Vec<String>, Failure>,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for (file, document) in found {
        let told = match document {
            Ok(document) => act(file, document).await?,
            Err(mistake) => vec![told(file, mistake)],
        };
        if !told.is_empty() {
            exit = Exit::Usage;
        }
        told.iter().for_each(|line| print_message(line));
    }
    Ok(exit)
}

/// What the backend refuses of the document of this name, a line for each mistake.
///
/// # Errors
///
/// When the error is not about the document.
pub(crate) fn refusal(
    file: &Path,
    (name, places): (&str, &Places),
    error: ClientError,
) -> Result<Vec<String>, Failure> {
    let is_refused = error.is_about_the_request();
    match error {
        ClientError::Problem(problem) if is_refused => {
            Ok(mistakes(name, places, &problem).iter().map(|mistake| told(file, mistake)).collect())
        }
        error => Err(error.into()),
    }
}

/// What became of something that was set, in a word, by its revisions: before, if it was there, and after.
pub(crate) fn outcome(before: Option<u64>, after: u64) -> &'static str {
    match before {
        None => "created",
        Some(before) if before == after => "unchanged",
        Some(_) => "changed",
    }
}

/// What is there; nothing, if the backend does not know it.
pub(crate) fn if_known<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
