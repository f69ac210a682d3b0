//! One value of every message and variant, with all optional fields and with none. Their bytes are
//! committed under `golden/`, and the documents are checked against their fields.

use crewcall_proto::{
    Attempt, AttemptId, AttemptToken, ContentType, ExecutionId, JobId, JobType, JsonObject, MessageKind,
    Order, PROTOCOL_VERSION, Timestamp, WorkerId, bundle,
    control::{Control, FEATURE_EVENTS, RefusedType},
    discovery::{
        AnnouncedType, Announcement, EmittedSubject, Goodbye, Heartbeat, RunningOrder, Sdk, WorkerStatus,
    },
    event::{Emitted, Event},
    response::{Completed, ErrorKind, Failed, HandedBack, Held, Progression, ProgressionKind},
};
use serde_json::{Value, json};

use crate::message::Message;

/// A message with the name of its golden files and of its section in the documents.
pub(crate) struct Sample {
    /// The golden files' name: the section with `-` for `.`, then `-minimal` when optional fields are absent, or what a
    /// later version added.
    pub(crate) name: String,
    /// The heading in `README.md` and the schema in `asyncapi.yaml`, such as `order` or `control.cancel`.
    pub(crate) section: String,
    pub(crate) message: Message,
}

/// Messages that travel as one.
pub(crate) struct Bundle {
    /// The bundle's property `type`; also the name of its golden files and of its schema in `asyncapi.yaml`.
    pub(crate) word: &'static str,
    pub(crate) kind: MessageKind,
    pub(crate) messages: Vec<Message>,
}

/// What later versions added to messages whose bytes were released before: the section, and the end of the name.
const ADDED: [(&str, &str); 6] = [
    ("completed", "-events"),
    ("error", "-redelivered"),
    ("announce", "-emits"),
    ("heartbeat", "-asks"),
    ("goodbye", "-handed-back"),
    ("control.welcome", "-features"),
];

/// Every message with every field that it can have: one per section.
pub(crate) fn full() -> Vec<Sample> {
    let plain = [
        Message::Order(order()),
        Message::Progression(progression()),
        Message::Held(held()),
        Message::HandedBack(handed_back()),
        Message::Emitted(emitted()),
        Message::Completed(Completed { events: events(), ..completed() }),
        Message::Error(Failed { redelivered: Some(true), ..failed() }),
        Message::Announce(Announcement {
            types: vec![AnnouncedType { bundles: true, emits: emits(), ..announced() }],
            ..announcement()
        }),
        Message::Heartbeat(Heartbeat {
            orders: vec![RunningOrder { asks: true, ..running() }],
            ..heartbeat()
        }),
        Message::Goodbye(Goodbye { handed_back: Some(vec![attempt_id()]), ..goodbye() }),
    ];
    let controls = [
        Control::Welcome {
            types: welcomed(),
            refused: refused(),
            revoked: vec![attempt_id()],
            features: vec![FEATURE_EVENTS.to_owned()],
        },
        Control::Refused { reason: "slots is 0: counted as 1".to_owned() },
        Control::Cancel { job_id: job_id(), attempt: attempt(2) },
        Control::Revoke { job_id: job_id(), attempt: attempt(2) },
        Control::Proceed { orders: vec![attempt_id()] },
        Control::Drain,
        Control::Resume,
        Control::Announce,
    ];
    plain
        .into_iter()
        .map(|message| (message.kind().as_str().to_owned(), message))
        .chain(controls.into_iter().map(|control| (control_section(&control), Message::Control(control))))
        .map(|(section, message)| {
            let added = ADDED.iter().find(|(extended, _)| *extended == section).map_or("", |(_, end)| end);
            Sample { name: format!("{}{added}", section.replace('.', "-")), section, message }
        })
        .collect()
}

/// The messages of [`ADDED`] as they were released before, but for those of [`minimal`].
pub(crate) fn first() -> Vec<Sample> {
    let welcome = |revoked| {
        let (types, refused) = (welcomed(), refused());
        Message::Control(Control::Welcome { types, refused, revoked, features: Vec::new() })
    };
    let bundling = AnnouncedType { bundles: true, ..announced() };
    let sample = |section: &str, end: &str, message| Sample {
        name: format!("{}{end}", section.replace('.', "-")),
        section: section.to_owned(),
        message,
    };
    vec![
        sample("completed", "", Message::Completed(completed())),
        sample("error", "", Message::Error(failed())),
        sample("announce", "", Message::Announce(announcement())),
        sample(
            "announce",
            "-bundles",
            Message::Announce(Announcement { types: vec![bundling], ..announcement() }),
        ),
        sample("heartbeat", "", Message::Heartbeat(heartbeat())),
        sample("goodbye", "", Message::Goodbye(goodbye())),
        sample("control.welcome", "-refused", welcome(Vec::new())),
        sample("control.welcome", "-revoked", welcome(vec![attempt_id()])),
    ]
}

