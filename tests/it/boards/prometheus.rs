//! A Prometheus of one test's own: the distribution's program, with our configuration.

use std::{fmt::Write as _, fs, net::TcpListener, path::Path, time::Duration};

use anyhow::{Context, ensure};
use e2e::{
    api::Api,
    process::{PATIENCE, Process},
    wait::until,
};
use serde_json::Value;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::deploy;

/// An order is lost after 45 s, and found by a look every 5 s: no alert takes longer.
const FIRES_WITHIN: Duration = Duration::from_secs(90);

/// Scrapes backends and workers every second. Dropping it kills it.
pub(super) struct Prometheus {
    api: Api,
    _process: Process,
}

/// What an expression shows of one series.
pub(super) struct Sample {
    pub(super) labels: Vec<String>,
    pub(super) value: f64,
}

impl Prometheus {
    /// Starts it with our configuration and rules, but for the addresses of backends and workers, and all times to wait.
    pub(super) async fn start(folder: &Path, backends: &[&str], workers: &[&str]) -> anyhow::Result<Self> {
        let configuration = deploy().join("prometheus");
        let text = fs::read_to_string(configuration.join("prometheus.yml"))?;
        ensure!(
            ["\"127.0.0.1:8080\"", "\"127.0.0.1:9464\"", ": 15s"].iter().all(|ours| text.contains(ours)),
            "prometheus.yml is written in another way now"
        );
        let file = folder.join("prometheus.yml");
        let addressed = text
            .replace("\"127.0.0.1:8080\"", &quoted(backends))
            .replace("\"127.0.0.1:9464\"", &quoted(workers));
        fs::write(&file, addressed.replace(": 15s", ": 1s"))?;
        fs::create_dir(folder.join("rules"))?;
        for rules in fs::read_dir(configuration.join("rules"))? {
            let rules = rules?;
            // An alert waits for minutes, a test does not.
            let lines = fs::read_to_string(rules.path())?;
            let lines: Vec<&str> =
                lines.lines().filter(|line| !line.trim_start().starts_with("for: ")).collect();
            fs::write(folder.join("rules").join(rules.file_name()), lines.join("\n"))?;
        }
        // Nobody else takes it in between, or the test fails.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .current_dir(folder)
            .kill_on_drop(true);
        let process = Process::start("prometheus", folder, command)
            .context("Prometheus is missing: `./dev test packages` installs it")?;
        let api = Api::new(format!("http://{address}"))?;
        let deadline = Instant::now() + PATIENCE;
        while !matches!(api.get("/-/ready").await, Ok((status, _)) if status.is_success()) {
            ensure!(Instant::now() < deadline, "Prometheus is not ready:\n{}", process.log());
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { api, _process: process })
    }

    /// Evaluates an expression now.
    pub(super) async fn ask(&self, expression: &str) -> anyhow::Result<Vec<Sample>> {
        let url = reqwest::Url::parse_with_params("http://prometheus/api/v1/query", [("query", expression)])?;
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let answer = self.api.json(&path).await.with_context(|| expression.to_owned())?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().context("an answer has a result")?;
        result.iter().map(sample).collect()
    }

    /// Whether an alert fires.
    pub(super) async fn is_firing(&self, alert: &str) -> bool {
        self.ask(&firing(alert, "")).await.is_ok_and(|series| !series.is_empty())
    }

    /// None of these alerts fires before anything broke, or what breaks later would not be what makes it.
    pub(super) async fn all_is_quiet(&self, alerts: &[&str]) {
        let mut before = String::new();
        for alert in alerts {
            if self.is_firing(alert).await {
                writeln!(before, "{alert} fires before anything broke").unwrap();
            }
        }
        assert!(before.is_empty(), "{before}");
    }

    /// Waits until an alert fires.
    pub(super) async fn fires(&self, alert: &str) {
        until(&format!("{alert} fires"), FIRES_WITHIN, async || self.is_firing(alert).await).await.unwrap();
    }

    /// Waits until an alert fires no more.
    pub(super) async fn is_over(&self, alert: &str) {
        until(&format!("{alert} ends"), PATIENCE, async || !self.is_firing(alert).await).await.unwrap();
    }
}

/// What shows that an alert fires; `labels` are those that its series must have besides.
pub(super) fn firing(alert: &str, labels: &str) -> String {
    format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",{labels}}}")
}

fn quoted(addresses: &[&str]) -> String {
    addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ")
}

fn sample(series: &Value) -> anyhow::Result<Sample> {
    let labels = series["metric"].as_object().context("a series has labels")?.keys().cloned().collect();
    let value = series["value"][1].as_str().context("a series has a value")?;
    let value = value.parse().with_context(|| format!("{value} is no number"))?;
    Ok(Sample { labels, value })
}
