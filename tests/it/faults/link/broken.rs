//! A line that is slow, and one that is reset again and again.

use std::time::Duration;

use e2e::{footprint::Footprint, process::Process};
use serde_json::json;
use tokio::time::{Instant, interval};

use super::Site;

/// For how long the line is reset, once in every period.
const RESETS: usize = 24;
const RESET_EVERY: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_the_line_is_reset_every_second() {
    let mut site = Site::start("f10").await;
    let worker = site.stack.worker(&["test.echo", "test.sleep"], 4).await.unwrap();
    let mut ticks = interval(RESET_EVERY);
    let mut done = 0.0;
    let mut by_second = Vec::new();
    let journal = site.stack.folder().join("journal");
    let long = site.stack.submit("test.sleep", json!({"steps": 40, "step_ms": 250, "journal": journal})).await.unwrap();
    for number in 0..RESETS {
        ticks.tick().await;
        let now = site.stack.api.metric("crewcall_jobs_finished_total", "").await.unwrap();
        by_second.push(now - done);
        done = now;
        site.backend_line.reset_all();
        site.worker_line.reset_all();
        for item in 0..5 {
            site.stack.submit("test.echo", json!({"text": format!("{number} {item}")})).await.unwrap();
        }
    }
    println!("{by_second:?} {}", Footprint::of(&worker).unwrap());
    let resumed = site.stack.resumed("test.echo", json!({"text": "after"})).await.unwrap();
    println!("{} {:?}", site.stack.api.finished(&long).await.unwrap(), std::fs::read_to_string(&journal));
    let mut found = site.stack.settled().await.unwrap();
    found.hold("I14", format_args!("work resumed {resumed:?} after the last reset"));
    found.print("F10 a reset every second");
    println!("{}", site.stack.backend.log());
    println!("{}", worker.log());
}
