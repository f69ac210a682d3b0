//! The registry, by itself and against a model.

use crewcall_proto::discovery::Sdk;
use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::engine::fleet::liveness::PROBE_EVERY;

const NOW: Timestamp = Timestamp::from_millis(0);

fn worker_id(number: u8) -> WorkerId {
    format!("worker-{number}").parse().unwrap()
}

fn job_type(number: u8) -> JobType {
    JobType::new(&format!("type.{number}")).unwrap()
}

fn heartbeat(worker: u8, status: ReportedStatus, slots_busy: u32) -> Heartbeat {
    Heartbeat { worker_id: worker_id(worker), status, slots_busy, orders: Vec::new(), at: NOW }
}

fn announcement(worker: u8, types: &[u8], slots: u32, content_type: ContentType) -> Announcement {
    let announced = |number: &u8| AnnouncedType {
        job_type: job_type(*number),
        description: String::new(),
        version: String::new(),
        parameters_schema: JsonObject::new(),
        result_schema: JsonObject::new(),
        bundles: slots.is_multiple_of(2), // some do, some do not
        emits: Vec::new(),
    };
    Announcement {
        worker_id: worker_id(worker),
        name: "test".to_owned(),
        version: "1".to_owned(),
        sdk: Sdk { language: "none".to_owned(), version: "1".to_owned() },
        host: "nowhere".to_owned(),
        pid: 1,
        slots,
        content_type,
        types: types.iter().map(announced).collect(),
        started_at: NOW,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Announce { worker: u8, types: Vec<u8>, slots: u32, json: bool },
    Heartbeat { worker: u8, draining: bool, slots_busy: u32 },
    Goodbye { worker: u8 },
    Silence { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let announce = (0..4_u8, prop::collection::vec(0..3_u8, 0..4), 1..5_u32, any::<bool>())
        .prop_map(|(worker, types, slots, json)| Step::Announce { worker, types, slots, json });
    let step = prop_oneof![
        3 => announce,
        2 => (0..4_u8, any::<bool>(), 0..6_u32)
            .prop_map(|(worker, draining, slots_busy)| Step::Heartbeat { worker, draining, slots_busy }),
        1 => (0..4_u8).prop_map(|worker| Step::Goodbye { worker }),
        2 => prop_oneof![Just(8), Just(700)].prop_map(|seconds| Step::Silence { seconds }),
    ];
    prop::collection::vec(step, 0..40)
}

async fn take(registry: &Registry, step: Step) {
    match step {
        Step::Announce { worker, types, slots, json } => {
            let content_type = if json { ContentType::Json } else { ContentType::MessagePack };
            registry.announced(announcement(worker, &types, slots, content_type), NOW);
        }
        Step::Heartbeat { worker, draining, slots_busy } => {
            let status = if draining { ReportedStatus::Draining } else { ReportedStatus::Busy };
            let heartbeat = heartbeat(worker, status, slots_busy);
            registry.heartbeat(&heartbeat, NOW);
        }
        Step::Goodbye { worker } => {
            registry.goodbye(&worker_id(worker));
        }
        Step::Silence { seconds } => {
            for _ in 0..seconds {
                advance(PROBE_EVERY).await;
                registry.liveness.on_probe(registry.liveness.probe());
            }
            registry.mark_lost();
        }
    }
}

proptest! {
    #[test]
    fn the_sums_of_a_type_are_those_of_its_workers(steps in steps()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let registry = Registry::new(Arc::default());
            for step in steps {
                take(&registry, step).await;
            }
            for number in 0..3 {
                let job_type = job_type(number);
                let mut workers = registry.workers();
                workers.retain(|worker| worker.announcement.types.iter().any(|served| served.job_type == job_type));
                let there = workers.iter().filter(|worker| worker.status != WorkerStatus::Lost);
                let capacity = Capacity {
                    workers: there.clone().count(),
                    slots: there.clone().map(Worker::slots).sum(),
                };
                assert_eq!(registry.capacity(&job_type), capacity);
                let taking = there.clone().filter(|worker| worker.status != WorkerStatus::Draining);
                let staff = Staff {
                    workers: capacity.workers,
                    draining: capacity.workers - taking.clone().count(),
                    slots: taking.clone().map(Worker::slots).sum(),
                    slots_busy: taking.map(Worker::slots_taken).sum(),
                };
                assert_eq!(registry.staff(&job_type), staff);
                let packed = !workers.is_empty()
                    && workers.iter().all(|worker| worker.announcement.content_type == ContentType::MessagePack);
                let encoding = if packed { ContentType::MessagePack } else { ContentType::Json };
                assert_eq!(registry.order_encoding(&job_type), encoding);
                let all_take = workers.iter().all(|worker| worker.announcement.slots.is_multiple_of(2));
                let bundling = Some(capacity).filter(|capacity| capacity.workers > 0 && all_take);
                assert_eq!(registry.bundling(&job_type), bundling);
            }
            for worker in registry.workers() {
                registry.goodbye(&worker.announcement.worker_id);
            }
            assert!(registry.by_type.is_empty(), "nobody is left: {:?}", registry.by_type);
        });
    }
}

