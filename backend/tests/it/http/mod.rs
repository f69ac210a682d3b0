//! The HTTP API over a real listener, a real client and a real store; only the broker is played.

mod broker;

pub(crate) mod server;

mod stores;

mod filling_store;

mod workflow_stores;

mod schedule_stores;
mod webhook_stores;

mod hook_stores;

mod submit;

mod batch;

mod catalogue;

mod consumers;

mod workflows;

mod runs;

mod standstills;

mod schedules;

mod hooks;

mod webhooks;

mod actions;

mod type_settings;

mod quarantine;

mod access;

mod answers;

mod problems;

mod read;

mod watch;

mod events;

mod emissions;

mod operate;

mod metrics;

mod scale;

mod document;
