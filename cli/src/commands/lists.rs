//! Lists: shown once, or again and again.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::sleep;

use crate::{
    api::Document,
    arguments::ListArguments,
    client::ClientError,
    exit::Failure,
    output::{Format, Show, print, print_list, print_message, redraw},
    text::time,
};

/// What is listed.
pub(crate) struct Listed<T> {
    /// The things.
    pub(crate) items: Vec<Document<T>>,
    /// By which options one gets more, if there are more.
    pub(crate) next: Option<String>,
}

impl<T> From<Vec<Document<T>>> for Listed<T> {
    fn from(items: Vec<Document<T>>) -> Self {
        Self { items, next: None }
    }
}

/// Shows what `fetch` gets, once or until we are stopped.
///
/// # Errors
///
/// When the backend or standard output fails us. A backend that goes away while a list is watched is waited for.
pub(crate) async fn show<T: Show>(
    arguments: &ListArguments,
    fetch: impl AsyncFn() -> Result<Listed<T>, ClientError>,
) -> Result<(), Failure> {
    let ListArguments { no_headers, watch, output } = arguments;
    let listed = fetch().await?;
    let Some(interval) = watch else {
        print_list(&listed.items, output.format, !no_headers)?;
        if let Some(next) = listed.next {
            print_message(&format!("there are more: add {next}"));
        }
        return Ok(());
    };
    let mut latest: Result<_, ClientError> = Ok(listed);
    loop {
        match latest {
            Ok(listed) => show_again(arguments, &listed, *interval)?,
            Err(error) if error.is_retryable() => print_message(&error.to_string()),
            Err(error) => return Err(error.into()),
        }
        sleep(*interval).await;
        latest = fetch().await;
    }
}

/// On a terminal in the place of what was shown before; elsewhere below it.
fn show_again<T: Show>(
    arguments: &ListArguments,
    listed: &Listed<T>,
    interval: Duration,
) -> Result<(), Failure> {
    let format = arguments.output.format;
    let is_screen = io::stdout().is_terminal() && matches!(format, Format::Table | Format::Wide);
    if !is_screen {
        print_list(&listed.items, format, !arguments.no_headers)?;
        return if matches!(format, Format::Table | Format::Wide) { print("") } else { Ok(()) };
    }
    let now = Timestamp::now().to_string();
    let above = format!("{} UTC, every {}; Ctrl-C ends it\n", time(Some(&now)), every(interval));
    redraw(&above, &listed.items, format, !arguments.no_headers)
}

fn every(interval: Duration) -> String {
    crate::duration::show(interval.as_secs_f64())
}
