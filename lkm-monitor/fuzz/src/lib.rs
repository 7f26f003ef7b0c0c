//! The room that reads the bytes of modules, without the rest of the daemon, so that it builds in seconds.

#[path = "../../src/image/mod.rs"]
pub mod image;

// So that the paths of the modules in it begin in this folder.
#[path = "."]
pub mod model {
    #[path = "../../src/model/bytes.rs"]
    mod bytes;
    #[path = "../../src/model/capability.rs"]
    mod capability;
    #[path = "../../src/model/module_image.rs"]
    mod module_image;

    pub use self::{bytes::*, capability::*, module_image::*};
}
