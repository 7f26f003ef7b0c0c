//! Certificates that are built into a kernel (certs/system_certificates.S), read out of its bzImage
//! (Documentation/arch/x86/boot.rst). So the key of a host's own distribution is found, without a list of anybody's keys.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
};

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

use super::{
    payload::{self, PayloadError},
    scan::{self, Scan},
};

/// What a kernel unpacks to. One of a distribution has 60 MiB.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;

const BOOT_FLAG: u16 = 0xaa55;
const MAGIC: [u8; 4] = *b"HdrS";
/// The first protocol that tells where the payload is.
const MIN_VERSION: u16 = 0x0208;
const SECTOR_BYTES: u64 = 512;

/// The start of a bzImage up to the fields that are needed.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SetupHeader {
    boot_sector: [u8; 0x1f1],
    setup_sectors: u8,
    root_and_video: [u8; 12],
    boot_flag: U16,
    jump: [u8; 2],
    magic: [u8; 4],
    version: U16,
    loading: [u8; 0x40],
    payload_offset: U32,
    payload_length: U32,
}

/// Why a kernel image cannot be searched.
#[derive(Debug, thiserror::Error)]
pub(super) enum KernelImageError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("it is no bzImage, or one of before Linux 2.6.26")]
    NoImage,
    #[error("{0}")]
    Payload(#[from] PayloadError),
}

/// All certificates in the kernel that the image unpacks to.
pub(super) fn certificates(mut image: File) -> Result<Scan, KernelImageError> {
    let mut head = [0; size_of::<SetupHeader>()];
    image.read_exact(&mut head).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => KernelImageError::NoImage,
        _ => error.into(),
    })?;
    let (offset, length) = payload_place(&head).ok_or(KernelImageError::NoImage)?;
    image.seek(SeekFrom::Start(offset))?;
    let unpacked = payload::unpack(BufReader::new(image.take(length)))?;
    Ok(scan::certificates(unpacked, MAX_UNPACKED_BYTES))
}

/// Where the payload begins in the file, and how long it is.
fn payload_place(head: &[u8]) -> Option<(u64, u64)> {
    let header = SetupHeader::ref_from_bytes(head).ok()?;
    let is_image = header.boot_flag == BOOT_FLAG && header.magic == MAGIC && header.version.get() >= MIN_VERSION;
    // For the sake of old boot loaders, zero means four.
    let setup_sectors = if header.setup_sectors == 0 { 4 } else { u64::from(header.setup_sectors) };
    let protected_mode = (1 + setup_sectors) * SECTOR_BYTES;
    is_image.then(|| (protected_mode + u64::from(header.payload_offset.get()), u64::from(header.payload_length.get())))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::signature::{
        certificate::Certificate,
        fixtures::{P256, RSA, kernel_image},
    };

    fn search(image: &[u8]) -> Result<Scan, KernelImageError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(image).unwrap();
        file.rewind().unwrap();
        certificates(file)
    }

    #[test]
    fn certificates_inside_a_packed_kernel_are_found() {
        let kernel = [&[0; 100_000][..], &RSA.certificate, &P256.certificate, &[0; 100]].concat();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&kernel).unwrap();
        let payload = packed.finish().unwrap();
        let image = kernel_image(&payload);
        let Scan { certificates, ended } = search(&image).unwrap();
        let expected = [&RSA.certificate, &P256.certificate].map(|bytes| Certificate::from_der(bytes).unwrap());
        assert_eq!(certificates, expected);
        ended.unwrap();

        // Where the end is cut, what was found before it stays.
        let behind_payload = image.len() - payload.len() / 20 - 26;
        let Scan { certificates, ended } = search(&image[..behind_payload]).unwrap();
        assert_eq!(certificates.first(), expected.first());
        ended.unwrap_err();
    }

    #[test]
    fn what_is_no_image_is_told() {
        let image = kernel_image(b"\x7fELF");
        assert!(search(&image).is_ok());
        for (at, value) in [(0x1fe, 0), (0x202, b'h'), (0x206, 7)] {
            let mut image = image.clone();
            image[at..at + 2].copy_from_slice(&[value, 2]);
            assert!(matches!(search(&image), Err(KernelImageError::NoImage)), "{at:#x}");
        }
        assert!(matches!(search(&image[..0x24f]), Err(KernelImageError::NoImage)));
        assert!(matches!(search(&image[..0x250]), Err(KernelImageError::Payload(_))));
        let no_sectors: Vec<u8> =
            image.iter().enumerate().map(|(at, &byte)| if at == 0x1f1 { 0 } else { byte }).collect();
        assert_eq!(payload_place(&no_sectors[..0x250]), Some((5 * 512 + 64, 4)));
        assert_eq!(payload_place(&image[..0x250]), Some((2 * 512 + 64, 4)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_are_a_panic(offset: u32, length: u32, sectors: u8, payload: Vec<u8>) {
            let mut image = kernel_image(&payload);
            image[0x1f1] = sectors;
            image[0x248..0x24c].copy_from_slice(&offset.to_le_bytes());
            image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
            let _ = search(&image);
        }
    }
}
