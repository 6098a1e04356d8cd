//! Everything about one slot, a line for each thing there is to say.

use oneiric_runtime::api::slot::SlotStatus;

use super::{View, difference, held::Rule, state};
use crate::paint::{Style, harmless};
use crate::words::{self, Micros, Millis, since};

/// What is said about a slot, in order.
#[derive(Default)]
struct Facts(String);

impl Facts {
    fn add(&mut self, what: &str, value: impl AsRef<str>) {
        let value = harmless(value.as_ref()).replace('\n', " ");
        self.0.push_str(&format!("  {what:<10}  {value}\n"));
    }

    /// Nothing is said about what there is not.
    fn maybe(&mut self, what: &str, value: Option<String>) {
        if let Some(value) = value {
            self.add(what, value);
        }
    }
}

impl View<'_> {
    pub(super) fn in_full(&self) -> String {
        let mut text = String::new();
        for slot in &self.doc.slots {
            let mut facts = Facts::default();
            self.who_serves(slot, &mut facts);
            work(slot, &mut facts);
            self.how_it_is(slot, &mut facts);
            let heading = self.paint.text(Style::Heading, &slot.slot);
            text.push_str(&format!("{heading}\n{}", facts.0));
        }
        text
    }

    fn ago(&self, then_unix_ms: u64) -> String {
        format!("{} ago", since(then_unix_ms, self.now))
    }

    fn who_serves(&self, slot: &SlotStatus, facts: &mut Facts) {
        facts.add("state", state(slot));
        for rule in Rule::of(slot, self.rules) {
            facts.add(rule.activity, rule.fact(self.now));
        }
        facts.maybe(
            "for",
            slot.since_unix_ms
                .map(|then| since(then, self.now).to_string()),
        );
        if let Some(active) = &slot.active {
            let (provider, origin) = (&active.provider, &active.origin);
            facts.add(
                "serves",
                format!("{provider} (instance {}, from {origin})", active.instance),
            );
            facts.maybe("forced", active.forced.as_ref().map(words::failed));
        }
        facts.maybe("wins", slot.winner.as_ref().map(ToString::to_string));
        let differs = slot.differs.as_ref();
        facts.maybe("differs", differs.map(|differs| difference(slot, differs)));
        for revision in self
            .doc
            .selections
            .iter()
            .filter(|revision| revision.slot == slot.slot)
        {
            let Some(provider) = &revision.provider else {
                continue;
            };
            let (number, who) = (revision.revision, &revision.who);
            let when = self.ago(revision.at_unix_ms);
            let why = revision.reason.as_ref().map(|reason| format!(": {reason}"));
            let why = why.unwrap_or_default();
            facts.add(
                "selected",
                format!("{provider}, revision {number}, by {who}, {when}{why}"),
            );
        }
        for unknown in self
            .doc
            .unknown_selections
            .iter()
            .filter(|one| one.slot == slot.slot)
        {
            let (layer, provider) = (&unknown.layer, &unknown.provider);
            facts.add(
                "unknown",
                format!("the {layer} selection {provider} names nobody"),
            );
        }
    }

    fn how_it_is(&self, slot: &SlotStatus, facts: &mut Facts) {
        if let Some(bake) = &slot.bake {
            facts.add("bake", words::baked(bake, self.now));
        }
        if let Some(report) = &slot.health {
            let health = report.health.as_deref().unwrap_or("it has no probe");
            let says = report
                .message
                .as_ref()
                .map(|message| format!(": {message}"));
            let when = self.ago(report.at_unix_ms);
            facts.add(
                "health",
                format!("{health}{}, {when}", says.unwrap_or_default()),
            );
        }
        // What is well is well by the line before.
        if let Some(judgement) = &slot.judgement
            && (judgement.judged == "unhealthy" || judgement.bad > 0)
        {
            let run = match (judgement.bad, judgement.good) {
                (0, good) => format!("{good} good in a row"),
                (bad, _) => format!("{bad} bad in a row"),
            };
            facts.add("judged", format!("{}, {run}", judgement.judged));
        }
        for decision in &slot.trail {
            let when = self.ago(decision.at_unix_ms);
            facts.add("decided", format!("{when}: {}", decision.text));
        }
        if let Some(error) = &slot.last_error {
            let (provider, when) = (&error.provider, self.ago(error.at_unix_ms));
            let failure = words::failed(&error.failure);
            facts.add("last error", format!("{provider}, {when}, at {failure}"));
        }
    }
}

