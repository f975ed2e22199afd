//! The calls to the kernel that need unsafe code: requests on devices and sockets, and namespaces.

#![expect(unsafe_code, reason = "devices are made and namespaces entered by calls that have no safe form")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Makes a device: `linux/if_tun.h`.
pub(crate) const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
/// Of a device, by name: `linux/sockios.h`.
pub(crate) const SIOCSIFFLAGS: Opcode = 0x8914;
pub(crate) const SIOCSIFADDR: Opcode = 0x8916;
pub(crate) const SIOCSIFNETMASK: Opcode = 0x891c;
pub(crate) const SIOCSIFMTU: Opcode = 0x8922;

/// A request about a network device: `struct ifreq`.
#[repr(C, align(8))]
#[derive(Clone, Debug)]
pub(crate) struct DeviceRequest {
    /// Its name, ended by a zero.
    pub(crate) name: [u8; 16],
    /// What is asked; what it means depends on the request.
    pub(crate) value: [u8; 24],
}

/// Asks the kernel something about a device. `OPCODE` is one of the constants here.
pub(crate) fn ask<const OPCODE: Opcode>(of: impl AsFd, request: &mut DeviceRequest) -> io::Result<()> {
    const {
        let known = [TUNSETIFF, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU];
        let mut at = 0;
        while known[at] != OPCODE {
            at += 1;
        }
    }
    // SAFETY: each of the known requests reads and writes one `struct ifreq`, which has 40 bytes, as `DeviceRequest`
    // has, and keeps no pointer; any bytes are a valid `DeviceRequest`.
    unsafe { ioctl(of, Updater::<OPCODE, DeviceRequest>::new(request)) }.map_err(io::Error::from)
}

/// Gives the calling thread a network namespace of its own.
pub(crate) fn leave_network() -> io::Result<()> {
    // SAFETY: only the namespace is left; the table of descriptors stays shared with the other threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter_network(space: impl AsFd) -> io::Result<()> {
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).map_err(io::Error::from)
}

/// Lets `command` start its process in a network namespace.
pub(crate) fn start_in(command: &mut Command, space: Arc<OwnedFd>) {
    // SAFETY: between fork and exec there is one system call on a descriptor that the closure owns; it allocates
    // nothing and takes no lock.
    unsafe { command.pre_exec(move || enter_network(&space)) };
}
