use std::fs;
use std::time::Duration;

use crate::file::testing::Place;
use crate::store::StoreArguments;
use crate::store::testing::{Server, Step, next, open, shown, step, stream};

const OK: &str = "200 OK";
const SHORT: Duration = Duration::from_millis(1500);

/// Returns the response to the read: the key itself, and the keys below it, as `key=value`.
fn documents(revision: u64, own: &[&str], below: &[&str]) -> String {
    let range = |pairs: &[&str]| {
        let pair = |pair: &&str| {
            let (key, value) = pair.split_once('=').expect("a pair");
            let [key, value] = [key, value].map(|text| super::encoded(text.as_bytes()));
            format!(r#"{{"key":"{key}","create_revision":"2","mod_revision":"5","version":"1","value":"{value}"}}"#)
        };
        let pairs: Vec<String> = pairs.iter().map(pair).collect();
        format!(r#"{{"response_range":{{"header":{{}},"kvs":[{}],"count":"{}"}}}}"#, pairs.join(","), pairs.len())
    };
    let header =
        format!(r#"{{"cluster_id":"14841639068965178418","member_id":"1","revision":"{revision}","raft_term":"2"}}"#);
    format!(r#"{{"header":{header},"succeeded":true,"responses":[{},{}]}}"#, range(own), range(below))
}

fn read(revision: u64, value: &str) -> Step {
    step(&["POST /v3/kv/txn HTTP", "L2x2cw==", "L2x2cy8=", "L2x2czA="], OK, &documents(revision, &[value], &[]))
}

fn store(server: &Server) -> Box<dyn crate::store::Store> {
    open(&format!("etcd://{}/lvs", server.address), &StoreArguments::default())
}

const CREATED: &str = r#"{"result":{"header":{"revision":"8"},"created":true}}"#;

fn event(key: &str) -> String {
    format!(r#"{{"result":{{"events":[{{"kv":{{"key":"{}"}}}}]}}}}"#, super::encoded(key.as_bytes()))
}

#[test]
fn a_watch_wakes_up_a_read() {
    let confirmed = |revision: u64, cluster: &str| {
        let body = format!(r#"{{"header":{{"cluster_id":"{cluster}","revision":"{revision}"}},"count":"1"}}"#);
        step(&["POST /v3/kv/range HTTP", "count_only"], OK, &body)
    };
    let cluster = "14841639068965178418";
    let server = Server::start(vec![
        read(7, "/lvs=one"),
        stream(&["POST /v3/watch HTTP", r#""start_revision":"8""#], &[CREATED, &event("/lvs")], Duration::ZERO),
        read(8, "/lvs=two"),
        // A key next to ours, and nothing else.
        stream(&[r#""start_revision":"9""#, "hasleader"], &[CREATED, &event("/lvs.old")], SHORT),
        confirmed(10, cluster),
        stream(&[r#""start_revision":"9""#], &[CREATED, &event("/lvs/x")], Duration::ZERO),
        read(12, "/lvs=two"),
        // The store was restored from a backup.
        stream(&[r#""start_revision":"13""#], &[CREATED], SHORT),
        confirmed(3, cluster),
        read(3, "/lvs=old"),
        stream(&[r#""start_revision":"4""#], &[CREATED], SHORT),
        confirmed(4, "1"),
        read(4, "/lvs=other"),
    ]);
    let mut etcd = store(&server);
    let mut next = || next(etcd.as_mut());
    assert_eq!(next(), "5: /lvs=one");
    assert_eq!(next(), "5: /lvs=two");
    assert_eq!(next(), "-");
    assert_eq!(next(), "-");
    assert_eq!(next(), "5: /lvs=old");
    assert_eq!(next(), "5: /lvs=other");
    server.end();
}

#[test]
fn a_compacted_watch_is_followed_by_a_read() {
    let compacted = r#"{"result":{"canceled":true,"compact_revision":"20","cancel_reason":"compacted"}}"#;
    let server = Server::start(vec![
        read(7, "/lvs=one"),
        stream(&["/v3/watch"], &[CREATED, compacted], Duration::ZERO),
        read(30, "/lvs=two"),
        stream(&[r#""start_revision":"31""#], &[r#"{"result":{"canceled":true,"cancel_reason":"no leader"}}"#], SHORT),
        read(31, "/lvs=three"),
        step(&["/v3/watch"], "503 Unavailable", ""),
        read(31, "/lvs=three"),
        stream(&["/v3/watch"], &["garbage"], Duration::ZERO),
        read(32, "/lvs=four"),
        stream(&["/v3/watch"], &[], SHORT),
        step(&["/v3/kv/txn"], "503 Unavailable", r#"{"error":"etcdserver: request timed out","code":14}"#),
    ]);
    let mut etcd = store(&server);
    let mut next = || next(etcd.as_mut());
    for expected in ["5: /lvs=one", "5: /lvs=two", "5: /lvs=three", "-", "5: /lvs=four"] {
        assert_eq!(next(), expected);
    }
    let error = next();
    assert!(error.contains("status 503: ") && error.contains("request timed out"), "{error}");
    server.end();
}

#[test]
fn the_key_and_the_keys_below_it() {
    let server = Server::start(vec![
        step(&[], OK, &documents(9, &["/lvs=x"], &["/lvs/b=2", "/lvs/a=1"])),
        step(&[], OK, &documents(9, &[], &[])),
    ]);
    let mut etcd = store(&server);
    assert_eq!(shown(&etcd.read().expect("documents")), "5: /lvs=x /lvs/a=1 /lvs/b=2");
    assert_eq!(shown(&etcd.read().expect("no documents")), "0:");
    server.end();
}

#[test]
fn expired_tokens_are_renewed() {
    let place = Place::new("etcd-token");
    let user = place.path().join("user");
    fs::write(&user, "root:pass:word\n").expect("write");
    let login = |token: &str| {
        let expected =
            ["POST /v3/auth/authenticate HTTP", r#""name":"root""#, r#""password":"pass:word""#, "!authorization"];
        step(&expected, OK, &format!(r#"{{"token":"{token}"}}"#))
    };
    let invalid = r#"{"error":"etcdserver: invalid auth token","code":16}"#;
    let server = Server::start(vec![
        login("t1"),
        step(&["Authorization: t1"], OK, &documents(7, &["/lvs=one"], &[])),
        step(&["Authorization: t1"], "401 Unauthorized", invalid),
        login("t2"),
        step(&["Authorization: t2"], OK, &documents(7, &["/lvs=two"], &[])),
        step(&["POST /v3/kv/put", "Authorization: t2", "L2x2cy9sYjE=", "c3RhdGU="], OK, r#"{"header":{}}"#),
        step(&["Authorization: t2"], "401 Unauthorized", invalid),
        login("t3"),
        step(&["Authorization: t3"], "401 Unauthorized", invalid),
        step(&["Authorization: t3"], "400 Bad Request", r#"{"error":"etcdserver: permission denied","code":7}"#),
        step(&["Authorization: t3"], "401 Unauthorized", invalid),
        step(&["/v3/auth/authenticate"], OK, r#"{"token":"a\r\nb"}"#),
    ]);
    let arguments = StoreArguments { user_file: Some(user), ..StoreArguments::default() };
    let mut etcd = open(&format!("etcd://{}/lvs", server.address), &arguments);
    assert_eq!(shown(&etcd.read().expect("a login")), "5: /lvs=one");
    assert_eq!(shown(&etcd.read().expect("another login")), "5: /lvs=two");
    etcd.write("lb1", b"state").expect("the same token");
    for reason in ["invalid auth token", "permission denied", "cannot log in: the server returned no valid token"] {
        let error = format!("{:#}", etcd.read().expect_err(reason));
        assert!(error.contains(reason), "{error}");
    }
    server.end();
}

#[test]
fn invalid_responses() {
    let good = documents(7, &["/lvs=one"], &[]);
    let deep = "[".repeat(50_000);
    let long = " ".repeat(100_001);
    let pair = r#""kvs":[{"key":"L2x2cw==""#;
    let bodies: Vec<(String, &str)> = vec![
        (deep, "not a valid message of etcd"),
        (long, "the input is longer than 100000 bytes"),
        ("{}".into(), "not a valid message of etcd"),
        (good.replace("true", "false"), "not a valid message of etcd"),
        (good.replace(r#""revision":"7""#, r#""revision":"x""#), "not a valid message of etcd"),
        (good.replace(r#""count":"1""#, r#""count":"2""#), "only a part of the documents"),
        (good.replace(pair, r#""kvs":[{"key":"L2x2c3g=""#), "another key: /lvsx"),
        (good.replace(pair, r#""kvs":[{"key":"?""#), "the name of a key is not valid base64"),
        (good.replace(r#""value":""#, r#""value":"?"#), "the value of /lvs is not valid base64"),
        (good.replace(r#""count":"1""#, r#""more":true,"count":"1""#), "more than 10000 documents"),
    ];
    let server = Server::start(bodies.iter().map(|(body, _)| step(&[], OK, body)).collect());
    let mut etcd = store(&server);
    for (body, reason) in &bodies {
        let error = next(etcd.as_mut());
        assert!(error.contains(reason), "{}: {error}", &body[..body.len().min(80)]);
    }
    server.end();
}

#[test]
fn a_server_that_hangs_is_replaced() {
    let hanging = Server::start(vec![stream(&["/v3/kv/txn"], &[], Duration::from_secs(5))]);
    let working = Server::start(vec![
        read(7, "/lvs=one"),
        stream(&["/v3/watch"], &[CREATED, &event("/lvs/a")], Duration::ZERO),
        read(8, "/lvs=two"),
    ]);
    let name = format!("etcd://{},{}/lvs", hanging.address, working.address);
    let mut etcd = open(&name, &StoreArguments::default());
    assert_eq!(next(etcd.as_mut()), "5: /lvs=one");
    assert_eq!(next(etcd.as_mut()), "5: /lvs=two");
    hanging.end();
    working.end();
}
