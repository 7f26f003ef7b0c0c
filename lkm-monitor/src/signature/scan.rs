//! Certificates that lie somewhere in a stream of other bytes.

use std::io::{self, Read};

use memchr::memmem;

use super::certificate::{self, Certificate};

/// Read at once. Less than a certificate of it is kept for the next time.
const WINDOW_BYTES: u64 = 256 << 10;
const MAX_CERTIFICATES: usize = 256;
/// What looks like a certificate and is none. A kernel has a few.
const MAX_ATTEMPTS: u32 = 1 << 14;

/// A sequence whose length takes two bytes: every certificate of 256 bytes and more.
const START: [u8; 2] = [0x30, 0x82];
const HEADER_BYTES: usize = 4;

/// Why a stream was not searched to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("only its first {0} bytes were searched")]
    TooLong(u64),
    #[error("it holds more than {MAX_CERTIFICATES} certificates")]
    Certificates,
    #[error("more than {MAX_ATTEMPTS} places look like a certificate and are none")]
    Attempts,
}

/// What was found, and whether that is all.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) certificates: Vec<Certificate>,
    pub(super) ended: Result<(), ScanError>,
}

/// All certificates in the first `max_bytes` of a stream. Inside of one, no other is looked for. Time is linear, and memory does not depend
/// on the stream.
pub(super) fn certificates(stream: impl Read, max_bytes: u64) -> Scan {
    let mut search = Search { certificates: Vec::new(), attempts: 0 };
    let ended = search.stream(stream, max_bytes);
    Scan { certificates: search.certificates, ended }
}

struct Search {
    certificates: Vec<Certificate>,
    attempts: u32,
}

impl Search {
    fn stream(&mut self, mut stream: impl Read, max_bytes: u64) -> Result<(), ScanError> {
        let mut window = Vec::new();
        let mut left_bytes = max_bytes;
        loop {
            let read = stream.by_ref().take(WINDOW_BYTES.min(left_bytes)).read_to_end(&mut window);
            // What was read before an error is searched too.
            let is_last = !matches!(read, Ok(1..));
            let searched = self.window(&window, is_last)?;
            left_bytes = left_bytes.saturating_sub(read? as u64);
            if is_last {
                break;
            }
            window.drain(..searched);
        }
        let is_longer = left_bytes == 0 && stream.take(1).read_to_end(&mut window)? > 0;
        if is_longer { Err(ScanError::TooLong(max_bytes)) } else { Ok(()) }
    }

    /// How much of the window need not be looked at again.
    fn window(&mut self, window: &[u8], is_last: bool) -> Result<usize, ScanError> {
        let mut at = 0;
        while let Some(rest) = window.get(at..)
            && let Some(start) = memmem::find(rest, &START)
        {
            at += start;
            let rest = rest.get(start..).unwrap_or_default();
            if rest.len() < certificate::MAX_BYTES && !is_last {
                return Ok(at);
            }
            at += self.candidate(rest)?.unwrap_or(1);
        }
        // The last byte can be the first of a start.
        Ok(at.max(window.len().saturating_sub(1)))
    }

    /// The length of the certificate that begins here.
    fn candidate(&mut self, bytes: &[u8]) -> Result<Option<usize>, ScanError> {
        let [_, _, high, low, tbs @ ..] = bytes else { return Ok(None) };
        // Inside is a sequence with a long length too, which begins with its version or, without one, with its serial number.
        let ([0x30, 0x82, _, _, 0xa0 | 0x02, ..] | [0x30, 0x81, _, 0xa0 | 0x02, ..]) = tbs else { return Ok(None) };
        let length = HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
        let Some(bytes) = bytes.get(..length).filter(|bytes| bytes.len() <= certificate::MAX_BYTES) else {
            return Ok(None);
        };
        if self.attempts == MAX_ATTEMPTS {
            return Err(ScanError::Attempts);
        }
        let Ok(certificate) = Certificate::from_der(bytes) else {
            self.attempts += 1;
            return Ok(None);
        };
        if self.certificates.len() == MAX_CERTIFICATES {
            return Err(ScanError::Certificates);
        }
        self.certificates.push(certificate);
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signature::fixtures::{P256, RSA};

    const MAX_BYTES: u64 = 1 << 30;

    fn certificate(bytes: &[u8]) -> Certificate {
        Certificate::from_der(bytes).unwrap()
    }

    #[test]
    fn a_certificate_is_found_across_the_ends_of_the_window() {
        let (rsa, p256) = (&RSA.certificate, &P256.certificate);
        for before in [0, 1, WINDOW_BYTES as usize - 400, WINDOW_BYTES as usize - 1, WINDOW_BYTES as usize] {
            let stream = [&vec![0x30; before][..], rsa, p256, &[0x30, 0x82, 0xff], p256].concat();
            let Scan { certificates, ended } = certificates(&stream[..], MAX_BYTES);
            assert_eq!(certificates, [certificate(rsa), certificate(p256), certificate(p256)], "{before}");
            ended.unwrap();
        }
    }

    #[test]
    fn what_was_found_before_an_end_stays() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let scan = certificates(RSA.certificate.chain(Broken), MAX_BYTES);
        assert_eq!(scan.certificates, [certificate(&RSA.certificate)]);
        assert_eq!(scan.ended.unwrap_err().to_string(), "broken");

        let long = [&RSA.certificate[..], &P256.certificate].concat();
        let max_bytes = RSA.certificate.len() as u64;
        let scan = certificates(&long[..], max_bytes);
        assert_eq!(scan.certificates, [certificate(&RSA.certificate)]);
        assert!(matches!(scan.ended, Err(ScanError::TooLong(bytes)) if bytes == max_bytes));
        assert!(certificates(&RSA.certificate[..], max_bytes).ended.is_ok());
    }

    #[test]
    fn what_a_stream_can_cost_is_bounded() {
        let scan = certificates(&P256.certificate.repeat(MAX_CERTIFICATES + 1)[..], MAX_BYTES);
        assert_eq!(scan.certificates.len(), MAX_CERTIFICATES);
        assert!(matches!(scan.ended, Err(ScanError::Certificates)));

        let alike = [0x30, 0x82, 0, 9, 0x30, 0x82, 0, 9, 0xa0].repeat(MAX_ATTEMPTS as usize + 3);
        assert!(matches!(certificates(&alike[..], MAX_BYTES).ended, Err(ScanError::Attempts)));
    }

    proptest! {
        #[test]
        fn every_certificate_among_other_bytes_is_found(before: Vec<u8>, behind: Vec<u8>) {
            let stream = [&before[..], &RSA.certificate, &behind].concat();
            let scan = certificates(&stream[..], MAX_BYTES);
            prop_assert_eq!(scan.certificates, [certificate(&RSA.certificate)]);
        }
    }
}
