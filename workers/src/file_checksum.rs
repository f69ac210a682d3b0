//! `file.checksum`: reads a file of any size once and returns its checksum.

use std::{io::Read, path::PathBuf};

use crewcall_worker::prelude::{JobContext, JobError};
use md5::Md5;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    blocking::blocking,
    files::{FileAccess, Source},
};

/// The type's name on the wire.
pub const JOB_TYPE: &str = "file.checksum";

/// How much is read at a time, in bytes, and so how much memory an attempt takes. At the slowest
/// algorithm's speed this is a few milliseconds between two looks at whether the job was cancelled.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Compute the checksum of one file.
///
/// The file is read on the worker's host, once, in constant memory; progress is by bytes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Path of the file, as the worker's host sees it.
    pub source: PathBuf,
    /// The checksum's algorithm.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// The checksum that the file should have, in hexadecimal digits. When it has another, the job fails
    /// with the code `checksum_mismatch`.
    #[serde(default)]
    pub expected: Option<String>,
}

/// A checksum algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256: the one that most lists of checksums use.
    #[default]
    Sha256,
    /// BLAKE3: as strong, and several times faster.
    Blake3,
    /// MD5: for old lists only; it does not protect against someone who wants two files to match.
    Md5,
}

/// What a file's content comes to.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Checksum {
    /// The algorithm that was used.
    pub algorithm: Algorithm,
    /// The checksum in lower-case hexadecimal digits.
    pub checksum: String,
    /// How many bytes were read.
    pub bytes: u64,
}

/// Handles one `file.checksum` job.
///
/// # Errors
///
/// Those of [`FileAccess::open_source`]; `checksum_mismatch` (permanent); a retryable one when reading fails
/// half-way; the cancellation when the job was cancelled.
pub async fn checksum(
    files: FileAccess,
    job: JobContext,
    parameters: Parameters,
) -> Result<Checksum, JobError> {
    blocking(move || {
        let source = files.open_source(&parameters.source)?;
        let found = digest(&job, source, parameters.algorithm)?;
        match parameters.expected {
            Some(expected) if !expected.eq_ignore_ascii_case(&found.checksum) => {
                Err(JobError::permanent(format!(
                    "'{}' has the checksum {}, not the expected {expected}",
                    parameters.source.display(),
                    found.checksum
                ))
                .code("checksum_mismatch"))
            }
            _ => Ok(found),
        }
    })
    .await
}

fn digest(job: &JobContext, mut source: Source, algorithm: Algorithm) -> Result<Checksum, JobError> {
    let mut hasher = Hasher::new(algorithm);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        job.check_cancelled()?;
        let length = match source.file.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        hasher.update(&chunk[..length]);
        bytes += length as u64;
        // A file that grows while it is read is read to its new end: the size is only an estimate.
        let total = source.bytes.max(bytes);
        job.progress(percent(bytes, total), format!("{bytes} of {total} bytes"));
    }
    Ok(Checksum { algorithm, checksum: hasher.finish(), bytes })
}

/// How much of `total` has been `done`, in percent; all of nothing is done.
fn percent(done: u64, total: u64) -> u64 {
    // Files whose size times 100 does not fit are read for years: their progress may stand still.
    done.saturating_mul(100) / total.max(1)
}

/// The algorithms behind one interface: BLAKE3 does not implement the trait that the other two share.
enum Hasher {
    Sha256(Sha256),
    Blake3(Box<blake3::Hasher>),
    Md5(Md5),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Blake3 => Self::Blake3(Box::default()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Md5(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hex::encode(hasher.finalize()),
            Self::Blake3(hasher) => hasher.finalize().to_hex().to_string(),
            Self::Md5(hasher) => hex::encode(hasher.finalize()),
        }
    }
}
