//! Link arguments of the plugin; nothing is generated here.

fn main() {
    println!("cargo::rerun-if-changed=scripts/build.rs");
    for argument in [
        // An undefined symbol fails here, not in dlopen(RTLD_NOW), where the mechglue says nothing.
        "-Wl,-z,defs",
        "-Wl,-z,now",
        // The mechglue of krb5 before 1.13 does not ask for RTLD_NODELETE itself.
        "-Wl,-z,nodelete",
        // A call inside the plugin never leaves it, whatever the program has in its global scope.
        "-Wl,-Bsymbolic-functions",
        "-Wl,-soname,gss_ntlm.so",
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
}
