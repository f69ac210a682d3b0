//! A consumer goes on in the log: its cursor moves, and what it makes is stored, together or not at all.

use std::sync::Arc;

use super::{Decide, Decision, Inconsistent, Loaded, NewJob, Rules, Wanted, runs, submission};
use crate::{
    domain::{Cause, Consumer, ConsumerName, Pass, Sequence},
    engine::ports::{
        ConsumerStep, ConsumerWrite, Inserted, Made, MatchedEvent, NewRun, RunStarted, Stepped, Stop,
    },
    mutant::mutant,
};

/// One step of a pass through the log, for which everything is ready: what was read is decided again if the consumer is not where it
/// began, or was changed.
pub struct Consume {
    consumer: ConsumerName,
    pass: Pass,
    revision: u64,
    from: Sequence,
    to: Sequence,
    matches: Vec<(Ready, Arc<Cause>)>,
}

/// What follows from an event, made ready.
enum Ready {
    Job(Box<NewJob>),
    Run(Box<NewRun>),
}

impl Consume {
    /// Makes it ready.
    ///
    /// # Errors
    ///
    /// When parameters cannot be written as JSON, which no accepted job's cannot.
    pub fn new(step: ConsumerStep) -> Result<Self, serde_json::Error> {
        let ConsumerStep { consumer, pass, revision, from, to, matches } = step;
        let ready = |MatchedEvent { made, cause }| {
            let made = match made {
                Made::Job(job) => Ready::Job(Box::new(NewJob::new(*job)?)),
                Made::Run(run) => Ready::Run(run),
            };
            Ok((made, Arc::new(cause)))
        };
        let matches = matches.into_iter().map(ready).collect::<Result<_, serde_json::Error>>()?;
        Ok(Self { consumer, pass, revision, from, to, matches })
    }

    /// How many jobs it is about, and its cursor.
    pub fn rows(&self) -> usize {
        self.matches.len() + 1
    }
}

impl Decide for Consume {
    type Value = Stepped;

    fn wants(&self, _: &Rules) -> Wanted {
        Wanted::Nothing
    }

    fn decide(self, mut loaded: Loaded, rules: &mut Rules) -> Result<Decision<Stepped>, Inconsistent> {
        let Self { consumer: name, pass, revision, from, to, matches } = self;
        let known = rules.consumers.get(&name).filter(|known| known.revision == revision);
        let waits = |known: &Consumer| known.pause.is_some() && !matches.is_empty();
        let Some(known) = known.filter(|known| known.cursor_of(pass) == Some(from) && !waits(known)) else {
            return Ok(Decision::nothing(Stepped::Stale));
        };
        let mut room = known.room();
        let mut decision = Decision::nothing(Stepped::Stale);
        let (mut made, mut cursor, mut stop) = (0, to, None);
        for (ready, cause) in matches {
            let Some(made_of) = cause.made_of() else {
                return Err(Inconsistent("what a consumer makes is not made of an event"));
            };
            let before = Sequence(made_of.sequence.0.saturating_sub(1));
            if room == 0 {
                (cursor, stop) = (before, Some(Stop::Full));
                break;
            }
            let opened = match ready {
                Ready::Job(new) => store_job(*new, cause, &mut loaded, rules, &mut decision)?,
                Ready::Run(new) => store_run(*new, rules, &mut decision)?,
            };
            match opened {
                Ok(opened) => {
                    made += 1;
                    room -= usize::from(opened);
                }
                Err(why) => {
                    (cursor, stop) = (before, Some(why));
                    break;
                }
            }
        }
        if cursor > from
            && let Some(consumer) = rules.consumers.advance(&name, pass, cursor, rules.now())
            && !mutant("cursor_unkept")
        {
            decision.writes.consumers.push(ConsumerWrite::Advanced { consumer, pass });
        }
        decision.value = Stepped::Done { cursor, made, stop };
        Ok(decision)
    }
}

/// Stores a job. Returns whether it is open, or why it is not stored.
fn store_job(
    new: NewJob,
    cause: Arc<Cause>,
    loaded: &mut Loaded,
    rules: &mut Rules,
    decision: &mut Decision<Stepped>,
) -> Result<Result<bool, Stop>, Inconsistent> {
    match submission::store(new, Some(cause), loaded, rules, decision) {
        Inserted::Stored { job } => Ok(Ok(!job.status.state.is_terminal())),
        Inserted::TooManyTypes => Ok(Err(Stop::TooManyTypes)),
        Inserted::Replayed { .. }
        | Inserted::KeyReused
        | Inserted::UnknownJobs(_)
        | Inserted::TooManyLinks => {
            Err(Inconsistent("a job without a name was submitted before, or comes after another"))
        }
    }
}

/// Stores a run, unless its workflow says that none is made now.
fn store_run(
    new: NewRun,
    rules: &mut Rules,
    decision: &mut Decision<Stepped>,
) -> Result<Result<bool, Stop>, Inconsistent> {
    Ok(match runs::start(new, rules, decision) {
        RunStarted::Started(_) => Ok(true),
        RunStarted::Skipped => Ok(false),
        RunStarted::OtherVersion => Err(Stop::OtherVersion),
        RunStarted::Unknown | RunStarted::Paused(_) => Err(Stop::NoWorkflow),
        RunStarted::TooMany => Err(Stop::TooManyRuns),
        RunStarted::Replayed(_) | RunStarted::KeyReused => {
            return Err(Inconsistent("a run without a name was started before"));
        }
    })
}
