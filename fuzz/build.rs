//! The plugin finds in the program that loads it what counts the edges of the code.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bin=plugin=-Wl,--export-dynamic-symbol=__sanitizer_cov_*");
    println!("cargo::rustc-link-arg-bin=plugin=-Wl,--export-dynamic-symbol=getrandom");
    // tests/common, which is otherwise for cargo's tests, puts its files there.
    println!("cargo::rustc-env=CARGO_TARGET_TMPDIR={}", std::env::temp_dir().display());
}
