//! A consumer goes on in the log: its cursor moves, and what it makes is stored, together or not at all.

use std::sync::Arc;

use super::{Decide, Decision, Inconsistent, Loaded, NewJob, Rules, Wanted, submission};
use crate::{
    domain::{Cause, Consumer, ConsumerName, Pass, Sequence},
    engine::ports::{ConsumerStep, ConsumerWrite, Inserted, MatchedEvent, Stepped, Stop},
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
    matches: Vec<(NewJob, Arc<Cause>)>,
}

impl Consume {
    /// Makes it ready.
    ///
    /// # Errors
    ///
    /// When parameters cannot be written as JSON, which no accepted job's cannot.
    pub fn new(step: ConsumerStep) -> Result<Self, serde_json::Error> {
        let ConsumerStep { consumer, pass, revision, from, to, matches } = step;
        let ready = |MatchedEvent { job, cause }| Ok((NewJob::new(job)?, Arc::new(cause)));
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
        for (new, cause) in matches {
            let before = Sequence(cause.sequence.0.saturating_sub(1));
            if room == 0 {
                (cursor, stop) = (before, Some(Stop::Full));
                break;
            }
            match submission::store(new, Some(cause), &mut loaded, rules, &mut decision) {
                Inserted::Stored { job } => {
                    made += 1;
                    room -= usize::from(!job.status.state.is_terminal());
                }
                Inserted::TooManyTypes => {
                    (cursor, stop) = (before, Some(Stop::TooManyTypes));
                    break;
                }
                Inserted::Replayed { .. } | Inserted::KeyReused => {
                    return Err(Inconsistent("a job without a name was submitted before"));
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
