//! Links the programs under test at a fixed address.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The tests start them ten thousand times, and in user-mode-linux every page that is touched is expensive. A fixed
    // address avoids the 30,000 relocations of an unoptimized program before `main`.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
