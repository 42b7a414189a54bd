//! The share of the images that a process has among those of a job: what Slurm, AWS Batch, Kubernetes or GNU parallel
//! say in its environment.

use super::shard::Shard;

/// A share, as one of the systems gives it.
struct Found {
    system: &'static str,
    /// From 0.
    index: u64,
    /// Number of processes, where the system says it.
    of: Option<u64>,
    /// The variable that is the number.
    variable: &'static str,
}

/// Looks up variables of the environment.
struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// Reads a number, if the variable is there.
    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = (self.0)(name) else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!(
                "{name} is `{text}` in the environment, expected a whole number"
            )),
        }
    }

    fn required(&self, name: &str, beside: &str) -> Result<u64, String> {
        let missing = || format!("{beside} is in the environment, and {name} is not");
        self.number(name)?.ok_or_else(missing)
    }

    /// The place of a task in Slurm's job array, and the number of tasks in the array.
    fn slurm_array(&self) -> Result<Option<(u64, u64)>, String> {
        const ID: &str = "SLURM_ARRAY_TASK_ID";
        let Some(id) = self.number(ID)? else {
            return Ok(None);
        };
        let min = self.required("SLURM_ARRAY_TASK_MIN", ID)?;
        let count = self.required("SLURM_ARRAY_TASK_COUNT", ID)?;
        let step = self.number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
        let index = id
            .checked_sub(min)
            .filter(|after| after % step == 0)
            .map(|after| after / step);
        let max = self.number("SLURM_ARRAY_TASK_MAX")?;
        let is_range = max.is_none_or(|max| (max.saturating_sub(min)) / step + 1 == count);
        match index.filter(|index| *index < count && is_range) {
            Some(index) => Ok(Some((index, count))),
            None => Err(format!(
                "the indices of Slurm's job array are no range: {ID} is {id} of {count} from {min} on; submit it with \
                 --array=0-{}",
                count.saturating_sub(1)
            )),
        }
    }

    /// The place of a process among those that `srun` started, and their number.
    fn slurm_task(&self) -> Result<Option<(u64, u64)>, String> {
        const ID: &str = "SLURM_PROCID";
        let Some(id) = self.number(ID)? else {
            return Ok(None);
        };
        let of_step = self.number("SLURM_STEP_NUM_TASKS")?;
        let of = match of_step {
            Some(of) => of,
            None => self.number("SLURM_NTASKS")?.unwrap_or(1),
        };
        // A batch script is one process, however many tasks its job may have.
        let in_step = (self.0)("SLURM_STEP_ID").is_some() || (self.0)("SLURM_JOB_ID").is_none();
        if of > 1 && !in_step {
            return Err(format!(
                "Slurm's job has {of} tasks, and this is its batch script, which runs once: start kiln with `srun`"
            ));
        }
        if id >= of {
            return Err(format!(
                "{ID} is {id} of {of} tasks in the environment, expected less"
            ));
        }
        Ok(Some((id, of)))
    }

    fn slurm(&self) -> Result<Option<Found>, String> {
        let (array, task) = (self.slurm_array()?, self.slurm_task()?);
        // Each task of an array may have several processes.
        let (index, of) = match (array, task) {
            (None, None) => return Ok(None),
            (Some(array), None) => array,
            (None, Some(task)) => task,
            (Some((at, arrays)), Some((id, of))) => (at * of + id, arrays.saturating_mul(of)),
        };
        let variable = if array.is_some() {
            "SLURM_ARRAY_TASK_ID"
        } else {
            "SLURM_PROCID"
        };
        // One process alone is no job of several.
        Ok((of > 1 || array.is_some()).then_some(Found {
            system: "Slurm",
            index,
            of: Some(of),
            variable,
        }))
    }

    fn aws_batch(&self) -> Result<Option<Found>, String> {
        const ID: &str = "AWS_BATCH_JOB_ARRAY_INDEX";
        let Some(index) = self.number(ID)? else {
            return Ok(None);
        };
        Ok(Some(Found {
            system: "AWS Batch",
            index,
            of: self.number("AWS_BATCH_JOB_ARRAY_SIZE")?,
            variable: ID,
        }))
    }

    fn kubernetes(&self) -> Result<Option<Found>, String> {
        const ID: &str = "JOB_COMPLETION_INDEX";
        Ok(self.number(ID)?.map(|index| Found {
            system: "Kubernetes",
            index,
            of: None,
            variable: ID,
        }))
    }

    fn parallel(&self) -> Result<Option<Found>, String> {
        const ID: &str = "PARALLEL_SEQ";
        let Some(number) = self.number(ID)? else {
            return Ok(None);
        };
        let index = number.checked_sub(1);
        let index =
            index.ok_or_else(|| format!("{ID} is 0 in the environment, expected 1 or more"))?;
        Ok(Some(Found {
            system: "GNU parallel",
            index,
            of: None,
            variable: ID,
        }))
    }
}

