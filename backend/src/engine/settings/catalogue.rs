//! Which types exist, and which parameters they take: learnt from announcements, kept in the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crewcall_proto::{
    JobType, JsonObject, Timestamp,
    discovery::{AnnouncedType, EmittedSubject},
};
use dashmap::DashMap;
use serde_json::Value;

use crate::{
    clock::Clock,
    domain::Problem,
    engine::{
        ports::{Store, StoreError, StoredType},
        settings::schema::{CheckError, Checker, Schema},
    },
};

/// How many types are remembered.
pub const TYPES_MAX: usize = 10_000;

/// How many types are remembered that were refused: a reason for each, until it is taken.
const REFUSALS_MAX: usize = 1_000;

/// How old the time at which a type was last announced may become while it is served: a write an hour is no load, and
/// what is forgotten after weeks need not be known better.
const TOUCHED_EVERY: Duration = Duration::from_secs(60 * 60);

/// The live catalogue of types.
pub struct Catalogue {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    checker: Checker,
    types: DashMap<JobType, Entry>,
    /// Why a type was not taken when it was announced last.
    refusals: DashMap<JobType, String>,
    /// Held while a worker is taken, and while a type is forgotten: nobody is welcomed to what is being deleted.
    pub(in crate::engine) changing: tokio::sync::Mutex<()>,
}

type Emits = Arc<BTreeMap<String, Option<Arc<Schema>>>>;

struct Entry {
    stored: StoredType,
    /// The compiled schema; `None` for one that takes anything, or cannot be used.
    schema: Option<Arc<Schema>>,
    /// The same for each event that its jobs publish, by subject.
    emits: Emits,
    /// Why the type is not served with its schemas, if it is not.
    schema_error: Option<String>,
    /// Why the type has no queue, if it has none.
    queue_error: Option<String>,
}

/// What an announcement of a type brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeUpdate {
    /// Nobody ever served it.
    New,
    /// Its schema, version or description changed.
    Changed,
    Known,
}

