//! Races and crowds (F57–F59).

mod cancel;
mod outage;
mod submit;
