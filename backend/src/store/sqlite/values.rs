//! The values of the domain in columns. One that means nothing is a [`TransactionError`], never a panic.

use std::{collections::BTreeMap, time::Duration};

use crewcall_proto::{
    Attempt, AttemptToken, ExecutionId, JobId, JobType, JsonObject, RunId, Timestamp, TraceParent, WorkerId,
    discovery::EmittedSubject, response::ErrorKind,
};
use crewcall_webhooks::{SigningSecret, WebhookUrl};
use serde::Serialize;
use uuid::Uuid;

use super::{
    columns::{Columns, Parameters, Scalar, Value},
    transaction_error::TransactionError,
};
use crate::{
    domain::{
        AfterFailure, AttemptOutcome, Backoff, Cancellation, Claim, ConsumerName, JobError, Origin, Pass,
        Pause, Priority, Progress, Root, ScheduleId, ScheduleName, Sequence, Slot, Source, Start, State,
        Subject, SubjectPattern, TickOrigin, WebhookName,
        schedules::tick::{TickOutcome, TickState},
        workflow::{
            definition::WorkflowName,
            known::Role,
            run::{Generation, RunState, StepState},
        },
    },
    engine::ports::DispatchNumber,
};

/// Values that SQLite has itself.
macro_rules! plain {
    ($($value:ty),+) => {$(
        impl Scalar for $value {
            type Raw = Self;

            fn decode(raw: Self) -> Result<Self, String> {
                Ok(raw)
            }

            fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
                parameters.raw(self)
            }
        }
    )+};
}

plain!(bool, u8, u32, i64, f64, String, Vec<u8>, [u8; 32]);

/// Values that SQLite has in another form: how they are read, and what they are as one of its own.
macro_rules! encoded {
    ($($value:ty as $raw:ty { $read:expr, $write:expr })+) => {$(
        impl Scalar for $value {
            type Raw = $raw;

            fn decode(raw: $raw) -> Result<Self, String> {
                let read: fn($raw) -> Result<Self, String> = $read;
                read(raw)
            }

            fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
                parameters.raw($write(self))
            }
        }
    )+};
}

