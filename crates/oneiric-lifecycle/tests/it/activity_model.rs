//! Activity against a model that knows nothing of cells, epochs and doors: a list of what was said, and
//! who serves. Whatever is set, lifted and swapped in whatever order, a slot does what the model says.

use std::collections::BTreeMap;

use oneiric_lifecycle::{Activity, ActivityRule, ActivityScope, LifecycleError, SwapRequest};
use proptest::prelude::*;

use crate::support::{Lab, provider, slot};

const SLOTS: [&str; 3] = ["adapter/one", "adapter/two", "task/three"];
const PROVIDERS: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
enum Step {
    Set(String, Activity),
    Swap(usize, usize),
    Deactivate(usize),
    Activate(usize),
}

/// What was said, and who serves.
#[derive(Default)]
struct Model {
    said: BTreeMap<String, Activity>,
    serves: [Option<usize>; 3],
}

impl Model {
    fn activity(&self, of: usize) -> Activity {
        let name = SLOTS[of];
        let (domain, _) = name.split_once('/').unwrap();
        let mut applying = vec![format!("{domain}/*"), name.to_owned()];
        applying.extend(self.serves[of].map(|by| format!("{name}:{}", PROVIDERS[by])));
        let said = applying
            .iter()
            .filter_map(|scope| self.said.get(scope).copied());
        said.max_by_key(|activity| restrictive(*activity))
            .unwrap_or_default()
    }
}

fn restrictive(activity: Activity) -> u8 {
    match activity {
        Activity::Running => 0,
        Activity::Paused => 1,
        Activity::Draining => 2,
        _ => 3,
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mut scopes: Vec<String> = vec!["adapter/*".into(), "task/*".into(), "event/*".into()];
    for of in SLOTS {
        scopes.push(of.into());
        scopes.extend(PROVIDERS.map(|by| format!("{of}:{by}")));
    }
    let activity = prop_oneof![
        Just(Activity::Running),
        Just(Activity::Paused),
        Just(Activity::Draining)
    ];
    let set = (proptest::sample::select(scopes), activity)
        .prop_map(|(scope, activity)| Step::Set(scope, activity));
    let step = prop_oneof![
        4 => set,
        3 => (0..3_usize, 0..2_usize).prop_map(|(of, by)| Step::Swap(of, by)),
        1 => (0..3_usize).prop_map(Step::Deactivate),
        1 => (0..3_usize).prop_map(Step::Activate),
    ];
    proptest::collection::vec(step, 1..40)
}

async fn check(steps: Vec<Step>) {
    let mut candidates: Vec<(&str, &str, i64, &[&str])> = Vec::new();
    for of in SLOTS {
        candidates.push((of, "a", 2, &[]));
        candidates.push((of, "b", 1, &[]));
    }
    let lab = Lab::new(&candidates);
    let mut model = Model::default();
    for step in steps {
        match &step {
            Step::Set(text, activity) => {
                let scope: ActivityScope = text.parse().unwrap();
                let before = lab
                    .lifecycle
                    .set_activity(ActivityRule::new(scope, *activity))
                    .unwrap();
                let expected = match activity {
                    Activity::Running => model.said.remove(text),
                    _ => model.said.insert(text.clone(), *activity),
                };
                assert_eq!(before.map(|rule| rule.activity), expected);
            }
            Step::Swap(of, by) => {
                let to = SwapRequest::to_provider(slot(SLOTS[*of]), provider(PROVIDERS[*by]));
                assert!(lab.lifecycle.swap(to).await.unwrap().serves());
                model.serves[*of] = Some(*by);
            }
            Step::Deactivate(of) => {
                lab.lifecycle.deactivate(&slot(SLOTS[*of])).await.unwrap();
                model.serves[*of] = None;
            }
            Step::Activate(of) => {
                lab.lifecycle.activate(&slot(SLOTS[*of])).await.unwrap();
                model.serves[*of].get_or_insert(0);
            }
        }
        for (of, name) in SLOTS.iter().enumerate() {
            let expected = model.activity(of);
            let status = lab.lifecycle.status(&slot(name)).unwrap().activity;
            assert_eq!(status.activity, expected, "status of {name} after {step:?}");
            let lease = lab.lifecycle.slot(&slot(name)).lease();
            let seen = match (lease, model.serves[of]) {
                (Ok(lease), Some(by)) => {
                    assert_eq!(lease.provider().as_str(), PROVIDERS[by]);
                    Activity::Running
                }
                (Err(LifecycleError::NotActive { .. }), None) => Activity::Running,
                (Err(LifecycleError::Busy { state, .. }), _) => {
                    assert_eq!(status, *state);
                    let holds = state.scope.unwrap().to_string();
                    assert_eq!(model.said.get(&holds), Some(&expected));
                    state.activity
                }
                (other, serves) => panic!("{name} after {step:?}: {other:?}, {serves:?}"),
            };
            assert_eq!(seen, expected, "lease of {name} after {step:?}");
            // Nobody holds a lease, so whatever drains is empty.
            let of_slot = ActivityScope::from(slot(name));
            let drains = model.said.get(*name) == Some(&Activity::Draining);
            assert_eq!(lab.lifecycle.is_drained(&of_slot), drains);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_slot_does_what_follows_from_what_was_said(steps in steps()) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(check(steps));
    }
}
