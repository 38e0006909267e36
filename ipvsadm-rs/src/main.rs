//! The program `ipvsadm-rs`, which is also `ipvsadm`, `ipvsadm-save` and `ipvsadm-restore` if called by these names.

fn main() -> std::process::ExitCode {
    ipvsadm_rs::main()
}
