//! Each operator for itself.

use kiln_model::graph::{
    Conv, Gemm, Lrn, PadMode, Padded, Pool, Reduction, Size, SliceAxis, Unary, Window,
};

use super::*;

/// Checks an operator of the segment's input and of parameters of these shapes.
fn check_op(op: Op, sample: &[usize], parameters: &[&[usize]]) {
    let mut draft = Draft::new(sample);
    let mut inputs = vec![Input::Value(0)];
    inputs.extend(parameters.iter().map(|shape| draft.parameter(shape)));
    draft.node(op, &inputs);
    check(&draft, 3, false);
}

/// Checks an operator of positive numbers.
fn check_positive(op: Op, sample: &[usize]) {
    let mut draft = Draft::new(sample);
    let positive = draft.node(Op::Unary(Unary::Exp), &[Input::Value(0)]);
    draft.node(op, &[positive]);
    check(&draft, 2, false);
}

/// Checks an operator of two values, entries 0 and 1 of the input's first axis after the batch.
fn check_two(op: Op, sample: &[usize], second: &[Op]) {
    let mut draft = Draft::new(&[&[2], sample].concat());
    let entry = |at: usize| Op::Gather {
        axis: 1,
        indices: vec![at],
        dims: Vec::new(),
    };
    let left = draft.node(entry(0), &[Input::Value(0)]);
    let mut right = draft.node(entry(1), &[Input::Value(0)]);
    for op in second {
        right = draft.node(op.clone(), &[right]);
    }
    draft.node(op, &[left, right]);
    check(&draft, 2, false);
}

fn window(
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [[usize; 2]; 2],
) -> Window {
    Window {
        kernel,
        strides,
        dilations,
        pads,
    }
}

#[test]
fn formulas_of_one_number() {
    let any = [
        Unary::Abs,
        Unary::Ceil,
        Unary::Clip {
            min: Some(-0.5),
            max: None,
        },
        Unary::Clip {
            min: None,
            max: Some(0.25),
        },
        Unary::Clip {
            min: Some(-0.2),
            max: Some(0.3),
        },
        Unary::Clip {
            min: None,
            max: None,
        },
        Unary::Cos,
        Unary::Elu { alpha: 0.7 },
        Unary::Erf,
        Unary::Exp,
        Unary::Floor,
        Unary::Gelu { tanh: false },
        Unary::Gelu { tanh: true },
        Unary::HardSigmoid {
            alpha: 0.9,
            beta: 0.4,
        },
        Unary::HardSwish,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Mish,
        Unary::Neg,
        Unary::Relu,
        Unary::Round,
        Unary::Selu {
            alpha: 1.67,
            gamma: 1.05,
        },
        Unary::Sigmoid,
        Unary::Sign,
        Unary::Sin,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Swish { alpha: 1.702 },
        Unary::Tanh,
    ];
    for unary in any {
        check_op(Op::Unary(unary), &[5, 6], &[]);
        // Beyond the bends of hard swish and the like.
        let mut draft = Draft::new(&[7]);
        let factor = draft.parameter(&[7]);
        let mut large = draft.node(Op::Binary(Binary::Div), &[Input::Value(0), factor]);
        large = draft.node(
            Op::Unary(Unary::Clip {
                min: Some(-4.3),
                max: Some(4.3),
            }),
            &[large],
        );
        draft.node(Op::Unary(unary), &[large]);
        check(&draft, 2, false);
    }
    for unary in [Unary::Log, Unary::Reciprocal, Unary::Sqrt] {
        check_positive(Op::Unary(unary), &[4, 5]);
    }
}

#[test]
fn large_numbers_do_not_overflow() {
    let device = Device::stock_cpu().autodiff().burn;
    for unary in [
        Unary::Elu { alpha: 1.0 },
        Unary::Selu {
            alpha: 1.67,
            gamma: 1.05,
        },
        Unary::Mish,
        Unary::Softplus,
        Unary::Sigmoid,
        Unary::Swish { alpha: 1.0 },
        Unary::Gelu { tanh: true },
        Unary::Gelu { tanh: false },
    ] {
        let x = Tensor::<1>::from_data([-200.0, 200.0], &device).require_grad();
        let y = Tensor::<1>::from_dispatch(elementwise::unary(&unary, x.clone().into_dispatch()));
        let gradient: Vec<f32> = x
            .grad(&y.sum().backward())
            .unwrap()
            .try_into_vec_as()
            .unwrap();
        assert!(
            gradient.iter().all(|slope| slope.is_finite()),
            "{unary:?}: {gradient:?}"
        );
    }
}

