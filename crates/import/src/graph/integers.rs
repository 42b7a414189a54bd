//! Arithmetic of integers and truth values: shapes, and masks of attention.

use std::rc::Rc;

use kiln_model::graph::{Dims, Op};

use super::affine::Affine;
use super::call::Call;
use super::constant::{Budgets, Constant, Data};
use super::fold;

/// Operators of integers that graphs of floats do not need.
pub fn integers<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let operator = call.node.op_type.as_str();
    let truth = |holds: fn(i64) -> bool| {
        move |a: Affine, b: Affine| Some(Affine::from(holds(a.compare(b)?)))
    };
    match operator {
        "Mod" => paired(call, budgets, Affine::modulo),
        "Equal" => paired(call, budgets, truth(|sign| sign == 0)),
        "Greater" => paired(call, budgets, truth(|sign| sign > 0)),
        "GreaterOrEqual" => paired(call, budgets, truth(|sign| sign >= 0)),
        "Less" => paired(call, budgets, truth(|sign| sign < 0)),
        "LessOrEqual" => paired(call, budgets, truth(|sign| sign <= 0)),
        "And" => paired(call, budgets, |a, b| {
            Some((a.known()? != 0 && b.known()? != 0).into())
        }),
        "Or" => paired(call, budgets, |a, b| {
            Some((a.known()? != 0 || b.known()? != 0).into())
        }),
        "Add" => paired(call, budgets, Affine::add),
        "Sub" => paired(call, budgets, Affine::sub),
        "Mul" => paired(call, budgets, Affine::mul),
        "Div" => paired(call, budgets, Affine::div),
        "Max" => paired(call, budgets, |a, b| {
            Some(if a.compare(b)? < 0 { b } else { a })
        }),
        "Min" => paired(call, budgets, |a, b| {
            Some(if a.compare(b)? > 0 { b } else { a })
        }),
        "Not" => each(call, |a| Some((a.known()? == 0).into())),
        "Neg" => each(call, Affine::negated),
        "Abs" => each(call, |a| {
            if a.compare(0.into())? < 0 {
                a.negated()
            } else {
                Some(a)
            }
        }),
        "Range" => range(call, budgets),
        "Where" => chosen(call, budgets),
        "ReduceProd" => product(call),
        _ => None,
    }
}

fn each<'a>(
    call: &Call<'a>,
    of: impl Fn(Affine) -> Option<Affine>,
) -> Option<(Vec<usize>, Data<'a>)> {
    let constant = call
        .constant_at(0)
        .filter(|constant| constant.is_integer())?;
    let ints = constant.ints()?;
    let ints: Option<Rc<[Affine]>> = ints.iter().map(|&int| of(int)).collect();
    Some((constant.dims.clone(), Data::Ints(ints?)))
}

fn paired<'a>(
    call: &Call<'a>,
    budgets: &mut Budgets,
    combine: impl Fn(Affine, Affine) -> Option<Affine>,
) -> Option<(Vec<usize>, Data<'a>)> {
    let (left, right) = (call.constant_at(0)?, call.constant_at(1)?);
    if call.count() != 2 || !left.is_integer() || !right.is_integer() {
        return None;
    }
    let dims = together(&[left, right], budgets)?;
    let (a, b) = (left.ints()?, right.ints()?);
    let ints = fold::combined([(&left.dims, &*a), (&right.dims, &*b)], &dims, combine)?;
    Some((dims, Data::Ints(ints.into())))
}

/// The shape to which constants are broadcast, if so many integers may be computed.
fn together(constants: &[&Constant<'_>], budgets: &mut Budgets) -> Option<Vec<usize>> {
    let mut dims = Dims::default();
    for constant in constants {
        let expand = Op::Expand {
            dims: dims.sizes().to_vec(),
        };
        dims = expand.output(&[&Dims::fixed(&constant.dims)]).ok()?;
    }
    let sizes = dims.of(1)?;
    budgets.ints.take(sizes.iter().product()).then_some(sizes)
}

fn range<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let known = |index| {
        let constant = call
            .constant_at(index)
            .filter(|constant| constant.is_integer())?;
        constant.ints()?.first()?.known()
    };
    let (start, limit, step) = (known(0)?, known(1)?, known(2)?);
    let distance = limit.checked_sub(start)?;
    let whole = distance.checked_div(step)?;
    let count = whole.checked_add(i64::from(distance.checked_rem(step)? != 0))?;
    let count = usize::try_from(count.max(0)).ok()?;
    if !budgets.ints.take(count) {
        return None;
    }
    let ints = (0..count as i64).map(|at| Some(start.checked_add(at.checked_mul(step)?)?.into()));
    Some((vec![count], Data::Ints(ints.collect::<Option<_>>()?)))
}

