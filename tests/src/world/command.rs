//! One call of a command line, its answer read as JSON.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;

/// The password of every key that a test makes. Nothing of value is behind it.
pub const PASSWORD: &str = "a password for tests";

/// A program with its arguments, to be run once.
#[derive(Debug)]
pub struct Call {
    program: OsString,
    arguments: Vec<OsString>,
    shows_progress: bool,
}

impl Call {
    /// A call of `program`, without arguments yet.
    pub fn new(program: &Path) -> Self {
        Self { program: program.into(), arguments: Vec::new(), shows_progress: false }
    }

    /// Adds one argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Lets the program write its progress to this program's standard error.
    #[must_use]
    pub fn showing_progress(mut self, shows: bool) -> Self {
        self.shows_progress = shows;
        self
    }

    /// Runs it; an exit code other than 0 is an error that holds what it said.
    pub async fn run(self) -> Result<()> {
        self.lines().await.map(drop)
    }

    /// Runs it and reads its whole output as one JSON value.
    pub async fn json(self) -> Result<Value> {
        let text = self.output().await?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Runs it and reads each line of its output as one JSON value.
    pub async fn json_lines(self) -> Result<Vec<Value>> {
        let lines = self.lines().await?;
        lines.iter().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
    }

    async fn lines(self) -> Result<Vec<String>> {
        let text = self.output().await?;
        Ok(text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect())
    }

    async fn output(self) -> Result<String> {
        let shown =
            format!("{} {}", Path::new(&self.program).display(), self.arguments.join(&OsString::from(" ")).display());
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if self.shows_progress { Stdio::inherit() } else { Stdio::piped() })
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {shown}"))?;
        let output = child.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{shown}: {}\n{}{said}", output.status, String::from_utf8_lossy(&output.stdout));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
