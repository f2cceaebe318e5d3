//! Sessions of the console, kept in memory: who began one, from where, until when it is good.
//!
//! A session is known by the digest of its id; the id itself is in the browser's cookie alone. It ends [twelve
//! hours](MAX_AGE) after it began and [half an hour](MAX_IDLE) after somebody last did something, when its token is no more
//! what it was, and with the process. It is good only from the network it began in, so that a cookie that was copied
//! elsewhere opens nothing there. There is room for so many, and for so many of one token: the one that was idle longest
//! makes way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::credential::{KeyText, Secret};
use crate::management::{HeldToken, Refused};

/// How long a session lasts at most.
pub(super) const MAX_AGE: Duration = Duration::from_secs(12 * 60 * 60);
/// How long it lasts while nobody does anything.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(30 * 60);
/// Sessions in all, and of one token.
const MAX_SESSIONS: usize = 1000;
const MAX_OF_ONE_TOKEN: usize = 20;
/// How the id of a session begins.
const PREFIX: &str = "kg_session_";

/// What a session is known by.
pub(super) type SessionDigest = [u8; 32];

/// A session that is open.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The token that began it.
    pub held: HeldToken,
    /// The network that it began in.
    network: IpAddr,
    started: Instant,
    active: Instant,
}

/// How much time a session has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeLeft {
    /// Since it began.
    pub age: Duration,
    /// In any case.
    pub at_most: Duration,
    /// While nobody does anything.
    pub idle: Duration,
}

impl Session {
    fn is_over(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.started) >= MAX_AGE || at.saturating_duration_since(self.active) >= MAX_IDLE
    }

    /// How much time is left.
    pub(super) fn time_left(&self, at: Instant) -> TimeLeft {
        let age = at.saturating_duration_since(self.started);
        let at_most = MAX_AGE.saturating_sub(age);
        let idle = MAX_IDLE.saturating_sub(at.saturating_duration_since(self.active)).min(at_most);
        TimeLeft { age, at_most, idle }
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionDigest, Session>>);

/// The digest of a session's id.
pub(super) fn digest_of(id: &[u8]) -> SessionDigest {
    *blake3::hash(id).as_bytes()
}

