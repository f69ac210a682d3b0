//! Draws the sample pictures in `workers/samples/`: `cargo run -p crewcall-workers --example make_samples`.
//!
//! Everything is computed from noise with a fixed seed and plain arithmetic (no sine, no system library),
//! so that every machine draws the same pictures.

use std::{fs::File, io::BufWriter, path::Path};

use anyhow::Context as _;
use image::{
    Rgb, RgbImage, Rgba, RgbaImage,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
        webp::WebPEncoder,
    },
};

/// Small enough for a repository, good enough to look at.
const JPEG_QUALITY: u8 = 88;

const POEM: &str = "\
One calls the crew before the light has come,\n\
and each one answers with the work they know:\n\
the first can count, the second paints, and some\n\
will carry word to places others go.\n\
\n\
Grüße, Привет, こんにちは: the sample speaks no single tongue.\n";

fn main() -> anyhow::Result<()> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    std::fs::create_dir_all(&samples)?;
    let create = |name: &str| {
        let path = samples.join(name);
        File::create(&path).map(BufWriter::new).with_context(|| format!("cannot write {}", path.display()))
    };
    landscape(1600, 1200)
        .write_with_encoder(JpegEncoder::new_with_quality(create("mountains.jpg")?, JPEG_QUALITY))?;
    badge(640).write_with_encoder(PngEncoder::new_with_quality(
        create("badge.png")?,
        CompressionType::Best,
        FilterType::Adaptive,
    ))?;
    mandelbrot(800, 600).write_with_encoder(WebPEncoder::new_lossless(create("fractal.webp")?))?;
    std::fs::write(samples.join("poem.txt"), POEM)?;
    Ok(())
}

/// A lake under mountains in the evening, a stand-in for a photo.
fn landscape(width: u32, height: u32) -> RgbImage {
    let horizon = 0.62;
    RgbImage::from_fn(width, height, |column, row| {
        let across = fraction(column, width);
        let down = fraction(row, height);
        let colour = if down < horizon {
            above_water(across, down)
        } else {
            // The lake mirrors what is above it, stirred by ripples that grow towards the shore.
            let depth = (down - horizon) / (1.0 - horizon);
            let ripple = (noise(across * 9.0, down * 140.0, 4) - 0.5) * 0.05 * (0.2 + depth);
            let mirrored = above_water(across + ripple, (horizon - (down - horizon) + ripple).max(0.0));
            mix(mirrored, [18.0, 38.0, 58.0], 0.30 + 0.35 * depth)
        };
        // A little grain, as a sensor has.
        let grain = (hash(column, row, 9) - 0.5) * 5.0;
        Rgb(colour.map(|channel| byte(channel + grain)))
    })
}

fn above_water(across: f32, down: f32) -> [f32; 3] {
    let mut colour = mix([44.0, 62.0, 112.0], [250.0, 178.0, 120.0], smooth(down / 0.62));
    let clouds = smooth((noise(across * 3.0, down * 11.0, 1) - 0.48) * 3.4);
    colour = mix(colour, [255.0, 214.0, 190.0], clouds * 0.55);
    let (sun_across, sun_down) = (across - 0.68, (down - 0.36) * 0.75);
    let distance = sun_across * sun_across + sun_down * sun_down;
    colour =
        mix(colour, [255.0, 244.0, 214.0], smooth(1.0 - distance / 0.0022) + 0.35 / (1.0 + distance * 90.0));
    // Three ridges, the far ones pale.
    for (ridge, base, steepness, shade) in [
        (2, 0.40, 0.20, [150.0, 132.0, 150.0]),
        (3, 0.50, 0.22, [92.0, 86.0, 110.0]),
        (5, 0.585, 0.12, [34.0, 42.0, 54.0]),
    ] {
        let ridge_top = base - (noise(across * 4.0, 0.0, ridge) - 0.42) * steepness;
        if down > ridge_top {
            let rock = noise(across * 26.0, down * 40.0, ridge + 20) - 0.5;
            let lit = shade.map(|channel| channel + rock * 46.0);
            let snow =
                smooth((ridge_top + 0.035 + rock * 0.05 - down) * 26.0) * if ridge == 2 { 0.8 } else { 0.25 };
            colour = mix(lit, [246.0, 236.0, 236.0], snow);
        }
    }
    colour
}

