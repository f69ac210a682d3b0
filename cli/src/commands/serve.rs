//! `crewcall serve`: the backend, until it is told to stop.

use std::{env, error::Error, fs, io, pin::pin};

use crewcall_backend::App;
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::config_file,
    backend,
    exit::{Exit, Failure},
    logs,
    output::print,
    settings::{ServeFlags, ServeSettings, SettingsError, SettingsFile, environment},
    signals::Signals,
};

/// Configures, builds, runs and drains the backend.
///
/// # Errors
///
/// One sentence that says what to do, when it cannot start or breaks.
pub(crate) async fn run(flags: &ServeFlags) -> Result<Exit, Failure> {
    let settings = configure(flags)?;
    logs::to_stderr(&settings.log);
    for sentence in environment::unknown(env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        tracing::warn!("{sentence}");
    }
    let mut signals = Signals::listen()?;

    let config = settings.backend;
    let app = App::build(config.clone()).await.map_err(|error| Failure::Part(error.into()))?;
    announce(&app);

    let stop = CancellationToken::new();
    let mut running = pin!(backend::run(app, &config, stop.clone()));
    tokio::select! {
        ended = &mut running => return conclude(ended),
        () = signals.next() => stop.cancel(),
    }
    tokio::select! {
        ended = running => conclude(ended),
        () = signals.next() => Err(Failure::Interrupted("stopped at once, without draining".to_owned())),
    }
}

fn conclude<E: Error + Send + Sync + 'static>(ended: Result<(), E>) -> Result<Exit, Failure> {
    match ended {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Failure::Part(Box::new(error))),
    }
}

/// The settings that `serve` would have with these flags.
pub(super) fn configure(flags: &ServeFlags) -> Result<ServeSettings, Failure> {
    let (path, is_required) = config_file(flags.config.as_ref());
    let name = path.display().to_string();
    let file = match fs::read_to_string(&path) {
        Ok(text) => SettingsFile::parse(&name, &text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_required => SettingsFile::default(),
        Err(error) => return Err(SettingsError::File { path: name, reason: error.to_string() }.into()),
    };
    Ok(ServeSettings::resolve(flags, |name| env::var(name).ok(), &file)?)
}

/// The one line on standard output: whoever started us with port 0 reads the address from it.
fn announce(app: &App) {
    // A backend whose standard output is closed is none the worse for it.
    let _ = print(&format!("listening on http://{}", app.http_address()));
}
