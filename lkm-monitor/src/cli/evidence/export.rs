//! The exact bytes of an image. None of them goes anywhere before all of them are checked.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tempfile::NamedTempFile;

use crate::{
    evidence::{Archive, Header},
    model::text::hex,
};

/// Makes a file for its owner alone. One that is there, or a link, is left as it is.
pub(super) fn to_file(archive: &Archive, hash: &str, path: &Path) -> anyhow::Result<()> {
    let refused = || format!("cannot write {}", path.display());
    let digest = archive.find(hash)?;
    if fs::symlink_metadata(path).is_ok() {
        anyhow::bail!("{} is there already", path.display());
    }
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(PathBuf::from("."), PathBuf::from);
    let mut file = NamedTempFile::with_prefix_in(".evidence-", folder).with_context(refused)?;
    let header = archive.image(&digest, &mut file).with_context(|| hex(&digest))?;
    file.as_file().sync_all().with_context(refused)?;
    file.persist_noclobber(path).with_context(refused)?;
    tell(&header);
    Ok(())
}

/// Writes to a pipe, or where the shell has put standard output.
pub(super) fn to_writer(archive: &Archive, hash: &str, out: &mut impl io::Write) -> anyhow::Result<()> {
    let digest = archive.find(hash)?;
    let mut image = Vec::new();
    let header = archive.image(&digest, &mut image).with_context(|| hex(&digest))?;
    out.write_all(&image).and_then(|()| out.flush()).context("cannot write to standard output")?;
    tell(&header);
    Ok(())
}

fn tell(header: &Header) {
    let Header { sha256, size, kept_bytes, .. } = header;
    if header.is_whole() {
        tracing::info!(sha256 = hex(sha256), bytes = size, "the image is written");
    } else {
        tracing::warn!(
            sha256 = hex(sha256),
            bytes = kept_bytes,
            of = size,
            "only the first part of the image was kept"
        );
    }
}
