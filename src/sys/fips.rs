//! The FIPS mode of the kernel.

use super::once_box::OnceBox;

/// Whether the kernel runs in FIPS mode. It is asked once per process.
pub(super) fn is_enabled() -> bool {
    static ENABLED: OnceBox<bool> = OnceBox::new();
    *ENABLED.get_or_init(|| std::fs::read("/proc/sys/crypto/fips_enabled").is_ok_and(|text| text.starts_with(b"1")))
}
