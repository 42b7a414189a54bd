//! Credentials, region and endpoint of Amazon S3, as the AWS CLI takes them.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::profile::Profile;
use super::{Authority, Found, Keys, Secret, agent, agent_without_proxy, answer, get, unusable};
use crate::environment::Environment;
use crate::error::StoreError;
use crate::list;
use crate::request::Endpoint;
use crate::sign;

/// Longest wait for a service in a container or on the network.
const SERVICE: Duration = Duration::from_secs(10);

/// Longest wait for the service of a machine on EC2, which is not there elsewhere.
const MACHINE: Duration = Duration::from_secs(1);

/// Hosts that may be told a container's token without TLS, as Amazon's programs have it.
const CONTAINER_HOSTS: [&str; 5] = [
    "169.254.170.2",
    "169.254.170.23",
    "127.0.0.1",
    "localhost",
    "[::1]",
];

/// What is known of how Amazon S3 is to be used.
#[derive(Debug)]
pub(crate) struct Amazon {
    environment: Environment,
    pub endpoint: Endpoint,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

/// Credentials as services send them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sent {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
    expiration: Option<String>,
}

impl Sent {
    fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    fn found(self, with: &str) -> Found {
        Found {
            authority: Authority::Keys(Keys {
                id: self.access_key_id,
                secret: Secret::new(self.secret_access_key),
                token: self.token.map(Secret::new),
            }),
            with: format!("with the credentials {with}"),
            ends: self.expiration.and_then(|text| sign::time(&text)),
        }
    }
}

impl Amazon {
    pub fn new(environment: &Environment) -> Self {
        let profile = Profile::read(environment);
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
            .iter()
            .find_map(|name| environment.get(name))
            .or_else(|| profile.endpoint().map(str::to_owned));
        let endpoint =
            endpoint.filter(|_| !environment.is_set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"));
        let region = ["AWS_REGION", "AWS_DEFAULT_REGION"]
            .iter()
            .find_map(|name| environment.get(name))
            .or_else(|| profile.get("region").map(str::to_owned))
            .unwrap_or_else(|| "us-east-1".to_owned());
        Self {
            environment: environment.clone(),
            endpoint: Endpoint::new(endpoint, region),
        }
    }

    /// Finds credentials.
    ///
    /// # Errors
    ///
    /// If some are specified and cannot be used.
    pub fn find(&self) -> Result<Found, StoreError> {
        let environment = &self.environment;
        if environment.is_set("AWS_SKIP_SIGNATURE") {
            return Ok(Found::none());
        }
        if let Some(id) = environment.get("AWS_ACCESS_KEY_ID") {
            let secret = environment.get("AWS_SECRET_ACCESS_KEY").ok_or_else(|| {
                unusable("`AWS_ACCESS_KEY_ID`", "`AWS_SECRET_ACCESS_KEY` is not set")
            })?;
            return Ok(Found {
                authority: Authority::Keys(Keys {
                    id,
                    secret: Secret::new(secret),
                    token: environment.get("AWS_SESSION_TOKEN").map(Secret::new),
                }),
                with: "with the credentials in `AWS_ACCESS_KEY_ID`".into(),
                ends: None,
            });
        }
        if let (Some(role), Some(file)) = (
            environment.get("AWS_ROLE_ARN"),
            environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"),
        ) {
            return self.web_identity(&role, &file);
        }
        if let Some(found) = self.of_profile(&Profile::read(environment))? {
            return Ok(found);
        }
        if let Some(found) = self.of_container()? {
            return Ok(found);
        }
        Ok(self.of_machine().unwrap_or_else(Found::none))
    }

    fn of_profile(&self, profile: &Profile) -> Result<Option<Found>, StoreError> {
        let name = format!("the profile `{}`", profile.name);
        if profile.is_empty() {
            return match self.environment.get("AWS_PROFILE") {
                Some(_) => Err(unusable(name, "no file of profiles has it")),
                None => Ok(None),
            };
        }
        for (key, what) in [
            ("role_arn", "it assumes a role, which is not supported"),
            (
                "sso_session",
                "it signs in through a browser, which is not supported",
            ),
            (
                "sso_account_id",
                "it signs in through a browser, which is not supported",
            ),
            (
                "login_session",
                "it signs in through a browser, which is not supported",
            ),
        ] {
            if profile.get(key).is_some() {
                return Err(unusable(name, what));
            }
        }
        if let Some(id) = profile.get("aws_access_key_id") {
            let secret = profile
                .get("aws_secret_access_key")
                .ok_or_else(|| unusable(&name, "it has no `aws_secret_access_key`"))?;
            return Ok(Some(Found {
                authority: Authority::Keys(Keys {
                    id: id.to_owned(),
                    secret: Secret::new(secret),
                    token: profile.get("aws_session_token").map(Secret::new),
                }),
                with: format!("with the credentials of {name}"),
                ends: None,
            }));
        }
        match profile.get("credential_process") {
            Some(command) => of_process(command, &name).map(Some),
            None => Ok(None),
        }
    }

    /// Exchanges the token in a file, as pods of Kubernetes have one, for the credentials of a role.
    fn web_identity(&self, role: &str, file: &str) -> Result<Found, StoreError> {
        let name = "the web identity in `AWS_WEB_IDENTITY_TOKEN_FILE`";
        let token = std::fs::read_to_string(file)
            .map_err(|error| unusable(name, format!("`{file}`: {error}")))?;
        let region = &self.endpoint.region;
        let url = self
            .environment
            .get("AWS_ENDPOINT_URL_STS")
            .unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com"));
        let session = self.environment.get("AWS_ROLE_SESSION_NAME");
        let body = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            sign::query(role),
            sign::query(session.as_deref().unwrap_or("kiln")),
            sign::query(token.trim())
        );
        let sent = agent(SERVICE)
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .send(body);
        let (status, xml) = answer(sent).map_err(|reason| unusable(name, reason))?;
        let field = |field| {
            list::first(&xml, field).ok_or_else(|| {
                let code =
                    list::error_code(&xml).map_or_else(String::new, |code| format!(" ({code})"));
                unusable(name, format!("the token service answered {status}{code}"))
            })
        };
        let sent = Sent {
            access_key_id: field("AccessKeyId")?,
            secret_access_key: field("SecretAccessKey")?,
            token: Some(field("SessionToken")?),
            expiration: Some(field("Expiration")?),
        };
        Ok(sent.found("of the web identity in `AWS_WEB_IDENTITY_TOKEN_FILE`"))
    }

