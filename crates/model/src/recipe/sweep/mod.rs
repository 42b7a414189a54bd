//! `[sweep]`: one recipe, many runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::parse::{self, ROOT, SECTIONS, file_name, folder_name};
use super::{Monitor, OptimizerKind, Recipe, References};
use crate::document::{
    self, Bound, Field, Hint, MAX_COUNT, Node, Place, RecipeError, Section, Source, Value, unknown,
};

/// A recipe's `[sweep]` with every combination of its values made into a recipe of its own.
///
/// ```toml
/// [sweep]
/// reference = "the report"                        # where reference figures come from
/// halving = { factor = 3, min_epochs = 1 }        # train to the end what is best after a few epochs
/// "layers.conv2d_1.kernel_size" = [3, 5]          # a grid: every value with every other
/// "training.seed" = [0, 1, 2]
///
/// [[sweep.variants]]                              # named changes, each with the whole grid
/// name = "without dropout"
/// set = { "layers.dropout.rate" = 0, "layers.dropout_1.rate" = 0 }
/// reference = { test_accuracy = 0.9884 }
/// ```
///
/// Keys are those of `--set`. A value that both a variant and the grid give is an error, unless the
/// grid's comes from `--set`, which counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// The recipe's name.
    pub name: String,
    /// The recipe's sentence for people.
    pub description: Option<String>,
    /// Where the combinations' reference figures come from.
    pub reference: Option<String>,
    /// How combinations are pruned; without it, all are trained to the end.
    pub halving: Option<Halving>,
    /// At least one, their names all different.
    pub combinations: Vec<Combination>,
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// What makes it different, for people, such as `kernel_size 3, filters 32`.
    pub label: String,
    /// The same, one by one: the variant first, then the grid in the order of the recipe. Every
    /// combination of a sweep has the same keys.
    pub settings: Vec<Setting>,
    /// Published figures of it.
    pub reference: Option<Reference>,
    /// Its recipe, named after what makes it different.
    pub recipe: Recipe,
}

/// A value that a sweep varies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key as for `--set`, or `variant`.
    pub key: String,
    /// As much of the key's end as tells it from the sweep's other keys, such as `kernel_size`.
    pub name: String,
    /// The value as written, without quotes.
    pub value: String,
}

impl Setting {
    /// The key of the setting that names a combination's variant.
    pub(super) const VARIANT: &str = "variant";

    /// Whether it only changes random numbers, so that runs that differ in nothing else can be
    /// averaged.
    pub fn is_seed(&self) -> bool {
        self.key == "training.seed"
    }
}

impl Combination {
    /// Returns the settings but for the seed: runs that agree in them can be averaged.
    pub fn without_seed(&self) -> Vec<&Setting> {
        let settings = self.settings.iter();
        settings.filter(|setting| !setting.is_seed()).collect()
    }
}

impl fmt::Display for Setting {
    /// As in a combination's label: `kernel_size 3`, and of a variant its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key == Self::VARIANT {
            f.write_str(&self.value)
        } else {
            write!(f, "{} {}", self.name, self.value)
        }
    }
}

/// Figures that others reached on the test images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Share of images classified correctly, 0 to 1.
    pub test_accuracy: Option<f64>,
    /// Mean cross-entropy in nats.
    pub test_loss: Option<f64>,
}

/// Successive halving (Jamieson & Talwalkar, 2016): all combinations train for a few epochs, the best
/// `1/factor` of them, rounded up, for `factor` times as many, and so on, until the rest train to the end.
///
/// ```
/// let halving = kiln_model::Halving::default();
/// assert_eq!(halving.rungs(10), [1, 3]);
/// assert_eq!([27, 9].map(|candidates| halving.kept(candidates)), [9, 3]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halving {
    /// The share that goes on is one of so many, at least 2.
    pub factor: usize,
    /// Epochs of each combination before the first is pruned, at least 1.
    pub min_epochs: usize,
}

