//! One program under test: started with its log in a file, killed without warning, started again as it was.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::Rng;

use super::eventually;

/// How long a program may take until it says that it is ready: a debug build on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A process that several hold on to: those who use it and those who kill it.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<Process>>);

impl Shared {
    /// The process, until the guard is dropped.
    pub fn lock(&self) -> MutexGuard<'_, Process> {
        self.0.lock().expect("nobody panics while holding a process")
    }
}

impl From<Process> for Shared {
    fn from(process: Process) -> Self {
        Self(Arc::new(Mutex::new(process)))
    }
}

/// A program, its arguments and, while it runs, its process. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    ready: Option<String>,
    child: Option<Child>,
}

impl Process {
    /// Describes a program; [`Process::start`] runs it. Standard output and error are appended to `log`.
    pub fn new(name: &str, program: PathBuf, log: PathBuf) -> Self {
        Self { name: name.to_owned(), program, arguments: Vec::new(), log, ready: None, child: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Names the address that answers with success once the program is ready.
    #[must_use]
    pub fn ready_at(mut self, url: String) -> Self {
        self.ready = Some(url);
        self
    }

    /// The file that holds all it ever printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The operating system's number of the running process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the program, without waiting for it to be ready.
    pub fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write the log {}", self.log.display()))?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// How to find out whether the program is ready, without holding on to it.
    pub fn readiness(&self) -> Readiness {
        Readiness { name: self.name.clone(), url: self.ready.clone(), log: self.log.clone() }
    }

    /// Ends the process at once, as a power cut would end it, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error here means that it has ended already, which is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where a program says that it is ready.
#[derive(Debug)]
pub struct Readiness {
    name: String,
    url: Option<String>,
    log: PathBuf,
}

impl Readiness {
    /// Waits until the program says that it is ready; shows the end of its log when it does not.
    pub async fn wait(self) -> Result<()> {
        let Some(url) = &self.url else { return Ok(()) };
        let what = format!("{} to be ready at {url}", self.name);
        let waited = eventually(&what, READY_WITHIN, || async {
            let answer = reqwest::get(url).await?;
            let status = answer.status();
            if status.is_success() { Ok(Some(())) } else { bail!("{status}: {}", answer.text().await?) }
        });
        waited.await.with_context(|| format!("the end of its log:\n{}", self.log_end()))
    }

    fn log_end(&self) -> String {
        const LINES: usize = 30;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes a file that its owner alone may read: for passwords.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// Ports to choose from: above those of well-known services, below those that the kernel gives to outgoing connections,
/// one of which could take the port before the program that it is meant for.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port that nobody listens on at this moment, and most likely nobody will until it is used.
pub fn free_port() -> Result<u16> {
    const TRIES: usize = 100;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut candidates = std::iter::repeat_with(|| rand::rng().random_range(PORTS)).take(TRIES);
    candidates.find(is_free).context("no free port was found")
}