encoded! {
    JobId as [u8; 16] { |bytes| Ok(Self::from_uuid(Uuid::from_bytes(bytes))), id_bytes }
    RunId as [u8; 16] {
        |bytes| Ok(Self::from_uuid(Uuid::from_bytes(bytes))),
        |id: &Self| *id.as_uuid().as_bytes()
    }
    JobType as String { |text| Self::new(&text).map_err(|_| text), JobType::as_str }
    WorkerId as String { |text| text.parse().map_err(|_| text), WorkerId::as_str }
    ExecutionId as [u8; 16] {
        |bytes| Ok(Self::from_uuid(Uuid::from_bytes(bytes))),
        |id: &Self| *id.as_uuid().as_bytes()
    }
    AttemptToken as [u8; 16] {
        |bytes| Ok(Self::from_bits(u128::from_be_bytes(bytes))),
        |token: &Self| token.bits().to_be_bytes()
    }
    AfterFailure as String { |word| word.parse().map_err(|_| word), |it: &Self| it.as_str() }
    State as String { |word| word.parse().map_err(|_| word), |state: &Self| state.as_str() }
    Attempt as u32 { |number| Self::new(number).ok_or_else(|| number.to_string()), |attempt: &Self| attempt.get() }
    Priority as u8 { |number| Self::new(number).ok_or_else(|| number.to_string()), |priority: &Self| priority.get() }
    Timestamp as i64 { |milliseconds| Ok(Self::from_millis(milliseconds)), |time: &Self| time.as_millis() }
    // None of ours comes near the end of the range, 292 years.
    Duration as i64 {
        |nanoseconds| u64::try_from(nanoseconds).map(Self::from_nanos).map_err(|_| nanoseconds.to_string()),
        |duration: &Self| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
    }
    Slot as i64 { |nanoseconds| Ok(Self(nanoseconds)), |slot: &Self| slot.0 }
    DispatchNumber as i64 { |number| Ok(Self(number.cast_unsigned())), |number: &Self| to_integer(number.0) }
    Sequence as i64 { |number| Ok(Self(number.cast_unsigned())), |sequence: &Self| to_integer(sequence.0) }
    Subject as String { |text| text.parse().map_err(|_| text), Subject::as_str }
    Pass as i64 { |number| Ok(Self(number.cast_unsigned())), |pass: &Self| to_integer(pass.0) }
    Root as String { |text| text.parse().map_err(|()| text), Self::to_string }
    ConsumerName as String { |text| ConsumerName::kept(&text).map_err(|_| text), ConsumerName::as_str }
    WorkflowName as String { |text| text.parse().map_err(|_| text), WorkflowName::as_str }
    SubjectPattern as String { |text| text.parse().map_err(|_| text), SubjectPattern::as_str }
    RunState as String { |word| word.parse().map_err(|_| word), |state: &Self| state.as_str() }
    StepState as String { |word| word.parse().map_err(|_| word), |state: &Self| state.as_str() }
    Generation as u32 { |number| Ok(Self(number)), |generation: &Self| generation.0 }
    Role as String {
        |word| [Self::Work, Self::Undo].into_iter().find(|role| role.as_str() == word).ok_or(word),
        |role: &Self| role.as_str()
    }
    WebhookName as String { |text| text.parse().map_err(|_| text), WebhookName::as_str }
    // What cannot be read of these two is not shown either.
    WebhookUrl as String { |text| Self::parse(&text).map_err(|invalid| invalid.to_string()), Self::as_str }
    SigningSecret as String { |text| Self::parse(&text).map_err(|invalid| invalid.to_string()), Self::reveal }
    ScheduleId as i64 { |number| Ok(Self(number.cast_unsigned())), |id: &Self| to_integer(id.0) }
    ScheduleName as String { |text| ScheduleName::kept(&text).map_err(|_| text), ScheduleName::as_str }
    TickState as String { |word| word.parse().map_err(|_| word), |state: &Self| state.as_str() }
    TickOrigin as String {
        |word| Self::ALL.into_iter().find(|origin| origin.as_str() == word).ok_or(word),
        |origin: &Self| origin.as_str()
    }
    TickOutcome as String {
        |word| Self::ALL.into_iter().find(|outcome| outcome.as_str() == word).ok_or(word),
        |outcome: &Self| outcome.as_str()
    }
    Start as String { |text| start_of(&text).ok_or(text), start_text }
    Vec<SubjectPattern> as String {
        |text| from_json::<Vec<String>>(&text)?.iter().map(|pattern| pattern.parse().map_err(|_| pattern.clone())).collect(),
        |patterns: &Self| to_json(&patterns.iter().map(SubjectPattern::as_str).collect::<Vec<_>>())
    }
    Vec<EmittedSubject> as String { |text| from_json(&text), to_json }
    BTreeMap<String, String> as String { |text| from_json(&text), to_json }
    // A counter.
    u64 as i64 { |number| Self::try_from(number).map_err(|_| number.to_string()), |number: &Self| to_integer(*number) }
    // A size or a limit.
    usize as i64 { |number| Ok(Self::try_from(number).unwrap_or(Self::MAX)), |number: &Self| to_limit(*number) }
    TraceParent as String { |text| text.parse().map_err(|_| text), TraceParent::as_str }
    JsonObject as String { |text| from_json(&text), to_json }
    ErrorKind as String {
        |word| match Self::from_word(&word) {
            Some(kind) => Ok(kind),
            None if word == Self::Unknown.as_str() => Ok(Self::Unknown),
            None => Err(word),
        },
        |kind: &Self| kind.as_str()
    }
}