impl Default for Halving {
    /// With the factor of scikit-learn's `HalvingGridSearchCV`, from the first epoch on.
    fn default() -> Self {
        Self {
            factor: 3,
            min_epochs: 1,
        }
    }
}

impl Halving {
    /// Returns the epochs after which combinations are pruned, in ascending order: `min_epochs` times the
    /// powers of `factor`, as long as those that go on train for at least `factor` times as many.
    pub fn rungs(&self, epochs: usize) -> Vec<usize> {
        let next = |rung: &usize| rung.checked_mul(self.factor);
        std::iter::successors(Some(self.min_epochs), next)
            .take_while(|rung| next(rung).is_some_and(|next| next <= epochs))
            .collect()
    }

    /// Returns how many of so many candidates go on, at least one of them.
    pub const fn kept(&self, candidates: usize) -> usize {
        candidates.div_ceil(self.factor)
    }
}

impl Sweep {
    /// Reads a recipe that has a `[sweep]`, and checks every combination. The arguments are those of
    /// [`Recipe::parse_with`]; `sweep.training.seed=[0, 1, 2]` as an override adds to the grid.
    pub fn parse_with<'a>(
        text: &str,
        origin: &str,
        name: &str,
        overrides: &[String],
        references: impl Into<References<'a>>,
    ) -> Result<Self, RecipeError> {
        let mut document = document::read(text, origin, overrides)?;
        let Some(node) = document.take("sweep") else {
            let problem = "this recipe has no `[sweep]`";
            return Err(RecipeError::new(origin, Place::Whole, problem).with_hint(Hint::NoSweep));
        };
        let source = Source {
            origin,
            sections: SECTIONS,
        };
        let field = Field::new(source, "sweep", &node);
        let (variants, axes) = (variants(&field)?, axes(&field)?);
        check(&field, &variants, &axes)?;
        let root = Section::root(source, &document, ROOT)?;
        let expansion = Expansion {
            document: &document,
            origin,
            references: references.into(),
            names: short_names(&axes),
            axes: &axes,
        };
        let combinations = expansion.all(&variants)?;
        Ok(Sweep {
            name: root
                .get("name")
                .map_or_else(|| Ok(folder_name(name)), |field| file_name(&field))?,
            description: root
                .get("description")
                .map(|field| field.string().map(str::to_string))
                .transpose()?,
            reference: own(&field, "reference")?
                .map(|field| field.string().map(str::to_string))
                .transpose()?,
            halving: halving(&field, &combinations)?,
            combinations,
        })
    }

    /// The figure by which combinations are compared: that which decides which of a run's epochs is best, or
    /// the validation loss where combinations differ in it.
    pub fn monitor(&self) -> Monitor {
        let monitor = |combination: &Combination| combination.recipe.training.monitor;
        let mut monitors = self.combinations.iter().map(monitor);
        let first = monitors.next().unwrap_or_default();
        if monitors.all(|other| other == first) {
            first
        } else {
            Monitor::default()
        }
    }

    /// Returns the number of epochs after each of which combinations are pruned, in ascending order; none where
    /// all are trained to the end.
    pub fn rungs(&self) -> Vec<usize> {
        let halving = self.halving.as_ref();
        halving.map_or_else(Vec::new, |it| it.rungs(epochs(&self.combinations)))
    }
}

/// Returns the epochs of the combination that has the most.
fn epochs(combinations: &[Combination]) -> usize {
    let epochs = |combination: &Combination| combination.recipe.training.epochs();
    combinations.iter().map(epochs).max().unwrap_or(0)
}

/// The keys of `[sweep]` that are not those of values to vary.
const OWN: &[&str] = &["reference", "halving", "variants"];

/// Limit of the runs of one sweep.
const MAX_COMBINATIONS: usize = 1000;

/// A key with the values that it takes one after the other.
struct Axis {
    path: String,
    values: Vec<Node>,
    place: Place,
}

/// Named changes.
struct Variant {
    name: String,
    set: Vec<(String, Node)>,
    reference: Option<Reference>,
}

