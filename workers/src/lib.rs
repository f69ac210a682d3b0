//! The workers that ship with Crewcall, as one program: `crewcall-workers`.
//!
//! One file per job type. Each holds the type's parameters and result (their doc comments are what users
//! read in the catalogue), its limits, and its handler: a plain async function that is tested without a
//! broker.
//!
//! Reading order: [`settings`] (what an operator chooses), [`serve`] (which types are served here),
//! [`file_checksum`] (the shortest handler), [`files`] (which files jobs may name), [`image_thumbnail`],
//! [`http_request`].

pub mod settings;

pub mod file_checksum;

pub mod image_thumbnail;

pub mod http_request;

pub mod files;

mod blocking;

use crewcall_worker::prelude::{OrFail as _, Worker};

use crate::{
    files::FileAccess,
    http_request::HttpClient,
    settings::{JobType, Settings},
};

/// Gives `worker` the job types that were chosen. One that cannot be served on this host is not announced;
/// the worker logs why.
pub fn serve(worker: Worker, settings: &Settings) -> Worker {
    let named = worker.name("crewcall-workers").version(env!("CARGO_PKG_VERSION"));
    settings.types.iter().fold(named, |worker, job_type| match job_type {
        JobType::FileChecksum => serve_checksums(worker, file_access(settings)),
        JobType::ImageThumbnail => serve_thumbnails(worker, file_access(settings)),
        JobType::HttpRequest => serve_requests(worker, HttpClient::new(settings.http_allow.clone())),
    })
}

fn file_access(settings: &Settings) -> Result<FileAccess, String> {
    match &settings.root {
        Some(root) => FileAccess::within(root).map_err(|reason| format!("CREWCALL_WORKERS_ROOT: {reason}")),
        None => Ok(FileAccess::unrestricted()),
    }
}

fn serve_checksums(worker: Worker, files: Result<FileAccess, String>) -> Worker {
    worker.job_if(available(&files), file_checksum::JOB_TYPE, move |job, parameters| {
        let files = files.clone();
        async move { file_checksum::checksum(files.or_fail()?, job, parameters).await }
    })
}

fn serve_thumbnails(worker: Worker, files: Result<FileAccess, String>) -> Worker {
    worker.job_if(available(&files), image_thumbnail::JOB_TYPE, move |job, parameters| {
        let files = files.clone();
        async move { image_thumbnail::thumbnail(files.or_fail()?, job, parameters).await }
    })
}

fn serve_requests(worker: Worker, client: Result<HttpClient, String>) -> Worker {
    worker.job_if(available(&client), http_request::JOB_TYPE, move |job, parameters| {
        let client = client.clone();
        async move { http_request::request(client.or_fail()?, job, parameters).await }
    })
}

/// Whether what a type needs is there; if not, why.
fn available<T>(needed: &Result<T, String>) -> Result<(), String> {
    needed.as_ref().map(|_| ()).map_err(Clone::clone)
}
