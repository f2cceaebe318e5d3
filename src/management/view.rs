//! A key or a client as the audit log and the webhook tell of it: everything but secrets.

use serde_json::{Map, Value, json};

use crate::client::{Client, Grants, Group, OwnerKind, Permission};
use crate::store::{ClientRow, KeyDetail, SecretState};

/// Grants as they are written.
pub(super) fn grants(grants: &Grants) -> Value {
    match grants {
        Grants::Unrestricted => json!("all"),
        Grants::ReadOnly => json!("read_only"),
        Grants::Listed(list) => list.iter().map(Permission::as_str).collect(),
    }
}

/// A key.
pub(super) fn key(detail: &KeyDetail) -> Value {
    let key = &detail.key;
    let moment = |moment: Option<crate::keys::Timestamp>| moment.map(|moment| moment.to_string());
    let secrets: Vec<Value> = detail
        .secrets
        .iter()
        .map(|secret| {
            let state = match secret.state {
                SecretState::Current => "current",
                SecretState::Pending => "pending",
                SecretState::Superseded => "superseded",
            };
            json!({ "masked": secret.mask, "state": state, "valid_until": moment(secret.valid_until) })
        })
        .collect();
    json!({
        "id": key.id.as_str(),
        "name": key.name,
        "description": key.description,
        "client": detail.client.client.id.as_str(),
        "client_type": detail.client.client.client_type.as_str(),
        "tenant": detail.client.client.tenant.as_ref().map(|tenant| tenant.as_str()),
        "type": key.key_type.as_str(),
        "environment": key.environment.as_ref().map(|environment| environment.as_str()),
        "active": key.disabled.is_none(),
        "disabled_reason": key.disabled.as_ref().and_then(|disabled| disabled.reason.clone()),
        "not_before": moment(key.not_before),
        "expires_at": moment(key.expires_at),
        "permissions": grants(&key.grants),
        "plan": key.plan.as_ref().map(|plan| plan.as_str()),
        "networks": key.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "origins": key.origins.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "revoked_at": moment(key.revoked_at),
        "secrets": secrets,
    })
}

/// A client.
pub(super) fn client(row: &ClientRow) -> Value {
    let Client { id, name, client_type, tenant, owner, active, groups, grants: held, plan, metadata } = &*row.client;
    json!({
        "id": id.as_str(),
        "name": &**name,
        "client_type": client_type.as_str(),
        "tenant": tenant.as_ref().map(|tenant| tenant.as_str()),
        "owner": owner.as_ref().map(|owner| json!({
            "kind": match owner.kind { OwnerKind::User => "user", OwnerKind::Machine => "machine" },
            "id": &*owner.id,
        })),
        "active": active,
        "disabled_reason": row.disabled.as_ref().and_then(|disabled| disabled.reason.clone()),
        "groups": groups.iter().map(Group::as_str).collect::<Vec<_>>(),
        "permissions": grants(held),
        "plan": plan.as_ref().map(|plan| plan.as_str()),
        "metadata": metadata,
    })
}

/// The fields that differ, before and after.
pub(super) fn difference(before: &Value, after: &Value) -> (Option<Value>, Option<Value>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return (None, None) };
    let (mut was, mut is) = (Map::new(), Map::new());
    for (name, value) in new {
        if old.get(name) != Some(value) {
            was.insert(name.clone(), old.get(name).cloned().unwrap_or_default());
            is.insert(name.clone(), value.clone());
        }
    }
    (Some(Value::Object(was)), Some(Value::Object(is)))
}
