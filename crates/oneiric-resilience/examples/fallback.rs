//! An exchange rate that may be some minutes old, said to be so, while the bank does not answer.
#![cfg_attr(
    not(test),
    expect(
        clippy::print_stdout,
        missing_docs,
        reason = "an example shows something"
    )
)]

use std::cell::Cell;

use oneiric_resilience::{Error, Fallback};

#[derive(Debug, Clone, Copy, PartialEq)]
struct Rate {
    cents: u32,
    minutes_old: u32,
}

#[derive(Debug, Clone, Copy)]
enum Bank {
    Unreachable,
    NoSuchCurrency,
}

/// The bank's own "no" is an answer, and is passed on; only its silence is covered.
fn is_silence(error: &Error<Bank>) -> bool {
    !matches!(error, Error::Inner(Bank::NoSuchCurrency))
}

pub fn main() {
    let last_known = Cell::new(None::<Rate>);
    let covered = Cell::new(0);
    let fallback = Fallback::new(|error: Error<Bank>| match last_known.get() {
        Some(rate) => Ok(Rate {
            minutes_old: rate.minutes_old + 10,
            ..rate
        }),
        None => Err(error),
    })
    .when(is_silence)
    .hook(|_: &Error<Bank>| covered.set(covered.get() + 1));

    for answer in [
        Err(Error::Inner(Bank::Unreachable)),
        Ok(Rate {
            cents: 108,
            minutes_old: 0,
        }),
        Err(Error::DeadlineExceeded),
        Err(Error::Inner(Bank::NoSuchCurrency)),
    ] {
        println!("the bank: {answer:?}");
        if let Ok(rate) = answer {
            last_known.set(Some(rate));
        }
        println!("  we say: {:?}", fallback.apply(answer));
    }
    println!("covered: {}", covered.get());
}
