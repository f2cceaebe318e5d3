//! A caller of the admin API.

use std::net::SocketAddr;

use serde_json::Value;

use super::caller::text_of;
use super::{Caller, Gateway, Response, wait};

/// Who asks, and where.
#[derive(Clone)]
pub struct Admin {
    address: SocketAddr,
    token: String,
}

impl Admin {
    /// With the first admin token of a gateway, which it printed when it started.
    pub fn of(gateway: &Gateway) -> Self {
        let token = wait::until("the first admin token", || {
            let stdout = gateway.stdout();
            let line = stdout.lines().find(|line| line.starts_with("kg_admin_"))?;
            Some(line.to_owned())
        });
        Self::with(gateway.admin(), &token)
    }

    /// With this token.
    pub fn with(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.to_owned() }
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same caller at another address: the gateway has started anew.
    pub fn at(&self, gateway: &Gateway) -> Self {
        Self { address: gateway.admin(), token: self.token.clone() }
    }

    /// Asks, or says why there was no answer.
    pub fn try_ask(&self, method: &str, target: &str, body: Option<&Value>) -> std::io::Result<Response> {
        let host = self.address.to_string();
        let bearer = format!("Bearer {}", self.token);
        let mut fields = vec![("host", host.as_str()), ("authorization", &bearer)];
        let text = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            fields.push(("content-type", "application/json"));
        }
        let mut caller = Caller::try_connect(self.address)?;
        caller.send(text_of(method, target, &fields, text.as_bytes()));
        caller.try_response(method)
    }

    /// Asks.
    pub fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Response {
        self.try_ask(method, target, body).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// Asks for what is there.
    pub fn get(&self, target: &str) -> Value {
        let answer = self.ask("GET", target, None);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    /// Changes something, successfully.
    pub fn post(&self, target: &str, body: &Value) -> Value {
        let answer = self.ask("POST", target, Some(body));
        assert!(matches!(answer.status, 200 | 201), "{target}: {}", answer.text());
        answer.json()
    }

    /// Makes a key of client `shop`, type `partner`, and gives its id and its secret.
    pub fn key(&self, name: &str) -> (String, String) {
        let client = serde_json::json!({ "id": "shop", "client_type": "partner" });
        let made = self.post("/v1/keys", &serde_json::json!({ "name": name, "client": client }));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&made["key"]["id"]), text(&made["secret"]))
    }

    /// Revokes a key.
    pub fn revoke(&self, id: &str) {
        let answer = self.ask("DELETE", &format!("/v1/keys/{id}"), None);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
