//! The page `docs/reference/resilience-metrics.md`, which is made from the table.

use super::{Kind, Metric};

const HEAD: &str = "\
# Metrics of the resilience patterns

<!-- Made from the table in crates/oneiric-resilience/src/metrics/table.rs, and compared with it by a test. -->

What a program gets that uses `oneiric-resilience` with the feature `metrics` and makes a `ResilienceMetrics`:
through the facade `metrics`, in whichever recorder it hands in. `name` is what the program calls a part; all
other labels are words of which there are few. What happens seldom is counted when it happens, by an observer
(`ResilienceMetrics::observer`); the rest is copied from the parts by `ResilienceMetrics::publish`, which is called
before a scrape. Nothing is counted for a call that goes well, which costs the same as without metrics.

What a breaker, a bucket or a bulkhead refuses it counts itself, whoever asked: `..._breaker_rejections_total`,
`..._bucket_rejections_total`, `..._keyed_bucket_rejections_total`, `..._bulkhead_rejections_total`. What the calls of a
policy are refused its observer counts, by error code: `oneiric_resilience_rejections_total`. A refusal within a policy
is in both, so they are not to be added up.

A part is published as long as the program has it; of one that is gone the recorder keeps the last values, until it
forgets them. Of two parts with the same name, gauges say what the one says that came last.

Those marked `event` come from observers; the others from `publish`.

| name | kind | from | labels | what it says |
|---|---|---|---|---|
";

/// What the page should be.
fn reference() -> String {
    let mut page = String::from(HEAD);
    for metric in Metric::ALL {
        let about = metric.about();
        let kind = match about.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let from = if metric.is_event() {
            "event"
        } else {
            "publish"
        };
        let labels: Vec<String> = about
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        page.push_str(&format!(
            "| `{}` | {kind} | {from} | {} | {} |\n",
            about.name,
            labels.join(", "),
            about.says
        ));
    }
    page
}

impl Metric {
    /// Whether it is counted when it happens, and not copied from a part.
    const fn is_event(self) -> bool {
        matches!(
            self,
            Self::BreakerTransitionsTotal
                | Self::RetriesTotal
                | Self::RetriesGivenUpTotal
                | Self::RejectionsTotal
                | Self::TimedOutTotal
                | Self::DeadlineExceededTotal
                | Self::FallbacksTotal
        )
    }
}

#[test]
fn the_page_of_metrics_is_up_to_date() {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/resilience-metrics.md"
    );
    let page = std::fs::read_to_string(page).unwrap();
    let reference = reference();
    assert_eq!(page, reference, "the page should be:\n{reference}");
}
