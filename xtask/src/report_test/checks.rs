//! What a reader of the report does, and what has to come of it.

use std::{fs, io, net::TcpListener, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{browser::Browser, documents::FILES};

/// The report in a browser.
pub(super) struct Page<'a> {
    pub(super) browser: &'a Browser,
    pub(super) url: String,
    /// Gets what the page should not ask for.
    pub(super) elsewhere: &'a TcpListener,
    /// For pictures.
    pub(super) folder: &'a Path,
}

type Check = fn(&Page<'_>) -> Result<()>;

pub(super) const ALL: [(&str, Check); 7] = [
    ("report: rows come in the hunt's order", rows_come_in_the_hunts_order),
    ("report: a click on a column sorts", a_click_on_a_column_sorts),
    ("report: a key on a column sorts", a_key_on_a_column_sorts),
    ("report: a filter hides the other rows", a_filter_hides_the_other_rows),
    ("report: links lead from run to load to file and back", links_lead_from_run_to_load_to_file_and_back),
    ("report: the page asks for nothing", the_page_asks_for_nothing),
    ("report: it fits wide and narrow windows", it_fits_wide_and_narrow_windows),
];

const ENTER: &str = "\u{e007}";
const SIZES: [(u32, u32); 2] = [(1280, 1400), (800, 1400)];

impl Page<'_> {
    pub(super) fn open(&self) -> Result<()> {
        self.browser.resize(SIZES[0].0, SIZES[0].1)?;
        // A page that differs from the last one by its anchor alone would not be loaded again.
        self.browser.open("about:blank")?;
        self.browser.open(&self.url)
    }

    /// Indexes into [`FILES`] of the rows that are seen.
    fn files(&self) -> Result<Vec<usize>> {
        let script = "return [...document.querySelectorAll('#file tbody tr')].filter((row) => row.checkVisibility())
            .map((row) => row.querySelector('.subject').textContent)";
        let shown: Vec<String> = serde_json::from_value(self.browser.evaluate(script)?)?;
        let port = self.elsewhere.local_addr()?.port().to_string();
        let index = |name: &String| FILES.iter().position(|file| file.replace("PORT", &port) == *name);
        shown.iter().map(|name| index(name).with_context(|| format!("a strange row: {name}"))).collect()
    }

    fn shows_files(&self, expected: &[usize]) -> Result<()> {
        let files = self.files()?;
        ensure!(files == expected, "the rows are {files:?} and not {expected:?}");
        Ok(())
    }

    fn shows(&self, expression: &str, expected: &Value) -> Result<()> {
        let found = self.browser.evaluate(&format!("return {expression}"))?;
        ensure!(found == *expected, "{expression} is {found} and not {expected}");
        Ok(())
    }

    /// Follows a link, and looks whether its row is what the window shows then.
    fn follow(&self, from: &str, to: &str, subject: &str) -> Result<()> {
        self.browser.click(&format!("#{from} a[href='#{to}']"))?;
        let row = format!("document.getElementById('{to}')");
        self.browser.wait_for(&format!("{row}.matches(':target') && {row}.checkVisibility()"))?;
        // Not behind the head that stays, nor below the window.
        let cell = format!("{row}.querySelector('.subject')");
        self.browser.wait_for(&format!(
            "(({{ left, top }}) => {cell}.contains(document.elementFromPoint(left + 2, top + 2)))({cell}.getBoundingClientRect())"
        ))?;
        self.shows(&format!("{cell}.textContent"), &json!(subject))
    }
}

/// The head of a column of the table of files, as a selector.
fn head(column: usize) -> String {
    format!("#file th:nth-child({column}) button")
}

fn rows_come_in_the_hunts_order(page: &Page<'_>) -> Result<()> {
    page.shows_files(&[0, 1, 2, 3])?;
    page.shows("document.querySelectorAll('[aria-sort]').length", &json!(0))?;
    page.shows("document.querySelectorAll('#file-4 rect').length", &json!(1))?;
    page.shows("document.querySelector('#file-4 rect title').textContent", &json!("2026-01-15: 12 events"))?;
    page.shows("document.querySelector('#file-4 .days').textContent", &json!("2026-01-15: 12"))
}

fn a_click_on_a_column_sorts(page: &Page<'_>) -> Result<()> {
    page.browser.click(&head(1))?;
    page.shows_files(&[1, 3, 2, 0])?;
    page.shows("document.querySelector('#file th').getAttribute('aria-sort')", &json!("ascending"))?;
    page.browser.click(&head(1))?;
    page.shows_files(&[0, 2, 3, 1])?;
    page.shows("document.querySelector('#file th').getAttribute('aria-sort')", &json!("descending"))?;
    // By time, and one column at a time.
    page.browser.click(&head(6))?;
    page.shows_files(&[1, 2, 3, 0])?;
    page.shows("document.querySelectorAll('[aria-sort]').length", &json!(1))
}

