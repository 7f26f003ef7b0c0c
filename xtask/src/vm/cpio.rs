//! The `newc` cpio format that a kernel unpacks as its first file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const ALIGNMENT: usize = 4;

/// Entries are owned by root, dated 1970 and numbered in order: the same input gives the same bytes.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(crate) fn directory(&mut self, path: &str, permissions: u32) {
        self.entry(path, DIRECTORY | permissions, (0, 0), &[]);
    }

    pub(crate) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, FILE | permissions, (0, 0), content);
    }

    pub(crate) fn symlink(&mut self, path: &str, destination: &str) {
        self.entry(path, SYMLINK | 0o777, (0, 0), destination.as_bytes());
    }

    pub(crate) fn character_device(&mut self, path: &str, permissions: u32, (major, minor): (u32, u32)) {
        self.entry(path, CHARACTER_DEVICE | permissions, (major, minor), &[]);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.entries += 1;
        let name = path.trim_start_matches('/');
        let fields: [usize; 13] = [
            self.entries as usize,
            mode as usize,
            0, // uid
            0, // gid
            1, // links
            0, // modification time
            content.len(),
            0, // major and minor of the device that holds the file
            0,
            major as usize,
            minor as usize,
            name.len() + 1,
            0, // checksum, unused in this variant
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_name_and_content_are_aligned() {
        let mut archive = Archive::default();
        archive.file("/init", 0o755, b"hello");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"07070100000001000081ed0000000000000000000000010000000000000005"));
        assert_eq!(&bytes[110..116], b"init\0\0"); // 110 bytes of header, then the name padded to 116
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }

    #[test]
    fn device_numbers_are_in_the_header() {
        let mut archive = Archive::default();
        archive.character_device("/dev/console", 0o600, (5, 1));
        let bytes = archive.finish();
        assert_eq!(&bytes[14..22], b"00002180");
        assert_eq!(&bytes[78..94], b"0000000500000001");
    }
}
