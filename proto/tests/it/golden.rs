//! The committed bytes of every message, and of every bundle: what today's code writes, and what every later version must
//! still read.
//!
//! After a deliberate, additive change run `CREWCALL_GOLDEN=write cargo test -p crewcall-proto --test it
//! todays_messages`, look at the difference, and commit it. The variable is refused where `CI` is set.

use std::{env, fs, path::PathBuf};

use crewcall_proto::{ContentType, MessageKind, bundle};

use crate::{
    message::Message,
    samples::{self, Sample},
};

#[test]
fn todays_messages_have_the_committed_bytes() {
    let write = env::var_os("CREWCALL_GOLDEN").is_some();
    assert!(!write || env::var_os("CI").is_none(), "golden files are not written in CI");
    for content_type in [ContentType::MessagePack, ContentType::Json] {
        let messages = all().into_iter().map(|s| (s.name, s.message.encode(content_type)));
        let bundles = samples::bundles().into_iter();
        let bundles = bundles.map(|b| (b.word.to_owned(), Message::encode_bundle(&b.messages, content_type)));
        for (name, body) in messages.chain(bundles) {
            let file = to_file(content_type, body);
            let path = path(&name, content_type);
            if write {
                fs::write(&path, &file).unwrap();
            }
            let committed = fs::read(&path).unwrap_or_default();
            assert!(
                file == committed,
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
            let body = fs::read(path(&sample.name, content_type)).unwrap();
            let message = Message::decode(sample.message.kind(), content_type, &body);
            assert_eq!(message.as_ref(), Ok(&sample.message), "{} {content_type}", sample.name);
        }
    }
    for bundle in samples::bundles() {
        for content_type in [ContentType::MessagePack, ContentType::Json] {
            let body = fs::read(path(bundle.word, content_type)).unwrap();
            let messages = Message::decode_bundle(bundle.kind, content_type, &body);
            assert_eq!(messages.as_ref(), Ok(&bundle.messages), "{} {content_type}", bundle.word);
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
            let word = name.split('-').next().unwrap();
            let content_type = match path.extension().unwrap().to_str().unwrap() {
                "msgpack" => ContentType::MessagePack,
                _ => ContentType::Json,
            };
            let body = fs::read(&path).unwrap();
            let read = match MessageKind::ALL.into_iter().find(|kind| bundle::is_bundle_of(*kind, word)) {
                Some(kind) => Message::decode_bundle(kind, content_type, &body).map(drop),
                None => {
                    let kind = MessageKind::from_word(word).expect("named after its kind");
                    Message::decode(kind, content_type, &body).map(drop)
                }
            };
            read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            count += 1;
        }
    }
    assert!(count >= 2 * (all().len() + samples::bundles().len()), "{count} golden files");
}

#[test]
fn every_kind_of_message_has_a_sample() {
    for kind in MessageKind::ALL {
        assert!(all().iter().any(|sample| sample.message.kind() == kind), "{kind}");
    }
}

fn all() -> Vec<Sample> {
    samples::full().into_iter().chain(samples::first()).chain(samples::minimal()).collect()
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

/// The file is the body; one of JSON ends with a line feed, as text does, which every reader of JSON takes.
fn to_file(content_type: ContentType, mut body: Vec<u8>) -> Vec<u8> {
    if content_type == ContentType::Json {
        body.push(b'\n');
    }
    body
}
