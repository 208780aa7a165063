//! Splunk's indexer acknowledgement: a batch is delivered when it is indexed.
use super::splunk::{CHANNEL, TOKEN, collector};
use super::*;
use contract::{batch, contract, run};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A collector that says after so many questions that a batch is indexed. Answers to questions come from `acks`.
fn acknowledging(more: &str, acks: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Vendor {
    let rest = format!("/services/collector/raw?ack=true&{more}header_Authorization=Splunk%20{TOKEN}");
    let questions = AtomicUsize::new(0);
    Vendor::new("splunk", &rest, move |ask| match collector(ask) {
        Answer::Full(200, ..) if ask.target.starts_with("/services/collector/ack") => {
            acks(questions.fetch_add(1, Ordering::SeqCst))
        }
        Answer::Full(200, ..) => json(200, r#"{"text":"Success","code":0,"ackId":3}"#),
        refusal => refusal,
    })
}

fn says(indexed: bool) -> Answer {
    json(200, &format!(r#"{{"acks":{{"3":{indexed}}}}}"#))
}

#[test]
fn with_acknowledgement_the_contract_is_kept() {
    let vendor = acknowledging(&format!("channel={CHANNEL}&"), |_| says(true));
    run(contract(vendor.open(), vendor.held(), TOKEN));
    let questions: Vec<_> = vendor.others().into_iter().filter(|r| !r.body.is_empty()).collect();
    assert_eq!(questions.len(), 13, "one whether it acknowledges, one for each batch");
    for (number, request) in questions.iter().enumerate() {
        assert_eq!(target(request), ("/services/collector/ack", vec![&*format!("channel={CHANNEL}")]));
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("authorization"), format!("Splunk {TOKEN}"));
        let expected = if number == 0 { r#"{"acks":[2147483647]}"# } else { r#"{"acks":[3]}"# };
        assert_eq!(request.body, expected);
    }
    assert!(vendor.batches().iter().all(|r| !r.target.contains("ack")), "our parameter is not sent");
}

#[test]
fn a_batch_is_delivered_when_it_is_indexed_and_not_before() {
    let vendor = acknowledging("", |question| match question {
        0..=1 => says(false),
        // In between, the way there is broken: the batch itself has been taken.
        2 => json(503, r#"{"text":"Server is busy","code":9}"#),
        _ => says(true),
    });
    let start = Instant::now();
    assert_eq!(vendor.delivered(), Verdict::Delivered);
    assert!(start.elapsed() >= Duration::from_millis(1500), "250, 500 and 1000 ms of pauses");
    assert_eq!(vendor.batches().len(), 1, "it is sent once");
    assert_eq!(vendor.others().len(), 4);
    let made = vendor.batches()[0].header("x-splunk-request-channel").to_owned();
    assert_eq!(target(&vendor.others()[1]).1, [&format!("channel={made}")], "the channel that was made");
}

#[test]
fn no_acknowledgement_speaks_for_another_upload() {
    // The first is never indexed; every collector begins its numbers anew when it starts.
    let vendor = acknowledging("ack-timeout=1&", |question| says(question > 4));
    let to = vendor.open();
    run(async {
        let first = tokio::spawn({
            let to = to.clone();
            async move { to.deliver(batch(1, &[b"{}\n"])).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let second = to.deliver(batch(2, &[b"{}\n"])).await;
        let first = first.await.unwrap();
        assert!(
            [&first, &second].iter().any(|answer| **answer != Verdict::Delivered),
            "{first:?}, {second:?}"
        );
        assert_eq!(to.deliver(batch(3, &[b"{}\n"])).await, Verdict::Delivered);
        assert_eq!(to.deliver(batch(4, &[b"{}\n"])).await, Verdict::Delivered);
    });
    let batches = vendor.batches();
    let channels: Vec<_> = batches.iter().map(|r| r.header("x-splunk-request-channel")).collect();
    assert_ne!(channels[0], channels[1], "two at once");
    assert_eq!(channels[2], channels[3], "one after the other");
}

#[test]
fn what_is_never_indexed_is_sent_again() {
    let vendor = acknowledging("ack-timeout=1&", |_| says(false));
    let start = Instant::now();
    let verdict = vendor.delivered();
    assert!(
        matches!(&verdict, Verdict::Retry { why, .. } if why.contains("not acknowledged")),
        "{verdict:?}"
    );
    assert!((1..10).contains(&start.elapsed().as_secs()));
}

#[test]
fn a_token_that_does_not_acknowledge_is_told_before_anything_is_stored() {
    let vendor = acknowledging("", |_| json(400, r#"{"text":"ACK is disabled","code":14}"#));
    let verdict = vendor.delivered();
    assert!(matches!(&verdict, Verdict::Hold { why } if why.contains("leave ack=true out")), "{verdict:?}");
    assert_eq!(vendor.batches().len(), 0);
    assert!(run(vendor.open().probe(false)).is_err());
}

#[test]
fn an_answer_without_a_number_is_no_acknowledgement() {
    let rest = format!("/services/collector/raw?ack=true&header_Authorization=Splunk%20{TOKEN}");
    let vendor = Vendor::new("splunk", &rest, |ask| match ask.target.contains("/ack") {
        true => says(true),
        false => json(200, r#"{"text":"Success","code":0}"#),
    });
    assert!(matches!(vendor.delivered(), Verdict::Hold { why } if why.contains("ackId")));
    // Whereas a batch that is refused is refused.
    vendor.recorder.script(|ask| match ask.target.contains("/ack") {
        true => says(true),
        false => json(400, r#"{"text":"Invalid data format","code":6}"#),
    });
    assert!(matches!(run(vendor.open().deliver(batch(1, &[b"x"]))).verdict, Verdict::Refused { .. }));
}
