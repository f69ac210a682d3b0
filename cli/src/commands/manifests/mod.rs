//! Files of what is applied: consumers and workflows.

pub(super) mod files;
pub(super) mod yaml;
