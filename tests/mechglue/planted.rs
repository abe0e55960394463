//! Faults that only the plugin of scripts/sanitize has. Each must be reported, so each of these tests must fail there.

use super::fork::in_plugin;

fn plant(kind: u32) {
    unsafe extern "C" fn of_this_type(_: u32) {}
    let function: unsafe extern "C" fn(u32) = of_this_type;
    // SAFETY: a number.
    unsafe { in_plugin(function, "gss_ntlm_plant")(kind) };
}

#[test]
#[ignore = "for scripts/sanitize"]
fn a_read_behind_a_vector() {
    plant(0);
}

#[test]
#[ignore = "for scripts/sanitize"]
fn a_read_of_freed_memory() {
    plant(1);
}

#[test]
#[ignore = "for scripts/sanitize"]
fn a_read_behind_an_array() {
    plant(2);
}

#[test]
#[ignore = "for scripts/sanitize"]
fn a_leak() {
    plant(3);
}

#[test]
#[ignore = "for scripts/sanitize"]
fn a_race() {
    plant(4);
}
