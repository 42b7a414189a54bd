//! `kiln fetch`.

use comfy_table::{Table, presets};
use kiln_assets::Asset;

use super::Context;
use crate::Outcome;
use crate::args::FetchArgs;
use crate::terminal::bytes;

pub fn run(args: &FetchArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    if args.assets.is_empty() {
        return list(context);
    }
    // Names first, so that a typing error in the last one does not come after minutes.
    let assets = args.assets.iter().map(|name| Asset::named(name)).collect::<Result<Vec<_>, _>>()?;
    if args.from.is_some() && assets.len() > 1 {
        anyhow::bail!("--from is for one asset at a time: run `kiln fetch {} --from …` first", assets[0].name);
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
            context.terminal.print(&format!("{}\n", file.path.display()))?;
        }
    }
    Ok(Outcome::Done)
}

fn list(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let cache = &context.assets.cache;
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).force_no_tty().set_header(["asset", "size", "in the cache", "licence"]);
    for name in Asset::NAMES {
        match Asset::named(name) {
            Ok(asset) => {
                let there = if cache.lookup(&asset).is_some() { "yes" } else { "no" };
                table.add_row([name, &bytes(asset.size()), there, &asset.licence]);
            }
            // Not for this platform.
            Err(error) => {
                table.add_row([name, "", "no", &error.to_string()]);
            }
        }
    }
    context.terminal.print(&format!("{}\n", table.trim_fmt()))?;
    context.terminal.detail(&format!("Cache: {} (KILN_CACHE names another)", cache.root().display()));
    Ok(Outcome::Done)
}
