//! Metrics in the same order at each scrape. The exporter keeps families and series in hash maps, so that two looks one
//! after the other, or those of two processes, could not be compared line by line.

/// Sorts families by name, and in each the series by their labels.
///
/// The lines of one series that belong together (buckets, quantiles, sum and count) are left in their order, which they
/// have from the exporter.
pub(super) fn sorted(text: &str) -> String {
    let mut families: Vec<Vec<&str>> = Vec::new();
    let mut begins = true;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let is_remark = line.starts_with('#');
        match families.last_mut() {
            Some(family) if !(is_remark && begins) => family.push(line),
            _ => families.push(vec![line]),
        }
        // After a sample the next remark begins another family.
        begins = !is_remark;
    }
    for family in &mut families {
        let is_plain = |line: &&str| line.ends_with(" counter") || line.ends_with(" gauge");
        let is_plain = family
            .iter()
            .take_while(|line| line.starts_with('#'))
            .any(is_plain);
        family.sort_by_cached_key(|line| series(line, is_plain));
    }
    families.sort_by_cached_key(|family| family.first().map(|line| name(line).to_owned()));
    let mut sorted = String::with_capacity(text.len());
    for line in families
        .iter()
        .flat_map(|family| family.iter().chain([&""]))
    {
        sorted.push_str(line);
        sorted.push('\n');
    }
    sorted
}

/// The name of the family that a first line is about.
fn name(line: &str) -> &str {
    let words = line.strip_prefix("# ").map_or(line, |remark| {
        remark.split_once(' ').map_or(remark, |(_, rest)| rest)
    });
    words.split([' ', '{']).next().unwrap_or(words)
}

/// What a sample is sorted by: its labels, without those that tell the lines of one series apart where a series has
/// several. Remarks come first.
fn series(line: &str, is_plain: bool) -> String {
    if line.starts_with('#') {
        return String::new();
    }
    let labels = line.split_once('{').map_or("", |(_, rest)| rest);
    let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
    let within = |label: &&str| label.starts_with("le=") || label.starts_with("quantile=");
    let labels = labels.split(',').filter(|label| is_plain || !within(label));
    let labels: Vec<&str> = labels.collect();
    // A sample without labels comes after the remarks too.
    format!(" {}", labels.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_series_are_sorted_and_a_series_keeps_its_lines() {
        let text = "\
# HELP b what it is
# TYPE b summary
b{slot=\"x\",quantile=\"0.9\"} 2
b{slot=\"x\",quantile=\"0.5\"} 1
b_sum{slot=\"x\"} 3
b{slot=\"a\",quantile=\"0.5\"} 4

# TYPE a counter
a{reason=\"z\"} 1
a{reason=\"c\"} 2

# HELP aa x
# TYPE aa gauge
aa{quantile=\"0.9\"} 1
aa{quantile=\"0.5\"} 1

";
        let expected = "\
# TYPE a counter
a{reason=\"c\"} 2
a{reason=\"z\"} 1

# HELP aa x
# TYPE aa gauge
aa{quantile=\"0.5\"} 1
aa{quantile=\"0.9\"} 1

# HELP b what it is
# TYPE b summary
b{slot=\"a\",quantile=\"0.5\"} 4
b{slot=\"x\",quantile=\"0.9\"} 2
b{slot=\"x\",quantile=\"0.5\"} 1
b_sum{slot=\"x\"} 3

";
        assert_eq!(sorted(text), expected);
        assert_eq!(sorted(expected), expected);
        assert_eq!(sorted(""), "");
    }
}
