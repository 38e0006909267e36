//! Compares our program with the reference on the cases of `tests/cases`.

use ipvs_tests::harness::Test;

macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../../cases/", $name, ".cases")))),*] };
}

const FILES: &[(&str, &str)] = files![
    "usage",
    "addresses",
    "services",
    "servers",
    "fwmarks",
    "timeouts",
    "daemons",
    "listings",
    "names",
    "save",
    "restore",
    "scripts",
    "connections",
    "edges",
    "differences",
    "hints",
];

pub(crate) fn tests() -> Vec<Test> {
    ipvs_tests::oracle::tests("cases", FILES, crate::under_test::install)
}