/// Why an announced type is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// There are too many types.
    #[error("the backend knows its limit of {TYPES_MAX} types: delete some that nobody uses any more")]
    Full,
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
    pub async fn load(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (checker, types) = (Checker::default(), DashMap::new());
        for stored in store.types().await? {
            let Compiled { schema, emits, error: schema_error } = compiled(&checker, &stored).await;
            if let Some(reason) = &schema_error {
                tracing::warn!(job.r#type = %stored.job_type, reason, "A type is served without its schema.");
            }
            let entry = Entry { stored: stored.clone(), schema, emits, schema_error, queue_error: None };
            types.insert(stored.job_type, entry);
        }
        let (refusals, changing) = (DashMap::new(), tokio::sync::Mutex::default());
        Ok(Self { store, clock, checker, types, refusals, changing })
    }

    /// Takes a type as a worker announced it. What was announced last counts: during a rolling change of
    /// workers a submission is held against the newest schema. A schema that cannot be used does not keep the type
    /// from being served: its jobs are taken with any parameters, and [`Catalogue::schema_error`] says so.
    ///
    /// # Errors
    ///
    /// [`CatalogueError`] when it is not taken; other types of the same worker are not affected.
    pub async fn announced(&self, announced: &AnnouncedType) -> Result<TypeUpdate, CatalogueError> {
        let job_type = announced.job_type.clone();
        let before = self.types.get(&job_type).map(|entry| entry.stored.clone());
        if before.is_none() && self.types.len() >= TYPES_MAX {
            if self.refusals.len() < REFUSALS_MAX {
                self.refusals.insert(job_type, CatalogueError::Full.to_string());
            }
            return Err(CatalogueError::Full);
        }
        let (parameters_schema, parameters_error) = bounded(&announced.parameters_schema, "parameters");
        let (result_schema, result_error) = bounded(&announced.result_schema, "result");
        let emits = announced.emits.iter().map(|emitted| {
            let (schema, error) = bounded(&emitted.schema, &format!("data of {}", emitted.subject));
            (EmittedSubject { schema, ..emitted.clone() }, error)
        });
        let (emits, emits_errors): (Vec<_>, Vec<_>) = emits.unzip();
        let too_large = parameters_error.or(result_error).or(emits_errors.into_iter().flatten().next());
        let now = self.clock.now();
        let stored = StoredType {
            job_type: job_type.clone(),
            description: announced.description.clone(),
            version: announced.version.clone(),
            parameters_schema,
            result_schema,
            emits,
            first_announced_at: before.as_ref().map_or(now, |known| known.first_announced_at),
            last_announced_at: now,
        };
        if before.as_ref().is_some_and(|known| same(known, &stored)) {
            if let Some(mut entry) = self.types.get_mut(&job_type)
                && too_large.is_some()
            {
                entry.schema_error = too_large; // the store does not remember it
            }
            self.touch(&job_type).await?;
            return Ok(TypeUpdate::Known);
        }
        let Compiled { schema, emits, error } = compiled(&self.checker, &stored).await;
        let schema_error = too_large.or(error);
        self.store.put_type(stored.clone()).await?;
        let queue_error = self.queue_error(&job_type);
        self.refusals.remove(&job_type);
        self.types.insert(job_type, Entry { stored, schema, emits, schema_error, queue_error });
        Ok(if before.is_some() { TypeUpdate::Changed } else { TypeUpdate::New })
    }

    /// The type is served: what is served is not forgotten.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be kept.
    pub async fn touch(&self, job_type: &JobType) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some(mut stored) = self.get(job_type).filter(|stored| is_older(stored, now, TOUCHED_EVERY))
        else {
            return Ok(());
        };
        stored.last_announced_at = now;
        self.store.put_type(stored).await?;
        if let Some(mut entry) = self.types.get_mut(job_type) {
            entry.stored.last_announced_at = now;
        }
        Ok(())
    }

    /// The types that were last served longer ago than `kept_for`.
    #[must_use]
    pub fn not_served_for(&self, kept_for: Duration) -> Vec<JobType> {
        let now = self.clock.now();
        let old = self.types.iter().filter(|entry| is_older(&entry.stored, now, kept_for));
        old.map(|entry| entry.key().clone()).collect()
    }

    /// Removes a type that the store does not keep any more.
    pub fn forget(&self, job_type: &JobType) {
        self.types.remove(job_type);
        self.refusals.remove(job_type);
    }

    /// Why the type is not served with the schemas that were announced last, if it is not.
    #[must_use]
    pub fn schema_error(&self, job_type: &JobType) -> Option<String> {
        self.types.get(job_type).and_then(|entry| entry.schema_error.clone())
    }

    /// Why the type was not taken when it was announced last, if it was not.
    #[must_use]
    pub fn refusal(&self, job_type: &JobType) -> Option<String> {
        self.refusals.get(job_type).map(|reason| reason.clone())
    }

    /// The types that were not taken.
    #[must_use]
    pub fn refused(&self) -> Vec<JobType> {
        self.refusals.iter().map(|refusal| refusal.key().clone()).collect()
    }

    /// What is wrong with the parameters, by the type's schema. Nothing, for a type that nobody announced yet.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when they could not be checked.
    pub async fn parameter_problems(
        &self,
        job_type: &JobType,
        parameters: &JsonObject,
    ) -> Result<Vec<Problem>, CheckError> {
        match self.types.get(job_type).and_then(|entry| entry.schema.clone()) {
            Some(schema) => self.checker.check(&schema, parameters).await,
            None => Ok(Vec::new()),
        }
    }

    /// What is wrong with the data of an event that a job of the type publishes, by what was announced of it last; `None`, if
    /// no such event was announced.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when it could not be checked.
    pub async fn event_problems(
        &self,
        job_type: &JobType,
        subject: &str,
        data: &Value,
    ) -> Result<Option<Vec<Problem>>, CheckError> {
        let emits = self.types.get(job_type).map(|entry| Arc::clone(&entry.emits)).unwrap_or_default();
        match emits.get(subject) {
            Some(Some(schema)) => self.checker.check(schema, data).await.map(Some),
            Some(None) => Ok(Some(Vec::new())),
            None => Ok(None),
        }
    }

    /// What is wrong with data by this schema.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when it could not be checked.
    pub async fn data_problems(&self, schema: &JsonObject, data: &Value) -> Result<Vec<Problem>, CheckError> {
        match self.checker.compile(schema).await {
            Ok(Some(schema)) => self.checker.check(&schema, data).await,
            Ok(None) => Ok(Vec::new()),
            Err(reason) => {
                Ok(vec![Problem::new("/data", format!("the workflow's parameters are no schema: {reason}"))])
            }
        }
    }

    /// What is wrong with parameters by this schema, which is none that was announced. Nothing, if it is no schema.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when they could not be checked.
    pub async fn problems_by(
        &self,
        schema: &JsonObject,
        parameters: &JsonObject,
    ) -> Result<Vec<Problem>, CheckError> {
        match self.checker.compile(schema).await {
            Ok(Some(schema)) => self.checker.check(&schema, parameters).await,
            Ok(None) | Err(_) => Ok(Vec::new()),
        }
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
    pub fn queue_error(&self, job_type: &JobType) -> Option<String> {
        self.types.get(job_type).and_then(|entry| entry.queue_error.clone())
    }

    /// The queue of a type could not be declared. Returns whether that is news.
    pub fn set_queue_error(&self, job_type: &JobType, trouble: String) -> bool {
        let Some(mut entry) = self.types.get_mut(job_type) else { return true };
        entry.queue_error.replace(trouble.clone()) != Some(trouble)
    }

    /// The type has its queue.
    pub fn clear_queue_error(&self, job_type: &JobType) {
        if let Some(mut entry) = self.types.get_mut(job_type) {
            entry.queue_error = None;
        }
    }

    /// The types whose queue could not be declared.
    #[must_use]
    pub fn queue_errors(&self) -> Vec<JobType> {
        let troubled = self.types.iter().filter(|entry| entry.queue_error.is_some());
        troubled.map(|entry| entry.key().clone()).collect()
    }

    /// The names of all types, in no order.
    #[must_use]
    pub fn names(&self) -> Vec<JobType> {
        self.types.iter().map(|entry| entry.key().clone()).collect()
    }

    /// The types whose jobs publish events, with these, by name.
    #[must_use]
    pub fn emits(&self) -> Vec<(JobType, Vec<EmittedSubject>)> {
        let publishers = self.types.iter().filter(|entry| !entry.stored.emits.is_empty());
        let mut emits: Vec<_> =
            publishers.map(|entry| (entry.key().clone(), entry.stored.emits.clone())).collect();
        emits.sort_by(|(a, _), (b, _)| a.cmp(b));
        emits
    }

    /// Every type, by name.
    #[must_use]
    pub fn all(&self) -> Vec<StoredType> {
        let mut types: Vec<StoredType> = self.types.iter().map(|entry| entry.stored.clone()).collect();
        types.sort_by(|a, b| a.job_type.cmp(&b.job_type));
        types
    }
}

