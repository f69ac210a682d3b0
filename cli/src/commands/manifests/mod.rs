//! Files of what is applied: consumers, workflows and schedules.

pub(super) mod files;
pub(super) mod yaml;
