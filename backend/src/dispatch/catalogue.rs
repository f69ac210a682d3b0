//! Which types exist, and which parameters they take: learnt from announcements, kept in the store.

use std::sync::Arc;

use crewcall_proto::{JobType, JsonObject, discovery::AnnouncedType};
use dashmap::DashMap;
use serde_json::Value;

use super::ports::{JobStore, StoreError, StoredType};
use crate::{clock::Clock, domain::Problem};

/// The largest schema that is taken from a worker, in bytes of its JSON text.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;

/// How many types are remembered.
pub const TYPES_MAX: usize = 10_000;

/// How many problems of one submission are told.
pub const PROBLEMS_MAX: usize = 32;

/// The live catalogue of types.
pub struct Catalogue {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    types: DashMap<JobType, Entry>,
}

struct Entry {
    stored: StoredType,
    /// The compiled schema; `None` for one that takes anything.
    validator: Option<Arc<jsonschema::Validator>>,
    /// Why the type has no queue, if it has none.
    queue_trouble: Option<String>,
}

/// What an announcement of a type brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// Nobody ever served it.
    New,
    /// Its schema, version or description changed.
    Changed,
    /// Nothing.
    Known,
}

/// Why an announced type is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Its parameters schema is no JSON Schema.
    #[error("the parameters schema of {job_type} is not usable: {reason}")]
    Schema {
        /// Which type.
        job_type: JobType,
        /// What is wrong.
        reason: String,
    },
    /// There are too many types.
    #[error("{job_type} is not taken: the catalogue holds its limit of {TYPES_MAX} types")]
    Full {
        /// Which type.
        job_type: JobType,
    },
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Catalogue {
    /// The catalogue as the store remembers it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn load(store: Arc<dyn JobStore>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let types = DashMap::new();
        for stored in store.types().await? {
            let validator = compile(&stored.parameters_schema).unwrap_or_else(|reason| {
                tracing::warn!(job.r#type = %stored.job_type, reason, "The stored schema is not usable; any parameters are taken.");
                None
            });
            types.insert(stored.job_type.clone(), Entry { stored, validator, queue_trouble: None });
        }
        Ok(Self { store, clock, types })
    }

    /// Takes a type as a worker announced it. What was announced last counts: during a rolling change of
    /// workers a submission is held against the newest schema.
    ///
    /// # Errors
    ///
    /// [`CatalogueError`] when it is not taken; other types of the same worker are not affected.
    pub async fn announced(&self, announced: &AnnouncedType) -> Result<Learnt, CatalogueError> {
        let job_type = announced.job_type.clone();
        let schema_error = |reason| CatalogueError::Schema { job_type: job_type.clone(), reason };
        let before = self.types.get(&job_type).map(|entry| entry.stored.clone());
        if let Some(known) = &before
            && same(known, announced)
        {
            return Ok(Learnt::Known);
        }
        if before.is_none() && self.types.len() >= TYPES_MAX {
            return Err(CatalogueError::Full { job_type });
        }
        for schema in [&announced.parameters_schema, &announced.result_schema] {
            let bytes = serde_json::to_vec(schema).map_or(usize::MAX, |text| text.len());
            if bytes > SCHEMA_BYTES_MAX {
                return Err(schema_error(format!("it is larger than {SCHEMA_BYTES_MAX} bytes")));
            }
        }
        let validator = compile(&announced.parameters_schema).map_err(schema_error)?;
        let now = self.clock.now();
        let stored = StoredType {
            job_type: job_type.clone(),
            description: announced.description.clone(),
            version: announced.version.clone(),
            parameters_schema: announced.parameters_schema.clone(),
            result_schema: announced.result_schema.clone(),
            first_announced_at: before.as_ref().map_or(now, |known| known.first_announced_at),
            last_announced_at: now,
        };
        self.store.put_type(stored.clone()).await?;
        let queue_trouble = self.queue_trouble(&job_type);
        self.types.insert(job_type, Entry { stored, validator, queue_trouble });
        Ok(if before.is_some() { Learnt::Changed } else { Learnt::New })
    }

    /// What is wrong with the parameters, by the type's schema. Nothing, for a type that nobody announced yet.
    #[must_use]
    pub fn parameter_problems(&self, job_type: &JobType, parameters: &JsonObject) -> Vec<Problem> {
        let validator = self.types.get(job_type).and_then(|entry| entry.validator.clone());
        let Some(validator) = validator else { return Vec::new() };
        validator
            .iter_errors(&Value::Object(parameters.clone()))
            .take(PROBLEMS_MAX)
            .map(|error| Problem {
                pointer: format!("/parameters{}", error.instance_path()),
                message: super::mismatch::sentence(&error),
            })
            .collect()
    }

    /// Whether anybody ever announced the type.
    #[must_use]
    pub fn knows(&self, job_type: &JobType) -> bool {
        self.types.contains_key(job_type)
    }

    /// One type.
    #[must_use]
    pub fn get(&self, job_type: &JobType) -> Option<StoredType> {
        self.types.get(job_type).map(|entry| entry.stored.clone())
    }

    /// Why a type has no queue; `None` when nothing is wrong with it.
    #[must_use]
    pub fn queue_trouble(&self, job_type: &JobType) -> Option<String> {
        self.types.get(job_type).and_then(|entry| entry.queue_trouble.clone())
    }

    /// The queue of a type could not be declared. Answers whether that is news.
    pub fn set_queue_trouble(&self, job_type: &JobType, trouble: String) -> bool {
        let Some(mut entry) = self.types.get_mut(job_type) else { return true };
        entry.queue_trouble.replace(trouble.clone()) != Some(trouble)
    }

    /// The type has its queue.
    pub fn clear_queue_trouble(&self, job_type: &JobType) {
        if let Some(mut entry) = self.types.get_mut(job_type) {
            entry.queue_trouble = None;
        }
    }

    /// The types whose queue could not be declared.
    #[must_use]
    pub fn in_trouble(&self) -> Vec<JobType> {
        let troubled = self.types.iter().filter(|entry| entry.queue_trouble.is_some());
        troubled.map(|entry| entry.key().clone()).collect()
    }

    /// Every type, by name.
    #[must_use]
    pub fn all(&self) -> Vec<StoredType> {
        let mut types: Vec<StoredType> = self.types.iter().map(|entry| entry.stored.clone()).collect();
        types.sort_by(|a, b| a.job_type.cmp(&b.job_type));
        types
    }
}

fn same(known: &StoredType, announced: &AnnouncedType) -> bool {
    known.description == announced.description
        && known.version == announced.version
        && known.parameters_schema == announced.parameters_schema
        && known.result_schema == announced.result_schema
}

fn compile(schema: &JsonObject) -> Result<Option<Arc<jsonschema::Validator>>, String> {
    if schema.is_empty() {
        return Ok(None);
    }
    jsonschema::validator_for(&Value::Object(schema.clone()))
        .map(|validator| Some(Arc::new(validator)))
        .map_err(|error| error.to_string())
}
