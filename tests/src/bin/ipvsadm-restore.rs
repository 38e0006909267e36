//! `ipvsadm-restore`, so that cargo builds it for the tests: a test run of one package builds the programs of no other.

fn main() -> std::process::ExitCode {
    ipvsadm_rs::main()
}
