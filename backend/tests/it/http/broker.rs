//! A broker that is played: what a backend asks of it, and what it answers.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use crewcall_backend::engine::ports::{
    Broker, BrokerError, BrokerStatus, Confirmations, LoopbackProbe, OrdersWaiting, OutgoingOrder, QueueFound,
};
use crewcall_proto::{ContentType, JobType, WorkerId, control::Control};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::server::PATIENCE;
/// A broker that confirms every order and delivers none.
pub(crate) struct PlayedBroker {
    status: watch::Sender<BrokerStatus>,
    told: Mutex<Vec<(String, Control)>>,
    /// Whose queues were deleted.
    pub(super) deleted: Mutex<Vec<JobType>>,
    /// Whether instructions are not confirmed for the time being.
    silent: watch::Sender<bool>,
    asked: Mutex<Option<Box<dyn Fn() + Send>>>,
    waiting: Mutex<OrdersWaiting>,
    probes: AtomicUsize,
    last_probe: Mutex<Option<LoopbackProbe>>,
}

impl Default for PlayedBroker {
    fn default() -> Self {
        let (status, _) = watch::channel(BrokerStatus::Down { reason: "nobody listens".to_owned() });
        Self {
            status,
            told: Mutex::default(),
            deleted: Mutex::default(),
            silent: watch::channel(false).0,
            waiting: Mutex::default(),
            probes: AtomicUsize::default(),
            last_probe: Mutex::default(),
            asked: Mutex::default(),
        }
    }
}

impl PlayedBroker {
    pub(crate) fn set(&self, status: BrokerStatus) {
        self.status.send_replace(status);
    }

    /// Does something whenever somebody asks how the broker is: the relay does, before it fills a window.
    pub(crate) fn when_asked(&self, what: impl Fn() + Send + 'static) {
        *self.asked.lock().unwrap() = Some(Box::new(what));
    }

    /// Whether to leave instructions without a confirm.
    pub(crate) fn silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// How many orders are said to wait, of whichever type.
    pub(crate) fn wait(&self, waiting: OrdersWaiting) {
        *self.waiting.lock().unwrap() = waiting;
    }

    /// How many probes were sent.
    pub(crate) fn probes(&self) -> usize {
        self.probes.load(Ordering::Relaxed)
    }

    /// The probe that was sent last.
    pub(super) fn last_probe(&self) -> LoopbackProbe {
        self.last_probe.lock().unwrap().expect("a probe was sent")
    }

    async fn hear(&self, to: String, control: &Control) {
        self.told.lock().unwrap().push((to, control.clone()));
        self.silent.subscribe().wait_for(|silent| !silent).await.unwrap();
    }

    /// What workers and types were told since this was asked last.
    pub(super) fn told(&self) -> Vec<(String, Control)> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// The same, as soon as it is anything.
    pub(super) async fn told_soon(&self) -> Vec<(String, Control)> {
        let anything = async {
            while self.told.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, anything).await.expect("nobody was told anything");
        self.told()
    }
}

#[async_trait]
impl Broker for PlayedBroker {
    fn publish_orders(&self, orders: Vec<OutgoingOrder>) -> Confirmations {
        let (confirm, confirmations) = mpsc::unbounded_channel();
        for place in 0..orders.len() {
            confirm.send((place, Ok(()))).unwrap();
        }
        confirmations
    }

    async fn declare_type(&self, _: &JobType) -> Result<QueueFound, BrokerError> {
        Ok(QueueFound::Known)
    }

    async fn delete_type(&self, job_type: &JobType) -> Result<bool, BrokerError> {
        self.deleted.lock().unwrap().push(job_type.clone());
        Ok(true)
    }

    async fn send_to_worker(
        &self,
        worker_id: &WorkerId,
        _: ContentType,
        control: &Control,
    ) -> Result<(), BrokerError> {
        self.hear(worker_id.to_string(), control).await;
        Ok(())
    }

    async fn send_to_type(&self, job_type: &JobType, control: &Control) -> Result<(), BrokerError> {
        self.hear(job_type.to_string(), control).await;
        Ok(())
    }

    async fn send_to_all(&self, _: &Control) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn probe(&self, probe: LoopbackProbe) -> Result<(), BrokerError> {
        *self.last_probe.lock().unwrap() = Some(probe);
        self.probes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn orders_waiting(&self, _: &JobType) -> Result<OrdersWaiting, BrokerError> {
        Ok(*self.waiting.lock().unwrap())
    }

    fn queue_error(&self, _: &JobType) -> Option<String> {
        // Waits for ever if whoever asks still borrows the status: a change of it would come in between some day.
        self.status.send_if_modified(|_| false);
        None
    }

    fn queues_to_replace(&self) -> Vec<JobType> {
        Vec::new()
    }

    async fn replace_queue(&self, _: &JobType) -> bool {
        false
    }

    fn queues_recovered(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    fn status(&self) -> watch::Receiver<BrokerStatus> {
        if let Some(asked) = &*self.asked.lock().unwrap() {
            asked();
        }
        self.status.subscribe()
    }
}
