//! The command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use kiln_inference::{Device, EngineId};

/// Serve ONNX image classifiers over HTTP and gRPC, with a page to try them.
#[derive(Debug, Parser)]
#[command(
    name = "kiln serve",
    bin_name = "kiln serve",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Args {
    /// Model files, run directories, folders of NAME.onnx, NAME/model.onnx or NAME/VERSION/model.onnx; a name in front
    /// is that for requests
    #[arg(value_name = "[NAME=]MODEL", required = true)]
    pub models: Vec<String>,

    /// Address to listen at; 0.0.0.0 for every interface
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), help_heading = "Network")]
    pub host: IpAddr,
    /// Port for HTTP and gRPC; 0 for one that is free
    #[arg(
        long,
        short,
        value_name = "PORT",
        default_value_t = 8080,
        help_heading = "Network"
    )]
    pub port: u16,
    /// Certificate chain in PEM, for TLS
    #[arg(
        long,
        value_name = "FILE.pem",
        requires = "tls_key",
        help_heading = "Network"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(
        long,
        value_name = "FILE.pem",
        requires = "tls_cert",
        help_heading = "Network"
    )]
    pub tls_key: Option<PathBuf>,
    /// File with a token that requests must bear, all but health and the page [default: the variable
    /// `KILN_SERVE_TOKEN`]
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub token_file: Option<PathBuf>,
    /// Site whose pages may ask too, such as `https://example.org`, or * for all; repeated for several
    #[arg(long, value_name = "ORIGIN", help_heading = "Network")]
    pub allow_origin: Vec<String>,

    /// Inference engine
    #[arg(long, default_value_t = EngineId::default(), value_name = "NAME", help_heading = "Models")]
    pub engine: EngineId,
    /// Device to run on; cuda needs --engine ort
    #[arg(long, default_value_t = Device::Cpu, value_name = "cpu|cuda|auto", help_heading = "Models")]
    pub device: Device,
    /// ONNX Runtime's shared library [default: `KILN_ORT_LIB`, the system]
    #[cfg(feature = "ort")]
    #[arg(long, value_name = "FILE", help_heading = "Models")]
    pub ort_lib: Option<PathBuf>,
    /// Threads for each model [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Models")]
    pub threads: Option<u16>,
    /// Versions of each model to keep in service, the newest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Models")]
    pub versions: u16,
    /// Look for new, changed and removed files every so many seconds; SIGHUP does it at once
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Models")]
    pub watch: Option<u32>,
    /// Let requests load and unload models
    #[arg(long, help_heading = "Models")]
    pub control: bool,
    /// Put models into service without replaying their golden vectors
    #[arg(long, help_heading = "Models")]
    pub no_verify: bool,

    /// Images in a batch [default: 16 where batches are faster, else 1; measured when a model is loaded]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Batches and limits")]
    pub max_batch: Option<u16>,
    /// Milliseconds that an image waits for its batch to fill
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=60_000), help_heading = "Batches and limits")]
    pub max_delay: u32,
    /// Images that wait for a model; further requests are answered with 503
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Batches and limits")]
    pub queue: u32,
    /// Images in a request
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Batches and limits")]
    pub max_images: u32,
    /// Megapixels of an image
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Batches and limits")]
    pub max_megapixels: u32,
    /// MiB of a request's body
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4095), help_heading = "Batches and limits")]
    pub max_body: u32,
    /// MiB of all bodies in memory
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_048_576), help_heading = "Batches and limits")]
    pub max_memory: u32,
    /// Open connections
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Batches and limits")]
    pub max_connections: u32,
    /// Seconds until a request without an answer is told so
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Batches and limits")]
    pub timeout: u32,
    /// Seconds that the body of a request may take to arrive
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Batches and limits")]
    pub body_timeout: u32,
    /// Seconds that a connection may be idle, and the head of a request take
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Batches and limits")]
    pub idle_timeout: u32,

    /// Seconds to go on answering after SIGTERM, while health says that the server is not ready
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5,
        help_heading = "Operation"
    )]
    pub grace: u32,
    /// Seconds for requests that have begun, after that
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        help_heading = "Operation"
    )]
    pub drain: u32,
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t = LogForm::Text, value_name = "text|json", help_heading = "Operation")]
    pub log: LogForm,
    /// What the log has: error, warn, info (a line for each request) or debug
    #[arg(long, value_name = "LEVEL", default_value_t = tracing::Level::INFO, help_heading = "Operation")]
    pub log_level: tracing::Level,
    /// Load and prove the models, say so, and end
    #[arg(long, help_heading = "Operation")]
    pub check: bool,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// A line of text for each event.
    Text,
    /// A JSON object on a line for each event.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn only_this_machine_is_served_unless_asked_for() {
        let args = Args::try_parse_from(["kiln serve", "m.onnx"]).unwrap();
        assert!(args.host.is_loopback());
        assert!(!args.control);
        let without_key = ["kiln serve", "m.onnx", "--tls-cert", "c.pem"];
        assert!(Args::try_parse_from(without_key).is_err());
    }
}
