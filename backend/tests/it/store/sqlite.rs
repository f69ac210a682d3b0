//! What only a file can have.

use std::{fs, path::Path, sync::Arc, time::Duration};

use crewcall_backend::{
    domain::{Root, ScheduleId, Sequence, Source, Then, workflow::known::StartedBy},
    engine::ports::{
        Accepted, Consumers as _, Events as _, IDEMPOTENCY_KEPT_FOR, IdempotencyKey, Jobs as _,
        Lifecycle as _, StoreError, Types as _, Workflows as _,
    },
    store::{OpenError, SqliteStore},
};
use rusqlite::Connection;

use super::{
    events, schedule_words,
    under_test::{HandClock, StoreUnderTest, accepted, file, job_type, open},
    workflows,
};

/// Why the file cannot be opened, and the words for it without the directory of the test.
fn refusal(path: &Path) -> (OpenError, String) {
    let error = open(path, &HandClock::new()).err().expect("the file is refused");
    let directory = path.parent().unwrap().canonicalize();
    let mut text = error.to_string();
    if let Ok(directory) = directory {
        text = text.replace(directory.to_str().unwrap(), "DIRECTORY");
    }
    assert!(!text.contains('\n'), "one line: {text}");
    (error, text)
}

#[tokio::test]
async fn a_crash_leaves_every_job_that_was_accepted() {
    let tested = StoreUnderTest::sqlite();
    let mut jobs = Vec::new();
    for _ in 0..50 {
        jobs.push(tested.dispatched("a").await);
    }
    // The files as a crash of the process leaves them: the store is still open, nothing was tidied up.
    let crashed = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("crewcall.db{suffix}");
        fs::copy(tested.path().with_file_name(&name), crashed.path().join(&name)).unwrap();
    }
    let store = open(&file(crashed.path()), &HandClock::new()).unwrap();
    for job in jobs {
        assert_eq!(store.get(job.id).await.unwrap().unwrap().0, *job);
    }
    store.close().await;
    tested.finish().await;
}

#[tokio::test]
async fn a_file_has_one_owner() {
    let tested = StoreUnderTest::sqlite();
    let (error, text) = refusal(&tested.path());
    assert!(
        matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error:?}"
    );
    assert!(text.contains("stop it, or choose another path"), "{text}");
    #[cfg(unix)]
    {
        let link = tested.path().with_file_name("another-name.db");
        std::os::unix::fs::symlink(tested.path(), &link).unwrap();
        assert!(matches!(refusal(&link).0, OpenError::InUse { .. }));
    }
    tested.store.close().await;
    open(&tested.path(), &tested.clock).unwrap().close().await;
    tested.finish().await;
}

#[tokio::test]
async fn no_other_user_may_open_what_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let files = ["", "-wal", "-shm", ".lock"].map(|ending| format!("{}{ending}", path.display()));
    let modes = || files.each_ref().map(|file| fs::metadata(file).unwrap().permissions().mode() & 0o777);

    let store = open(&path, &HandClock::new()).unwrap();
    assert_eq!(modes(), [0o600; 4], "as they are made");
    // The files of an earlier version, and of a crash, which leaves the log.
    let log = fs::read(&files[1]).unwrap();
    store.close().await;
    drop(store);
    fs::write(&files[1], log).unwrap();
    fs::write(&files[2], "").unwrap();
    for file in &files {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let store = open(&path, &HandClock::new()).unwrap();
    assert_eq!(modes(), [0o600; 4], "those that were there");
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let tested = StoreUnderTest::sqlite();
    let pending = tested.store.insert(vec![accepted(tested.job("a"), 0)]);
    let (inserted, ()) = tokio::join!(pending, tested.store.close());
    assert!(inserted.is_ok(), "what was asked for before is done");
    assert!(matches!(tested.store.dispatch_due(&job_type("a"), 1, 1).await, Err(StoreError::Closed)));
    assert!(matches!(tested.store.types().await, Err(StoreError::Closed)));
    tested.finish().await;
}

#[tokio::test]
async fn a_lock_of_another_program_only_delays() {
    let tested = StoreUnderTest::sqlite();
    let other = Connection::open(tested.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (store, job) = (Arc::clone(&tested.store), tested.job("a"));
    let mut insert = Box::pin(store.insert(vec![accepted(job.clone(), 0)]));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut insert).await;
    assert!(early.is_err(), "it waits for the lock");
    assert_eq!(tested.store.get(job.id).await.unwrap(), None, "reads do not");
    other.execute_batch("COMMIT").unwrap();
    insert.await.unwrap();
    tested.finish().await;
}

