//! The files of profiles that Amazon's programs share, `~/.aws/credentials` and `~/.aws/config`.

use std::collections::HashMap;

use crate::environment::Environment;

/// The settings of a profile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub name: String,
    settings: HashMap<String, String>,
    /// Those of the section of services that it names.
    services: HashMap<String, String>,
}

impl Profile {
    /// Reads the profile `AWS_PROFILE`, else `default`; empty where no file has it.
    pub fn read(environment: &Environment) -> Self {
        let named = environment.get("AWS_PROFILE");
        let name = named.or_else(|| environment.get("AWS_DEFAULT_PROFILE"));
        let name = name.unwrap_or_else(|| "default".to_owned());
        let read =
            |variable, below| sections(&environment.file(variable, below).unwrap_or_default());
        let mut config = read("AWS_CONFIG_FILE", ".aws/config");
        let mut credentials = read("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
        let mut settings = config
            .remove(&format!("profile {name}"))
            .unwrap_or_default();
        if name == "default" {
            settings.extend(config.remove("default").unwrap_or_default());
        }
        settings.extend(credentials.remove(&name).unwrap_or_default());
        let services = settings.get("services");
        let services = services.and_then(|services| config.remove(&format!("services {services}")));
        Self {
            name,
            settings,
            services: services.unwrap_or_default(),
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// Returns the endpoint of S3.
    pub fn endpoint(&self) -> Option<&str> {
        let of_service = self.services.get("s3.endpoint_url").map(String::as_str);
        of_service.or_else(|| self.get("endpoint_url"))
    }

    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }
}

/// Sections by name, with their settings; one below another, as in `s3 =` and `  endpoint_url = …`, is `s3.endpoint_url`.
fn sections(text: &str) -> HashMap<String, HashMap<String, String>> {
    let mut sections: HashMap<String, HashMap<String, String>> = HashMap::new();
    let mut section = None;
    let mut outer = String::new();
    for line in text.lines() {
        let is_indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default();
            // `[profile  x]` and `[profile "x"]` are the same.
            let words = name.split_whitespace().map(|word| word.trim_matches('"'));
            let name = words.collect::<Vec<_>>().join(" ");
            sections.entry(name.clone()).or_default();
            section = Some(name);
            outer.clear();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let key = key.trim().to_lowercase();
        let value = value.split(" #").next().unwrap_or_default().trim();
        let settings = section
            .as_ref()
            .and_then(|section| sections.get_mut(section));
        let Some(settings) = settings else { continue };
        if is_indented && !outer.is_empty() {
            settings.insert(format!("{outer}.{key}"), value.to_owned());
        } else if value.is_empty() {
            outer = key;
        } else {
            outer.clear();
            settings.insert(key, value.to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_profile_is_in_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let aws = folder.path().join(".aws");
        fs::create_dir(&aws).unwrap();
        fs::write(
            aws.join("config"),
            "# comment\n[default]\nregion = eu-west-1\n[profile  lab]\nRegion=us-west-2 # here\ns3 =\n  addressing_style = path\n\
             services = own\n[services own]\ns3 =\n  endpoint_url = http://lab:9000\n",
        )
        .unwrap();
        fs::write(
            aws.join("credentials"),
            "[lab]\naws_access_key_id = ID\naws_secret_access_key=a=b/c\n",
        )
        .unwrap();
        let home = folder.path().to_str().unwrap();
        let lab = Profile::read(&Environment::of([("HOME", home), ("AWS_PROFILE", "lab")]));
        assert_eq!(lab.get("region"), Some("us-west-2"));
        assert_eq!(lab.get("s3.addressing_style"), Some("path"));
        assert_eq!(lab.endpoint(), Some("http://lab:9000"));
        assert_eq!(lab.get("aws_secret_access_key"), Some("a=b/c"));
        let default = Profile::read(&Environment::of([("HOME", home)]));
        assert_eq!(
            (
                default.get("region"),
                default.get("aws_access_key_id"),
                default.endpoint()
            ),
            (Some("eu-west-1"), None, None)
        );
        assert!(Profile::read(&Environment::of([("AWS_PROFILE", "x")])).is_empty());
    }
}
