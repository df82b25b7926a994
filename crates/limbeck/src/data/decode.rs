//! Encoded images to pixels.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use libjpeg_turbo_rs::{Decoder, PixelFormat};

/// The largest width or height that is decoded, in pixels.
const MAX_SIDE: u32 = 16_384;

/// The largest decoded image, in bytes (256 MiB).
const MAX_DECODED: u64 = 256 << 20;

/// Size and channels of an encoded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) height: usize,
    pub(super) width: usize,
    /// 1 for grey, 3 for colour; an alpha channel does not count.
    pub(super) channels: usize,
}

type Reader<'a> = ImageReader<Cursor<&'a [u8]>>;

fn reader(bytes: &[u8]) -> Result<(ImageFormat, Reader<'_>), String> {
    let format = image::guess_format(bytes).map_err(|_| {
        let head: String = bytes
            .iter()
            .take(8)
            .map(|byte| format!(" {byte:02x}"))
            .collect();
        if bytes.is_empty() {
            "expected an image, got no bytes".to_owned()
        } else {
            format!("expected a PNG, JPEG, GIF, BMP or WebP image, got bytes that start with{head}")
        }
    })?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    Ok((format, reader))
}

fn broken(error: &impl std::fmt::Display) -> String {
    format!("broken image: {error}")
}

/// Reads an image's header.
pub(super) fn probe(bytes: &[u8]) -> Result<Head, String> {
    let (_, reader) = reader(bytes)?;
    let decoder = reader.into_decoder().map_err(|error| broken(&error))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(format!("expected at least one pixel, got {height}x{width}"));
    }
    let channels = if decoder.color_type().has_color() {
        3
    } else {
        1
    };
    Ok(Head {
        height: height as usize,
        width: width as usize,
        channels,
    })
}

/// Decodes an image to `[height, width, channels]` bytes: alpha is dropped, 16 bits are rounded to 8, grey is repeated
/// where colour is asked for. With `resize`, `[height, width]`, the image is scaled with a triangle filter.
pub(super) fn decode(
    bytes: &[u8],
    channels: usize,
    resize: Option<[usize; 2]>,
) -> Result<(Head, Vec<u8>), String> {
    let (format, reader) = reader(bytes)?;
    let image = if format == ImageFormat::Jpeg {
        decode_jpeg(bytes, channels)?
    } else {
        reader.decode().map_err(|error| broken(&error))?
    };
    let image = match resize {
        Some([height, width])
            if [image.height() as usize, image.width() as usize] != [height, width] =>
        {
            image.resize_exact(width as u32, height as u32, FilterType::Triangle)
        }
        _ => image,
    };
    let head = Head {
        height: image.height() as usize,
        width: image.width() as usize,
        channels,
    };
    let pixels = if channels == 1 {
        image.into_luma8().into_raw()
    } else {
        image.into_rgb8().into_raw()
    };
    Ok((head, pixels))
}

/// Decodes a JPEG to the pixels that libjpeg gives, and so Pillow and torchvision. Other decoders round chroma differently:
/// on CIFAR-10's JPEG copies that of the `image` crate is off by 1 or 2 of 255 in one value of five, enough to move a
/// network's decisions.
fn decode_jpeg(bytes: &[u8], channels: usize) -> Result<DynamicImage, String> {
    // A decoder fills what is missing; the end marker must be there.
    if !bytes.windows(2).rev().any(|pair| pair == [0xff, 0xd9]) {
        return Err("broken image: the JPEG has no end, so it was cut off".to_owned());
    }
    let format = if channels == 1 {
        PixelFormat::Grayscale
    } else {
        PixelFormat::Rgb
    };
    let image = Decoder::new(bytes)
        .and_then(|decoder| {
            decoder
                .with_output_format(format)
                .with_max_pixels((MAX_DECODED / 3) as usize)
                .decode_image()
        })
        .map_err(|error| broken(&error))?;
    let (width, height) = (image.width as u32, image.height as u32);
    let image = if channels == 1 {
        GrayImage::from_raw(width, height, image.data).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(width, height, image.data).map(DynamicImage::ImageRgb8)
    };
    image.ok_or_else(|| format!("broken image: {height}x{width} pixels are not all there"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use libjpeg_turbo_rs::{Subsampling, compress};

    use super::*;

    fn jpeg() -> Vec<u8> {
        let pixels: Vec<u8> = (0..48 * 40 * 3_u32)
            .map(|value| (value * 7 % 251) as u8)
            .collect();
        compress(&pixels, 48, 40, PixelFormat::Rgb, 90, Subsampling::S420).unwrap()
    }

    #[test]
    fn heads_and_pixels_agree() {
        let jpeg = jpeg();
        let head = probe(&jpeg).unwrap();
        assert_eq!(
            head,
            Head {
                height: 40,
                width: 48,
                channels: 3
            }
        );
        let (decoded, pixels) = decode(&jpeg, 3, None).unwrap();
        assert_eq!((decoded, pixels.len()), (head, 40 * 48 * 3));
        let (decoded, pixels) = decode(&jpeg, 3, Some([8, 6])).unwrap();
        assert_eq!((decoded.height, decoded.width, pixels.len()), (8, 6, 144));
    }

    #[test]
    fn a_jpeg_that_is_cut_off_anywhere_is_refused() {
        let jpeg = jpeg();
        for length in (0..jpeg.len()).step_by(37) {
            assert!(
                decode(&jpeg[..length], 3, None).is_err(),
                "{length} of {}",
                jpeg.len()
            );
        }
    }

    #[test]
    fn damaged_images_are_errors_or_pixels_but_no_panics() {
        let jpeg = jpeg();
        for at in 0..jpeg.len() {
            for value in [0x00, 0x7f, 0xff] {
                let mut damaged = jpeg.clone();
                damaged[at] = value;
                let _ = probe(&damaged);
                let _ = decode(&damaged, 3, None);
            }
        }
    }
}