/// The messages that have optional fields, without them.
pub(crate) fn minimal() -> Vec<Sample> {
    [
        Message::Order(Order {
            parameters: JsonObject::new(),
            timeout_ms: None,
            expires_at: None,
            ..order()
        }),
        Message::Progression(Progression {
            kind: ProgressionKind::Started,
            percent: None,
            message: None,
            ..progression()
        }),
        Message::HandedBack(HandedBack { resend: false, message: None, started_at: None, ..handed_back() }),
        Message::Emitted(Emitted { occurred_at: None, ..emitted() }),
        Message::Completed(Completed { result: Value::Null, ..completed() }),
        Message::Error(Failed {
            code: None,
            detail: None,
            retry_after_ms: None,
            started_at: None,
            ..failed()
        }),
        Message::Announce(Announcement { types: Vec::new(), ..announcement() }),
        Message::Heartbeat(Heartbeat {
            status: WorkerStatus::Idle,
            slots_busy: 0,
            orders: Vec::new(),
            ..heartbeat()
        }),
    ]
    .into_iter()
    .map(|message| {
        let section = message.kind().as_str().to_owned();
        Sample { name: format!("{section}-minimal"), section, message }
    })
    .chain([Sample {
        name: "control-welcome".to_owned(),
        section: "control.welcome".to_owned(),
        message: Message::Control(Control::Welcome {
            types: welcomed(),
            refused: Vec::new(),
            revoked: Vec::new(),
            features: Vec::new(),
        }),
    }])
    .collect()
}

/// A bundle of each kind of messages that travel so, as they were when the first bundles were released.
pub(crate) fn bundles() -> Vec<Bundle> {
    let of = |kind| {
        let all = full().into_iter().chain(minimal()).map(|sample| match sample.message {
            Message::Completed(completed) => {
                Message::Completed(Completed { events: Vec::new(), ..completed })
            }
            other => other,
        });
        all.filter(move |message| message.kind() == kind)
    };
    MessageKind::ALL
        .into_iter()
        .filter_map(|kind| Some(Bundle { word: bundle::word(kind)?, kind, messages: of(kind).collect() }))
        .collect()
}

/// The section of a control message. A new kind does not compile until it has one, and a sample above.
fn control_section(control: &Control) -> String {
    let kind = match control {
        Control::Welcome { .. } => "welcome",
        Control::Refused { .. } => "refused",
        Control::Cancel { .. } => "cancel",
        Control::Revoke { .. } => "revoke",
        Control::Proceed { .. } => "proceed",
        Control::Drain => "drain",
        Control::Resume => "resume",
        Control::Announce => "announce",
        Control::Unknown => "unknown",
    };
    format!("control.{kind}")
}

fn order() -> Order {
    Order {
        protocol: PROTOCOL_VERSION,
        job_id: job_id(),
        job_type: job_type("image.thumbnail"),
        attempt: attempt(2),
        attempt_token: token(),
        max_attempts: 5,
        // In alphabetical order, because a build with other features keeps the order as written.
        parameters: object(json!({
            "ids": [u64::MAX, i64::MIN, 0, -1],
            "options": {"background": null, "keep": true},
            "quality": 0.1,
            "source": "fjord é 🚢.jpg",
            "width": 640,
        })),
        timeout_ms: Some(90_000),
        expires_at: Some(Timestamp::from_millis(1_767_229_200_000)),
        created_at: Timestamp::from_millis(1_767_225_600_000),
    }
}

fn progression() -> Progression {
    Progression {
        job_id: job_id(),
        attempt: attempt(2),
        attempt_token: token(),
        execution_id: execution_id(),
        worker_id: worker_id(),
        seq: 7,
        kind: ProgressionKind::Progress,
        percent: Some(70),
        message: Some("slice 7/10".to_owned()),
        at: Timestamp::from_millis(1_767_225_601_500),
    }
}

fn held() -> Held {
    Held {
        job_id: job_id(),
        attempt: attempt(2),
        attempt_token: token(),
        execution_id: execution_id(),
        worker_id: worker_id(),
        seq: 8,
        at: Timestamp::from_millis(1_767_225_661_000),
    }
}

fn handed_back() -> HandedBack {
    HandedBack {
        job_id: job_id(),
        attempt: attempt(2),
        attempt_token: token(),
        execution_id: execution_id(),
        worker_id: worker_id(),
        resend: true,
        message: Some("cannot load the model".to_owned()),
        started_at: Some(Timestamp::from_millis(1_767_225_601_000)),
        at: Timestamp::from_millis(1_767_225_662_000),
    }
}

