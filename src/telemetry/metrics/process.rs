//! What the kernel says of this process, from procfs.
//!
//! Reads only below `/proc/self`, which stays readable when the service manager hides the rest (`ProcSubset=pid`). What
//! cannot be read is left out of the scrape; nothing fails.

use std::fs;

/// Clock ticks in a second, as Linux reports times to programs on every architecture we run on.
const TICKS: f64 = 100.0;

/// A few numbers about the process; each is absent if the kernel did not tell.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let mut process = Self::parse(&text("stat"), &text("status"), &text("limits"));
        // One of those counted is the directory that is being read.
        process.open_fds = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as u64);
        process
    }

    fn parse(stat: &str, status: &str, limits: &str) -> Self {
        // The second field is the name of the program, in parentheses, and may itself hold blanks and parentheses.
        let cpu_seconds = stat.rsplit_once(')').and_then(|(_, rest)| {
            let mut fields = rest.split_ascii_whitespace().skip(11);
            let user: f64 = fields.next()?.parse().ok()?;
            let system: f64 = fields.next()?.parse().ok()?;
            Some((user + system) / TICKS)
        });
        let of_status = |name: &str| -> Option<u64> {
            let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            rest.split_ascii_whitespace().next()?.parse().ok()
        };
        let max_fds = limits.lines().find_map(|line| {
            let soft = line.strip_prefix("Max open files")?.split_ascii_whitespace().next()?;
            soft.parse().ok()
        });
        Self {
            cpu_seconds,
            resident_bytes: of_status("VmRSS").map(|kibibytes| kibibytes * 1024),
            virtual_bytes: of_status("VmSize").map(|kibibytes| kibibytes * 1024),
            threads: of_status("Threads"),
            open_fds: None,
            max_fds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 100 200 300";
        let status = "Name:\tkeygate\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\nThreads:\t3\n";
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096  files\n";
        let process = Process::parse(stat, status, limits);
        let expected = Process {
            cpu_seconds: Some(3.0),
            resident_bytes: Some(512 * 1024),
            virtual_bytes: Some(2048 * 1024),
            threads: Some(3),
            open_fds: None,
            max_fds: Some(1024),
        };
        assert_eq!(process, expected);
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        for text in ["", "\0", "1 (", ")", ") S 1", "VmRSS:", "VmRSS: x kB", "Max open files unlimited"] {
            assert_eq!(Process::parse(text, text, text), Process::default(), "{text:?}");
        }
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read();
        assert!(process.threads.is_some_and(|count| count >= 1), "{process:?}");
        assert!(process.open_fds.is_some_and(|count| count >= 3), "{process:?}");
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.cpu_seconds.is_some() && process.max_fds.is_some(), "{process:?}");
    }
}
