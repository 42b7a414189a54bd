//! Requests, sent again where they fail.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderName, Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::address::{Address, Store};
use crate::credentials::{Amazon, Authority, Found, Google};
use crate::environment::Environment;
use crate::error::{Answer, StoreError};
use crate::list;
use crate::request::{Endpoint, Request, web};
use crate::sign::sign;

/// Longest wait for a name to resolve, and for a connection to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest silence in the middle of an answer.
const STALL: Duration = Duration::from_secs(30);

/// Connections that are kept for the next requests.
const KEPT: usize = 32;

/// Longest body of an error that is looked at.
const MAX_ERROR: u64 = 64 << 10;

/// Longest part of a list, of a thousand keys of a kibibyte each, which escapes may make longer.
const MAX_LIST: u64 = 16 << 20;

/// How often a request is made that gets nowhere, and how long is waited in between.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Attempts as long as no server has ever answered: the name of a host may be wrong.
    at_first: u32,
    /// Attempts later on, one after another that did not get a byte.
    later: u32,
    /// The first pause; each one is twice as long as the one before.
    pause: Duration,
    /// The longest pause.
    longest: Duration,
}

impl Patience {
    /// Some 25 seconds.
    const USUAL: Self = Self {
        at_first: 3,
        later: 9,
        pause: Duration::from_millis(200),
        longest: Duration::from_secs(8),
    };
}

/// What stores and web servers are asked by: connections, credentials, and what was learned of buckets.
pub struct Client {
    environment: Environment,
    /// Redirects are for the client to judge: a signature is for one host.
    buckets: Agent,
    web: Agent,
    amazon: OnceLock<Amazon>,
    google: OnceLock<Google>,
    of_amazon: Mutex<Option<Found>>,
    of_google: Mutex<Option<Found>>,
    /// The regions of buckets that are not in the usual one.
    regions: Mutex<HashMap<String, String>>,
    has_answered: AtomicBool,
    patience: Patience,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// An object as it was when it was opened or listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub address: Address,
    /// Number of bytes.
    pub length: u64,
    /// What tells it from others that were or will be in its place.
    etag: Option<String>,
}

/// How an attempt failed.
enum Failed {
    ForGood(StoreError),
    /// It may succeed the next time: at once, or after this pause at least.
    ForNow {
        reason: String,
        /// Whether it got a part of what it was for.
        got: bool,
        pause: Pause,
    },
}

impl Failed {
    /// An attempt that broke off, after the usual pause.
    fn broken(reason: String, got: bool) -> Self {
        Self::ForNow {
            reason,
            got,
            pause: Pause::Usual,
        }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::ForGood(error)
    }
}

enum Pause {
    None,
    Usual,
    AtLeast(Duration),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Creates a client that takes credentials and endpoints from these variables.
    pub fn new(environment: Environment) -> Self {
        Self::limited(environment, CONNECT, STALL, Patience::USUAL)
    }

