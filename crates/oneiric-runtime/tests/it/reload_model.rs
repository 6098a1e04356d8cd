//! Whatever settings are reloaded in whatever order, some of which cannot work: the process is then as one that was
//! started with the last good ones.

use std::collections::BTreeMap;

use oneiric_lifecycle::{Activity, ActivityRule, Difference};
use oneiric_runtime::{
    Runtime, Settings,
    api::{CallRequest, ReloadOutcome},
};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Stage, build, slot};

const SLOTS: [&str; 3] = ["adapter/a", "adapter/b", "service/c"];
const PROVIDERS: [&str; 2] = ["p", "q"];

/// One candidate as a document has it.
#[derive(Debug, Clone)]
struct Part {
    priority: i64,
    metadata: u8,
    name: u8,
    fails: bool,
    needs_first: bool,
}

impl Part {
    /// Cannot be built, or needs a slot that may have no candidates.
    const fn may_fail(&self) -> bool {
        self.fails || self.needs_first
    }
}

#[derive(Debug, Clone)]
struct Document {
    parts: BTreeMap<(usize, usize), Part>,
    backwards: bool,
    selections: BTreeMap<usize, usize>,
    grace: u64,
    elsewhere: bool,
    paused: Option<usize>,
}

impl Document {
    fn text(&self) -> String {
        let mut text = format!("[run]\ngrace_ms = {}\n[selections]\n", self.grace);
        for (slot, provider) in &self.selections {
            text.push_str(&format!(
                "'{}' = '{}'\n",
                SLOTS[*slot], PROVIDERS[*provider]
            ));
        }
        let mut parts: Vec<_> = self.parts.iter().collect();
        if self.backwards {
            parts.reverse();
        }
        for ((slot, provider), part) in parts {
            let needs = if part.needs_first && *slot > 0 {
                "['adapter/a']"
            } else {
                "[]"
            };
            text.push_str(&format!(
                "[[candidates]]\nslot = '{0}'\nprovider = '{1}'\nfactory = 'oneiric.test:actor'\npriority = {2}\n\
                 requires = {needs}\nmetadata = {{ m = {3} }}\n[providers.'{0}'.{1}]\nname = '{0}:{1}:{4}'\n\
                 build = '{5}'\n",
                SLOTS[*slot],
                PROVIDERS[*provider],
                // No ties: between equals it counts who came first, and that is not in the settings.
                part.priority * 2 + i64::try_from(*provider).unwrap(),
                part.metadata,
                part.name,
                if part.fails { "fail" } else { "" },
            ));
        }
        text
    }

    fn settings(&self, like: &Settings) -> Settings {
        let mut settings = Settings::parse(&self.text(), "oneiric.toml").unwrap();
        settings.state_dir.clone_from(&like.state_dir);
        if self.elsewhere {
            settings.state_dir.push("elsewhere");
        }
        settings
    }

    fn name(&self, of: &str, provider: &str) -> String {
        let slot = SLOTS.iter().position(|slot| *slot == of).unwrap();
        let index = PROVIDERS.iter().position(|one| *one == provider).unwrap();
        format!("{of}:{provider}:{}", self.parts[&(slot, index)].name)
    }
}

fn part() -> impl Strategy<Value = Part> {
    (
        0..3_i64,
        0..2_u8,
        0..3_u8,
        prop::bool::weighted(0.08),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(priority, metadata, name, fails, needs_first)| Part {
            priority,
            metadata,
            name,
            fails,
            needs_first,
        })
}

fn document() -> impl Strategy<Value = Document> {
    let parts = prop::collection::btree_map((0..SLOTS.len(), 0..PROVIDERS.len()), part(), 0..6);
    let selections = prop::collection::btree_map(0..SLOTS.len(), 0..PROVIDERS.len(), 0..3);
    let paused = prop::option::weighted(0.3, 0..SLOTS.len());
    (
        parts,
        any::<bool>(),
        selections,
        1..3_u64,
        prop::bool::weighted(0.1),
        paused,
    )
        .prop_map(
            |(parts, backwards, selections, grace, elsewhere, paused)| Document {
                parts,
                backwards,
                selections,
                grace,
                elsewhere,
                paused,
            },
        )
}

async fn activate_all(runtime: &Runtime) {
    for slot in runtime.registry().snapshot().slots() {
        drop(runtime.lifecycle().activate(slot).await);
    }
}