fn own<'a>(sweep: &Field<'a>, key: &str) -> Result<Option<Field<'a>>, RecipeError> {
    Ok(sweep
        .entries()?
        .into_iter()
        .find_map(|(name, field)| (name == key).then_some(field)))
}

/// Reads how combinations are pruned, if they are.
fn halving(
    sweep: &Field<'_>,
    combinations: &[Combination],
) -> Result<Option<Halving>, RecipeError> {
    let Some(field) = own(sweep, "halving")? else {
        return Ok(None);
    };
    let Some(section) = field.section_or_switch(&["factor", "min_epochs"])? else {
        return Ok(None);
    };
    let default = Halving::default();
    let halving = Halving {
        factor: section.integer_or("factor", default.factor, 2..=MAX_COMBINATIONS as i64)?,
        min_epochs: section.integer_or("min_epochs", default.min_epochs, 1..=MAX_COUNT)?,
    };
    // An epoch of L-BFGS is a whole fit.
    let fits = |combination: &&Combination| {
        let mut phases = combination.recipe.training.phases.iter();
        phases.any(|phase| matches!(phase.optimizer.kind, OptimizerKind::Lbfgs(_)))
    };
    if let Some(Combination { label, .. }) = combinations.iter().find(fits) {
        return Err(field.error(format!(
            "`{}` needs trainings of several epochs, and L-BFGS, of the combination `{label}`, has none: leave \
             one of them out",
            field.path()
        )));
    }
    let epochs = epochs(combinations);
    if halving.rungs(epochs).is_empty() {
        return Err(field.error(format!(
            "`{}` prunes nothing: it needs trainings of at least `factor` times `min_epochs`, {} epochs, and they \
             have {epochs}",
            field.path(),
            halving.factor.saturating_mul(halving.min_epochs)
        )));
    }
    Ok(Some(halving))
}

fn variants(sweep: &Field<'_>) -> Result<Vec<Variant>, RecipeError> {
    let Some(field) = own(sweep, "variants")? else {
        return Ok(Vec::new());
    };
    let mut variants: Vec<Variant> = Vec::new();
    for field in field.array()? {
        let section = field.section(&["name", "set", "reference"])?;
        let name = section.need("name")?;
        let variant = Variant {
            name: name.string()?.to_string(),
            set: section
                .get("set")
                .map_or_else(|| Ok(Vec::new()), |set| leaves(&set))?,
            reference: section
                .get("reference")
                .map(|field| reference(&field))
                .transpose()?,
        };
        if variants
            .iter()
            .any(|other| slug(&other.name) == slug(&variant.name))
        {
            return Err(name.error(format!(
                "another variant is called {:?}, or names the same folder: give each a name of its own",
                variant.name
            )));
        }
        variants.push(variant);
    }
    Ok(variants)
}

fn reference(field: &Field<'_>) -> Result<Reference, RecipeError> {
    let section = field.section(&["test_accuracy", "test_loss"])?;
    let figure = |key, bound| {
        section
            .get(key)
            .map(|field| field.number(bound))
            .transpose()
    };
    Ok(Reference {
        test_accuracy: figure("test_accuracy", Bound::UpTo(1.0))?,
        test_loss: figure("test_loss", Bound::Positive)?,
    })
}

