//! What the machine has: key file, database, ports.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use sqlx::{Connection, Row};
use tokio::net::TcpListener;

use super::Finding;
use crate::Config;
use crate::keys;
use crate::store::open;

/// A settler on this machine answers at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Others may read, or the group.
const READABLE_BY_OTHERS: u32 = 0o077;

/// Opens a gas key, and tells its address.
pub(super) async fn gas_key(config: &Config, keystore: PathBuf) -> Result<(Address, Finding), Finding> {
    const CHECK: &str = "gas key";
    let password_file = config.gas_password_file.clone();
    let path = keystore.display().to_string();
    if !keystore.exists() {
        return Err(Finding::failed(CHECK, format!("there is no file {path}"), "`settler new-key` makes one"));
    }
    let opened = tokio::task::spawn_blocking(move || keys::open(&keystore, password_file.as_deref())).await;
    match opened {
        Ok(Ok(key)) => Ok((key.address(), Finding::ok(CHECK, format!("{path} opens: {}", key.address())))),
        Ok(Err(error)) => {
            let remedy = "set gas_password_file or SETTLER_PASSWORD to the password it was made with";
            Err(Finding::failed(CHECK, error.to_string(), remedy))
        }
        Err(error) => Err(Finding::failed(CHECK, error.to_string(), "run it again")),
    }
}

/// Files that nobody else should read.
pub(super) fn secrets(config: &Config) -> Vec<Finding> {
    let files = config.keystores().into_iter().chain(config.gas_password_file.clone());
    files.filter(|path| path.exists()).filter_map(|path| readable(&path)).collect()
}

fn readable(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let shown = path.display();
    (mode & READABLE_BY_OTHERS != 0)
        .then(|| Finding::warning("secrets", format!("others may read {shown}"), format!("chmod 600 {shown}")))
}

/// Is the log there, as new as this program, and not read-only? Nothing is made and nothing brought up to date: that is
/// for `run`, when no older settler works on it.
pub(super) async fn database(config: &Config) -> Finding {
    const CHECK: &str = "database";
    let shown = open::shown(&config.database);
    if let Some(file) = config.database.strip_prefix("sqlite:") {
        let file = Path::new(file.trim_start_matches("//").split('?').next().unwrap_or_default());
        if !file.exists() {
            return new_file(file);
        }
    }
    sqlx::any::install_default_drivers();
    let newest = sqlx::migrate!("./migrations").iter().map(|migration| migration.version).max().unwrap_or(0);
    let looked = async {
        let mut connection = sqlx::AnyConnection::connect(&config.database).await?;
        let row =
            sqlx::query("select max(version) as version from _sqlx_migrations").fetch_one(&mut connection).await?;
        let version: Option<i64> = row.try_get("version")?;
        // Takes the lock of a writer, and gives it back.
        let mut transaction = connection.begin().await?;
        sqlx::query("update requests set asked_at = asked_at where id = -1").execute(&mut *transaction).await?;
        transaction.rollback().await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(version.unwrap_or(0))
    };
    match looked.await {
        Ok(version) if version == newest => {
            Finding::ok(CHECK, format!("{shown} is writable, tables at version {version}"))
        }
        Ok(version) if version < newest => Finding::warning(
            CHECK,
            format!("{shown} has tables of version {version}, this program those of {newest}"),
            "`settler run` brings them up to date; back the database up first",
        ),
        Ok(version) => Finding::failed(
            CHECK,
            format!("{shown} has tables of version {version}, this program knows {newest}"),
            "use the newer settler that wrote it",
        ),
        Err(error) => Finding::failed(
            CHECK,
            format!("{shown}: {error}"),
            "check the file's owner and rights, or that the database server answers and the role may write",
        ),
    }
}

fn new_file(file: &Path) -> Finding {
    const CHECK: &str = "database";
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_folder = folder.is_dir();
    let may_write = std::fs::metadata(folder).is_ok_and(|metadata| !metadata.permissions().readonly());
    if is_folder && may_write {
        Finding::ok(CHECK, format!("{} will be made", file.display()))
    } else {
        Finding::failed(
            CHECK,
            format!("{} cannot be made", file.display()),
            format!("make the folder {} and give it to the settler's user", folder.display()),
        )
    }
}

/// Both ports are free, or a settler has them.
pub(super) async fn ports(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (check, addr) in [("intake port", config.listen), ("admin port", config.admin_listen)] {
        findings.push(match TcpListener::bind(addr).await {
            Ok(_) => Finding::ok(check, format!("{addr} is free")),
            Err(error) if is_settler(config.admin_listen).await => {
                Finding::ok(check, format!("{addr}: {error}; a settler is running"))
            }
            Err(error) => Finding::failed(
                check,
                format!("{addr}: {error}"),
                "end what uses it, or choose another with listen and admin_listen",
            ),
        });
    }
    findings
}

/// Does a settler answer there?
async fn is_settler(admin: SocketAddr) -> bool {
    let Ok(http) = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build() else { return false };
    let Ok(response) = http.get(format!("http://{admin}/health/live")).send().await else { return false };
    response.json::<crate::api::Health>().await.is_ok_and(|health| health.ok)
}
