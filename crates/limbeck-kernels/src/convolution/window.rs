//! Cutting the work into bands of target pixels, and the piece of the source that a band reads.
//!
//! The source of a band is copied to a zero-padded scratch, `[channels / 16][image][row][column]
//! [16]`, small enough for the second-level cache: the kernels then need no test for borders.

use std::ops::Range;

use super::correlation::Correlation;
use super::family::Arithmetic;
use super::layout::Chunk;
use crate::vector::Vector;

/// Target pixels that are computed in one go: whole images, or rows of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
}

/// Cuts all target pixels into bands of at most about `limit` pixels, in order. The number of
/// bands is a multiple of four where that is possible, so that threads get equal shares.
pub(super) fn bands(of: &Correlation, limit: usize) -> Vec<Band> {
    let per_image = of.target.rows * of.target.columns;
    let mut bands = Vec::new();
    if per_image > limit {
        let wanted = per_image.div_ceil(limit);
        let wanted = if of.batch.is_multiple_of(4) {
            wanted
        } else {
            wanted.next_multiple_of(4)
        };
        let count = wanted.min(of.target.rows);
        for image in 0..of.batch {
            for rows in equal_parts(of.target.rows, count) {
                bands.push(Band {
                    images: image..image + 1,
                    rows,
                });
            }
        }
    } else {
        let images = (limit / per_image).max(1);
        let count = of.batch.div_ceil(images).next_multiple_of(4).min(of.batch);
        for images in equal_parts(of.batch, count) {
            bands.push(Band {
                images,
                rows: 0..of.target.rows,
            });
        }
    }
    bands
}

/// Cuts `0..length` into `count` ranges that differ by at most one.
pub(super) fn equal_parts(length: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).map(move |part| length * part / count..length * (part + 1) / count)
}

/// Where the pixels of bands with as many images and rows lie, relative to the first, in order.
#[derive(Debug)]
pub(super) struct Offsets {
    images: usize,
    rows: usize,
    /// Of every target pixel's source pixel.
    pub(super) sources: Vec<usize>,
    /// Of every target pixel.
    pub(super) targets: Vec<usize>,
}

impl Offsets {
    /// Those of every size of band that occurs; there are few.
    pub(super) fn of_bands(of: &Correlation, bands: &[Band], plane: Option<usize>) -> Vec<Self> {
        let mut known: Vec<Self> = Vec::new();
        for band in bands {
            if !known.iter().any(|offsets| offsets.fit(band)) {
                known.push(Window::new(of, band, plane).offsets());
            }
        }
        known
    }

    /// Whether they are those of `band`.
    pub(super) fn fit(&self, band: &Band) -> bool {
        self.images == band.images.len() && self.rows == band.rows.len()
    }
}

/// Where a band's source pixels lie: in the scratch, or in the source itself.
pub(super) struct Window<'a> {
    of: &'a Correlation,
    band: &'a Band,
    /// Floats per pixel, or `None` for a source that is read in place.
    plane: Option<usize>,
    first_row: isize,
    first_column: isize,
    rows: usize,
    columns: usize,
}

impl<'a> Window<'a> {
    pub(super) fn new(of: &'a Correlation, band: &'a Band, plane: Option<usize>) -> Self {
        let low = |of: fn(&super::correlation::Tap) -> isize, taps: &[_]| {
            taps.iter().map(of).min().unwrap_or(0)
        };
        let high = |of: fn(&super::correlation::Tap) -> isize, taps: &[_]| {
            taps.iter().map(of).max().unwrap_or(0)
        };
        let (top, bottom) = (low(|tap| tap.row, &of.taps), high(|tap| tap.row, &of.taps));
        let (left, right) = (
            low(|tap| tap.column, &of.taps),
            high(|tap| tap.column, &of.taps),
        );
        let span = |count: usize, stride: usize, reach: isize| {
            count.saturating_sub(1) * stride + 1 + reach as usize
        };
        Self {
            of,
            band,
            plane,
            first_row: (band.rows.start * of.stride[0]) as isize + top,
            first_column: left,
            rows: span(band.rows.len(), of.stride[0], bottom - top),
            columns: span(of.target.columns, of.stride[1], right - left),
        }
    }

    /// The number of target pixels.
    pub(super) fn pixels(&self) -> usize {
        self.band.images.len() * self.band.rows.len() * self.of.target.columns
    }

    /// Floats of one plane of the scratch.
    fn plane_length(&self, width: usize) -> usize {
        self.band.images.len() * self.rows * self.columns * width
    }

    /// Floats of scratch that a chunk of `channels` needs.
    pub(super) fn scratch_length(&self, channels: usize) -> usize {
        match self.plane {
            Some(width) if width > 0 => self.plane_length(width) * channels.div_ceil(width),
            _ => 0,
        }
    }

    /// The distance of a run from its pixel.
    pub(super) fn run_offset(&self, plane: usize, row: isize, column: isize) -> usize {
        let Some(width) = self.plane else { return 0 };
        let top = self.first_row - (self.band.rows.start * self.of.stride[0]) as isize;
        let (row, column) = ((row - top) as usize, (column - self.first_column) as usize);
        plane * self.plane_length(width) + (row * self.columns + column) * width
    }

    /// The floats of the source that follow this band's, as many as the band reads: most likely
    /// this thread's next band.
    pub(super) fn following(&self) -> Range<usize> {
        let (of, map) = (self.of, &self.of.source);
        let row = map.width * map.pixel;
        let length = of.batch * map.height * row;
        let rows = |target: usize| (target * of.stride[0]).min(map.height);
        let images = &self.band.images;
        let start = images.start * map.height + rows(self.band.rows.start);
        let end = (images.end - 1) * map.height
            + if self.band.rows.end == of.target.rows {
                map.height
            } else {
                rows(self.band.rows.end)
            };
        (end * row).min(length)..((2 * end).saturating_sub(start) * row).min(length)
    }

