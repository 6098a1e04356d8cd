//! Whatever settings are reloaded in whatever order, some of which cannot work: the process is then as one that was
//! started with the last good ones. And whatever operators do meanwhile, to slots that are paused or not: what a slot
//! was exchanged for is what somebody asked for, and when everything is resumed nothing that was asked for is missing.

use std::collections::BTreeMap;

use oneiric_core::SelectionLayer;
use oneiric_lifecycle::{Activity, ActivityRule, Difference};
use oneiric_runtime::{
    Runtime, Settings,
    api::{CallRequest, ReloadOutcome, RotateRequest, SwapRequestDoc},
};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Scene, Stage, build, slot, soon};

const SLOTS: [&str; 3] = ["adapter/a", "adapter/b", "service/c"];
const PROVIDERS: [&str; 2] = ["p", "q"];

const fn takes_settings_while_it_serves(provider: usize) -> bool {
    provider == 1
}

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
    const fn empty() -> Self {
        Self {
            parts: BTreeMap::new(),
            backwards: false,
            selections: BTreeMap::new(),
            grace: 1,
            elsewhere: false,
            paused: None,
        }
    }

    /// The same of parts that work.
    fn sound(mut self) -> Self {
        for part in self.parts.values_mut() {
            (part.fails, part.needs_first) = (false, false);
        }
        self.elsewhere = false;
        self
    }

    fn has(&self, slot: usize, provider: &str) -> bool {
        let mut parts = self.parts.keys();
        parts.any(|(of, index)| *of == slot && PROVIDERS[*index] == provider)
    }

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
                 build = '{5}'\ntoken = 'secret://safe/token'\ntold = {6}\n",
                SLOTS[*slot],
                PROVIDERS[*provider],
                // No ties: between equals it counts who came first, and that is not in the settings.
                part.priority * 2 + i64::try_from(*provider).unwrap(),
                part.metadata,
                part.name,
                if part.fails { "fail" } else { "" },
                takes_settings_while_it_serves(*provider),
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
    stage.safe.set("token", "value 0");
    let mut good = Document::empty();
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

/// What may happen to a process.
#[derive(Debug, Clone)]
enum Deed {
    Reload(Document),
    Pause(usize),
    Resume(usize),
    Rotate,
    Swap(usize, usize),
    Clear(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => document().prop_map(|document| Deed::Reload(document.sound())),
        3 => (0..SLOTS.len()).prop_map(Deed::Pause),
        1 => (0..SLOTS.len()).prop_map(Deed::Resume),
        2 => Just(Deed::Rotate),
        1 => (0..SLOTS.len(), 0..PROVIDERS.len()).prop_map(|(slot, to)| Deed::Swap(slot, to)),
        1 => (0..SLOTS.len()).prop_map(Deed::Clear),
    ]
}

fn set(runtime: &Runtime, of: usize, activity: Activity) -> bool {
    let rule = ActivityRule::new(slot(SLOTS[of]), activity);
    // A slot that nobody knows cannot be paused.
    runtime.lifecycle().set_activity(rule).is_ok()
}

/// Who serves a slot, and the instance's number.
fn serving(runtime: &Runtime, of: usize) -> Option<(String, u64)> {
    let active = runtime.lifecycle().status(&slot(SLOTS[of]))?.active?;
    Some((active.provider.to_string(), active.instance))
}

/// A process, and what is true of it.
struct Model {
    scene: Scene,
    good: Document,
    closed: [bool; SLOTS.len()],
    rotations: u64,
}

impl Model {
    async fn start() -> Self {
        let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
        stage.safe.set("token", "value 0");
        let good = Document::empty();
        let runtime = build(&stage, &good.text(), dir.path());
        Self {
            scene: Scene::run(stage, runtime, dir).await,
            good,
            closed: [false; SLOTS.len()],
            rotations: 0,
        }
    }

