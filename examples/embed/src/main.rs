//! A program of its own on `oneiric-core` and `oneiric-lifecycle`: its own trait, two
//! implementations, a reference that follows a swap, and an explanation. `cargo run -p embed`.
#![expect(clippy::print_stdout, reason = "a program that shows something")]

use std::error::Error;
use std::sync::Arc;

use oneiric_core::{BoxFuture, Candidate, Origin, Query, Registry, SelectionLayer, Slot};
use oneiric_lifecycle::{
    CallError, FactoryTable, Instance, Invoke, Lifecycle, Payload, SwapRequest, factory_fn,
};

/// What this program's parts can do.
trait Greet: Send + Sync {
    fn greet(&self, name: &str) -> String;
}

struct Greeter(&'static str);

impl Greet for Greeter {
    fn greet(&self, name: &str) -> String {
        format!("{}, {name}!", self.0)
    }
}

/// The same by name, for callers without the Rust type.
impl Invoke for Greeter {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async move {
            match operation {
                "greet" => Payload::json(&self.greet(&input.parse::<String>()?)),
                other => Err(CallError::unknown_operation(other, self)),
            }
        })
    }
}

#[derive(serde::Deserialize)]
struct NoSettings {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let slot: Slot = "service/greeter".parse()?;
    let (registry, mut factories) = (Registry::new(), FactoryTable::new());
    for (provider, word, priority) in [("english", "Hello", 20), ("french", "Bonjour", 10)] {
        let path: oneiric_core::FactoryPath = format!("oneiric.embed:{provider}").parse()?;
        let build = move |_, NoSettings {}| async move {
            let greeter = Arc::new(Greeter(word));
            Ok(Instance::new(greeter.clone()).facet::<dyn Greet>(greeter))
        };
        factories.insert(path.clone(), factory_fn(build));
        let candidate = Candidate::builder(slot.clone(), provider.parse()?, Origin::settings());
        registry
            .register(candidate.factory(path).priority(priority).build())
            .keep();
    }
    let lifecycle = Lifecycle::builder(registry.clone())
        .factories(factories)
        .build();
    let greeter = lifecycle.live::<dyn Greet>(&slot);
    println!("{}", greeter.ready().await?.greet("Ada"));
    registry.select(SelectionLayer::Operator, &slot, Some("french".parse()?));
    lifecycle.swap(SwapRequest::to_winner(slot.clone())).await?;
    println!("{}", greeter.lease()?.greet("Ada"));
    println!("\n{}", registry.explain(&Query::new(slot)));
    lifecycle.shutdown(std::time::Duration::from_secs(5)).await;
    Ok(())
}
