//! The program `crewcall-workers`: see the library beside it, and `crewcall-workers --help`.

use crewcall_worker::prelude::Worker;
use crewcall_workers::{serve, settings::Settings};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::from_lookup(|name| std::env::var(name).ok())?;
    serve(Worker::from_env()?, &settings).run().await?;
    Ok(())
}
