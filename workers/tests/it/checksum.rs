//! `file.checksum` on real files.

use std::path::Path;

use crewcall_workers::{
    file_checksum::{Algorithm, Checksum, checksum},
    files::FileAccess,
};
use serde_json::json;

use crate::support::{Ran, code_of, run, run_cancelled};

async fn sum(files: FileAccess, parameters: serde_json::Value) -> Ran<Checksum> {
    run(move |job, parameters| checksum(files.clone(), job, parameters), parameters).await
}

async fn sum_of(path: &Path, algorithm: &str) -> Checksum {
    let parameters = json!({ "source": path, "algorithm": algorithm });
    sum(FileAccess::unrestricted(), parameters).await.result.unwrap()
}

/// The published checksums of "abc": FIPS 180-4 examples; RFC 1321, A.5; BLAKE3's reference implementation.
#[tokio::test]
async fn known_answers_of_every_algorithm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("abc");
    std::fs::write(&path, "abc").unwrap();
    for (algorithm, expected) in [
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("blake3", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
    ] {
        let found = sum_of(&path, algorithm).await;
        assert_eq!((found.checksum.as_str(), found.bytes), (expected, 3), "{algorithm}");
    }
}

#[tokio::test]
async fn a_large_file_reports_progress_by_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large");
    let bytes = 5 * 1024 * 1024 + 17;
    std::fs::write(&path, vec![7; bytes]).unwrap();
    let ran = sum(FileAccess::unrestricted(), json!({ "source": path })).await;
    let found = ran.result.unwrap();
    assert_eq!((found.bytes, found.algorithm), (bytes as u64, Algorithm::Sha256));
    let percents: Vec<u64> = ran.progress.iter().map(|(percent, _)| *percent).collect();
    assert_eq!(percents.last(), Some(&100));
    assert!(percents.len() >= 6, "one report for each chunk: {percents:?}");
    assert!(percents.is_sorted());
    assert_eq!(ran.progress.last().unwrap().1, format!("{bytes} of {bytes} bytes"));
}

#[tokio::test]
async fn an_empty_file_has_a_checksum_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty");
    std::fs::write(&path, "").unwrap();
    assert_eq!(sum_of(&path, "md5").await.checksum, "d41d8cd98f00b204e9800998ecf8427e");
}

#[tokio::test]
async fn an_unexpected_checksum_fails_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("abc");
    std::fs::write(&path, "abc").unwrap();
    let expecting = |expected: &str| json!({ "source": path, "algorithm": "md5", "expected": expected });
    let good = expecting("900150983CD24FB0D6963F7D28E17F72");
    sum(FileAccess::unrestricted(), good).await.result.expect("the case of the digits does not matter");
    let failure = sum(FileAccess::unrestricted(), expecting("00")).await.result.unwrap_err();
    assert_eq!(code_of(&failure), ("checksum_mismatch", false));
}

#[tokio::test]
async fn a_missing_source_says_that_the_worker_must_see_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nowhere.bin");
    let failure = sum(FileAccess::unrestricted(), json!({ "source": path })).await.result.unwrap_err();
    assert_eq!(code_of(&failure), ("source_not_found", false));
    assert!(failure.message.contains("nowhere.bin") && failure.message.contains("worker's host"));
}

#[tokio::test]
async fn a_directory_or_a_pipe_is_not_a_source() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), Path::new("/dev/null")] {
        let failure = sum(FileAccess::unrestricted(), json!({ "source": path })).await.result.unwrap_err();
        assert_eq!(code_of(&failure), ("source_not_a_file", false), "{}", path.display());
    }
}

#[tokio::test]
async fn a_cancelled_job_stops_reading() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("abc");
    std::fs::write(&path, "abc").unwrap();
    let files = FileAccess::unrestricted();
    let ran: Ran<Checksum> = run_cancelled(
        move |job, parameters| checksum(files.clone(), job, parameters),
        json!({ "source": path }),
    )
    .await;
    assert_eq!(ran.result.unwrap_err().kind.as_str(), "cancelled");
    assert!(ran.progress.is_empty(), "nothing was read");
}

#[tokio::test]
async fn the_root_confines_every_kind_of_path() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("in")).unwrap();
    std::fs::write(root.path().join("in/file"), "abc").unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("way-out")).unwrap();
    std::os::unix::fs::symlink("in/file", root.path().join("link")).unwrap();
    let files = FileAccess::within(root.path()).unwrap();

    for allowed in ["in/file", "link", "in/../link", root.path().join("in/file").to_str().unwrap()] {
        let ran = sum(files.clone(), json!({ "source": allowed })).await;
        assert_eq!(ran.result.expect(allowed).bytes, 3);
    }
    let escape = format!("../{}/secret", outside.path().file_name().unwrap().to_str().unwrap());
    let absolute = outside.path().join("secret");
    let missing = outside.path().join("missing");
    for refused in [
        escape.as_str(),
        "way-out/secret",
        "way-out/missing",
        absolute.to_str().unwrap(),
        missing.to_str().unwrap(),
    ] {
        let failure = sum(files.clone(), json!({ "source": refused })).await.result.unwrap_err();
        assert_eq!(code_of(&failure), ("path_not_allowed", false), "{refused}");
    }
    let failure = sum(files, json!({ "source": "in/missing" })).await.result.unwrap_err();
    assert_eq!(code_of(&failure), ("source_not_found", false));
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(FileAccess::within(file.path()).unwrap_err().contains("not a directory"));
    assert!(FileAccess::within(Path::new("/no/such/root")).unwrap_err().contains("/no/such/root"));
}
