//! `README.md` says what the code does: fields, names, limits, words and examples.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use crewcall_proto::{
    ContentType, JobType, MessageKind, PROTOCOL_VERSION, Topology, WorkerId, bundle,
    codec::{BODY_BYTES_MAX, DEPTH_MAX, PAYLOAD_BYTES_MAX},
    control::FEATURE_EVENTS,
    discovery::{AnnouncedType, Announcement, HEARTBEAT_INTERVAL, WORKER_LOST_AFTER},
    event::{EVENT_ID_LENGTH_MAX, EVENTS_BYTES_MAX, EVENTS_MAX, RESERVED_WORDS},
    response::{ErrorKind, Failed, Progression},
};
use serde_json::Value;

use crate::{
    fields::{self, Sections},
    message::Message,
};

#[test]
fn the_field_tables_name_the_fields_of_the_code() {
    let mut documented = Sections::new();
    for (heading, table) in tables(&["field", "type", "required", "meaning"]) {
        let fields = table
            .into_iter()
            .map(|row| match row[2].as_str() {
                "yes" => (unquoted(&row[0]), true),
                "no" => (unquoted(&row[0]), false),
                other => panic!("{heading}: {}: required is {other:?}, not yes or no", row[0]),
            })
            .collect();
        documented.insert(unquoted(&heading), fields);
    }
    assert_eq!(documented, fields::of_the_code(), "left: proto/README.md, right: the code");
}

#[test]
fn every_example_is_a_message_and_every_message_has_one() {
    let mut shown = BTreeSet::new();
    for (heading, text) in examples() {
        let section = unquoted(&heading);
        let kind = MessageKind::from_word(section.split('.').next().unwrap()).expect("under its message");
        let message = Message::decode(kind, ContentType::Json, text.as_bytes())
            .unwrap_or_else(|error| panic!("the example of {section}: {error}"));
        let example: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message.to_value(), example, "the example of {section} has fields that are not read");
        shown.insert(section);
    }
    let sections: BTreeSet<String> = fields::of_the_code()
        .into_keys()
        .filter(|section| !section.ends_with("[]") && section != "announce.sdk")
        .collect();
    assert_eq!(shown, sections);
}

#[test]
fn the_message_pack_example_is_what_the_codec_writes() {
    let drain = crewcall_proto::encode(ContentType::MessagePack, &crewcall_proto::control::Control::Drain);
    let hex: Vec<String> = drain.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(readme().contains(&format!("`{}`", hex.join(" "))), "{}", hex.join(" "));
}

#[test]
fn the_tables_of_exchanges_and_queues_name_those_of_the_code() {
    let names = Names::default();
    let topology = &names.topology;
    let exchanges = [
        topology.submit_exchange(),
        topology.unroutable(),
        topology.response_exchange(),
        topology.discovery_exchange(),
        topology.control_exchange(),
        topology.dead(),
    ];
    assert_eq!(first_column(&["exchange", "kind", "declared by", "purpose"]), set(exchanges));

    let rows = single_table(&["queue", "declared by", "bound to", "with key", "kind"]);
    let documented: BTreeMap<String, (String, String)> =
        rows.iter().map(|row| (unquoted(&row[0]), (unquoted(&row[2]), unquoted(&row[3])))).collect();
    let responses = [
        MessageKind::Emitted,
        MessageKind::Completed,
        MessageKind::Error,
        MessageKind::Held,
        MessageKind::Progression,
    ];
    let mut expected: BTreeMap<String, (String, String)> = responses
        .map(|kind| {
            (topology.response_queue(kind), (topology.response_exchange(), topology.response_binding(kind)))
        })
        .into();
    let control_keys = format!(
        "{}, {} for each type, {}",
        topology.control_key_worker(&names.worker_id),
        topology.control_key_type(&names.job_type),
        topology.control_key_all()
    );
    let control_queue = topology.control_queue(&names.worker_id, "the-session");
    let jobs_queue = topology.jobs_queue(&names.job_type);
    expected.extend([
        (jobs_queue, (topology.submit_exchange(), names.job_type.to_string())),
        (control_queue, (topology.control_exchange(), control_keys)),
        (topology.unroutable(), (topology.unroutable(), "–".to_owned())),
        (topology.dead(), (topology.dead(), "–".to_owned())),
        (topology.backend(), ("–".to_owned(), "–".to_owned())),
        (topology.discovery_queue(), (topology.discovery_exchange(), "#".to_owned())),
        (
            topology.response_queue(MessageKind::Held),
            (topology.response_exchange(), topology.held_bindings().join(", ")),
        ),
    ]);
    let expected: BTreeMap<String, (String, String)> = expected
        .into_iter()
        .map(|(queue, (exchange, key))| (placeholders(&queue), (exchange, placeholders(&key))))
        .collect();
    assert_eq!(documented, expected, "left: proto/README.md, right: the code");
}