    /// The positions of the first target pixel's source pixel, for a tap at the window's first row and column, and of the target
    /// pixel itself.
    pub(super) fn first_pixel(&self) -> (usize, usize) {
        let (of, image, row) = (self.of, self.band.images.start, self.band.rows.start);
        let source = match self.plane {
            Some(_) => 0,
            None => {
                let row = image * of.source.height + row * of.stride[0];
                row * of.source.width * of.source.pixel + of.source.first
            }
        };
        let target = of.target.first + image * of.target.image + row * of.target.row;
        (source, target)
    }

    /// Where all pixels lie, relative to the first.
    fn offsets(&self) -> Offsets {
        let of = self.of;
        let [image, row, column] = match self.plane {
            Some(width) => {
                let row = self.columns * width;
                [self.rows * row, of.stride[0] * row, of.stride[1] * width]
            }
            None => {
                let row = of.source.width * of.source.pixel;
                [
                    of.source.height * row,
                    of.stride[0] * row,
                    of.stride[1] * of.source.pixel,
                ]
            }
        };
        let (images, rows) = (self.band.images.len(), self.band.rows.len());
        let mut offsets = Offsets {
            images,
            rows,
            sources: Vec::with_capacity(self.pixels()),
            targets: Vec::with_capacity(self.pixels()),
        };
        for number in 0..images {
            for y in 0..rows {
                let source = number * image + y * row;
                let target = number * of.target.image + y * of.target.row;
                for x in 0..of.target.columns {
                    offsets.sources.push(source + x * column);
                    offsets.targets.push(target + x * of.target.column);
                }
            }
        }
        offsets
    }

    /// Copies a chunk's channels of the band's source rows to the scratch, with zeros around them.
    ///
    /// # Safety
    ///
    /// `source` is the whole source map and `scratch` has [`scratch_length`](Self::scratch_length)
    /// floats for this chunk.
    #[inline(always)]
    pub(super) unsafe fn gather<V: Vector, M: Arithmetic<V>>(
        &self,
        chunk: &Chunk,
        source: *const f32,
        scratch: *mut f32,
    ) {
        let width = self.plane.unwrap_or(0);
        if width == 0 || chunk.channels.is_empty() {
            return;
        }
        let map = &self.of.source;
        let plane_length = self.plane_length(width);
        let planes = chunk.channels.len().div_ceil(width);
        let left = ((-self.first_column).max(0) as usize).min(self.columns);
        let first = self.first_column.max(0) as usize;
        let copied = map.width.saturating_sub(first).min(self.columns - left);
        for (number, image) in self.band.images.clone().enumerate() {
            for row in 0..self.rows {
                let to = (number * self.rows + row) * self.columns * width;
                let y = self.first_row + row as isize;
                let inside = y >= 0 && (y as usize) < map.height && copied > 0;
                for plane in 0..planes {
                    // SAFETY: the row lies inside the plane, `left + copied <= columns`, and rows
                    // and columns that are copied exist in the source.
                    unsafe {
                        let row_start = scratch.add(plane * plane_length + to);
                        if !inside {
                            row_start.write_bytes(0, self.columns * width);
                            continue;
                        }
                        row_start.write_bytes(0, left * width);
                        let right = left + copied;
                        row_start
                            .add(right * width)
                            .write_bytes(0, (self.columns - right) * width);
                        let element = chunk.channels.start + plane * width;
                        let elements = width.min(chunk.channels.end - element);
                        // The last element of a map with an odd number of channels is not full.
                        let channel = element * map.per_element;
                        let count = (elements * map.per_element).min(map.existing - channel);
                        let pixel = (image * map.height + y as usize) * map.width + first;
                        let from = source.add(pixel * map.pixel + map.first + channel);
                        let to = row_start.add(left * width);
                        M::copy_pixels(from, map.pixel, to, width, count, copied);
                    }
                }
            }
        }
    }
}

/// Copies `count` channels of `pixels` pixels, `from_pixel` and `to_pixel` floats apart.
///
/// # Safety
///
/// Both sides have these elements and don't overlap.
#[inline(always)]
pub(super) unsafe fn copy_floats<V: Vector>(
    from: *const f32,
    from_pixel: usize,
    to: *mut f32,
    to_pixel: usize,
    count: usize,
    pixels: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if from_pixel == count && to_pixel == count {
            std::ptr::copy_nonoverlapping(from, to, count * pixels);
        } else if count == 16 {
            for pixel in 0..pixels {
                let (from, to) = (from.add(pixel * from_pixel), to.add(pixel * to_pixel));
                for lane in (0..16).step_by(V::LANES) {
                    V::load(from.add(lane)).store(to.add(lane));
                }
            }
        } else {
            for pixel in 0..pixels {
                for channel in 0..count {
                    *to.add(pixel * to_pixel + channel) = *from.add(pixel * from_pixel + channel);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convolution::geometry::Convolution;

    #[test]
    fn bands_cover_every_row_once() {
        for (shape, limit) in [([5, 8, 8], 256), ([2, 96, 96], 1000), ([1, 3, 500], 64)] {
            let of = Correlation::forward(&Convolution::same(shape, [4, 4], 3), 0);
            let mut seen = vec![0; shape[0] * shape[1]];
            for band in bands(&of, limit) {
                for image in band.images {
                    for row in band.rows.clone() {
                        seen[image * shape[1] + row] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|count| *count == 1));
        }
    }
}
