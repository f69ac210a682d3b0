use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::screen::{Mode, Request, Screen, Sight};
use crate::terminals::{on_terminals, view};

fn sight(at: Instant, finished: f64) -> Sight {
    let types = json!([
        {"type": "image.thumbnail", "workers": 2, "jobs": {"ready": 2, "running": 3, "failed": 1},
         "oldest_waiting_at": "2026-11-20T16:05:00Z"},
        {"type": "file.checksum", "workers": 0, "jobs": {"unroutable": 7, "failed": 12}, "paused": {"by": "ann"}},
    ]);
    let workers = json!([
        {"id": "0192e4a0-0000-7000-8000-00000000000a", "name": "images", "host": "forge", "status": "busy", "slots": 4,
         "slots_busy": 3, "types": ["image.thumbnail"], "last_seen_at": "2026-11-20T16:06:58Z",
         "orders": [{"job_id": "0192e4a0-0000-7000-8000-000000000001", "attempt": 1}]},
        {"id": "0192e4a0-0000-7000-8000-00000000000b", "name": "sums", "host": "forge", "status": "draining", "slots": 1},
    ]);
    let jobs = json!([
        {"id": "0192e4a0-0000-7000-8000-000000000001", "type": "image.thumbnail", "state": "running", "attempt": 1,
         "max_attempts": 5, "created_at": "2026-11-20T16:06:00Z"},
        {"id": "0192e4a0-0001-7000-8000-000000000002", "type": "file.checksum", "state": "failed", "attempt": 5,
         "max_attempts": 5, "created_at": "2026-11-20T16:05:00Z",
         "error": {"kind": "handler", "message": "a\u{1b}[2J long message that has no room"}},
    ]);
    Sight {
        at,
        types: serde_json::from_value(types).unwrap(),
        workers: serde_json::from_value(workers).unwrap(),
        jobs: serde_json::from_value(jobs).unwrap(),
        finished: [("image.thumbnail".to_owned(), finished)].into(),
        p95: [("image.thumbnail".to_owned(), 2.5)].into(),
    }
}

/// After two looks, two seconds apart, between which ten jobs ended.
fn screen() -> Screen {
    let began = Instant::now();
    let mut screen = Screen::new(sight(began, 100.0));
    screen.see(sight(began + Duration::from_secs(2), 110.0));
    screen
}

fn press(screen: &mut Screen, keys: &str) -> Option<Request> {
    let mut request = None;
    for key in keys.split(' ') {
        let code = match key {
            "Enter" => KeyCode::Enter,
            "Esc" => KeyCode::Esc,
            "Tab" => KeyCode::Tab,
            "Down" => KeyCode::Down,
            "Up" => KeyCode::Up,
            "End" => KeyCode::End,
            "Backspace" => KeyCode::Backspace,
            letter => KeyCode::Char(letter.chars().next().unwrap()),
        };
        request = screen.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    request
}

/// The screen on terminals, the last a very narrow one. On none are there too many lines.
fn shown(screen: &mut Screen) -> String {
    for (width, height) in [(80, 24), (20, 10), (20, 3), (1, 1), (0, 0), (200, 50)] {
        let lines = screen.lines(&view(Some(width), false), height);
        assert!(lines.len() <= usize::from(height).max(6), "{width}x{height}: {lines:?}");
    }
    let narrow = screen.lines(&view(Some(20), false), 8).join("\n");
    format!("{}\n\n--- 20 columns\n{narrow}", on_terminals(|view| screen.lines(view, 24).join("\n")))
}

#[test]
fn every_list_fits_the_terminal() {
    let mut screen = screen();
    insta::assert_snapshot!("types", shown(&mut screen));
    press(&mut screen, "Tab");
    insta::assert_snapshot!("workers", shown(&mut screen));
    press(&mut screen, "Tab Down");
    insta::assert_snapshot!("jobs", shown(&mut screen));
    let nothing = Sight { types: Vec::new(), ..sight(Instant::now(), 0.0) };
    assert!(Screen::new(nothing).lines(&view(Some(80), false), 24)[0].contains(" 0.0/s"));
    screen.inspect("one\u{1b}[2J\ntwo".to_owned());
    assert_eq!(screen.lines(&view(Some(80), false), 24), ["one\\u{1b}[2J", "two", "any key goes back"]);
}

#[test]
fn keys_ask_before_they_act() {
    for (keys, request) in [
        ("p y", Some(Request::Resume("file.checksum".to_owned()))),
        ("Down p y", Some(Request::Pause("image.thumbnail".to_owned()))),
        ("Down Down Down Up p y", Some(Request::Resume("file.checksum".to_owned()))),
        ("p n", None),
        ("p Enter", None),
        ("c y", None),
        ("Tab d y", Some(Request::Drain("0192e4a0-0000-7000-8000-00000000000a".to_owned()))),
        ("Tab End d y", Some(Request::Undrain("0192e4a0-0000-7000-8000-00000000000b".to_owned()))),
        ("Tab Tab c y", Some(Request::Cancel("0192e4a0-0000-7000-8000-000000000001".to_owned()))),
        ("Tab Tab Down r y", Some(Request::Retry("0192e4a0-0001-7000-8000-000000000002".to_owned()))),
        ("Tab Tab Enter", Some(Request::Inspect("0192e4a0-0000-7000-8000-000000000001".to_owned()))),
        ("Tab Enter", Some(Request::Inspect("0192e4a0-0000-7000-8000-000000000001".to_owned()))),
        ("/ q q q Enter p y", None),
        ("q", Some(Request::Quit)),
    ] {
        assert_eq!(press(&mut screen(), keys), request, "{keys}");
    }
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen().on_key(control_c), Some(Request::Quit));
    let mut asked = screen();
    press(&mut asked, "Tab Tab c");
    assert!(matches!(asked.mode, Mode::Confirm(_)));
    assert!(asked.lines(&view(Some(80), false), 24).last().unwrap().starts_with("cancel 0192e4a0"));
}

#[test]
fn types_are_sorted_filtered_and_entered() {
    let names =
        |screen: &Screen| screen.types().iter().map(|found| found.name.clone()).collect::<Vec<_>>().join(" ");
    let mut screen = screen();
    assert_eq!(screen.rate("image.thumbnail").round(), 5.0);
    for (sort, order) in [
        ("waiting jobs", "file.checksum image.thumbnail"),
        ("running jobs", "image.thumbnail file.checksum"),
        ("rate", "image.thumbnail file.checksum"),
        ("failed jobs", "file.checksum image.thumbnail"),
        ("oldest waiting", "image.thumbnail file.checksum"),
        ("name", "file.checksum image.thumbnail"),
    ] {
        press(&mut screen, "s");
        assert_eq!(names(&screen), order, "{sort}");
        assert!(screen.lines(&view(Some(80), false), 24)[0].starts_with(&format!("types by {sort}")));
    }
    press(&mut screen, "/ i m a Enter");
    assert_eq!(names(&screen), "image.thumbnail");
    press(&mut screen, "Enter");
    assert_eq!(screen.type_of_jobs().as_deref(), Some("image.thumbnail"));
    assert_eq!(screen.jobs().len(), 1);
    press(&mut screen, "Esc");
    assert_eq!((screen.type_of_jobs(), names(&screen).as_str()), (None, "file.checksum image.thumbnail"));
}
