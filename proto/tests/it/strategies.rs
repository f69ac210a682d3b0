//! Arbitrary messages, as wide as the contract allows.

use crewcall_proto::{
    Attempt, AttemptId, AttemptToken, ContentType, ExecutionId, JobId, JobType, JsonObject, Order, Timestamp,
    WorkerId,
    control::{Control, RefusedType},
    discovery::{
        AnnouncedType, Announcement, EmittedSubject, Goodbye, Heartbeat, RunningOrder, Sdk, WorkerStatus,
    },
    event::{Emitted, Event},
    response::{Completed, ErrorKind, Failed, HandedBack, Held, Progression, ProgressionKind},
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};
use serde_json::{Number, Value};

use crate::message::Message;

/// Levels below the object itself: with the message around it, the deepest stays within the limit.
const JSON_LEVELS: u32 = 6;

pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        order().prop_map(Message::Order),
        progression().prop_map(Message::Progression),
        held().prop_map(Message::Held),
        handed_back().prop_map(Message::HandedBack),
        emitted().prop_map(Message::Emitted),
        completed().prop_map(Message::Completed),
        failed().prop_map(Message::Error),
        announcement().prop_map(Message::Announce),
        heartbeat().prop_map(Message::Heartbeat),
        (worker_id(), any::<String>(), option::of(vec(attempt_id(), 0..4))).prop_map(
            |(worker_id, reason, handed_back)| {
                Message::Goodbye(Goodbye { worker_id, reason, handed_back })
            }
        ),
        control().prop_map(Message::Control),
    ]
}

pub(crate) fn content_type() -> impl Strategy<Value = ContentType> {
    prop_oneof![Just(ContentType::MessagePack), Just(ContentType::Json)]
}

/// The five fields that every response carries.
type Origin = (JobId, Attempt, AttemptToken, ExecutionId, WorkerId);

fn origin() -> impl Strategy<Value = Origin> {
    (job_id(), attempt(), token(), execution_id(), worker_id())
}

fn order() -> impl Strategy<Value = Order> {
    (
        (any::<u16>(), job_id(), job_type(), attempt(), token(), any::<u32>()),
        (object(), option::of(any::<u64>()), option::of(timestamp()), timestamp()),
    )
        .prop_map(
            |(
                (protocol, job_id, job_type, attempt, attempt_token, max_attempts),
                (parameters, timeout_ms, expires_at, created_at),
            )| Order {
                protocol,
                job_id,
                job_type,
                attempt,
                attempt_token,
                max_attempts,
                parameters,
                timeout_ms,
                expires_at,
                created_at,
            },
        )
}

fn progression() -> impl Strategy<Value = Progression> {
    let kind = prop_oneof![Just(ProgressionKind::Started), Just(ProgressionKind::Progress)];
    (origin(), any::<u64>(), kind, option::of(0..=100_u8), option::of(any::<String>()), timestamp()).prop_map(
        |((job_id, attempt, attempt_token, execution_id, worker_id), seq, kind, percent, message, at)| {
            Progression {
                job_id,
                attempt,
                attempt_token,
                execution_id,
                worker_id,
                seq,
                kind,
                percent,
                message,
                at,
            }
        },
    )
}

fn held() -> impl Strategy<Value = Held> {
    (origin(), any::<u64>(), timestamp()).prop_map(
        |((job_id, attempt, attempt_token, execution_id, worker_id), seq, at)| Held {
            job_id,
            attempt,
            attempt_token,
            execution_id,
            worker_id,
            seq,
            at,
        },
    )
}

fn handed_back() -> impl Strategy<Value = HandedBack> {
    (origin(), any::<bool>(), option::of(any::<String>()), option::of(timestamp()), timestamp()).prop_map(
        |((job_id, attempt, attempt_token, execution_id, worker_id), resend, message, started_at, at)| {
            HandedBack {
                job_id,
                attempt,
                attempt_token,
                execution_id,
                worker_id,
                resend,
                message,
                started_at,
                at,
            }
        },
    )
}

fn attempt_id() -> impl Strategy<Value = AttemptId> {
    (job_id(), attempt()).prop_map(|(job_id, attempt)| AttemptId { job_id, attempt })
}