/// All four, or none for the default.
impl Value for Backoff {
    fn names(name: &str) -> Vec<String> {
        ["initial_ns", "factor", "max_delay_ns", "jitter"].map(|part| format!("{name}_{part}")).to_vec()
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let (initial, factor) = (columns.value()?, columns.value()?);
        match (initial, factor, columns.value()?, columns.value()?) {
            (Some(initial), Some(factor), Some(max_delay), Some(jitter)) => {
                Ok(Self { initial, factor, max_delay, jitter })
            }
            (None, None, None, None) => Ok(Self::default()),
            _ => Err(columns.unreadable("half a back-off")),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let backoff = Some(self).filter(|backoff| **backoff != Self::default());
        parameters.value(&backoff.map(|backoff| backoff.initial))?;
        parameters.value(&backoff.map(|backoff| backoff.factor))?;
        parameters.value(&backoff.map(|backoff| backoff.max_delay))?;
        parameters.value(&backoff.map(|backoff| backoff.jitter))
    }
}

impl Value for Option<Claim> {
    fn names(name: &str) -> Vec<String> {
        ["execution_id", "worker_id", "seq", "held"].map(|part| format!("{name}_{part}")).to_vec()
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let (execution_id, worker_id) = (columns.value()?, columns.value()?);
        match (execution_id, worker_id, columns.value::<Option<i64>>()?, columns.value()?) {
            (Some(execution_id), Some(worker_id), Some(seq), Some(held)) => {
                Ok(Some(Claim { execution_id, worker_id, seq: seq.cast_unsigned(), held }))
            }
            (None, ..) => Ok(None),
            _ => Err(columns.unreadable("half a claim")),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let claim = self.as_ref();
        parameters.raw(claim.map(|claim| claim.execution_id.as_uuid().as_bytes()))?;
        parameters.raw(claim.map(|claim| claim.worker_id.as_str()))?;
        // It uses all 64 bits.
        parameters.raw(claim.map(|claim| claim.seq.cast_signed()))?;
        parameters.raw(claim.map(|claim| claim.held))
    }
}

/// What somebody did, why and when: three columns, or none of them.
macro_rules! deed {
    ($deed:ident, $half:literal) => {
        impl Value for Option<$deed> {
            fn names(name: &str) -> Vec<String> {
                ["by", "reason", "at"].map(|part| format!("{name}_{part}")).to_vec()
            }

            fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
                match (columns.value()?, columns.value()?, columns.value()?) {
                    (Some(by), reason, Some(at)) => Ok(Some($deed { by, reason, at })),
                    (None, None, None) => Ok(None),
                    _ => Err(columns.unreadable($half)),
                }
            }

            fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
                parameters.raw(self.as_ref().map(|deed| deed.by.as_str()))?;
                parameters.raw(self.as_ref().and_then(|deed| deed.reason.as_deref()))?;
                parameters.raw(self.as_ref().map(|deed| deed.at.as_millis()))
            }
        }
    };
}

deed!(Cancellation, "half a cancellation");
deed!(Pause, "half a pause");

