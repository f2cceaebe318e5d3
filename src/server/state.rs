//! What the parts of one connection tell each other: the stream that reads, the exchanges that run, the connection that
//! keeps the time.
//!
//! Everything is a small number that one part writes and another reads; there is no lock. hyper owns the stream and the
//! exchanges while it runs, so this is the only way to look past it.
//!
//! Times are milliseconds since the connection began, never zero, so that zero can say "not at all".

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::guard::Phase;
use super::violation::Violation;

/// The shared state of one connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    born: Instant,
    phase: AtomicU8,
    /// Zero, or one more than the violation's place in the list.
    violation: AtomicU8,
    /// Heads handed to the parser behind the guard.
    heads: AtomicU32,
    /// Since when nothing has been asked or sent; counts only while no exchange runs.
    waiting_since: AtomicU64,
    /// When the first byte of the head being read came.
    head_since: AtomicU64,
    /// Since when the peer takes no byte that we want to send.
    write_stalled_since: AtomicU64,
    has_unflushed: AtomicBool,
    has_read_preface: AtomicBool,
    /// Reading has something new to give, or has not been asked yet.
    is_readable: AtomicBool,
    /// HTTP/2: the client sent too many frames that bring nothing forward.
    is_flooded: AtomicBool,
    is_tunnel: AtomicBool,
    is_last: AtomicBool,
    begun: AtomicU32,
    ended: AtomicU32,
    /// Exchanges that the peer gave up before their answer was complete.
    cancelled: AtomicU32,
    /// Pieces of answers that wait for the peer's flow-control window.
    waiting_for_window: AtomicU32,
    /// Moves whenever such a piece got through.
    window_progress: AtomicU32,
    /// Moves whenever more was written than the small talk of HTTP/2.
    payload_writes: AtomicU32,
    /// HTTP/2: how many frames that bring nothing forward the exchanges have made up for, in all.
    earned: AtomicU32,
}

