//! What a receiver answers.

use std::{io::Read as _, time::Duration};

use jiff::Timestamp;
use ureq::http::{Response, header};

use super::{super::Failure, failed};
use crate::model::text;

/// What is read of an answer. The answer to a batch of thousands of documents is smaller.
const MAX_BYTES: u64 = 4 << 20;

/// The longest that a receiver can send us away: alerts wait meanwhile.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// The longest of a receiver's words that a reason repeats.
const EXCERPT_BYTES: usize = 400;

/// A status, and what came with it.
#[derive(Debug)]
pub(in crate::sinks) struct Answer {
    pub(in crate::sinks) status: u16,
    retry_after: Option<Duration>,
    /// The first bytes, and whether they are all.
    body: Vec<u8>,
    incomplete: Option<String>,
}

impl Answer {
    pub(super) fn read(response: Response<ureq::Body>) -> Self {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| delay(value, Timestamp::now()));
        let mut body = Vec::new();
        let incomplete = match response.into_body().into_reader().take(MAX_BYTES + 1).read_to_end(&mut body) {
            Ok(_) if body.len() as u64 > MAX_BYTES => Some(format!("it is longer than {MAX_BYTES} bytes")),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        Self { status, retry_after, body, incomplete }
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self.status, 401 | 403)
    }

    /// All of the body, or why it is not there.
    pub(in crate::sinks) fn body(&self) -> Result<&[u8], &str> {
        match &self.incomplete {
            Some(reason) => Err(reason),
            None => Ok(&self.body),
        }
    }

    /// Status and the beginning of the body.
    pub(in crate::sinks) fn reason(&self) -> String {
        let begin = &self.body[..self.body.len().min(EXCERPT_BYTES)];
        match self.status {
            300..=399 => format!("HTTP {}: redirects are not followed", self.status),
            _ if begin.is_empty() => format!("HTTP {}", self.status),
            _ => format!("HTTP {}: {}", self.status, excerpt(begin)),
        }
    }

    /// That it does not say what became of the documents.
    pub(in crate::sinks) fn failure(&self) -> Failure {
        Failure {
            // A server, or a gateway before it, that broke over the request may have got far with it. One that is busy has not begun.
            maybe_taken: self.status >= 500 && self.status != 503,
            retry_after: self.retry_after,
            ..failed(self.reason())
        }
    }

    /// That it says it has them, and is not understood beyond that.
    pub(in crate::sinks) fn unclear(&self, problem: &str) -> Failure {
        let reason = excerpt(problem.as_bytes());
        Failure { maybe_taken: true, ..failed(format!("HTTP {}, but not understood: {reason}", self.status)) }
    }
}

/// What somebody else said, for a reason: as text, cut.
pub(in crate::sinks) fn excerpt(words: &[u8]) -> String {
    text::shorten(&text::text(words), EXCERPT_BYTES)
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn delay(value: &str, now: Timestamp) -> Option<Duration> {
    let delay = match value.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?;
            date.timestamp().duration_since(now).try_into().unwrap_or_default()
        }
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let delay = |value| delay(value, now);
        assert_eq!(delay("7"), Some(Duration::from_secs(7)));
        assert_eq!(delay("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(37)));
        assert_eq!(delay("Sun, 06 Nov 1994 08:48:37 GMT"), Some(Duration::ZERO));
        assert_eq!(delay("18446744073709551615"), Some(MAX_RETRY_AFTER));
        assert_eq!((delay("soon"), delay("-1")), (None, None));
    }
}
