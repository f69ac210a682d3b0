//! `image.thumbnail` on real pictures.

use std::path::{Path, PathBuf};

use crewcall_workers::{
    files::FileAccess,
    image_thumbnail::{Thumbnail, thumbnail},
};
use image::{DynamicImage, GenericImageView as _, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::{Value, json};

use crate::support::{Ran, code_of, run, run_cancelled, sample};

async fn shrink(files: FileAccess, parameters: Value) -> Ran<Thumbnail> {
    run(move |job, parameters| thumbnail(files.clone(), job, parameters), parameters).await
}

async fn refused(parameters: Value) -> (String, bool) {
    let failure = shrink(FileAccess::unrestricted(), parameters).await.result.unwrap_err();
    let (code, retryable) = code_of(&failure);
    (code.to_owned(), retryable)
}

/// A copy of one of the samples in a directory of the test's own.
fn copied(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::copy(sample(name), &path).unwrap();
    path
}

#[tokio::test]
async fn every_sample_becomes_a_thumbnail_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    for (name, thumbnail_name, source, small) in [
        ("mountains.jpg", "mountains.thumbnail.jpg", (1600, 1200), (320, 240)),
        ("badge.png", "badge.thumbnail.png", (640, 640), (320, 320)),
        ("fractal.webp", "fractal.thumbnail.webp", (800, 600), (320, 240)),
    ] {
        let path = copied(directory.path(), name);
        let ran = shrink(FileAccess::unrestricted(), json!({ "source": path, "width": 320 })).await;
        let made = ran.result.unwrap();
        assert_eq!(made.destination, directory.path().join(thumbnail_name));
        assert_eq!((made.source_width, made.source_height), source);
        assert_eq!((made.width, made.height), small);
        assert_eq!(made.bytes, made.destination.metadata().unwrap().len());
        assert_eq!(
            ImageFormat::from_path(&made.destination).unwrap(),
            ImageFormat::from_path(&path).unwrap()
        );
        assert_eq!(image::open(&made.destination).unwrap().dimensions(), small);
        assert_eq!(ran.progress.last().unwrap().0, 100);
    }
    let names = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names, 6, "no temporary file is left behind");
}

#[tokio::test]
async fn the_thumbnail_looks_like_its_source() {
    let directory = tempfile::tempdir().unwrap();
    let halves =
        RgbImage::from_fn(400, 200, |x, _| if x < 200 { Rgb([220, 30, 30]) } else { Rgb([20, 40, 200]) });
    let source = directory.path().join("halves.png");
    halves.save(&source).unwrap();
    for extension in ["jpg", "png", "webp"] {
        let destination = directory.path().join(format!("small.{extension}"));
        let parameters = json!({ "source": source, "destination": destination, "width": 40 });
        shrink(FileAccess::unrestricted(), parameters).await.result.unwrap();
        let small = image::open(&destination).unwrap().into_rgb8();
        assert!(near(small.get_pixel(5, 10).0, [220, 30, 30]), "{extension}: {:?}", small.get_pixel(5, 10));
        assert!(near(small.get_pixel(34, 10).0, [20, 40, 200]), "{extension}: {:?}", small.get_pixel(34, 10));
    }
}

fn near(found: [u8; 3], expected: [u8; 3]) -> bool {
    found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 12)
}

#[tokio::test]
async fn it_fits_the_box_and_never_grows_unless_asked() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("wide.png");
    RgbImage::new(300, 100).save(&source).unwrap();
    for (asked, expected) in [
        (json!({ "width": 150, "height": 10 }), (30, 10)),
        (json!({ "width": 30, "height": 90 }), (30, 10)),
        (json!({ "width": 1 }), (1, 1)),
        (json!({ "width": 900 }), (300, 100)),
        (json!({ "width": 900, "height": 200 }), (300, 100)),
        (json!({ "width": 900, "upscale": true }), (900, 300)),
        (json!({ "width": 900, "height": 200, "upscale": true }), (600, 200)),
    ] {
        let mut parameters = asked.clone();
        parameters["source"] = json!(source);
        let made = shrink(FileAccess::unrestricted(), parameters).await.result.unwrap();
        assert_eq!((made.width, made.height), expected, "{asked}");
        assert_eq!(image::open(&made.destination).unwrap().dimensions(), expected, "{asked}");
    }
}