#[tokio::test]
async fn the_log_stays_short() {
    let tested = StoreUnderTest::sqlite();
    for _ in 0..12 {
        let jobs = (0..25).map(|_| {
            let mut job = tested.job("a");
            job.parameters.insert("text".into(), "x".repeat(200_000).into());
            accepted(job, 0)
        });
        tested.store.insert(jobs.collect()).await.unwrap();
    }
    let log_bytes = fs::metadata(tested.path().with_file_name("crewcall.db-wal")).unwrap().len();
    assert!(log_bytes < 30_000_000, "60 MB were written, and {log_bytes} bytes are still in the log");
    tested.finish().await;
}

#[tokio::test]
async fn a_value_that_means_nothing_is_an_error_and_no_panic() {
    let tested = StoreUnderTest::sqlite();
    let (bad, good) = (tested.dispatched("a").await, tested.dispatched("a").await);
    let other = Connection::open(tested.path()).unwrap();
    let id = bad.id.as_uuid().as_bytes().as_slice();
    other.execute("UPDATE jobs SET token = x'00' WHERE id = ?", [id]).unwrap();
    assert!(matches!(tested.store.get(bad.id).await, Err(StoreError::Broken { .. })));
    other.execute("UPDATE jobs SET token = NULL, state = 'asleep' WHERE id = ?", [id]).unwrap();
    let error = tested.store.get(bad.id).await.unwrap_err();
    assert!(error.to_string().contains("the column state holds asleep"), "{error}");
    let event = super::under_test::completed(&good);
    let events = [(&bad, event.clone()), (&good, event.clone())]
        .map(|(job, event)| crewcall_backend::engine::ports::JobEvent { job_id: job.id, event });
    assert!(matches!(tested.store.apply(events.to_vec()).await, Err(StoreError::Broken { .. })));
    tested.change(&good, event).await;
    other.execute("UPDATE jobs SET state = 'dispatched' WHERE id = ?", [id]).unwrap();
    drop(other);
    tested.finish().await;
}

/// The file of an earlier build is brought up to this one's, with all that is in it.
#[tokio::test]
async fn an_older_database_is_brought_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let older = Connection::open(&path).unwrap();
    for step in [
        include_str!("../../../src/store/sqlite/migrations/0001_jobs.sql"),
        include_str!("../../../src/store/sqlite/migrations/0002_limits.sql"),
    ] {
        older.execute_batch(step).unwrap();
    }
    older
        .execute_batch(
            "INSERT INTO flows (type, paused_by, paused_at) VALUES ('a.b', 'ada', 7);
             PRAGMA application_id = 0x43524557; PRAGMA user_version = 2",
        )
        .unwrap();
    drop(older);
    let store = SqliteStore::open(&path, HandClock::new(), Arc::default()).unwrap();
    let settings = store.type_settings().await.unwrap();
    let [(job_type, settings)] = &settings[..] else { panic!("{settings:?}") };
    assert_eq!((job_type.as_str(), settings.pause.as_ref().unwrap().by.as_str()), ("a.b", "ada"));
    store.check().await.unwrap(); // takes a job through its life, of which nothing is kept
    store.close().await;
}

/// The steps up to format 8, in which events knew of no runs, and consumers of no workflows.
const FORMAT_8: [&str; 8] = [
    include_str!("../../../src/store/sqlite/migrations/0001_jobs.sql"),
    include_str!("../../../src/store/sqlite/migrations/0002_limits.sql"),
    include_str!("../../../src/store/sqlite/migrations/0003_names.sql"),
    include_str!("../../../src/store/sqlite/migrations/0004_traces.sql"),
    include_str!("../../../src/store/sqlite/migrations/0005_given_up.sql"),
    include_str!("../../../src/store/sqlite/migrations/0006_events.sql"),
    include_str!("../../../src/store/sqlite/migrations/0007_consumers.sql"),
    include_str!("../../../src/store/sqlite/migrations/0008_emitted.sql"),
];

