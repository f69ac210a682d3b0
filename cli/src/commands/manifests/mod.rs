//! Files of what is applied: consumers, hooks, webhooks, workflows and schedules.

pub(super) mod documents;
pub(super) mod files;
pub(super) mod yaml;
