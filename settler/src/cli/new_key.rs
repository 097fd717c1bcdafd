//! `settler new-key`: makes an encrypted key file.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use alloy::signers::k256::elliptic_curve::rand_core::OsRng;
use alloy::signers::local::PrivateKeySigner;
use anyhow::anyhow;
use clap::Args;

use super::outcome::{CommandError, say, say_json};
use crate::keys;

/// It is encrypted, and still nobody else's to read.
const OWNER_ONLY: u32 = 0o600;

/// Where to.
#[derive(Debug, Args)]
pub struct NewKey {
    /// The file to make; it must not exist.
    file: PathBuf,
    /// File with its password; else SETTLER_PASSWORD, else the terminal.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl NewKey {
    /// Makes it and prints its address.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn execute(self) -> Result<(), CommandError> {
        if self.file.exists() {
            return Err(CommandError::Refused(format!("{} exists; a key is not overwritten", self.file.display())));
        }
        let name = self.file.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| CommandError::Usage(format!("{} is no file name", self.file.display())))?;
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.map_or_else(|| PathBuf::from("."), std::path::Path::to_path_buf);
        let password = self.password()?;
        let (key, _) = PrivateKeySigner::new_keystore(folder, &mut OsRng, password, Some(name))
            .map_err(|error| anyhow!("{}: {error}", self.file.display()))?;
        std::fs::set_permissions(&self.file, Permissions::from_mode(OWNER_ONLY)).map_err(|error| anyhow!(error))?;
        if self.json {
            return say_json(&serde_json::json!({ "address": key.address(), "file": self.file }));
        }
        say(&key.address().to_string())
    }

    /// Typed blind, it is asked for twice.
    fn password(&self) -> Result<String, CommandError> {
        let file = self.password_file.as_deref();
        let password = keys::password(&self.file, file)?;
        let is_typed = file.is_none() && std::env::var_os(keys::PASSWORD_VARIABLE).is_none();
        if is_typed && keys::password(&self.file, None)? != password {
            return Err(CommandError::Usage("the two passwords differ; nothing was made".to_owned()));
        }
        if password.is_empty() {
            return Err(CommandError::Usage("an empty password protects nothing; choose one".to_owned()));
        }
        Ok(password)
    }
}
