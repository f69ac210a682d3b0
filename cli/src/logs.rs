//! Where the log of the backend goes.

use std::{fs::File, io::IsTerminal, sync::Arc};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    output::is_colourful,
    settings::{LogFormat, LogSettings},
};

/// Logs to standard error: standard output is for data.
pub(crate) fn to_stderr(settings: &LogSettings) {
    let colours = is_colourful(std::io::stderr().is_terminal());
    let logs = fmt()
        .with_env_filter(EnvFilter::new(&settings.filter))
        .log_internal_errors(false) // it would be told to standard error, and a full disk there ends the process
        .with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => logs.with_ansi(colours).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

/// Logs to a file.
pub(crate) fn to_file(file: File, filter: &str) {
    fmt()
        .with_env_filter(EnvFilter::new(filter))
        .log_internal_errors(false) // as above
        .with_ansi(false)
        .with_writer(Arc::new(file))
        .init();
}
