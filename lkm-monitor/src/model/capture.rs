//! What was captured of the image that the kernel read.

use super::ImageExtent;

/// Which image: when it was read, and by which thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    /// Nanoseconds since boot.
    pub id: u64,
    pub tid: u32,
}

/// The bytes that a probe copied at the moment of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    pub name: ImageName,
    /// Bytes of the image in the kernel's memory.
    pub image_bytes: u64,
    /// Of these, from the first one on, those that were captured.
    pub captured_bytes: u64,
}

impl Capture {
    /// How much of the image there is, where `limit_bytes` are captured at the most.
    pub fn extent(&self, limit_bytes: u64) -> ImageExtent {
        if self.captured_bytes == self.image_bytes {
            ImageExtent::Whole
        } else if self.captured_bytes == limit_bytes {
            ImageExtent::FirstPart
        } else {
            ImageExtent::Cut
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_of_an_image() {
        let extent = |image_bytes, captured_bytes| {
            Capture { name: ImageName { id: 1, tid: 1 }, image_bytes, captured_bytes }.extent(100)
        };
        assert_eq!(extent(70, 70), ImageExtent::Whole);
        assert_eq!(extent(100, 100), ImageExtent::Whole);
        assert_eq!(extent(170, 100), ImageExtent::FirstPart);
        assert_eq!(extent(70, 0), ImageExtent::Cut);
        assert_eq!(extent(170, 64), ImageExtent::Cut);
    }
}
