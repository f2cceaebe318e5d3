//! What the identity headers are called.

use http::HeaderName;

/// A name for each thing an upstream may be told; `None` where it is not to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityNames {
    /// The class of client: `cms`, `partner`.
    pub client_type: Option<HeaderName>,
    /// The client's stable id.
    pub client_id: Option<HeaderName>,
    /// The key's stable public id.
    pub client_key_id: Option<HeaderName>,
    /// The customer or project the client belongs to.
    pub client_tenant: Option<HeaderName>,
    /// The environment the key is for.
    pub client_environment: Option<HeaderName>,
    /// What the request may do, joined by commas.
    ///
    /// Absent means that nothing limits it by permission; `none` means that no right is left; a read-only key is told in
    /// wildcards.
    pub client_permissions: Option<HeaderName>,
    /// The client's groups, joined by commas.
    pub client_groups: Option<HeaderName>,
    /// The end user's id.
    pub user_id: Option<HeaderName>,
    /// The end user's groups, joined by commas.
    pub user_groups: Option<HeaderName>,
    /// The end user's properties, a JSON object.
    pub user_properties: Option<HeaderName>,
    /// `1` for requests that came by a backoffice listener.
    pub is_backoffice: Option<HeaderName>,
}

impl Default for IdentityNames {
    fn default() -> Self {
        let name = |name| Some(HeaderName::from_static(name));
        Self {
            client_type: name("client-type"),
            client_id: name("x-client-id"),
            client_key_id: name("x-client-key-id"),
            client_tenant: name("x-client-tenant"),
            client_environment: name("x-client-environment"),
            client_permissions: name("x-client-permissions"),
            client_groups: name("x-client-groups"),
            user_id: name("miauserid"),
            user_groups: name("miausergroups"),
            user_properties: name("miauserproperties"),
            is_backoffice: name("isbackoffice"),
        }
    }
}

impl IdentityNames {
    /// Every name in use.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        // Taken apart, so that a field that is added cannot be forgotten here: it would be set and not protected.
        let Self {
            client_type,
            client_id,
            client_key_id,
            client_tenant,
            client_environment,
            client_permissions,
            client_groups,
            user_id,
            user_groups,
            user_properties,
            is_backoffice,
        } = self;
        [
            client_type,
            client_id,
            client_key_id,
            client_tenant,
            client_environment,
            client_permissions,
            client_groups,
            user_id,
            user_groups,
            user_properties,
            is_backoffice,
        ]
        .into_iter()
        .flatten()
    }
}

/// Names that services of the Mia platform believe, though nothing here sets them: what an authorization service answers,
/// and the row and column filters that its data service obeys.
pub(super) const ALSO_BELIEVED: [&str; 6] =
    ["mia-allowed", "mia-userid", "mia-groups", "mia-userproperties", "acl_rows", "acl_read_columns"];
