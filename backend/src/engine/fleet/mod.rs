//! What is known of the workers: who is there ([`registry`]), what they hold ([`leases`]), which orders they got before
//! others ([`overtaking`]), which they must not run any more ([`revocations`]), and for how long anybody could be heard
//! ([`liveness`]). All of it is local: it is rebuilt from what workers say and from the claims in the store.

pub mod leases;

pub mod liveness;

pub mod overtaking;

pub(crate) mod registry;

pub(crate) mod revocations;
