//! How many there are at one time: those that are going count like those that serve, until nothing is left of them.

use std::time::Duration;

use oneiric_lifecycle::Keyed;
use tokio::task::JoinHandle;

use super::{keyed, limits, number, quiet, retired};
use crate::support::{Act, Lab, Script, soon, until};

fn ask(keyed: &Keyed, key: &'static str) -> JoinHandle<u64> {
    let keyed = keyed.clone();
    tokio::spawn(async move { number(&keyed, key).await })
}

fn retire(keyed: &Keyed, key: &'static str) -> JoinHandle<bool> {
    let keyed = keyed.clone();
    tokio::spawn(async move { keyed.retire(key).await })
}

fn gated_retirements(lab: &Lab) -> std::sync::Arc<tokio::sync::Semaphore> {
    let (retire, gate) = Act::gate();
    lab.book.script(
        "a",
        Script {
            retire,
            ..Script::default()
        },
    );
    gate
}

#[tokio::test(start_paused = true)]
async fn those_that_go_because_nobody_used_them_count_until_they_are_gone() {
    let lab = Lab::pair();
    let gate = gated_retirements(&lab);
    let mut limits = limits(2);
    limits.idle = Some(Duration::from_secs(60));
    let keyed = keyed(&lab, limits);
    for key in ["one", "two"] {
        number(&keyed, key).await;
    }
    // Not slept through: time stands still while somebody is at work on the blocking pool.
    tokio::time::advance(Duration::from_secs(76)).await;
    until(|| retired(&lab) == [1, 1]).await;
    assert!(keyed.is_empty());
    let asked = [ask(&keyed, "three"), ask(&keyed, "four")];
    quiet().await;
    assert_eq!(lab.book.all().len(), 2, "two are still being retired");
    gate.add_permits(1);
    until(|| lab.book.all().len() == 3).await;
    quiet().await;
    assert_eq!(lab.book.all().len(), 3, "one is still being retired");
    gate.add_permits(100);
    for asked in asked {
        soon(asked).await.unwrap();
    }
    assert_eq!(retired(&lab), [1, 1, 0, 0]);
}

#[tokio::test]
async fn a_key_has_no_second_instance_before_the_first_is_gone() {
    let lab = Lab::pair();
    let gate = gated_retirements(&lab);
    let keyed = keyed(&lab, limits(8));
    let first = number(&keyed, "one").await;
    let retiring = retire(&keyed, "one");
    until(|| retired(&lab) == [1]).await;
    let asked = ask(&keyed, "one");
    let again = retire(&keyed, "one");
    quiet().await;
    assert_eq!(lab.book.all().len(), 1, "the first is still being retired");
    // Others are not held up.
    number(&keyed, "two").await;
    gate.add_permits(1);
    assert!(soon(retiring).await.unwrap());
    gate.add_permits(100);
    soon(again).await.unwrap();
    assert_ne!(soon(asked).await.unwrap(), first);
}

#[tokio::test]
async fn whoever_asks_while_one_is_taken_out_of_turn_waits_for_its_place() {
    let lab = Lab::pair();
    let gate = gated_retirements(&lab);
    let keyed = keyed(&lab, limits(1));
    number(&keyed, "one").await;
    let retiring = retire(&keyed, "one");
    until(|| retired(&lab) == [1]).await;
    let asked = ask(&keyed, "two");
    quiet().await;
    assert_eq!(lab.book.all().len(), 1, "the only place is taken");
    gate.add_permits(100);
    assert!(soon(retiring).await.unwrap());
    soon(asked).await.unwrap();
    assert_eq!(retired(&lab), [1, 0]);
}
