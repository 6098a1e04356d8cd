//! Services: long-lived logic that is called, such as a clock or a mailer.

use oneiric_core::Domain;

use crate::bridge::{Bridge, InDomain};

/// The domain of services, `service/...`.
#[derive(Debug)]
pub enum Service {}

impl InDomain for Service {
    const DOMAIN: Domain = Domain::SERVICE;
}

/// The way to a program's services: `services.live::<dyn Clock>(&key)`.
pub type Services = Bridge<Service>;
