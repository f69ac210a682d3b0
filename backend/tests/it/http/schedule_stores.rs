//! Schedules of stores that fail, and of those that fill.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use crewcall_backend::{
    domain::{
        ScheduleId, ScheduleName,
        schedules::{known::Schedule, tick::TickRecord},
    },
    engine::ports::{
        ScheduleChange, ScheduleChanged, ScheduleStep, Schedules, StoreError, TickQuery, Ticked, Written,
    },
};

use super::{filling_store::FillingStore, stores::FailingStore};

#[async_trait]
impl Schedules for FailingStore {
    fn schedules(&self) -> Vec<Arc<Schedule>> {
        Vec::new()
    }

    fn schedule(&self, _: &ScheduleName) -> Option<Arc<Schedule>> {
        None
    }

    async fn change_schedule(
        &self,
        _: &ScheduleName,
        _: ScheduleChange,
    ) -> Result<Written<ScheduleChanged>, StoreError> {
        Err((self.0)())
    }

    async fn tick(&self, _: ScheduleStep) -> Result<Written<Ticked>, StoreError> {
        Err((self.0)())
    }

    async fn ticks(&self, _: TickQuery) -> Result<Vec<TickRecord>, StoreError> {
        Err((self.0)())
    }

    async fn last_result(&self, _: ScheduleId) -> Result<Option<Arc<str>>, StoreError> {
        Err((self.0)())
    }

    async fn delete_ticks(&self, _: Duration, _: usize) -> Result<(), StoreError> {
        Err((self.0)())
    }
}

#[async_trait]
impl Schedules for FillingStore {
    fn schedules(&self) -> Vec<Arc<Schedule>> {
        self.store.schedules()
    }

    fn schedule(&self, name: &ScheduleName) -> Option<Arc<Schedule>> {
        self.store.schedule(name)
    }

    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
    ) -> Result<Written<ScheduleChanged>, StoreError> {
        self.store.change_schedule(name, change).await
    }

    async fn tick(&self, step: ScheduleStep) -> Result<Written<Ticked>, StoreError> {
        self.store.tick(step).await
    }

    async fn ticks(&self, query: TickQuery) -> Result<Vec<TickRecord>, StoreError> {
        self.store.ticks(query).await
    }

    async fn last_result(&self, id: ScheduleId) -> Result<Option<Arc<str>>, StoreError> {
        self.store.last_result(id).await
    }

    async fn delete_ticks(&self, kept_for: Duration, limit: usize) -> Result<(), StoreError> {
        self.store.delete_ticks(kept_for, limit).await
    }
}
