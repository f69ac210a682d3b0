//! Somebody who watches every job, and never sees one go back.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::load::{AGAIN_AFTER, Load};

/// What is watched.
const PATH: &str = "/v1/watch";

/// How long a stream may be silent before it is opened anew: its line may be dead.
const SILENT_MAX: Duration = Duration::from_secs(20);

impl Load<'_> {
    /// Watches until it is told to stop. A stream that breaks is opened again.
    pub(super) async fn watch(&self) {
        let mut versions = BTreeMap::new();
        while !self.stop.is_cancelled() {
            let _ = self.stop.run_until_cancelled(self.read_stream(&mut versions)).await;
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Reads events until the stream breaks, or is silent for long.
    async fn read_stream(&self, versions: &mut BTreeMap<String, u64>) -> anyhow::Result<()> {
        let mut response = timeout(SILENT_MAX, self.api.open(PATH)).await??;
        let mut unread = Vec::new();
        while let Some(bytes) = timeout(SILENT_MAX, response.chunk()).await?? {
            unread.extend_from_slice(&bytes);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                if let Some(job) = job_in(&line) {
                    self.counters.watched_one();
                    self.submissions.record_seen(&job);
                    self.note_version(versions, &job);
                }
            }
        }
        Ok(())
    }

    fn note_version(&self, versions: &mut BTreeMap<String, u64>, job: &Value) {
        let (Some(id), Some(version)) = (job["id"].as_str(), job["version"].as_u64()) else { return };
        let before = versions.insert(id.to_owned(), version);
        if before.is_some_and(|before| before > version) {
            self.log.trouble(format!("a watcher saw version {before:?} of {id}, and then {job}"));
        }
    }
}

/// The job that a line of a stream is about.
fn job_in(line: &[u8]) -> Option<Value> {
    let data = line.strip_prefix(b"data:")?;
    serde_json::from_slice(data).ok()
}