impl Shard {
    /// Returns the shard of this process, from the variables that the system which started it sets; `of` is their number
    /// where that system does not say it: Kubernetes and GNU parallel do not.
    ///
    /// # Errors
    ///
    /// Says what is missing or contradicts itself: no system, several, or no number of processes.
    pub fn from_environment(
        of: Option<u64>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let environment = Environment(variable);
        let found = [
            environment.slurm()?,
            environment.aws_batch()?,
            environment.kubernetes()?,
            environment.parallel()?,
        ];
        let found: Vec<Found> = found.into_iter().flatten().collect();
        let found = match found.as_slice() {
            [found] => found,
            [] => {
                return Err(
                    "the environment has no job array of Slurm, AWS Batch, Kubernetes or GNU parallel: give the shard as \
                     i/n"
                    .into(),
                );
            }
            [first, second, ..] => {
                return Err(format!(
                    "the environment has a job of {} ({}) and one of {} ({}): give the shard as i/n",
                    first.system, first.variable, second.system, second.variable
                ));
            }
        };
        let of = match (found.of, of) {
            (Some(found_of), Some(of)) if found_of != of => {
                return Err(format!(
                    "{} has {found_of} processes, and auto/{of} says {of}",
                    found.system
                ));
            }
            (Some(of), _) | (None, Some(of)) => of,
            (None, None) => {
                return Err(format!(
                    "{} tells a process its number ({}) and not how many there are: write auto/n, such as auto/4",
                    found.system, found.variable
                ));
            }
        };
        let number = found.index.saturating_add(1);
        format!("{number}/{of}").parse().map_err(|_| {
            format!(
                "{} is process {number} of {of} by {}: expected at most as many as there are",
                found.system, found.variable
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(of: Option<u64>, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Shard::from_environment(of, &variable).map(|shard| shard.to_string())
    }

    fn array(id: &'static str) -> Vec<(&'static str, &'static str)> {
        vec![
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_MAX", "7"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
        ]
    }

    #[test]
    fn each_system_gives_a_share() {
        assert_eq!(shard(None, &array("5")).unwrap(), "3/4");
        assert_eq!(shard(Some(4), &array("1")).unwrap(), "1/4");
        let tasks = [("SLURM_PROCID", "2"), ("SLURM_NTASKS", "3")];
        assert_eq!(shard(None, &tasks).unwrap(), "3/3");
        // Two processes in each of four tasks.
        let both = [
            ("SLURM_PROCID", "1"),
            ("SLURM_STEP_NUM_TASKS", "2"),
            ("SLURM_JOB_ID", "9"),
            ("SLURM_STEP_ID", "0"),
        ];
        assert_eq!(
            shard(None, &[array("3"), both.to_vec()].concat()).unwrap(),
            "4/8"
        );
        let aws = [
            ("AWS_BATCH_JOB_ARRAY_INDEX", "0"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "10"),
        ];
        assert_eq!(shard(None, &aws).unwrap(), "1/10");
        assert_eq!(
            shard(Some(3), &[("JOB_COMPLETION_INDEX", "2")]).unwrap(),
            "3/3"
        );
        assert_eq!(
            shard(Some(3), &[("PARALLEL_SEQ", "1"), ("PARALLEL_JOBSLOT", "3")]).unwrap(),
            "1/3"
        );
        // A job of one process that runs GNU parallel.
        let inside = [
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "1"),
            ("PARALLEL_SEQ", "2"),
        ];
        assert_eq!(shard(Some(2), &inside).unwrap(), "2/2");
    }

    #[test]
    fn what_is_no_share_says_why() {
        for (of, variables, expected) in [
            (None, &[][..], "has no job array"),
            (None, &[("JOB_COMPLETION_INDEX", "2")], "write auto/n"),
            (None, &[("PARALLEL_SEQ", "2")], "write auto/n"),
            (Some(2), &[("PARALLEL_SEQ", "3")], "process 3 of 2"),
            (Some(2), &[("PARALLEL_SEQ", "x")], "expected a whole number"),
            (
                Some(2),
                &[("PARALLEL_SEQ", "1"), ("JOB_COMPLETION_INDEX", "0")],
                "one of GNU parallel",
            ),
            (
                Some(3),
                &[
                    ("AWS_BATCH_JOB_ARRAY_INDEX", "0"),
                    ("AWS_BATCH_JOB_ARRAY_SIZE", "2"),
                ],
                "AWS Batch has 2 processes, and auto/3 says 3",
            ),
            (
                None,
                &[("SLURM_ARRAY_TASK_ID", "1")],
                "SLURM_ARRAY_TASK_MIN is not",
            ),
            (
                None,
                &[
                    ("SLURM_PROCID", "0"),
                    ("SLURM_NTASKS", "4"),
                    ("SLURM_JOB_ID", "1"),
                ],
                "start kiln with `srun`",
            ),
            (Some(0), &[("PARALLEL_SEQ", "1")], "process 1 of 0"),
        ] {
            let message = shard(of, variables).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let mut gaps = array("4");
        assert!(shard(None, &gaps).unwrap_err().contains("--array=0-3"));
        gaps[2].1 = "90";
        gaps[0].1 = "3";
        assert!(shard(None, &gaps).unwrap_err().contains("no range"));
    }
}
