//! Types, as they were announced, and what was set for them.

use async_trait::async_trait;
use crewcall_proto::{JobType, JsonObject, Timestamp, discovery::EmittedSubject};

use super::StoreError;
use crate::domain::TypeSettings;

/// Keeps types beside their jobs.
#[async_trait]
pub trait Types: Send + Sync {
    /// The types ever announced, by name.
    async fn types(&self) -> Result<Vec<StoredType>, StoreError>;

    /// Keeps a type as it was last announced.
    async fn put_type(&self, stored: StoredType) -> Result<(), StoreError>;

    /// Deletes a type as it was announced, and what was set for it. Returns how much there was of it; `None`, if it has
    /// jobs: nothing is deleted then.
    async fn delete_type(&self, job_type: &JobType) -> Result<Option<usize>, StoreError>;

    /// What was set for types; a type that is not named has the default.
    async fn type_settings(&self) -> Result<Vec<(JobType, TypeSettings)>, StoreError>;

    /// Keeps what was set for a type, and returns whether it did: not for one more type beyond [`UNANNOUNCED_TYPES_MAX`].
    /// A rate limit remembers what began under it, also over a change of what is set, until it is removed.
    async fn put_type_settings(
        &self,
        job_type: &JobType,
        settings: &TypeSettings,
    ) -> Result<bool, StoreError>;
}

/// How many types that nobody ever announced may have jobs or settings. Who submits chooses the names, each costs memory
/// and a place in every list, and its jobs wait until somebody serves it; a mistyped name is one, a thousand are a mistake
/// in a program. Types that were announced have a limit of their own and do not count.
pub const UNANNOUNCED_TYPES_MAX: usize = 1_000;

/// A type as it was last announced.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredType {
    pub job_type: JobType,
    pub description: String,
    /// The version of the handler.
    pub version: String,
    /// JSON Schema of the parameters.
    pub parameters_schema: JsonObject,
    /// JSON Schema of the result.
    pub result_schema: JsonObject,
    /// Which events its jobs publish, by subject.
    pub emits: Vec<EmittedSubject>,
    /// When it was first announced.
    pub first_announced_at: Timestamp,
    /// When it was last announced.
    pub last_announced_at: Timestamp,
}
