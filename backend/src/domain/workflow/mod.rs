//! Workflows.

pub mod definition;
mod graph;
pub mod limits;
mod nearest;

mod fields;
mod references;

mod check;

mod document;

pub mod run;

pub mod facts;

pub mod machine;

pub mod waits_for;
