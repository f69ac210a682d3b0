//! The only SQL: keeps jobs behind the port [`Store`](crate::engine::ports::Store).
//!
//! [`sqlite`] is the embedded default: one file, one writing thread, no service to install. Another
//! database gets a module of its own beside it and passes the same conformance suite (`tests/it/store`).

pub(crate) mod sqlite;

pub use sqlite::{Copied, CopyError, OpenError, SqliteStore, back_up, restore};
