//! `lkm-monitor baseline`: what is normal, from one host to others.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tempfile::NamedTempFile;

use crate::{
    config,
    prevalence::{
        baseline::{self, BaselineError, Trust},
        groups::KeyNames,
        store::Store,
    },
};

#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write what this host has seen within the window
    Export(Export),
    /// Take what a file names for normal on this host; a running daemon need not be stopped
    Import(Import),
}

#[derive(Debug, Args)]
struct Export {
    /// File to write; standard output without it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Sign it with this private key (Ed25519, PEM)
    #[arg(long, value_name = "FILE")]
    sign_with: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Import {
    /// Files to read
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take only files that were signed with the key of which this is the public half (PEM)
    #[arg(long, value_name = "FILE")]
    signed_by: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// Settings to use, and no others [default: /etc/lkm-monitor/config.toml and /etc/lkm-monitor/conf.d/*.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// This host's store [default: as in the settings]
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

pub(super) fn run(args: BaselineArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Export(args) => export(&args),
        Action::Import(args) => import(&args),
    }
}

fn export(args: &Export) -> anyhow::Result<ExitCode> {
    let rarity = config::load(args.place.config.as_deref())?.config.rarity;
    let store = args.place.store.as_ref().unwrap_or(&rarity.path);
    let key = args.sign_with.as_deref().map(|path| read_key(path, baseline::private_key)).transpose()?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let window = rarity.limits()?.window;
    let export = |to: &mut dyn io::Write| baseline::export(store, window, now_s(), &host, key.as_ref(), to);
    let groups = match &args.output {
        None => export(&mut io::stdout().lock())?,
        // It names paths and command lines of this host: for its owner alone. Who looks sees the old file, or the whole new one.
        Some(path) => {
            let refused = || format!("cannot write {}", path.display());
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = NamedTempFile::with_prefix_in(".baseline-", folder).with_context(refused)?;
            let groups = export(&mut file)?;
            file.persist(path).with_context(refused)?;
            groups
        }
    };
    tracing::info!(groups, signed = key.is_some(), "the baseline is written");
    Ok(ExitCode::SUCCESS)
}

/// All files are read before the first group is taken.
fn import(args: &Import) -> anyhow::Result<ExitCode> {
    let rarity = config::load(args.place.config.as_deref())?.config.rarity;
    let key = args.signed_by.as_deref().map(|path| read_key(path, baseline::public_key)).transpose()?;
    let ours = KeyNames::from(&rarity.thresholds()?);
    for path in &args.files {
        let refused = || format!("{} is refused", path.display());
        let (header, trust) = baseline::read(open(path)?, key.as_ref(), |_| Ok(())).with_context(refused)?;
        if header.keys != ours {
            let [theirs, ours] = [&header.keys, &ours].map(|keys| serde_json::to_string(keys).unwrap_or_default());
            return Err(BaselineError::OtherKeys { theirs, ours }).with_context(refused);
        }
        match trust {
            Trust::Verified => {}
            Trust::SignedBy(key) => {
                tracing::warn!(file = %path.display(), key, "it is signed, but nobody said by whom it has to be (--signed-by)");
            }
            Trust::Unsigned => tracing::warn!(file = %path.display(), "it is not signed"),
        }
    }
    let path = args.place.store.as_ref().unwrap_or(&rarity.path);
    let mut store = Store::open(path, rarity.limits()?)?;
    store.name_keys(&ours)?;
    for path in &args.files {
        let mut groups = Vec::new();
        let (header, _) = baseline::read(open(path)?, key.as_ref(), |name| {
            groups.push(name);
            Ok(())
        })?;
        store.import(&groups, now_s())?;
        let imported = groups.len();
        tracing::info!(file = %path.display(), imported, from = header.host, made_at = header.made_at, "the baseline is taken in");
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    Ok(BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?))
}

fn read_key<K>(path: &Path, key: fn(&str) -> Result<K, BaselineError>) -> anyhow::Result<K> {
    let pem = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    key(&pem).with_context(|| path.display().to_string())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
