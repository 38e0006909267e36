//! `ipvsadm-rs`; called as `ipvsadm`, `ipvsadm-save` or `ipvsadm-restore`, it is those programs.

fn main() -> std::process::ExitCode {
    ipvsadm_rs::main()
}