#[test]
fn two_values_broadcast() {
    for binary in [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Max,
        Binary::Min,
        Binary::PRelu,
    ] {
        // Parameters: of the channels, of another rank, a single number.
        for shape in [&[3, 1, 1][..], &[3, 4, 5], &[5], &[1, 3, 1, 1], &[]] {
            check_op(Op::Binary(binary), &[3, 4, 5], &[shape]);
        }
        let mean = Op::Reduce {
            reduction: Reduction::Mean,
            axes: vec![2],
            keep_dims: true,
        };
        check_two(Op::Binary(binary), &[3, 4], &[]);
        check_two(Op::Binary(binary), &[3, 4], &[mean]);
    }
    // A parameter that is the larger one, and the left one.
    let mut draft = Draft::new(&[1, 4]);
    let left = draft.parameter(&[3, 4]);
    let sum = draft.node(Op::Binary(Binary::Sub), &[left, Input::Value(0)]);
    let number = draft.parameter(&[1, 1, 1, 1]);
    let quotient = draft.node(Op::Binary(Binary::Div), &[number, sum]);
    draft.node(Op::Binary(Binary::Max), &[number, quotient]);
    check(&draft, 2, false);
}

#[test]
fn powers() {
    for exponent in [&[][..], &[5]] {
        let mut draft = Draft::new(&[4, 5]);
        let base = draft.node(Op::Unary(Unary::Exp), &[Input::Value(0)]);
        let exponent = draft.parameter(exponent);
        draft.node(Op::Binary(Binary::Pow), &[base, exponent]);
        check(&draft, 2, false);
    }
    let mut draft = Draft::new(&[6]);
    let base = draft.node(Op::Unary(Unary::Exp), &[Input::Value(0)]);
    draft.node(Op::Binary(Binary::Pow), &[base, Input::Value(0)]);
    check(&draft, 2, false);
}

#[test]
fn powers_of_negative_numbers_by_a_constant() {
    let device = Device::stock_cpu().autodiff().burn;
    for (exponent, value, slope) in [(2.0, 9.0, -6.0), (3.0, -27.0, 27.0)] {
        let x = Tensor::<1>::from_data([-3.0], &device).require_grad();
        let power =
            elementwise::with_number(Binary::Pow, &x.clone().into_dispatch(), exponent).unwrap();
        let y = Tensor::<1>::from_dispatch(power);
        let gradient = x.grad(&y.clone().backward()).unwrap();
        assert!((y.try_into_scalar::<f32>().unwrap() - value).abs() < 1e-4);
        assert!((gradient.try_into_scalar::<f32>().unwrap() - slope).abs() < 1e-4);
    }
}

#[test]
fn convolutions() {
    let plain = window([3, 3], [1, 1], [1, 1], [[1, 1]; 2]);
    let odd = window([2, 3], [2, 1], [1, 2], [[0, 1], [2, 1]]);
    for window in [plain, odd] {
        let [rows, columns] = window.kernel;
        for (groups, bias) in [(1, true), (2, false), (4, true)] {
            let weight = [4, 4 / groups, rows, columns];
            let parameters: &[&[usize]] = if bias { &[&weight, &[4]] } else { &[&weight] };
            check_op(Op::Conv(Conv { window, groups }), &[4, 5, 6], parameters);
        }
    }
    let point = window([1, 1], [2, 2], [1, 1], [[0, 0]; 2]);
    check_op(
        Op::Conv(Conv {
            window: point,
            groups: 1,
        }),
        &[3, 4, 4],
        &[&[2, 3, 1, 1]],
    );
}

#[test]
fn poolings() {
    let windows = [
        window([2, 2], [2, 2], [1, 1], [[0, 0]; 2]),
        window([3, 3], [2, 2], [1, 1], [[1, 1]; 2]),
        window([3, 2], [2, 1], [1, 1], [[1, 0], [0, 1]]),
        window([2, 2], [1, 2], [2, 3], [[1, 1], [0, 1]]),
    ];
    for window in windows {
        for flags in 0..4 {
            let pool = Pool {
                window,
                ceil_mode: flags & 1 > 0,
                count_include_pad: flags & 2 > 0,
            };
            check_op(Op::MaxPool(pool), &[2, 6, 7], &[]);
            check_op(Op::AveragePool(pool), &[2, 6, 7], &[]);
        }
    }
    check_op(Op::GlobalAveragePool, &[3, 4, 5], &[]);
    check_op(Op::GlobalMaxPool, &[3, 4, 5], &[]);
    check_op(Op::GlobalAveragePool, &[3, 4], &[]);
}

