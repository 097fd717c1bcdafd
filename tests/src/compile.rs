//! The contracts, compiled from source with the compiler and the settings that `foundry.toml` names: for the revm
//! harness, which runs what the sources say, and for `write-bindings`, which commits it to `bindings/abi`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use alloy::json_abi::JsonAbi;
use alloy::primitives::Bytes;
use anyhow::{Context, Result, ensure};
use figment::Figment;
use figment::providers::{Format, Toml};
use foundry_compilers::artifacts::remappings::Remapping;
use foundry_compilers::artifacts::{BytecodeHash, Optimizer, Settings, SettingsMetadata};
use foundry_compilers::solc::{Solc, SolcCompiler, SolcLanguage, SolcSettings};
use foundry_compilers::{ConfigurableArtifacts, Project, ProjectBuilder, ProjectPathsConfig};
use serde::{Deserialize, Serialize};

/// The contracts whose ABI and creation code are committed, in `bindings/abi`.
pub const BOUND_CONTRACTS: [&str; 3] = ["SettlementToken", "PrepaymentEscrow", "RoutingTable"];

/// What the harness deploys besides them.
const MOCKS: &str = "tests/contracts/mocks";

/// Where compiler output is kept, so that unchanged sources are compiled once.
const CACHE: &str = "target/contracts";

/// One contract as the compiler made it.
#[derive(Clone, Debug, Serialize)]
pub struct Compiled {
    /// Its interface.
    pub abi: JsonAbi,
    /// The code that creates it; the constructor's arguments go behind it.
    #[serde(rename = "bytecode")]
    pub creation_code: Bytes,
}

impl Compiled {
    /// The text of its file in `bindings/abi`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("an ABI is JSON");
        text.push('\n');
        text
    }
}

/// All contracts of `contracts/src` and the mocks that can be deployed, by name.
pub type Contracts = BTreeMap<String, Compiled>;

/// The part of `foundry.toml` that decides what the compiler makes of a source.
#[derive(Debug, Deserialize)]
struct Profile {
    src: PathBuf,
    libs: Vec<PathBuf>,
    solc: PathBuf,
    evm_version: String,
    optimizer: bool,
    optimizer_runs: usize,
    bytecode_hash: String,
    cbor_metadata: bool,
    remappings: Vec<String>,
}

/// The root of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// The committed file of one of [`BOUND_CONTRACTS`].
#[must_use]
pub fn bound_file(contract: &str) -> PathBuf {
    root().join("bindings/abi").join(format!("{contract}.json"))
}

/// Compiles once per process; what did not change since the last process comes from the cache.
///
/// # Panics
/// When the contracts do not compile, with what the compiler said.
#[must_use]
pub fn contracts() -> &'static Contracts {
    static CONTRACTS: OnceLock<Contracts> = OnceLock::new();
    CONTRACTS.get_or_init(|| match compile() {
        Ok(contracts) => contracts,
        Err(error) => panic!("the contracts do not compile: {error:?}"),
    })
}

/// Compiles what changed.
///
/// # Errors
/// When the toolchain is not installed, or the compiler refuses a source.
pub fn compile() -> Result<Contracts> {
    let modules = root().join("contracts/node_modules");
    ensure!(modules.is_dir(), "contracts/node_modules is missing; scripts/test installs it");

    // Test binaries and `write-bindings` may run side by side, and the cache is one file.
    let cache = root().join(CACHE);
    fs::create_dir_all(&cache).context("creating the compiler's cache")?;
    let lock = File::create(cache.join("lock")).context("creating the lock of the compiler's cache")?;
    lock.lock().context("waiting for the compiler's cache")?;

    let (project, _) = project()?;
    let output = project.compile().context("running the compiler")?;
    ensure!(!output.has_compiler_errors(), "{output}");

    let mut contracts = Contracts::new();
    for (id, artifact) in output.into_artifacts() {
        let own = id.source.starts_with(root().join("contracts/src")) || id.source.starts_with(root().join(MOCKS));
        let code = artifact.bytecode.and_then(|bytecode| bytecode.object.into_bytes());
        if let (true, Some(abi), Some(creation_code)) = (own, artifact.abi, code)
            && !creation_code.is_empty()
        {
            contracts.insert(id.name, Compiled { abi, creation_code });
        }
    }
    Ok(contracts)
}

/// The contracts' project, and the compiler's version with the commit it was built from.
pub(crate) fn project() -> Result<(Project<SolcCompiler, ConfigurableArtifacts>, String)> {
    let cache = root().join(CACHE);
    let profile: Profile = Figment::from(Toml::file_exact(root().join("foundry.toml")))
        .extract_inner("profile.default")
        .context("reading foundry.toml")?;
    let paths: ProjectPathsConfig<SolcLanguage> = ProjectPathsConfig::builder()
        .sources(root().join(&profile.src))
        .tests(root().join(MOCKS))
        .scripts(root().join(MOCKS))
        .libs(profile.libs.iter().map(|lib| root().join(lib)))
        .remappings(remappings(&profile.remappings)?)
        .cache(cache.join("cache.json"))
        .artifacts(cache.join("artifacts"))
        .build_infos(cache.join("build-info"))
        .build_with_root(root());
    let solc = Solc::new(root().join(&profile.solc)).context("asking scripts/solc for its version")?;
    // "commit.<hash>.<platform>": the same commit for every platform makes the same code.
    let commit = solc.version.build.split('.').take(2).collect::<Vec<_>>().join(".");
    let version = format!("{}.{}.{}+{commit}", solc.version.major, solc.version.minor, solc.version.patch);
    let project = ProjectBuilder::<SolcCompiler, _>::new(ConfigurableArtifacts::default())
        .paths(paths)
        .settings(SolcSettings { settings: settings(&profile)?, ..SolcSettings::default() })
        .offline()
        .build(SolcCompiler::Specific(solc))
        .context("laying out the contracts' project")?;
    Ok((project, version))
}

fn remappings(lines: &[String]) -> Result<Vec<Remapping>> {
    lines
        .iter()
        .map(|line| {
            let mut remapping: Remapping = line.parse().with_context(|| format!("reading the remapping {line}"))?;
            remapping.path = root().join(&remapping.path).display().to_string();
            Ok(remapping)
        })
        .collect()
}

fn settings(profile: &Profile) -> Result<Settings> {
    let parse = |text: &str| -> Result<BytecodeHash> { text.parse().map_err(anyhow::Error::msg) };
    Ok(Settings {
        optimizer: Optimizer {
            enabled: Some(profile.optimizer),
            runs: Some(profile.optimizer_runs),
            ..Optimizer::default()
        },
        evm_version: Some(profile.evm_version.parse().map_err(anyhow::Error::msg).context("reading evm_version")?),
        metadata: Some(SettingsMetadata::new(
            parse(&profile.bytecode_hash).context("reading bytecode_hash")?,
            profile.cbor_metadata,
        )),
        ..Settings::default()
    })
}
