//! Weights into panels.

use super::panels::Panels;
use super::shape::Conv2dShape;
use super::staging::Staging;

/// Packs `weights` for [`panels::forward`](super::panels::forward).
pub(crate) fn pack_forward(
    shape: &Conv2dShape,
    panels: &Panels,
    weights: &[f32],
    packed: &mut [f32],
) {
    let (channels, taps) = (shape.channels / shape.groups, shape.taps());
    let block = Staging::channels(taps);
    panels.fill(packed, |panel, packed| {
        let mut staging = Staging::new(panel.columns, block * taps);
        let filters = &weights[(panel.group * panels.columns + panel.column) * panels.rows..];
        for first in (0..channels).step_by(block) {
            let count = block.min(channels - first);
            for (filter, to) in filters.chunks_exact(panels.rows).zip(staging.rows()) {
                to[..count * taps].copy_from_slice(&filter[first * taps..][..count * taps]);
            }
            for (channel, tap) in
                (0..count).flat_map(|channel| (0..taps).map(move |tap| (channel, tap)))
            {
                let line = &mut packed[(tap * channels + first + channel) * panel.padded..]
                    [..panel.padded];
                let (line, filling) = line.split_at_mut(panel.columns);
                staging.get_column(channel * taps + tap, line);
                filling.fill(0.0);
            }
        }
    });
}

/// Packs `weights` for [`panels::transposed`](super::panels::transposed).
pub(crate) fn pack_transposed(
    shape: &Conv2dShape,
    panels: &Panels,
    weights: &[f32],
    packed: &mut [f32],
) {
    let (filters, channels, taps) = (shape.filters / shape.groups, panels.columns, shape.taps());
    panels.fill(packed, |panel, packed| {
        for filter in 0..filters {
            let from =
                &weights[((panel.group * filters + filter) * channels + panel.column) * taps..];
            for tap in 0..taps {
                let line = &mut packed[(tap * filters + filter) * panel.padded..][..panel.padded];
                let (line, filling) = line.split_at_mut(panel.columns);
                let from = from[taps - 1 - tap..].iter().step_by(taps);
                line.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                filling.fill(0.0);
            }
        }
    });
}