#[tokio::test]
async fn a_photo_taken_on_its_side_stands_upright() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("phone.jpg");
    // Red above, blue below once it is turned a quarter to the right, which EXIF calls 6.
    let lying =
        RgbImage::from_fn(80, 40, |x, _| if x < 40 { Rgb([220, 30, 30]) } else { Rgb([20, 40, 200]) });
    let mut encoded = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut encoded, 95);
    lying.write_with_encoder(encoder).unwrap();
    std::fs::write(&source, with_orientation(&encoded, 6)).unwrap();

    let parameters = json!({ "source": source, "width": 20 });
    let made = shrink(FileAccess::unrestricted(), parameters).await.result.unwrap();
    assert_eq!((made.source_width, made.source_height, made.width, made.height), (40, 80, 20, 40));
    let small = image::open(&made.destination).unwrap().into_rgb8();
    assert_eq!(small.dimensions(), (20, 40));
    assert!(near(small.get_pixel(10, 5).0, [220, 30, 30]), "{:?}", small.get_pixel(10, 5));
    assert!(near(small.get_pixel(10, 34).0, [20, 40, 200]), "{:?}", small.get_pixel(10, 34));
}

/// Puts an EXIF segment with nothing but an orientation after the start of a JPEG file.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

#[tokio::test]
async fn what_is_transparent_turns_white_in_a_jpeg_and_stays_so_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("half.png");
    let half =
        RgbaImage::from_fn(
            64,
            64,
            |x, _| if x < 32 { Rgba([0, 255, 0, 0]) } else { Rgba([255, 200, 0, 255]) },
        );
    half.save(&source).unwrap();
    let shrunk = async |name: &str| {
        let destination = directory.path().join(name);
        let parameters = json!({ "source": source, "destination": destination, "width": 15 });
        shrink(FileAccess::unrestricted(), parameters).await.result.unwrap();
        image::open(destination).unwrap()
    };
    let jpeg = shrunk("small.jpg").await.into_rgb8();
    assert!(near(jpeg.get_pixel(1, 7).0, [255, 255, 255]), "{:?}", jpeg.get_pixel(1, 7));
    let DynamicImage::ImageRgba8(png) = shrunk("small.png").await else {
        panic!("the alpha channel is gone")
    };
    assert_eq!(png.get_pixel(1, 7).0[3], 0);
    // Green that cannot be seen must not colour the edge.
    let edge = png.pixels().find(|pixel| (64..=192).contains(&pixel.0[3])).expect("an edge of an odd width");
    assert!(near([edge.0[0], edge.0[1], edge.0[2]], [255, 200, 0]), "{edge:?}");
}

#[tokio::test]
async fn a_second_run_replaces_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let source = copied(directory.path(), "badge.png");
    let parameters = json!({ "source": source, "width": 64 });
    let first = shrink(FileAccess::unrestricted(), parameters.clone()).await.result.unwrap();
    let bytes = std::fs::read(&first.destination).unwrap();
    std::fs::write(&first.destination, "half of somethi").unwrap();
    let second = shrink(FileAccess::unrestricted(), parameters).await.result.unwrap();
    assert_eq!(first, second);
    assert_eq!(bytes, std::fs::read(&second.destination).unwrap());
}

#[tokio::test]
async fn quality_makes_a_jpeg_larger() {
    let directory = tempfile::tempdir().unwrap();
    let source = copied(directory.path(), "mountains.jpg");
    let bytes_at = async |quality: u8| {
        let parameters = json!({ "source": source, "width": 400, "quality": quality });
        shrink(FileAccess::unrestricted(), parameters).await.result.unwrap().bytes
    };
    assert!(bytes_at(30).await < bytes_at(95).await);
}