fn completed() -> impl Strategy<Value = Completed> {
    (origin(), json(), vec(event(), 0..3), timestamp(), timestamp()).prop_map(
        |(
            (job_id, attempt, attempt_token, execution_id, worker_id),
            result,
            events,
            started_at,
            finished_at,
        )| {
            Completed {
                job_id,
                attempt,
                attempt_token,
                execution_id,
                worker_id,
                result,
                events,
                started_at,
                finished_at,
            }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    (subject(), json(), option::of(timestamp())).prop_map(|(subject, data, occurred_at)| Event {
        subject,
        data,
        occurred_at,
    })
}

fn emitted() -> impl Strategy<Value = Emitted> {
    (origin(), any::<String>(), event()).prop_map(
        |((job_id, attempt, attempt_token, execution_id, worker_id), id, event)| Emitted {
            job_id,
            attempt,
            attempt_token,
            execution_id,
            worker_id,
            id,
            subject: event.subject,
            data: event.data,
            occurred_at: event.occurred_at,
        },
    )
}

fn failed() -> impl Strategy<Value = Failed> {
    let kind = prop_oneof![Just(ErrorKind::Handler), Just(ErrorKind::InvalidParameters)];
    let text = (option::of(any::<String>()), any::<String>(), option::of(any::<String>()));
    let times = (option::of(any::<u64>()), option::of(timestamp()), timestamp());
    (origin(), kind, text, (option::of(any::<bool>()), any::<bool>()), times).prop_map(
        |(
            (job_id, attempt, attempt_token, execution_id, worker_id),
            kind,
            (code, message, detail),
            (redelivered, retryable),
            (retry_after_ms, started_at, finished_at),
        )| Failed {
            job_id,
            attempt,
            attempt_token,
            execution_id,
            worker_id,
            kind,
            code,
            message,
            detail,
            redelivered,
            retryable,
            retry_after_ms,
            started_at,
            finished_at,
        },
    )
}

fn announcement() -> impl Strategy<Value = Announcement> {
    let sdk = (any::<String>(), any::<String>()).prop_map(|(language, version)| Sdk { language, version });
    let texts = (any::<String>(), any::<String>(), any::<String>());
    (worker_id(), texts, sdk, any::<u32>(), any::<u32>(), content_type(), vec(announced(), 0..4), timestamp())
        .prop_map(|(worker_id, (name, version, host), sdk, pid, slots, content_type, types, started_at)| {
            Announcement { worker_id, name, version, sdk, host, pid, slots, content_type, types, started_at }
        })
}

fn announced() -> impl Strategy<Value = AnnouncedType> {
    let emits = (subject(), any::<String>(), object())
        .prop_map(|(subject, description, schema)| EmittedSubject { subject, description, schema });
    let schemas = (object(), object());
    (job_type(), any::<String>(), any::<String>(), schemas, any::<bool>(), vec(emits, 0..3)).prop_map(
        |(job_type, description, version, (parameters_schema, result_schema), bundles, emits)| {
            AnnouncedType { job_type, description, version, parameters_schema, result_schema, bundles, emits }
        },
    )
}

fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    let status =
        prop_oneof![Just(WorkerStatus::Idle), Just(WorkerStatus::Busy), Just(WorkerStatus::Draining)];
    let running = (job_id(), attempt(), any::<bool>(), any::<bool>())
        .prop_map(|(job_id, attempt, held, asks)| RunningOrder { job_id, attempt, held, asks });
    (worker_id(), status, any::<u32>(), vec(running, 0..4), timestamp()).prop_map(
        |(worker_id, status, slots_busy, orders, at)| Heartbeat { worker_id, status, slots_busy, orders, at },
    )
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        (vec(job_type(), 0..4), vec(refused(), 0..3), vec(attempt_id(), 0..4), vec(any::<String>(), 0..3))
            .prop_map(|(types, refused, revoked, features)| Control::Welcome {
                types,
                refused,
                revoked,
                features
            }),
        any::<String>().prop_map(|reason| Control::Refused { reason }),
        vec(attempt_id(), 0..4).prop_map(|orders| Control::Proceed { orders }),
        (job_id(), attempt()).prop_map(|(job_id, attempt)| Control::Cancel { job_id, attempt }),
        (job_id(), attempt()).prop_map(|(job_id, attempt)| Control::Revoke { job_id, attempt }),
        Just(Control::Drain),
        Just(Control::Resume),
        Just(Control::Announce),
    ]
}

fn refused() -> impl Strategy<Value = RefusedType> {
    (job_type(), any::<String>()).prop_map(|(job_type, reason)| RefusedType { job_type, reason })
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(JSON_LEVELS, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            btree_map(any::<String>(), inner, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = JsonObject> {
    btree_map(any::<String>(), json(), 0..5).prop_map(|entries| entries.into_iter().collect())
}

fn job_id() -> impl Strategy<Value = JobId> {
    any::<u128>().prop_map(|bits| JobId::from_uuid(uuid::Uuid::from_u128(bits)))
}

fn execution_id() -> impl Strategy<Value = ExecutionId> {
    any::<u128>().prop_map(|bits| ExecutionId::from_uuid(uuid::Uuid::from_u128(bits)))
}

fn token() -> impl Strategy<Value = AttemptToken> {
    any::<u128>().prop_map(AttemptToken::from_bits)
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (1..=u32::MAX).prop_map(|number| Attempt::new(number).expect("not zero"))
}

fn worker_id() -> impl Strategy<Value = WorkerId> {
    text_of("abcxyzABCXYZ019_-", WorkerId::LENGTH_MAX).prop_map(|text| text.parse().expect("valid"))
}

fn job_type() -> impl Strategy<Value = JobType> {
    vec(text_of("abcxyz019_-", 20), 1..=6)
        .prop_map(|words| JobType::new(&words.join(".")).expect("six words of 20 and dots are short enough"))
}

fn subject() -> impl Strategy<Value = String> {
    job_type().prop_map(|text| text.as_str().to_owned())
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn text_of(alphabet: &'static str, length_max: usize) -> impl Strategy<Value = String> {
    let characters: Vec<char> = alphabet.chars().collect();
    vec(proptest::sample::select(characters), 1..=length_max)
        .prop_map(|characters| characters.into_iter().collect())
}
