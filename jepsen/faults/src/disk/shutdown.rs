//! The system call that cuts a file system's power: `EXT4_IOC_SHUTDOWN`, which has no safe wrapper.
#![allow(unsafe_code, reason = "an ioctl; the argument is beside it")]

use rustix::fd::AsFd;
use rustix::io;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `_IOR('X', 125, __u32)`, for all file systems that have it.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the journal's running transaction is written.
const NO_LOG_FLUSH: u32 = 2;

/// The file system of this open file takes nothing from now on, and what was not synced is lost. Wants
/// `CAP_SYS_ADMIN`.
pub(super) fn shutdown(of: impl AsFd) -> io::Result<()> {
    // SAFETY: the kernel reads one `__u32` from where the argument points (`ext4_ioctl_shutdown`: `get_user`), which is
    // what a `Setter` of a `u32` gives it, and writes nothing there: that the number says "read" is history. A file
    // system that has no such call answers ENOTTY.
    unsafe { ioctl(of, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }
}

#[cfg(test)]
mod tests {
    use super::SHUTDOWN;

    #[test]
    fn the_number_is_the_kernels() {
        assert_eq!(SHUTDOWN, 0x8004_587d);
    }
}