    async fn perform(&mut self, deed: Deed) {
        let runtime = self.scene.runtime.clone();
        let before: Vec<_> = (0..SLOTS.len()).map(|of| serving(&runtime, of)).collect();
        let mut exchanged_by_hand = None;
        match deed {
            Deed::Reload(document) => {
                let settings = document.settings(&runtime.settings());
                let doc = soon(runtime.reload_to(settings, "test")).await.unwrap();
                let done = [ReloadOutcome::Applied, ReloadOutcome::Unchanged];
                assert!(done.contains(&doc.outcome), "{doc:?}");
                self.good = document;
            }
            Deed::Pause(of) => self.closed[of] |= set(&runtime, of, Activity::Paused),
            Deed::Resume(of) => {
                set(&runtime, of, Activity::Running);
                self.closed[of] = false;
            }
            // What no settings name is not fetched anew.
            Deed::Rotate if self.good.parts.is_empty() => {}
            Deed::Rotate => {
                self.rotations += 1;
                let token = format!("value {}", self.rotations);
                self.scene.stage.safe.set("token", &token);
                let all = RotateRequest::default();
                let doc = soon(runtime.rotate_secrets(all, "test")).await.unwrap();
                assert!(doc.complete, "{doc:?}");
            }
            Deed::Swap(of, to) => {
                exchanged_by_hand = Some(of);
                let to = PROVIDERS[to].parse().unwrap();
                let request = SwapRequestDoc::to_provider(slot(SLOTS[of]), to);
                // There need not be one.
                drop(soon(runtime.swap(request, "test")).await);
            }
            Deed::Clear(of) => {
                exchanged_by_hand = Some(of);
                let request = SwapRequestDoc {
                    clear: true,
                    ..SwapRequestDoc::to_winner(slot(SLOTS[of]))
                };
                drop(soon(runtime.swap(request, "test")).await);
            }
        }
        for (of, before) in before.into_iter().enumerate() {
            if self.closed[of] && exchanged_by_hand != Some(of) {
                let provider = |serving: Option<(String, u64)>| serving.map(|(name, _)| name);
                let now = provider(serving(&runtime, of));
                assert_eq!(now, provider(before), "{} is paused", SLOTS[of]);
            }
        }
    }

    /// Everything is resumed, and what waited is done without anybody asking.
    async fn end(self) {
        let runtime = &self.scene.runtime;
        for of in 0..SLOTS.len() {
            set(runtime, of, Activity::Running);
        }
        soon(async {
            while !runtime.settings_state().held.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let snapshot = runtime.registry().snapshot();
        for (of, name) in SLOTS.iter().enumerate() {
            let Some((provider, _)) = serving(runtime, of) else {
                let parts = self.good.parts.keys();
                assert_eq!(parts.filter(|(slot, _)| *slot == of).count(), 0, "{name}");
                continue;
            };
            assert_eq!(who(runtime, name).await, self.good.name(name, &provider));
            let request = CallRequest {
                slot: slot(name),
                operation: "token".into(),
                input: Value::Null,
            };
            // What a pause kept from it, it is told after it is resumed.
            let newest = format!("value {}", self.rotations);
            soon(async {
                while runtime.call(request.clone()).await.unwrap().output != *newest {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let selected = self.good.selections.get(&of).map(|index| PROVIDERS[*index]);
            let operator = snapshot
                .selection(&slot(name))
                .is_some_and(|selection| selection.layer == SelectionLayer::Operator);
            // A change of ranking alone exchanges nothing; whoever is selected and there serves.
            if let Some(selected) = selected.filter(|selected| self.good.has(of, selected))
                && !operator
            {
                assert_eq!(provider, selected, "{name}");
            }
        }
        self.scene.stop().await;
    }
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

    #[test]
    fn p82_nothing_that_was_asked_for_is_missing_when_everything_is_resumed(
        deeds in prop::collection::vec(deed(), 1..16)
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let mut model = Model::start().await;
            for deed in deeds {
                model.perform(deed).await;
            }
            model.end().await;
        });
    }
}

/// What serves was told of settings that it cannot be built with; another reload exchanges it, and fails further
/// on. It serves again all the same, because it was kept until the whole reload stands.
#[tokio::test]
async fn what_cannot_be_built_again_serves_again_when_a_reload_has_to_go_back() {
    let part = |fails| Part {
        priority: 0,
        metadata: 0,
        name: 0,
        fails,
        needs_first: false,
    };
    let document = |parts: &[((usize, usize), Part)]| Document {
        parts: parts.iter().cloned().collect(),
        ..Document::empty()
    };
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new();
    stage.safe.set("token", "value 0");
    let runtime = build(&stage, &Document::empty().text(), dir.path());
    let reload = async |document: Document| {
        let settings = document.settings(&runtime.settings());
        runtime.reload_to(settings, "test").await.unwrap().outcome
    };
    let first = reload(document(&[((0, 1), part(false))])).await;
    assert!(matches!(first, ReloadOutcome::Applied), "{first:?}");
    let told = reload(document(&[((0, 1), part(true))])).await;
    assert!(matches!(told, ReloadOutcome::Applied), "{told:?}");
    let outcome = reload(document(&[((0, 0), part(false)), ((1, 0), part(true))])).await;
    let ReloadOutcome::Restored { failed } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(failed.slot.unwrap().to_string(), "adapter/b");
    assert_eq!(who(&runtime, "adapter/a").await, "adapter/a:q:0");
}
