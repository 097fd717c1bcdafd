//! Wallets on disk: one encrypted web3 v3 JSON file each, named by the customer, readable by its owner only. The
//! address stands beside the cipher text, so listing needs no password; unlocking checks that it tells the truth.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::PrivateKeySigner;
use serde::Serialize;
use zeroize::Zeroizing;

/// Longest wallet name: it is a file name and a column of a table.
const NAME_BYTES_MAX: usize = 64;

/// Largest keystore file read: the format takes under 1 KiB.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A password or key as text: wiped when dropped and never printed.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Whoever calls this must not log or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(hidden)")
    }
}

/// A directory of wallets.
#[derive(Debug, Clone)]
pub struct Keystore {
    directory: PathBuf,
}

/// One wallet, as seen without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WalletEntry {
    /// What the customer calls it.
    pub name: String,
    /// Its address.
    pub address: Address,
    /// Its file.
    pub path: PathBuf,
}

/// What can go wrong with wallets.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A name that cannot be a file name everywhere.
    #[error("{0:?} is no wallet name: use 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, - and _")]
    BadName(String),
    /// The name is taken.
    #[error("there is already a wallet {0:?}; choose another name")]
    Exists(String),
    /// No such wallet.
    #[error("there is no wallet {0:?}; see `minus wallet list`, or make it with `minus wallet new {0}`")]
    Unknown(String),
    /// Wallets have to be named when there is not exactly one.
    #[error("there are {count} wallets; name one with --wallet (`minus wallet list` shows them)")]
    NotNamed {
        /// How many there are.
        count: usize,
    },
    /// Wrong password, or a damaged file.
    #[error("the wallet {0:?} does not open: wrong password, or its file is damaged")]
    Locked(String),
    /// The file says another address than its key has.
    #[error("the file of wallet {name:?} says {stated} but its key belongs to {actual}; do not use it")]
    AddressMismatch {
        /// Which wallet.
        name: String,
        /// What the file says.
        stated: Address,
        /// What the key says.
        actual: Address,
    },
    /// Not a private key.
    #[error("that is no secp256k1 private key: expected 64 hex digits")]
    BadKey,
    /// The disk's word.
    #[error("the wallet file {path}: {source}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A file that is no keystore.
    #[error("{0} is no keystore file")]
    NotKeystore(PathBuf),
}

impl Keystore {
    /// The wallets in `directory`, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Makes a new key and stores it.
    pub fn create(&self, name: &str, password: &Secret) -> Result<WalletEntry, KeystoreError> {
        self.store(name, &PrivateKeySigner::random(), password)
    }

    /// Stores a key that exists already, given as hex.
    pub fn import_key(&self, name: &str, key: &Secret, password: &Secret) -> Result<WalletEntry, KeystoreError> {
        let digits = key.expose().trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let bytes = Zeroizing::new(hex::decode(digits).map_err(|_| KeystoreError::BadKey)?);
        let signer = PrivateKeySigner::from_slice(&bytes).map_err(|_| KeystoreError::BadKey)?;
        self.store(name, &signer, password)
    }

    /// All wallets, by name.
    pub fn list(&self) -> Result<Vec<WalletEntry>, KeystoreError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.io(error)),
        };
        let mut wallets = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| self.io(error))?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "json") && is_name(name) {
                wallets.push(read_entry(name, &path)?);
            }
        }
        wallets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(wallets)
    }

    /// The named wallet, or the only one.
    pub fn find(&self, name: Option<&str>) -> Result<WalletEntry, KeystoreError> {
        match name {
            Some(name) => {
                let path = self.path(name)?;
                if !path.is_file() {
                    return Err(KeystoreError::Unknown(name.to_owned()));
                }
                read_entry(name, &path)
            }
            None => {
                let mut wallets = self.list()?;
                match wallets.pop() {
                    Some(only) if wallets.is_empty() => Ok(only),
                    last => Err(KeystoreError::NotNamed { count: wallets.len() + usize::from(last.is_some()) }),
                }
            }
        }
    }

    /// Decrypts a wallet's key.
    pub fn unlock(&self, entry: &WalletEntry, password: &Secret) -> Result<PrivateKeySigner, KeystoreError> {
        let signer = PrivateKeySigner::decrypt_keystore(&entry.path, password.expose())
            .map_err(|_| KeystoreError::Locked(entry.name.clone()))?;
        if signer.address() != entry.address {
            return Err(KeystoreError::AddressMismatch {
                name: entry.name.clone(),
                stated: entry.address,
                actual: signer.address(),
            });
        }
        Ok(signer)
    }

    fn store(&self, name: &str, signer: &PrivateKeySigner, password: &Secret) -> Result<WalletEntry, KeystoreError> {
        let path = self.path(name)?;
        if path.exists() {
            return Err(KeystoreError::Exists(name.to_owned()));
        }
        private_directory(&self.directory).map_err(|error| self.io(error))?;
        let secret = Zeroizing::new(signer.to_bytes().0);
        let draft_name = format!(".{name}.{}.draft", std::process::id());
        let draft = self.directory.join(&draft_name);
        let written = PrivateKeySigner::encrypt_keystore(
            &self.directory,
            &mut OsRng,
            secret.as_slice(),
            password.expose(),
            Some(&draft_name),
        );
        let placed = written
            .map_err(|error| std::io::Error::other(error.to_string()))
            .and_then(|_| finish(&draft, &path, signer.address()));
        // The draft is a second name of the same file by now, or of no use.
        let _ = fs::remove_file(&draft);
        match placed {
            Ok(()) => Ok(WalletEntry { name: name.to_owned(), address: signer.address(), path }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(KeystoreError::Exists(name.to_owned()))
            }
            Err(source) => Err(KeystoreError::Io { path, source }),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeystoreError> {
        if is_name(name) {
            Ok(self.directory.join(format!("{name}.json")))
        } else {
            Err(KeystoreError::BadName(name.to_owned()))
        }
    }

    fn io(&self, source: std::io::Error) -> KeystoreError {
        KeystoreError::Io { path: self.directory.clone(), source }
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn read_entry(name: &str, path: &Path) -> Result<WalletEntry, KeystoreError> {
    let not_keystore = || KeystoreError::NotKeystore(path.to_owned());
    let io = |source| KeystoreError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(io)?.len() > FILE_BYTES_MAX {
        return Err(not_keystore());
    }
    let text = fs::read_to_string(path).map_err(io)?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|_| not_keystore())?;
    let address = json.get("address").and_then(|value| value.as_str()).and_then(|text| text.parse().ok());
    Ok(WalletEntry { name: name.to_owned(), address: address.ok_or_else(not_keystore)?, path: path.to_owned() })
}

/// Adds the address, makes the file private and durable, and gives it its name without replacing another.
fn finish(draft: &Path, path: &Path, address: Address) -> std::io::Result<()> {
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(draft)?)?;
    json["address"] = serde_json::Value::String(hex::encode(address));
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(draft)?;
    only_owner(draft, 0o600)?;
    file.write_all(json.to_string().as_bytes())?;
    file.sync_all()?;
    fs::hard_link(draft, path)?;
    if let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Makes a directory, and its parents, that only its owner can read.
pub(crate) fn private_directory(path: &Path) -> std::io::Result<()> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
        only_owner(path, 0o700)?;
    }
    Ok(())
}

