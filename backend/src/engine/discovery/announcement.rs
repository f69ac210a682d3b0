//! What is wrong with an announcement, and what is made of it all the same: a worker that breaks a limit is told so,
//! for otherwise nobody at the worker hears of it.

use std::collections::HashSet;

use crewcall_proto::{
    JobType,
    discovery::{AnnouncedType, Announcement, EmittedSubject},
    event::check_subject,
};

/// Brings an announcement within the limits of the wire. Returns what had to be changed, in words for whoever wrote
/// the worker.
pub(super) fn keep_within_limits(announcement: &mut Announcement) -> Option<String> {
    let mut wrong = Vec::new();
    let slots = announcement.slots;
    announcement.slots = slots.clamp(1, Announcement::SLOTS_MAX);
    if announcement.slots != slots {
        wrong.push(format!("slots is {slots}: counted as {}", announcement.slots));
    }
    let types = announcement.types.len();
    if types > Announcement::TYPES_MAX {
        announcement.types.truncate(Announcement::TYPES_MAX);
        wrong.push(format!("it has {types} types: only the first {} are served", Announcement::TYPES_MAX));
    }
    let texts = [
        ("name", &mut announcement.name),
        ("version", &mut announcement.version),
        ("host", &mut announcement.host),
        ("sdk.language", &mut announcement.sdk.language),
        ("sdk.version", &mut announcement.sdk.version),
    ];
    for (field, text) in texts {
        wrong.extend(cut(field, text, Announcement::TEXT_CHARACTERS_MAX));
    }
    for announced in &mut announcement.types {
        let AnnouncedType { job_type, description, version, emits, .. } = announced;
        let field = |name: &str| format!("the {name} of {job_type}");
        wrong.extend(cut(&field("description"), description, AnnouncedType::DESCRIPTION_CHARACTERS_MAX));
        wrong.extend(cut(&field("version"), version, Announcement::TEXT_CHARACTERS_MAX));
        wrong.extend(keep_subjects(job_type, emits));
    }
    (!wrong.is_empty()).then(|| told(&wrong))
}

/// Leaves the events that a type can publish: each with a subject of its own, and no more than it may have.
fn keep_subjects(job_type: &JobType, emits: &mut Vec<EmittedSubject>) -> Vec<String> {
    let (mut wrong, mut known) = (Vec::new(), HashSet::new());
    emits.retain(|EmittedSubject { subject, .. }| {
        let reason = match check_subject(subject) {
            Err(invalid) => Some(invalid.to_string()),
            Ok(()) => (!known.insert(subject.clone())).then(|| format!("{subject} is there twice")),
        };
        let is_taken = reason.is_none();
        wrong.extend(reason.map(|reason| format!("an event of {job_type} is not taken: {reason}")));
        is_taken
    });
    for EmittedSubject { subject, description, .. } in emits.iter_mut() {
        let field = format!("the description of {subject}");
        wrong.extend(cut(&field, description, AnnouncedType::DESCRIPTION_CHARACTERS_MAX));
    }
    let subjects = emits.len();
    if subjects > AnnouncedType::SUBJECTS_MAX {
        emits.truncate(AnnouncedType::SUBJECTS_MAX);
        let most = AnnouncedType::SUBJECTS_MAX;
        wrong.push(format!("{job_type} publishes {subjects} events: only the first {most} are taken"));
    }
    wrong
}

/// Cuts a text that is too long.
fn cut(field: &str, text: &mut String, characters_max: usize) -> Option<String> {
    let (end, _) = text.char_indices().nth(characters_max)?;
    text.truncate(end);
    Some(format!("{field} is longer than {characters_max} characters: cut"))
}

/// How many mistakes of one announcement are told: whoever mends these sees the next ones.
const TOLD_MAX: usize = 10;

fn told(wrong: &[String]) -> String {
    let mut sentence = wrong.iter().take(TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    if wrong.len() > TOLD_MAX {
        sentence.push_str("; and more");
    }
    sentence
}

#[cfg(test)]
mod tests {
    use crewcall_proto::{ContentType, JobType, JsonObject, Timestamp, discovery::Sdk};

    use super::*;

    fn announcement(slots: u32, types: usize, text: &str) -> Announcement {
        let announced = |number: usize| AnnouncedType {
            job_type: JobType::new(&format!("a.b{number}")).unwrap(),
            description: text.to_owned(),
            version: text.to_owned(),
            parameters_schema: JsonObject::new(),
            result_schema: JsonObject::new(),
            bundles: false,
            emits: Vec::new(),
        };
        Announcement {
            worker_id: "w".parse().unwrap(),
            name: text.to_owned(),
            version: text.to_owned(),
            sdk: Sdk { language: text.to_owned(), version: text.to_owned() },
            host: text.to_owned(),
            pid: 1,
            slots,
            content_type: ContentType::Json,
            types: (0..types).map(announced).collect(),
            started_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn what_keeps_to_the_limits_is_taken_as_it_is() {
        for slots in [1, 1_000] {
            let sent = announcement(slots, 256, &"é".repeat(200));
            let mut taken = sent.clone();
            assert_eq!(keep_within_limits(&mut taken), None);
            assert_eq!(taken, sent);
        }
    }

    #[test]
    fn what_breaks_a_limit_is_changed_and_told() {
        let mut none = announcement(0, 1, "");
        assert_eq!(keep_within_limits(&mut none).unwrap(), "slots is 0: counted as 1");
        assert_eq!(none.slots, 1);

        let mut large = announcement(1_001, 257, &"é".repeat(1_001));
        insta::assert_snapshot!(keep_within_limits(&mut large).unwrap());
        assert_eq!((large.slots, large.types.len()), (1_000, 256));
        assert_eq!(large.host, "é".repeat(200));
        assert_eq!(large.types[255].description, "é".repeat(1_000));
    }
}