    /// Returns the client of the process. Its connections and credentials are shared.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Client> = LazyLock::new(|| Client::new(Environment::of_process()));
        &SHARED
    }

    fn limited(
        environment: Environment,
        connect: Duration,
        stall: Duration,
        patience: Patience,
    ) -> Self {
        let agent = |redirects| {
            Agent::config_builder()
                .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
                // A range is one of the stored bytes, not of what they may be packed into.
                .accept_encoding("identity")
                .http_status_as_error(false)
                .max_redirects(redirects)
                .max_redirects_will_error(false)
                .max_idle_connections(KEPT)
                .max_idle_connections_per_host(KEPT)
                .timeout_resolve(Some(connect))
                .timeout_connect(Some(connect))
                .timeout_recv_response(Some(stall))
                .timeout_per_read(Some(stall))
                .build()
                .new_agent()
        };
        Self {
            environment,
            buckets: agent(0),
            web: agent(10),
            amazon: OnceLock::new(),
            google: OnceLock::new(),
            of_amazon: Mutex::new(None),
            of_google: Mutex::new(None),
            regions: Mutex::default(),
            has_answered: AtomicBool::new(false),
            patience,
        }
    }

    /// Asks for the length of a file.
    ///
    /// # Errors
    ///
    /// If it is not there or may not be read, or if its server sends no ranges.
    pub fn open(&self, address: &Address) -> Result<Object, StoreError> {
        // Of a presigned URL only GET is allowed, so a byte is asked for rather than the headers.
        let range = [(header::RANGE, "bytes=0-0".to_owned())];
        let response = self.persist(address, || {
            self.ask(address, &range, |endpoint, region| {
                request_of(address, endpoint, region)
            })
        })?;
        let length = match response.status() {
            StatusCode::PARTIAL_CONTENT => content_range(&response).map(|(_, _, total)| total),
            StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
            _ => response
                .body()
                .content_length()
                .filter(|length| *length == 0),
        };
        let length = length.ok_or_else(|| StoreError::NoRanges {
            url: address.to_string(),
        })?;
        Ok(Object {
            address: address.clone(),
            length,
            etag: etag(&response),
        })
    }

    /// Lists the objects of a bucket whose keys begin with that of an address, in the order of their keys.
    ///
    /// # Errors
    ///
    /// If there is no such bucket, it may not be listed, or the address is one of a web server.
    pub fn list(&self, address: &Address) -> Result<Vec<Object>, StoreError> {
        let Some((store, bucket, prefix)) = address.bucket() else {
            return Err(StoreError::NoLists {
                url: address.to_string(),
            });
        };
        let mut objects = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let body = self.persist(address, || {
                let mut response = self.ask(address, &[], |endpoint, region| {
                    endpoint.list(store, bucket, prefix, next.as_deref(), region)
                })?;
                let body = response
                    .body_mut()
                    .with_config()
                    .limit(MAX_LIST)
                    .read_to_string();
                body.map_err(|error| Failed::broken(explain(&error), false))
            })?;
            let page = list::read(&body).map_err(|reason| StoreError::List {
                url: address.to_string(),
                reason,
            })?;
            objects.extend(page.entries.into_iter().map(|entry| Object {
                address: address.with_key(&entry.key),
                length: entry.length,
                etag: entry.etag,
            }));
            next = page.next;
            if next.is_none() {
                return Ok(objects);
            }
        }
    }

    /// Fills a buffer with the bytes from `offset` on. A connection that breaks goes on where it broke.
    ///
    /// # Errors
    ///
    /// If they cannot be read, there are fewer, or the object is another than it was.
    pub fn read(&self, object: &Object, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let address = &object.address;
        let changed = || StoreError::Changed {
            url: address.to_string(),
        };
        let end = offset + buffer.len() as u64;
        if buffer.is_empty() {
            return Ok(());
        }
        if end > object.length {
            return Err(changed());
        }
        let is_strong = |etag: &&String| !etag.starts_with("W/");
        let mut done = 0;
        self.persist(address, || {
            let start = offset + done as u64;
            let mut headers = vec![(header::RANGE, format!("bytes={start}-{}", end - 1))];
            if let Some(etag) = object.etag.as_ref().filter(is_strong) {
                headers.push((header::IF_MATCH, etag.clone()));
            }
            let mut response = self.ask(address, &headers, |endpoint, region| {
                request_of(address, endpoint, region)
            })?;
            if let (Some(pinned), Some(found)) = (&object.etag, etag(&response))
                && *pinned != found
            {
                return Err(changed().into());
            }
            match response.status() {
                StatusCode::PARTIAL_CONTENT => match content_range(&response) {
                    Some((first, _, total)) if first == start && total == object.length => (),
                    Some((_, _, total)) if total != object.length => return Err(changed().into()),
                    _ => return Err(no_ranges(address).into()),
                },
                // A small file, all of which was asked for.
                StatusCode::OK if start == 0 && end == object.length => (),
                StatusCode::RANGE_NOT_SATISFIABLE => return Err(changed().into()),
                _ => return Err(no_ranges(address).into()),
            }
            let before = done;
            let mut body = response.body_mut().as_reader();
            while done < buffer.len() {
                let reason = match body.read(&mut buffer[done..]) {
                    Ok(0) => "the connection ended too soon".to_owned(),
                    Ok(read) => {
                        done += read;
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => error.to_string(),
                };
                return Err(Failed::broken(reason, done > before));
            }
            // The end must be seen for the connection to be used again.
            let _ = body.read(&mut [0]);
            Ok(())
        })
    }

    /// Makes attempts until one succeeds, one fails for good, or too many got nowhere.
    fn persist<T>(
        &self,
        address: &Address,
        mut attempt: impl FnMut() -> Result<T, Failed>,
    ) -> Result<T, StoreError> {
        let (mut attempts, mut in_vain) = (0, 0);
        loop {
            attempts += 1;
            let (reason, got, pause) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow { reason, got, pause }) => (reason, got, pause),
            };
            in_vain = if got { 1 } else { in_vain + 1 };
            let most = if self.has_answered.load(Ordering::Relaxed) {
                self.patience.later
            } else {
                self.patience.at_first
            };
            if in_vain >= most {
                return Err(StoreError::Connection {
                    url: address.to_string(),
                    reason,
                    attempts,
                });
            }
            let usual = self.patience.pause * 2_u32.pow(in_vain.min(16) - 1);
            // Some more or less, lest many processes that failed together come again together.
            let share = RandomState::new().build_hasher().finish() % 512 + 768;
            let usual = usual.min(self.patience.longest) * share as u32 / 1024;
            match pause {
                Pause::None => (),
                Pause::Usual => thread::sleep(usual),
                Pause::AtLeast(pause) => thread::sleep(usual.max(pause.min(self.patience.longest))),
            }
        }
    }

    /// Sends a request once. An answer that is an error has been dealt with, but for that of a range beyond the end.
    fn ask(
        &self,
        address: &Address,
        headers: &[(HeaderName, String)],
        request: impl Fn(&Endpoint, &str) -> Request,
    ) -> Result<Response<Body>, Failed> {
        let Some((store, bucket, _)) = address.bucket() else {
            let endpoint = Endpoint::new(None, String::new());
            let mut request = request(&endpoint, "");
            request.add("accept", "*/*".into());
            let with = if address.has_query() {
                "with the query of its URL"
            } else {
                crate::error::ANONYMOUS
            };
            return self.send(&self.web, address, &request, headers, with, |_, _| false);
        };
        let (endpoint, found) = self.access(store)?;
        let region = lock(&self.regions).get(bucket).cloned();
        let region = region.unwrap_or_else(|| endpoint.region.clone());
        let mut request = request(endpoint, &region);
        match &found.authority {
            Authority::None => (),
            Authority::Keys(keys) => sign(&mut request, keys, &region, SystemTime::now()),
            Authority::Bearer(token) => {
                request.add("authorization", format!("Bearer {}", token.get()));
            }
        }
        // What a second attempt could put right: credentials that have ended, and the region.
        let put_right = |answer: &Answer, moved: Option<String>| {
            let has_ended = answer.code.as_deref() == Some("ExpiredToken") || answer.status == 401;
            if has_ended && found.ends.is_some() {
                let mut cached = lock(self.cache(store));
                // Another thread may have found new ones already.
                if cached.as_ref() == Some(&found) {
                    *cached = None;
                    return true;
                }
                return cached.is_none();
            }
            match moved {
                Some(moved) if moved != region => {
                    lock(&self.regions).insert(bucket.to_owned(), moved);
                    true
                }
                _ => false,
            }
        };
        self.send(
            &self.buckets,
            address,
            &request,
            headers,
            &found.with,
            put_right,
        )
    }

    fn send(
        &self,
        agent: &Agent,
        address: &Address,
        request: &Request,
        headers: &[(HeaderName, String)],
        with: &str,
        put_right: impl Fn(&Answer, Option<String>) -> bool,
    ) -> Result<Response<Body>, Failed> {
        let mut builder = agent.get(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        let mut response = match builder.call() {
            Ok(response) => response,
            Err(error) if is_passing(&error) => return Err(Failed::broken(explain(&error), false)),
            Err(error) => {
                return Err(Failed::ForGood(StoreError::Connection {
                    url: address.to_string(),
                    reason: explain(&error),
                    attempts: 1,
                }));
            }
        };
        self.has_answered.store(true, Ordering::Relaxed);
        let status = response.status();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(response);
        }
        let wait = response.headers().get(header::RETRY_AFTER);
        let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
        let moved = response.headers().get("x-amz-bucket-region");
        let moved = moved
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ERROR)
            .read_to_string();
        let body = body.unwrap_or_default();
        let answer = Answer {
            status: status.as_u16(),
            code: list::error_code(&body),
        };
        let moved = moved.or_else(|| match answer.code.as_deref() {
            Some("AuthorizationHeaderMalformed") => list::first(&body, "Region"),
            _ => None,
        });
        let url = address.to_string();
        let is_busy = matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
            || matches!(
                answer.code.as_deref(),
                Some("SlowDown" | "RequestTimeout" | "InternalError")
            );
        let pause = if is_busy {
            Some(wait.map_or(Pause::Usual, |seconds| {
                Pause::AtLeast(Duration::from_secs(seconds))
            }))
        } else {
            put_right(&answer, moved).then_some(Pause::None)
        };
        if let Some(pause) = pause {
            return Err(Failed::ForNow {
                reason: format!("the server answered {answer}"),
                got: false,
                pause,
            });
        }
        let denied = |url, answer| StoreError::Denied {
            url,
            answer,
            with: with.to_owned(),
        };
        let code = answer.code.as_deref();
        let is_of_token = code.is_some_and(|code| code.contains("Token"));
        Err(Failed::ForGood(match status.as_u16() {
            404 | 410 => StoreError::Missing { url, answer },
            401 | 403 => denied(url, answer),
            412 => StoreError::Changed { url },
            400 if is_of_token => denied(url, answer),
            _ => StoreError::Status { url, answer },
        }))
    }

    fn cache(&self, store: Store) -> &Mutex<Option<Found>> {
        match store {
            Store::S3 => &self.of_amazon,
            Store::Google => &self.of_google,
        }
    }

    /// Returns where buckets are, and credentials that will do for a while.
    fn access(&self, store: Store) -> Result<(&Endpoint, Found), StoreError> {
        let mut cached = lock(self.cache(store));
        let now = SystemTime::now();
        let cached_found = cached.clone().filter(|found| found.is_fresh(now));
        let (endpoint, found) = match store {
            Store::S3 => {
                let amazon = self.amazon.get_or_init(|| Amazon::new(&self.environment));
                (
                    &amazon.endpoint,
                    cached_found.map_or_else(|| amazon.find(), Ok)?,
                )
            }
            Store::Google => {
                let google = self.google.get_or_init(|| Google::new(&self.environment));
                (
                    &google.endpoint,
                    cached_found.map_or_else(|| google.find(), Ok)?,
                )
            }
        };
        *cached = Some(found.clone());
        Ok((endpoint, found))
    }
}

