//! What failed and why, in a line each: whoever reads the end of a long log wants no more.

/// Lines of a failure that are shown: where it panicked, and the beginning of what it said.
const LINES: usize = 4;

/// The failures of a test program of Rust's harness: `---- name stdout ----`, and what it printed.
pub(super) fn of_harness(output: &str) -> Vec<String> {
    let mut failures = Vec::new();
    let mut lines = output.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) else {
            continue;
        };
        let mut said = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("---- ") && *line != "failures:") {
            said.push(line);
        }
        failures.push(failure(name, said));
    }
    failures
}

/// The failures on a guest's console: what stands between `name ...` and `name ... FAILED`.
pub(super) fn of_guest(console: &str) -> Vec<String> {
    let mut failures = Vec::new();
    let mut said = Vec::new();
    for line in console.lines() {
        if let Some((name, _)) = line.split_once(" ... FAILED") {
            failures.push(failure(name, std::mem::take(&mut said)));
        } else if line.ends_with(" ...") || line.contains(" ... ok") {
            said.clear();
        } else {
            said.push(line);
        }
    }
    failures
}

fn failure(name: &str, said: Vec<&str>) -> String {
    let told = said.into_iter().skip_while(|line| !line.contains("panicked at")).map(str::trim);
    let told: Vec<_> = told.filter(|line| !line.is_empty()).take(LINES).collect();
    format!("{name}: {}", told.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_harness_with_what_they_said() {
        let output = "test a ... FAILED\ntest b ... FAILED\n\nfailures:\n\n---- a stdout ----\nx\n\
            thread 'a' (7) panicked at a.rs:1:2:\n  left: 1\n\n---- b stdout ----\nError: no\n\nfailures:\n    a\n    b\n";
        assert_eq!(of_harness(output), ["a: thread 'a' (7) panicked at a.rs:1:2: | left: 1", "b: "]);
    }

    #[test]
    fn of_a_guest_with_what_they_said() {
        let console = "a ...\nnoise\na ... ok (0.1 s)\nb ...\n[  1.2] noise\n\nthread 'main' panicked at b.rs:1:2:\nleft\n\
            b ... FAILED (0.2 s)\n";
        assert_eq!(of_guest(console), ["b: thread 'main' panicked at b.rs:1:2: | left"]);
    }
}
