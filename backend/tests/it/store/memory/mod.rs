//! A store in memory: the reference that shows what a store has to do, and no more.
//!
//! It takes whatever calls wait together as one batch, as a database behind a network would: what all of them want is loaded
//! in one step, then each decides in turn, then all is written in one step. What an earlier call of a batch decided, a later
//! one of it sees ([`Overlay`]).

mod runs;

mod disk;

mod followers;

mod reads;

mod workflows;

mod schedules;

mod hooks;

mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use crewcall_backend::{
    clock::Clock,
    domain::TypeSettings,
    engine::{
        ports::{
            Lifecycle, Quarantine, QuarantineEntry, QuarantinedMessage, StoreError, StoreUsage, StoredType,
            Types, Written,
        },
        rules::{
            Decide, DeleteType, Inconsistent, JobCounts, Loaded, Named, PutType, PutTypeSettings, Rules,
            Wanted, Writes, decide,
        },
    },
};
use crewcall_proto::JobType;
use tokio::sync::oneshot;

pub(crate) use self::disk::Disk;
use self::disk::Overlay;

/// A store whose disk outlives it.
pub(crate) struct MemoryStore {
    state: Mutex<State>,
    waiting: Mutex<Vec<Box<dyn Call>>>,
}

struct State {
    disk: Arc<Mutex<Disk>>,
    rules: Rules,
    closed: bool,
}

/// A call that waits for its batch.
trait Call: Send {
    fn wants(&self, rules: &Rules) -> Wanted;

    fn decide(&mut self, loaded: Loaded, rules: &mut Rules) -> Result<Writes, Inconsistent>;

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Request<D: Decide> {
    command: Option<D>,
    written: Option<Written<D::Value>>,
    caller: oneshot::Sender<Result<Written<D::Value>, StoreError>>,
}

impl<D> Call for Request<D>
where
    D: Decide + Send,
    D::Value: Send,
{
    fn wants(&self, rules: &Rules) -> Wanted {
        self.command.as_ref().map_or(Wanted::Nothing, |command| command.wants(rules))
    }

    fn decide(&mut self, loaded: Loaded, rules: &mut Rules) -> Result<Writes, Inconsistent> {
        let (written, writes) = decide(self.command.take().unwrap(), loaded, rules)?;
        self.written = Some(written);
        Ok(writes)
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { written, caller, .. } = *self;
        let _ = caller.send(outcome.map(|()| written.unwrap()));
    }
}

impl MemoryStore {
    /// A store on this disk.
    pub(crate) fn open(disk: &Arc<Mutex<Disk>>, clock: Arc<dyn Clock>) -> Self {
        let mut counts = {
            let disk = disk.lock().unwrap();
            JobCounts::new(disk.issued, disk.sequenced)
        };
        disk.lock().unwrap().open(clock.now(), &mut counts);
        let rules = {
            let disk = disk.lock().unwrap();
            let runs = disk.shelf.known();
            Rules {
                counts,
                followers: disk.followers(),
                consumers: disk.consumers(&runs),
                runs,
                schedules: disk.agenda.known(),
                hooks: Named::new(disk.hooks.values().cloned()),
                webhooks: Named::new(disk.webhooks.values().cloned()),
                clock,
            }
        };
        let state = State { disk: Arc::clone(disk), rules, closed: false };
        Self { state: Mutex::new(state), waiting: Mutex::default() }
    }

    /// Does something together with whatever else waits.
    async fn run<D>(&self, command: D) -> Result<Written<D::Value>, StoreError>
    where
        D: Decide + Send + 'static,
        D::Value: Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        self.waiting.lock().unwrap().push(Box::new(Request {
            command: Some(command),
            written: None,
            caller,
        }));
        // Others come meanwhile.
        tokio::task::yield_now().await;
        self.state.lock().unwrap().commit(std::mem::take(&mut *self.waiting.lock().unwrap()));
        answer.await.unwrap()
    }

    fn read<T>(&self, read: impl FnOnce(&Disk, &Rules) -> T) -> Result<T, StoreError> {
        let state: MutexGuard<'_, State> = self.state.lock().unwrap();
        if state.closed {
            return Err(StoreError::Closed);
        }
        let disk = state.disk.lock().unwrap();
        Ok(read(&disk, &state.rules))
    }

