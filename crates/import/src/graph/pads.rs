//! Padding that belongs to the convolution after it.

use kiln_model::graph::{Op, PadMode, Padded};

use super::reader::{Flat, Source};

/// Makes zeros that a `Pad` puts around rows and columns the padding of the convolution that alone
/// takes them, as TensorFlow's exporter often writes it: then it is one operator in training, too.
/// The `Pad` keeps no inputs.
pub fn absorb(nodes: &mut [Flat<'_>]) {
    let mut uses = vec![0_usize; nodes.len() + 1];
    for source in nodes.iter().flat_map(|node| &node.inputs) {
        if let Source::Live(value) = source {
            uses[*value] += 1;
        }
    }
    for at in 0..nodes.len() {
        let (before, after) = nodes.split_at_mut(at);
        let [
            Flat {
                op: Op::Conv(conv),
                inputs,
                ..
            },
            ..,
        ] = after
        else {
            continue;
        };
        let Some(image @ &mut Source::Live(value)) = inputs.first_mut() else {
            continue;
        };
        let pad = value.checked_sub(1).and_then(|at| before.get_mut(at));
        let Some(pad) = pad.filter(|_| uses[value] == 1) else {
            continue;
        };
        if let Some(pads) = around(&pad.op)
            && let Some(source) = pad.inputs.pop()
        {
            for (own, pads) in conv
                .window
                .pads
                .iter_mut()
                .flatten()
                .zip(pads.iter().flatten())
            {
                *own = own.saturating_add(*pads);
            }
            *image = source;
        }
    }
}

/// The zeros that an operator puts around rows and columns, if that is all it does.
fn around(op: &Op) -> Option<[[usize; 2]; 2]> {
    let Op::Pad(Padded { pads, mode }) = op else {
        return None;
    };
    match pads[..] {
        [[0, 0], [0, 0], rows, columns] if *mode == PadMode::Constant(0.0) => Some([rows, columns]),
        _ => None,
    }
}
