//! Why a TLS connection was refused, in words. The errors of rustls name their variants (`BadSignature`,
//! `DnsName("localhost")`), which helps whoever writes a TLS library and nobody else.

use rustls::{AlertDescription, CertificateError, Error};

/// What is wrong, for whoever wanted to reach `host`.
pub(super) fn of(error: &Error, host: &str) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error, host),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(_) => "what answers does not speak TLS".to_owned(),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError, host: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate does not come from an authority that is trusted here".to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate comes from another authority than the trusted one of that name"
                .to_owned()
        }
        CertificateError::NotValidForName => format!("its certificate is not for {host}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            if names.is_empty() {
                return format!("its certificate is not for {host}, it names nobody");
            }
            let names = names.join(", ");
            format!("its certificate is not for {host} but for {names}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; is the clock right?".to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        other => format!("its certificate cannot be used: {other}"),
    }
}

fn alerted(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "it wants a client certificate".to_owned(),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::DecryptError
        | AlertDescription::CertificateUnknown => {
            "it does not trust the client certificate".to_owned()
        }
        AlertDescription::CertificateExpired => "the client certificate has expired".to_owned(),
        AlertDescription::ProtocolVersion => {
            "it speaks no version of TLS that is spoken here (1.2, 1.3)".to_owned()
        }
        other => format!("it refused: {other:?}"),
    }
}

/// The name in `DnsName("localhost")` and `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let other_name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.example").unwrap(),
            presented: vec![
                "DnsName(\"localhost\")".to_owned(),
                "IpAddress(127.0.0.1)".to_owned(),
            ],
        };
        for (error, said) in [
            (
                Error::InvalidCertificate(other_name),
                "its certificate is not for a.example but for localhost, 127.0.0.1",
            ),
            (
                Error::InvalidCertificate(CertificateError::BadSignature),
                "its certificate comes from another authority than the trusted one of that name",
            ),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "its certificate does not come from an authority that is trusted here",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "it does not trust the client certificate",
            ),
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "what answers does not speak TLS",
            ),
        ] {
            assert_eq!(of(&error, "a.example"), said);
        }
    }
}
