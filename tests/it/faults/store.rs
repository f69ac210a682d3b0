//! The store: disk full, locked, failing (F40–F42).
