use std::fs::File;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::error::Hint;
use crate::testing::{Recorder, Server, answer, asset, gzip, ok, ranged};

/// A cache of its own, and what was told.
struct Bench {
    folder: TempDir,
    clients: TempDir,
    recorder: Recorder,
    cancel: CancelToken,
}

impl Bench {
    fn new() -> Self {
        let [folder, clients] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        Self {
            folder,
            clients,
            recorder: Recorder::default(),
            cancel: CancelToken::new(),
        }
    }

    fn fetcher(&self) -> Fetcher<'_> {
        let cache = Cache::at(self.folder.path());
        Fetcher {
            clients: Clients::on(self.clients.path()),
            ..Fetcher::new(cache, &self.recorder, &self.cancel)
        }
    }

    fn fetch(&self, asset: &Asset) -> Result<Fetched, FetchError> {
        let result = self.fetcher().fetch(asset);
        // Also checks that every step has finished.
        let _ = self.recorder.bytes();
        result
    }

    /// Everything in the asset's folder but the lock and the stamps.
    fn left(&self, asset: &Asset) -> Vec<String> {
        let entries = fs::read_dir(self.fetcher().cache.folder(asset)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name != ".lock" && !name.ends_with(".verified"));
        names.sort();
        names
    }
}

fn server(base: String, gzip: bool) -> Source {
    Source::Http { base, gzip }
}

#[test]
fn plain_and_compressed_files_come_from_a_server_and_then_from_the_cache() {
    for compressed in [false, true] {
        let bench = Bench::new();
        let web = Server::start(move |request| match (request.path.as_str(), compressed) {
            ("/a", false) => ok(b"AAAA"),
            ("/b", false) => ok(b"B"),
            ("/a.gz", true) => ok(&gzip(b"AAAA")),
            ("/b.gz", true) => ok(&gzip(b"B")),
            _ => answer("404 Not Found", "", b"", 0),
        });
        let toy = asset(
            &[("a", b"AAAA"), ("b", b"B")],
            vec![server(web.base(), compressed)],
        );
        assert_eq!(bench.fetcher().cache.lookup(&toy), None);
        let fetched = bench.fetch(&toy).unwrap();
        assert_eq!(fetched.folder, bench.folder.path().join("toy").join("1"));
        assert_eq!(fs::read(&fetched.files[0].path).unwrap(), b"AAAA");
        assert_eq!(fs::read(&fetched.files[1].path).unwrap(), b"B");
        assert_eq!(fetched.bytes(), 5);
        assert_eq!(fetched.origins(), [&Origin::Source(toy.sources[0].clone())]);
        assert_eq!(bench.left(&toy), ["a", "b"]);

        let again = bench.fetch(&toy).unwrap();
        assert_eq!(again.origins(), [&Origin::Cache]);
        assert_eq!(web.requests().len(), 2);
        assert_eq!(bench.recorder.messages(), Vec::<String>::new());
    }
}

#[test]
fn a_file_that_was_tampered_with_is_fetched_again_alone() {
    let bench = Bench::new();
    let web = Server::start(|request| {
        if request.path == "/a" {
            ok(b"AAAA")
        } else {
            ok(b"B")
        }
    });
    let toy = asset(
        &[("a", b"AAAA"), ("b", b"B")],
        vec![server(web.base(), false)],
    );
    let path = bench.fetch(&toy).unwrap().files[0].path.clone();
    fs::write(&path, b"AAAX").unwrap();
    // Clocks of file systems are coarse: this write may bear the time of the first one.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(bench.fetcher().cache.lookup(&toy), None);
    let fetched = bench.fetch(&toy).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"AAAA");
    assert_eq!(fetched.files[1].origin, Origin::Cache);
    assert_eq!(
        web.requests()
            .iter()
            .filter(|request| request.path == "/a")
            .count(),
        2
    );
    assert_eq!(web.requests().len(), 3);
}

#[test]
fn the_next_source_gets_what_the_first_did_not() {
    let bench = Bench::new();
    let bad = Server::start(|request| {
        if request.path == "/a" {
            ok(b"AAAA")
        } else {
            ok(b"X")
        }
    });
    let good = Server::start(|_| ok(b"B"));
    let toy = asset(
        &[("a", b"AAAA"), ("b", b"B")],
        vec![server(bad.base(), false), server(good.base(), false)],
    );
    let fetched = bench.fetch(&toy).unwrap();
    let origins: Vec<_> = fetched
        .files
        .iter()
        .map(|file| file.origin.clone())
        .collect();
    assert_eq!(
        origins,
        toy.sources
            .iter()
            .cloned()
            .map(Origin::Source)
            .collect::<Vec<_>>()
    );
    assert_eq!(good.requests().len(), 1);
    let messages = bench.recorder.messages();
    assert_eq!(messages.len(), 1);
    assert!(
        messages[0].starts_with(&format!(
            "toy: {} did not deliver: b: expected SHA-256 ",
            bad.base()
        )),
        "{messages:?}"
    );
}

