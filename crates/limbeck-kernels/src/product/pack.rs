//! How the columns of the right matrix are cut into panels, and their copies.

use crate::dispatch::Kernel;
use crate::processor::Processor;
use crate::vector::Vector;

/// The columns of the right matrix in panels of up to three vectors, all about equally wide.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    /// Columns.
    pub(super) columns: usize,
    /// Columns in a vector.
    pub(super) lanes: usize,
    /// Vectors that the columns fill; the last one perhaps not wholly.
    pub(super) vectors: usize,
    /// Panels.
    pub(super) count: usize,
}

impl Panels {
    /// Cuts `columns` for the tiles of `processor`.
    pub(super) fn new(processor: Processor, columns: usize) -> Self {
        // The baseline has too few registers for wide tiles.
        let (lanes, widest) = match processor {
            Processor::Portable => (8, 1),
            Processor::Avx2 => (8, 3),
            Processor::Avx512 => (16, 3),
        };
        let vectors = columns.div_ceil(lanes);
        Self {
            columns,
            lanes,
            vectors,
            count: vectors.div_ceil(widest),
        }
    }

    /// The first vector of a panel; that of the next one is its end.
    pub(super) fn start(&self, panel: usize) -> usize {
        panel * self.vectors / self.count
    }

    /// The vectors of a panel.
    pub(super) fn width(&self, panel: usize) -> usize {
        self.start(panel + 1) - self.start(panel)
    }

    /// The columns of a panel, padding excluded.
    pub(super) fn range(&self, panel: usize) -> std::ops::Range<usize> {
        let end = (self.start(panel + 1) * self.lanes).min(self.columns);
        self.start(panel) * self.lanes..end
    }
}

/// The right matrix of a product.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    /// Its elements: `[inner, columns]`, or the transpose.
    pub(super) matrix: &'a [f32],
    /// Whether they are the transpose.
    pub(super) transposed: bool,
    /// Rows of the matrix.
    pub(super) inner: usize,
    /// Columns of the matrix.
    pub(super) columns: usize,
}

/// Copies a panel to `[inner, width]`, with zeros in the padding.
pub(super) struct Pack<'a> {
    pub(super) right: Right<'a>,
    pub(super) panels: Panels,
    pub(super) panel: usize,
    pub(super) packed: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        if self.right.transposed {
            // SAFETY: the caller's promise.
            unsafe { self.rows::<V>() };
        } else {
            self.columns();
        }
    }
}

impl Pack<'_> {
    #[inline(always)]
    fn columns(self) {
        let range = self.panels.range(self.panel);
        let (used, width) = (
            range.len(),
            self.panels.width(self.panel) * self.panels.lanes,
        );
        let rows = self.right.matrix.chunks_exact(self.right.columns);
        for (row, packed) in rows.zip(self.packed.chunks_exact_mut(width)) {
            packed[..used].copy_from_slice(&row[range.clone()]);
            packed[used..].fill(0.0);
        }
    }

    #[inline(always)]
    unsafe fn rows<V: Vector>(self) {
        let range = self.panels.range(self.panel);
        let (used, inner) = (range.len(), self.right.inner);
        let width = self.panels.width(self.panel) * self.panels.lanes;
        let matrix = &self.right.matrix[range.start * inner..];
        let mut k = 0;
        while k + 8 <= inner {
            let packed = &mut self.packed[k * width..][..8 * width];
            let mut lane = 0;
            while lane + 8 <= used {
                // SAFETY: both blocks lie within their slices.
                unsafe {
                    let from = matrix.as_ptr().add(lane * inner + k);
                    V::transpose(from, inner, packed.as_mut_ptr().add(lane), width);
                }
                lane += 8;
            }
            for row in 0..8 {
                for lane in lane..width {
                    packed[row * width + lane] = if lane < used {
                        matrix[lane * inner + k + row]
                    } else {
                        0.0
                    };
                }
            }
            k += 8;
        }
        for k in k..inner {
            for lane in 0..width {
                self.packed[k * width + lane] = if lane < used {
                    matrix[lane * inner + k]
                } else {
                    0.0
                };
            }
        }
    }
}
