//! `image.thumbnail`: makes a smaller copy of one picture.
//!
//! An attempt is a line of steps, each of which can be cancelled before it starts: open → decode → resize →
//! encode → write. The file appears under its final name only when it is whole, and a second run of the
//! same job replaces it by the same file: an attempt may run twice.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use crewcall_worker::prelude::{JobContext, JobError};
use image::{
    DynamicImage, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits, Rgba,
    codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
    imageops::FilterType,
    metadata::Orientation,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocking::blocking,
    files::{FileAccess, Source},
};

/// The type's name on the wire.
pub const JOB_TYPE: &str = "image.thumbnail";

/// The largest file that is opened, in bytes: the JPEG decoder holds the whole file in memory.
pub const SOURCE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The most pixels that are decoded: room for the 108 million of today's phones. It is checked on the
/// header, before memory is taken for the pixels.
pub const SOURCE_PIXELS_MAX: u64 = 110_000_000;
/// The most memory that decoding one picture may take, in bytes: [`SOURCE_PIXELS_MAX`] with 8 bits in each
/// of 4 channels. Pictures with 16 bits a channel reach it earlier. Each busy slot may take this much.
pub const DECODE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The largest width and height of a thumbnail, in pixels.
pub const SIDE_MAX: u32 = 8192;
/// The longest colour profile that is carried over, in bytes. Cameras and editors write 0.5 to 600 KiB.
const PROFILE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Up to this much scratch memory, in bytes, the resize filters with floats (sharp, 16 bytes a pixel);
/// above, it averages with integers, which takes none and looks the same at such sizes.
const FILTER_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// JPEG quality when the job names none: hard to tell from the source, and about half the size of 95.
const QUALITY_DEFAULT: u8 = 85;

/// Make a smaller copy of one picture.
///
/// Reads JPEG, PNG or WebP (the first picture of an animation). Keeps the aspect ratio, turns the picture
/// as its EXIF orientation says, and carries over its colour profile but no other metadata (so no place
/// where a photo was taken). An existing destination is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Path of the picture, as the worker's host sees it.
    pub source: PathBuf,
    /// Path of the thumbnail; its extension (jpg, jpeg, png, webp) chooses the format, and its directory
    /// must exist. Left out: `<name>.thumbnail.<extension>` beside the source, in the source's format.
    #[serde(default)]
    pub destination: Option<PathBuf>,
    /// The largest width in pixels.
    #[schemars(range(min = 1, max = 8192))]
    pub width: u32,
    /// The largest height in pixels. Left out: whatever the width leads to.
    #[serde(default)]
    #[schemars(range(min = 1, max = 8192))]
    pub height: Option<u32>,
    /// Quality of a JPEG thumbnail, 1 to 100 (default 85). PNG and WebP thumbnails are lossless.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub quality: Option<u8>,
    /// Whether a picture smaller than asked for is enlarged. By default it keeps its size.
    #[serde(default)]
    pub upscale: bool,
}

/// The thumbnail that was written.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Thumbnail {
    /// Path of the thumbnail, in the terms in which the job named its files.
    pub destination: PathBuf,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// The size of its file in bytes.
    pub bytes: u64,
    /// The source's width in pixels, upright.
    pub source_width: u32,
    /// The source's height in pixels, upright.
    pub source_height: u32,
}

