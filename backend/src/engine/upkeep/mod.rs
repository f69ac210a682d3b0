//! What goes on by itself, so that nothing is silently stuck and nothing grows without end: due times ([`timers`]), ended
//! leases ([`rescue`]), lost orders ([`reconcile`]), old jobs ([`retention`]) and unused types ([`forget`]).

pub mod due_times;

pub mod forget;

pub mod reconcile;

pub mod rescue;

pub mod retention;

pub mod timers;