#[cfg(unix)]
fn only_owner(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn only_owner(_path: &Path, _mode: u32) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn keystore() -> (tempfile::TempDir, Keystore) {
        let directory = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(directory.path().join("wallets"));
        (directory, keystore)
    }

    #[test]
    fn refuses_names_that_are_no_file_names() {
        let (_directory, keystore) = keystore();
        for name in ["", "../x", "a/b", "a.b", "ü", &"n".repeat(65)] {
            assert!(matches!(keystore.create(name, &secret("p")), Err(KeystoreError::BadName(_))), "{name:?}");
        }
    }

    #[test]
    fn refuses_to_replace_a_wallet_and_to_open_with_another_password() {
        let (_directory, keystore) = keystore();
        let alice = keystore.create("alice", &secret("right")).unwrap();
        assert!(matches!(keystore.create("alice", &secret("right")), Err(KeystoreError::Exists(_))));
        assert!(matches!(keystore.unlock(&alice, &secret("wrong")), Err(KeystoreError::Locked(_))));
        assert_eq!(keystore.unlock(&alice, &secret("right")).unwrap().address(), alice.address);
    }

    #[test]
    fn refuses_a_file_that_lies_about_its_address() {
        let (_directory, keystore) = keystore();
        let alice = keystore.create("alice", &secret("p")).unwrap();
        let text = fs::read_to_string(&alice.path).unwrap();
        fs::write(&alice.path, text.replace(&hex::encode(alice.address), &"11".repeat(20))).unwrap();
        let lying = keystore.find(Some("alice")).unwrap();
        assert!(matches!(keystore.unlock(&lying, &secret("p")), Err(KeystoreError::AddressMismatch { .. })));
    }

    #[test]
    fn refuses_what_is_no_key() {
        let (_directory, keystore) = keystore();
        for key in ["", "zz", "0x1234", &"0".repeat(64), &"f".repeat(64)] {
            assert!(
                matches!(keystore.import_key("bob", &secret(key), &secret("p")), Err(KeystoreError::BadKey)),
                "{key:?}"
            );
        }
        let key = format!("0x{:064x}\n", 1);
        let bob = keystore.import_key("bob", &secret(&key), &secret("p")).unwrap();
        assert_eq!(bob.address.to_string(), "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
    }

    #[test]
    fn the_only_wallet_needs_no_name() {
        let (_directory, keystore) = keystore();
        assert!(matches!(keystore.find(None), Err(KeystoreError::NotNamed { count: 0 })));
        let alice = keystore.create("alice", &secret("p")).unwrap();
        assert_eq!(keystore.find(None).unwrap(), alice);
        keystore.create("bob", &secret("p")).unwrap();
        assert!(matches!(keystore.find(None), Err(KeystoreError::NotNamed { count: 2 })));
        assert!(matches!(keystore.find(Some("carol")), Err(KeystoreError::Unknown(_))));
        assert_eq!(keystore.list().unwrap().len(), 2);
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", secret("sesame")), "Secret(hidden)");
        let key = PrivateKeySigner::from_slice(&[0xab; 32]).unwrap();
        assert!(!format!("{key:?}").contains("abab"), "{key:?}");
    }

    #[cfg(unix)]
    #[test]
    fn files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let (_directory, keystore) = keystore();
        let alice = keystore.create("alice", &secret("p")).unwrap();
        assert_eq!(fs::metadata(&alice.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(alice.path.parent().unwrap()).unwrap().count(), 1);
    }
}