#[test]
fn the_table_of_messages_names_their_exchanges_and_keys() {
    let names = Names::default();
    let topology = &names.topology;
    let header = ["message", "sent by", "exchange", "routing key", "delivery mode", "mandatory, confirmed"];
    let documented: BTreeMap<String, (String, String)> = single_table(&header)
        .iter()
        .map(|row| (unquoted(&row[0]), (unquoted(&row[2]), unquoted(&row[3]))))
        .collect();
    let expected: BTreeMap<String, (String, String)> = MessageKind::ALL
        .into_iter()
        .map(|kind| {
            let (exchange, key) = match kind {
                MessageKind::Order => (topology.submit_exchange(), names.job_type.to_string()),
                MessageKind::Progression
                | MessageKind::Held
                | MessageKind::HandedBack
                | MessageKind::Emitted
                | MessageKind::Completed
                | MessageKind::Error => {
                    (topology.response_exchange(), topology.response_key(kind, &names.job_type))
                }
                MessageKind::Announce | MessageKind::Heartbeat | MessageKind::Goodbye => {
                    (topology.discovery_exchange(), kind.to_string())
                }
                MessageKind::Control => {
                    let worker = topology.control_key_worker(&names.worker_id);
                    let of_type = topology.control_key_type(&names.job_type);
                    (
                        topology.control_exchange(),
                        format!("{worker}, {of_type} or {}", topology.control_key_all()),
                    )
                }
            };
            (kind.to_string(), (exchange, placeholders(&key)))
        })
        .collect();
    assert_eq!(documented, expected, "left: proto/README.md, right: the code");
}

#[test]
fn the_table_of_bundles_names_their_messages_and_keys() {
    let names = Names::default();
    let expected: Vec<Vec<String>> = MessageKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let key = match kind {
                MessageKind::Order => names.job_type.to_string(),
                _ => names.topology.response_key(kind, &names.job_type),
            };
            Some(vec![bundle::word(kind)?.to_owned(), kind.to_string(), placeholders(&key)])
        })
        .collect();
    let rows = single_table(&["bundle", "of", "routing key"]);
    let documented: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| unquoted(cell)).collect()).collect();
    assert_eq!(documented, expected, "left: proto/README.md, right: the code");
}

#[test]
fn the_limits_are_those_of_the_code() {
    let documented: BTreeMap<String, usize> = single_table(&["limit", "value"])
        .iter()
        .map(|row| {
            let number = row[1].split(' ').next().unwrap();
            (unquoted(&row[0]), number.parse().unwrap_or_else(|_| panic!("{row:?} has no number")))
        })
        .collect();
    let seconds = |duration: Duration| usize::try_from(duration.as_secs()).unwrap();
    let expected = [
        ("body of a message", BODY_BYTES_MAX),
        ("parameters, and result", PAYLOAD_BYTES_MAX),
        ("nesting of maps and lists", DEPTH_MAX),
        ("messages of a bundle", bundle::MESSAGES_MAX),
        ("job type", JobType::LENGTH_MAX),
        ("worker id", WorkerId::LENGTH_MAX),
        ("prefix", Topology::PREFIX_LENGTH_MAX),
        ("types of a worker", Announcement::TYPES_MAX),
        ("slots of a worker", usize::try_from(Announcement::SLOTS_MAX).unwrap()),
        ("name, host and version of a worker", Announcement::TEXT_CHARACTERS_MAX),
        ("description of a type, and of a subject", AnnouncedType::DESCRIPTION_CHARACTERS_MAX),
        ("each schema of a type, and of a subject", AnnouncedType::SCHEMA_BYTES_MAX),
        ("subjects of a type", AnnouncedType::SUBJECTS_MAX),
        ("events of an attempt", EVENTS_MAX),
        ("data of the events of an attempt", EVENTS_BYTES_MAX),
        ("id of an event", EVENT_ID_LENGTH_MAX),
        ("message of a progression", Progression::MESSAGE_CHARACTERS_MAX),
        ("message and detail of an error", Failed::MESSAGE_CHARACTERS_MAX),
        ("interval of heartbeats", seconds(HEARTBEAT_INTERVAL)),
        ("silence after which a worker is lost", seconds(WORKER_LOST_AFTER)),
    ]
    .map(|(limit, value)| (limit.to_owned(), value));
    assert_eq!(documented, expected.into(), "left: proto/README.md, right: the code");
    assert!(readme().starts_with(&format!("# The wire: protocol {PROTOCOL_VERSION}\n")));
}