#[tokio::test]
async fn consumers_and_events_of_before_there_were_workflows_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let older = Connection::open(&path).unwrap();
    FORMAT_8.into_iter().for_each(|step| older.execute_batch(step).unwrap());
    older
        .execute_batch(
            "INSERT INTO events (sequence, recorded_at, subject, origin_job_id, origin_root, origin_depth, data)
                VALUES (1, 7, 'job.completed.a', x'0190000000007000800000000000abcd', 'event 9', 2, '{}');
             INSERT INTO consumers (name, subjects, job_type, parameters, labels, in_flight_max, start, cursor,
                first_pass, pass, created_at, changed_at, revision)
                VALUES ('c', '[\"x\"]', 'a', '{}', '{}', 5, 'now', 1, 1, 1, 7, 7, 1);
             UPDATE counters SET value = 1 WHERE name IN ('events_sequenced', 'passes_begun');
             PRAGMA application_id = 0x43524557; PRAGMA user_version = 8",
        )
        .unwrap();
    drop(older);
    let store = SqliteStore::open(&path, HandClock::new(), Arc::default()).unwrap();
    let consumer = store.consumer(&"c".parse().unwrap()).unwrap();
    assert!(matches!(&consumer.settings.then, Then::Job(job) if job.job_type == "a"), "{consumer:?}");
    let event = store.event(Sequence(1)).await.unwrap().unwrap();
    let origin = event.origin.unwrap();
    assert!(matches!(origin.source, Source::Job(_)), "{origin:?}");
    assert_eq!((origin.root, origin.depth), (Root::Event(Sequence(9)), 2));
    assert_eq!((store.workflows().len(), store.open_runs().len()), (0, 0));
    assert_eq!(store.waits_looked_to().await.unwrap(), Sequence(0));
    store.check().await.unwrap();
    store.close().await;
}

/// A run that is not over, of before there were schedules: it goes on, and schedules can be made.
#[tokio::test]
async fn runs_of_before_there_were_schedules_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let older = Connection::open(&path).unwrap();
    FORMAT_8.into_iter().for_each(|step| older.execute_batch(step).unwrap());
    older.execute_batch(include_str!("../../../src/store/sqlite/migrations/0009_workflows.sql")).unwrap();
    older
        .execute_batch(
            "INSERT INTO workflows (name, newest, created_at) VALUES ('child', 1, 7);
             INSERT INTO workflow_versions (workflow, number, made_at, made_by, document)
                VALUES ('child', 1, 7, 'ada', '{\"name\":\"child\",\"steps\":{\"d\":{\"approval\":{}}}}');
             INSERT INTO runs (seq, id, workflow, workflow_version, started_by, labels, root, depth, log_from,
                created_at, state, generation, is_paused, is_compensated, steps_ended, version)
                VALUES (1, x'0190000000007000800000000000abcd', 'child', 1, 'ada', '{}',
                   'run 01900000-0000-7000-8000-00000000abcd', 0, 0, 7, 'running', 1, 0, 0, 0, 1);
             INSERT INTO run_data (run_seq, data) VALUES (1, '[1]');
             PRAGMA application_id = 0x43524557; PRAGMA user_version = 9",
        )
        .unwrap();
    drop(older);
    let tested = StoreUnderTest::of_file(directory);
    let [open] = &tested.store.open_runs()[..] else { panic!("one run is open") };
    let (run, data) = tested.store.run(open.id()).await.unwrap().unwrap();
    assert_eq!(run.info.started_by, StartedBy::Person("ada".to_owned()));
    assert_eq!((&*data.data, data.event, data.schedule), ("[1]", None, None));
    workflows::tell(&tested, run.id(), workflows::stop()).await;
    assert!(tested.store.schedules().is_empty());
    let schedule = schedule_words::put(&tested, &serde_json::json!({})).await;
    assert_eq!(schedule.id, ScheduleId(1));
    schedule_words::fire(&tested, schedule_words::clock(1)).await;
    tested.store.check().await.unwrap();
    tested.finish().await;
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_any_more_is_told() {
    let tested = StoreUnderTest::sqlite();
    schedule_words::put(&tested, &serde_json::json!({})).await;
    tested.store.close().await;
    let other = Connection::open(tested.path()).unwrap();
    other.execute("UPDATE schedule_documents SET document = '{\"every_seconds\": 60}'", ()).unwrap();
    drop(other);
    let (error, _) = refusal(&tested.path());
    let OpenError::Damaged { source, .. } = &error else { panic!("{error:?}") };
    let text = source.to_string();
    assert!(text.contains("schedule s: ") && text.contains("one of job, workflow and event"), "{text}");
}

/// The index is the last word on it, whatever a program decides.
#[tokio::test]
async fn a_tick_of_the_calendar_has_one_row_that_fired() {
    let tested = StoreUnderTest::sqlite();
    schedule_words::put(&tested, &serde_json::json!({})).await;
    schedule_words::fire(&tested, schedule_words::clock(1)).await;
    let other = Connection::open(tested.path()).unwrap();
    let copy = |origin: &str, state: &str| {
        let sql = "INSERT INTO ticks (schedule_id, tick, origin, schedule, last_tick, count, state, decided_at) \
             SELECT schedule_id, tick, ?, schedule, last_tick, 1, ?, 7 FROM ticks WHERE origin = 'clock'";
        other.execute(sql, [origin, state])
    };
    for state in ["fired", "queued"] {
        let error = copy("backfill", state).unwrap_err().to_string();
        assert!(error.contains("UNIQUE constraint failed: ticks.schedule_id, ticks.tick"), "{error}");
    }
    assert_eq!(copy("backfill", "skipped"), Ok(1));
    assert_eq!(copy("hand", "fired"), Ok(1), "what somebody fires is none of the calendar");
    other.execute("DELETE FROM ticks WHERE origin <> 'clock'", ()).unwrap();
    drop(other);
    tested.finish().await;
}

