//! On which days a group happened: one bar a day.

use jiff::{SignedDuration, Timestamp};

use super::markup::{Markup, counted};
use crate::hunt::{Day, Detail, relations::Finding};

/// Days of a plot. Of a longer window it has the last ones on which anything was.
const MOST_DAYS: i64 = 366;
const WIDTH: f64 = 220.0;
const HEIGHT: f64 = 30.0;
/// The least that an eye finds.
const LEAST_WIDTH: f64 = 2.0;
const LEAST_HEIGHT: f64 = 4.0;
/// Days whose numbers stand beside the plot; those of more are folded up.
const NAMED_DAYS: usize = 3;

/// The days that all plots of a report show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    first: Day,
    last: Day,
}

impl Span {
    /// The window, where it is not too long.
    pub(super) fn of(since: Timestamp, made: Timestamp, findings: &[Finding<'_>]) -> Self {
        let (since, made) = (Day::of(since), Day::of(made).max(Day::of(since)));
        let last = if made.0 - since.0 < MOST_DAYS {
            made
        } else {
            let rows = findings.iter().flat_map(|finding| &finding.rows);
            rows.map(|row| Day::of(row.group.last)).max().unwrap_or(made).clamp(since, made)
        };
        Self { first: since.max(Day(last.0 - MOST_DAYS + 1)), last }
    }

    pub(super) fn first(self) -> String {
        date(self.first)
    }

    pub(super) fn last(self) -> String {
        date(self.last)
    }

    fn has(self, day: Day) -> bool {
        (self.first..=self.last).contains(&day)
    }
}

/// The plot of one group, and its numbers in words.
pub(super) fn plot(html: &mut Markup, detail: &Detail, span: Span) {
    let days: Vec<_> = detail.days().filter(|(day, _)| span.has(*day)).collect();
    let outside: u64 = detail.days().filter(|(day, _)| !span.has(*day)).map(|(_, count)| count).sum();
    let most = days.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let step = WIDTH / (span.last.0 - span.first.0 + 1) as f64;
    html.raw("<svg class=\"plot\" role=\"img\" viewBox=\"0 0 ")
        .text(WIDTH)
        .raw(" ")
        .text(HEIGHT + 1.0)
        .raw("\"><title>");
    html.text(format!(
        "{} on {}, {} to {}",
        counted(days.iter().map(|(_, count)| count).sum(), "event"),
        counted(days.len() as u64, "day"),
        span.first(),
        span.last()
    ));
    html.raw("</title><path class=\"axis\" d=\"M0 ").text(HEIGHT + 0.5).raw("H").text(WIDTH).raw("\"/>");
    for (day, count) in &days {
        let height = (HEIGHT * *count as f64 / most as f64).max(LEAST_HEIGHT);
        let number = |value: f64| format!("{value:.1}");
        html.raw("<rect x=\"").text(number(step * (day.0 - span.first.0) as f64));
        html.raw("\" y=\"").text(number(HEIGHT - height));
        html.raw("\" width=\"").text(number((step * 0.85).max(LEAST_WIDTH)));
        html.raw("\" height=\"").text(number(height));
        html.raw("\"><title>").text(format!("{}: {}", date(*day), counted(*count, "event"))).raw("</title></rect>");
    }
    html.raw("</svg>");
    numbers(html, &days, outside);
}

fn numbers(html: &mut Markup, days: &[(Day, u64)], outside: u64) {
    let mut said: Vec<_> = days.iter().map(|(day, count)| format!("{}: {count}", date(*day))).collect();
    if outside > 0 {
        said.push(format!("other days: {outside}"));
    }
    let all = said.join(", ");
    if said.len() <= NAMED_DAYS {
        html.raw("<div class=\"days\">").text(all).raw("</div>");
    } else {
        html.raw("<details class=\"days\"><summary>").text(counted(days.len() as u64, "day")).raw("</summary>");
        for day in &said {
            html.raw("<div>").text(day).raw("</div>");
        }
        html.raw("</details>");
    }
}

fn date(day: Day) -> String {
    let time = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(day.0.saturating_mul(Day::SECONDS)));
    // Days are of times that there are.
    time.map_or_else(|_| day.0.to_string(), |time| time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_plot_shows_the_window() {
        let span = Span::of(time("2026-01-01T23:00:00Z"), time("2026-01-31T01:00:00Z"), &[]);
        assert_eq!((span.first(), span.last()), ("2026-01-01".to_owned(), "2026-01-31".to_owned()));
    }

    #[test]
    fn a_long_window_is_shown_by_its_end() {
        let span = Span::of(time("1970-01-01T00:00:00Z"), time("2026-01-31T01:00:00Z"), &[]);
        assert_eq!((span.first(), span.last()), ("2025-01-31".to_owned(), "2026-01-31".to_owned()));
    }

    #[test]
    fn a_window_in_the_future_has_a_day() {
        let span = Span::of(time("2030-01-01T00:00:00Z"), time("2026-01-31T01:00:00Z"), &[]);
        assert_eq!(span.first(), span.last());
    }
}