/// A round badge on nothing: a picture with transparency.
fn badge(side: u32) -> RgbaImage {
    RgbaImage::from_fn(side, side, |column, row| {
        let (across, down) = (fraction(column, side) * 2.0 - 1.0, fraction(row, side) * 2.0 - 1.0);
        let radius = (across * across + down * down).sqrt();
        let edge = smooth((0.94 - radius) * 60.0);
        let ring = smooth((radius - 0.72) * 60.0);
        let bar =
            smooth((0.16 - (down - across * 0.35).abs()) * 50.0).min(smooth((0.55 - across.abs()) * 50.0));
        let colour = mix(mix([28.0, 92.0, 140.0], [238.0, 168.0, 52.0], ring), [250.0, 248.0, 240.0], bar);
        let [red, green, blue] = colour.map(byte);
        Rgba([red, green, blue, byte(edge * 255.0)])
    })
}

/// The Mandelbrot set: sharp edges at every scale.
fn mandelbrot(width: u32, height: u32) -> RgbImage {
    const STEPS_MAX: u16 = 160;
    RgbImage::from_fn(width, height, |column, row| {
        let (real, imaginary) = (fraction(column, width) * 3.2 - 2.3, fraction(row, height) * 2.4 - 1.2);
        let (mut x, mut y, mut steps) = (0.0, 0.0, 0);
        while x * x + y * y <= 4.0 && steps < STEPS_MAX {
            (x, y) = (x * x - y * y + real, 2.0 * x * y + imaginary);
            steps += 1;
        }
        if steps == STEPS_MAX {
            return Rgb([10, 12, 24]);
        }
        let heat = f32::from(steps) / f32::from(STEPS_MAX);
        Rgb(mix([24.0, 36.0, 96.0], [255.0, 226.0, 150.0], smooth(heat.sqrt() * 1.6)).map(byte))
    })
}

/// Noise of five octaves between 0 and 1.
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut scale) = (0.0, 0.5, 1.0);
    for octave in 0..5 {
        sum += weight * lattice(x * scale, y * scale, seed * 31 + octave);
        weight *= 0.5;
        scale *= 2.0;
    }
    sum / 0.97
}

/// Random values on the whole numbers, smoothly joined.
fn lattice(x: f32, y: f32, seed: u32) -> f32 {
    let (column, row) = (whole(x), whole(y));
    let (right, down) = (smooth(x - x.floor()), smooth(y - y.floor()));
    let at = |columns: u32, rows: u32| hash(column.wrapping_add(columns), row.wrapping_add(rows), seed);
    let above = at(0, 0) + (at(1, 0) - at(0, 0)) * right;
    let below = at(0, 1) + (at(1, 1) - at(0, 1)) * right;
    above + (below - above) * down
}

/// A random number between 0 and 1 for a place.
fn hash(column: u32, row: u32, seed: u32) -> f32 {
    let mut bits =
        column.wrapping_mul(0x9E37_79B1) ^ row.wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x2C1B_3C6D);
    bits = (bits ^ (bits >> 12)).wrapping_mul(0x297A_2D39);
    bits ^= bits >> 15;
    f32::from(u16::try_from(bits >> 16).unwrap_or(u16::MAX)) / 65_535.0
}

fn smooth(value: f32) -> f32 {
    let value = value.clamp(0.0, 1.0);
    value * value * (3.0 - 2.0 * value)
}

fn mix(from: [f32; 3], to: [f32; 3], share: f32) -> [f32; 3] {
    let share = share.clamp(0.0, 1.0);
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

#[expect(clippy::cast_precision_loss, reason = "a picture has fewer columns than a float has whole numbers")]
fn fraction(position: u32, length: u32) -> f32 {
    position as f32 / length as f32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of a byte")]
fn byte(channel: f32) -> u8 {
    channel.round().clamp(0.0, 255.0) as u8
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "coordinates of noise are small")]
fn whole(coordinate: f32) -> u32 {
    coordinate.floor() as i32 as u32
}
