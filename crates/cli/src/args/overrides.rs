//! What can be specified about a model on the command line.

use std::path::{Path, PathBuf};

use kiln_model::{
    Arithmetic, Background, Channels, CropRounding, Filter, Fit, Layout, ModelOverrides,
    OutputKind, Preprocess, Preprocessing, Steps, check_share, parse_color, parse_number,
    parse_size, parse_threshold,
};
use kiln_pipeline::overrides::OverridesRequest;
use kiln_pipeline::{Context, networks};

/// Each option has the heading itself: one for the struct would hold for all that a command
/// declares after it.
const HEADING: &str = "Models of other exporters (docs/third-party.md)";

/// How images become what a model takes, for files that do not say it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PreprocessArgs {
    /// How pixel values become numbers: raw, unit, caffe, torch or tf; or a whole pipeline:
    /// torchvision, timm or ultralytics
    #[arg(help_heading = HEADING, long, value_name = "NAME")]
    pub preprocess: Option<Preprocess>,
    /// Size of the images [default: the graph's]
    #[arg(help_heading = HEADING, long, value_name = "N|HxW", value_parser = parse_size)]
    pub size: Option<[u32; 2]>,
    /// Channels and their order [default: those of --preprocess, or gray or rgb by the graph]
    #[arg(help_heading = HEADING, long, value_name = "gray|rgb|bgr")]
    pub channels: Option<Channels>,
    #[command(flatten)]
    pub steps: StepsArgs,
    /// Factor applied to pixel values of 0 to 255, such as 1/255
    #[arg(help_heading = HEADING, long, value_name = "X", value_parser = parse_number, allow_hyphen_values = true)]
    pub scale: Option<f32>,
    /// Subtracted from each channel after scaling: one value, or one per channel
    #[arg(help_heading = HEADING, long, value_name = "A,B,C", value_parser = parse_number, value_delimiter = ',', allow_hyphen_values = true)]
    pub mean: Option<Vec<f32>>,
    /// Divides each channel last: one value, or one per channel
    #[arg(help_heading = HEADING, long, value_name = "A,B,C", value_parser = parse_number, value_delimiter = ',', allow_hyphen_values = true)]
    pub std: Option<Vec<f32>>,
    /// Order of the axes of the graph's input [default: where its shape has the channels]
    #[arg(help_heading = HEADING, long, value_name = "nchw|nhwc")]
    pub layout: Option<Layout>,
    /// File that specifies the same as these options [default: the model's name ending in .toml,
    /// where it is there]
    #[arg(help_heading = HEADING, long, value_name = "FILE.toml")]
    pub sidecar: Option<PathBuf>,
}

/// What becomes of an image before its pixel values become numbers.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StepsArgs {
    /// Turn photographs upright by their Exif tag
    #[arg(help_heading = HEADING, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub orientation: Option<bool>,
    /// Color that transparent pixels are put on; `none` drops alpha
    #[arg(help_heading = HEADING, long, value_name = "R,G,B", value_parser = Background::parse)]
    pub background: Option<Background>,
    /// Which sides become the size to resize to, before the center is cropped or the rest padded
    #[arg(help_heading = HEADING, long, value_name = "stretch|shorter|longer|crop_to_aspect_ratio")]
    pub resize: Option<Fit>,
    /// Size to resize to before the crop [default: the model's]
    #[arg(help_heading = HEADING, long, value_name = "N|HxW", value_parser = parse_size, conflicts_with = "crop_pct")]
    pub resize_to: Option<[u32; 2]>,
    /// The model's size as a share of the size to resize to, such as 0.875
    #[arg(help_heading = HEADING, long, value_name = "X", value_parser = share)]
    pub crop_pct: Option<f64>,
    /// What a pixel between pixels is
    #[arg(help_heading = HEADING, long, value_name = "nearest|bilinear|bicubic|lanczos")]
    pub filter: Option<Filter>,
    /// Weigh every source pixel when an image is shrunk
    #[arg(help_heading = HEADING, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub antialias: Option<bool>,
    /// Whose arithmetic resizing follows
    #[arg(help_heading = HEADING, long, value_name = "tensorflow|torch|pillow")]
    pub arithmetic: Option<Arithmetic>,
    /// Color of what is padded
    #[arg(help_heading = HEADING, long, value_name = "R,G,B", value_parser = parse_color)]
    pub padding: Option<[u8; 3]>,
    /// How half of an odd number of pixels to crop is rounded
    #[arg(help_heading = HEADING, long, value_name = "even|down")]
    pub crop_rounding: Option<CropRounding>,
    /// Divide images by 2, 4, 8 first, where N times the size to resize to remain; 0 for never
    #[arg(help_heading = HEADING, long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(Preprocessing::MAX_GAP)))]
    pub reducing_gap: Option<u32>,
}