fn chosen<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let (flags, left, right) = (
        call.constant_at(0)?,
        call.constant_at(1)?,
        call.constant_at(2)?,
    );
    if !left.is_integer() || !right.is_integer() {
        return None;
    }
    let dims = together(&[flags, left, right], budgets)?;
    let (which, a, b) = (flags.ints()?, left.ints()?, right.ints()?);
    let both = fold::combined([(&left.dims, &*a), (&right.dims, &*b)], &dims, |a, b| {
        Some((a, b))
    })?;
    let pairs: Vec<(Affine, Affine)> = which.iter().map(|&flag| (flag, flag)).collect();
    let ints = fold::combined(
        [(&flags.dims, &pairs), (&dims, &both)],
        &dims,
        |flag, pair| Some(if flag.0.known()? == 0 { pair.1 } else { pair.0 }),
    )?;
    Some((dims, Data::Ints(ints.into())))
}

/// The product of all integers of a list.
fn product<'a>(call: &Call<'a>) -> Option<(Vec<usize>, Data<'a>)> {
    let constant = call
        .constant_at(0)
        .filter(|constant| constant.dims.len() == 1)?;
    let ints = constant.ints()?;
    let product = ints
        .iter()
        .try_fold(Affine::from(1), |product, &int| product.mul(int))?;
    let dims = vec![1; usize::from(call.place().int("keepdims", 1) != 0)];
    Some((dims, Data::Ints(vec![product].into())))
}

/// Comparisons of floats, and choices between them: masks of attention.
pub fn masks<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let holds: fn(f32, f32) -> bool = match call.node.op_type.as_str() {
        "Equal" => |a, b| a.to_bits() == b.to_bits() || (a - b).abs() <= 0.0,
        "Greater" => |a, b| a > b,
        "Less" => |a, b| a < b,
        "Where" => return chosen_floats(call, budgets),
        _ => return None,
    };
    let (left, right) = (call.constant_at(0)?, call.constant_at(1)?);
    let dims = together(&[left, right], budgets)?;
    let (a, b) = (
        left.floats(&mut budgets.floats).ok()?,
        right.floats(&mut budgets.floats).ok()?,
    );
    let truth = |a, b| Some(Affine::from(holds(a, b)));
    let ints = fold::combined([(&left.dims, &*a), (&right.dims, &*b)], &dims, truth)?;
    Some((dims, Data::Ints(ints.into())))
}

fn chosen_floats<'a>(call: &Call<'a>, budgets: &mut Budgets) -> Option<(Vec<usize>, Data<'a>)> {
    let (flags, left, right) = (
        call.constant_at(0)?,
        call.constant_at(1)?,
        call.constant_at(2)?,
    );
    let dims = together(&[flags, left, right], budgets)?;
    let (a, b) = (
        left.floats(&mut budgets.floats).ok()?,
        right.floats(&mut budgets.floats).ok()?,
    );
    let which = flags.ints()?;
    let which: Option<Vec<bool>> = which.iter().map(|flag| Some(flag.known()? != 0)).collect();
    // One type for both, as broadcasting asks for.
    let which: Vec<(bool, f32, f32)> = which?.into_iter().map(|flag| (flag, 0.0, 0.0)).collect();
    let both = fold::combined([(&left.dims, &*a), (&right.dims, &*b)], &dims, |a, b| {
        Some((false, a, b))
    })?;
    let pick = |(flag, _, _): (bool, f32, f32), (_, a, b): (bool, f32, f32)| {
        Some(if flag { a } else { b })
    };
    let floats = fold::combined([(&flags.dims, &which), (&dims, &both)], &dims, pick)?;
    Some((dims, Data::Floats(floats.into())))
}