impl ConnectionState {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            phase: AtomicU8::new(Phase::Between as u8),
            violation: AtomicU8::new(0),
            heads: AtomicU32::new(0),
            waiting_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            write_stalled_since: AtomicU64::new(0),
            has_unflushed: AtomicBool::new(false),
            has_read_preface: AtomicBool::new(false),
            is_readable: AtomicBool::new(true),
            is_flooded: AtomicBool::new(false),
            is_tunnel: AtomicBool::new(false),
            is_last: AtomicBool::new(false),
            begun: AtomicU32::new(0),
            ended: AtomicU32::new(0),
            cancelled: AtomicU32::new(0),
            waiting_for_window: AtomicU32::new(0),
            window_progress: AtomicU32::new(0),
            payload_writes: AtomicU32::new(0),
            earned: AtomicU32::new(0),
        }
    }

    /// The time on this connection's own clock.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// The moment `after` the given time on this connection's clock.
    pub(super) fn moment(&self, time: u64, after: Duration) -> Instant {
        self.born + Duration::from_millis(time) + after
    }

    // ---- written by the stream

    pub(super) fn set_phase(&self, phase: Phase) {
        if phase == Phase::Head && self.phase.load(Relaxed) != Phase::Head as u8 {
            self.head_since.store(self.now(), Relaxed);
        }
        self.phase.store(phase as u8, Relaxed);
    }

    pub(super) fn set_heads(&self, heads: u32) {
        self.heads.store(heads, Relaxed);
    }

    pub(super) fn set_violation(&self, violation: Violation) {
        self.violation.store(violation as u8 + 1, Relaxed);
    }

    pub(super) fn set_read_preface(&self) {
        self.has_read_preface.store(true, Relaxed);
    }

    pub(super) fn set_readable(&self, is_readable: bool) {
        self.is_readable.store(is_readable, Relaxed);
    }

    pub(super) fn set_flooded(&self) {
        self.is_flooded.store(true, Relaxed);
    }

    pub(super) fn write_went_on(&self) {
        self.has_unflushed.store(true, Relaxed);
        if self.write_stalled_since.load(Relaxed) != 0 {
            self.write_stalled_since.store(0, Relaxed);
        }
    }

    pub(super) fn payload_is_written(&self) {
        self.payload_writes.store(self.payload_writes.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(super) fn write_is_stalled(&self) {
        if self.write_stalled_since.load(Relaxed) == 0 {
            self.write_stalled_since.store(self.now(), Relaxed);
        }
    }

    pub(super) fn is_flushed(&self) {
        self.write_went_on();
        self.has_unflushed.store(false, Relaxed);
    }

    // ---- written by the exchanges

    pub(super) fn exchange_begins(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    pub(super) fn exchange_ends(&self, is_complete: bool) {
        self.has_unflushed.store(true, Relaxed);
        if !is_complete {
            self.cancelled.fetch_add(1, Relaxed);
        }
        self.ended.fetch_add(1, Relaxed);
    }

    pub(super) fn earns(&self, frames: u32) {
        self.earned.fetch_add(frames, Relaxed);
    }

    pub(super) fn becomes_tunnel(&self) {
        self.is_tunnel.store(true, Relaxed);
    }

    pub(super) fn waits_for_window(&self) {
        self.waiting_for_window.fetch_add(1, Relaxed);
    }

    pub(super) fn window_opened(&self) {
        self.waiting_for_window.fetch_sub(1, Relaxed);
        self.window_progress.fetch_add(1, Relaxed);
    }

    // ---- written by the connection

    /// Something was asked or sent just now.
    pub(super) fn gets_on(&self) {
        self.waiting_since.store(self.now(), Relaxed);
    }

    // ---- read by the connection

    pub(super) fn waiting_since(&self) -> u64 {
        self.waiting_since.load(Relaxed)
    }

    pub(super) fn is_in_head(&self) -> bool {
        self.phase.load(Relaxed) == Phase::Head as u8
    }

    /// The client is in the middle of a message, as far as its bytes have been read.
    pub(super) fn is_mid_message(&self) -> bool {
        matches!(self.phase.load(Relaxed), phase if phase == Phase::Head as u8 || phase == Phase::Body as u8)
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        let place = self.violation.load(Relaxed).checked_sub(1)?;
        Violation::ALL.get(usize::from(place)).copied()
    }

    pub(super) fn has_read_preface(&self) -> bool {
        self.has_read_preface.load(Relaxed)
    }

    pub(super) fn is_readable(&self) -> bool {
        self.is_readable.load(Relaxed)
    }

    /// The socket may have something to give, or may take what it did not take before.
    pub(super) fn has_socket_event(&self) -> bool {
        self.is_readable() || self.write_stalled_since().is_some()
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.is_flooded.load(Relaxed)
    }

    /// What the exchanges have earned, in all; wraps around.
    pub(super) fn earned(&self) -> u32 {
        self.earned.load(Relaxed)
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Relaxed)
    }

    pub(super) fn head_since(&self) -> u64 {
        self.head_since.load(Relaxed)
    }

    pub(super) fn write_stalled_since(&self) -> Option<u64> {
        Some(self.write_stalled_since.load(Relaxed)).filter(|since| *since != 0)
    }

    pub(super) fn begun(&self) -> u32 {
        self.begun.load(Relaxed)
    }

    pub(super) fn ended(&self) -> u32 {
        self.ended.load(Relaxed)
    }

    /// A number that moves when an exchange ends or an answer gets on.
    pub(super) fn progress(&self) -> u32 {
        self.ended().wrapping_add(self.payload_writes.load(Relaxed))
    }

    pub(super) fn cancelled(&self) -> u32 {
        self.cancelled.load(Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.begun() != self.ended()
    }

    /// For how long the client has been owed nothing and has asked for nothing; half a head is nothing. Absent while an
    /// exchange runs, and for tunnels.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.waiting_since());
        (!self.is_busy() && !self.is_tunnel()).then(|| self.born.elapsed().saturating_sub(since))
    }

    /// The next answer is the last one on this connection.
    pub(super) fn is_last(&self) -> bool {
        self.is_last.load(Relaxed)
    }

    /// From now on the next answer is the last one.
    pub(super) fn set_last(&self) {
        self.is_last.store(true, Relaxed);
    }

    /// Every head that was handed on has been answered, and the answers are on their way.
    pub(super) fn is_quiet(&self) -> bool {
        !self.is_busy() && self.heads.load(Relaxed) == self.begun() && !self.has_unflushed.load(Relaxed)
    }

    /// Whether an answer waits for the peer's window, and a number that moves when one gets on.
    pub(super) fn window(&self) -> (bool, u32) {
        (self.waiting_for_window.load(Relaxed) > 0, self.window_progress.load(Relaxed))
    }
}