/// Handles one `image.thumbnail` job.
///
/// # Errors
///
/// Permanent: those of [`FileAccess`]; `invalid_size`, `unsupported_format` (source or destination),
/// `invalid_image`, `image_too_large`, `destination_is_source`, `destination_not_writable`. Retryable:
/// reading or writing failed half-way (a full disk, say). The cancellation when the job was cancelled.
pub async fn thumbnail(
    files: FileAccess,
    job: JobContext,
    parameters: Parameters,
) -> Result<Thumbnail, JobError> {
    blocking(move || {
        check_sizes(&parameters)?;
        let source = files.open_source(&parameters.source)?;
        let source_path = source.path.clone();
        let (reader, source_format) = recognise(&parameters.source, source)?;
        let destination = match &parameters.destination {
            Some(destination) => destination.clone(),
            None => beside(&parameters.source, source_format),
        };
        let format = format_of(&destination)?;
        let target = files.destination(&destination)?;
        if target == source_path {
            return Err(JobError::permanent(format!(
                "'{}' is both source and destination; name another destination",
                destination.display()
            ))
            .code("destination_is_source"));
        }

        job.check_cancelled()?;
        job.progress(5, "decoding");
        let picture = decode(&parameters.source, reader)?;

        job.check_cancelled()?;
        job.progress(50, "resizing");
        let (source_width, source_height) = picture.upright_size();
        let (width, height) = fit((source_width, source_height), &parameters);
        let profile = picture.profile.clone();
        let small = picture.into_thumbnail(width, height);

        job.check_cancelled()?;
        job.progress(80, "writing");
        let quality = parameters.quality.unwrap_or(QUALITY_DEFAULT);
        let bytes = write(&small, format, quality, profile, &target)?;
        job.progress(100, "written");
        Ok(Thumbnail { destination, width, height, bytes, source_width, source_height })
    })
    .await
}

/// The announced schema says the same; this is for orders that no schema was checked against.
fn check_sizes(parameters: &Parameters) -> Result<(), JobError> {
    let sides = 1..=SIDE_MAX;
    let invalid = |message: String| Err(JobError::permanent(message).code("invalid_size"));
    if !sides.contains(&parameters.width) {
        return invalid(format!("width is {}; it must be 1 to {SIDE_MAX} pixels", parameters.width));
    }
    match (parameters.height, parameters.quality) {
        (Some(height), _) if !sides.contains(&height) => {
            invalid(format!("height is {height}; it must be 1 to {SIDE_MAX} pixels"))
        }
        (_, Some(quality)) if !(1..=100).contains(&quality) => {
            invalid(format!("quality is {quality}; it must be 1 to 100"))
        }
        _ => Ok(()),
    }
}

type Reader = ImageReader<BufReader<File>>;

/// A decoded picture, not yet turned upright: turning the small copy costs less memory.
struct Picture {
    pixels: DynamicImage,
    orientation: Orientation,
    profile: Option<Vec<u8>>,
}

impl Picture {
    fn is_on_its_side(&self) -> bool {
        matches!(
            self.orientation,
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        )
    }

    fn upright_size(&self) -> (u32, u32) {
        let (width, height) = (self.pixels.width(), self.pixels.height());
        if self.is_on_its_side() { (height, width) } else { (width, height) }
    }

    /// The picture upright, `width` × `height`, with 8 bits a channel: all that the encoders can do.
    fn into_thumbnail(self, width: u32, height: u32) -> DynamicImage {
        let (width, height) = if self.is_on_its_side() { (height, width) } else { (width, height) };
        let mut small = if self.pixels.color().has_alpha() {
            let mut pixels = self.pixels.into_rgba8();
            pixels.pixels_mut().for_each(premultiply);
            let mut small = resize(pixels.into(), width, height).into_rgba8();
            small.pixels_mut().for_each(unmultiply);
            small.into()
        } else {
            resize(self.pixels, width, height).into_rgb8().into()
        };
        DynamicImage::apply_orientation(&mut small, self.orientation);
        small
    }
}

fn resize(pixels: DynamicImage, width: u32, height: u32) -> DynamicImage {
    let scratch_bytes = u64::from(pixels.width()) * u64::from(height) * 16;
    if (width, height) == (pixels.width(), pixels.height()) {
        pixels
    } else if scratch_bytes <= FILTER_BYTES_MAX {
        pixels.resize_exact(width, height, FilterType::Lanczos3)
    } else {
        pixels.thumbnail_exact(width, height)
    }
}

/// Weighs a pixel's colour by its alpha, so that the colour of what cannot be seen (mostly black) does not
/// run into what can while pixels are averaged.
fn premultiply(pixel: &mut Rgba<u8>) {
    let alpha = u32::from(pixel.0[3]);
    for channel in &mut pixel.0[..3] {
        *channel = clamped((u32::from(*channel) * alpha + 127) / 255);
    }
}

