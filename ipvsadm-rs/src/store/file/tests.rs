use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::file::testing::Place;
use crate::store::testing::{next, times};

/// Returns a store whose fallback is slower than the time limit of the tests, which is for busy machines.
fn files(path: PathBuf) -> Files {
    let times = Times { wait: Duration::from_secs(90), look: Duration::from_secs(90), ..times() };
    Files::new(path, "1000".parse().expect("a limit"), times)
}

/// Changes the files while `next` waits. Returns when the documents are as expected. A file can be read while it is empty, because the test does not write it atomically.
fn after(files: &mut Files, expected: &[&str], change: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            change();
        });
        let start = Instant::now();
        loop {
            let found = files.next().expect("readable").map(|found| contents(&found));
            assert!(start.elapsed() < Duration::from_secs(60), "{found:?} after {:?}", start.elapsed());
            if found.is_some_and(|found| found == expected) {
                break;
            }
        }
    });
}

fn contents(snapshot: &Snapshot) -> Vec<String> {
    let line = |found: &StoredDocument| {
        let name = Path::new(&found.name).file_name().expect("a name").to_string_lossy().into_owned();
        format!("{name}={}", String::from_utf8_lossy(&found.bytes))
    };
    snapshot.documents.iter().map(line).collect()
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("write");
}

#[test]
fn a_file_is_created_written_replaced_and_removed() {
    let place = Place::new("store-file");
    let path = place.path().join("etc/rules");
    let mut files = files(path.clone());
    assert_eq!(files.next().expect("readable").expect("the first time").documents, []);
    let directory = path.parent().expect("a parent");
    after(&mut files, &["rules=one"], || {
        fs::create_dir(directory).expect("create");
        put(&path, "one");
    });
    after(&mut files, &["rules=two"], || put(&path, "two"));
    after(&mut files, &["rules=six"], || {
        put(&place.path().join("new"), "six");
        fs::rename(place.path().join("new"), &path).expect("rename");
    });
    after(&mut files, &[], || fs::remove_file(&path).expect("remove"));
    after(&mut files, &["rules=four"], || put(&path, "four"));
    after(&mut files, &[], || fs::rename(directory, place.path().join("moved")).expect("rename"));
    after(&mut files, &["rules=four"], || fs::rename(place.path().join("moved"), directory).expect("rename"));
}

/// As kubelet does it.
#[test]
fn the_link_of_a_config_map_is_exchanged() {
    let place = Place::new("store-configmap");
    let at = |name: &str| place.path().join(name);
    for (version, text) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(at(version)).expect("create");
        put(&at(version).join("web.rules"), text);
        put(&at(version).join("mail.rules"), text);
    }
    symlink("..1", at("..data")).expect("link");
    symlink("..data/web.rules", at("web.rules")).expect("link");
    symlink("..data/mail.rules", at("mail.rules")).expect("link");
    let exchange = |version: &str| {
        symlink(version, at("..tmp")).expect("link");
        fs::rename(at("..tmp"), at("..data")).expect("rename");
    };
    let (mut file, mut directory) = (files(at("web.rules")), files(place.path().to_owned()));
    assert_eq!(contents(&file.next().expect("readable").expect("first")), ["web.rules=one"]);
    assert_eq!(contents(&directory.next().expect("readable").expect("first")), ["mail.rules=one", "web.rules=one"]);
    after(&mut file, &["web.rules=two"], || exchange("..2"));
    assert_eq!(contents(&directory.next().expect("readable").expect("two")), ["mail.rules=two", "web.rules=two"]);
    after(&mut directory, &["mail.rules=one", "web.rules=one"], || exchange("..1"));
}

#[test]
fn a_change_without_an_event_is_found() {
    let place = Place::new("store-look");
    let (path, link) = (place.path().join("x/file"), place.path().join("dir/link"));
    fs::create_dir(place.path().join("dir")).expect("create");
    fs::create_dir(place.path().join("x")).expect("create");
    put(&path, "one");
    symlink(&path, link).expect("link");
    // Only the link is in the watched directory.
    let times = Times { wait: Duration::from_secs(20), ..times() };
    let mut files = Files::new(place.path().join("dir"), Limit::default(), times);
    files.next().expect("readable").expect("first");
    after(&mut files, &["link=two"], || put(&path, "two"));
}

#[test]
fn nothing_changes() {
    let place = Place::new("store-same");
    let path = place.path().join("file");
    put(&path, "one");
    let mut files = Files::new(path.clone(), Limit::default(), times());
    files.next().expect("readable").expect("first");
    let start = Instant::now();
    put(&path, "one");
    assert_eq!(next(&mut files), "-");
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&start.elapsed()));
}

#[test]
fn a_directory_skips_what_is_no_document() {
    let place = Place::new("store-directory");
    let at = |name: &str| place.path().join(name);
    put(&at("b"), "2");
    put(&at("a"), "1");
    put(&at(".hidden"), "");
    put(&at("b~"), "");
    fs::create_dir(at("directory")).expect("create");
    symlink("nowhere", at("dangling")).expect("link");
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).expect("a pipe");
    let mut files = files(place.path().to_owned());
    assert_eq!(contents(&files.read().expect("readable")), ["a=1", "b=2"]);
    files.write("c", b"3").expect("written");
    assert_eq!(contents(&files.read().expect("readable")), ["a=1", "b=2", "c=3"]);
    files.write("../c", b"3").expect_err("another directory");
    put(&at("long"), &"x".repeat(990));
    files.read().expect("993 bytes");
    put(&at("long"), &"x".repeat(998));
    assert_eq!(files.read().expect_err("long").to_string(), "the directory is longer than 1000 bytes");
    put(&at("long"), &"x".repeat(1001));
    assert!(files.read().expect_err("long").to_string().contains("/long"));
}

#[test]
fn other_files_are_refused() {
    let place = Place::new("store-pipe");
    let pipe = place.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("a pipe");
    for path in [pipe, "/dev/zero".into()] {
        let error = format!("{:#}", files(path).read().expect_err("no file"));
        assert!(error.ends_with(": not a regular file"), "{error}");
    }
}
