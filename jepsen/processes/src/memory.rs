//! What a process holds of the machine's memory.

use std::fs;

/// Memory of a process, as the kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in memory now: `VmRSS`.
    pub now_bytes: u64,
    /// The most there were since it was reset or the process began: `VmHWM`.
    pub peak_bytes: u64,
}

impl Memory {
    /// Of the process `pid`.
    ///
    /// # Panics
    /// If there is no such process.
    pub(crate) fn of(pid: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let field = |name| bytes_of(&status, name).unwrap_or_else(|| panic!("process {pid} has no {name}: {status}"));
        Self { now_bytes: field("VmRSS:"), peak_bytes: field("VmHWM:") }
    }

    /// Begins to look for the peak anew.
    pub(crate) fn reset_peak(pid: i32) {
        // Without the right to, the older peak counts, too, and a bound is only harder to keep.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_takes_memory_has_more() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let before = Memory::of(pid);
        let held = vec![7_u8; 64 << 20];
        let after = Memory::of(pid);
        assert!(after.peak_bytes >= before.now_bytes + (48 << 20), "{before:?} {after:?} {}", held[9]);
        assert_eq!(bytes_of("VmHWM:\t  12 kB\nVmRSS:\t 3 kB", "VmRSS:"), Some(3 << 10));
    }
}
