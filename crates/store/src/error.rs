//! Objects that cannot be read.

/// An object, or a store, that cannot be read. No variant holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say")]
#[non_exhaustive]
pub enum StoreError {
    /// A URL that names nothing that can be read.
    #[error("cannot read `{url}`: expected {expected}")]
    Url { url: String, expected: &'static str },
    /// There is no such object or bucket.
    #[error("there is no `{url}`: the server answered {answer}")]
    Missing { url: String, answer: Answer },
    /// The server does not let these credentials read it.
    #[error("`{url}` may not be read {with}: the server answered {answer}")]
    Denied {
        url: String,
        answer: Answer,
        /// Which credentials were used: where they were found.
        with: String,
    },
    /// The object has changed since it was opened.
    #[error("`{url}` changed while it was read")]
    Changed { url: String },
    /// The server sends whole files alone.
    #[error(
        "the server of `{url}` sends no parts of files: expected an answer to a request for a range"
    )]
    NoRanges { url: String },
    /// A list was asked of a server that has none.
    #[error("`{url}` cannot be listed: web servers have no lists of files")]
    NoLists { url: String },
    /// A list that cannot be understood.
    #[error("the list of `{url}` cannot be understood: {reason}")]
    List { url: String, reason: String },
    /// Any other answer.
    #[error("`{url}` cannot be read: the server answered {answer}")]
    Status { url: String, answer: Answer },
    /// No answer, or none to its end, however often it was asked for.
    #[error("`{url}` cannot be read: {reason} ({attempts} attempts)")]
    Connection {
        url: String,
        reason: String,
        attempts: u32,
    },
    /// Credentials that are specified and cannot be used.
    #[error("{credentials} cannot be used: {reason}")]
    Credentials {
        /// Where they are specified.
        credentials: String,
        reason: String,
    },
}

/// What a server answered: the status, and the store's own word for the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// Such as `NoSuchKey`, of stores that send one.
    pub code: Option<String>,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.status),
            None => write!(f, "{}", self.status),
        }
    }
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cure {
    /// Check the URL; a folder ends in `/`.
    CheckUrl,
    /// Give credentials, none having been found: for S3 or for Google Cloud Storage.
    GiveCredentials {
        /// `s3` or `gs`.
        scheme: &'static str,
    },
    /// Check the credentials that were used, and what they allow.
    CheckCredentials,
    /// Have the store's own program resolve credentials that are not supported.
    ExportCredentials,
    /// Get a new URL, the signature of the one in use having ended or not being for reading.
    NewUrl,
    /// Download the file first.
    Download,
    /// Run it again, resuming where that is possible.
    RunAgain,
}

impl StoreError {
    /// Returns what to do about it.
    pub fn cure(&self) -> Option<Cure> {
        match self {
            Self::Url { .. } | Self::List { .. } | Self::Status { .. } => None,
            Self::Missing { .. } => Some(Cure::CheckUrl),
            Self::Denied { url, with, .. } => Some(match url.split_once("://") {
                Some(("s3", _)) if with == ANONYMOUS => Cure::GiveCredentials { scheme: "s3" },
                Some(("gs", _)) if with == ANONYMOUS => Cure::GiveCredentials { scheme: "gs" },
                Some(("s3" | "gs", _)) => Cure::CheckCredentials,
                _ => Cure::NewUrl,
            }),
            Self::Changed { .. } | Self::Connection { .. } => Some(Cure::RunAgain),
            Self::NoRanges { .. } | Self::NoLists { .. } => Some(Cure::Download),
            Self::Credentials { .. } => Some(Cure::ExportCredentials),
        }
    }
}

/// What messages say of requests without credentials.
pub(crate) const ANONYMOUS: &str = "without credentials";

impl From<StoreError> for std::io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Missing { .. } => std::io::ErrorKind::NotFound,
            StoreError::Denied { .. } | StoreError::Credentials { .. } => {
                std::io::ErrorKind::PermissionDenied
            }
            _ => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
