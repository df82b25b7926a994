//! How the columns of the right matrix are cut into panels, and their copies.

use crate::processor::Processor;

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

/// Copies the columns of a panel of `matrix`, `[inner, columns]`, to `packed`, `[inner, width]`.
pub(super) fn pack_columns(matrix: &[f32], panels: &Panels, panel: usize, packed: &mut [f32]) {
    let range = panels.range(panel);
    let (used, width) = (range.len(), panels.width(panel) * panels.lanes);
    let rows = matrix.chunks_exact(panels.columns);
    for (row, packed) in rows.zip(packed.chunks_exact_mut(width)) {
        packed[..used].copy_from_slice(&row[range.clone()]);
        packed[used..].fill(0.0);
    }
}

/// Copies the rows of `matrix`, `[columns, inner]`, that are the columns of a panel to `packed`,
/// `[inner, width]`.
pub(super) fn pack_rows(
    matrix: &[f32],
    inner: usize,
    panels: &Panels,
    panel: usize,
    packed: &mut [f32],
) {
    let range = panels.range(panel);
    let width = panels.width(panel) * panels.lanes;
    // Sixteen elements of a row are one cache line, which is read whole before the next.
    for (block, packed) in packed.chunks_mut(16 * width).enumerate() {
        for (lane, row) in range.clone().enumerate() {
            let row = &matrix[row * inner..][..inner][block * 16..];
            for (packed, value) in packed[lane..].iter_mut().step_by(width).zip(row) {
                *packed = *value;
            }
        }
        for lane in range.len()..width {
            packed[lane..]
                .iter_mut()
                .step_by(width)
                .for_each(|padding| *padding = 0.0);
        }
    }
}
