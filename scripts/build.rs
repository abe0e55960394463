//! Sets the link arguments of the plugin; generates nothing.

#![expect(clippy::disallowed_methods, reason = "cargo tells a build script by its environment")]

fn main() {
    println!("cargo::rerun-if-changed=scripts/build.rs");
    for argument in [
        "-Wl,-z,now",
        // The mechglue of krb5 before 1.13 does not use RTLD_NODELETE.
        "-Wl,-z,nodelete",
        // A call inside the plugin stays inside, whatever symbols the program has.
        "-Wl,-Bsymbolic-functions",
        "-Wl,-soname,gss_ntlm.so",
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    // The functions of a sanitizer (scripts/sanitize) and of a fuzzer (scripts/fuzz) are in the program that loads the plugin.
    if ["CARGO_CFG_SANITIZED", "CARGO_CFG_FUZZING"].map(std::env::var_os).iter().all(Option::is_none) {
        // An undefined symbol fails at build time, not in dlopen(RTLD_NOW), whose error the mechglue does not show.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
    }
}
