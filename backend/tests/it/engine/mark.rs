//! The mark of confirmed dispatches is kept whatever the load.

use std::sync::Arc;

use crewcall_backend::engine::ports::{DispatchNumber, Jobs as _};
use crewcall_proto::JobType;
use tokio::time::timeout;

use super::stage::{PATIENCE, Stage};

#[tokio::test]
async fn the_mark_is_kept_while_there_is_always_something_to_fill() {
    let stage = Stage::start().await;
    let job_type = JobType::new("a").unwrap();
    // As under load: whenever the relay fills a window, an attempt of the type ends meanwhile.
    let (engine, ended) = (Arc::clone(&stage.engine), job_type.clone());
    stage.broker.when_asked(move || engine.wake(&ended));
    let kept = async {
        while stage.store.dispatch_marks().await.unwrap().confirmed < DispatchNumber(10) {
            stage.submit(&job_type).await;
        }
    };
    timeout(PATIENCE, kept).await.expect("the mark was not kept");
    stage.stop().await;
}
