//! Credentials and endpoint of Google Cloud Storage, as gcloud and Google's libraries take them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use serde::Deserialize;

use super::{Authority, Found, Secret, agent, agent_without_proxy, answer, get, unusable};
use crate::environment::Environment;
use crate::error::StoreError;
use crate::request::Endpoint;
use crate::sign;

/// Longest wait for the token service.
const SERVICE: Duration = Duration::from_secs(10);

/// Longest wait for the service of a machine on Google's cloud, which is not there elsewhere.
const MACHINE: Duration = Duration::from_secs(1);

/// What a token is for.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";

/// Longest life of a token that is asked for with a signature.
const LIFE: u64 = 3600;

/// What is known of how Google Cloud Storage is to be used.
#[derive(Debug)]
pub(crate) struct Google {
    environment: Environment,
    pub endpoint: Endpoint,
}

/// A file of credentials.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount {
        client_email: String,
        private_key_id: Option<String>,
        private_key: String,
        token_uri: String,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        token_uri: Option<String>,
    },
    #[serde(other)]
    Other,
}

/// What the token service sends.
#[derive(Deserialize)]
struct Sent {
    access_token: String,
    expires_in: u64,
}

impl Sent {
    fn found(self, with: String) -> Found {
        Found {
            authority: Authority::Bearer(Secret::new(self.access_token)),
            with,
            ends: SystemTime::now().checked_add(Duration::from_secs(self.expires_in)),
        }
    }
}

impl Google {
    pub fn new(environment: &Environment) -> Self {
        Self {
            environment: environment.clone(),
            endpoint: Endpoint::new(environment.get("STORAGE_EMULATOR_HOST"), String::new()),
        }
    }

    /// Finds credentials.
    ///
    /// # Errors
    ///
    /// If some are specified and cannot be used.
    pub fn find(&self) -> Result<Found, StoreError> {
        let environment = &self.environment;
        for name in ["GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"] {
            if let Some(token) = environment.get(name) {
                return Ok(Found {
                    authority: Authority::Bearer(Secret::new(token)),
                    with: format!("with the token in `{name}`"),
                    ends: None,
                });
            }
        }
        let named = environment.get("GOOGLE_APPLICATION_CREDENTIALS");
        let of_gcloud = || {
            let folder = environment.get("CLOUDSDK_CONFIG").map(Into::into);
            let folder = folder.or_else(|| match environment.get("APPDATA") {
                Some(folder) if cfg!(windows) => {
                    Some(std::path::PathBuf::from(folder).join("gcloud"))
                }
                _ => environment.home(".config/gcloud"),
            })?;
            Some(folder.join("application_default_credentials.json"))
        };
        let path = named.as_ref().map(Into::into).or_else(of_gcloud);
        if let Some(path) = path
            && (named.is_some() || path.is_file())
        {
            let name = format!("the credentials in `{}`", path.display());
            let text = std::fs::read_to_string(&path)
                .map_err(|error| unusable(&name, error.to_string()))?;
            return of_file(&text, &name);
        }
        if self.endpoint.url.is_some() {
            return Ok(Found::none());
        }
        Ok(self.of_machine().unwrap_or_else(Found::none))
    }

    /// Asks the service of a machine on Google's cloud; nothing is found elsewhere.
    fn of_machine(&self) -> Option<Found> {
        if self.environment.is_set("NO_GCE_CHECK") {
            return None;
        }
        let host = self.environment.get("GCE_METADATA_HOST");
        let host = host.as_deref().unwrap_or("metadata.google.internal");
        let url =
            format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
        let (200, json) = get(
            &agent_without_proxy(MACHINE),
            &url,
            &[("metadata-flavor", "Google")],
        )
        .ok()?
        else {
            return None;
        };
        let sent: Sent = serde_json::from_str(&json).ok()?;
        Some(sent.found("with the credentials of this machine's service account".into()))
    }
}

/// Gets a token by a file of credentials.
fn of_file(text: &str, name: &str) -> Result<Found, StoreError> {
    // Messages of the parser may quote what it reads.
    let file: File = serde_json::from_str(text).map_err(|_| {
        unusable(
            name,
            "expected JSON as Google's console and gcloud write it",
        )
    })?;
    let (url, body) = match file {
        File::ServiceAccount {
            client_email,
            private_key_id,
            private_key,
            token_uri,
        } => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            let header = serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": private_key_id });
            let claims = serde_json::json!({
                "iss": client_email, "scope": SCOPE, "aud": token_uri, "iat": now, "exp": now + LIFE,
            });
            let encode =
                |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            let text = format!("{}.{}", encode(&header), encode(&claims));
            let signature = rsa(&private_key, &text)
                .ok_or_else(|| unusable(name, "its private key is malformed"))?;
            let assertion = format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
            let body = format!(
                "grant_type={}&assertion={assertion}",
                sign::query("urn:ietf:params:oauth:grant-type:jwt-bearer")
            );
            (token_uri, body)
        }
        File::AuthorizedUser {
            client_id,
            client_secret,
            refresh_token,
            token_uri,
        } => (
            token_uri.unwrap_or_else(|| "https://oauth2.googleapis.com/token".into()),
            format!(
                "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
                sign::query(&client_id),
                sign::query(&client_secret),
                sign::query(&refresh_token)
            ),
        ),
        File::Other => {
            return Err(unusable(
                name,
                "expected those of a service account or a user; others are not supported",
            ));
        }
    };
    let sent = agent(SERVICE)
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .send(body);
    let (status, json) = answer(sent).map_err(|reason| unusable(name, reason))?;
    let sent: Option<Sent> = serde_json::from_str(&json).ok().filter(|_| status == 200);
    let sent =
        sent.ok_or_else(|| unusable(name, format!("the token service answered {status}")))?;
    Ok(sent.found(format!("with {name}")))
}

