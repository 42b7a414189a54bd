//! What a URL names, and how it is shown.

use std::ffi::OsStr;
use std::fmt;

use crate::error::StoreError;

/// Where an object is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An object, or all below a prefix, of a store that has buckets.
    Bucket {
        /// Whose store.
        store: Store,
        /// Name of the bucket.
        bucket: String,
        /// The key as it is, percent signs included; empty or ending in `/` for a prefix.
        key: String,
    },
    /// A file on a web server.
    Web {
        /// The URL up to its query.
        base: String,
        /// What follows the first `?`, which may be a signature, and is never shown.
        query: Option<String>,
    },
}

/// A store that has buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Store {
    /// Amazon S3, or what speaks as it does.
    S3,
    /// Google Cloud Storage.
    Google,
}

impl Store {
    /// Returns the scheme of its URLs.
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
        }
    }
}

/// Schemes, some of which are refused by name.
const SCHEMES: [&str; 12] = [
    "s3", "gs", "https", "http", "s3a", "s3n", "gcs", "az", "abfs", "abfss", "wasbs", "hf",
];

/// Returns whether a text names something by a URL of a store or of a web server, one that is not supported included,
/// rather than a path.
pub fn is_url(text: &OsStr) -> bool {
    text.to_str().and_then(scheme_of).is_some()
}

/// Splits a URL after its scheme.
fn scheme_of(text: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = SCHEMES
        .iter()
        .find(|known| known.eq_ignore_ascii_case(scheme))?;
    Some((scheme, rest))
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`] if it is none, or none of a store that is supported.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = scheme_of(text).ok_or_else(|| StoreError::Url {
            url: shown(text).to_owned(),
            expected: "a URL such as `s3://bucket/folder/` or `https://host/file.parquet`",
        })?;
        let fail = |expected| StoreError::Url {
            url: shown(text).to_owned(),
            expected,
        };
        let store = match scheme {
            "s3" | "s3a" | "s3n" => Store::S3,
            "gs" | "gcs" => Store::Google,
            "https" | "http" => {
                let (base, query) = match text.split_once(['?', '#']) {
                    Some((base, query)) => {
                        (base, text[base.len()..].starts_with('?').then_some(query))
                    }
                    None => (text, None),
                };
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if host.is_empty() {
                    return Err(fail("the name of a host after `://`"));
                }
                if host.contains('@') {
                    return Err(fail("no user name and password in a URL"));
                }
                if !base.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(fail(
                        "only ASCII characters and no space: write others as `%20`",
                    ));
                }
                return Ok(Self::Web {
                    base: base.to_owned(),
                    query: query.map(str::to_owned),
                });
            }
            _ => return Err(fail("a URL of `s3://`, `gs://` or `https://`")),
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(is_name) {
            return Err(fail("the name of a bucket after `://`"));
        }
        Ok(Self::Bucket {
            store,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Returns whether it names all below a prefix, which can be listed: it ends in `/`, or is a bucket.
    pub fn is_prefix(&self) -> bool {
        match self {
            Self::Bucket { key, .. } => key.is_empty() || key.ends_with('/'),
            Self::Web { .. } => false,
        }
    }

    /// Returns the key in its bucket; none of a file on a web server.
    pub fn bucket_key(&self) -> Option<&str> {
        match self {
            Self::Bucket { key, .. } => Some(key),
            Self::Web { .. } => None,
        }
    }

    /// Returns whether it has a query, which may be a signature.
    pub const fn has_query(&self) -> bool {
        matches!(self, Self::Web { query: Some(_), .. })
    }

    /// Returns the address of another key of the same bucket; of a web server itself.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        match self {
            Self::Bucket { store, bucket, .. } => Self::Bucket {
                store: *store,
                bucket: bucket.clone(),
                key: key.to_owned(),
            },
            Self::Web { .. } => self.clone(),
        }
    }
}

/// Returns a URL without its query, and without user name and password; any other text as it is.
pub fn shown(text: &str) -> &str {
    match scheme_of(text) {
        Some(("https" | "http", rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            if host.contains('@') {
                return &text[..text.len() - rest.len()];
            }
            text.split(['?', '#']).next().unwrap_or_default()
        }
        _ => text,
    }
}

impl fmt::Display for Address {
    /// Formats the URL without its query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket { store, bucket, key } => write!(f, "{}://{bucket}/{key}", store.scheme()),
            Self::Web { base, .. } => f.write_str(base),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in [
            "s3://b/k",
            "gs://b",
            "HTTPS://h/x",
            "http://h/x",
            "abfss://c@a/x",
        ] {
            assert!(is_url(OsStr::new(url)), "{url}");
        }
        for path in ["s3:/b/k", "a/s3://b", "C://x", "mnist:test", "-"] {
            assert!(!is_url(OsStr::new(path)), "{path}");
        }
    }

    #[test]
    fn a_key_is_what_follows_the_bucket() {
        let address = Address::parse("s3a://my-bucket/a b/100%.tar").unwrap();
        let expected = Address::Bucket {
            store: Store::S3,
            bucket: "my-bucket".into(),
            key: "a b/100%.tar".into(),
        };
        assert_eq!(address, expected);
        assert_eq!(address.to_string(), "s3://my-bucket/a b/100%.tar");
        assert!(!address.is_prefix() && address.with_key("a/").is_prefix());
        assert!(Address::parse("gs://bucket").unwrap().is_prefix());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (url, expected) in [
            ("s3:///key", "the name of a bucket"),
            ("s3://a b/key", "the name of a bucket"),
            ("https:///x", "the name of a host"),
            ("https://h/a b", "no space"),
            ("az://container/x", "expected a URL of `s3://`"),
            ("x", "expected a URL such as"),
        ] {
            let message = Address::parse(url).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        let address = Address::parse("https://host/x.parquet?X-Amz-Signature=SECRET#part").unwrap();
        assert!(address.has_query());
        for text in [address.to_string(), format!("{address:?}")] {
            assert!(
                text.contains("https://host/x.parquet") && !text.contains("SECRET"),
                "{text}"
            );
        }
        for url in [
            "https://user:SECRET@host/x",
            "https://host/a b?SECRET",
            "https://?SECRET",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("SECRET"),
                "{error:?}"
            );
        }
    }
}
