//! Many jobs at once, of two types: each is the one that was submitted, and gets the answer to itself.

use std::collections::BTreeSet;

use e2e::stack::Stack;
use futures_util::future::join_all;
use serde_json::json;

/// Enough that one in ten that goes wrong is found for certain, few enough to take seconds.
const JOBS: usize = 300;

#[tokio::test]
async fn each_of_many_jobs_gets_its_own_answer() {
    let mut stack = Stack::start("own-answers").await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.other"], 8).await.unwrap();
    let job_type = |number: usize| ["test.echo", "test.other"][number % 2];
    let submissions = (0..JOBS).map(|number| {
        let labels = json!({"number": number.to_string()});
        let parameters = json!({"text": format!("text {number}")});
        stack.api.submit(json!({"type": job_type(number), "parameters": parameters, "labels": labels}))
    });
    let ids: Vec<String> = join_all(submissions).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), JOBS, "each has an id of its own");
    ids.iter().for_each(|id| stack.remember_accepted(id.clone()));
    for (number, id) in ids.iter().enumerate() {
        let job = stack.api.wait_for_end(id).await.unwrap();
        assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
        let (text, label) = (json!(format!("text {number}")), json!(number.to_string()));
        assert_eq!((&job["type"], &job["labels"]["number"]), (&json!(job_type(number)), &label), "{job}");
        assert_eq!((&job["parameters"]["text"], &job["result"]["text"]), (&text, &text), "{job}");
    }
    stack.settle().await.unwrap();
}
