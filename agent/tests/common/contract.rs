//! The contract that every destination must pass, for the tests of one kind: `#[path = "common/contract.rs"] mod contract;`.
//!
//! Promises: what a destination says is held against what its target keeps, read another way. Must not know: kinds.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]
use bytes::Bytes;
use edgepush::config::Reserve;
use edgepush::destination::client::Clients;
use edgepush::destination::{Destination, DestinationUrl, Opening, Outgoing, Verdict};
use edgepush::protocol::{CodecKind, Container};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a target holds: whole bodies by object name, one for each, however often it was sent.
pub type Held = Box<dyn Fn() -> BTreeMap<String, Vec<u8>>>;

/// The destination that a URL names.
pub fn open(url: &str, state: &Path) -> Arc<dyn Destination> {
    let url = DestinationUrl::parse(url).unwrap();
    url.open(&Opening { state, clients: &Clients::default(), keep_free: Reserve::Percent(0) }).unwrap()
}

/// A batch of three records, as far as a destination is concerned, under its final name.
pub fn batch(number: u64, body: &[&[u8]]) -> Outgoing {
    let key = format!("{number:016x}");
    Outgoing {
        name: format!("20261121/h/20261121T101112Z_20261121T101113Z_{key}.log").into(),
        key: key.into(),
        codec: CodecKind::None,
        container: Container::Single,
        records: 3,
        csv: false,
        shelf: None,
        body: body.iter().map(|part| Bytes::copy_from_slice(part)).collect(),
    }
}

/// Runs a test's future to its end, within a minute.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("it takes too long")
    })
}

/// A new kind of destination passes this, or it is none. `held`: what the target holds; `None`: it keeps nothing.
pub async fn contract(to: Arc<dyn Destination>, held: Option<Held>, secret: &str) {
    contract_up_to(6_000_000, to, held, secret).await;
}

/// The contract with a receiver that takes no more than so many bytes.
pub async fn contract_up_to(bytes: usize, to: Arc<dyn Destination>, held: Option<Held>, secret: &str) {
    to.prepare().await;
    assert_eq!(to.probe(false).await, Ok(()), "a look");
    assert_eq!(to.probe(true).await, Ok(()), "a probe");
    if let Some(held) = &held {
        assert_eq!(held(), BTreeMap::new(), "a probe leaves nothing");
    }
    let large = vec![b'x'; bytes / 2];
    let batches = [
        batch(1, &[b"one\n"]),
        batch(2, &[b"", b"two\n", b"", b"three\n"]),
        batch(3, &[&large, b"\n", &large]),
    ];
    for batch in &batches {
        assert_eq!(to.deliver(batch.clone()).await, Verdict::Delivered);
    }
    // A crash between the answer and its verdict: the same batch comes again.
    assert_eq!(to.deliver(batches[0].clone()).await, Verdict::Delivered);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 10..18 {
        let to = to.clone();
        tasks.spawn(
            async move { to.deliver(batch(number, &[format!("parallel {number}\n").as_bytes()])).await },
        );
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), Verdict::Delivered);
    }
    if let Some(held) = held {
        let held = held();
        assert_eq!(held.len(), 11);
        for batch in &batches {
            assert!(held[&*batch.name] == batch.body.concat(), "{} is not what was sent", batch.name);
        }
        assert_eq!(held[&*batch(12, &[]).name], b"parallel 12\n");
    }
    assert!(secret.is_empty() || !to.redacted().contains(secret), "{} shows a secret", to.redacted());
}

/// What stands below a directory.
pub fn files(root: PathBuf) -> Held {
    fn walk(root: &Path, dir: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, into);
            } else {
                into.insert(
                    path.strip_prefix(root).unwrap().display().to_string(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }
    Box::new(move || {
        let mut found = BTreeMap::new();
        walk(&root, &root, &mut found);
        found
    })
}
