//! One file per command. Each takes its arguments, does one thing and says how it ended.

pub(crate) mod batch;
pub(crate) mod bench;
pub(crate) mod dev;
pub(crate) mod serve;
pub(crate) mod submit;
pub(crate) mod watch;

pub(crate) mod actions;
pub(crate) mod consumers;
pub(crate) mod events;
pub(crate) mod hooks;
pub(crate) mod jobs;
pub(crate) mod quarantine;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod types;
pub(crate) mod webhooks;
pub(crate) mod workers;
pub(crate) mod workflows;

pub(crate) mod doctor;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod topology;

mod agreement;
mod batch_ends;
mod follow;
mod hints;
mod inspect;
mod lists;
mod manifests;
mod resend;
mod resolve;
mod secrets;

pub(crate) mod backup;

pub(crate) mod completion;
pub(crate) mod man;