    /// Asks the service that containers of ECS, Batch and EKS have.
    fn of_container(&self) -> Result<Option<Found>, StoreError> {
        let environment = &self.environment;
        let (url, name) = match (
            environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ) {
            (Some(path), _) => (
                format!("http://169.254.170.2{path}"),
                "`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`",
            ),
            (None, Some(url)) => (url, "`AWS_CONTAINER_CREDENTIALS_FULL_URI`"),
            (None, None) => return Ok(None),
        };
        let host = url.split_once("://").map_or("", |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        if !url.starts_with("https://") && !CONTAINER_HOSTS.contains(&host) {
            return Err(unusable(
                name,
                "expected a URL with `https`, or of this machine",
            ));
        }
        let token = match environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(
                std::fs::read_to_string(&file)
                    .map_err(|error| unusable(name, format!("`{file}`: {error}")))?,
            ),
            None => environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let token = token
            .as_deref()
            .map(|token| ("authorization", token.trim()));
        let headers: Vec<(&str, &str)> = token.into_iter().collect();
        let (status, json) = get(&agent_without_proxy(SERVICE), &url, &headers)
            .map_err(|reason| unusable(name, reason))?;
        let sent = Sent::read(&json).filter(|_| status == 200);
        let sent = sent.ok_or_else(|| unusable(name, format!("the service answered {status}")))?;
        Ok(Some(sent.found("of the container")))
    }

    /// Asks the service of a machine on EC2; nothing is found elsewhere, which takes a second at most.
    fn of_machine(&self) -> Option<Found> {
        if self.environment.is_set("AWS_EC2_METADATA_DISABLED") {
            return None;
        }
        let base = self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let base = base
            .as_deref()
            .unwrap_or("http://169.254.169.254")
            .trim_end_matches('/');
        let agent = agent_without_proxy(MACHINE);
        let asked = agent
            .put(format!("{base}/latest/api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
            .send_empty();
        let (200, token) = answer(asked).ok()? else {
            return None;
        };
        let headers = [("x-aws-ec2-metadata-token", token.trim())];
        let roles = format!("{base}/latest/meta-data/iam/security-credentials/");
        let (200, role) = get(&agent, &roles, &headers).ok()? else {
            return None;
        };
        let role = role.lines().next()?.trim();
        let (200, json) = get(&agent, &format!("{roles}{role}"), &headers).ok()? else {
            return None;
        };
        Some(Sent::read(&json)?.found("of this machine's role"))
    }
}

/// Runs the command that a profile has for its credentials.
fn of_process(command: &str, name: &str) -> Result<Found, StoreError> {
    let fail = |reason: String| unusable(name, format!("its `credential_process` {reason}"));
    let (shell, option) = if cfg!(windows) {
        ("cmd", "/C")
    } else {
        ("sh", "-c")
    };
    let output = Command::new(shell)
        .args([option, command])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| fail(format!("cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(fail(format!("failed ({})", output.status)));
    }
    let sent = Sent::read(&String::from_utf8_lossy(&output.stdout));
    let sent = sent.ok_or_else(|| fail("did not write credentials as JSON".into()))?;
    Ok(sent.found(&format!("of {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, answer};

    fn found<const N: usize>(variables: [(&str, &str); N]) -> Result<Found, StoreError> {
        Amazon::new(&Environment::of(variables)).find()
    }

    fn keys(found: &Found) -> (&str, &str, Option<&str>) {
        match &found.authority {
            Authority::Keys(keys) => (
                &keys.id,
                keys.secret.get(),
                keys.token.as_ref().map(Secret::get),
            ),
            Authority::None | Authority::Bearer(_) => panic!("{found:?}"),
        }
    }

    #[test]
    fn variables_come_first() {
        let found = found([
            ("AWS_ACCESS_KEY_ID", "ID"),
            ("AWS_SECRET_ACCESS_KEY", "SECRET"),
            ("AWS_SESSION_TOKEN", "TOKEN"),
            ("AWS_PROFILE", "nobody"),
        ])
        .unwrap();
        assert_eq!(keys(&found), ("ID", "SECRET", Some("TOKEN")));
        let printed = format!("{found:?}");
        assert!(
            !printed.contains("SECRET") && !printed.contains("TOKEN\""),
            "{printed}"
        );
    }

    #[test]
    fn what_is_half_specified_is_an_error() {
        for (variables, expected) in [
            (
                [("AWS_ACCESS_KEY_ID", "ID"), ("HOME", "/nowhere")],
                "`AWS_SECRET_ACCESS_KEY` is not set",
            ),
            (
                [("AWS_PROFILE", "x"), ("HOME", "/nowhere")],
                "no file of profiles has it",
            ),
            (
                [
                    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://far/x"),
                    ("HOME", "/nowhere"),
                ],
                "of this machine",
            ),
        ] {
            let message = found(variables).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_profile_has_keys_a_command_or_what_is_not_supported() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::write(
            &config,
            "[profile keys]\naws_access_key_id = ID\naws_secret_access_key = SECRET\n[profile sso]\nsso_session = x\n\
             [profile role]\nrole_arn = x\n[profile command]\ncredential_process = echo '{\"Version\": 1, \
             \"AccessKeyId\": \"ID2\", \"SecretAccessKey\": \"S2\", \"SessionToken\": \"T2\", \"Expiration\": \
             \"2100-01-01T00:00:00Z\"}'\n[profile broken]\ncredential_process = exit 3\n",
        )
        .unwrap();
        let of = |profile| {
            found([
                ("AWS_PROFILE", profile),
                ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ])
        };
        assert_eq!(keys(&of("keys").unwrap()), ("ID", "SECRET", None));
        for (profile, expected) in [
            ("sso", "through a browser"),
            ("role", "assumes a role"),
            ("broken", "failed"),
        ] {
            let message = of(profile).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        if cfg!(unix) {
            let command = of("command").unwrap();
            assert_eq!(keys(&command), ("ID2", "S2", Some("T2")));
            assert!(command.is_fresh(std::time::SystemTime::now()));
        }
    }

    #[test]
    fn containers_machines_and_web_identities_have_services() {
        let json = br#"{"AccessKeyId": "ID", "SecretAccessKey": "SECRET", "Token": "T", "Expiration": "2026-01-01T00:00:00Z"}"#;
        let server = Server::start(move |request| {
            match request.path.as_str() {
            "/container" if request.header("authorization") == Some("Bearer x") => answer("200 OK", "", json),
            "/latest/api/token" => answer("200 OK", "", b"SESSION"),
            path if path.starts_with("/latest") && request.header("x-aws-ec2-metadata-token") == Some("SESSION") => {
                if path.ends_with('/') {
                    answer("200 OK", "", b"role")
                } else {
                    answer("200 OK", "", json)
                }
            }
            "/" if request.body.contains("WebIdentityToken=JWT") => answer(
                "200 OK",
                "",
                b"<R><Credentials><AccessKeyId>WI</AccessKeyId><SecretAccessKey>WS</SecretAccessKey><SessionToken>WT\
                  </SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></R>",
            ),
            _ => answer("403 Forbidden", "", b"<R><Error><Code>InvalidIdentityToken</Code></Error></R>"),
        }
        });
        let base = server.base();
        let container = format!("{base}/container");
        let of_container = found([
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer x"),
        ])
        .unwrap();
        assert_eq!(keys(&of_container), ("ID", "SECRET", Some("T")));
        assert!(!of_container.is_fresh(std::time::SystemTime::now()));
        let of_machine = found([("AWS_EC2_METADATA_SERVICE_ENDPOINT", &base)]).unwrap();
        assert_eq!(
            of_machine.with,
            "with the credentials of this machine's role"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        let identity = || {
            found([
                ("AWS_ROLE_ARN", "arn:x"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap()),
                ("AWS_ENDPOINT_URL_STS", &base),
            ])
        };
        let message = identity().unwrap_err().to_string();
        assert!(
            message.ends_with("answered 403 (InvalidIdentityToken)"),
            "{message}"
        );
        std::fs::write(file.path(), "JWT\n").unwrap();
        assert_eq!(keys(&identity().unwrap()), ("WI", "WS", Some("WT")));
        let none = found([("AWS_EC2_METADATA_DISABLED", "true")]).unwrap();
        assert_eq!(none, Found::none());
    }
}
