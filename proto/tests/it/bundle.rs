//! Messages that travel together: what is joined is what is split, and whoever sends one broken message harms no
//! other.

use crewcall_proto::{
    ContentType, DecodeError, EncodeError, MessageKind,
    bundle::{self, MESSAGES_MAX, join, split},
    codec::BODY_BYTES_MAX,
};
use proptest::{collection::vec, prelude::*};

use crate::{
    message::Message,
    samples,
    strategies::{content_type, message},
};

const BOTH: [ContentType; 2] = [ContentType::MessagePack, ContentType::Json];

proptest! {
    #[test]
    fn what_is_joined_is_what_is_split(messages in vec(message(), 1..6), content_type in content_type()) {
        let bodies: Vec<Vec<u8>> = messages.iter().map(|message| message.encode(content_type)).collect();
        let joined = join(content_type, &bodies).unwrap();
        prop_assert_eq!(split(content_type, &joined), Ok(bodies.iter().map(Vec::as_slice).collect()));
    }

    #[test]
    fn random_bytes_are_refused_or_split(
        array in prop_oneof![Just(0x92), Just(0xdc), Just(0xdd), Just(b'['), any::<u8>()],
        body in vec(any::<u8>(), 0..512),
        content_type in content_type(),
    ) {
        let body = [&[array], body.as_slice()].concat();
        if let Ok(bodies) = split(content_type, &body) {
            prop_assert!((1..=MESSAGES_MAX).contains(&bodies.len()));
            prop_assert!(bodies.iter().map(|body| body.len()).sum::<usize>() < body.len());
        }
    }

    #[test]
    fn a_damaged_message_harms_no_other(
        messages in vec(message(), 2..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        // The ends of a MessagePack value can be damaged, and then nobody knows where the next begins. The texts of a
        // JSON message cannot be, unless a quotation mark or a bracket comes or goes.
        let structure = |byte: u8| br#""\[]{},"#.contains(&byte);
        let mut bodies: Vec<Vec<u8>> = messages.iter().map(|message| message.encode(ContentType::Json)).collect();
        for (position, byte) in damage {
            let position = position.index(bodies[0].len());
            // What follows a backslash is escaped by it.
            let is_free = position > 0 && bodies[0][position - 1] != b'\\';
            if is_free && !structure(bodies[0][position]) && !structure(byte) {
                bodies[0][position] = byte;
            }
        }
        let joined = join(ContentType::Json, &bodies).unwrap();
        prop_assert_eq!(split(ContentType::Json, &joined), Ok(bodies.iter().map(Vec::as_slice).collect()));
    }
}

#[test]
fn the_words_are_those_of_three_kinds() {
    for kind in MessageKind::ALL {
        let expected = match kind {
            MessageKind::Order => Some("orders"),
            MessageKind::Completed => Some("completions"),
            MessageKind::Error => Some("errors"),
            MessageKind::Progression
            | MessageKind::Held
            | MessageKind::HandedBack
            | MessageKind::Emitted
            | MessageKind::Announce
            | MessageKind::Heartbeat
            | MessageKind::Goodbye
            | MessageKind::Control => None,
        };
        assert_eq!(bundle::word(kind), expected, "{kind}");
        for word in ["orders", "completions", "errors"] {
            assert_eq!(bundle::is_bundle_of(kind, word), expected == Some(word), "{kind} {word}");
            assert_eq!(MessageKind::from_word(word), None, "a bundle is not taken for one message");
        }
        assert!(!bundle::is_bundle_of(kind, kind.as_str()) && !bundle::is_bundle_of(kind, ""), "{kind}");
    }
}

#[test]
fn one_to_sixty_four_messages_travel_together() {
    for content_type in BOTH {
        let body = samples::full().remove(0).message.encode(content_type);
        for count in [1, 15, 16, MESSAGES_MAX] {
            let bodies = vec![body.clone(); count];
            let joined = join(content_type, &bodies).unwrap();
            assert_eq!(split(content_type, &joined), Ok(vec![body.as_slice(); count]));
        }
        for count in [0, MESSAGES_MAX + 1] {
            let joined = join(content_type, &vec![body.clone(); count]);
            assert!(
                matches!(&joined, Err(EncodeError::Unencodable(why)) if why.contains("1 to 64")),
                "{joined:?}"
            );
            let unlimited = unlimited(content_type, &vec![body.as_slice(); count]);
            let refused = split(content_type, &unlimited);
            assert!(
                matches!(&refused, Err(DecodeError::Malformed(why)) if why.contains("1 to 64")),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_bundle_cut_short_is_refused() {
    for bundle in samples::bundles() {
        for content_type in BOTH {
            let body = Message::encode_bundle(&bundle.messages, content_type);
            for length in 0..body.len() {
                let read = split(content_type, &body[..length]);
                let is_refused = matches!(read, Err(DecodeError::Malformed(_)));
                assert!(
                    is_refused,
                    "{length} of {} bytes of {} were read: {read:?}",
                    body.len(),
                    bundle.word
                );
            }
        }
    }
}

#[test]
fn a_bundle_with_something_after_it_is_refused() {
    for content_type in BOTH {
        let mut body = Message::encode_bundle(&samples::bundles().remove(0).messages, content_type);
        let length = body.len();
        for byte in 0..=u8::MAX {
            body.push(byte);
            let read = split(content_type, &body);
            match content_type {
                ContentType::MessagePack => assert_eq!(read, Err(DecodeError::TrailingBytes { bytes: 1 })),
                ContentType::Json if b" \t\n\r".contains(&byte) => assert!(read.is_ok(), "{byte}"),
                ContentType::Json => {
                    assert!(matches!(read, Err(DecodeError::Malformed(_))), "{byte}: {read:?}");
                }
            }
            body.truncate(length);
        }
    }
}

#[test]
fn what_is_not_an_array_is_refused() {
    for content_type in BOTH {
        let message = samples::full().remove(0).message.encode(content_type);
        assert!(matches!(split(content_type, &message), Err(DecodeError::Malformed(_))), "{content_type}");
    }
    for text in ["", " ", "null", "7", "\"[{}]\"", "{}", "]", "\u{feff}[{}]"] {
        let read = split(ContentType::Json, text.as_bytes());
        assert!(matches!(read, Err(DecodeError::Malformed(_))), "{text}: {read:?}");
    }
    for bytes in [b"".as_slice(), b"\xc0", b"\x07", b"\xa1a", b"\x80", b"\xc4\x01\x90", b"\xc1"] {
        let read = split(ContentType::MessagePack, bytes);
        assert!(matches!(read, Err(DecodeError::Malformed(_))), "{bytes:x?}: {read:?}");
    }
}

#[test]
fn white_space_may_stand_between_messages_in_json() {
    for bundle in samples::bundles() {
        let bodies: Vec<String> =
            bundle.messages.iter().map(|message| format!("{:#}", message.to_value())).collect();
        let body = format!("\r\n\t [ {} \n]\n ", bodies.join(" ,\r\n\t"));
        let read = Message::decode_bundle(bundle.kind, ContentType::Json, body.as_bytes());
        assert_eq!(read, Ok(bundle.messages), "{}", bundle.word);
    }
    for empty in ["[]", " [ ]\n", "[\r\n\t ]"] {
        let read = split(ContentType::Json, empty.as_bytes());
        assert!(
            matches!(&read, Err(DecodeError::Malformed(why)) if why.contains("1 to 64")),
            "{empty}: {read:?}"
        );
    }
}

#[test]
fn brackets_and_commas_inside_text_do_not_part_messages() {
    let bodies = [
        r#"{"a":"\"],[\""}"#,
        r#"{"a":"],[","b":[1,{"c":","}]}"#,
        r#"{"a\"]":"\\","b":"\\\",["}"#,
        r#"{"\\":"]"}"#,
    ];
    let bodies = bodies.map(|body| body.as_bytes().to_vec());
    let joined = join(ContentType::Json, &bodies).unwrap();
    assert_eq!(split(ContentType::Json, &joined), Ok(bodies.iter().map(Vec::as_slice).collect()));
}

#[test]
fn a_message_that_cannot_be_read_leaves_the_others_readable() {
    let deep = [b"[".repeat(40), b"]".repeat(40)].concat();
    let broken_json: [&[u8]; 15] = [
        br#"{"result":NaN}"#,
        b"NaN",
        b"nul",
        b"{\"message\":\"\xff\xfe\"}",
        b"{\"message\":\"\n\"}",
        b"\"text\"",
        b"7",
        b"{}",
        b"[]",
        b"[{}]",
        b"{]",
        b"}",
        b"",
        b"{} {}",
        &deep,
    ];
    let broken_message_pack: [&[u8]; 11] = [
        b"\xc0",
        b"\x07",
        b"\xa4text",
        b"\x80",
        b"\x90",
        b"\x91\x80",
        b"\x81\xa1a\xa2\xff\xfe",
        b"\x81\x01\x01",
        b"\x81\xa6result\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\xc7\x01\x05\x00",
        &[0x91; 40].into_iter().chain([0x90]).collect::<Vec<u8>>(),
    ];
    for bundle in samples::bundles() {
        for (content_type, broken) in
            [(ContentType::Json, &broken_json[..]), (ContentType::MessagePack, &broken_message_pack)]
        {
            for body in broken {
                let whole: Vec<Vec<u8>> =
                    bundle.messages.iter().map(|message| message.encode(content_type)).collect();
                let bodies = [vec![whole[0].clone(), body.to_vec()], whole[1..].to_vec()].concat();
                let joined = join(content_type, &bodies).unwrap();
                let read: Vec<Option<Message>> = split(content_type, &joined)
                    .unwrap_or_else(|error| panic!("{body:x?}: {error}"))
                    .into_iter()
                    .map(|body| Message::decode(bundle.kind, content_type, body).ok())
                    .collect();
                let mut expected: Vec<Option<Message>> = bundle.messages.iter().cloned().map(Some).collect();
                expected.insert(1, None);
                assert_eq!(read, expected, "{} with {body:x?}", bundle.word);
            }
        }
    }
}

#[test]
fn a_bundle_of_bundles_has_no_readable_message() {
    for bundle in samples::bundles() {
        for content_type in BOTH {
            let inner = Message::encode_bundle(&bundle.messages, content_type);
            let nested = join(content_type, &[inner.clone(), inner]).unwrap();
            for body in split(content_type, &nested).unwrap() {
                assert!(Message::decode(bundle.kind, content_type, body).is_err(), "{}", bundle.word);
            }
        }
    }
}

#[test]
fn endless_nesting_is_split_without_using_the_stack() {
    let json = [b"[".repeat(200_000), b"]".repeat(200_000)].concat();
    let message_pack = [vec![0x91; 200_000], vec![0x90]].concat();
    for (content_type, body) in [(ContentType::Json, json), (ContentType::MessagePack, message_pack)] {
        let bodies = split(content_type, &body).unwrap();
        assert_eq!(bodies.len(), 1, "{content_type}");
        assert!(Message::decode(MessageKind::Order, content_type, bodies[0]).is_err(), "{content_type}");
    }
}

/// A list of what is claimed to be there would take more memory than the bundle: it is refused by its length, not
/// when the bytes run out.
#[test]
fn lengths_that_promise_more_than_there_is_are_refused_by_their_length() {
    let nils = [b"\xdd\x00\x0f\x00\x00".to_vec(), vec![0xc0; 0x000f_0000]].concat();
    let ones = [b"[1".to_vec(), b",1".repeat(500_000), b"]".to_vec()].concat();
    for (content_type, body) in [
        (ContentType::MessagePack, b"\xdd\xff\xff\xff\xff".to_vec()),
        (ContentType::MessagePack, b"\xdd\xff\xff\xff\xff\x80".to_vec()),
        (ContentType::MessagePack, b"\xdc\xff\xff".to_vec()),
        (ContentType::MessagePack, nils),
        (ContentType::Json, ones),
        (
            ContentType::Json,
            b"[{}".iter().chain(&b",{}".repeat(MESSAGES_MAX)).copied().chain(*b",").collect(),
        ),
    ] {
        let read = split(content_type, &body);
        assert!(matches!(&read, Err(DecodeError::Malformed(why)) if why.contains("1 to 64")), "{read:?}");
    }
    // The claims of a message within: a map, a text and an array of four thousand million.
    for marker in [0xdf, 0xdb, 0xdd] {
        let body = [0x91, marker, 0xff, 0xff, 0xff, 0xff, 0xc0];
        assert!(
            matches!(split(ContentType::MessagePack, &body), Err(DecodeError::Malformed(_))),
            "{marker:x}"
        );
    }
}

#[test]
fn a_bundle_is_no_larger_than_a_message_may_be() {
    for content_type in BOTH {
        // Two messages: a byte in front of each in JSON and one at the end, or one byte and two headers of five.
        let overhead = match content_type {
            ContentType::Json => 3,
            ContentType::MessagePack => 11,
        };
        for (spare, fits) in [(0, true), (1, false)] {
            let text = vec![b'7'; (BODY_BYTES_MAX - overhead + spare).div_ceil(2)];
            let other = vec![b'7'; (BODY_BYTES_MAX - overhead + spare) / 2];
            let bodies = [text, other].map(|text| match content_type {
                ContentType::Json => text,
                ContentType::MessagePack => {
                    let length = u32::try_from(text.len()).unwrap();
                    [vec![0xdb], length.to_be_bytes().to_vec(), text].concat()
                }
            });
            let bytes = BODY_BYTES_MAX + spare;
            let joined = join(content_type, &bodies).map(|joined| joined.len());
            assert_eq!(joined, if fits { Ok(bytes) } else { Err(EncodeError::TooLarge { bytes }) });
            let unlimited = unlimited(content_type, &bodies.each_ref().map(Vec::as_slice));
            let read = split(content_type, &unlimited);
            assert_eq!(
                read.map(|bodies| bodies.len()),
                if fits { Ok(2) } else { Err(DecodeError::TooLarge { bytes }) }
            );
        }
    }
}

/// A bundle as somebody writes it who keeps to no limit.
fn unlimited(content_type: ContentType, bodies: &[&[u8]]) -> Vec<u8> {
    match content_type {
        ContentType::Json => [b"[", bodies.join(&b","[..]).as_slice(), b"]"].concat(),
        ContentType::MessagePack => {
            let mut body = match u8::try_from(bodies.len()).unwrap() {
                few @ ..16 => vec![0x90 | few],
                many => vec![0xdc, 0, many],
            };
            body.extend(bodies.concat());
            body
        }
    }
}