/// Calls and swaps, in numbers.
fn work(slot: &SlotStatus, facts: &mut Facts) {
    let (calls, swaps, in_flight) = (slot.calls, slot.swaps, slot.in_flight);
    let (succeeded, failed) = (calls.succeeded, calls.failed);
    let panicked = match calls.panicked {
        0 => String::new(),
        some => format!(" ({some} panicked)"),
    };
    facts.add(
        "calls",
        format!("{succeeded} succeeded, {failed} failed{panicked}, {in_flight} in flight"),
    );
    for draining in &slot.draining {
        let (provider, instance) = (&draining.provider, draining.instance);
        let in_flight = draining.in_flight;
        let oldest = draining
            .oldest_lease_ms
            .map(|ms| format!(", oldest {}", Millis(ms)));
        let oldest = oldest.unwrap_or_default();
        facts.add(
            "draining",
            format!("{provider} (instance {instance}), {in_flight} in flight{oldest}"),
        );
    }
    if let Some(keyed) = &slot.keyed {
        let (instances, limit, in_flight) = (keyed.instances, keyed.limit, keyed.in_flight);
        facts.add(
            "by key",
            format!("{instances} of {limit} instances, {in_flight} in flight"),
        );
        let shown = keyed.keys.len() as u64;
        let more = match instances.saturating_sub(shown) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let keys = keyed.keys.join(", ");
        facts.maybe("keys", (shown > 0).then(|| format!("{keys}{more}")));
    }
    let counts = [
        (swaps.activated, "activated"),
        (swaps.swapped, "swapped"),
        (swaps.forced, "forced"),
        (swaps.rolled_back, "rolled back"),
        (swaps.failed, "failed"),
        (swaps.retired, "retired"),
    ];
    facts.add(
        "swaps",
        counts
            .map(|(count, what)| format!("{count} {what}"))
            .join(", "),
    );
    if let Some(took) = slot.swap_duration {
        let [p50, p99, max] = [took.p50_us, took.p99_us, took.max_us].map(Micros);
        let last = took.count;
        facts.add(
            "took",
            format!("p50 {p50}, p99 {p99}, max {max} of the last {last}"),
        );
    }
    let holders: Vec<&str> = slot.holders.iter().map(|holder| holder.as_str()).collect();
    facts.maybe(
        "needed by",
        (!holders.is_empty()).then(|| holders.join(", ")),
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::commands::status::tests::{doc, slot, view};

    #[test]
    fn one_slot_is_told_in_full() {
        let mut slot = slot();
        slot["activity"] = json!({"activity": "paused", "scope": "adapter/*",
            "note": "repairs", "who": "ann", "until_unix_ms": 660_000});
        slot["swap_duration"] =
            json!({"count": 3, "p50_us": 900, "p90_us": 900, "p99_us": 2_000, "max_us": 2_000});
        slot["keyed"] =
            json!({"instances": 23, "limit": 64, "in_flight": 2, "keys": ["one", "two"]});
        slot["holders"] = json!(["service/x", "service/y"]);
        slot["judgement"] = json!({"judged": "unhealthy", "bad": 4, "good": 0});
        slot["trail"] = json!([{"kind": "fail_over", "at_unix_ms": 58_000, "from": "redis", "to": "memory",
            "because": {"reason": "probes"}, "text": "serving memory: redis failed 3 probes"}]);
        let mut doc = doc(slot);
        doc.selections = serde_json::from_value(json!([{
            "revision": 4, "slot": "adapter/cache", "provider": "memory", "who": "uid:1",
            "reason": "faster", "at_unix_ms": 55_000,
        }]))
        .unwrap();
        let expected = "\
adapter/cache
  state       active, paused
  paused      (adapter/*) by ann; resumes in 10 min: repairs
  for         3 s
  serves      memory (instance 1, from settings)
  wins        memory
  selected    memory, revision 4, by uid:1, 5 s ago: faster
  calls       7 succeeded, 0 failed, 0 in flight
  by key      23 of 64 instances, 2 in flight
  keys        one, two and 21 more
  swaps       1 activated, 2 swapped, 0 forced, 1 rolled back, 0 failed, 2 retired
  took        p50 900 us, p99 2 ms, max 2 ms of the last 3
  needed by   service/x, service/y
  judged      unhealthy, 4 bad in a row
  decided     2 s ago: serving memory: redis failed 3 probes
";
        assert_eq!(view(&doc).in_full(), expected);
    }
}
