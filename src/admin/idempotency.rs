//! Requests that are carried out once however often they are sent.
//!
//! A caller that hears no answer sends its request again, with the same `Idempotency-Key`. For five minutes it gets the
//! answer that it missed, the new key included; that is held in memory, sealed under a key that is derived from the
//! idempotency key, which is not kept. After that, and after a restart, it is told that the request was carried out, and
//! what it made, and that the key cannot be shown again: the store remembers that much for a day.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;

use super::problem::Problem;
use crate::management::{Actor, Claim};

/// How long an answer can be had again.
const KEPT: Duration = Duration::from_secs(5 * 60);
/// Answers that are held at most; what is beyond can be looked up in the store, without the secret.
const MAX_KEPT: usize = 1_000;
/// The longest idempotency key.
const MAX_KEY: usize = 255;

/// The `Idempotency-Key` of a request, if it has one.
pub(super) struct IdempotencyKey(Option<zeroize::Zeroizing<Vec<u8>>>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(Self(None)),
            (Some(value), None) => value.as_bytes(),
            _ => &[],
        };
        if value.is_empty() || value.len() > MAX_KEY || !value.iter().all(u8::is_ascii_graphic) {
            return Err(Problem::unreadable(
                String::new(),
                "idempotency_key_invalid",
                format!("`Idempotency-Key` is one word of 1 to {MAX_KEY} visible characters"),
            ));
        }
        Ok(Self(Some(zeroize::Zeroizing::new(value.to_vec()))))
    }
}

/// Answers that may be asked for again.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<[u8; 32], State>>);

#[derive(Debug)]
enum State {
    /// The first request is being carried out.
    UnderWay,
    /// It was, with this answer.
    Answered { request: [u8; 32], at: Instant, nonce: [u8; NONCE_LEN], sealed: Vec<u8> },
}

/// What is to be done with a request.
pub(super) enum Turn {
    /// Carry it out.
    Go(Ticket),
    /// It was carried out: this was the answer.
    Again(zeroize::Zeroizing<Vec<u8>>),
}

/// One request that is carried out. Unless it is answered, it counts as not sent.
pub(super) struct Ticket {
    context: super::Context,
    claim: Option<Claim>,
    seal: zeroize::Zeroizing<[u8; 32]>,
    is_answered: bool,
}

impl Ticket {
    /// What the store is told of the request.
    pub(super) fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// Keeps the answer, for whoever did not hear it.
    pub(super) fn answered(mut self, answer: &[u8]) {
        let Some(claim) = self.claim else { return };
        let mut nonce = [0; NONCE_LEN];
        if getrandom::fill(&mut nonce).is_err() {
            return;
        }
        let mut sealed = answer.to_vec();
        let aad = Aad::from(claim.request);
        let is_sealed = key(&self.seal)
            .and_then(|key| key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok())
            .is_some();
        if !is_sealed {
            return;
        }
        let mut answers = self.context.answers.lock();
        answers.insert(claim.key, State::Answered { request: claim.request, at: Instant::now(), nonce, sealed });
        drop(answers);
        self.is_answered = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let (Some(claim), false) = (self.claim, self.is_answered) {
            self.context.answers.lock().remove(&claim.key);
        }
    }
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether a request is to be carried out. `what` names the operation, `request` is the digest of what was sent.
pub(super) fn begin(
    context: &super::Context,
    key_of_caller: &IdempotencyKey,
    actor: &Actor,
    what: &str,
    request: [u8; 32],
) -> Result<Turn, Problem> {
    let Some(text) = &key_of_caller.0 else {
        let seal = zeroize::Zeroizing::new([0; 32]);
        return Ok(Turn::Go(Ticket { context: context.clone(), claim: None, seal, is_answered: false }));
    };
    let mut material = zeroize::Zeroizing::new(Vec::new());
    for part in [actor.name.as_bytes(), what.as_bytes(), text] {
        material.extend_from_slice(&(part.len() as u64).to_le_bytes());
        material.extend_from_slice(part);
    }
    let claim = Claim { key: blake3::derive_key("keygate 2026-11-25 idempotency key", &material), request };
    let seal = zeroize::Zeroizing::new(blake3::derive_key("keygate 2026-11-25 idempotency seal", &material));
    let mut answers = context.answers.lock();
    let at = Instant::now();
    answers.retain(|_, state| match state {
        State::UnderWay => true,
        State::Answered { at: since, .. } => at.saturating_duration_since(*since) < KEPT,
    });
    match answers.get(&claim.key) {
        Some(State::UnderWay) => Err(Problem {
            retry_after_seconds: Some(1),
            ..Problem::new(
                StatusCode::CONFLICT,
                "request_under_way",
                "a request with this idempotency key is being carried out: ask again when it is over",
            )
        }),
        Some(State::Answered { request, .. }) if *request != claim.request => {
            Err(crate::management::Refused::ClaimReused.into())
        }
        Some(State::Answered { nonce, sealed, .. }) => {
            let mut answer = zeroize::Zeroizing::new(sealed.clone());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key(&seal).and_then(|key| {
                key.open_in_place(nonce, Aad::from(claim.request), &mut answer).ok().map(|plain| plain.len())
            });
            match opened {
                Some(length) => {
                    answer.truncate(length);
                    Ok(Turn::Again(answer))
                }
                None => Err(Problem::internal()),
            }
        }
        None => {
            // Where there is no more room the store still knows what was done.
            if answers.len() < MAX_KEPT {
                answers.insert(claim.key, State::UnderWay);
            }
            Ok(Turn::Go(Ticket { context: context.clone(), claim: Some(claim), seal, is_answered: false }))
        }
    }
}

fn key(bytes: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, bytes).ok().map(LessSafeKey::new)
}
