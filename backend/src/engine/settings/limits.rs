//! What operators set for types: pauses, limits on attempts running at once, rate limits. Kept in the store, which holds
//! each dispatch against it; and here, for whoever wants to know.

use std::sync::Arc;

use crewcall_proto::JobType;
use dashmap::DashMap;

use crate::{
    domain::{TypeSettings, TypeSettingsChange},
    engine::ports::{Store, StoreError, UNANNOUNCED_TYPES_MAX},
};

/// The settings of all types.
pub struct TypeLimits {
    store: Arc<dyn Store>,
    /// Those of the types that have any.
    types: DashMap<JobType, TypeSettings>,
    /// Changes are made one after the other, or one could be lost.
    changing: tokio::sync::Mutex<()>,
}

/// Why something was not set for a type.
#[derive(Debug, thiserror::Error)]
pub enum TypeLimitsError {
    /// Nobody announced it, and there are too many like it.
    #[error("{UNANNOUNCED_TYPES_MAX} types that nobody announced have jobs or settings already")]
    TooManyTypes,
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TypeLimits {
    /// The settings as the store remembers them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let types = store.type_settings().await?.into_iter().collect();
        Ok(Self { store, types, changing: tokio::sync::Mutex::default() })
    }

    /// What is set for a type.
    #[must_use]
    pub fn get(&self, job_type: &JobType) -> TypeSettings {
        self.types.get(job_type).map(|settings| settings.clone()).unwrap_or_default()
    }

    /// The types that have settings, in no order.
    #[must_use]
    pub fn names(&self) -> Vec<JobType> {
        self.types.iter().map(|entry| entry.key().clone()).collect()
    }

    /// Sets something for a type. Returns what is set now. No attempt that is dispatched after this was answered
    /// breaks it.
    ///
    /// # Errors
    ///
    /// [`TypeLimitsError`] when it was not kept; nothing changes then.
    pub async fn change(
        &self,
        job_type: &JobType,
        change: TypeSettingsChange,
    ) -> Result<TypeSettings, TypeLimitsError> {
        let _turn = self.changing.lock().await;
        let settings = self.get(job_type).apply(change);
        if !self.store.put_type_settings(job_type, &settings).await? {
            return Err(TypeLimitsError::TooManyTypes);
        }
        if settings == TypeSettings::default() {
            self.types.remove(job_type);
        } else {
            self.types.insert(job_type.clone(), settings.clone());
        }
        Ok(settings)
    }
    /// Forgets what was set for a type; the store has forgotten it.
    pub fn forget(&self, job_type: &JobType) {
        self.types.remove(job_type);
    }
}
