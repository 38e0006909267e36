//! Salt's module `lvs`, which runs ipvsadm and searches the output of `-S -n`. Salt 3008 removed it.

use std::path::{Path, PathBuf};
use std::process::Command;

use ipvs_tests::lab::topology::Lab;
use ipvs_tests::oracle::diff::diff;

use super::{Side, table_of};

ipvs_tests::tests! {
    lvs_module, needs = "python3", needs = "salt (PyPI, below 3008; see .ci/run)", seconds = 120;
}

/// Returns the path of the module, where `.ci/run` downloads it to.
fn module() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/salt/lvs.py");
    assert!(path.exists(), "{} does not exist\nDownload it with `.ci/run packages`.", path.display());
    path
}

fn lvs_module() {
    let [reference, ours] = Side::BOTH.map(|side| {
        side.install();
        let host = Lab::new().unwrap().host(&format!("{side:?}")).unwrap();
        let mut python = Command::new("/usr/bin/python3");
        python.arg("-").arg(module());
        let output = host.run_with_input(&mut python, include_str!("salt.py")).unwrap().ok();
        format!("{output}{}", table_of(&host))
    });
    println!("{ours}");
    // The module returns standard error, which ends with a hint.
    const HINTS: [&str; 4] = ["To ", "Use ", "There is no ", "The service does not "];
    let is_hint = |line: &&str| HINTS.iter().any(|hint| line.starts_with(hint));
    let without_hints = ours.lines().filter(|line| !is_hint(line)).fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(diff(&reference, &without_hints), None, "the reference (-) and our program (+)");
    // The module has found the server that it had added.
    assert!(ours.contains("check_server('tcp', '10.0.0.1:80', '10.1.0.1:80', packet_forward_method='nat') = True"));
}
