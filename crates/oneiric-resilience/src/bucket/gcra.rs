//! A token bucket as one number: the instant at which it will be full again.
//!
//! Taking a token moves that instant by the time one token takes to come back. A bucket that will be
//! full at once holds everything; one that will be full in `span` holds nothing. So there is nothing
//! to refill: time passing is the refill. This is the generic cell rate algorithm with the roles of
//! its two parameters told from the bucket's side.
//!
//! All is counted in ticks of a sixteenth of a nanosecond. The time of one token is rounded up to whole
//! ticks, never down: the rate that is granted is at most the rate that was asked for, and less by at
//! most one part in `16e9 / rate`: by 0.006 % at a million tokens a second, by up to 6 % near a thousand
//! million of them.
//!
//! Source: ITU-T I.371, annex A (generic cell rate algorithm, virtual scheduling).

/// A nanosecond in ticks, as a power of two.
const TICK_BITS: u32 = 4;
/// A second in ticks.
const SECOND: f64 = 16e9;
/// How long a bucket counts: 18 years. Then time stands still, and nothing comes back any more.
pub(super) const LIFE_NANOS: u64 = 1 << 59;

/// A reading of a clock in ticks, wrapping: only differences count.
#[inline]
pub(super) const fn tick(nanos: u64) -> u64 {
    nanos << TICK_BITS
}

/// The shortest time in nanoseconds that is no shorter than so many ticks.
pub(super) const fn nanos(ticks: u64) -> u64 {
    ticks.div_ceil(1 << TICK_BITS)
}

/// A duration in nanoseconds as ticks; what is too long to be counted is as long as can be.
pub(super) const fn ticks_of(nanos: u64) -> u64 {
    nanos.saturating_mul(1 << TICK_BITS)
}

/// How a bucket fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// The time one token takes to come back.
    pub(super) increment: u64,
    /// The time all of them take: `capacity` times as long. At most 2^59.
    pub(super) span: u64,
}

impl Terms {
    /// The terms for settings that were checked.
    pub(super) fn of(capacity: u32, refill_per_sec: f64) -> Self {
        let increment = increment(refill_per_sec);
        Self {
            increment,
            span: increment.saturating_mul(u64::from(capacity)),
        }
    }

    /// The time so many tokens take to come back. What is more than `span` can never be paid.
    #[inline]
    pub(super) const fn cost(self, tokens: u64) -> u64 {
        self.increment.saturating_mul(tokens)
    }

    /// What must pass until a bucket that is full in `ahead` can pay `cost`.
    #[inline]
    pub(super) const fn wait(self, ahead: u64, cost: u64) -> u64 {
        ahead.saturating_add(cost).saturating_sub(self.span)
    }

    /// The tokens in a bucket that is full in `ahead`.
    pub(super) const fn tokens(self, ahead: u64) -> u64 {
        self.span.saturating_sub(ahead) / self.increment
    }

    /// What a bucket that is full in `ahead` holds, told under other terms: as many tokens and parts of
    /// one, as far as they fit. Answers with how long until that is full.
    pub(super) fn carry(self, ahead: u64, to: Self) -> u64 {
        let held = u128::from(self.span.saturating_sub(ahead));
        let held = held * u128::from(to.increment) / u128::from(self.increment);
        // What does not fit a u64 does not fit the bucket either.
        let held = u64::try_from(held).unwrap_or(u64::MAX).min(to.span);
        to.span - held
    }
}

/// Ticks a token, rounded up: the rate is never exceeded, not even by what a division loses.
fn increment(refill_per_sec: f64) -> u64 {
    let quotient = SECOND / refill_per_sec;
    // The sign of a fused multiplication is exact, so this finds a quotient that was rounded down.
    let short = quotient.mul_add(refill_per_sec, -SECOND) < 0.0;
    let ticks = if short { quotient.next_up() } else { quotient };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a checked rate is positive, and an empty bucket full within 366 days: below 2^59"
    )]
    let ticks = ticks.ceil() as u64;
    ticks
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether `ticks * rate >= 16e9`, exactly: a float is a whole number times a power of two.
    fn never_exceeds(ticks: u64, rate: f64) -> bool {
        let bits = rate.to_bits();
        let mantissa = u128::from((bits & ((1 << 52) - 1)) | (1 << 52));
        let exponent = (bits >> 52).cast_signed() - 1075;
        let product = u128::from(ticks) * mantissa;
        match u32::try_from(-exponent) {
            Ok(down) => product >> down.min(127) >= 16_000_000_000,
            Err(_) => true,
        }
    }

    proptest! {
        #[test]
        fn a_token_never_comes_back_early(exponent in -24.0_f64..30.0) {
            let rate = exponent.exp2().min(1e9);
            let ticks = increment(rate);
            prop_assert!(never_exceeds(ticks, rate), "{ticks} ticks at {rate} a second");
            // Nor later than by a tick, or by what a float can tell.
            let exact = SECOND / rate;
            let late = (ticks as f64 - exact) / exact;
            prop_assert!(late <= (1.0 / exact).max(1e-15), "{ticks} ticks at {rate} a second");
        }

        #[test]
        fn other_terms_give_nothing(
            (capacity, other) in (1_u32..1000, 1_u32..1000),
            (rate, other_rate) in (0.01_f64..1e9, 0.01_f64..1e9),
            ahead in 0_u64..1 << 50,
        ) {
            let (from, to) = (Terms::of(capacity, rate), Terms::of(other, other_rate));
            let ahead = ahead % (from.span + 1);
            let after = from.carry(ahead, to);
            prop_assert!(after <= to.span);
            prop_assert!(to.tokens(after) <= from.tokens(ahead));
            prop_assert!(to.tokens(after) + 1 >= from.tokens(ahead).min(u64::from(other)));
        }
    }

    #[test]
    fn round_rates_are_exact() {
        assert_eq!(increment(1e9), 16);
        assert_eq!(increment(1.0), 16_000_000_000);
        assert_eq!(increment(3.0), 5_333_333_334);
        assert_eq!(increment(0.9e9), 18, "1 % less");
        assert_eq!(increment(1.0 / 65_536.0), 65_536 * 16_000_000_000);
    }
}
