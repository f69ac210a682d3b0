//! The workers: who is there ([`registry`]), what they said ([`discovery`]), whose queues they need ([`queues`]), what
//! they hold ([`leases`]) and what they ask (`questions`), and for how long anybody could be heard ([`liveness`]). All of it is local: it is rebuilt from
//! what workers say and from the claims in the store.

mod announcement;

pub mod discovery;

pub mod leases;

pub mod liveness;

pub mod overtaking;

mod questions;

pub mod queues;

pub mod registry;

pub mod revocations;
