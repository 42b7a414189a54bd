//! Why one source did not deliver.

/// Why one source did not deliver. The next source is tried, so that none of these ends a fetch by
/// itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The server could not be reached or the connection broke.
    #[error("{file}: {reason}")]
    Connection {
        /// The name of the file asked for.
        file: String,
        /// What went wrong.
        reason: String,
    },
    /// The server answered, but not with the file.
    #[error("{file}: expected HTTP status 200, found {status}")]
    Status {
        /// The name of the file asked for.
        file: String,
        /// The answer's status.
        status: u16,
    },
    /// There is more than there can be.
    #[error("{file}: expected at most {limit} bytes, found more")]
    TooLarge {
        /// The name of the file asked for.
        file: String,
        /// Size in bytes beyond which nothing is read.
        limit: u64,
    },
    /// A file came out too short or too long.
    #[error("{file}: expected {expected} bytes, found {found}")]
    Size {
        /// The file's name.
        file: String,
        /// Size in bytes that it should have.
        expected: u64,
        /// What was found: a number, or `more`.
        found: String,
    },
    /// A file has the right size and another content.
    #[error("{file}: expected SHA-256 {expected}, found {found}")]
    Checksum {
        /// The file's name.
        file: String,
        /// The checksum that it should have.
        expected: String,
        /// The checksum that it has.
        found: String,
    },
    /// A file or an archive could not be read.
    #[error("cannot read {what}: {reason}")]
    Read {
        /// The file, or the member of an archive.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// An archive or a folder lacks a file.
    #[error("{container} has no {member}")]
    Missing {
        /// The archive or folder.
        container: String,
        /// What was looked for in it.
        member: String,
    },
    /// The package client is not installed.
    #[error("{client}: not found on PATH")]
    NoClient {
        /// The programs looked for.
        client: String,
    },
    /// The package client failed.
    #[error("{client}: {reason}")]
    Client {
        /// The program.
        client: String,
        /// The line of its output that says why.
        reason: String,
    },
}
