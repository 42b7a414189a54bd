//! Fetches the assets named on the command line into the cache and says where they are: `fetch
//! mnist vgg16`.

use std::error::Error;
use std::time::Instant;

use kiln_assets::{Asset, Cache, Fetcher, Progress};
use kiln_util::CancelToken;

/// Prints one line for every step.
struct Lines;

impl Progress for Lines {
    fn begin(&self, what: &str, total: Option<u64>) {
        eprintln!(
            "{what}, {}",
            total.map_or("size unknown".into(), |bytes| format!("{bytes} bytes"))
        );
    }
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn message(&self, text: &str) {
        eprintln!("{text}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cancel = CancelToken::new();
    let into_cache = Fetcher::new(Cache::from_env()?, &Lines, &cancel);
    for name in std::env::args().skip(1) {
        let start = Instant::now();
        match Asset::named(&name)
            .map_err(Box::<dyn Error>::from)
            .and_then(|asset| Ok(into_cache.fetch(&asset)?))
        {
            Ok(fetched) => {
                for file in &fetched.files {
                    println!(
                        "{} ({} bytes, from {})",
                        file.path.display(),
                        file.size,
                        file.origin
                    );
                }
                println!("{name}: {:.2} s", start.elapsed().as_secs_f64());
            }
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
