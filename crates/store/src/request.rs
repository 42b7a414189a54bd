//! Which URL and headers a request has.

use std::fmt;

use crate::address::{Address, Store};
use crate::sign::{path, query};

/// A GET request. Its URL and headers may hold credentials.
#[derive(Clone)]
pub(crate) struct Request {
    pub url: String,
    /// Names in lower case, with their values.
    pub headers: Vec<(&'static str, String)>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request")
    }
}

impl Request {
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
        }
    }

    pub fn add(&mut self, name: &'static str, value: String) {
        self.headers.push((name, value));
    }

    /// Returns host, path and query of the URL.
    pub fn parts(&self) -> (&str, &str, &str) {
        let rest = self
            .url
            .split_once("://")
            .map_or(&*self.url, |(_, rest)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let at = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        (host, if path.is_empty() { "/" } else { path }, query)
    }
}

/// Where a store's buckets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Scheme, host and perhaps a path, without a slash at the end; none for Amazon's own.
    pub url: Option<String>,
    /// Amazon's region, which signatures name.
    pub region: String,
}

impl Endpoint {
    /// Takes the URL that a user gave.
    pub fn new(url: Option<String>, region: String) -> Self {
        let url = url.map(|url| {
            let url = url.trim_end_matches('/');
            let with_scheme = if url.contains("://") {
                url.to_owned()
            } else {
                format!("http://{url}")
            };
            // A port that goes without saying is not in the header `host`, which is signed.
            let default = match with_scheme.split_once("://") {
                Some(("https", _)) => ":443",
                _ => ":80",
            };
            with_scheme
                .strip_suffix(default)
                .unwrap_or(&with_scheme)
                .to_owned()
        });
        Self { url, region }
    }

    /// Returns the URL of a bucket, in Amazon's region.
    fn bucket(&self, store: Store, bucket: &str, region: &str) -> String {
        match (&self.url, store) {
            (Some(url), _) => format!("{url}/{bucket}"),
            (None, Store::Google) => format!("https://storage.googleapis.com/{bucket}"),
            (None, Store::S3) => {
                let domain = if region.starts_with("cn-") {
                    "amazonaws.com.cn"
                } else {
                    "amazonaws.com"
                };
                // Amazon's certificates are for one name before the store's; names of hosts have neither capitals nor `_`.
                let is_host = bucket
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
                if is_host {
                    format!("https://{bucket}.s3.{region}.{domain}")
                } else {
                    format!("https://s3.{region}.{domain}/{bucket}")
                }
            }
        }
    }

    /// Creates the request for an object.
    pub fn object(&self, store: Store, bucket: &str, key: &str, region: &str) -> Request {
        Request::get(format!(
            "{}/{}",
            self.bucket(store, bucket, region),
            path(key)
        ))
    }

    /// Creates the request for a list of the keys with a prefix, from where the last one ended.
    pub fn list(
        &self,
        store: Store,
        bucket: &str,
        prefix: &str,
        next: Option<&str>,
        region: &str,
    ) -> Request {
        let next = next.map_or_else(String::new, |next| {
            format!("continuation-token={}&", query(next))
        });
        Request::get(format!(
            "{}/?{next}list-type=2&prefix={}",
            self.bucket(store, bucket, region),
            query(prefix)
        ))
    }
}

/// Creates the request for a file on a web server.
pub(crate) fn web(base: &str, query: Option<&str>) -> Request {
    Request::get(match query {
        Some(query) => format!("{base}?{query}"),
        None => base.to_owned(),
    })
}

impl Address {
    /// Returns the store, the bucket and the key; none of a file on a web server.
    pub(crate) fn bucket(&self) -> Option<(Store, &str, &str)> {
        match self {
            Self::Bucket { store, bucket, key } => Some((*store, bucket, key)),
            Self::Web { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_hosts_where_they_can_be() {
        let amazon = Endpoint::new(None, "eu-central-1".into());
        let url = |endpoint: &Endpoint, bucket: &str| {
            let region = endpoint.region.clone();
            endpoint.object(Store::S3, bucket, "a b.tar", &region).url
        };
        assert_eq!(
            url(&amazon, "photos"),
            "https://photos.s3.eu-central-1.amazonaws.com/a%20b.tar"
        );
        for bucket in ["my.photos", "My_photos"] {
            assert_eq!(
                url(&amazon, bucket),
                format!("https://s3.eu-central-1.amazonaws.com/{bucket}/a%20b.tar")
            );
        }
        let china = Endpoint::new(None, "cn-north-1".into());
        assert!(url(&china, "x").starts_with("https://x.s3.cn-north-1.amazonaws.com.cn/"));
        for (given, used) in [
            ("http://localhost:9000/", "http://localhost:9000"),
            ("localhost:9000", "http://localhost:9000"),
            ("https://host:443", "https://host"),
        ] {
            let own = Endpoint::new(Some(given.into()), "us-east-1".into());
            assert_eq!(url(&own, "x"), format!("{used}/x/a%20b.tar"));
        }
        let google = Endpoint::new(None, String::new()).object(Store::Google, "b", "k", "");
        assert_eq!(google.url, "https://storage.googleapis.com/b/k");
    }

    #[test]
    fn a_url_has_parts() {
        let request = Request::get("https://host:1/a/b?x=1&y");
        assert_eq!(request.parts(), ("host:1", "/a/b", "x=1&y"));
        assert_eq!(Request::get("http://host").parts(), ("host", "/", ""));
    }
}