fn unmultiply(pixel: &mut Rgba<u8>) {
    let alpha = u32::from(pixel.0[3]).max(1);
    for channel in &mut pixel.0[..3] {
        *channel = clamped((u32::from(*channel) * 255 + alpha / 2) / alpha);
    }
}

fn clamped(channel: u32) -> u8 {
    u8::try_from(channel).unwrap_or(u8::MAX)
}

/// Tells the format by the first bytes: extensions lie.
fn recognise(named: &Path, source: Source) -> Result<(Reader, ImageFormat), JobError> {
    if source.bytes > SOURCE_BYTES_MAX {
        return Err(too_large(
            named,
            &format!("has {} bytes, the most are {SOURCE_BYTES_MAX}", source.bytes),
        ));
    }
    let reader = ImageReader::new(BufReader::new(source.file)).with_guessed_format()?;
    match reader.format() {
        Some(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => Ok((reader, format)),
        _ => Err(unsupported_source(named)),
    }
}

fn decode(named: &Path, mut reader: Reader) -> Result<Picture, JobError> {
    let explain = |error: ImageError| match error {
        ImageError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => error.into(),
        ImageError::Unsupported(_) => unsupported_source(named),
        ImageError::Limits(error) => too_large(named, &format!("takes more memory than allowed ({error})")),
        other => {
            JobError::permanent(format!("'{}' is damaged: {other}", named.display())).code("invalid_image")
        }
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(explain)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > SOURCE_PIXELS_MAX {
        return Err(too_large(
            named,
            &format!("has {width}×{height} pixels, the most are {SOURCE_PIXELS_MAX}"),
        ));
    }
    // Not every decoder counts the picture itself towards its limit.
    limits.reserve(decoder.total_bytes()).and_then(|()| decoder.set_limits(limits)).map_err(explain)?;
    // Metadata that cannot be read is no reason to refuse a picture that can.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| is_rgb_profile(profile));
    let pixels = DynamicImage::from_decoder(decoder).map_err(explain)?;
    Ok(Picture { pixels, orientation, profile })
}

fn too_large(named: &Path, what: &str) -> JobError {
    JobError::permanent(format!("'{}' {what}; make it smaller first", named.display()))
        .code("image_too_large")
}

/// Whether an ICC profile describes RGB, which is what we write: the colour space stands at byte 16 of its
/// header (ICC.1:2022, 7.2). The profile of a grey or CMYK picture would turn its colours wrong.
fn is_rgb_profile(profile: &[u8]) -> bool {
    profile.len() <= PROFILE_BYTES_MAX && profile.get(16..20) == Some(b"RGB ".as_slice())
}

fn unsupported_source(named: &Path) -> JobError {
    JobError::permanent(format!("'{}' is not a picture in JPEG, PNG or WebP", named.display()))
        .code("unsupported_format")
}

/// `photo.jpg` → `photo.thumbnail.jpg`. A source whose extension does not say its format gets that of the
/// format that it really has.
fn beside(source: &Path, format: ImageFormat) -> PathBuf {
    let extension = match source.extension().and_then(|extension| extension.to_str()) {
        Some(extension) if ImageFormat::from_extension(extension) == Some(format) => extension,
        _ => format.extensions_str()[0],
    };
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    source.with_file_name(format!("{stem}.thumbnail.{extension}"))
}

fn format_of(destination: &Path) -> Result<ImageFormat, JobError> {
    match ImageFormat::from_path(destination) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => Ok(format),
        _ => Err(JobError::permanent(format!(
            "the extension of '{}' chooses no known format; use jpg, jpeg, png or webp",
            destination.display()
        ))
        .code("unsupported_format")),
    }
}

/// The largest size with the source's aspect ratio that fits what was asked for; each side at least 1 pixel.
fn fit((source_width, source_height): (u32, u32), parameters: &Parameters) -> (u32, u32) {
    let (source_width, source_height) = (u64::from(source_width.max(1)), u64::from(source_height.max(1)));
    let (mut width, mut height) =
        (u64::from(parameters.width), u64::from(parameters.height.unwrap_or(SIDE_MAX)));
    if !parameters.upscale {
        width = width.min(source_width);
        height = height.min(source_height);
    }
    // Compare width/source_width with height/source_height without fractions: the smaller one decides.
    if width * source_height <= height * source_width {
        height = rounded(source_height * width, source_width);
    } else {
        width = rounded(source_width * height, source_height);
    }
    // Both are at most what was asked for, which fits.
    (u32::try_from(width).unwrap_or(SIDE_MAX), u32::try_from(height).unwrap_or(SIDE_MAX))
}

fn rounded(dividend: u64, divisor: u64) -> u64 {
    ((dividend + divisor / 2) / divisor).max(1)
}

/// Writes the thumbnail beside its final name and renames it, so that nobody ever sees half a picture.
fn write(
    picture: &DynamicImage,
    format: ImageFormat,
    quality: u8,
    profile: Option<Vec<u8>>,
    target: &Path,
) -> Result<u64, JobError> {
    let unwritable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            JobError::permanent(format!(
                "'{}' may not be written by the worker's user; name a destination where it may",
                target.display()
            ))
            .code("destination_not_writable")
        }
        _ => error.into(),
    };
    let directory = target.parent().unwrap_or(Path::new("."));
    let mut temporary = temporary_file(directory).map_err(unwritable)?;
    let mut writer = BufWriter::new(temporary.as_file_mut());
    encode(picture, format, quality, profile, &mut writer)?;
    writer.flush().map_err(unwritable)?;
    drop(writer);
    // On disk before the job is called done: its result is durable, so the file has to be.
    temporary.as_file().sync_all().map_err(unwritable)?;
    let bytes = temporary.as_file().metadata()?.len();
    temporary.persist(target).map_err(|error| unwritable(error.error))?;
    Ok(bytes)
}

