//! What a header field is to a proxy, by its name.
//!
//! [`kind_of`] is asked once for each field of a request. Most names are [`FieldKind::Ordinary`] and are told apart by
//! their first byte.
//!
//! A name that some server folds into one of the names listed here (`X_Forwarded_For`, `Transfer.Encoding`) is a
//! [`FieldKind::Twin`]: CGI, WSGI and many frameworks turn both into one variable, and the twin would then speak with the
//! authority of the real field. Names that are configured (identity, credentials) are for `identity` and `credential` to
//! know, which fold in the same way.

/// What to do with a field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// Copied as it came.
    Ordinary,
    /// About this connection only (RFC 9110 section 7.6.1): ends here.
    HopByHop,
    /// Written by us: what came is dropped.
    Ours,
    /// Asks the upstream to take the request for another one. Passes only where an endpoint lists it.
    Rewriting,
    /// Claims to say where the request comes from. Believed only from a trusted peer.
    Forwarding,
    /// May be somebody else's, or carry a key of ours.
    Authorization,
    /// May hold a key of ours among others.
    Cookie,
    /// `traceparent`: passes if it is well-formed.
    TraceParent,
    /// `tracestate`: passes if `traceparent` does.
    TraceState,
    /// `TE`: `trailers` is asked for again, the rest ends here.
    Te,
    /// `Trailer`: announces trailers, which may be passed on or not.
    Trailer,
    /// Folds to one of the names above without being it.
    Twin,
}

/// No name that is listed here is longer; of a longer one only the beginning matters.
const LONGEST_KNOWN: usize = 40;

/// What a field of this name (in lower case) is.
pub(super) fn kind_of(name: &str) -> FieldKind {
    let bytes = name.as_bytes();
    let kind = exact(bytes);
    if kind != FieldKind::Ordinary || bytes.iter().all(|byte| is_plain(*byte)) {
        return kind;
    }
    let mut folded = [0; LONGEST_KNOWN];
    let folded = &mut folded[..bytes.len().min(LONGEST_KNOWN)];
    for (to, from) in folded.iter_mut().zip(bytes) {
        *to = fold(*from);
    }
    if exact(folded) == FieldKind::Ordinary { FieldKind::Ordinary } else { FieldKind::Twin }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn exact(name: &[u8]) -> FieldKind {
    use FieldKind::{
        Authorization, Cookie, Forwarding, HopByHop, Ordinary, Ours, Rewriting, Te, TraceParent, TraceState, Trailer,
    };
    match name.first() {
        Some(b'a') if name == b"authorization" => Authorization,
        Some(b'c') => match name {
            b"cookie" => Cookie,
            b"connection" => HopByHop,
            b"content-length" => Ours,
            b"client-ip"
            | b"cf-connecting-ip"
            | b"cf-connecting-ipv6"
            | b"cf-pseudo-ipv4"
            | b"cf-visitor"
            | b"cloudfront-viewer-address" => Forwarding,
            _ => Ordinary,
        },
        // hyper has answered it, or will once the body is read.
        Some(b'e') if name == b"expect" => Ours,
        Some(b'f') => match name {
            b"forwarded" => Ours,
            b"forwarded-for" | b"forwarded-proto" | b"forwarded-host" | b"fastly-client-ip" | b"front-end-https" => {
                Forwarding
            }
            _ => Ordinary,
        },
        Some(b'h') => match name {
            b"host" => Ours,
            b"http2-settings" => HopByHop,
            _ => Ordinary,
        },
        Some(b'k') if name == b"keep-alive" => HopByHop,
        // `Proxy` alone becomes the variable HTTP_PROXY, which HTTP libraries take for a setting.
        Some(b'p') if name == b"proxy" || name.starts_with(b"proxy-") => HopByHop,
        Some(b't') => match name {
            b"te" => Te,
            b"trailer" => Trailer,
            b"transfer-encoding" => HopByHop,
            b"traceparent" => TraceParent,
            b"tracestate" => TraceState,
            b"true-client-ip" => Forwarding,
            _ => Ordinary,
        },
        Some(b'u') if name == b"upgrade" => HopByHop,
        Some(b'x') => match name.get(1..) {
            Some(b"-request-id" | b"-forwarded-for" | b"-forwarded-proto" | b"-forwarded-host") => Ours,
            Some(
                b"-forwarded-uri"
                | b"-forwarded-url"
                | b"-forwarded-path"
                | b"-forwarded-prefix"
                | b"-forwarded-method"
                | b"-http-method"
                | b"-http-method-override"
                | b"-http-host-override"
                | b"-http-destinationurl"
                | b"-http-path-override"
                | b"-method"
                | b"-method-override"
                | b"-host"
                | b"-script-name",
            ) => Rewriting,
            Some(rest) if rest.starts_with(b"-original-") || rest.starts_with(b"-rewrite-") => Rewriting,
            Some(
                b"-forwarded"
                | b"-real-ip"
                | b"-client-ip"
                | b"-cluster-client-ip"
                | b"-remote-ip"
                | b"-remote-addr"
                | b"-originating-ip"
                | b"-proxyuser-ip"
                | b"-envoy-external-address"
                | b"-appengine-user-ip"
                | b"-azure-clientip"
                | b"-azure-socketip"
                | b"-scheme"
                | b"-url-scheme"
                | b"-proto",
            ) => Forwarding,
            Some(rest) if rest.starts_with(b"-forwarded-") => Forwarding,
            _ => Ordinary,
        },
        _ => Ordinary,
    }
}
