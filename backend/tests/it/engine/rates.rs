//! Rate limits: what they remember, and what they cost.

use crewcall_backend::{
    domain::TypeSettingsChange,
    engine::ports::{DispatchNumber, Jobs as _},
};
use crewcall_proto::JobType;

use super::stage::Stage;

const ONE_A_DAY: TypeSettingsChange =
    TypeSettingsChange::Limits { running_max: None, rate_per_second: Some(1.0 / 86_400.0) };

/// Returns once the relay has looked at the type. It looks at types by name, so it has when one behind it is served.
async fn looked_at(stage: &Stage, job_type: &JobType) {
    let (behind, before) = (JobType::new("z").unwrap(), stage.dispatches("z").await);
    stage.engine.wake(job_type);
    stage.submit_for_relay(&behind).await;
    while stage.dispatches("z").await == before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_a_day_is_one_whatever_is_restarted_or_set_again() {
    let job_type = JobType::new("a").unwrap();
    let mut stage = Stage::start().await;
    stage.limit(&job_type, ONE_A_DAY).await;
    for _ in 0..5 {
        stage.submit(&job_type).await;
    }
    looked_at(&stage, &job_type).await;
    assert_eq!(stage.dispatches("a").await, 1);
    for _ in 0..3 {
        stage.limit(&job_type, ONE_A_DAY).await;
        looked_at(&stage, &job_type).await;
        assert_eq!(stage.dispatches("a").await, 1, "it was set again");
        stage = stage.restart().await;
        looked_at(&stage, &job_type).await;
        assert_eq!(stage.dispatches("a").await, 1, "the process was restarted");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_type_under_a_rate_limit_is_waited_for_once() {
    let job_type = JobType::new("a").unwrap();
    let stage = Stage::start().await;
    stage.limit(&job_type, ONE_A_DAY).await;
    for _ in 0..50 {
        stage.submit(&job_type).await;
        looked_at(&stage, &job_type).await;
    }
    // The relay, and perhaps the last publication.
    assert!(stage.tasks.len() <= 2, "{} tasks", stage.tasks.len());
    assert_eq!(stage.store.dispatch_marks().await.unwrap().issued, DispatchNumber(51));
    stage.stop().await;
}
