//! Places at which a test breaks the program on purpose, or ends it.

use crate::failpoints::Failpoint;

/// Whether the program is broken at this place: when `FAILPOINTS` says `mutant_<name>=return`, and never without the
/// feature `failpoints`.
pub(crate) fn mutant(name: &str) -> bool {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(&format!("mutant_{name}"), |_| true);
    let _ = name;
    false
}

/// Ends the process when `FAILPOINTS` says `<name>=return`, and never without the feature `failpoints`.
pub(crate) fn die_at(failpoint: Failpoint) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(failpoint.name(), |_| std::process::abort());
    let _ = failpoint;
}