#[tokio::test]
async fn what_cannot_become_a_thumbnail_fails_for_good_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let picture = copied(directory.path(), "badge.png");
    let text = copied(directory.path(), "poem.txt");
    let gif = directory.path().join("animation.gif");
    std::fs::write(&gif, b"GIF89a\x01\0\x01\0\0\0\0;").unwrap();
    let truncated = directory.path().join("truncated.png");
    std::fs::write(&truncated, &std::fs::read(&picture).unwrap()[..2000]).unwrap();
    let missing = directory.path().join("missing.jpg");
    let to =
        |name: &str| json!({ "source": picture, "destination": directory.path().join(name), "width": 9 });

    for (parameters, code) in [
        (json!({ "source": missing, "width": 9 }), "source_not_found"),
        (json!({ "source": text, "width": 9 }), "unsupported_format"),
        (json!({ "source": gif, "width": 9 }), "unsupported_format"),
        (json!({ "source": truncated, "width": 9 }), "invalid_image"),
        (to("small.bmp"), "unsupported_format"),
        (to("badge.png"), "destination_is_source"),
        (to("no/such/directory/small.png"), "destination_directory_not_found"),
    ] {
        assert_eq!(refused(parameters.clone()).await, (code.to_owned(), false), "{parameters}");
    }
    for parameters in [
        json!({ "source": picture, "width": 0 }),
        json!({ "source": picture, "width": 8193 }),
        json!({ "source": picture, "width": 9, "height": 0 }),
        json!({ "source": picture, "width": 9, "quality": 101 }),
    ] {
        let failure = shrink(FileAccess::unrestricted(), parameters.clone()).await.result.unwrap_err();
        assert_eq!(failure.kind.as_str(), "invalid_parameters", "{parameters}");
    }
    let names = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names, 4, "nothing was written");
}

#[tokio::test]
async fn a_picture_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let bomb = directory.path().join("bomb.png");
    let mut png = Vec::new();
    image::GrayImage::new(1, 1).write_to(&mut std::io::Cursor::new(&mut png), ImageFormat::Png).unwrap();
    // The header's width and height become 50 000 each, with the checksum that belongs to them.
    png[16..24].copy_from_slice(&[0, 0, 0xC3, 0x50, 0, 0, 0xC3, 0x50]);
    let checksum = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&checksum);
    std::fs::write(&bomb, png).unwrap();
    let failure =
        shrink(FileAccess::unrestricted(), json!({ "source": bomb, "width": 9 })).await.result.unwrap_err();
    assert_eq!(code_of(&failure), ("image_too_large", false));
    assert!(failure.message.contains("50000×50000"), "{}", failure.message);
}

/// The checksum of a PNG chunk (ISO 15948, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 },
        )
    })
}

#[tokio::test]
async fn the_root_confines_the_destination() {
    let outside = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    copied(root.path(), "badge.png");
    let files = FileAccess::within(root.path()).unwrap();
    let parameters =
        |destination: &Path| json!({ "source": "badge.png", "destination": destination, "width": 9 });
    let made = shrink(files.clone(), parameters(Path::new("small.png"))).await.result.unwrap();
    assert_eq!(made.destination, Path::new("small.png"), "in the job's own terms");
    assert!(root.path().join("small.png").is_file());
    for refused in [outside.path().join("small.png"), outside.path().join("missing/small.png")] {
        let failure = shrink(files.clone(), parameters(&refused)).await.result.unwrap_err();
        assert_eq!(code_of(&failure), ("path_not_allowed", false), "{}", refused.display());
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_cancelled_job_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let source = copied(directory.path(), "badge.png");
    let files = FileAccess::unrestricted();
    let ran: Ran<Thumbnail> = run_cancelled(
        move |job, parameters| thumbnail(files.clone(), job, parameters),
        json!({ "source": source, "width": 9 }),
    )
    .await;
    assert_eq!(ran.result.unwrap_err().kind.as_str(), "cancelled");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
