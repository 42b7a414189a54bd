//! Fetching assets with progress.

use std::sync::Mutex;

use indicatif::ProgressBar;
use kiln_assets::{Asset, Cache, Fetched, Fetcher, Origin, Progress};

use crate::args::Global;
use crate::interrupt::{self, Polling};
use crate::terminal::{Terminal, bytes};

/// Where the assets are kept and whether they may be fetched.
pub struct Assets<'a> {
    pub cache: Cache,
    offline: bool,
    bars: Bars<'a>,
}

impl<'a> Assets<'a> {
    pub fn new(global: &Global, terminal: &'a Terminal) -> anyhow::Result<Self> {
        let variable =
            std::env::var_os("KILN_OFFLINE").is_some_and(|value| !value.is_empty() && value != "0");
        let bars = Bars {
            terminal,
            bar: Mutex::new(None),
        };
        Ok(Self {
            cache: Cache::from_env()?,
            offline: global.offline || variable,
            bars,
        })
    }

    pub fn fetcher(&self) -> Fetcher<'_> {
        Fetcher::new(self.cache.clone(), &self.bars, interrupt::token()).with_offline(self.offline)
    }

    /// Makes sure that an asset is there; says something only if it was not.
    pub fn need(&self, asset: &Asset) -> anyhow::Result<Fetched> {
        if self.cache.lookup(asset).is_none() && !self.offline {
            let text = format!(
                "{} ({}, {})",
                asset.name,
                bytes(asset.size()),
                asset.license
            );
            self.bars.terminal.status("Fetching", &text);
        }
        let _polling = Polling::begin();
        let fetched = self.fetcher().fetch(asset)?;
        self.report(&fetched);
        Ok(fetched)
    }

    /// Says where the files came from, for those that were not there.
    pub fn report(&self, fetched: &Fetched) {
        let new = fetched
            .origins()
            .into_iter()
            .filter_map(|origin| match origin {
                Origin::Cache => None,
                other => Some(other.to_string()),
            });
        let new: Vec<String> = new.collect();
        if !new.is_empty() {
            self.bars.terminal.status(
                "Fetched",
                &format!("{} from {}", fetched.folder.display(), new.join(", ")),
            );
        }
    }
}

/// One bar at a time.
struct Bars<'a> {
    terminal: &'a Terminal,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars<'_> {
    fn with(&self, change: impl FnOnce(&mut Option<ProgressBar>)) {
        change(
            &mut self
                .bar
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
    }
}

impl Progress for Bars<'_> {
    fn begin(&self, what: &str, total: Option<u64>) {
        let bar = match total {
            Some(total) => self.terminal.bar(
                total,
                "             {wide_msg} {bar:24.green} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4} left",
            ),
            None => self.terminal.spinner("             {spinner:.green} {wide_msg} {elapsed:>4}"),
        };
        bar.set_message(what.to_string());
        self.with(|slot| *slot = Some(bar));
    }

    fn advance(&self, bytes: u64) {
        self.with(|slot| {
            if let Some(bar) = slot {
                bar.inc(bytes);
            }
        });
    }

    fn finish(&self) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn message(&self, text: &str) {
        self.terminal.detail(text);
    }
}
