//! Credentials, found where the stores' own programs look for them.
//!
//! | store | in this order |
//! | --- | --- |
//! | Amazon S3 | `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; a web identity (`AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`); the profile `AWS_PROFILE` in `~/.aws/credentials` and `~/.aws/config`; a container's (`AWS_CONTAINER_CREDENTIALS_…`); those of the machine on EC2 |
//! | Google | `GOOGLE_OAUTH_ACCESS_TOKEN` or `CLOUDSDK_AUTH_ACCESS_TOKEN`; the file `GOOGLE_APPLICATION_CREDENTIALS` or gcloud's; those of the machine on Google's cloud |
//!
//! Where there are none, requests go without: many buckets are public.

mod amazon;
mod google;
mod profile;

use std::fmt;
use std::time::{Duration, SystemTime};

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

pub(crate) use amazon::Amazon;
pub(crate) use google::Google;

use crate::error::{ANONYMOUS, StoreError};

/// How long before their end credentials are replaced.
const MARGIN: Duration = Duration::from_mins(5);

/// Longest answer with credentials.
const MAX_ANSWER: u64 = 1 << 20;

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn get(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Keys of Amazon's, with which requests are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    pub id: String,
    pub secret: Secret,
    /// Of keys that end after some time.
    pub token: Option<Secret>,
}

/// What a request shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authority {
    /// Nothing.
    None,
    /// A signature.
    Keys(Keys),
    /// A token in the header `Authorization`.
    Bearer(Secret),
}

/// Credentials that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub authority: Authority,
    /// What messages say of them, such as "with the credentials in `AWS_ACCESS_KEY_ID`".
    pub with: String,
    /// When they end; none of those that do not.
    pub ends: Option<SystemTime>,
}

impl Found {
    pub fn none() -> Self {
        Self {
            authority: Authority::None,
            with: ANONYMOUS.into(),
            ends: None,
        }
    }

    /// Whether they will do for a while.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.ends.is_none_or(|ends| now + MARGIN < ends)
    }
}

/// Specified credentials that cannot be used.
fn unusable(credentials: impl Into<String>, reason: impl Into<String>) -> StoreError {
    StoreError::Credentials {
        credentials: credentials.into(),
        reason: reason.into(),
    }
}

/// The client for services that give credentials: they answer at once, or are not there.
fn agent(timeout: Duration) -> Agent {
    config(timeout).build().new_agent()
}

/// The client for services of the machine itself, which no proxy is to be asked for.
fn agent_without_proxy(timeout: Duration) -> Agent {
    config(timeout).proxy(None).build().new_agent()
}

fn config(timeout: Duration) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
}

/// Sends a GET request; returns status and body. The reason for a failure holds no part of the request.
fn get(agent: &Agent, url: &str, headers: &[(&str, &str)]) -> Result<(u16, String), String> {
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.call())
}

fn answer(
    answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<(u16, String), String> {
    let mut response = answered.map_err(|error| crate::client::explain(&error))?;
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_string()
        .map_err(|error| crate::client::explain(&error))?;
    Ok((response.status().as_u16(), body))
}