/// Signs a text by a private key in PEM.
fn rsa(pem: &str, text: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: String = body.split_whitespace().collect();
    let key = KeyPair::from_pkcs8(&BASE64_STANDARD.decode(body).ok()?).ok()?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .ok()?;
    Some(signature)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;
    use crate::testing::{Server, answer};

    const KEY: &str = include_str!("key_for_tests.pem");

    const TOKEN: &[u8] =
        br#"{"access_token": "TOKEN", "expires_in": 3600, "token_type": "Bearer"}"#;

    fn found(file: &Path, json: &serde_json::Value) -> Result<Found, StoreError> {
        fs::write(file, json.to_string()).unwrap();
        let variables = [("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())];
        Google::new(&Environment::of(variables)).find()
    }

    fn token(found: &Found) -> &str {
        match &found.authority {
            Authority::Bearer(token) => token.get(),
            Authority::None | Authority::Keys(_) => panic!("{found:?}"),
        }
    }

    #[test]
    fn a_service_account_signs_for_a_token() {
        let server = Server::start(|_| answer("200 OK", "", TOKEN));
        let file = tempfile::NamedTempFile::new().unwrap();
        let account = serde_json::json!({
            "type": "service_account", "client_email": "me@example", "private_key_id": "1", "private_key": KEY,
            "token_uri": server.base(), "project_id": "x",
        });
        let found = found(file.path(), &account).unwrap();
        assert_eq!(token(&found), "TOKEN");
        assert!(found.is_fresh(SystemTime::now()));
        let body = server.asked()[0].body.clone();
        let assertion = body.split_once("&assertion=").unwrap().1;
        let (text, signature) = assertion.rsplit_once('.').unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD
            .decode(text.split_once('.').unwrap().1)
            .unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(
            (&claims["iss"], &claims["scope"]),
            (&"me@example".into(), &SCOPE.into())
        );
        let body: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
        let key = KeyPair::from_pkcs8(&BASE64_STANDARD.decode(body).unwrap()).unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public())
            .verify(text.as_bytes(), &signature)
            .unwrap();
    }

    #[test]
    fn a_user_has_a_token_for_tokens() {
        let server = Server::start(|asked| {
            if asked.body.contains("refresh_token=REFRESH") {
                answer("200 OK", "", TOKEN)
            } else {
                answer("400 Bad Request", "", br#"{"error": "invalid_grant"}"#)
            }
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        let user = |refresh: &str| {
            serde_json::json!({
                "type": "authorized_user", "client_id": "a", "client_secret": "SECRET", "refresh_token": refresh,
                "token_uri": server.base(),
            })
        };
        assert_eq!(
            token(&found(file.path(), &user("REFRESH")).unwrap()),
            "TOKEN"
        );
        let error = found(file.path(), &user("OLD")).unwrap_err().to_string();
        assert!(
            error.contains("the token service answered 400") && !error.contains("SECRET"),
            "{error}"
        );
    }

    #[test]
    fn others_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (json, expected) in [
            (
                serde_json::json!({ "type": "external_account" }),
                "others are not supported",
            ),
            (
                serde_json::json!({ "installed": {} }),
                "expected JSON as Google's console",
            ),
            (
                serde_json::json!({
                    "type": "service_account", "client_email": "x", "private_key": "SECRET", "token_uri": "http://localhost",
                }),
                "its private key is malformed",
            ),
        ] {
            let error = found(file.path(), &json).unwrap_err().to_string();
            assert!(
                error.contains(expected) && !error.contains("SECRET"),
                "{error}"
            );
        }
    }

    #[test]
    fn variables_and_machines_have_tokens() {
        let server = Server::start(|asked| match asked.header("metadata-flavor") {
            Some("Google") => answer("200 OK", "", TOKEN),
            _ => answer("403 Forbidden", "", b""),
        });
        let of = |environment| Google::new(&environment).find().unwrap();
        let base = server.base();
        let host = base.strip_prefix("http://").unwrap();
        assert_eq!(
            token(&of(Environment::of([(
                "CLOUDSDK_AUTH_ACCESS_TOKEN",
                "MINE"
            )]))),
            "MINE"
        );
        assert_eq!(
            token(&of(Environment::of([("GCE_METADATA_HOST", host)]))),
            "TOKEN"
        );
        assert_eq!(
            of(Environment::of([("NO_GCE_CHECK", "true")])),
            Found::none()
        );
        assert_eq!(
            of(Environment::of([("STORAGE_EMULATOR_HOST", &base)])),
            Found::none()
        );
    }
}
