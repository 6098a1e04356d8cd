//! A cache with three providers, one of which is a server that can go away: calls that need it fail and
//! say so, swaps lose nothing, and the way back is always open.

use oneiric_tests::redis::RedisServer;
use oneiric_tests::{Process, eventually};
use tokio::runtime::Runtime;

use crate::load::{Load, swap};

fn settings(server: &RedisServer) -> String {
    let candidates = ["memory", "file", "redis"].iter().zip([30, 20, 10]);
    let candidates: String = candidates
        .map(|(provider, priority)| {
            format!(
                "[[candidates]]\nslot = \"adapter/cache\"\nprovider = \"{provider}\"\n\
                 factory = \"oneiric.builtins:{provider}_cache\"\npriority = {priority}\n\n"
            )
        })
        .collect();
    format!(
        "{candidates}[providers.\"adapter/cache\".file]\ndirectory = \"entries\"\n\n\
         [providers.\"adapter/cache\".redis]\nurl = \"{}\"\nprefix = \"test:\"\n",
        server.url()
    )
}

#[test]
fn p17_no_call_fails_while_memory_files_and_redis_take_turns() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let process = Process::start(&settings(&server));
    let socket = process.place().socket();
    let calls = Runtime::new().unwrap().block_on(async {
        let load = Load::begin(&socket);
        swap(&socket, &["redis", "file", "redis", "memory"], 80).await;
        load.end().await
    });
    calls.all_succeeded();
    assert!(
        server
            .admin(&["KEYS", "test:caller-*"])
            .contains("test:caller-0")
    );
}

#[test]
fn a_server_that_dies_fails_the_calls_that_need_it_and_nothing_else() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    let process = Process::start(&settings(&server));
    let socket = process.place().socket();
    let tokio = Runtime::new().unwrap();
    let calls = tokio.block_on(async {
        let load = Load::begin(&socket);
        swap(&socket, &["redis"], 1).await;
        load.end().await
    });
    calls.all_succeeded();

    let calls = tokio.block_on(async {
        let load = Load::begin(&socket);
        server.kill();
        let said = process
            .oneiric(&["call", "adapter/cache", "get", "key=a"])
            .failed(8);
        assert!(said.contains("lifecycle.call_unavailable"), "{said}");
        let said = process.oneiric(&["health", "adapter/cache", "--probe"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stdout.contains("critical"), "{said:?}");
        assert!(said.stdout.contains(&server.url()), "{said:?}");
        swap(&socket, &["file"], 1).await;
        load.end().await
    });
    assert!(!calls.failed.is_empty(), "nobody noticed");
    let other = calls.failed.iter().find(|said| {
        !said.starts_with("lifecycle.call_unavailable ") || said.contains(&server.url())
    });
    assert_eq!(other, None, "callers are told what is wrong, and not where");

    // It cannot take over while it is away, and nobody notices the attempt.
    let calls = tokio.block_on(async {
        let load = Load::begin(&socket);
        let said = process
            .oneiric(&["swap", "adapter/cache", "redis"])
            .failed(7);
        assert!(said.contains("cannot be reached"), "{said}");
        assert!(
            said.contains("hint: file still serves adapter/cache"),
            "{said}"
        );
        load.end().await
    });
    calls.all_succeeded();

    server.start_again();
    process.oneiric(&["swap", "adapter/cache", "redis"]).ok();
    process
        .oneiric(&["call", "adapter/cache", "put", "key=a", "value=1"])
        .ok();
    server.kill();
    server.start_again();
    eventually("the connection is mended by itself", || {
        process
            .oneiric(&["call", "adapter/cache", "get", "key=a"])
            .code
            == Some(0)
    });
    let (code, said) = process.stop();
    assert_eq!(code, Some(0), "{said}");
}
