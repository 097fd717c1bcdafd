//! What the operating system says: of processes (time, memory) and of this machine, for the record.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::statistics::number;

/// Ticks of the kernel's processor accounting per second, which Linux fixes for programs.
const TICKS_PER_S: f64 = 100.0;

/// Processor time that processes have used. One that has ended counts nothing.
pub fn cpu_time(processes: &[u32]) -> Duration {
    let ticks = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name, in brackets, may hold spaces; user and system time are the 12th and 13th field after it.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
        let mut next = || fields.next()?.parse::<u64>().ok();
        Some(next()? + next()?)
    };
    Duration::from_secs_f64(number(processes.iter().filter_map(ticks).sum()) / TICKS_PER_S)
}

/// Memory that processes hold together, in bytes: proportional set size, in which a page that several share, as nginx's
/// workers do, counts once.
pub fn memory(processes: &[u32]) -> Result<u64> {
    let of = |pid: &u32| -> Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    };
    processes.iter().map(of).sum()
}

/// The most memory that a process ever had resident, in bytes.
pub fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// A process and all its descendants.
pub fn family(root: u32) -> Vec<u32> {
    let mut family = vec![root];
    let mut next = 0;
    while let Some(pid) = family.get(next).copied() {
        next += 1;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    family
}

/// On what, and of what, the figures were taken.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The commit, and whether files differ from it.
    pub commit: String,
    /// The processor, as it names itself.
    pub processor: String,
    /// How many run at a time.
    pub processors: usize,
    /// Total memory.
    pub memory: String,
    /// Kernel.
    pub kernel: String,
    /// Of what the stores write to.
    pub filesystem: String,
    /// Seconds of Unix time.
    pub taken_at: u64,
    /// Programs and their versions.
    pub versions: Vec<String>,
}

impl Facts {
    /// Of this machine; `folder` is where the stores lie.
    pub fn gather(folder: &Path, versions: Vec<String>) -> Result<Self> {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let folder = folder.to_str().context("a path of text")?;
        Ok(Self {
            commit: said("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism()?.get(),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: said("uname", &["-sr"]),
            filesystem: said("stat", &["--file-system", "--format", "%T", folder]),
            taken_at: std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs(),
            versions,
        })
    }
}

/// The first line that a program prints, on whichever output.
pub fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).current_dir(crate::compile::root()).output() else {
        return format!("no {program}");
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_process_uses_time_and_memory() {
        let own = [std::process::id()];
        let before = cpu_time(&own);
        let held = vec![1_u8; 64 << 20];
        let with = memory(&own).unwrap();
        assert!(with > 64 << 20, "{with}");
        assert!(peak_memory(own[0]).unwrap() > 64 << 20);
        while cpu_time(&own) <= before {
            std::hint::black_box(held.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        }
        assert_eq!(cpu_time(&[u32::MAX]), Duration::ZERO);
    }
}
