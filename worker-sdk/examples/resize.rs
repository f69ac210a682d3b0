//! A whole worker. Start it with the broker in `CREWCALL_AMQP_URL`, or try it with no broker at all:
//!
//! ```text
//! cargo run -p crewcall-worker --example resize -- --run-once image.resize '{"source": "photo.jpg", "width": 640}'
//! ```
//!
//! It only reads the image in slices; a real one decodes and scales it, as `image.thumbnail` in `workers/` does.

use crewcall_worker::prelude::*;
use tokio::io::AsyncReadExt;

/// Resize one image.
#[derive(Deserialize, JsonSchema)]
struct Resize {
    /// The file to read, as the worker sees it.
    source: PathBuf,
    /// The new width in pixels.
    #[schemars(range(min = 1, max = 8192))]
    width: u32,
}

/// What came out.
#[derive(Serialize, JsonSchema)]
struct Resized {
    /// How many bytes were read.
    bytes: u64,
    /// The width, as it was asked for.
    width: u32,
}

async fn resize(job: JobContext, parameters: Resize) -> Result<Resized, JobError> {
    if !parameters.source.is_file() {
        let message = format!("{} is not a file", parameters.source.display());
        return Err(JobError::permanent(message).code("source_not_found"));
    }
    let mut file = tokio::fs::File::open(&parameters.source).await?; // `?`: retryable; `.or_fail()?`: permanent
    let slice = file.metadata().await?.len().div_ceil(10);
    let mut bytes = 0;
    for step in 1..=10 {
        job.check_cancelled()?;
        bytes += tokio::io::copy(&mut (&mut file).take(slice), &mut tokio::io::sink()).await?;
        job.progress(step * 10, format!("slice {step}/10")); // coalesced, last wins
    }
    Ok(Resized { bytes, width: parameters.width })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Worker::from_env()?.version(env!("CARGO_PKG_VERSION")).job("image.resize", resize).slots(8).run().await
}

#[cfg(test)]
mod tests {
    use crewcall_worker::testing;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn it_reads_its_source_in_slices() {
        let source = env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml";
        let bytes = std::fs::metadata(&source).unwrap().len();
        let outcome = testing::run(resize, json!({"source": source, "width": 640})).await;
        assert_eq!(outcome.result.unwrap(), json!({"bytes": bytes, "width": 640}));
        assert_eq!(outcome.progress.last().unwrap().message, "slice 10/10");
    }

    #[tokio::test]
    async fn a_missing_source_is_permanent() {
        let failure =
            testing::run(resize, json!({"source": "/no/such/file", "width": 1})).await.result.unwrap_err();
        assert_eq!((failure.code.as_deref(), failure.retryable), (Some("source_not_found"), false));
    }
}
