//! `crewcall top`: what goes on, live, with keys to look closer and to act. What is shown and what a key means is decided in
//! [`screen`], which knows no terminal.

mod drawing;
mod screen;
mod terminal;

use std::{
    collections::BTreeMap,
    future::Future,
    io::{self, IsTerminal},
    pin::Pin,
    time::Duration,
};

use crossterm::event::{Event, EventStream};
use futures_util::{StreamExt, future::OptionFuture};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::{
    screen::{Request, Screen, Sight},
    terminal::Terminal,
};
use crate::{
    client::{
        Client, ClientError,
        operations::{Actor, JobAction},
    },
    exit::{Exit, Failure},
    output::{Format, Show, View},
    signals::Signals,
};

/// How often the backend is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many jobs are asked for: the newest, more than a screen has lines.
const JOBS_MAX: u32 = 100;

type Looking<'a> = Pin<Box<dyn Future<Output = Result<Sight, ClientError>> + 'a>>;

/// Shows what goes on until `q`, Ctrl-C or a signal.
///
/// # Errors
///
/// When there is no terminal, the backend does not answer at first, or the terminal fails us.
pub(crate) async fn run(client: &Client) -> Result<Exit, Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let instead = "crewcall status and crewcall types ls --watch can be piped";
        return Err(Failure::Usage(format!("crewcall top needs a terminal; {instead}")));
    }
    // Asked once before: that nobody is there is said in a line, not on a screen.
    let mut screen = Screen::new(look(client, None).await?);
    let mut signals = Signals::listen()?;
    let mut keys = EventStream::new();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looking: Option<Looking<'_>> = None;
    let terminal = Terminal::take()?;
    loop {
        #[cfg(feature = "failpoints")]
        fail::fail_point!("top_panics");
        terminal.draw(|width, height| screen.lines(&view(width), height))?;
        tokio::select! {
            () = signals.next() => return Ok(Exit::Done),
            _ = ticks.tick(), if looking.is_none() => {
                looking = Some(Box::pin(look(client, screen.type_of_jobs())));
            }
            Some(sight) = OptionFuture::from(looking.as_mut()) => {
                looking = None;
                match sight {
                    Ok(sight) => screen.see(sight),
                    Err(error) if error.is_retryable() => screen.tell(error.cause()),
                    Err(error) => return Err(error.into()),
                }
            }
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) => match screen.on_key(key) {
                    Some(Request::Quit) => return Ok(Exit::Done),
                    Some(request) => serve(client, &mut screen, request).await,
                    None => {}
                },
                Some(Ok(_)) => {} // another size: it is drawn anew
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(Exit::Done),
            },
        }
    }
}

fn view(width: u16) -> View {
    View { width: Some(usize::from(width)), ..View::of_stdout(Format::Table) }
}

/// Everything that is shown, as it is now.
async fn look(client: &Client, type_of_jobs: Option<String>) -> Result<Sight, ClientError> {
    let limit = ("limit".to_owned(), JOBS_MAX.to_string());
    let query: Vec<_> =
        type_of_jobs.map(|name| ("type".to_owned(), name)).into_iter().chain([limit]).collect();
    let (types, workers, jobs, metrics) =
        tokio::try_join!(client.types(), client.workers(), client.jobs(&query), client.metrics())?;
    let runs: BTreeMap<String, f64> =
        types.iter().filter_map(|found| Some((found.name.clone(), p95(&metrics, &found.name)?))).collect();
    let finished = metrics.by_type("crewcall_jobs_finished_total");
    Ok(Sight { at: Instant::now(), types, workers: workers.workers, jobs: jobs.jobs, finished, p95: runs })
}

fn p95(metrics: &crate::api::Metrics, job_type: &str) -> Option<f64> {
    metrics.quantile("crewcall_job_run_seconds", job_type, 0.95)
}

/// Does what a key asked for, and says how it went.
async fn serve(client: &Client, screen: &mut Screen, request: Request) {
    let actor = Actor::default();
    let told = match &request {
        Request::Quit => Ok(String::new()),
        Request::Pause(name) => client.pause_type(name, actor).await.map(|()| format!("{name} is paused")),
        Request::Resume(name) => client.resume_type(name).await.map(|()| format!("{name} goes on")),
        Request::Drain(id) => client.drain_worker(id).await.map(|()| format!("{id} is told to drain")),
        Request::Undrain(id) => client.resume_worker(id).await.map(|()| format!("{id} takes jobs again")),
        Request::Cancel(id) => act(client, id, JobAction::Cancel(actor)).await,
        Request::Retry(id) => act(client, id, JobAction::Retry(actor)).await,
        Request::Inspect(id) => match id.parse() {
            Ok(id) => match client.job(id).await {
                Ok(job) => {
                    screen.inspect(job.details(&View { colours: false, ..view(screen.width()) }));
                    return;
                }
                Err(error) => Err(error),
            },
            Err(_) => Ok(format!("{id} is not an id")),
        },
    };
    screen.tell(told.unwrap_or_else(|error| error.cause()));
}

async fn act(client: &Client, id: &str, action: JobAction<'_>) -> Result<String, ClientError> {
    match id.parse() {
        Ok(parsed) => client.act(parsed, action).await.map(|job| format!("{id} is {}", job.state.word())),
        Err(_) => Ok(format!("{id} is not an id")),
    }
}

#[cfg(test)]
mod tests;
