//! What can be wrong with a request before it is one: the list of faults for which bytes are refused.
//!
//! The [`guard`](super::guard) finds them in HTTP/1 bytes, the connection adds those of time and of method. The handler
//! turns one into an answer by [`Handler::refuse`](super::Handler::refuse); metrics and logs carry [`Violation::code`].
//!
//! A violation carries no text of the request, so nothing that a stranger sent can reach a log through it.
//!
//! A code, once published, keeps its meaning: dashboards and alerts count by it.

use http::StatusCode;

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $status:ident, $text:literal;)*) => {
        /// One fault of a request that is refused before it reaches the handler.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Violation {
            $($(#[$doc])* $name,)*
        }

        impl Violation {
            /// Every violation there is, in the order of declaration.
            pub const ALL: &[Violation] = &[$(Violation::$name,)*];

            /// The stable word for logs, metrics and answers.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The status of the answer.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// One sentence for the caller.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

violations! {
    /// A line feed without its carriage return: two readers could disagree where the line ends.
    BareLineFeed, "bare_line_feed", BAD_REQUEST, "a line ends without a carriage return";
    /// A carriage return without its line feed.
    BareCarriageReturn, "bare_carriage_return", BAD_REQUEST, "a carriage return stands alone";
    /// A NUL or another control byte.
    ControlByte, "control_byte", BAD_REQUEST, "the head contains a control byte";
    /// A header line that continues the one before.
    ObsoleteFolding, "obsolete_folding", BAD_REQUEST, "a header line is folded";
    /// White space between a header's name and its colon.
    SpaceBeforeColon, "space_before_colon", BAD_REQUEST, "white space stands before a colon";
    /// A header line that begins with its colon.
    FieldNameEmpty, "field_name_empty", BAD_REQUEST, "a header has no name";
    /// A header name with a byte that names may not have, or a line without a colon.
    FieldNameInvalid, "field_name_invalid", BAD_REQUEST, "a header name is not well formed";
    /// More empty lines before a request line than a sloppy client sends.
    EmptyLines, "empty_lines", BAD_REQUEST, "too many empty lines stand before the request";
    /// A request line that is not `METHOD SP target SP HTTP/1.x`.
    RequestLineInvalid, "request_line_invalid", BAD_REQUEST, "the request line is not well formed";
    /// A method longer than any real one.
    MethodTooLong, "method_too_long", BAD_REQUEST, "the method is too long";
    /// `CONNECT`: this server opens no tunnels to elsewhere.
    MethodConnect, "method_connect", METHOD_NOT_ALLOWED, "CONNECT is not offered";
    /// A target with a byte that targets may not have, or of a form that has no meaning here.
    TargetInvalid, "target_invalid", BAD_REQUEST, "the request target is not well formed";
    /// A target with a fragment.
    TargetFragment, "target_fragment", BAD_REQUEST, "the request target contains a fragment";
    /// A target over the limit.
    TargetTooLong, "target_too_long", URI_TOO_LONG, "the request target is too long";
    /// A version other than HTTP/1.0 and HTTP/1.1.
    VersionUnsupported, "version_unsupported", HTTP_VERSION_NOT_SUPPORTED, "this version of HTTP is not supported";
    /// A head over the limit.
    HeadTooLarge, "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too large";
    /// More headers than the limit.
    TooManyFields, "too_many_fields", REQUEST_HEADER_FIELDS_TOO_LARGE, "the request has too many headers";
    /// HTTP/1.1 without `Host`.
    HostMissing, "host_missing", BAD_REQUEST, "the Host header is missing";
    /// More than one `Host`.
    HostRepeated, "host_repeated", BAD_REQUEST, "the Host header is repeated";
    /// A `Host` that is empty or has a byte that hosts may not have.
    HostInvalid, "host_invalid", BAD_REQUEST, "the Host header is not well formed";
    /// More than one `Content-Length`, equal or not.
    ContentLengthRepeated, "content_length_repeated", BAD_REQUEST, "the Content-Length header is repeated";
    /// A `Content-Length` that is not one plain decimal number of a sane size.
    ContentLengthInvalid, "content_length_invalid", BAD_REQUEST, "the Content-Length header is not a plain number";
    /// `Content-Length` together with `Transfer-Encoding`.
    LengthAmbiguous, "length_ambiguous", BAD_REQUEST, "Content-Length and Transfer-Encoding exclude each other";
    /// A `Transfer-Encoding` other than exactly `chunked`.
    TransferEncodingInvalid, "transfer_encoding_invalid", BAD_REQUEST, "Transfer-Encoding must be exactly `chunked`";
    /// More than one `Transfer-Encoding`.
    TransferEncodingRepeated, "transfer_encoding_repeated", BAD_REQUEST, "the Transfer-Encoding header is repeated";
    /// `Transfer-Encoding` in an HTTP/1.0 request, where it has no meaning that all readers share.
    TransferEncodingInOldVersion, "transfer_encoding_in_old_version", BAD_REQUEST,
        "HTTP/1.0 has no Transfer-Encoding";
    /// A name that a folding reader takes for a framing header, such as `Content_Length`.
    FramingTwin, "framing_twin", BAD_REQUEST, "a header name imitates one that decides the length";
    /// A chunk size that is not one to sixteen hexadecimal digits of a sane value.
    ChunkSizeInvalid, "chunk_size_invalid", BAD_REQUEST, "a chunk size is not well formed";
    /// Chunk data that does not end where its size says.
    ChunkTerminatorInvalid, "chunk_terminator_invalid", BAD_REQUEST, "a chunk does not end where its size says";
    /// More bytes of chunk extensions than the limit.
    ChunkExtensionsTooLong, "chunk_extensions_too_long", BAD_REQUEST, "the chunk extensions are too long";
    /// More bytes of trailers than the limit.
    TrailersTooLarge, "trailers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "the trailers are too large";
    /// A trailer that would change how the message is framed or routed.
    TrailerForbidden, "trailer_forbidden", BAD_REQUEST, "a trailer may not carry this header";
    /// The head was not complete in time.
    HeadTimedOut, "head_timed_out", REQUEST_TIMEOUT, "the head of the request did not arrive in time";
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_every_status_blames_the_caller() {
        let codes: std::collections::BTreeSet<_> = Violation::ALL.iter().map(|violation| violation.code()).collect();
        assert_eq!(codes.len(), Violation::ALL.len());
        for violation in Violation::ALL {
            let status = violation.status();
            assert!(status.is_client_error() || status == StatusCode::HTTP_VERSION_NOT_SUPPORTED, "{violation:?}");
        }
    }

    #[test]
    fn the_place_in_the_list_is_the_number_of_the_variant() {
        for (place, violation) in Violation::ALL.iter().enumerate() {
            assert_eq!(*violation as usize, place);
        }
    }
}
