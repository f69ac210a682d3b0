use super::*;

fn told(document: &str) -> Vec<(String, String)> {
    let document: Json = document.parse().unwrap();
    let problems = ScheduleSettings::read(&document).err().unwrap_or_default();
    problems.into_iter().map(|Problem { pointer, message }| (pointer, message)).collect()
}

#[test]
fn a_document_says_everything_or_takes_the_defaults() {
    let whole = r#"{"name": "report", "cron": "30 2 * * *", "timezone": "Europe/Athens", "from": "2026-11-20T00:00:00Z",
        "until": "2027-11-20T00:00:00Z", "jitter_seconds": 1.5, "overlap": "queue_one", "catch_up": "all",
        "catch_up_window_seconds": 60, "pause_after_failures": 3,
        "job": {"type": "report.render", "parameters": {"since": "${{ schedule.last_result }}"}}}"#;
    let settings = ScheduleSettings::read(&whole.parse().unwrap()).unwrap();
    assert_eq!(settings.times.timing, Timing::Cron("30 2 * * *".to_owned()));
    assert_eq!((settings.times.overlap, settings.times.catch_up), (Overlap::QueueOne, CatchUp::All));
    assert_eq!(settings.times.jitter, Duration::from_millis(1_500));
    assert_eq!((settings.pause_after_failures, settings.reads_last_result), (Some(3), true));
    let least = r#"{"every_seconds": 90, "event": {"subject": "day.began"}}"#;
    let settings = ScheduleSettings::read(&least.parse().unwrap()).unwrap();
    assert_eq!(settings.times.timing, Timing::Every(90));
    assert_eq!((settings.times.overlap, settings.times.catch_up), (Overlap::Skip, CatchUp::Last));
    assert_eq!((settings.times.timezone.as_str(), settings.reads_last_result), ("UTC", false));
    assert!(matches!(settings.makes, Makes::Event { .. }));
}

#[test]
fn every_problem_is_told_with_its_place() {
    let job = r#""job": {"type": "a"}"#;
    for (document, at, says) in [
        ("[]".to_owned(), "", "a schedule is an object"),
        (format!("{{{job}}}"), "", "either cron or every_seconds"),
        (format!(r#"{{"cron": "* * * * *", "every_seconds": 1, {job}}}"#), "", "either cron or every_seconds"),
        (r#"{"every_seconds": 1}"#.to_owned(), "", "one of job, workflow and event"),
        (format!(r#"{{"every_seconds": 0, {job}}}"#), "/every_seconds", "from 1 to"),
        (format!(r#"{{"every_seconds": 1, "overlap": "skipp", {job}}}"#), "/overlap", r#"did you mean "skip""#),
        (format!(r#"{{"every_seconds": 1, "catchup": "all", {job}}}"#), "/catchup", r#"did you mean "catch_up""#),
        (format!(r#"{{"every_seconds": 1, "from": "noon", {job}}}"#), "/from", "RFC 3339"),
        (
            format!(r#"{{"every_seconds": 1, "from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z", {job}}}"#),
            "/until",
            "end before it begins",
        ),
        (format!(r#"{{"every_seconds": 1, "jitter_seconds": -1, {job}}}"#), "/jitter_seconds", "seconds"),
        (r#"{"every_seconds": 1, "job": {"type": "A"}}"#.to_owned(), "/job/type", "job type"),
        (
            r#"{"every_seconds": 1, "job": {"type": "a", "parameters": {"x": "${{ event.data }}"}}}"#.to_owned(),
            "/job/parameters/x",
            "schedule",
        ),
        (r#"{"every_seconds": 1, "workflow": {"data": {}}}"#.to_owned(), "/workflow/name", "has a name"),
        (r#"{"every_seconds": 1, "event": {"subject": "job.done"}}"#.to_owned(), "/event/subject", "job"),
        (
            r#"{"every_seconds": 1, "overlap": "allow", "job": {"type": "a", "parameters": {"x": "${{ schedule.last_result }}"}}}"#
                .to_owned(),
            "/overlap",
            "last_result",
        ),
        (
            r#"{"every_seconds": 1, "event": {"subject": "a", "data": "${{ schedule.last_result }}"}}"#.to_owned(),
            "",
            "result of a job",
        ),
    ] {
        let told = told(&document);
        assert!(
            told.iter().any(|(pointer, message)| pointer == at && message.contains(says)),
            "{document}: {told:?}"
        );
    }
    let huge = format!(
        r#"{{"every_seconds": 1, "job": {{"type": "a", "parameters": {{"x": "{}"}}}}}}"#,
        "x".repeat(DOCUMENT_BYTES_MAX)
    );
    assert!(told(&huge)[0].1.contains("pass larger parameters by reference"));
}
