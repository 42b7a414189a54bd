//! `kiln fetch`.

use std::path::PathBuf;

use kiln_assets::Asset;
use kiln_pipeline::AssetProvider;
use kiln_report::text_table;
use kiln_util::bytes;

use crate::app::{App, Outcome};

#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// What to fetch: mnist, fashion-mnist, cifar-10, vgg16, onnxruntime, onnxruntime-web, efficientnet-lite0, mobilenet-v2, squeezenet,
    /// imagenet-labels; without one, shows what is there
    #[arg(value_name = "ASSET")]
    assets: Vec<String>,
    /// Take the asset from this file, folder or archive
    #[arg(long, value_name = "PATH", requires = "assets")]
    from: Option<PathBuf>,
}

/// Fetches assets and prints their files, or lists what is in the cache.
pub fn run(args: &FetchArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    if args.assets.is_empty() {
        return list(app);
    }
    // Names first, so that a typing error in the last one does not come after minutes.
    let assets = args
        .assets
        .iter()
        .map(|name| Asset::named(name))
        .collect::<Result<Vec<_>, _>>()?;
    if args.from.is_some() && assets.len() > 1 {
        anyhow::bail!(
            "--from is for one asset at a time: run `kiln fetch {} --from …` first",
            assets[0].name
        );
    }
    let (observer, cancel) = (app.context.observer, &app.context.cancel);
    for asset in &assets {
        let fetched = match &args.from {
            Some(path) => app.assets.supply(asset, path, observer, cancel)?,
            None => app.assets.require(asset, observer, cancel)?,
        };
        for file in &fetched.files {
            app.terminal.print(&format!("{}\n", file.path.display()))?;
        }
    }
    Ok(Outcome::Done)
}

fn list(app: &App<'_>) -> anyhow::Result<Outcome> {
    let cache = app.assets.cache();
    let rows = Asset::NAMES.map(|name| match Asset::named(name) {
        Ok(asset) => {
            let there = if app.assets.lookup(&asset).is_some() {
                "yes"
            } else {
                "no"
            };
            [
                name.into(),
                asset.license.clone(),
                there.into(),
                bytes(asset.size()),
            ]
        }
        // Not for this platform.
        Err(error) => [name.into(), error.to_string(), "no".into(), String::new()],
    });
    app.terminal.print(&format!(
        "{}\n",
        text_table(["asset", "license", "cached", "size"], rows, 3)
    ))?;
    app.terminal.detail(&format!(
        "Cache: {} (KILN_CACHE names another)",
        cache.root().display()
    ));
    Ok(Outcome::Done)
}
