//! The rules for issuing: what the configuration says about new keys, and what is said of one that breaks them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Fault;
use crate::client::{ClientType, Environment, Grants, KeyType, Permission, Plan};
use crate::credential::{KeyText, MAX_SECRET_BYTES, NoRandomness, Secret};
use crate::keys::{KeyId, KeyPolicy, Timestamp};

/// The longest name, in characters.
const MAX_NAME: usize = 100;
/// The longest description.
const MAX_DESCRIPTION: usize = 500;
/// A key of fewer characters can be guessed, or at least is not made to withstand it.
const SHORT_SECRET: usize = 24;

/// How keys of one kind begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The beginning.
    pub prefix: String,
    /// Of keys of this type.
    pub key_type: KeyType,
    /// And of this environment.
    pub environment: Option<Environment>,
}

/// The words that rules in force use, so that whoever misspells one is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownWords {
    /// Types of clients that rules name.
    pub client_types: BTreeSet<String>,
    /// Permissions that rules ask for.
    pub permissions: BTreeSet<Permission>,
}

/// What the configuration says about new keys.
#[derive(Debug, Clone, Default)]
pub struct Issuing {
    /// What is asked of them.
    pub policy: KeyPolicy,
    /// How they begin.
    pub prefixes: Vec<Prefix>,
    /// The environment that this gateway serves: that of new keys that state none.
    pub environment: Option<Environment>,
    /// What rules name.
    pub known: KnownWords,
    /// The plans there are.
    pub plans: BTreeSet<Plan>,
    /// Somebody is told of changes.
    pub has_webhook: bool,
    /// Digest of the admin token that a file gives.
    pub file_token: Option<[u8; 32]>,
}

/// Something that was done and should be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A stable word for it.
    pub code: &'static str,
    /// What, and what to do.
    pub detail: String,
}

impl Warning {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl Issuing {
    /// How a new key begins: the prefix of its type and environment, or the one that comes nearest.
    pub(super) fn prefix(&self, key_type: KeyType, environment: Option<&Environment>) -> &str {
        let fits = |entry: &&Prefix| entry.key_type == key_type;
        let of_environment = |entry: &&Prefix| entry.environment.as_ref() == environment;
        let of_any = |entry: &&Prefix| entry.environment.is_none();
        let all = || self.prefixes.iter();
        let found = all()
            .find(|entry| fits(entry) && of_environment(entry))
            .or_else(|| all().find(|entry| fits(entry) && of_any(entry)))
            .or_else(|| all().find(fits))
            .or_else(|| all().find(of_any))
            .or_else(|| all().next());
        found.map_or("kg_", |entry| &entry.prefix)
    }

    /// Makes the text of a new key.
    pub(super) fn new_secret(
        &self,
        key_type: KeyType,
        environment: Option<&Environment>,
    ) -> Result<Secret<'static>, NoRandomness> {
        KeyText::generate(self.prefix(key_type, environment))
    }

    /// The end of a new or changed key, and what is wrong with it. A policy that bounds the age gives an end to keys that
    /// state none.
    pub(super) fn expiry(
        &self,
        asked: Option<Timestamp>,
        not_before: Option<Timestamp>,
        now: Timestamp,
        faults: &mut Vec<Fault>,
    ) -> Option<Timestamp> {
        const POINTER: &str = "/expires_at";
        let latest = self.policy.max_age.map(|age| later(now, age));
        let Some(end) = asked else {
            if self.policy.require_expiry && latest.is_none() {
                faults.push(Fault::new(POINTER, "expiry_required", "every key needs an end: state `expires_at`"));
            }
            return latest;
        };
        if end <= now {
            faults.push(Fault::new(POINTER, "expiry_past", format!("{end} is past: state a moment to come")));
        }
        if latest.is_some_and(|latest| end > latest) {
            let latest = latest.unwrap_or(end);
            faults.push(Fault::new(
                POINTER,
                "expiry_too_late",
                format!("keys may be good until {latest} at most: state that or less"),
            ));
        }
        if not_before.is_some_and(|from| from >= end) {
            faults.push(Fault::new(POINTER, "expiry_before_start", "the key would end before it begins"));
        }
        Some(end)
    }

    /// What is wrong with the permissions of a key.
    pub(super) fn check_grants(&self, grants: &Grants, faults: &mut Vec<Fault>) {
        if self.policy.require_permissions && *grants == Grants::Unrestricted {
            faults.push(Fault::new(
                "/permissions",
                "permissions_required",
                "every key states its permissions: a list, or `read_only`",
            ));
        }
    }

    /// What is wrong with the plan of a key or a client. A key of a plan that is not there would be refused.
    pub(super) fn check_plan(&self, plan: Option<&Plan>, pointer: &str, faults: &mut Vec<Fault>) {
        let Some(plan) = plan.filter(|plan| !self.plans.contains(*plan)) else { return };
        let known: Vec<&str> = self.plans.iter().map(Plan::as_str).take(8).collect();
        let detail = match known.is_empty() {
            true => format!("there is no plan `{plan}`: the configuration has no `plans`"),
            false => format!("there is no plan `{plan}`; there are {}", known.join(", ")),
        };
        faults.push(Fault::new(pointer, "plan_unknown", detail));
    }

