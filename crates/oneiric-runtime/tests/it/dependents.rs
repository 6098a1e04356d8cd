//! Dependents that restart by themselves, and reloads: each exchanges a slot when the other is done with it.

use oneiric_runtime::{Settings, api::ReloadOutcome};

use crate::support::{Scene, slot, soon};

/// `web` needs the cache and restarts when that is exchanged; all of it comes before `z`.
fn settings(cache: &str, web: &str, z: &str) -> String {
    format!(
        "
[[candidates]]
slot = 'adapter/cache'
provider = 'one'
factory = 'oneiric.test:actor'
[[candidates]]
slot = 'adapter/cache'
provider = 'two'
factory = 'oneiric.test:actor'
[[candidates]]
slot = 'service/web'
provider = 'web'
factory = 'oneiric.test:actor'
requires = ['adapter/cache']
[[candidates]]
slot = 'service/z'
provider = 'z'
factory = 'oneiric.test:actor'
[providers.'adapter/cache']
one = {{ name = 'one' }}
two = {{ name = 'two' }}
[providers.'service/web']
web = {{ name = 'web', token = '{web}' }}
[providers.'service/z']
z = {{ name = 'z', build = '{z}' }}
[selections]
'adapter/cache' = '{cache}'
[slots.'service/web']
on_dependency_change = 'restart'
"
    )
}

#[tokio::test]
async fn a_dependent_that_a_reload_exchanges_is_not_restarted_on_top_of_that() {
    for fails in [false, true] {
        let scene = Scene::start(&settings("one", "before", "")).await;
        let serving = |of: &str| {
            let status = scene.runtime.lifecycle().status(&slot(of)).unwrap();
            status.active.unwrap().instance
        };
        let before = (serving("adapter/cache"), serving("service/web"));
        let z = if fails { "fail" } else { "" };
        let mut wanted = Settings::parse(&settings("two", "after", z), "oneiric.toml").unwrap();
        wanted.state_dir = scene.runtime.settings().state_dir.clone();
        let doc = soon(scene.runtime.reload_to(wanted, "test")).await.unwrap();
        let restored = matches!(doc.outcome, ReloadOutcome::Restored { .. });
        assert_eq!(restored, fails, "{doc:?}");
        soon(scene.runtime.lifecycle().dependents_settled()).await;
        // Where it was undone, what served before serves again, without being built.
        let after = (serving("adapter/cache"), serving("service/web"));
        assert_eq!(after == before, fails, "{before:?} {after:?}");
        let events = scene.stage.events();
        let built = events.iter().filter(|event| *event == "built web").count();
        assert_eq!(built, 2, "once at first, once by the reload: {events:?}");
        scene.stop().await;
    }
}
