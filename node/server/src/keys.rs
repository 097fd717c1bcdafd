//! The node key: signs vouchers to relays and commands to peers, and opens packets to the node's own address.

use std::{fmt, fs, path::Path};

use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
};
use minus_bindings::{Deployment, typed::NodeConsent};
use minus_protocol::{SealingKey, SealingSecret};
use serde::{Deserialize, Serialize};

/// Why a key cannot be used. Never carries key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The keystore file is absent, broken, or the password is wrong.
    #[error("cannot open keystore {path}: {source}")]
    Keystore {
        /// The file.
        path: String,
        /// What the keystore library says.
        source: alloy::signers::local::LocalSignerError,
    },
    /// The keystore file exists already, and a node key is not overwritten.
    #[error("{0} exists; a node key is never overwritten")]
    Exists(String),
    /// The password cannot be read.
    #[error("cannot read the password: {0}")]
    Password(#[source] std::io::Error),
    /// A folder or file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The node's hot key in both its forms. Cannot be printed.
#[derive(Clone)]
pub(crate) struct NodeKey {
    pub(crate) signer: PrivateKeySigner,
    pub(crate) sealing: std::sync::Arc<SealingSecret>,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.signer.address())
    }
}

impl NodeKey {
    pub(crate) fn new(signer: PrivateKeySigner) -> Self {
        let sealing = std::sync::Arc::new(SealingSecret::derive(&signer.to_bytes().0));
        Self { signer, sealing }
    }

    pub(crate) fn open(path: &Path, password: &Password) -> Result<Self, KeyError> {
        PrivateKeySigner::decrypt_keystore(path, password.0.as_bytes())
            .map(Self::new)
            .map_err(|source| KeyError::Keystore { path: path.display().to_string(), source })
    }

    pub(crate) fn address(&self) -> Address {
        self.signer.address()
    }
}

/// A password that cannot be printed.
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// From the file, else from `MINUS_NODE_PASSWORD`, else from the terminal.
    ///
    /// # Errors
    /// When none of them can be read.
    pub fn obtain(file: Option<&Path>) -> Result<Self, KeyError> {
        if let Some(path) = file {
            let text = fs::read_to_string(path).map_err(KeyError::Password)?;
            return Ok(Self(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
        if let Ok(text) = std::env::var("MINUS_NODE_PASSWORD") {
            return Ok(Self(text));
        }
        rpassword::prompt_password("password of the node key: ").map(Self).map_err(KeyError::Password)
    }
}

/// What a node shows of itself: where packets to it go and how they are sealed.
#[derive(Clone, Debug, Serialize)]
pub struct PublicKeys {
    /// The node's address.
    pub node: Address,
    /// Affine x of its sealing key.
    pub sealing_key_x: U256,
    /// Affine y of its sealing key.
    pub sealing_key_y: U256,
}

/// The node's word that it works for this operator: what `settler register-node` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Consent {
    /// The node's address.
    pub node: Address,
    /// For whom it works.
    pub operator: Address,
    /// Affine x of its sealing key.
    pub sealing_key_x: U256,
    /// Affine y of its sealing key.
    pub sealing_key_y: U256,
    /// Until when the registration may be sent, seconds since 1970.
    pub valid_until: u64,
    /// EIP-712 signature by the node key, `0x` and 65 bytes in hex.
    pub signature: String,
}

/// Makes a node key and writes it, encrypted, to `path`.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn create(path: &Path, password: &Password) -> Result<PublicKeys, KeyError> {
    if path.exists() {
        return Err(KeyError::Exists(path.display().to_string()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| KeyError::Write { path: folder.display().to_string(), source })?;
    let keystore = |source| KeyError::Keystore { path: path.display().to_string(), source };
    let name = path.file_name().and_then(|name| name.to_str());
    let key = NodeKey::new(PrivateKeySigner::random());
    PrivateKeySigner::encrypt_keystore(folder, &mut OsRng, key.signer.to_bytes(), password.0.as_bytes(), name)
        .map_err(keystore)?;
    for_owner_only(path)?;
    Ok(public_keys(&key))
}

/// It is encrypted, but nobody else has any business with it.
fn for_owner_only(path: &Path) -> Result<(), KeyError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(|source| KeyError::Write { path: path.display().to_string(), source })?;
    }
    Ok(())
}

/// The public side of the key in `path`.
///
/// # Errors
/// When the keystore cannot be opened.
pub fn show(path: &Path, password: &Password) -> Result<PublicKeys, KeyError> {
    NodeKey::open(path, password).map(|key| public_keys(&key))
}

/// Signs the node's consent to be registered by `operator`.
///
/// # Errors
/// When the keystore cannot be opened.
pub fn consent(
    path: &Path,
    password: &Password,
    deployment: &Deployment,
    operator: Address,
    valid_until: u64,
) -> Result<Consent, KeyError> {
    let key = NodeKey::open(path, password)?;
    let PublicKeys { node, sealing_key_x, sealing_key_y } = public_keys(&key);
    let statement =
        NodeConsent { node, operator, sealingKeyX: sealing_key_x, sealingKeyY: sealing_key_y, validUntil: valid_until };
    let signature = minus_bindings::typed::sign(&statement, &deployment.routing_domain(), &key.signer);
    Ok(Consent {
        node,
        operator,
        sealing_key_x,
        sealing_key_y,
        valid_until,
        signature: format!("0x{}", hex::encode(signature)),
    })
}

fn public_keys(key: &NodeKey) -> PublicKeys {
    let public: SealingKey = key.sealing.public();
    let (sealing_key_x, sealing_key_y) = public.to_affine();
    PublicKeys { node: key.address(), sealing_key_x, sealing_key_y }
}
