//! `ipvsadm`, as a program of this package. A test run of one package does not build the programs of other packages.

fn main() -> std::process::ExitCode {
    ipvsadm_rs::main()
}