#[test]
fn paddings() {
    for mode in [
        PadMode::Constant(0.0),
        PadMode::Constant(-1.5),
        PadMode::Reflect,
        PadMode::Edge,
    ] {
        for pads in [
            [[0, 0], [0, 0], [1, 2], [2, 0]],
            [[0, 0], [1, 0], [0, 0], [3, 3]],
        ] {
            check_op(
                Op::Pad(Padded {
                    pads: pads.to_vec(),
                    mode,
                }),
                &[2, 3, 4],
                &[],
            );
        }
    }
}

#[test]
fn normalizations() {
    for axis in 1..4 {
        let shape = &[3, 4, 5][axis - 1..];
        let op = Op::LayerNormalization {
            axis,
            epsilon: 1e-3,
        };
        check_op(op.clone(), &[3, 4, 5], &[shape, shape]);
        check_op(op, &[3, 4, 5], &[shape]);
    }
    check_op(
        Op::LayerNormalization {
            axis: 2,
            epsilon: 1e-3,
        },
        &[3, 4],
        &[&[1], &[4]],
    );
    for groups in [1, 2, 4] {
        check_op(
            Op::GroupNormalization {
                groups,
                epsilon: 1e-3,
            },
            &[4, 3, 2],
            &[&[4], &[4]],
        );
    }
    check_op(
        Op::InstanceNormalization { epsilon: 1e-3 },
        &[3, 4, 5],
        &[&[3], &[3]],
    );
    check_op(
        Op::InstanceNormalization { epsilon: 1e-3 },
        &[3, 5],
        &[&[3], &[3]],
    );
    for size in 1..5 {
        let lrn = Lrn {
            alpha: 0.5,
            beta: 0.75,
            bias: 1.5,
            size,
        };
        check_op(Op::Lrn(lrn), &[6, 2, 3], &[]);
    }
}

#[test]
fn products() {
    for (trans_b, weight) in [(false, [3, 5]), (true, [5, 3])] {
        let gemm = Gemm {
            alpha: 0.7,
            beta: 1.3,
            trans_a: false,
            trans_b,
        };
        check_op(Op::Gemm(gemm), &[3], &[&weight]);
        for added in [&[5][..], &[1, 5], &[1], &[]] {
            check_op(Op::Gemm(gemm), &[3], &[&weight, added]);
        }
    }
    check_op(Op::MatMul, &[3], &[&[3, 4]]);
    check_op(Op::MatMul, &[2, 5, 3], &[&[3, 4]]);
    check_op(Op::MatMul, &[5, 3], &[&[2, 1, 3, 4]]);
    check_two(Op::MatMul, &[2, 3, 3], &[]);
    let first = Op::Slice(vec![SliceAxis {
        axis: 1,
        start: 1,
        step: 1,
        length: 1,
    }]);
    check_two(Op::MatMul, &[2, 3, 3], &[first]);
    // A parameter from the left, with more axes and with fewer.
    for shape in [&[2, 3, 4][..], &[3, 4]] {
        let mut draft = Draft::new(&[2, 4, 3]);
        let left = draft.parameter(shape);
        draft.node(Op::MatMul, &[left, Input::Value(0)]);
        check(&draft, 2, false);
    }
}

#[test]
fn a_turned_matrix_from_the_left() {
    for trans_b in [false, true] {
        let mut draft = Draft::new(&[4]);
        let left = draft.parameter(&[4, 3]);
        let turned = draft.node(Op::Transpose { perm: vec![1, 0] }, &[Input::Value(0)]);
        let right = if trans_b { Input::Value(0) } else { turned };
        let gemm = Gemm {
            alpha: 0.5,
            beta: 1.0,
            trans_a: true,
            trans_b,
        };
        draft.node(Op::Gemm(gemm), &[left, right]);
        check(&draft, 2, false);
    }
}

