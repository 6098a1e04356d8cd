//! The active cache is a server that is killed under load: the next in rank takes over, says why, and gives way again
//! once the server is back. Every step can be watched.

use oneiric_tests::Process;
use oneiric_tests::redis::RedisServer;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::load::Load;
use crate::watch::Watching;

/// Redis ranks best. What is not said here is as it is by default, above all what counts as a failure, and after how many.
fn settings(server: &RedisServer) -> String {
    format!(
        "[[candidates]]\nslot = \"adapter/cache\"\nprovider = \"redis\"\n\
         factory = \"oneiric.builtins:redis_cache\"\npriority = 20\n\n\
         [[candidates]]\nslot = \"adapter/cache\"\nprovider = \"memory\"\n\
         factory = \"oneiric.builtins:memory_cache\"\npriority = 10\n\n\
         [providers.\"adapter/cache\".redis]\nurl = \"{}\"\n\n\
         [slots.\"adapter/cache\"]\nhealth_interval_ms = 300\n\
         on_failure = \"fail_over\"\nfail_back = true\nfail_back_after_ms = 1000\n",
        server.url()
    )
}

#[test]
fn a_server_that_is_killed_under_load_is_failed_over_from_and_back_to() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    let process = Process::start(&settings(&server));
    let socket = process.place().socket();
    let watching = Watching::begin(process.place(), &["adapter/cache"]);
    let next = |text: &str| Watching::line(&watching.stdout, text);
    // The watch is there once it has seen the first answer of the monitor.
    next("probed redis");
    let tokio = Runtime::new().unwrap();
    let before = tokio.block_on(async {
        let load = Load::begin(&socket);
        next("probed redis");
        load.end().await
    });
    before.all_succeeded();

    let (during, after) = tokio.block_on(async {
        let during = Load::begin(&socket);
        server.kill();
        next("published redis -> memory");
        // Whoever calls after the switch notices nothing, on an old connection or a new one.
        let switched = Instant::now();
        let after = Load::begin(&socket);
        let decided = next("decided serving memory");
        assert!(decided.contains("redis failed 3 probes at "), "{decided}");
        assert!(decided.ends_with(", next in rank"), "{decided}");
        // Meanwhile the load goes on.
        let said = process.oneiric(&["explain", "adapter/cache"]).ok();
        assert!(
            said.contains("serving memory: redis failed 3 probes at "),
            "{said}"
        );
        let during = during.end().await;
        let last_failed = during.last_failed.expect("somebody noticed");
        assert!(
            last_failed < switched,
            "a call began after the switch and failed"
        );
        (during, after.end().await)
    });
    after.all_succeeded();
    // At the least the one that was under way or came next, on whose account it was asked; far fewer than would have
    // failed in the time from one regular probe to the next.
    let failed = during.failed.len();
    assert!(
        (1..500).contains(&failed),
        "{failed} of {} calls failed",
        during.made
    );
    let other = during.failed.iter().find(|said| {
        !said.starts_with("lifecycle.call_unavailable ") && !said.starts_with("lifecycle.retired ")
    });
    assert_eq!(other, None);

    let status = process
        .oneiric(&["status", "adapter/cache", "--json"])
        .json();
    let slot = &status["slots"][0];
    assert_eq!(slot["differs"]["why"], "failed_over", "{slot}");
    let because = &slot["active"]["decision"]["because"];
    assert_eq!(
        (&because["reason"], &because["failed"]),
        (&"probes".into(), &3.into())
    );
    let said = process.oneiric(&["status", "adapter/cache"]).ok();
    assert!(said.contains("decided "), "{said}");

    server.start_again();
    let calls = tokio.block_on(async {
        let load = Load::begin(&socket);
        next("published memory -> redis");
        next("decided serving redis again: healthy for 1 s");
        load.end().await
    });
    calls.all_succeeded();
    let said = process.oneiric(&["history", "adapter/cache"]).ok();
    assert!(
        said.contains("fail_over") && said.contains("fail_back"),
        "{said}"
    );
    let said = process.oneiric(&["metrics"]).ok();
    let line =
        "oneiric_decisions_total{slot=\"adapter/cache\",kind=\"fail_over\",outcome=\"done\"} 1";
    assert!(said.contains(line), "{said}");
    process.stop();
}
