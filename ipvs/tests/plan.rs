//! Plans by example. A directory `plan/NAME` is one example:
//!
//! | file | content |
//! |---|---|
//! | `current.rules` | the current table |
//! | `desired.rules` | the desired table |
//! | `options` | options of the program, if any |
//! | `previous.rules` | the file of `--previous` |
//! | `changes.rules` | the expected plan |

use std::fs;
use std::path::{Path, PathBuf};

use ipvs::plan::{Departing, Options, Plan};
use ipvs::rules::{self, Numeric};
use ipvs::{Change, Config, Director, Model, plan};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan");
    let mut examples: Vec<PathBuf> =
        fs::read_dir(folder).expect("examples").map(|entry| entry.expect("an example").path()).collect();
    examples.sort();
    examples
}

fn config(file: &Path) -> Config {
    let text = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    rules::read_config(&text, &mut Numeric).unwrap_or_else(|errors| panic!("{}: {errors:?}", file.display())).config
}

/// Reads options in the form of the program: `--only 192.0.2.0/24 --drain`.
fn options(file: &Path) -> Options {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut options = Options::default();
    let mut words = text.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let mut selector = || words.next().expect("a scope").parse().expect("a scope");
        match word {
            "--only" => options.scope.only.push(selector()),
            "--protect" => options.scope.protect.push(selector()),
            "--listed-only" => options.scope.listed = true,
            "--previous" => {
                let previous = config(&file.with_file_name("previous.rules"));
                options.scope.listed = true;
                options.scope.former = previous.services.iter().map(|service| service.service.key).collect();
            }
            "--keep-weights" => options.keep_weights = true,
            "--drain" => options.departing = Departing::Drain,
            "--reorder" => options.reorder = true,
            other => panic!("{}: {other}", file.display()),
        }
    }
    options
}

/// Returns a table in memory with these contents.
fn director(config: &Config) -> Model {
    let mut director = Model::new();
    let build = plan(config, &director.state().expect("a model"), &Options::default());
    let refused = director.submit(&build.changes).expect("valid");
    assert!(refused.is_empty(), "{refused:?}");
    director
}

fn written(plan: &Plan) -> String {
    let changes = plan.changes.iter().map(|change| format!("{change}\n"));
    let kept = plan.order_kept.iter().map(|key| format!("# order unchanged: {key}\n"));
    let written: String = changes.chain(kept).collect();
    if written.is_empty() { "# nothing to do\n".to_owned() } else { written }
}

#[test]
fn every_example() {
    let mut wrong = Vec::new();
    for example in examples() {
        let mut director = director(&config(&example.join("current.rules")));
        let (desired, options) = (config(&example.join("desired.rules")), options(&example.join("options")));
        let found = plan(&desired, &director.state().expect("a model"), &options);
        let expected = fs::read_to_string(example.join("changes.rules")).expect("the expected plan");
        if written(&found) != expected {
            wrong.push(format!("{}\nexpected:\n{expected}found:\n{}", example.display(), written(&found)));
            continue;
        }
        let refused = director.submit(&found.changes).expect("valid");
        assert!(refused.is_empty(), "{}: {refused:?}", example.display());
        let rest = plan(&desired, &director.state().expect("a model"), &options);
        assert!(rest.changes.is_empty(), "{}: the second plan is not empty: {}", example.display(), written(&rest));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Prints the times of two plans for 50000 servers. The run takes tens of milliseconds, most of them to build the
/// tables: `cargo test --release -p ipvs-rs --test plan -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a test"]
fn fifty_thousand_servers() {
    use ipvs::{Destination, Forwarding, Order, Scheduler, Service, ServiceConfig, ServiceKey};
    use std::time::Instant;

    let service = |number: u16, weight| {
        let service = Service::new(ServiceKey::tcp([192, 0, 2, 1], number), Scheduler::MH);
        let server = |low: u16| {
            let [a, b] = (number * 50 + low).to_be_bytes();
            Destination { weight, ..Destination::new(([10, 0, a, b], 80), Forwarding::Masquerade) }
        };
        ServiceConfig { service, destinations: (0..50).map(server).collect() }
    };
    let table = |weight| Config {
        services: (0..1000).map(|number| service(number, weight)).collect(),
        order: Order::Kernel,
        ..Config::default()
    };
    let held = director(&table(1)).state().expect("a model");
    for (what, desired) in [("nothing to do", table(1)), ("50000 weights to change", table(2))] {
        let started = Instant::now();
        let changes: Vec<Change> = plan(&desired, &held, &Options::default()).changes;
        println!("{what}: {} changes planned in {:?}", changes.len(), started.elapsed());
    }
}