#[test]
fn statistics() {
    use Reduction::{L2, Max, Mean, Min, Sum};
    for reduction in [Mean, Sum, Max, Min, L2] {
        for axes in [&[1][..], &[2, 3], &[1, 3], &[3], &[]] {
            for keep_dims in [false, true] {
                let op = Op::Reduce {
                    reduction,
                    axes: axes.to_vec(),
                    keep_dims,
                };
                check_op(op, &[2, 3, 4], &[]);
            }
        }
    }
    for axis in 1..4 {
        check_op(Op::Softmax { axis }, &[2, 3, 4], &[]);
        check_op(Op::LogSoftmax { axis }, &[2, 3, 4], &[]);
    }
}

#[test]
fn the_norm_of_nothing_has_no_gradient() {
    let device = Device::stock_cpu().autodiff().burn;
    let x = Tensor::<1>::from_data([0.0, 0.0], &device).require_grad();
    let norm = norm::reduce(Reduction::L2, &[0], x.clone().into_dispatch());
    let norm = Tensor::<1>::from_dispatch(norm);
    let gradient: Vec<f32> = x
        .grad(&norm.clone().backward())
        .unwrap()
        .try_into_vec_as()
        .unwrap();
    assert_eq!(
        (norm.try_into_scalar::<f32>().unwrap(), gradient),
        (0.0, vec![0.0; 2])
    );
}

#[test]
fn arrangements() {
    let part = |axis, start, step, length| SliceAxis {
        axis,
        start,
        step,
        length,
    };
    check_op(Op::Slice(vec![part(2, 1, 1, 2)]), &[2, 4, 5], &[]);
    check_op(
        Op::Slice(vec![part(2, 1, 2, 2), part(3, 0, 3, 2), part(1, 1, 1, 1)]),
        &[2, 4, 5],
        &[],
    );
    let gathers = [
        (vec![2, 0, 2, 1], vec![2, 2]),
        (vec![1], vec![]),
        (vec![1], vec![1]),
        (vec![3, 3, 0], vec![3]),
    ];
    for axis in 1..3 {
        for (indices, dims) in &gathers {
            let op = Op::Gather {
                axis,
                indices: indices.clone(),
                dims: dims.clone(),
            };
            check_op(op, &[4, 5], &[]);
        }
    }
    check_op(
        Op::Transpose {
            perm: vec![0, 2, 3, 1],
        },
        &[2, 3, 4],
        &[],
    );
    check_op(
        Op::Transpose {
            perm: vec![2, 0, 1, 3],
        },
        &[2, 3, 4],
        &[],
    );
    check_op(
        Op::Transpose {
            perm: vec![0, 1, 2],
        },
        &[3, 4],
        &[],
    );
    check_op(
        Op::Reshape {
            dims: vec![Size::Batch(2), Size::Fixed(12)],
        },
        &[2, 3, 4],
        &[],
    );
    check_op(
        Op::Reshape {
            dims: vec![Size::Batch(1), Size::Fixed(3), Size::Fixed(8)],
        },
        &[2, 3, 4],
        &[],
    );
    for axis in 1..4 {
        check_op(Op::Flatten { axis }, &[2, 3, 4], &[]);
    }
    check_op(Op::Squeeze { axes: vec![1, 3] }, &[1, 3, 1], &[]);
    check_op(Op::Unsqueeze { axes: vec![1, 3] }, &[3], &[]);
    check_op(
        Op::Expand {
            dims: vec![
                Size::Fixed(2),
                Size::Fixed(1),
                Size::Fixed(3),
                Size::Fixed(4),
            ],
        },
        &[3, 1],
        &[],
    );
    check_op(
        Op::Expand {
            dims: vec![Size::Batch(1), Size::Fixed(3), Size::Fixed(1)],
        },
        &[1, 4],
        &[],
    );
    for axis in 1..3 {
        let mut draft = Draft::new(&[2, 3]);
        let double = draft.node(Op::Binary(Binary::Add), &[Input::Value(0), Input::Value(0)]);
        draft.node(
            Op::Concat { axis },
            &[Input::Value(0), double, Input::Value(0)],
        );
        check(&draft, 2, false);
    }
    // A class token: a parameter that is repeated for each image.
    let mut draft = Draft::new(&[2, 3]);
    let token = draft.parameter(&[1, 1, 3]);
    let dims = vec![Size::Batch(1), Size::Fixed(1), Size::Fixed(3)];
    let token = draft.node(Op::Expand { dims }, &[token]);
    draft.node(Op::Concat { axis: 1 }, &[token, Input::Value(0)]);
    check(&draft, 2, false);
}