/// The grid: every key of `[sweep]` that is none of its own.
fn axes(sweep: &Field<'_>) -> Result<Vec<Axis>, RecipeError> {
    let Value::Table(entries) = &sweep.node().value else {
        return Ok(Vec::new());
    };
    let grid = entries
        .iter()
        .filter(|(key, _)| !OWN.contains(&key.as_str()))
        .cloned()
        .collect();
    let grid = Node {
        value: Value::Table(grid),
        place: sweep.node().place.clone(),
    };
    let mut axes: Vec<Axis> = Vec::new();
    for (path, node) in leaves(&Field::new(sweep.source(), "sweep", &grid))? {
        let place = node.place.clone();
        let fail = |problem: String| {
            Err(RecipeError::new(
                sweep.source().origin,
                place.clone(),
                problem,
            ))
        };
        let Value::Array(values) = node.value else {
            return fail(format!(
                "`sweep.{path}` must be an array of the values to try, such as [3, 5], found {}",
                node.value.describe()
            ));
        };
        if values.is_empty() {
            return fail(format!(
                "`sweep.{path}` is empty: give at least one value, or leave it out"
            ));
        }
        for (at, value) in values.iter().enumerate() {
            if values[..at]
                .iter()
                .any(|other| other.value.plain() == value.value.plain())
            {
                return fail(format!(
                    "`sweep.{path}` has {} twice: give each value once",
                    value.value.describe()
                ));
            }
        }
        match axes.iter_mut().find(|axis| axis.path == path) {
            Some(earlier) if matches!(place, Place::Override(_)) => {
                *earlier = Axis {
                    path,
                    values,
                    place,
                }
            }
            Some(_) => return fail(format!("`sweep.{path}` is given twice: keep one of them")),
            None => axes.push(Axis {
                path,
                values,
                place,
            }),
        }
    }
    Ok(axes)
}

/// The values below a table, each with the path that leads to it: `"a.b" = 1`, `a.b = 1` and `a = {
/// b = 1 }` are the same.
fn leaves(field: &Field<'_>) -> Result<Vec<(String, Node)>, RecipeError> {
    let mut found = Vec::new();
    for (key, field) in field.entries()? {
        let error =
            |problem| RecipeError::new(field.source().origin, field.node().place.clone(), problem);
        let keys = document::keys(key).map_err(error)?.join(".");
        if matches!(field.node().value, Value::Table(_)) {
            found.extend(
                leaves(&field)?
                    .into_iter()
                    .map(|(path, node)| (format!("{keys}.{path}"), node)),
            );
        } else {
            found.push((keys, field.node().clone()));
        }
    }
    Ok(found)
}

/// Checks what can be checked before anything is combined.
fn check(sweep: &Field<'_>, variants: &[Variant], axes: &[Axis]) -> Result<(), RecipeError> {
    if variants.is_empty() && axes.is_empty() {
        let problem = "`sweep` varies nothing: add values, such as `\"training.seed\" = [0, 1, 2]`, or variants";
        return Err(sweep.error(problem));
    }
    let total = axes.iter().fold(variants.len().max(1), |total, axis| {
        total.saturating_mul(axis.values.len())
    });
    if total > MAX_COMBINATIONS {
        return Err(sweep.error(format!(
            "`sweep` makes {total} combinations, over {MAX_COMBINATIONS}: leave out some of the values"
        )));
    }
    let changes = variants
        .iter()
        .flat_map(|variant| &variant.set)
        .map(|(path, node)| (path, &node.place));
    for (path, place) in axes
        .iter()
        .map(|axis| (&axis.path, &axis.place))
        .chain(changes)
    {
        let first = path.split('.').next().unwrap_or_default();
        let varied: Vec<&str> = ROOT
            .iter()
            .copied()
            .filter(|key| !matches!(*key, "name" | "description" | "sweep"))
            .collect();
        if !varied.contains(&first) {
            let valid = [varied.as_slice(), OWN].concat();
            return Err(RecipeError::new(
                sweep.source().origin,
                place.clone(),
                unknown(first, "sweep", &valid, &sweep.source()),
            ));
        }
    }
    for axis in axes
        .iter()
        .filter(|axis| !matches!(axis.place, Place::Override(_)))
    {
        let both = variants
            .iter()
            .find(|variant| variant.set.iter().any(|(path, _)| *path == axis.path));
        if let Some(variant) = both {
            let problem = format!(
                "`{}` is varied here and set by the variant {:?}: keep one of them",
                axis.path, variant.name
            );
            return Err(RecipeError::new(
                sweep.source().origin,
                axis.place.clone(),
                problem,
            ));
        }
    }
    Ok(())
}