fn request_of(address: &Address, endpoint: &Endpoint, region: &str) -> Request {
    match address {
        Address::Bucket { store, bucket, key } => endpoint.object(*store, bucket, key, region),
        Address::Web { base, query } => web(base, query.as_deref()),
    }
}

fn no_ranges(address: &Address) -> StoreError {
    StoreError::NoRanges {
        url: address.to_string(),
    }
}

/// The first and last byte, and the length of the whole, in `Content-Range: bytes 100-199/200`.
fn content_range(response: &Response<Body>) -> Option<(u64, u64, u64)> {
    let value = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    let (range, total) = value.trim().strip_prefix("bytes")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    Some((
        first.parse().ok()?,
        last.parse().ok()?,
        total.trim().parse().ok()?,
    ))
}

fn etag(response: &Response<Body>) -> Option<String> {
    let value = response.headers().get(header::ETAG)?;
    value.to_str().ok().map(str::to_owned)
}

/// Whether the next attempt may fare better.
const fn is_passing(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::Protocol(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
    )
}

/// Formats an error without anything of the request, which may hold credentials.
pub(crate) fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(timeout) => format!("no answer within the time limit ({timeout})"),
        ureq::Error::HostNotFound => "the host was not found".into(),
        ureq::Error::ConnectionFailed => "no connection".into(),
        ureq::Error::ConnectProxyFailed(_) => "no connection through the proxy".into(),
        ureq::Error::Rustls(error) => format!("TLS failed: {error}"),
        ureq::Error::Tls(reason) => format!("TLS failed: {reason}"),
        ureq::Error::TooManyRedirects => "it leads from one URL to the next without end".into(),
        ureq::Error::BodyExceedsLimit(_) => "the answer is too long".into(),
        ureq::Error::Http(_) | ureq::Error::BadUri(_) => "the URL is malformed".into(),
        _ => "the answer is not HTTP as expected".into(),
    }
}

#[cfg(test)]
mod tests;