fn a_key_on_a_column_sorts(page: &Page<'_>) -> Result<()> {
    page.browser.enter(&head(3), ENTER)?;
    page.shows_files(&[0, 1, 2, 3])?;
    page.browser.enter(&head(3), ENTER)?;
    // 12 is more than 2.
    page.shows_files(&[3, 2, 1, 0])?;
    page.shows("document.querySelector('#file th:nth-child(3)').getAttribute('aria-sort')", &json!("descending"))
}

fn a_filter_hides_the_other_rows(page: &Page<'_>) -> Result<()> {
    page.browser.enter("#file input", "ALPHA")?;
    page.shows_files(&[1])?;
    page.shows("document.querySelector('#file output').textContent", &json!("1 of 4 rows"))?;
    page.shows("document.querySelectorAll('#load tbody tr').length", &json!(1))?;
    // A link finds its row all the same.
    page.follow("load-1", "file-1", FILES[0])?;
    page.shows_files(&[0, 1, 2, 3])
}

fn links_lead_from_run_to_load_to_file_and_back(page: &Page<'_>) -> Result<()> {
    // So low that each step scrolls.
    page.browser.resize(SIZES[0].0, 400)?;
    page.follow("run-1", "load-1", "zeta")?;
    page.follow("load-1", "file-1", FILES[0])?;
    page.follow("file-1", "load-1", "zeta")?;
    page.follow("load-1", "run-1", &format!("insmod {}", FILES[0]))?;
    // What is not rare has no row to lead to.
    for row in ["run-1", "file-1"] {
        let text = format!(
            "document.getElementById('{row}').textContent.includes('common (12 events on 12 agents: not rare)')"
        );
        page.shows(&text, &json!(true))?;
    }
    Ok(())
}

fn the_page_asks_for_nothing(page: &Page<'_>) -> Result<()> {
    page.shows("document.querySelectorAll('img, link, iframe, object').length", &json!(0))?;
    let asked = page.browser.requests(&page.url)?;
    ensure!(asked.iter().all(|url| *url == page.url) && !asked.is_empty(), "the page asked for {asked:?}");
    // Even if something got in that does.
    let port = page.elsewhere.local_addr()?.port();
    let script = format!(
        "window.refused = []; addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
         new Image().src = 'http://127.0.0.1:{port}/image';
         fetch('http://127.0.0.1:{port}/fetch').catch(() => 0);
         const added = document.createElement('script'); added.textContent = 'window.broken = true'; document.body.append(added);
         const style = document.createElement('style'); style.textContent = 'body {{ display: none }}'; document.body.append(style);"
    );
    page.browser.evaluate(&script)?;
    page.browser.wait_for("refused.length >= 4")?;
    page.shows("refused.sort()", &json!(["connect-src", "img-src", "script-src-elem", "style-src-elem"]))?;
    page.shows("window.broken === undefined && document.body.checkVisibility()", &json!(true))?;
    let nobody = page.elsewhere.accept().err().map(|error| error.kind());
    ensure!(nobody == Some(io::ErrorKind::WouldBlock), "somebody was asked");
    Ok(())
}

fn it_fits_wide_and_narrow_windows(page: &Page<'_>) -> Result<()> {
    for (width, height) in SIZES {
        page.browser.resize(width, height)?;
        page.browser.wait_for(&format!("outerWidth === {width}"))?;
        let picture = page.browser.screenshot()?;
        fs::write(page.folder.join(format!("report-{width}.png")), base64(&picture)?)?;
        page.shows("document.documentElement.scrollWidth <= innerWidth", &json!(true))?;
    }
    Ok(())
}

/// The bytes of a text in base64.
fn base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for at in 0..4 {
            let digit = match four.get(at) {
                Some(letter @ b'A'..=b'Z') => letter - b'A',
                Some(letter @ b'a'..=b'z') => letter - b'a' + 26,
                Some(letter @ b'0'..=b'9') => letter - b'0' + 52,
                Some(b'+') => 62,
                Some(b'/') => 63,
                None => 0,
                Some(other) => anyhow::bail!("no base64: {other:#x}"),
            };
            bits = bits << 6 | u32::from(digit);
        }
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("TQ==", "M"), ("TWE=", "Ma"), ("TWFu", "Man"), ("TWFuTWFu", "ManMan")] {
            assert_eq!(base64(text).ok().as_deref(), Some(bytes.as_bytes()));
        }
        assert!(base64("TQ$=").is_err());
    }
}
