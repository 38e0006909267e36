//! Runs the commands in the README and the manual pages.

use std::fs;

use ipvs_tests::command::{run, shell};

use crate::under_test;

ipvs_tests::tests! {
    readme_tour;
    ipvsadm_manual_examples;
    ipvsadm_restore_manual_examples;
    ipvsadm_rs_manual_examples;
    manual_toml_example;
    generates_manual_pages_and_completions;
}

/// Runs the lines after a prompt on a director with an empty table; each must succeed.
fn run_all(text: &str) {
    under_test::install();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.trim_start().strip_prefix("# ")).collect();
    let commands: Vec<&&str> = lines.iter().filter(|line| line.starts_with("ip") || line.starts_with("sed")).collect();
    assert!(commands.len() > 1, "no commands found");
    for command in commands {
        let ran = shell(command);
        assert_eq!(ran.code, Some(0), "{ran}");
    }
}

fn readme_tour() {
    run_all(include_str!("../../../README.md"));
}

fn ipvsadm_manual_examples() {
    run_all(include_str!("../../../ipvsadm-rs/manual/ipvsadm.md"));
}

fn ipvsadm_restore_manual_examples() {
    run_all(include_str!("../../../ipvsadm-rs/manual/ipvsadm-restore.md"));
}

fn ipvsadm_rs_manual_examples() {
    // The plan in these examples has no changes, so it exits with status 0.
    run_all(include_str!("../../../ipvsadm-rs/manual/ipvsadm-rs.md"));
}

fn manual_toml_example() {
    under_test::install();
    let page = include_str!("../../../ipvsadm-rs/manual/ipvsadm-rs.md");
    let start = page.find("    [[services]]").unwrap();
    let block = &page[start..];
    let end = block.find("\n\nFurther").unwrap();
    fs::write("table.toml", &block[..end]).unwrap();
    run("ipvsadm-rs apply table.toml").ok();
    assert_eq!(
        run("ipvsadm-save -n").ok(),
        "-A -t 192.0.2.1:80 -s wrr -p 360\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3\n"
    );
}

fn generates_manual_pages_and_completions() {
    under_test::install();
    for program in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore", "ipvsadm-rs"] {
        let page = run(&format!("ipvsadm-rs generate man --for {program}")).ok();
        assert!(page.contains(&format!(".TH {} 8 ", program.to_uppercase())), "{page}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(run(&format!("ipvsadm-rs generate {shell} --for {program}")).ok().contains(program));
        }
    }
}