#[tokio::test]
async fn a_workflow_that_cannot_be_read_any_more_is_told() {
    let tested = StoreUnderTest::sqlite();
    workflows::put(&tested, &workflows::child()).await;
    tested.store.close().await;
    let other = Connection::open(tested.path()).unwrap();
    other.execute("UPDATE workflow_versions SET document = '{\"name\": \"child\"}'", ()).unwrap();
    drop(other);
    let (error, text) = refusal(&tested.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(text.contains("DIRECTORY/crewcall.db"), "{text}");
}

#[tokio::test]
async fn a_newer_database_is_refused_unchanged() {
    let tested = StoreUnderTest::sqlite();
    tested.store.close().await;
    Connection::open(tested.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(tested.path()).unwrap();
    let (error, text) = refusal(&tested.path());
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
    assert_eq!(
        text,
        "the database DIRECTORY/crewcall.db was written by a newer version (its format is 99, this program \
         knows up to 13): run that version or a later one"
    );
    assert_eq!(fs::read(tested.path()).unwrap(), before);
}

#[test]
fn a_path_that_is_no_database_of_ours_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    fs::write(&path, "dear diary, ".repeat(500)).unwrap();
    let (error, text) = refusal(&path);
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    assert_eq!(
        text,
        "DIRECTORY/crewcall.db is not a SQLite database: choose another path, or move the file away"
    );

    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE songs (name)").unwrap();
    let (error, text) = refusal(&path);
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_eq!(text, "DIRECTORY/crewcall.db is a SQLite database of another program: choose another path");

    assert!(matches!(refusal(directory.path()).0, OpenError::IsDirectory { .. }));
    let (error, text) = refusal(&directory.path().join("missing/crewcall.db"));
    assert!(matches!(error, OpenError::NoDirectory { .. }), "{error:?}");
    assert!(text.contains("create it, or choose another path"), "{text}");
}

#[tokio::test]
async fn keys_that_are_too_old_are_deleted_by_those_that_come() {
    let tested = StoreUnderTest::sqlite();
    let keyed = |number: usize| {
        let idempotency = Some(IdempotencyKey { key: number.to_string(), body_hash: [0; 32] });
        Accepted { job: tested.job("a"), window: 0, idempotency, after: None }
    };
    let kept = || -> i64 {
        let connection = Connection::open(tested.path()).unwrap();
        connection.query_row("SELECT count(*) FROM idempotency_keys", (), |row| row.get(0)).unwrap()
    };
    tested.store.insert((0..10).map(keyed).collect()).await.unwrap();
    tested.clock.advance(IDEMPOTENCY_KEPT_FOR.as_millis().try_into().unwrap());
    tested.store.insert(vec![keyed(10)]).await.unwrap();
    assert!((2..11).contains(&kept()), "in steps: {}", kept());
    tested.store.insert((11..14).map(keyed).collect()).await.unwrap();
    assert_eq!(kept(), 4);
    tested.finish().await;
}

#[test]
fn the_store_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<SqliteStore>();
}

/// Transactions that are taken back leave no gap in the log, and nobody sees what was in them.
#[tokio::test]
async fn events_that_are_taken_back_leave_no_gap() {
    let tested = StoreUnderTest::sqlite();
    let other = Connection::open(tested.path()).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.subject = 'refused' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    let write = async |writer: usize| {
        let mut recorded = 0;
        for number in 0..30 {
            let last = if (writer + number).is_multiple_of(3) { "refused" } else { "taken" };
            let events = vec![events::event("taken", "1"), events::event(last, "2")];
            let outcome = tested.store.append(events).await;
            assert_eq!(outcome.is_err(), last == "refused", "{outcome:?}");
            recorded += if outcome.is_ok() { 2 } else { 0 };
        }
        recorded
    };
    let writers = futures_util::future::join_all((0..6).map(write));
    let (seen, recorded) = tokio::join!(events::follow(Arc::clone(&tested.store), 240), writers);
    assert_eq!(recorded.iter().sum::<usize>(), 240);
    assert_eq!(seen, (1..=240).collect::<Vec<u64>>());
    other.execute_batch("DROP TRIGGER refuse").unwrap();
    tested.finish().await;
}