impl Sessions {
    /// Begins a session and gives its id.
    pub(super) fn begin(&self, held: HeldToken, network: IpAddr, at: Instant) -> Result<Secret<'static>, Refused> {
        let id = KeyText::generate(PREFIX)?;
        let mut open = self.lock();
        open.retain(|_, session| !session.is_over(at));
        let of_token = open.values().filter(|session| session.held.id == held.id).count();
        if of_token >= MAX_OF_ONE_TOKEN {
            make_way(&mut open, |session| session.held.id == held.id);
        } else if open.len() >= MAX_SESSIONS {
            make_way(&mut open, |_| true);
        }
        open.insert(digest_of(id.expose()), Session { held, network, started: at, active: at });
        Ok(id)
    }

    /// The session of this id, if it is open and good from this network. With `is_active` its idle time begins anew.
    pub(super) fn find(
        &self,
        digest: &SessionDigest,
        network: IpAddr,
        is_active: bool,
        at: Instant,
    ) -> Option<Session> {
        let mut open = self.lock();
        let session = open.get_mut(digest)?;
        if session.is_over(at) {
            open.remove(digest);
            return None;
        }
        if session.network != network {
            return None;
        }
        if is_active {
            session.active = at;
        }
        Some(session.clone())
    }

    /// Ends a session.
    pub(super) fn end(&self, digest: &SessionDigest) {
        self.lock().remove(digest);
    }

    /// Ends all sessions of a token, or all there are, and says how many that were.
    pub(super) fn end_all(&self, of: Option<&HeldToken>) -> usize {
        let mut open = self.lock();
        let before = open.len();
        open.retain(|_, session| of.is_some_and(|token| session.held.id != token.id));
        before - open.len()
    }

    /// Forgets those that are over, and says how many are open.
    pub(super) fn count(&self, at: Instant) -> usize {
        let mut open = self.lock();
        open.retain(|_, session| !session.is_over(at));
        open.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionDigest, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the one of these that was idle longest.
fn make_way(open: &mut HashMap<SessionDigest, Session>, of: impl Fn(&Session) -> bool) {
    let oldest = open.iter().filter(|(_, session)| of(session)).min_by_key(|(_, session)| session.active);
    if let Some(digest) = oldest.map(|(digest, _)| *digest) {
        open.remove(&digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::held_token;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 8));

    fn begin(sessions: &Sessions, name: &str, at: Instant) -> SessionDigest {
        digest_of(sessions.begin(held_token(name), HOME, at).unwrap().expose())
    }

    #[test]
    fn a_session_ends_by_itself_by_idleness_and_by_age() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(minutes * 60);
        let is_open =
            |digest: &SessionDigest, minutes, is_active| sessions.find(digest, HOME, is_active, at(minutes)).is_some();
        let idle = begin(&sessions, "idle", start);
        assert!(is_open(&idle, 29, false), "looked at by the page itself, which keeps nothing alive");
        assert!(!is_open(&idle, 30, false));
        assert!(!is_open(&idle, 0, true), "over is over");
        let busy = begin(&sessions, "busy", start);
        for quarter in 1..48 {
            assert!(is_open(&busy, quarter * 15, true), "{quarter}");
        }
        assert!(is_open(&busy, 12 * 60 - 1, true));
        let left = sessions.find(&busy, HOME, false, at(12 * 60 - 1)).unwrap().time_left(at(12 * 60 - 1));
        assert_eq!((left.at_most, left.idle), (Duration::from_secs(60), Duration::from_secs(60)));
        assert!(!is_open(&busy, 12 * 60, true));
        assert_eq!(sessions.count(at(12 * 60)), 0);
    }

    #[test]
    fn a_session_opens_nothing_elsewhere_and_by_no_other_id() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let mine = begin(&sessions, "ops", start);
        assert!(sessions.find(&mine, AWAY, true, start).is_none());
        assert!(sessions.find(&digest_of(b"kg_session_x"), HOME, true, start).is_none());
        assert!(sessions.find(&mine, HOME, true, start).is_some(), "whoever tried with a copy did not end it");
        sessions.end(&mine);
        assert!(sessions.find(&mine, HOME, true, start).is_none());
    }

    #[test]
    fn signing_out_everywhere_is_for_one_token() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let mine = [begin(&sessions, "ops", start), begin(&sessions, "ops", start)];
        let other = begin(&sessions, "dev", start);
        assert_eq!(sessions.end_all(Some(&held_token("ops"))), 2);
        assert!(mine.iter().all(|digest| sessions.find(digest, HOME, true, start).is_none()));
        assert!(sessions.find(&other, HOME, true, start).is_some());
        assert_eq!((sessions.end_all(None), sessions.count(start)), (1, 0));
    }

    #[test]
    fn there_is_room_for_so_many_and_the_idle_make_way() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let at = |second: usize| start + Duration::from_secs(second as u64);
        let first = begin(&sessions, "ops", start);
        for number in 1..MAX_OF_ONE_TOKEN {
            begin(&sessions, "ops", at(number));
        }
        assert!(sessions.find(&first, HOME, true, at(100)).is_some());
        begin(&sessions, "ops", at(101));
        assert_eq!(sessions.count(at(101)), MAX_OF_ONE_TOKEN);
        assert!(sessions.find(&first, HOME, true, at(101)).is_some(), "another was idle longer");
        let one = held_token("one");
        for number in 0..MAX_SESSIONS {
            let mut held = one.clone();
            held.id = Some(format!("token_{number}"));
            sessions.begin(held, HOME, at(102)).unwrap();
        }
        assert_eq!(sessions.count(at(102)), MAX_SESSIONS);
    }
}