impl StepsArgs {
    fn steps(&self) -> Steps {
        Steps {
            orientation: self.orientation,
            background: self.background,
            resize: self.resize,
            resize_to: self.resize_to,
            crop_pct: self.crop_pct,
            filter: self.filter,
            antialias: self.antialias,
            arithmetic: self.arithmetic,
            padding: self.padding,
            crop_rounding: self.crop_rounding,
            reducing_gap: self.reducing_gap,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    check_share(text.trim().parse().unwrap_or(0.0))
}

impl PreprocessArgs {
    /// Returns what is specified.
    pub fn request(&self) -> OverridesRequest {
        let specified = ModelOverrides {
            preprocess: self.preprocess,
            size: self.size,
            channels: self.channels,
            steps: self.steps.steps(),
            scale: self.scale,
            mean: self.mean.clone(),
            std: self.std.clone(),
            layout: self.layout,
            ..ModelOverrides::default()
        };
        OverridesRequest::new(specified, self.sidecar.clone())
    }

    /// Returns the files that a model is read from, with what is specified about it.
    pub fn files(&self, model: &Path) -> Vec<PathBuf> {
        [model.to_path_buf(), model.with_extension("toml")]
            .into_iter()
            .chain(self.sidecar.clone())
            .collect()
    }
}

/// What a model takes and gives, for files that do not say it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OverridesArgs {
    #[command(flatten)]
    pub preprocess: PreprocessArgs,
    /// Names of the classes, one a line, in the order of the output, or `imagenet` for those of its 1,000 classes
    /// [default: their numbers]
    #[arg(help_heading = HEADING, long, value_name = "FILE.txt")]
    pub labels: Option<PathBuf>,
    /// What the scores are [default: what the graph ends in: softmax, log-softmax or sigmoid]
    #[arg(help_heading = HEADING, long = "output", id = "output_kind", value_name = "logits|probabilities|log_probabilities|sigmoid|sigmoid_logits")]
    pub output: Option<OutputKind>,
    /// The graph's output that has the scores [default: the only one that fits the labels, or the first]
    #[arg(help_heading = HEADING, long, value_name = "NAME")]
    pub output_name: Option<String>,
    /// What a class's probability has to exceed where each class has one by itself, or there is one score for
    /// two: one number, or one per class [default: 0.5]
    #[arg(help_heading = HEADING, long, value_name = "T", value_parser = parse_threshold, value_delimiter = ',')]
    pub threshold: Option<Vec<f32>>,
}

impl OverridesArgs {
    /// Reads the labels, and returns what is specified.
    pub fn request(&self, context: &Context<'_>) -> anyhow::Result<OverridesRequest> {
        let read = |path: &Path| networks::labels(path, context);
        let labels = self.labels.as_deref().map(read).transpose()?;
        let mut request = self.preprocess.request();
        request.specified.labels = labels;
        request.specified.output = self.output;
        request.specified.output_name.clone_from(&self.output_name);
        request.specified.threshold.clone_from(&self.threshold);
        Ok(request)
    }

    /// Returns the files that a model is read from, with what is specified about it.
    pub fn files(&self, model: &Path) -> Vec<PathBuf> {
        let mut files = self.preprocess.files(model);
        files.extend(self.labels.clone());
        files
    }
}
