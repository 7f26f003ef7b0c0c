//! The table of one hunt.

use jiff::Timestamp;

use super::{
    markup::{Markup, counted},
    timeline::{self, Span},
};
use crate::{
    hunt::{
        Query, Subject,
        relations::{Counterpart, Finding, Row, Standing},
    },
    model::GroupKey,
};

/// Agents that a row names.
const NAMED_AGENTS: usize = 8;

/// What the tables are called.
pub(super) struct Words {
    pub(super) title: &'static str,
    /// The table's; a row's has its number behind it.
    pub(super) anchor: &'static str,
    columns: [&'static str; 2],
}

pub(super) const fn words(subject: Subject) -> Words {
    match subject {
        Subject::Files => Words { title: "Module files", anchor: "file", columns: ["File", "Written by"] },
        Subject::Tools => Words { title: "Tool runs", anchor: "run", columns: ["Command", "Args"] },
        Subject::Modules => Words { title: "Loaded modules", anchor: "load", columns: ["Module", "SHA-256"] },
    }
}

pub(super) fn section(html: &mut Markup, finding: &Finding<'_>, span: Span) {
    let Words { title, anchor, columns } = words(finding.query.subject);
    html.raw("<section id=\"").raw(anchor).raw("\">\n<h2>").raw(title).raw("</h2>\n<p class=\"bounds\">");
    html.text(bounds(finding.query)).raw(" ");
    html.text(format!("{} of {} are.", finding.rare, counted(finding.groups as u64, "group")));
    if finding.rare > finding.rows.len() {
        html.text(format!(" The first {} are shown.", finding.rows.len()));
    }
    html.raw("</p>\n");
    if finding.rows.is_empty() {
        html.raw("<p class=\"none\">Nothing rare.</p>\n</section>\n");
        return;
    }
    // Without the script neither it nor the buttons would do anything.
    html.raw("<p class=\"filter\" hidden><label>Filter <input type=\"search\" autocomplete=\"off\" spellcheck=\"false\"></label> ");
    html.raw("<output></output></p>\n<table>\n<thead><tr>");
    for (column, class) in columns.into_iter().zip(["of", "by"]) {
        html.raw("<th scope=\"col\" data-sorts class=\"").raw(class).raw("\">").raw(column).raw("</th>");
    }
    for (column, class) in [("Count", "number"), ("Agents", "number"), ("First", "time"), ("Last", "time")] {
        html.raw("<th scope=\"col\" data-sorts class=\"").raw(class).raw("\">").raw(column).raw("</th>");
    }
    html.raw("<th scope=\"col\" class=\"perday\">Per day <span class=\"range\">");
    html.text(span.first()).raw(" – ").text(span.last());
    html.raw("</span></th></tr></thead>\n<tbody>\n");
    for (number, row) in (1..).zip(&finding.rows) {
        html.raw("<tr id=\"").raw(anchor).text(format!("-{number}")).raw("\">");
        cells(html, row, span);
        html.raw("</tr>\n");
    }
    html.raw("</tbody>\n</table>\n</section>\n");
}

/// When a group is rare, in a sentence.
fn bounds(query: &Query) -> String {
    let mut bounds = vec![format!("on at most {}", counted(query.max_agents, "agent"))];
    bounds.extend(query.max_count.map(|most| format!("in at most {}", counted(most, "event"))));
    bounds.extend(query.max_args.map(|most| format!("with at most {}", counted(most, "argument"))));
    format!("Rare is what happened {}.", bounds.join(", "))
}

fn cells(html: &mut Markup, row: &Row<'_>, span: Span) {
    let [of, by] = parts(row.key);
    html.raw("<td class=\"of\" data-sort=\"").text(&of).raw("\"><div class=\"subject\">").name(&of).raw("</div>");
    links(html, row);
    agents(html, row);
    html.raw("</td><td class=\"by\"");
    if matches!(row.key, GroupKey::Tool { .. }) {
        html.raw(" data-number=\"").text(&by).raw("\"");
    }
    html.raw(">").name(&by).raw("</td>");
    for number in [row.group.count, row.group.agents()] {
        html.raw("<td class=\"number\" data-number=\"").text(number).raw("\">").text(number).raw("</td>");
    }
    for time in [row.group.first, row.group.last] {
        moment(html, time);
    }
    html.raw("<td class=\"perday\">");
    if let Some(detail) = row.group.detail() {
        timeline::plot(html, detail, span);
    }
    html.raw("</td>");
}

/// What a row is of.
fn parts(key: &GroupKey) -> [String; 2] {
    match key {
        GroupKey::File { path, executable } => [path.clone(), executable.clone()],
        GroupKey::Tool { args, args_count } => [args.join(" "), args_count.to_string()],
        GroupKey::Module { name, sha256 } => [name.clone(), sha256.clone()],
    }
}

fn moment(html: &mut Markup, time: Timestamp) {
    html.raw("<td class=\"time\" data-number=\"").text(time.as_microsecond());
    html.raw("\"><time datetime=\"").text(time).raw("\" title=\"").text(time).raw("\">");
    html.text(time.strftime("%Y-%m-%d")).raw("<br>").text(time.strftime("%H:%M:%S")).raw("</time></td>");
}

fn agents(html: &mut Markup, row: &Row<'_>) {
    let mut names: Vec<_> = row.group.agent_names().filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    if names.is_empty() {
        return;
    }
    html.raw("<div class=\"aside\">on ");
    for (number, name) in names.iter().take(NAMED_AGENTS).enumerate() {
        html.raw(if number > 0 { ", " } else { "" }).name(name);
    }
    if names.len() > NAMED_AGENTS {
        html.text(format!(" and {} more", names.len() - NAMED_AGENTS));
    }
    html.raw("</div>");
}

/// What the row is tied to, one line for each hunt that it is tied to.
fn links(html: &mut Markup, row: &Row<'_>) {
    for counterparts in row.counterparts.chunk_by(|one, two| one.subject == two.subject) {
        let relation = match (row.key, counterparts[0].subject) {
            (GroupKey::Tool { .. }, _) => "loaded ",
            (_, Subject::Modules) => "loaded as ",
            (_, Subject::Tools) => "loaded by ",
            (_, Subject::Files) => "from ",
        };
        html.raw("<div class=\"link\">").raw(relation);
        for (number, counterpart) in counterparts.iter().enumerate() {
            link(html.raw(if number > 0 { ", " } else { "" }), counterpart);
        }
        html.raw("</div>");
    }
    if row.more_counterparts > 0 {
        html.raw("<div class=\"link\">").text(format!("and {} more links", row.more_counterparts)).raw("</div>");
    }
    if row.group.detail().is_some_and(|detail| detail.has_more_traces()) {
        html.raw("<div class=\"link\">links of some events may be missing</div>");
    }
}

fn link(html: &mut Markup, counterpart: &Counterpart<'_>) {
    let [of, by] = parts(counterpart.key);
    let of = if of.is_empty() { by.clone() } else { of };
    let name = |html: &mut Markup| {
        html.name(&of);
        if counterpart.subject == Subject::Files && !by.is_empty() {
            html.raw(" (by ").name(&by).raw(")");
        }
    };
    if let Standing::Shown(index) = counterpart.standing {
        html.raw("<a href=\"#").raw(words(counterpart.subject).anchor).text(format!("-{}", index + 1)).raw("\">");
        name(html);
        html.raw("</a>");
        return;
    }
    name(html);
    let bound = counterpart.group.agents() - u64::from(counterpart.more_agents);
    let more = if counterpart.more_agents { "more than " } else { "" };
    let (events, agents) = (counted(counterpart.group.count, "event"), counted(bound, "agent"));
    let standing = if counterpart.standing == Standing::Rare { "rare, but behind the last row" } else { "not rare" };
    html.raw(" <span class=\"none\">(").text(format!("{events} on {more}{agents}: {standing}")).raw(")</span>");
}
