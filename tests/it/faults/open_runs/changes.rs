//! What runs are made of changes while they are open.

use e2e::{stack::Stack, wait::until};
use serde_json::{Value, json};

use super::{RUNS_WITHIN, are, journal, kill_and_restart, put, trigger_all};

/// How many runs people start of each version.
const RUNS: usize = 20;

/// How many ticks of each revision of the schedule there are at least.
const TICKS: i64 = 3;

/// Who asks, and then says its version. The second version has a step more, and uses what only newer workers take.
fn document(version: u32) -> Value {
    let mut last = json!({
        "needs": ["check"], "job": "test.echo",
        "parameters": {"text": format!("v{version} ${{{{ trigger.data.number }}}};")},
    });
    let mut steps = json!({"check": {"approval": {}}});
    if version == 2 {
        last["parameters"]["times"] = json!(2);
        steps["more"] = json!({"needs": ["last"], "job": "test.echo", "parameters": {"text": "more"}});
    }
    steps["last"] = last;
    json!({"steps": steps, "outputs": {"text": "${{ steps.last.result.text }}"}})
}

/// A schedule that starts a run each second, and says which revision of it did.
fn schedule(revision: u32) -> Value {
    let workflow = json!({"name": "film", "data": {"number": format!("of revision {revision}")}});
    json!({"every_seconds": 1, "overlap": "allow", "catch_up": "none", "workflow": workflow})
}

/// All runs, oldest first.
async fn runs(stack: &Stack) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = stack.api.json(&format!("/v1/runs?limit=100{cursor}")).await.unwrap();
        for run in page["runs"].as_array().unwrap() {
            all.push(stack.api.json(&format!("/v1/runs/{}", run["id"].as_str().unwrap())).await.unwrap());
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    all.reverse();
    all
}

/// A workflow, a schedule that starts it, and the schema of its jobs' type change under open runs, over a restart. Each run goes on by the
/// version that it has, with the data that it was started with, and what is started later by the new one.
#[tokio::test]
async fn f134_documents_and_schemas_change_under_open_runs() {
    let mut stack = Stack::start("f134").await.unwrap();
    let mut worker = stack.worker(&["test.echo"], 4).await.unwrap();
    let ticked = "SELECT count(*) FROM runs WHERE schedule IS NOT NULL AND workflow_version =";
    for version in 1..=2 {
        put(&stack, "/v1/workflows/film", &document(version)).await;
        put(&stack, "/v1/schedules/tick", &schedule(version)).await;
        trigger_all(&stack.api, "film", RUNS).await;
        let enough = async || stack.query(&format!("{ticked} {version}")).unwrap() >= TICKS;
        until("the schedule started some", RUNS_WITHIN, enough).await.unwrap();
        if version == 1 {
            worker.kill().await.unwrap();
            stack.worker_setting("TEST_WORKER_BUILD", "newer");
            worker = stack.worker(&["test.echo"], 4).await.unwrap();
        }
        kill_and_restart(&mut stack).await;
    }
    let (status, answer) = stack.api.post("/v1/schedules/tick/pause", json!({})).await.unwrap();
    assert!(status.is_success(), "{answer}");
    let open = runs(&stack).await;
    assert!(open.iter().all(|run| run["state"] == "running"), "{open:#?}");
    for run in &open {
        let path = format!("/v1/runs/{}/steps/check/approve", run["id"].as_str().unwrap());
        let (status, answer) = stack.api.post(&path, json!({"by": "Ann"})).await.unwrap();
        assert!(status.is_success(), "{answer}");
    }
    are(&stack, "completed", open.len()).await;
    let (mut of_version, mut of_new_revision) = ([0, 0], false);
    for run in runs(&stack).await {
        let (version, number) = (run["version"].as_u64().unwrap(), &run["data"]["number"]);
        of_version[usize::try_from(version).unwrap() - 1] += 1;
        let number = number.as_str().map_or_else(|| number.to_string(), str::to_owned);
        let said = format!("v{version} {number};");
        let expected = if version == 1 { said } else { said.repeat(2) };
        assert_eq!(run["outputs"]["text"], expected, "{run:#}");
        assert_eq!(run["steps"].as_array().unwrap().len(), if version == 1 { 2 } else { 3 }, "{run:#}");
        // The schedule was changed right after the workflow.
        let by_schedule = run["started_by"]["schedule"].is_string();
        assert!(!by_schedule || version == 2 || number == "of revision 1", "{run:#}");
        of_new_revision |= by_schedule && number == "of revision 2";
        let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        assert_eq!(journal(&stack.api, &path).await.iter().filter(|line| *line == "decided").count(), 1);
    }
    assert!(of_new_revision, "the schedule says something else from then on");
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "E4",
        format_args!(
            "{of_version:?} runs of the two versions went on by their own, over a newer worker and two kills"
        ),
    );
    found.print("F134 documents and schemas change under open runs");
}