#[test]
fn the_words_of_events_are_those_of_the_code() {
    let words = RESERVED_WORDS.map(|word| format!("`{word}`")).join(", ");
    assert!(readme().contains(&format!("the first word none of {words}")), "{words}");
    assert!(readme().contains(&format!("has the word `{FEATURE_EVENTS}` in `features`")));
}

#[test]
fn the_error_kinds_are_those_of_the_code() {
    let documented = first_column(&["kind", "who says it", "means", "retryable"]);
    assert_eq!(documented, set(error_kinds()), "left: proto/README.md, right: the code");
}

/// The words of all error kinds. A new kind does not compile until it is here.
pub(crate) fn error_kinds() -> Vec<String> {
    let known = [
        ErrorKind::Handler,
        ErrorKind::Panic,
        ErrorKind::Timeout,
        ErrorKind::InvalidParameters,
        ErrorKind::WorkerLost,
        ErrorKind::CrashLoop,
        ErrorKind::Malformed,
        ErrorKind::Cancelled,
        ErrorKind::Expired,
    ];
    let all = known.into_iter().filter(|kind| match kind {
        ErrorKind::Handler
        | ErrorKind::Panic
        | ErrorKind::Timeout
        | ErrorKind::InvalidParameters
        | ErrorKind::WorkerLost
        | ErrorKind::CrashLoop
        | ErrorKind::Malformed
        | ErrorKind::Cancelled
        | ErrorKind::Expired => true,
        ErrorKind::Unknown => false,
    });
    all.map(|kind| kind.as_str().to_owned()).collect()
}

/// Names made of values that are easily told apart.
pub(crate) struct Names {
    pub(crate) topology: Topology,
    pub(crate) job_type: JobType,
    pub(crate) worker_id: WorkerId,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            topology: Topology::default(),
            job_type: JobType::new("the-type").unwrap(),
            worker_id: "the-worker".parse().unwrap(),
        }
    }
}

/// A name of [`Names`] as the documents write it.
pub(crate) fn placeholders(name: &str) -> String {
    name.replace("the-type", "<type>")
        .replace("the-worker", "<worker_id>")
        .replace("the-session", "<session>")
}

fn set(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().collect()
}

fn first_column(header: &[&str]) -> BTreeSet<String> {
    single_table(header).iter().map(|row| unquoted(&row[0])).collect()
}

/// The rows of the only table with this header.
fn single_table(header: &[&str]) -> Vec<Vec<String>> {
    let mut found = tables(header);
    assert_eq!(found.len(), 1, "tables with the header {header:?}");
    found.remove(0).1
}

/// The tables with this header: the heading above, and the rows.
fn tables(header: &[&str]) -> Vec<(String, Vec<Vec<String>>)> {
    let mut found: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    let (mut heading, mut inside) = (String::new(), false);
    for line in readme().lines() {
        if let Some(title) = line.strip_prefix('#') {
            title.trim_start_matches('#').trim().clone_into(&mut heading);
        }
        let Some(row) = line.strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) else {
            inside = false;
            continue;
        };
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().to_owned()).collect();
        if cells == header {
            inside = true;
            found.push((heading.clone(), Vec::new()));
        } else if inside && cells.iter().any(|cell| cell != "---") {
            assert_eq!(cells.len(), header.len(), "{heading}: {line}");
            found.last_mut().unwrap().1.push(cells);
        }
    }
    found
}

/// The JSON examples: the heading above, and the text.
fn examples() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let (mut heading, mut inside) = (String::new(), false);
    for line in readme().lines() {
        match line {
            "```json" => {
                inside = true;
                found.push((heading.clone(), String::new()));
            }
            "```" => inside = false,
            _ if inside => found.last_mut().unwrap().1.push_str(line),
            _ => {
                if let Some(title) = line.strip_prefix('#') {
                    title.trim_start_matches('#').trim().clone_into(&mut heading);
                }
            }
        }
    }
    found
}

fn unquoted(cell: &str) -> String {
    cell.replace('`', "")
}

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}
