//! Error kinds on the wire: their JSON names and the HTTP status each is answered with.
//!
//! The status is for tools that know only HTTP; several kinds share one. A client of ours reads the name.

use oneiric_core::ErrorKind;

const NAMES: [(ErrorKind, &str, u16); 9] = [
    (ErrorKind::Config, "config", 400),
    (ErrorKind::NotFound, "not_found", 404),
    (ErrorKind::Denied, "denied", 403),
    (ErrorKind::Busy, "busy", 423),
    (ErrorKind::RolledBack, "rolled_back", 409),
    (ErrorKind::Unavailable, "unavailable", 503),
    (ErrorKind::Timeout, "timeout", 504),
    (ErrorKind::Usage, "usage", 400),
    (ErrorKind::Internal, "internal", 500),
];

/// Returns the name of a kind; one that this version does not know is `internal`.
#[must_use]
pub fn name(kind: ErrorKind) -> &'static str {
    NAMES
        .iter()
        .find(|(known, ..)| *known == kind)
        .map_or("internal", |(_, name, _)| name)
}

/// Returns the kind of that name; [`ErrorKind::Internal`] for a name that this version does not know.
#[must_use]
pub fn parse(name: &str) -> ErrorKind {
    NAMES
        .iter()
        .find(|(_, known, _)| *known == name)
        .map_or(ErrorKind::Internal, |(kind, ..)| *kind)
}

/// Returns the HTTP status that an error of this kind is answered with.
#[must_use]
pub fn status(kind: ErrorKind) -> u16 {
    NAMES
        .iter()
        .find(|(known, ..)| *known == kind)
        .map_or(500, |(.., status)| *status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json_form_and_lead_back() {
        for (kind, spelt, _) in NAMES {
            assert_eq!(serde_json::to_value(kind).unwrap(), spelt);
            assert_eq!((name(kind), parse(spelt)), (spelt, kind));
        }
        assert_eq!(parse("from_the_future"), ErrorKind::Internal);
    }
}