#[test]
fn a_wrong_checksum_of_a_continued_file_has_it_fetched_whole_once() {
    let bench = Bench::new();
    let web = Server::start(|request| ranged(request, b"AAAA"));
    let toy = asset(&[("a", b"AAAA")], vec![server(web.base(), false)]);
    let folder = bench.fetcher().cache.folder(&toy);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(".a.part"), b"XX").unwrap();
    bench.fetch(&toy).unwrap();
    assert_eq!(
        web.requests()
            .iter()
            .map(|request| request.from)
            .collect::<Vec<_>>(),
        [Some(2), None]
    );
    assert_eq!(bench.left(&toy), ["a"]);
}

#[test]
fn a_wrong_file_is_not_fetched_twice_and_leaves_nothing() {
    let bench = Bench::new();
    let web = Server::start(|_| ok(b"XXXX"));
    let toy = asset(&[("a", b"AAAA")], vec![server(web.base(), false)]);
    assert!(matches!(
        bench.fetch(&toy),
        Err(FetchError::AllSourcesFailed { .. })
    ));
    assert_eq!(web.requests().len(), 1);
    assert_eq!(bench.left(&toy), Vec::<String>::new());
}

#[test]
fn two_at_once_download_once() {
    let bench = Bench::new();
    let web = Server::start(|_| {
        thread::sleep(Duration::from_millis(300));
        ok(b"AAAA")
    });
    let toy = asset(&[("a", b"AAAA")], vec![server(web.base(), false)]);
    let one = || {
        let (recorder, cache) = (Recorder::default(), Cache::at(bench.folder.path()));
        Fetcher::new(cache, &recorder, &bench.cancel)
            .fetch(&toy)
            .unwrap()
    };
    thread::scope(|scope| {
        let both = [scope.spawn(one), scope.spawn(one)].map(|thread| thread.join().unwrap());
        assert_eq!(both[0].folder, both[1].folder);
        assert!(
            both.iter()
                .any(|fetched| fetched.files[0].origin == Origin::Cache)
        );
    });
    assert_eq!(web.requests().len(), 1);
}

#[test]
fn a_second_process_waits_says_so_once_and_can_be_cancelled() {
    let bench = Bench::new();
    let toy = asset(&[("a", b"AAAA")], Vec::new());
    let (_, lock) = bench.fetcher().open(&toy).unwrap();
    thread::scope(|scope| {
        let second = scope.spawn(|| bench.fetcher().fetch(&toy));
        while bench.recorder.messages().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        bench.cancel.cancel();
        assert!(matches!(
            second.join().unwrap(),
            Err(FetchError::Cancelled { .. })
        ));
    });
    drop(lock);
    assert_eq!(
        bench.recorder.messages(),
        ["waiting for another kiln process to finish fetching toy"]
    );
}

#[test]
fn offline_never_asks_anybody() {
    let bench = Bench::new();
    let web = Server::start(|_| ok(b"AAAA"));
    let toy = asset(&[("a", b"AAAA")], vec![server(web.base(), false)]);
    let offline = bench.fetcher().with_offline(true);
    let error = offline.fetch(&toy).unwrap_err();
    assert_eq!(
        error.to_string(),
        "toy is not in the cache, and offline mode forbids fetching it"
    );
    let Some(Hint::LeaveOfflineMode(wanted)) = error.hint() else {
        panic!("{error:?}")
    };
    assert_eq!((wanted.files, wanted.single), (toy.files.clone(), true));
    assert_eq!(web.requests(), []);
    assert!(!offline.cache.folder(&toy).exists());
    bench.fetch(&toy).unwrap();
    assert_eq!(offline.fetch(&toy).unwrap().files[0].origin, Origin::Cache);
}

#[test]
fn a_stop_is_told_as_one() {
    let bench = Bench::new();
    let web = Server::start(|_| ok(b"AAAA"));
    let toy = asset(&[("a", b"AAAA")], vec![server(web.base(), false)]);
    bench.cancel.cancel();
    assert!(matches!(
        bench.fetch(&toy),
        Err(FetchError::Cancelled { .. })
    ));
    assert_eq!(bench.recorder.messages(), Vec::<String>::new());
}

#[test]
fn when_nobody_delivers_the_error_says_all() {
    let bench = Bench::new();
    let web = Server::start(|_| answer("404 Not Found", "", b"", 0));
    let npm = Source::Npm {
        package: "toy-data".into(),
        version: "1.2".into(),
        members: vec![Some("package/a".into())],
    };
    let toy = asset(&[("a", b"AAAA")], vec![server(web.base(), false), npm]);
    let error = bench.fetch(&toy).unwrap_err();
    let expected = format!(
        "cannot get toy: no source delivered it\n  {base}\n    a: expected HTTP status 200, found 404\n  npm package \
         toy-data 1.2\n    npm: not found on PATH",
        base = web.base(),
    );
    assert_eq!(error.to_string(), expected);
    let wanted = Wanted::new(&toy, bench.fetcher().cache.folder(&toy), |_| true);
    assert_eq!(error.hint(), Some(Hint::GoOnline(wanted)));
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let bench = Bench::new();
    let occupied = bench.folder.path().join("occupied");
    fs::write(&occupied, "a file").unwrap();
    let fetcher = Fetcher {
        cache: Cache::at(&occupied),
        ..bench.fetcher()
    };
    let error = fetcher
        .fetch(&asset(&[("a", b"AAAA")], Vec::new()))
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with(&format!("cannot create the folder {}", occupied.display())),
        "{message}"
    );
    assert_eq!(error.hint(), Some(Hint::RepairCache));
}

