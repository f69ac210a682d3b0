//! The committed bytes of every message: what today's code writes, and what every later version must
//! still read.
//!
//! After a deliberate, additive change run `CREWCALL_GOLDEN=write cargo test -p crewcall-proto --test it
//! todays_messages`, look at the difference, and commit it. The variable is refused where `CI` is set.

use std::{env, fmt::Write, fs, path::PathBuf};

use crewcall_proto::{ContentType, MessageKind};

use crate::{
    message::Message,
    samples::{self, Sample},
};

/// How many bytes of MessagePack stand in one line of a golden file.
const BYTES_PER_LINE: usize = 24;

#[test]
fn todays_messages_have_the_committed_bytes() {
    let write = env::var_os("CREWCALL_GOLDEN").is_some();
    assert!(!write || env::var_os("CI").is_none(), "golden files are not written in CI");
    for sample in all() {
        for content_type in [ContentType::MessagePack, ContentType::Json] {
            let text = to_text(content_type, &sample.message.encode(content_type));
            let path = path(&sample.name, content_type);
            if write {
                fs::write(&path, &text).unwrap();
            }
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                text,
                committed,
                "{} changed on the wire; if it is meant and additive, see tests/it/golden.rs",
                path.display()
            );
        }
    }
}

#[test]
fn the_committed_bytes_are_todays_messages() {
    for sample in all() {
        for content_type in [ContentType::MessagePack, ContentType::Json] {
            let text = fs::read_to_string(path(&sample.name, content_type)).unwrap();
            let body = from_text(content_type, &text);
            let message = Message::decode(sample.message.kind(), content_type, &body);
            assert_eq!(message.as_ref(), Ok(&sample.message), "{} {content_type}", sample.name);
        }
    }
}

/// Also the files whose sample is gone from today's code: what was released stays readable.
#[test]
fn every_committed_file_can_be_read() {
    let mut count = 0;
    for version in fs::read_dir(directory()).unwrap() {
        for file in fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let kind = MessageKind::from_word(name.split('-').next().unwrap()).expect("named after its kind");
            let content_type = match path.extension().unwrap().to_str().unwrap() {
                "msgpack" => ContentType::MessagePack,
                _ => ContentType::Json,
            };
            let body = from_text(content_type, &fs::read_to_string(&path).unwrap());
            Message::decode(kind, content_type, &body)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            count += 1;
        }
    }
    assert!(count >= 2 * all().len(), "{count} golden files");
}

#[test]
fn every_kind_of_message_has_a_sample() {
    for kind in MessageKind::ALL {
        assert!(all().iter().any(|sample| sample.message.kind() == kind), "{kind}");
    }
}

fn all() -> Vec<Sample> {
    samples::full().into_iter().chain(samples::minimal()).collect()
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn path(name: &str, content_type: ContentType) -> PathBuf {
    let extension = match content_type {
        ContentType::MessagePack => "msgpack",
        ContentType::Json => "json",
    };
    directory().join("v1").join(format!("{name}.{extension}"))
}

/// MessagePack is committed as hexadecimal text, in lines, so that a change can be read.
fn to_text(content_type: ContentType, body: &[u8]) -> String {
    match content_type {
        ContentType::Json => format!("{}\n", std::str::from_utf8(body).unwrap()),
        ContentType::MessagePack => body.chunks(BYTES_PER_LINE).fold(String::new(), |mut text, line| {
            line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            text.push('\n');
            text
        }),
    }
}

fn from_text(content_type: ContentType, text: &str) -> Vec<u8> {
    match content_type {
        ContentType::Json => text.trim_end().as_bytes().to_vec(),
        ContentType::MessagePack => {
            let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
            digits
                .chunks(2)
                .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
                .collect()
        }
    }
}