    /// What a person should know about a key that is otherwise fine.
    pub(super) fn warn(&self, client_type: &ClientType, client: &Grants, key: &Grants) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if *client == Grants::Unrestricted && *key == Grants::Unrestricted {
            warnings.push(Warning::new(
                "unrestricted",
                "neither the key nor its client states permissions: it may do whatever its client type may",
            ));
        }
        warnings.extend(self.warn_of_type(client_type));
        for permission in key.stated().unwrap_or_default() {
            if !client.cover(permission) {
                warnings.push(Warning::new(
                    "permission_not_held",
                    format!("the client does not hold `{permission}`, so the key does not either"),
                ));
            }
        }
        warnings.extend(self.warn_of_permissions(key));
        warnings
    }

    /// A client type that no rule names.
    pub(super) fn warn_of_type(&self, client_type: &ClientType) -> Option<Warning> {
        let known = &self.known.client_types;
        let is_unknown = !known.is_empty() && !known.contains(client_type.as_str());
        is_unknown.then(|| {
            let list: Vec<&str> = known.iter().take(8).map(String::as_str).collect();
            Warning::new(
                "client_type_unknown",
                format!("no rule names the client type `{client_type}`; those named are {}", list.join(", ")),
            )
        })
    }

    /// Permissions that no rule asks for.
    pub(super) fn warn_of_permissions(&self, grants: &Grants) -> Vec<Warning> {
        let known = &self.known.permissions;
        if known.is_empty() {
            return Vec::new();
        }
        let is_known = |held: &Permission| known.iter().any(|asked| held.covers(asked));
        let unknown = grants.stated().unwrap_or_default().iter().filter(|held| !is_known(held));
        unknown
            .map(|held| Warning::new("permission_unknown", format!("no rule asks for the permission `{held}`")))
            .collect()
    }
}

/// A moment so much later; the last there is, if that is too far.
pub(super) fn later(moment: Timestamp, by: Duration) -> Timestamp {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(moment.as_millis().saturating_add(millis))
}

/// A moment so much earlier.
pub(super) fn earlier(moment: Timestamp, by: Duration) -> Timestamp {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(moment.as_millis().saturating_sub(millis))
}

/// What is wrong with a name.
pub(super) fn check_name(name: &str, pointer: &str, faults: &mut Vec<Fault>) {
    if name.trim().is_empty() {
        faults.push(Fault::new(pointer, "name_missing", "say what it is for"));
    } else if name.trim() != name || name.chars().any(char::is_control) {
        faults.push(Fault::new(
            pointer,
            "name_invalid",
            "it begins or ends with a blank, or holds a character that cannot be printed",
        ));
    } else if name.chars().count() > MAX_NAME {
        faults.push(Fault::new(pointer, "name_too_long", format!("it is longer than {MAX_NAME} characters")));
    }
}

/// What is wrong with a description.
pub(super) fn check_description(description: Option<&str>, faults: &mut Vec<Fault>) {
    let Some(text) = description else { return };
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.chars().count() > MAX_DESCRIPTION || text.chars().any(is_odd) {
        faults.push(Fault::new(
            "/description",
            "description_invalid",
            format!("it is longer than {MAX_DESCRIPTION} characters, or holds one that cannot be printed"),
        ));
    }
}

/// What is wrong with a key that its operator chose.
pub(super) fn check_secret(secret: &Secret<'_>, faults: &mut Vec<Fault>) {
    let bytes = secret.expose();
    let fault = if bytes.is_empty() {
        "it is empty"
    } else if bytes.len() > MAX_SECRET_BYTES {
        "it is longer than a key can be"
    } else if !bytes.iter().all(u8::is_ascii_graphic) {
        "it holds blanks, or characters that cannot stand in a header"
    } else {
        return;
    };
    faults.push(Fault::new("/secret", "secret_invalid", fault));
}

/// A key that its operator chose and that is too short to be safe.
pub(super) fn warn_of_secret(secret: &Secret<'_>) -> Option<Warning> {
    (secret.expose().len() < SHORT_SECRET).then(|| {
        Warning::new("secret_short", format!("a key of fewer than {SHORT_SECRET} characters is easier to guess"))
    })
}

/// A new public id, later ones later in the alphabet.
pub(super) fn new_id(prefix: &str, now: Timestamp) -> Result<String, NoRandomness> {
    let moment = KeyText::ordered(u64::try_from(now.as_millis()).unwrap_or(0));
    Ok(format!("{prefix}{moment}{}", KeyText::random(9)?))
}

/// A new public id for a key.
pub(super) fn new_key_id(now: Timestamp) -> Result<KeyId, NoRandomness> {
    let id = new_id("key_", now)?;
    Ok(KeyId::parse(&id).expect("letters, digits and an underscore are a word"))
}
