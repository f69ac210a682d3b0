//! Workers by the thousand, which are nothing but what they say of themselves.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use crewcall_amqp::{Consumer, ConsumerEvent, Declaration, LinkConfig, Subscription};
use crewcall_proto::{
    ContentType, JobType, MessageKind, Timestamp, Topology, WorkerId,
    control::Control,
    decode,
    discovery::{AnnouncedType, Announcement, Goodbye, Heartbeat, Sdk, WorkerStatus},
};
use e2e::{process::PATIENCE, raw_worker::RawWorker};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Map, json};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// How many types they serve in all; each serves two.
pub(super) const TYPES: usize = 5;

/// How many of their messages are on their way at once.
const IN_FLIGHT: usize = 256;

/// How often a worker says that it is there.
const EVERY: Duration = Duration::from_secs(5);

/// A crowd of workers, and one queue for what all of them are told.
pub(super) struct Crowd {
    raw_worker: RawWorker,
    announcements: Vec<Announcement>,
    told: Option<mpsc::Receiver<ConsumerEvent>>,
    _stop: DropGuard,
}

impl Crowd {
    /// A crowd that listens, and has not said a word.
    pub(super) async fn new(amqp_url: &str, workers: usize) -> Self {
        let names = Topology::default();
        let (stop, queue) = (CancellationToken::new(), "crowd".to_owned());
        let declarations = vec![
            Declaration::ExclusiveQueue { name: queue.clone() },
            Declaration::Binding {
                queue: queue.clone(),
                exchange: names.control_exchange(),
                routing_key: "worker.#".to_owned(),
            },
        ];
        let subscription = Subscription { queue, prefetch: 1_000, tag: "crowd".to_owned(), exclusive: true };
        let (_, mut told) = Consumer::start(
            LinkConfig::new(amqp_url, "crowd"),
            declarations,
            vec![subscription],
            &stop,
            &TaskTracker::new(),
        );
        let up = timeout(PATIENCE, told.recv()).await.unwrap();
        assert!(matches!(up, Some(ConsumerEvent::Up { .. })), "{up:?}");
        let announcements = (0..workers).map(announcement).collect();
        Self {
            raw_worker: RawWorker::start(amqp_url),
            announcements,
            told: Some(told),
            _stop: stop.drop_guard(),
        }
    }

    /// All announce themselves at once, and then behave as workers do: every 5 s whoever is not welcomed
    /// announces itself again, and all send a heartbeat. Returns how long it took until all were welcomed.
    pub(super) async fn wait_for_welcomes(&mut self) -> Duration {
        let (start, welcomed) = (Instant::now(), Mutex::default());
        let mut told = self.told.take().unwrap();
        let listen = async {
            while lock(&welcomed).len() < self.announcements.len() {
                let whom = whom_welcomed(told.recv().await).await;
                lock(&welcomed).extend(whom);
            }
        };
        let speak = async {
            let mut ticks = interval(EVERY);
            loop {
                ticks.tick().await;
                self.announce(|worker_id| !lock(&welcomed).contains(worker_id)).await;
                self.heartbeat().await;
            }
        };
        let all = async {
            tokio::select! {
                () = speak => {}
                () = listen => {}
            }
        };
        let all = timeout(PATIENCE, all).await;
        assert!(all.is_ok(), "{} were welcomed", lock(&welcomed).len());
        self.told = Some(told);
        start.elapsed()
    }

    /// Those whom `wanted` names announce themselves.
    pub(super) async fn announce(&self, wanted: impl Fn(&WorkerId) -> bool) {
        self.say(MessageKind::Announce, |announced| wanted(&announced.worker_id).then(|| announced.clone()))
            .await;
    }

    /// All say that they are there.
    pub(super) async fn heartbeat(&self) {
        let heartbeat = |announced: &Announcement| {
            Some(Heartbeat {
                worker_id: announced.worker_id.clone(),
                status: WorkerStatus::Idle,
                slots_busy: 0,
                orders: Vec::new(),
                at: Timestamp::from_millis(0),
            })
        };
        self.say(MessageKind::Heartbeat, heartbeat).await;
    }

    /// All say goodbye.
    pub(super) async fn leave(self) {
        let goodbye = |announced: &Announcement| {
            Some(Goodbye {
                worker_id: announced.worker_id.clone(),
                reason: "enough".to_owned(),
                handed_back: None,
            })
        };
        self.say(MessageKind::Goodbye, goodbye).await;
        self.raw_worker.vanish().await;
    }

    async fn say<T: Serialize>(&self, kind: MessageKind, message: impl Fn(&Announcement) -> Option<T>) {
        let messages = self.announcements.iter().filter_map(message);
        let said = messages.map(|message| async move { self.raw_worker.discover(kind, &message).await });
        stream::iter(said).buffer_unordered(IN_FLIGHT).try_collect::<()>().await.unwrap();
    }
}

fn lock(welcomed: &Mutex<HashSet<WorkerId>>) -> MutexGuard<'_, HashSet<WorkerId>> {
    welcomed.lock().unwrap()
}

/// Which worker this welcomes, if it does.
async fn whom_welcomed(event: Option<ConsumerEvent>) -> Option<WorkerId> {
    let Some(ConsumerEvent::Delivery(delivery)) = event else {
        panic!("the crowd hears nothing more: {event:?}")
    };
    let content_type: ContentType = delivery.properties.content_type.as_deref().unwrap().parse().unwrap();
    let control = decode(content_type, &delivery.body).unwrap();
    delivery.ack().await.unwrap();
    let worker_id = delivery.routing_key.strip_prefix("worker.").unwrap().parse().unwrap();
    matches!(control, Control::Welcome { .. }).then_some(worker_id)
}

fn announcement(number: usize) -> Announcement {
    let properties = json!({"text": {"type": "string"}});
    let schema = json!({"type": "object", "properties": properties, "required": ["text"]});
    let announced = |number: usize| AnnouncedType {
        job_type: JobType::new(&format!("crowd.type-{}", number % TYPES)).unwrap(),
        description: "Does what a crowd does.".to_owned(),
        version: "1".to_owned(),
        parameters_schema: schema.as_object().cloned().unwrap_or_default(),
        result_schema: Map::new(),
        bundles: false,
        emits: Vec::new(),
    };
    Announcement {
        worker_id: WorkerId::generate(),
        name: "crowd".to_owned(),
        version: "1".to_owned(),
        sdk: Sdk { language: "none".to_owned(), version: "1".to_owned() },
        host: format!("host-{number}"),
        pid: 1,
        slots: 1,
        content_type: ContentType::MessagePack,
        types: vec![announced(number), announced(number + 1)],
        started_at: Timestamp::from_millis(0),
    }
}
