//! A reader of the text formats, after their specifications and not after those who write them: <https://prometheus.io/docs/specs/om/open_metrics_spec/>
//! and <https://prometheus.io/docs/instrumenting/exposition_formats/>. What is allowed but not written here is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::Format;

type Labels = BTreeMap<String, String>;

/// What was read: samples by name and labels.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    samples: BTreeMap<String, BTreeMap<Labels, f64>>,
}

impl Exposition {
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(name)?.get(&labels).copied()
    }

    pub(super) fn rows(&self, name: &str) -> &BTreeMap<Labels, f64> {
        &self.samples[name]
    }

    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.samples.keys().map(String::as_str).collect()
    }

    /// The names of all labels of these samples.
    pub(super) fn labels(&self, name: &str) -> BTreeSet<&str> {
        self.rows(name).keys().flat_map(BTreeMap::keys).map(String::as_str).collect()
    }
}

/// Reads it, or says what is wrong with it.
pub(super) fn parse(text: &str, format: Format) -> Result<Exposition, String> {
    let body = match format {
        Format::OpenMetrics => text.strip_suffix("# EOF\n").ok_or("the last line is not the end")?,
        Format::Prometheus => text,
    };
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut exposition = Exposition::default();
    // Of the family that is being read: name and kind.
    let mut family: Option<(String, String)> = None;
    let mut helped: BTreeSet<String> = BTreeSet::new();
    let mut typed: BTreeSet<String> = BTreeSet::new();
    for line in body.split_terminator('\n') {
        let wrong = |what: &str| format!("{what}: {line:?}");
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').ok_or_else(|| wrong("help without text"))?;
            if text.is_empty() || !is_name(name) || !helped.insert(name.to_owned()) {
                return Err(wrong("empty, misnamed or second help"));
            }
            family = None;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or_else(|| wrong("type without a type"))?;
            let kinds: &[&str] = match format {
                Format::OpenMetrics => &["counter", "gauge", "histogram", "info"],
                Format::Prometheus => &["counter", "gauge", "histogram"],
            };
            if !kinds.contains(&kind) || !helped.contains(name) || !typed.insert(name.to_owned()) {
                return Err(wrong("unknown type, type before help, or second type"));
            }
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let (name, labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
            let (family, kind) = family.as_ref().ok_or_else(|| wrong("sample without a family"))?;
            let suffix = name.strip_prefix(family.as_str()).ok_or_else(|| wrong("sample of another family"))?;
            if !suffixes(kind, format).contains(&suffix) || value.is_nan() || (kind != "gauge" && value < 0.0) {
                return Err(wrong("a name or value that this type has not"));
            }
            if exposition.samples.entry(name).or_default().insert(labels, value).is_some() {
                return Err(wrong("there twice"));
            }
        }
    }
    let histograms: Vec<_> = exposition.samples.keys().filter_map(|name| name.strip_suffix("_bucket")).collect();
    histograms.into_iter().try_for_each(|name| adds_up(name, &exposition.samples))?;
    Ok(exposition)
}

fn suffixes(kind: &str, format: Format) -> &'static [&'static str] {
    match (kind, format) {
        // In the older format the family has the name of its samples.
        ("counter", Format::OpenMetrics) => &["_total"],
        ("info", _) => &["_info"],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        _ => &[""],
    }
}

/// Buckets grow with their bounds, and the last one, which has no bound, holds all.
fn adds_up(name: &str, samples: &BTreeMap<String, BTreeMap<Labels, f64>>) -> Result<(), String> {
    let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (labels, count) in &samples[&format!("{name}_bucket")] {
        let mut labels = labels.clone();
        let bound = labels.remove("le").ok_or("bucket without a bound")?;
        let bound: f64 = bound.parse().map_err(|_| "no bound")?;
        series.entry(labels).or_default().push((bound, *count));
    }
    for (labels, mut buckets) in series {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let count = samples.get(&format!("{name}_count")).and_then(|counts| counts.get(&labels));
        let grows = buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1);
        let has_sum = samples.get(&format!("{name}_sum")).is_some_and(|sums| sums.contains_key(&labels));
        let last = buckets.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, count)| count);
        if !grows || !has_sum || last.is_none() || last != count {
            return Err(format!("{name} {labels:?} does not add up: {buckets:?}, {count:?}"));
        }
    }
    Ok(())
}

/// `NAME{LABEL="VALUE",...} NUMBER`
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            // One number can be written in several ways.
            let value = if label == "le" { value.parse::<f64>().ok()?.to_string() } else { value };
            let is_label = is_name(label) && !label.contains(':') && !label.starts_with("__");
            if !is_label || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.split_at_checked(1)? {
                (",", after) => rest = after,
                ("}", after) => break rest = after,
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ').filter(|value| !value.contains(' '))?.parse().ok()?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// What stands before the closing quotation mark, and what comes behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            letter => value.push(letter),
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_' || letter == ':';
    name.starts_with(is_letter) && name.chars().all(|letter| is_letter(letter) || letter.is_ascii_digit())
}

#[test]
fn mistakes_are_seen() {
    let head = "# HELP a_b text\n# TYPE a_b gauge\n";
    let wrong = |text: &str| parse(text, Format::Prometheus).unwrap_err();
    assert!(parse(&format!("{head}a_b{{c=\"\\\"\\n\"}} 1\n"), Format::Prometheus).is_ok());
    for body in [
        "a_b 1\na_b 2\n",
        "a_b{c=\"d\",c=\"e\"} 1\n",
        "a_b{c=\"d} 1\n",
        "a_b{c=\"\"\"} 1\n",
        "a_b x\n",
        "a_c 1\n",
        "a_b 1",
    ] {
        wrong(&format!("{head}{body}"));
    }
    wrong(&format!("{head}a_b 1\n{head}"));
    wrong("a_b 1\n");
    wrong("# TYPE a_b gauge\na_b 1\n");
    let histogram = |buckets: &str| format!("# HELP h text\n# TYPE h histogram\nh_sum 1\nh_count 3\n{buckets}");
    assert!(parse(&histogram("h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\n"), Format::Prometheus).is_ok());
    for buckets in
        ["h_bucket{le=\"1\"} 3\n", "h_bucket{le=\"1\"} 4\nh_bucket{le=\"+Inf\"} 3\n", "h_bucket{le=\"+Inf\"} 2\n"]
    {
        assert!(wrong(&histogram(buckets)).contains("does not add up"));
    }
    assert!(parse(&format!("{head}a_b 1\n"), Format::OpenMetrics).unwrap_err().contains("not the end"));
}
