//! How much is kept, and what happens to what is thrown out.

use oneiric_core::BoxFuture;
use tokio::sync::Semaphore;

use super::*;

/// Keeps whatever it is asked for; a name that begins with `slow` waits for the gate.
struct Vault {
    length: usize,
    begun: Arc<Notify>,
    gate: Arc<Semaphore>,
}

impl SecretProvider for Vault {
    fn name(&self) -> &str {
        "vault"
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        Box::pin(async move {
            if name.starts_with("slow") {
                self.begun.notify_one();
                self.gate.acquire().await.unwrap().forget();
                return Ok(Secret::new("the slow value".to_owned()));
            }
            Ok(Secret::new("x".repeat(self.length)))
        })
    }
}

struct Midnight;

impl WallClock for Midnight {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

const TTL: Duration = Duration::from_secs(300);

fn store(length: usize) -> (Arc<Store>, Arc<Notify>, Arc<Semaphore>) {
    let (begun, gate) = (Arc::<Notify>::default(), Arc::new(Semaphore::new(0)));
    let vault: Arc<dyn SecretProvider> = Arc::new(Vault {
        length,
        begun: begun.clone(),
        gate: gate.clone(),
    });
    let providers = Providers::from([("vault".to_owned(), vault)]);
    let clock = Arc::new(Midnight);
    let events = Arc::new(Events::new(clock.clone()));
    let store = Store::new(providers, Redactor::new(), clock, events);
    (Arc::new(store), begun, gate)
}

fn reference(name: impl std::fmt::Display) -> SecretRef {
    format!("secret://vault/{name}").parse().unwrap()
}

async fn fill(store: &Arc<Store>, secrets: usize) {
    for number in 0..secrets {
        store.get(&reference(number), TTL).await.unwrap();
    }
}

#[tokio::test]
async fn what_comes_back_after_it_was_thrown_out_is_newer_than_what_was_given_before() {
    // Too short to be searched for, so that this is about keeping only.
    let (store, _, _) = store(3);
    let first = store.get(&reference("a"), TTL).await.unwrap().version;
    fill(&store, MOST + 8).await;
    assert_eq!(store.entries().len(), MOST);
    assert_eq!(store.version(&reference("a")), 0, "it was thrown out");
    let again = store.get(&reference("a"), TTL).await.unwrap().version;
    assert!(again > first, "{again} after {first}");
}

#[tokio::test]
async fn what_somebody_waits_for_is_not_thrown_out() {
    let (store, begun, gate) = store(3);
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.get(&reference("slow"), TTL).await.unwrap() })
    };
    begun.notified().await;
    fill(&store, MOST + 8).await;
    gate.add_permits(1);
    let given = waiting.await.unwrap();
    assert_eq!(store.version(&reference("slow")), given.version);
    assert_eq!(store.redactor.redact("the slow value"), "[redacted]");
    assert!(store.entries().len() <= MOST);
}

#[tokio::test]
async fn all_values_together_have_a_limit_and_so_has_each() {
    let (whole, _, _) = store(MAX_SECRET_BYTES);
    fill(&whole, 80).await;
    let kept: usize = whole.entries().values().map(|one| one.kept().bytes()).sum();
    assert_eq!(kept, MOST_BYTES);
    let (longer, _, _) = store(MAX_SECRET_BYTES + 1);
    let error = longer.get(&reference(1), TTL).await.err().unwrap();
    assert_eq!(error.code(), "domains.secret_unusable");
}
