//! Weights between those of two modules.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Moves the tensors of a module by this share of the way towards those of another one that was built
/// alike.
pub fn blend<M: Module>(module: M, towards: &M, share: f64) -> M {
    let mut values = Values::default();
    towards.visit(&mut values);
    module.map(&mut Towards {
        values: values.tensors,
        visited: 0,
        share,
    })
}

/// The tensors of a module by their place: running statistics of two modules have other names. What Burn made
/// for gradients keeps tensors of any rank.
#[derive(Default)]
struct Values {
    tensors: GradientsParams,
    visited: u64,
}

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors
            .register(ParamId::from(self.visited), param.val());
        self.visited += 1;
    }
}

struct Towards {
    values: GradientsParams,
    visited: u64,
    share: f64,
}

impl ModuleMapper for Towards {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let place = ParamId::from(self.visited);
        self.visited += 1;
        let Some(value) = self.values.remove::<D>(place) else {
            return param;
        };
        let share = self.share;
        param.map(|tensor| tensor.clone() + (value - tensor) * share)
    }
}
