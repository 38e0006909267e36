//! How the programs under test are linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // They are started ten thousand times, and a kernel in user mode pays dearly for every page that is touched: at a
    // fixed address there are no 30,000 places of an unoptimized program to be relocated before `main`.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