fn emitted() -> Emitted {
    Emitted {
        job_id: job_id(),
        attempt: attempt(2),
        attempt_token: token(),
        execution_id: execution_id(),
        worker_id: worker_id(),
        id: "scanner:fjord-17".to_owned(),
        subject: "image.found".to_owned(),
        data: json!({"path": "fjord é 🚢.jpg"}),
        occurred_at: Some(Timestamp::from_millis(1_767_225_601_700)),
    }
}

fn events() -> Vec<Event> {
    vec![
        Event {
            subject: "image.resized".to_owned(),
            data: json!({"path": "fjord é 🚢.jpg", "width": 640}),
            occurred_at: Some(Timestamp::from_millis(1_767_225_602_000)),
        },
        Event { subject: "image.found".to_owned(), data: json!("fjord.png"), occurred_at: None },
    ]
}

fn emits() -> Vec<EmittedSubject> {
    vec![
        EmittedSubject {
            subject: "image.resized".to_owned(),
            description: "There is another size of an image.".to_owned(),
            schema: object(json!({"required": ["path"], "type": "object"})),
        },
        EmittedSubject {
            subject: "image.found".to_owned(),
            description: String::new(),
            schema: JsonObject::new(),
        },
    ]
}

fn completed() -> Completed {
    Completed {
        job_id: job_id(),
        attempt: attempt(2),
        attempt_token: token(),
        execution_id: execution_id(),
        worker_id: worker_id(),
        result: json!({"bytes": 48_213, "ratio": 0.125}),
        events: Vec::new(),
        started_at: Timestamp::from_millis(1_767_225_601_000),
        finished_at: Timestamp::from_millis(1_767_225_602_250),
    }
}

fn failed() -> Failed {
    Failed {
        job_id: job_id(),
        attempt: attempt(2),
        attempt_token: token(),
        execution_id: execution_id(),
        worker_id: worker_id(),
        kind: ErrorKind::Handler,
        code: Some("source_not_found".to_owned()),
        message: "cannot open fjord é 🚢.jpg".to_owned(),
        detail: Some("No such file or directory (os error 2)".to_owned()),
        redelivered: None,
        retryable: true,
        retry_after_ms: Some(30_000),
        started_at: Some(Timestamp::from_millis(1_767_225_601_000)),
        finished_at: Timestamp::from_millis(1_767_225_602_250),
    }
}

fn announcement() -> Announcement {
    Announcement {
        worker_id: worker_id(),
        name: "crewcall-workers".to_owned(),
        version: "0.1.0".to_owned(),
        sdk: Sdk { language: "rust".to_owned(), version: "0.1.0".to_owned() },
        host: "atelier".to_owned(),
        pid: 4711,
        slots: 8,
        content_type: ContentType::MessagePack,
        types: vec![announced()],
        started_at: Timestamp::from_millis(1_767_225_000_000),
    }
}

fn announced() -> AnnouncedType {
    AnnouncedType {
        job_type: job_type("image.thumbnail"),
        description: "Resize one image.".to_owned(),
        version: "3".to_owned(),
        parameters_schema: object(json!({"required": ["source"], "type": "object"})),
        result_schema: object(json!({"type": "object"})),
        bundles: false,
        emits: Vec::new(),
    }
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        worker_id: worker_id(),
        status: WorkerStatus::Busy,
        slots_busy: 1,
        orders: vec![running()],
        at: Timestamp::from_millis(1_767_225_605_000),
    }
}

fn running() -> RunningOrder {
    RunningOrder { job_id: job_id(), attempt: attempt(2), held: true, asks: false }
}

fn goodbye() -> Goodbye {
    Goodbye { worker_id: worker_id(), reason: "drained".to_owned(), handed_back: None }
}

fn welcomed() -> Vec<JobType> {
    vec![job_type("image.thumbnail"), job_type("text.statistics")]
}

fn refused() -> Vec<RefusedType> {
    vec![RefusedType {
        job_type: job_type("text.statistics"),
        reason: "its parameters are not checked: the schema has no type \"map\"".to_owned(),
    }]
}

fn attempt_id() -> AttemptId {
    AttemptId { job_id: job_id(), attempt: attempt(2) }
}

fn job_id() -> JobId {
    "019b76da-a800-7000-8000-00000000002a".parse().unwrap()
}

fn execution_id() -> ExecutionId {
    "019b76da-abe8-7000-8000-0000000000e1".parse().unwrap()
}

fn worker_id() -> WorkerId {
    "atelier-1".parse().unwrap()
}

fn token() -> AttemptToken {
    "00f1e2d3c4b5a69788796a5b4c3d2e1f".parse().unwrap()
}

fn attempt(number: u32) -> Attempt {
    Attempt::new(number).unwrap()
}

fn job_type(text: &str) -> JobType {
    JobType::new(text).unwrap()
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}