/// A file that is removed unless it is kept, with the permissions that any new file of this user has
/// (temporary files are private otherwise).
fn temporary_file(directory: &Path) -> std::io::Result<tempfile::NamedTempFile<File>> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".crewcall-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666)); // less the umask
    }
    builder.tempfile_in(directory)
}

fn encode(
    picture: &DynamicImage,
    format: ImageFormat,
    quality: u8,
    profile: Option<Vec<u8>>,
    writer: &mut impl Write,
) -> Result<(), JobError> {
    match format {
        ImageFormat::Jpeg => {
            let opaque = on_white(picture);
            finish(
                JpegEncoder::new_with_quality(writer, quality),
                opaque.as_ref().unwrap_or(picture),
                profile,
            )
        }
        ImageFormat::Png => finish(PngEncoder::new(writer), picture, profile),
        _ => finish(WebPEncoder::new_lossless(writer), picture, profile),
    }
}

fn finish(
    mut encoder: impl ImageEncoder,
    picture: &DynamicImage,
    profile: Option<Vec<u8>>,
) -> Result<(), JobError> {
    if let Some(profile) = profile {
        // A format that takes no profile gets none.
        let _unsupported = encoder.set_icc_profile(profile);
    }
    picture.write_with_encoder(encoder).map_err(|error| match error {
        ImageError::IoError(error) => error.into(),
        other => JobError::permanent(format!("the thumbnail could not be encoded: {other}"))
            .code("encoding_failed"),
    })
}

/// JPEG knows no transparency: what shows through is white, as on a page. `None` if nothing does.
fn on_white(picture: &DynamicImage) -> Option<DynamicImage> {
    let transparent = picture.as_rgba8()?;
    let mut opaque = image::RgbImage::new(transparent.width(), transparent.height());
    for (below, above) in opaque.pixels_mut().zip(transparent.pixels()) {
        let [red, green, blue, alpha] = above.0;
        below.0 = [red, green, blue].map(|channel| over_white(channel, alpha));
    }
    Some(opaque.into())
}

fn over_white(channel: u8, alpha: u8) -> u8 {
    let (channel, alpha) = (u32::from(channel), u32::from(alpha));
    clamped((channel * alpha + 255 * (255 - alpha) + 127) / 255)
}
