//! What a client certificate says: the common name of its subject, its alternative names, and until when it holds.
//!
//! The certificate was verified before anybody looks here, by the TLS machinery, which offers no way to read a
//! subject. This reads just enough DER to find the places (RFC 5280, 4.1 and 4.2.1.6), copies nothing it does not
//! understand, and finds nothing in what is malformed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// OBJECT IDENTIFIER 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// OBJECT IDENTIFIER 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`: the version. `[3]`: the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[1]`, `[2]`, `[6]` of an alternative name: mail address, DNS name, URI.
const TEXTS: [u8; 3] = [0x81, 0x82, 0x86];

/// The names of a certificate, the common name first.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(body) = body(certificate) {
        names.extend(common_names(body).unwrap_or_default());
        names.extend(alternative_names(body).unwrap_or_default());
    }
    names
}

/// The last moment at which a certificate holds.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let mut body = body(certificate)?;
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        body.next()?;
    }
    let mut validity = body.enter(SEQUENCE)?;
    validity.next()?;
    let (form, value) = validity.next()?;
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(if form == GENERALIZED_TIME { 4 } else { 2 })?;
    let year: i64 = digits(year)?;
    let year = match form {
        GENERALIZED_TIME => year,
        UTC_TIME if year < 50 => 2_000 + year,
        UTC_TIME => 1_900 + year,
        _ => return None,
    };
    let parts: Vec<&str> = (0..5)
        .filter_map(|at| rest.get(at * 2..at * 2 + 2))
        .collect();
    let parts: Vec<i64> = parts.into_iter().filter_map(digits).collect();
    let [
        month @ 1..=12,
        day @ 1..=31,
        hour @ 0..=23,
        minute @ 0..=59,
        second @ 0..=60,
    ] = *parts
    else {
        return None;
    };
    if rest.len() != 10 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn digits(text: &str) -> Option<i64> {
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, in years that begin in March: a leap day ends its year.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let of_year = (month * 153 + 2) / 5 + day - 1;
    let leap = year / 4 - year / 100 + year / 400;
    year * 365 + leap + of_year - 719_468
}

/// What was signed, without its version.
fn body(certificate: &[u8]) -> Option<Der<'_>> {
    let mut certificate = Der(certificate).enter(SEQUENCE)?;
    let mut body = certificate.enter(SEQUENCE)?;
    if body.tag() == Some(VERSION) {
        body.next()?;
    }
    Some(body)
}

fn common_names(mut body: Der<'_>) -> Option<Vec<String>> {
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        body.next()?;
    }
    let mut subject = body.enter(SEQUENCE)?;
    let mut names = Vec::new();
    while subject.tag().is_some() {
        let mut set = subject.enter(SET)?;
        while set.tag().is_some() {
            let mut pair = set.enter(SEQUENCE)?;
            let (tag, kind) = pair.next()?;
            let (form, value) = pair.next()?;
            if tag == OID && kind == COMMON_NAME && [UTF8, PRINTABLE, IA5].contains(&form) {
                names.extend(text(value));
            }
        }
    }
    Some(names)
}

fn alternative_names(mut body: Der<'_>) -> Option<Vec<String>> {
    while body.tag()? != EXTENSIONS {
        body.next()?;
    }
    let mut extensions = body.enter(EXTENSIONS)?.enter(SEQUENCE)?;
    while extensions.tag().is_some() {
        let mut extension = extensions.enter(SEQUENCE)?;
        let (_, kind) = extension.next()?;
        if kind != ALTERNATIVE_NAMES {
            continue;
        }
        // Whether it is critical may stand between the two.
        while extension.tag()? != OCTETS {
            extension.next()?;
        }
        let mut found = extension.enter(OCTETS)?.enter(SEQUENCE)?;
        let mut names = Vec::new();
        while let Some((tag, value)) = found.next() {
            if TEXTS.contains(&tag) {
                names.extend(text(value));
            }
        }
        return Some(names);
    }
    None
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// What is left to read of one value's contents.
#[derive(Clone, Copy)]
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value: its tag and its contents.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let bytes = usize::from(first & 0x7f);
            // Longer lengths than four bytes are of nothing that fits into a handshake.
            if bytes == 0 || bytes > 4 {
                return None;
            }
            let (length, after) = rest.split_at_checked(bytes)?;
            rest = after;
            length
                .iter()
                .fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte))
        };
        let (value, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, value))
    }

    /// The contents of the next value, if it has this tag.
    fn enter(&mut self, tag: u8) -> Option<Self> {
        let (found, value) = self.next()?;
        (found == tag).then_some(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, string::Ia5String};

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(["deploy.example".to_owned()]).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "not a name");
        params.distinguished_name.push(DnType::CommonName, "ci é");
        let mail = Ia5String::try_from("a@b.example").unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name(mail));
        let address = std::net::IpAddr::from([127, 0, 0, 1]);
        params.subject_alt_names.push(SanType::IpAddress(address));
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn common_and_alternative_names_are_found() {
        assert_eq!(
            names(&certificate()),
            ["ci é", "deploy.example", "a@b.example"]
        );
    }

    #[test]
    fn until_when_a_certificate_holds_is_found() {
        let key = KeyPair::generate().unwrap();
        let seconds = |year, month, day| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.not_after = rcgen::date_time_ymd(year, month, day);
            let certificate = params.self_signed(&key).unwrap();
            let until = not_after(certificate.der()).unwrap();
            until.duration_since(UNIX_EPOCH).unwrap().as_secs()
        };
        assert_eq!(seconds(1970, 1, 1), 0);
        assert_eq!(seconds(2024, 2, 29), 1_709_164_800);
        assert_eq!(seconds(2026, 11, 22), 1_795_305_600);
        // From 2050 on it is written in another form.
        assert_eq!(seconds(2050, 1, 1), 2_524_608_000);
        assert_eq!(seconds(4096, 1, 1), 67_090_118_400);
    }

    #[test]
    fn no_malformed_certificate_is_a_panic_or_an_endless_search() {
        let whole = certificate();
        for length in 0..whole.len() {
            drop(names(&whole[..length]));
            not_after(&whole[..length]);
        }
        for at in 0..whole.len() {
            for byte in [0x00, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut broken = whole.clone();
                broken[at] = byte;
                drop(names(&broken));
                not_after(&broken);
            }
        }
    }
}