/// What candidates there are, in their order, and who is selected.
fn ranking(runtime: &Runtime) -> Vec<Value> {
    let list = runtime.list(None);
    let mut slots: Vec<Value> = list
        .slots
        .iter()
        .map(|slot| {
            let mut slot = serde_json::to_value(slot).unwrap();
            for name in ["state", "active"] {
                slot.as_object_mut().unwrap().remove(name);
            }
            for candidate in slot["candidates"].as_array_mut().unwrap() {
                for name in ["sequence", "active"] {
                    candidate.as_object_mut().unwrap().remove(name);
                }
            }
            slot
        })
        .collect();
    slots.sort_by_key(|slot| slot["slot"].to_string());
    slots
}

fn active(runtime: &Runtime) -> BTreeMap<String, (String, Option<Difference>)> {
    let status = runtime.status(None).unwrap();
    status
        .slots
        .into_iter()
        .filter_map(|slot| {
            let active = slot.active?;
            Some((
                slot.slot.to_string(),
                (active.provider.to_string(), slot.differs),
            ))
        })
        .collect()
}

async fn who(runtime: &Runtime, of: &str) -> String {
    let request = CallRequest {
        slot: slot(of),
        operation: "who".into(),
        input: Value::Null,
    };
    let answer = runtime.call(request).await.unwrap();
    answer.output.as_str().unwrap().to_owned()
}

/// That `runtime` is as one that was started with `good`, but for swaps that nobody asks for by ranking alone.
async fn is_as_fresh(runtime: &Runtime, good: &Document, stage: &Stage, dir: &std::path::Path) {
    let fresh = build(stage, &good.text(), dir);
    assert_eq!(ranking(runtime), ranking(&fresh));
    assert_eq!(runtime.settings().grace, fresh.settings().grace);
    activate_all(&fresh).await;
    let (here, there) = (active(runtime), active(&fresh));
    for (slot, (provider, differs)) in &here {
        assert_eq!(
            who(runtime, slot).await,
            good.name(slot, provider),
            "{slot}"
        );
        // Nobody asks for a swap by ranking alone, and one that failed was undone.
        let stays = matches!(
            differs,
            Some(Difference::NotApplied | Difference::SwapFailed { .. })
        );
        match there.get(slot) {
            Some((name, _)) if !stays => assert_eq!(name, provider, "{slot} {differs:?}"),
            Some(_) => {}
            // What ranks best now cannot be built, and was never tried here.
            None => assert!(good.parts.values().any(Part::may_fail), "{slot}"),
        }
    }
    for slot in there.keys() {
        assert!(here.contains_key(slot), "{slot} is not active");
    }
    drop(
        fresh
            .lifecycle()
            .shutdown(std::time::Duration::from_secs(5))
            .await,
    );
}

async fn run(documents: Vec<Document>) {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new();
    let mut good = Document {
        parts: BTreeMap::new(),
        backwards: false,
        selections: BTreeMap::new(),
        grace: 1,
        elsewhere: false,
        paused: None,
    };
    let runtime = build(&stage, &good.text(), dir.path());
    for document in documents {
        if let Some(paused) = document.paused {
            // A slot that nobody knows cannot be paused.
            drop(
                runtime
                    .lifecycle()
                    .set_activity(ActivityRule::pause(slot(SLOTS[paused]))),
            );
        }
        let settings = document.settings(&runtime.settings());
        let doc = runtime.reload_to(settings, "test").await.unwrap();
        let refused = document.elsewhere;
        match doc.outcome {
            ReloadOutcome::Applied | ReloadOutcome::Unchanged => {
                assert!(!refused);
                good = document.clone();
            }
            ReloadOutcome::Refused => assert!(refused),
            ReloadOutcome::Restored { ref failed } => {
                assert!(document.parts.values().any(Part::may_fail), "{failed:?}");
            }
            other => panic!("{other:?}"),
        }
        if let Some(paused) = document.paused {
            let resume = ActivityRule::new(slot(SLOTS[paused]), Activity::Running);
            drop(runtime.lifecycle().set_activity(resume));
            // What waited is done by the next reload too, if no process is there to do it by itself.
            let doc = runtime
                .reload_to(good.settings(&runtime.settings()), "test")
                .await
                .unwrap();
            match doc.outcome {
                ReloadOutcome::Applied | ReloadOutcome::Unchanged => {}
                // What waited cannot work: it waits on, and is shown. Nothing more can be said of this process.
                ReloadOutcome::Restored { .. } => return,
                other => panic!("{other:?}"),
            }
        }
        is_as_fresh(&runtime, &good, &stage, dir.path()).await;
    }
    drop(
        runtime
            .lifecycle()
            .shutdown(std::time::Duration::from_secs(5))
            .await,
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn after_any_reloads_a_process_is_as_one_started_with_the_last_good_settings(
        documents in prop::collection::vec(document(), 1..8)
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(run(documents));
    }
}
