//! The line to the broker: half-open, slow, reset (F6–F10).