/// A job or a run with the other two, or none.
impl Value for Option<Origin> {
    fn names(name: &str) -> Vec<String> {
        ["job_id", "run_id", "root", "depth"].map(|part| format!("{name}_{part}")).to_vec()
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let source = match (columns.value()?, columns.value()?) {
            (Some(job_id), None) => Some(Source::Job(job_id)),
            (None, Some(run_id)) => Some(Source::Run(run_id)),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(columns.unreadable("two origins")),
        };
        match (source, columns.value()?, columns.value()?) {
            (Some(source), Some(root), Some(depth)) => Ok(Some(Origin { source, root, depth })),
            (None, None::<Root>, None::<u32>) => Ok(None),
            _ => Err(columns.unreadable("half an origin")),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let source = self.map(|origin| origin.source);
        let job = source.and_then(|source| if let Source::Job(id) = source { Some(id) } else { None });
        let run = source.and_then(|source| if let Source::Run(id) = source { Some(id) } else { None });
        parameters.value(&job)?;
        parameters.value(&run)?;
        parameters.value(&self.map(|origin| origin.root))?;
        parameters.value(&self.map(|origin| origin.depth))
    }
}

impl Value for Option<Progress> {
    fn names(name: &str) -> Vec<String> {
        ["percent", "message", "at"].map(|part| format!("{name}_{part}")).to_vec()
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        match (columns.value()?, columns.value()?, columns.value()?) {
            (Some(percent), message, Some(at)) => Ok(Some(Progress { percent, message, at })),
            (None, _, None) => Ok(None),
            _ => Err(columns.unreadable("half a progress")),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let progress = self.as_ref();
        parameters.raw(progress.map(|progress| progress.percent))?;
        parameters.raw(progress.and_then(|progress| progress.message.as_deref()))?;
        parameters.raw(progress.map(|progress| progress.at.as_millis()))
    }
}

impl Value for Option<JobError> {
    fn names(name: &str) -> Vec<String> {
        ["kind", "code", "message", "detail"].map(|part| format!("{name}_{part}")).to_vec()
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let (kind, code) = (columns.value::<Option<ErrorKind>>()?, columns.value()?);
        let (message, detail) = (columns.value::<Option<String>>()?, columns.value()?);
        let message = message.unwrap_or_default();
        Ok(kind.map(|kind| JobError { kind, code, message, detail }))
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        bind_error(self.as_ref(), parameters)
    }
}

/// A word, and the error of an attempt that failed.
impl Value for AttemptOutcome {
    fn names(_: &str) -> Vec<String> {
        let mut names = vec!["outcome".to_owned()];
        names.extend(Option::<JobError>::names("error"));
        names
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self, TransactionError> {
        let outcome: String = columns.value()?;
        match (outcome.as_str(), columns.value()?) {
            ("completed", None) => Ok(Self::Completed),
            ("failed", Some(error)) => Ok(Self::Failed(error)),
            ("cancelled", None) => Ok(Self::Cancelled),
            _ => Err(columns.unreadable(format_args!("what does not fit the outcome {outcome}"))),
        }
    }

    fn bind(&self, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
        let (outcome, error) = match self {
            Self::Completed => ("completed", None),
            Self::Failed(error) => ("failed", Some(error)),
            Self::Cancelled => ("cancelled", None),
        };
        parameters.raw(outcome)?;
        bind_error(error, parameters)
    }
}

/// The four columns of an error.
fn bind_error(error: Option<&JobError>, parameters: &mut Parameters<'_, '_>) -> Result<(), TransactionError> {
    parameters.raw(error.map(|error| error.kind.as_str()))?;
    parameters.raw(error.and_then(|error| error.code.as_deref()))?;
    parameters.raw(error.map(|error| error.message.as_str()))?;
    parameters.raw(error.and_then(|error| error.detail.as_deref()))
}

/// A job id as it stands in the database.
pub(super) fn id_bytes(id: &JobId) -> &[u8] {
    id.as_uuid().as_bytes()
}

/// A run id as it stands in the database.
pub(super) fn run_id_bytes(id: &RunId) -> &[u8] {
    id.as_uuid().as_bytes()
}

fn start_text(start: &Start) -> String {
    match start {
        Start::Now => "now".to_owned(),
        Start::Oldest => "oldest".to_owned(),
        Start::After(Sequence(number)) => format!("after {number}"),
        Start::Since(time) => format!("since {}", time.as_millis()),
    }
}

fn start_of(text: &str) -> Option<Start> {
    Some(match text.split_once(' ') {
        None if text == "now" => Start::Now,
        None if text == "oldest" => Start::Oldest,
        Some(("after", number)) => Start::After(Sequence(number.parse().ok()?)),
        Some(("since", time)) => Start::Since(Timestamp::from_millis(time.parse().ok()?)),
        _ => return None,
    })
}

/// SQLite's integers are signed. No counter of ours gets beyond them.
pub(super) fn to_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit as SQLite takes it.
pub(super) fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// JSON text of a value that always has one: objects with text keys.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("an object with text keys has a JSON form")
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
