//! Opening key files. A password comes from a file, else from the environment, else from the terminal; it is never an
//! argument, which every process of the machine could read.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use alloy::signers::local::PrivateKeySigner;

/// Holds the password of whichever key file is opened.
pub const PASSWORD_VARIABLE: &str = "SETTLER_PASSWORD";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The password file cannot be read.
    #[error("{path}: {source}")]
    PasswordFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is nobody to ask.
    #[error("no password for {0}: give a password file, set {PASSWORD_VARIABLE}, or run this on a terminal")]
    NoPassword(PathBuf),
    /// The key file does not open. Whether it is the file or the password is not told apart.
    #[error("{path}: {problem}")]
    Keystore {
        /// Which file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// Finds the password for a key file.
///
/// # Errors
/// When there is none.
pub fn password(keystore: &Path, password_file: Option<&Path>) -> Result<String, KeyError> {
    if let Some(path) = password_file {
        let text =
            std::fs::read_to_string(path).map_err(|source| KeyError::PasswordFile { path: path.to_owned(), source })?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        return Ok(password);
    }
    if std::io::stdin().is_terminal() {
        let prompt = format!("Password of {}: ", keystore.display());
        return rpassword::prompt_password(prompt).map_err(|_| KeyError::NoPassword(keystore.to_owned()));
    }
    Err(KeyError::NoPassword(keystore.to_owned()))
}

/// Opens a key file. Takes about a second, on purpose: the key derivation is slow.
///
/// # Errors
/// When there is no password, or it does not open the file.
pub fn open(keystore: &Path, password_file: Option<&Path>) -> Result<PrivateKeySigner, KeyError> {
    let password = password(keystore, password_file)?;
    PrivateKeySigner::decrypt_keystore(keystore, password)
        .map_err(|error| KeyError::Keystore { path: keystore.to_owned(), problem: error.to_string() })
}
