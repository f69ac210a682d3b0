//! What follows from events, ends of steps and ticks, held against what was promised of it.
//!
//! Each part is measured on an installation of its own, which ends with all that was made on it. What a figure is compared with is
//! measured in the same round. Reading order: [`ground`] (what is measured on), [`reading`] (what a round says), the parts
//! ([`consumers`], [`events`], [`chains`], [`fan_out`], [`waiting`], [`ticks`]) with [`commits`], and [`report`].

mod chains;

mod commits;

mod consumers;

mod events;

mod fan_out;

mod ground;

mod reading;

pub(crate) mod report;

mod ticks;

mod waiting;

use std::{fs, path::Path};

use clap::ValueEnum;
use serde::Serialize;

use self::{
    ground::{Ground, Scale},
    reading::Reading,
    report::FollowUpReport,
};
use super::{Plan, broker::Broker, installation::Versions};
use crate::exit::Failure;

/// A part of what can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// Plain jobs amid consumers and workflows that select nothing
    Consumers,
    /// The log of events, and the jobs that a consumer makes of it
    Events,
    /// Steps that follow each other, and many short runs
    Chains,
    /// Steps with very many items
    FanOut,
    /// Very many open runs that wait, and schedules
    Waiting,
    /// Ticks of schedules
    Ticks,
}

impl Part {
    /// What it is called, here and on the command line.
    const fn name(self) -> &'static str {
        match self {
            Self::Consumers => "consumers",
            Self::Events => "events",
            Self::Chains => "chains",
            Self::FanOut => "fan-out",
            Self::Waiting => "waiting",
            Self::Ticks => "ticks",
        }
    }

    async fn round(self, ground: &mut Ground<'_>) -> Result<Vec<Reading>, Failure> {
        match self {
            Self::Consumers => Box::pin(consumers::round(ground)).await,
            Self::Events => Box::pin(events::round(ground)).await,
            Self::Chains => Box::pin(chains::round(ground)).await,
            Self::FanOut => Box::pin(fan_out::round(ground)).await,
            Self::Waiting => Box::pin(waiting::round(ground)).await,
            Self::Ticks => Box::pin(ticks::round(ground)).await,
        }
    }
}

/// Which parts are measured, and with how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FollowUps<'a> {
    pub(crate) parts: &'a [Part],
    /// Runs, schedules and items of the largest fan-out; of all else a tenth or a hundredth.
    pub(crate) most: usize,
}

/// Measures parts on a broker, with folders of their own in `directory`.
///
/// # Errors
///
/// When something does not start, or not come in time.
pub(super) async fn run_on(
    broker: &Broker,
    directory: &Path,
    plan: Plan,
    follow_ups: FollowUps<'_>,
    progress: impl Fn(&str),
) -> Result<FollowUpReport, Failure> {
    let mut measured = Vec::new();
    for part in follow_ups.parts {
        let mut readings = Vec::new();
        for round in 1..=plan.rounds {
            progress(&format!("round {round} of {}: {} …", plan.rounds, part.name()));
            let folder = directory.join(part.name());
            let mut ground = Ground::start(broker, &folder, plan, Scale::new(follow_ups.most)).await?;
            let round = part.round(&mut ground).await;
            ground.stop().await;
            readings.extend(round?);
            // The next one has another database, for which the queues of this one are those of a stranger.
            broker.remove(plan.job_types()).await?;
            // What cannot be removed now is with the folder of all.
            let _ = fs::remove_dir_all(folder);
        }
        measured.push((*part, readings));
    }
    Ok(report::of(plan, follow_ups.most, Versions::on(broker).await, &measured))
}
