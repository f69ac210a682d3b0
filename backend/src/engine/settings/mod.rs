//! What is known of job types and set for them: what workers announced ([`catalogue`], [`schema`]), and what operators
//! limit ([`limits`]). Both are caches of the store.

pub mod catalogue;

pub(crate) mod limits;

pub mod schema;