#[tokio::test]
async fn of_types_only_names_and_bundles_are_kept() {
    let registry = Registry::new(Arc::default());
    let mut sent = announcement(0, &[0, 1], 1, ContentType::Json);
    let names: Vec<JobType> = sent.types.iter().map(|announced| announced.job_type.clone()).collect();
    for announced in &mut sent.types {
        announced.bundles = true;
        announced.description = "x".repeat(1_000);
        announced.parameters_schema.insert("enum".to_owned(), vec![0; 1_000].into());
        announced.result_schema = announced.parameters_schema.clone();
    }
    registry.announced(sent, NOW);
    let kept = registry.worker(&worker_id(0)).unwrap();
    assert!(kept.announcement.types.iter().all(|kept| {
        kept.bundles
            && kept.description.is_empty()
            && kept.parameters_schema.is_empty()
            && kept.result_schema.is_empty()
    }));
    assert!(kept.announcement.types.iter().map(|announced| &announced.job_type).eq(&names));
}

#[tokio::test(start_paused = true)]
async fn a_worker_stays_drained_until_its_process_ends() {
    let registry = Registry::new(Arc::default());
    let drained = || registry.worker(&worker_id(0)).is_some_and(|worker| worker.drained);
    registry.announced(announcement(0, &[0], 1, ContentType::Json), NOW);
    assert!(!registry.set_drained(&worker_id(0), true));
    take(&registry, Step::Silence { seconds: 20 }).await;
    registry.announced(announcement(0, &[0], 1, ContentType::Json), NOW);
    assert!(drained(), "it was lost for a while");
    let mut anew = announcement(0, &[0], 1, ContentType::Json);
    anew.started_at = Timestamp::from_millis(1);
    registry.announced(anew, NOW);
    assert!(!drained(), "it is another process");
    assert!(!registry.set_drained(&worker_id(1), true), "nobody knows it");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_known_is_spoken_to_in_json() {
    let registry = Registry::new(Arc::default());
    assert_eq!(registry.content_type(&worker_id(0)), ContentType::Json, "whoever it is reads that");
    registry.announced(announcement(0, &[0], 1, ContentType::MessagePack), NOW);
    assert_eq!(registry.content_type(&worker_id(0)), ContentType::MessagePack);
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_missed_is_seen_in_its_heartbeats() {
    let registry = Registry::new(Arc::default());
    registry.announced(announcement(0, &[0], 1, ContentType::Json), NOW);
    let missed = |status| registry.missed(&heartbeat(0, status, 0));
    assert_eq!(missed(ReportedStatus::Draining), None, "a drain of its own");
    registry.set_drained(&worker_id(0), true);
    assert_eq!(missed(ReportedStatus::Idle), Some(Control::Drain));
    assert_eq!(missed(ReportedStatus::Unknown), None, "nobody knows whether it drains");
    assert_eq!(missed(ReportedStatus::Draining), None);
    registry.set_drained(&worker_id(0), false);
    assert_eq!(missed(ReportedStatus::Draining), Some(Control::Resume));
    assert_eq!(missed(ReportedStatus::Busy), None);
    assert_eq!(missed(ReportedStatus::Draining), None, "it has resumed, and drains by itself");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_given_up_while_nobody_can_be_heard() {
    let registry = Registry::new(Arc::default());
    registry.announced(announcement(0, &[0], 1, ContentType::Json), NOW);
    advance(WORKER_LOST_AFTER * 10).await;
    registry.liveness.on_probe(registry.liveness.probe());
    assert_eq!(registry.mark_lost(), []);
    take(&registry, Step::Silence { seconds: WORKER_LOST_AFTER.as_secs() }).await;
    assert_eq!(registry.worker(&worker_id(0)).map(|worker| worker.status), Some(WorkerStatus::Lost));
}