    fn write<T>(&self, write: impl FnOnce(&mut Disk) -> T) -> Result<T, StoreError> {
        let state = self.state.lock().unwrap();
        if state.closed {
            return Err(StoreError::Closed);
        }
        Ok(write(&mut state.disk.lock().unwrap()))
    }
}

impl State {
    fn commit(&mut self, batch: Vec<Box<dyn Call>>) {
        if self.closed {
            return batch.into_iter().for_each(|call| call.answer(Err(StoreError::Closed)));
        }
        let mut disk = self.disk.lock().unwrap();
        let now = self.rules.now();
        let loaded: Vec<Loaded> = batch.iter().map(|call| disk.load(call.wants(&self.rules), now)).collect();
        let mut overlay = Overlay::default();
        let mut outcomes = Vec::new();
        for (mut call, mut loaded) in batch.into_iter().zip(loaded) {
            overlay.bring_up_to_date(&call.wants(&self.rules), &mut loaded);
            loaded.followers = overlay.found(self.rules.followers.of(loaded.ending()), &disk);
            let savepoint = self.rules.savepoint();
            let decided = call.decide(loaded, &mut self.rules).map_err(|error| error.to_string());
            let outcome = decided.and_then(|writes| overlay.take(writes, &disk));
            if outcome.is_err() {
                self.rules.roll_back_to(savepoint);
            }
            outcomes.push((call, outcome.map_err(|reason| StoreError::Broken { reason })));
        }
        disk.write(overlay, &self.rules, now);
        self.rules.counts.commit().for_each(drop);
        self.rules.followers.commit();
        self.rules.consumers.commit();
        self.rules.runs.commit();
        self.rules.schedules.commit();
        self.rules.hooks.commit();
        self.rules.webhooks.commit();
        drop(disk);
        for (call, outcome) in outcomes {
            call.answer(outcome);
        }
    }
}

#[async_trait]
impl Types for MemoryStore {
    async fn types(&self) -> Result<Vec<StoredType>, StoreError> {
        self.read(|disk, _| disk.types.values().cloned().collect())
    }

    async fn put_type(&self, stored: StoredType) -> Result<(), StoreError> {
        self.run(PutType(stored)).await.map(|written| written.value)
    }

    async fn delete_type(&self, job_type: &JobType) -> Result<Option<usize>, StoreError> {
        self.run(DeleteType(job_type.clone())).await.map(|written| written.value)
    }

    async fn type_settings(&self) -> Result<Vec<(JobType, TypeSettings)>, StoreError> {
        self.read(|disk, _| {
            let set = disk.terms.iter().filter(|(_, terms)| terms.settings != TypeSettings::default());
            set.map(|(job_type, terms)| (job_type.clone(), terms.settings.clone())).collect()
        })
    }

    async fn put_type_settings(
        &self,
        job_type: &JobType,
        settings: &TypeSettings,
    ) -> Result<bool, StoreError> {
        let command = PutTypeSettings { job_type: job_type.clone(), settings: settings.clone() };
        self.run(command).await.map(|written| written.value)
    }
}

#[async_trait]
impl Quarantine for MemoryStore {
    async fn quarantined(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError> {
        self.read(|disk, _| {
            let entries = disk.quarantine.iter().rev();
            entries
                .filter(|entry| before.is_none_or(|before| entry.number < before))
                .take(limit)
                .cloned()
                .collect()
        })
    }

    async fn delete_quarantined(&self, number: Option<u64>) -> Result<usize, StoreError> {
        self.write(|disk| {
            let before = disk.quarantine.len();
            disk.quarantine.retain(|entry| number.is_some_and(|number| entry.number != number));
            before - disk.quarantine.len()
        })
    }

    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError> {
        self.write(|disk| disk.quarantine(messages))
    }
}

#[async_trait]
impl Lifecycle for MemoryStore {
    async fn installation(&self) -> Result<String, StoreError> {
        self.read(|_, _| "memory".to_owned())
    }

    async fn usage(&self) -> Result<StoreUsage, StoreError> {
        self.read(|_, _| StoreUsage::default())
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.read(|_, _| ())
    }

    async fn failed(&self) -> String {
        std::future::pending().await
    }

    async fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }
}