fn same(known: &StoredType, announced: &StoredType) -> bool {
    known.description == announced.description
        && known.version == announced.version
        && known.parameters_schema == announced.parameters_schema
        && known.result_schema == announced.result_schema
        && known.emits == announced.emits
}

fn is_older(stored: &StoredType, now: Timestamp, age: Duration) -> bool {
    now.since(stored.last_announced_at) >= age
}

/// A schema as it is kept: none, if it is too large.
fn bounded(schema: &JsonObject, of: &str) -> (JsonObject, Option<String>) {
    let bytes = serde_json::to_vec(schema).map_or(usize::MAX, |text| text.len());
    if bytes <= AnnouncedType::SCHEMA_BYTES_MAX {
        return (schema.clone(), None);
    }
    let most = AnnouncedType::SCHEMA_BYTES_MAX;
    (JsonObject::new(), Some(format!("the schema of the {of} is not kept: it is larger than {most} bytes")))
}

/// The schemas of a type, to be used.
struct Compiled {
    schema: Option<Arc<Schema>>,
    emits: Emits,
    /// What is wrong with the first that cannot be used.
    error: Option<String>,
}

async fn compiled(checker: &Checker, stored: &StoredType) -> Compiled {
    let mut error = None;
    let mut usable = |compiled: Result<Option<Arc<Schema>>, String>, what: &str| {
        compiled.unwrap_or_else(|reason| {
            error.get_or_insert(format!("{what} not checked, for the schema cannot be used: {reason}"));
            None
        })
    };
    let schema = usable(checker.compile(&stored.parameters_schema).await, "parameters are");
    let mut emits = BTreeMap::new();
    for EmittedSubject { subject, schema, .. } in &stored.emits {
        let schema = usable(checker.compile(schema).await, &format!("the data of {subject} is"));
        emits.insert(subject.clone(), schema);
    }
    Compiled { schema, emits: Arc::new(emits), error }
}
