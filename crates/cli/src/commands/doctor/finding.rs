//! What was found, and how it is shown.

use serde::Serialize;

/// How something is, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// It is not there; kiln works without it.
    Missing,
    /// It is there or was asked for, and does not work.
    Broken,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Broken => "BROKEN",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    name: String,
    pub state: State,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

impl Finding {
    pub fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: State::Ok,
            found: found.into(),
            cure: None,
        }
    }

    pub fn missing(
        name: impl Into<String>,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            state: State::Missing,
            found: found.into(),
            cure: Some(cure.into()),
        }
    }

    pub fn broken(
        name: impl Into<String>,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            state: State::Broken,
            found: found.into(),
            cure: Some(cure.into()),
        }
    }
}

/// Things that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    name: &'static str,
    findings: Vec<Finding>,
}

impl Section {
    pub const fn new(name: &'static str, findings: Vec<Finding>) -> Self {
        Self { name, findings }
    }
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    kiln: &'static str,
    platform: String,
    /// The worst state of all findings.
    state: State,
    sections: Vec<Section>,
}

impl Report {
    pub fn new(sections: Vec<Section>) -> Self {
        let state = sections
            .iter()
            .flat_map(|section| &section.findings)
            .map(|finding| finding.state)
            .max();
        Self {
            kiln: kiln_util::VERSION,
            platform: kiln_util::platform(),
            state: state.unwrap_or(State::Ok),
            sections,
        }
    }

    pub const fn worst(&self) -> State {
        self.state
    }

    /// For people: a line for each finding, and below it its cure.
    pub fn text(&self) -> String {
        let findings = || self.sections.iter().flat_map(|section| &section.findings);
        let widest = findings()
            .map(|finding| finding.name.chars().count())
            .max()
            .unwrap_or(0);
        let mut lines = vec![format!("kiln {} on {}", self.kiln, self.platform)];
        for section in &self.sections {
            lines.extend([String::new(), section.name.to_owned()]);
            for Finding {
                name,
                state,
                found,
                cure,
            } in &section.findings
            {
                // What was found may have lines of its own.
                let indent = format!("\n{:1$}", "", widest + 13);
                let found = found.trim().replace('\n', &indent);
                lines.push(
                    format!("  {:<7}  {name:<widest$}  {found}", state.word())
                        .trim_end()
                        .to_owned(),
                );
                lines.extend(
                    cure.as_ref()
                        .map(|cure| format!("{:1$}→ {cure}", "", widest + 13)),
                );
            }
        }
        let broken = findings()
            .filter(|finding| finding.state == State::Broken)
            .count();
        lines.push(match broken {
            0 => "\nNothing that kiln needs is broken.".to_owned(),
            1 => "\n1 thing is broken.".to_owned(),
            n => format!("\n{n} things are broken."),
        });
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gap_has_its_cure_below_it() {
        let report = Report::new(vec![
            Section::new(
                "Engines",
                vec![
                    Finding::ok("tract", "0.23"),
                    Finding::missing("ort", "no\nlibrary", "get it"),
                ],
            ),
            Section::new(
                "Cache",
                vec![Finding::broken(
                    "mnist",
                    "damaged",
                    "run `kiln fetch mnist`",
                )],
            ),
        ]);
        let text = report.text();
        let expected = "
Engines
  ok       tract  0.23
  missing  ort    no
                  library
                  → get it

Cache
  BROKEN   mnist  damaged
                  → run `kiln fetch mnist`

1 thing is broken.
";
        assert_eq!(text.split_once('\n').unwrap().1, expected, "{text}");
        assert_eq!(report.worst(), State::Broken);
        assert_eq!(Report::new(Vec::new()).worst(), State::Ok);
    }
}