/// The end of each axis's path, as many keys of it as tell it from the others.
fn short_names(axes: &[Axis]) -> Vec<String> {
    let end = |path: &str, keys: usize| -> String {
        let parts: Vec<&str> = path.split('.').collect();
        parts[parts.len().saturating_sub(keys)..].join(".")
    };
    let alone = |path: &str, keys: usize| {
        axes.iter()
            .filter(|axis| end(&axis.path, keys) == end(path, keys))
            .count()
            == 1
    };
    let name = |axis: &Axis| {
        let keys = (1..=axis.path.split('.').count()).find(|&keys| alone(&axis.path, keys));
        keys.map_or_else(|| axis.path.clone(), |keys| end(&axis.path, keys))
    };
    axes.iter().map(name).collect()
}

/// The parts of every combination.
struct Expansion<'a> {
    document: &'a Node,
    origin: &'a str,
    references: References<'a>,
    axes: &'a [Axis],
    names: Vec<String>,
}

impl Expansion<'_> {
    /// Variant by variant, the first axis changing slowest.
    fn all(&self, variants: &[Variant]) -> Result<Vec<Combination>, RecipeError> {
        let variants: Vec<Option<&Variant>> = if variants.is_empty() {
            vec![None]
        } else {
            variants.iter().map(Some).collect()
        };
        let mut combinations: Vec<Combination> = Vec::new();
        for variant in variants {
            for values in self.grid() {
                let mut combination = self.combination(variant, &values)?;
                // Values that differ only in what a folder cannot be called.
                let name = combination.recipe.name.clone();
                let mut number = 2;
                while combinations
                    .iter()
                    .any(|other| other.recipe.name == combination.recipe.name)
                {
                    combination.recipe.fields.name = format!("{name}-v{number}");
                    number += 1;
                }
                combinations.push(combination);
            }
        }
        Ok(combinations)
    }

    fn grid(&self) -> Vec<Vec<&Node>> {
        self.axes.iter().fold(vec![Vec::new()], |grid, axis| {
            let with = |values: &Vec<_>| {
                let values = values.clone();
                axis.values
                    .iter()
                    .map(move |value| values.iter().copied().chain([value]).collect())
            };
            grid.iter().flat_map(with).collect()
        })
    }

    fn combination(
        &self,
        variant: Option<&Variant>,
        values: &[&Node],
    ) -> Result<Combination, RecipeError> {
        let mut document = self.document.clone();
        let changes = variant
            .into_iter()
            .flat_map(|variant| &variant.set)
            .map(|(path, node)| (path, node));
        for (path, node) in changes.chain(
            self.axes
                .iter()
                .map(|axis| &axis.path)
                .zip(values.iter().copied()),
        ) {
            document::keys(path)
                .and_then(|keys| document::assign(&mut document, &keys, node.clone()))
                .map_err(|problem| RecipeError::new(self.origin, node.place.clone(), problem))?;
        }
        let settings = self.settings(variant, values);
        let label = settings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let name = slug(&label);
        let mut recipe = parse::recipe_of(document, self.origin, &name, self.references)
            .map_err(|error| error.in_combination(&label))?;
        recipe.fields.name = name;
        recipe.fields.description = Some(match &recipe.description {
            Some(description) => format!("{description}: {label}"),
            None => label.clone(),
        });
        Ok(Combination {
            label,
            settings,
            reference: variant.and_then(|variant| variant.reference),
            recipe,
        })
    }

    fn settings(&self, variant: Option<&Variant>, values: &[&Node]) -> Vec<Setting> {
        let variant = variant.map(|variant| Setting {
            key: Setting::VARIANT.into(),
            name: Setting::VARIANT.into(),
            value: variant.name.clone(),
        });
        let axes = self
            .axes
            .iter()
            .zip(&self.names)
            .zip(values)
            .map(|((axis, name), value)| Setting {
                key: axis.path.clone(),
                name: name.clone(),
                value: value.value.plain(),
            });
        variant.into_iter().chain(axes).collect()
    }
}

/// A name for a folder, without the gaps that punctuation leaves.
fn slug(text: &str) -> String {
    let name = folder_name(text);
    let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        folder_name("")
    } else {
        parts.join("-")
    }
}

#[cfg(test)]
mod tests;
