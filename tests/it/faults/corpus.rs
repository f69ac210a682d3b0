//! What nobody should send: bombs, noise, and damaged copies of released messages.

use std::{env, fs, path::PathBuf};

use crewcall_proto::{
    ContentType, DecodeError, MessageKind, Order,
    control::Control,
    decode,
    discovery::{Announcement, Goodbye, Heartbeat},
    event::Emitted,
    response::{Completed, Failed, HandedBack, Held, Progression},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// A body, and how it calls itself.
pub(super) type Body = (Vec<u8>, &'static str);

const MESSAGE_PACK: &str = ContentType::MessagePack.as_str();
const JSON: &str = ContentType::Json.as_str();

/// The dice of one run, and the seed that repeats it when it is set as `CREWCALL_TEST_SEED`.
pub(super) fn dice() -> (StdRng, u64) {
    let given = env::var("CREWCALL_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    (StdRng::seed_from_u64(seed), seed)
}

/// Bodies that are made to hurt a reader.
pub(super) fn bombs() -> Vec<Body> {
    let nils = |count: usize| [vec![0xdd, 0, 0x0f, 0, 0], vec![0xc0; count]].concat();
    let nested_json = |open: &[u8], close: &[u8]| [open.repeat(200_000), close.repeat(200_000)].concat();
    vec![
        (Vec::new(), MESSAGE_PACK),
        (Vec::new(), JSON),
        (b"\xc1\xff\x00not a message".to_vec(), MESSAGE_PACK),
        (vec![0x91; 200_000], MESSAGE_PACK),          // arrays in arrays
        (b"\x81\xa1a".repeat(100_000), MESSAGE_PACK), // maps in maps
        (nested_json(b"[", b"]"), JSON),
        (nested_json(b"{\"a\":", b"}"), JSON),
        (nils(0x000f_0000), MESSAGE_PACK), // a byte each on the wire, a value each in memory
        ([b"\x81\xa6result".to_vec(), nils(0x000f_0000)].concat(), MESSAGE_PACK),
        (b"\xdd\xff\xff\xff\xff".to_vec(), MESSAGE_PACK), // four milliards of elements, it says
        (b"\xdf\xff\xff\xff\xff".to_vec(), MESSAGE_PACK),
        (b"\xdb\xff\xff\xff\xffa".to_vec(), MESSAGE_PACK), // a text of 4 GiB, it says
        (b"\xc6\xff\xff\xff\xffa".to_vec(), MESSAGE_PACK),
        (b"\xc9\xff\xff\xff\xff\x01".to_vec(), MESSAGE_PACK),
        (b"{\"seq\":1e999999999}".to_vec(), JSON),
        ([b"{\"seq\":".to_vec(), vec![b'9'; 500_000], b"}".to_vec()].concat(), JSON),
        (b"{\"message\":\"\\ud800\"}".to_vec(), JSON),
        (b"\xef\xbb\xbf{}".to_vec(), JSON),
        (b"{\"kind\":\"no such thing\"".to_vec(), JSON),
        (b"{\"a\":1,\"a\":2}{".to_vec(), JSON),
        (b"<xml/>".to_vec(), "text/xml"),
        (b"{}".to_vec(), ""),
    ]
}

/// Random bytes.
pub(super) fn noise(dice: &mut StdRng, bodies: usize) -> Vec<Body> {
    let mut noise = Vec::new();
    for _ in 0..bodies {
        let mut body = vec![0; dice.random_range(0..2_000)];
        dice.fill(body.as_mut_slice());
        noise.push((body, *[MESSAGE_PACK, JSON].choose(dice).unwrap()));
    }
    noise
}

/// Released messages of the kind, each with some bytes changed, cut off, doubled or put in. Some can still be
/// read.
pub(super) fn damaged(kind: MessageKind, dice: &mut StdRng, bodies: usize) -> Vec<Body> {
    let whole = released(kind);
    let mut damaged = Vec::new();
    for _ in 0..bodies {
        let (mut body, content_type) = whole.choose(dice).unwrap().clone();
        let position = dice.random_range(0..body.len());
        match dice.random_range(0..4) {
            0 => body.truncate(position),
            1 => body.extend(body.clone()),
            2 => body.insert(position, dice.random()),
            _ => {
                for _ in 0..dice.random_range(1..8) {
                    let position = dice.random_range(0..body.len());
                    body[position] = dice.random();
                }
            }
        }
        damaged.push((body, content_type));
    }
    damaged
}

/// The bytes of every released message of the kind, in both encodings. No instruction to drain: a worker
/// would obey.
pub(super) fn released(kind: MessageKind) -> Vec<Body> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proto/golden");
    let mut released = Vec::new();
    for version in fs::read_dir(folder).unwrap() {
        for file in fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if name.split('-').next() != Some(kind.as_str()) || name == "control-drain" {
                continue;
            }
            let content_type = match path.extension().unwrap().to_str().unwrap() {
                "json" => JSON,
                _ => MESSAGE_PACK,
            };
            released.push((fs::read(&path).unwrap(), content_type));
        }
    }
    assert!(!released.is_empty(), "no {kind} was ever released");
    released
}

/// Whether this body can be read as a message of the kind.
pub(super) fn is_readable(kind: MessageKind, (body, content_type): &Body) -> bool {
    let Ok(content_type) = content_type.parse::<ContentType>() else { return false };
    let read: Result<(), DecodeError> = match kind {
        MessageKind::Order => decode::<Order>(content_type, body).map(drop),
        MessageKind::Progression => decode::<Progression>(content_type, body).map(drop),
        MessageKind::Held => decode::<Held>(content_type, body).map(drop),
        MessageKind::HandedBack => decode::<HandedBack>(content_type, body).map(drop),
        MessageKind::Completed => decode::<Completed>(content_type, body).map(drop),
        MessageKind::Emitted => decode::<Emitted>(content_type, body).map(drop),
        MessageKind::Error => decode::<Failed>(content_type, body).map(drop),
        MessageKind::Announce => decode::<Announcement>(content_type, body).map(drop),
        MessageKind::Heartbeat => decode::<Heartbeat>(content_type, body).map(drop),
        MessageKind::Goodbye => decode::<Goodbye>(content_type, body).map(drop),
        MessageKind::Control => decode::<Control>(content_type, body).map(drop),
    };
    read.is_ok()
}