#[cfg(unix)]
mod packages {
    use super::*;
    use crate::testing::{script, tar_gz, zip};

    /// A fake client that hands out the archive `content`.
    fn hands_out(bench: &Bench, client: &str, content: &[u8]) {
        let archive = bench.clients.path().join(format!("{client}.archive"));
        fs::write(&archive, content).unwrap();
        script(
            bench.clients.path(),
            client,
            &format!("cp '{}' ./package", archive.display()),
        );
    }

    fn npm() -> Source {
        let members = vec![Some("package/data/a".into()), Some("package/data/b".into())];
        Source::Npm {
            package: "toy".into(),
            version: "1".into(),
            members,
        }
    }

    fn pip() -> Source {
        let members = vec![Some("toy/a".into()), Some("toy/other name".into())];
        Source::Pip {
            package: "toy".into(),
            version: "1".into(),
            python: "3.11".into(),
            platform: None,
            members,
        }
    }

    const FILES: [(&str, &[u8]); 2] = [("a", b"AAAA"), ("b", b"B")];

    #[test]
    fn members_come_out_of_an_npm_package() {
        let bench = Bench::new();
        let decoy = ("package/decoy/a", b"XXXX".as_slice());
        hands_out(
            &bench,
            "npm",
            &tar_gz(&[decoy, ("package/data/b", b"B"), ("package/data/a", b"AAAA")]),
        );
        let toy = asset(&FILES, vec![npm()]);
        let fetched = bench.fetch(&toy).unwrap();
        assert_eq!(fetched.origins(), [&Origin::Source(npm())]);
        assert_eq!(bench.left(&toy), ["a", "b"]);
    }

    #[test]
    fn members_come_out_of_a_wheel_under_the_names_of_the_cache() {
        let bench = Bench::new();
        hands_out(
            &bench,
            "pip",
            &zip(&[("toy/other name", b"B"), ("toy/a", b"AAAA")]),
        );
        let toy = asset(&FILES, vec![npm(), pip()]);
        assert_eq!(
            bench.fetch(&toy).unwrap().origins(),
            [&Origin::Source(pip())]
        );
        assert_eq!(
            bench.recorder.messages(),
            ["toy: npm package toy 1 did not deliver: npm: not found on PATH"]
        );
    }

    #[test]
    fn each_file_may_come_from_a_package_of_its_own() {
        let bench = Bench::new();
        hands_out(&bench, "npm", &tar_gz(&[("package/data/a", b"AAAA")]));
        hands_out(&bench, "pip", &zip(&[("toy/other name", b"B")]));
        let mut sources = [npm(), pip()];
        for (source, without) in sources.iter_mut().zip([1, 0]) {
            match source {
                Source::Npm { members, .. } | Source::Pip { members, .. } => {
                    members[without] = None;
                }
                Source::Http { .. } | Source::PipSource { .. } | Source::Debian { .. } => {}
            }
        }
        let toy = asset(&FILES, sources.to_vec());
        let fetched = bench.fetch(&toy).unwrap();
        let origins: Vec<_> = sources.iter().cloned().map(Origin::Source).collect();
        assert_eq!(fetched.origins(), origins.iter().collect::<Vec<_>>());
        assert_eq!(bench.recorder.messages(), Vec::<String>::new());

        // Only the package that has the missing file is asked for.
        fs::remove_file(&fetched.files[1].path).unwrap();
        script(bench.clients.path(), "npm", "exit 1");
        let fetched = bench.fetch(&toy).unwrap();
        assert_eq!(fetched.files[0].origin, Origin::Cache);
        assert_eq!(fetched.files[1].origin, origins[1]);
        assert_eq!(bench.recorder.messages(), Vec::<String>::new());
    }

    #[test]
    fn a_package_without_a_member_or_with_a_wrong_one_is_refused() {
        for (content, expected) in [
            (
                zip(&[("toy/a", b"AAAA")]),
                "the archive has no toy/other name",
            ),
            (
                zip(&[("toy/a", b"AAAAA"), ("toy/other name", b"B")]),
                "a: expected 4 bytes, found more",
            ),
            (b"no archive".to_vec(), "it is not an archive"),
        ] {
            let bench = Bench::new();
            hands_out(&bench, "pip", &content);
            let message = bench
                .fetch(&asset(&FILES, vec![pip()]))
                .unwrap_err()
                .to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
