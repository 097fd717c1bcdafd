//! What the system says about this process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The unit of processor time in `/proc`: fixed in the interface of Linux, whatever the kernel ticks at.
const TICKS_PER_S: u64 = 100;

/// A moment's reading. What cannot be read is absent: not every system has `/proc`.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) open_files_max: Option<u64>,
    pub(crate) cpu_s: Option<u64>,
    /// Seconds since 1970.
    pub(crate) started_at_s: Option<u64>,
}

impl Process {
    pub(crate) fn read() -> Self {
        let file = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let fields = Stat::parse(&file("/proc/self/stat"));
        let since_boot = file("/proc/uptime").split('.').next().and_then(|seconds| seconds.parse().ok());
        Self {
            resident_bytes: number_after(&file("/proc/self/status"), "VmRSS:").map(|kib| kib.saturating_mul(1_024)),
            open_files: std::fs::read_dir("/proc/self/fd")
                .ok()
                .and_then(|entries| u64::try_from(entries.count()).ok())
                .map(|open| open.saturating_sub(1)), // the folder that is being read
            open_files_max: number_after(&file("/proc/self/limits"), "Max open files"),
            cpu_s: fields.as_ref().map(|stat| stat.cpu_ticks / TICKS_PER_S),
            started_at_s: fields.zip(since_boot).and_then(|(stat, since_boot): (Stat, u64)| {
                let age = Duration::from_secs(since_boot.checked_sub(stat.started_ticks / TICKS_PER_S)?);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
                Some(now.checked_sub(age)?.as_secs())
            }),
        }
    }
}

/// The two facts that `/proc/self/stat` is read for.
struct Stat {
    cpu_ticks: u64,
    started_ticks: u64,
}

impl Stat {
    /// Fields 14, 15 and 22, counted from 1. The second is the program's name, which may hold spaces and brackets.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)?.saturating_add(field(15)?), started_ticks: field(22)? })
    }
}

/// The first number in the line that begins so.
fn number_after(text: &str, beginning: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(beginning))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_is_read() {
        let process = Process::read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(process.open_files.is_some_and(|files| files >= 3));
        assert!(process.open_files_max > process.open_files);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        // Within a day of now: a machine may have been set to sleep meanwhile.
        assert!(process.started_at_s.is_some_and(|at| at.abs_diff(now) < 86_400));
    }

    #[test]
    fn a_program_may_have_any_name() {
        let line = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 1 0 12345 1 2 3";
        let stat = Stat::parse(line).expect("well formed");
        assert_eq!((stat.cpu_ticks, stat.started_ticks), (400, 12_345));
    }
}
