//! What breaks, one test for each fault of `docs/faults.md`, by its number: each makes the fault on real parts, heals
//! it, and prints how the invariants were seen to hold.

mod broker;

mod link;

mod backend;

mod worker;

mod messages;

mod store;

mod catalogue;

mod clock;

mod fleet;

mod resources;

mod callers;

mod races;

mod chaos;

// What they share.
mod attempts;

mod corpus;

mod crowd;
