//! What dropout's masks are drawn by.

/// Key of dropout's masks, where kiln's kernels draw them: equal keys give equal masks.
#[derive(Debug, Clone, Copy, Default)]
pub struct DropoutKey {
    /// The seed of the phase.
    pub seed: u64,
    /// The step, counted from the beginning of the phase.
    pub step: u64,
}

impl DropoutKey {
    /// The seed of a layer, or of a part inside of one: another stream for each.
    pub fn seed_of(self, layer: usize) -> u64 {
        // Fibonacci hashing: neighboring layers' seeds differ in many bits.
        self.seed ^ (layer as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// The key of the parts inside of a layer. Turned, since part 2 of layer 5 would otherwise draw
    /// what part 5 of layer 2 does.
    pub fn inside(self, layer: usize) -> Self {
        Self {
            seed: self.seed_of(layer).rotate_left(32),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_layers_or_parts_of_layers_draw_the_same() {
        let key = DropoutKey { seed: 7, step: 3 };
        let layers = (0..200).map(|layer| key.seed_of(layer));
        let parts =
            (0..200).flat_map(|layer| (0..60).map(move |part| key.inside(layer).seed_of(part)));
        let seeds: HashSet<u64> = layers.chain(parts).collect();
        assert_eq!(seeds.len(), 200 + 200 * 60);
    }
}
