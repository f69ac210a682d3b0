//! What a job is: its states, what moves it from one to the next, when it is tried again, and which
//! submissions are jobs at all.
//!
//! Everything here is a pure function of its arguments: no clock, no random source, no I/O, no
//! encoding. The store runs [`transition()`] inside its transaction, so what stands here is the whole truth
//! about a job's life, whichever store keeps it.
//!
//! Reading order: [`state`], [`job`], [`event`], [`mod@transition`], then [`retry`], [`submission`] and [`after`]. What people publish, and
//! what is recorded of the ends of jobs, is in [`published_event`] and [`subject`]; who makes jobs of that, in [`consumer`] and [`cause`]; who tells
//! us of it from outside, in [`hook`].

pub(crate) mod state;

pub(crate) mod job;

pub(crate) mod event;

pub(crate) mod transition;

pub mod retry;

pub mod submission;

pub mod after;

pub mod pattern;

mod sequence;

pub mod published_event;

pub mod subject;

mod problem;

mod nearest;

mod fields;

mod job_template;

pub mod times;

pub mod type_settings;

pub(crate) mod pace;

pub(crate) mod waiting;

mod demand;

pub(crate) mod excerpt;

pub mod run_names;

mod consumer_name;

mod webhook_name;

pub mod consumer;

pub mod cause;

pub mod reaction;

pub mod workflow;

mod schedule_name;

pub mod schedules;

pub mod hook;

pub mod reserved;

pub mod webhook;

pub use after::{After, AfterFailure, Blocked, Fate};
pub use cause::{Cause, CausedBy, MadeOf, Origin, Root, Source};
pub use consumer::{Consumer, ConsumerSettings, Replay, Start, Then};
pub use consumer_name::{ConsumerName, InvalidConsumerName, Pass};
pub use demand::Demand;
pub use event::Event;
pub use excerpt::excerpt;
pub use hook::{Hook, HookName, InvalidHookName};
pub use job::{
    AttemptOutcome, AttemptRecord, Cancellation, Claim, Job, JobError, JobStatus, Policy, Priority, Progress,
};
pub use pace::{Pace, Slot};
pub use problem::Problem;
pub(crate) use problem::escaped;
pub use published_event::{EventId, EventSubmission, NewEvent, PublishedEvent};
pub use reaction::{Reacted, Reaction};
pub use retry::Backoff;
pub use schedule_name::{
    FiredBy, InvalidScheduleName, ScheduleId, ScheduleName, TickKey, TickOrigin, TickState,
};
pub use sequence::Sequence;
pub use state::State;
pub use subject::{Subject, SubjectPattern};
pub use submission::{NewJob, Submission};
pub use transition::{Change, Stale, TransitionContext, transition};
pub use type_settings::{Pause, TypeSettings, TypeSettingsChange};
pub use waiting::Waiting;
pub use webhook::{RetiringSecret, Webhook};
pub use webhook_name::{InvalidWebhookName, WebhookName};
