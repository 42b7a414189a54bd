//! `kiln fetch`.

use kiln_assets::Asset;
use kiln_report::text_table;

use super::Context;
use crate::Outcome;
use crate::args::FetchArgs;
use crate::terminal::bytes;

pub fn run(args: &FetchArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    if args.assets.is_empty() {
        return list(context);
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
    for asset in &assets {
        let fetched = match &args.from {
            Some(path) => {
                let fetched = context.assets.fetcher().supply(asset, path)?;
                context.assets.report(&fetched);
                fetched
            }
            None => context.assets.need(asset)?,
        };
        for file in &fetched.files {
            context
                .terminal
                .print(&format!("{}\n", file.path.display()))?;
        }
    }
    Ok(Outcome::Done)
}

fn list(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let cache = &context.assets.cache;
    let rows = Asset::NAMES.map(|name| match Asset::named(name) {
        Ok(asset) => {
            let there = if cache.lookup(&asset).is_some() {
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
    context.terminal.print(&format!(
        "{}\n",
        text_table(["asset", "license", "cached", "size"], rows, 3)
    ))?;
    context.terminal.detail(&format!(
        "Cache: {} (KILN_CACHE names another)",
        cache.root().display()
    ));
    Ok(Outcome::Done)
}
