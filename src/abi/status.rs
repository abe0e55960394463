//! The status codes of errors, and `gss_display_status`.

use core::cell::RefCell;

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    oid::ensure_ntlm,
    ptr::{Oid, Out},
};
use crate::{
    bytes,
    error::{ApiMisuse, Code, Error, Result, major},
    host::Host as _,
    sys::{Malloced, System},
};

type Minor = g::OM_uint32;

/// The last error of this thread: a code alone cannot say which file was unreadable.
struct Last {
    minor: Minor,
    sentence: String,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// The codes of `error`; its sentence is kept for `gss_display_status` in this thread.
pub(super) fn remember(error: &Error) -> (Major, Minor) {
    let (major, minor) = code(error);
    System.trace(format_args!("error {minor:#010x}: {error}"));
    // Without memory for it, the sentence is the one that all errors with this code share.
    let sentence = bytes::display(error).ok();
    let new = sentence.map(|sentence| Last { minor, sentence });
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = new));
    (major, minor)
}

/// The major and minor code of `error`.
pub(super) const fn code(error: &Error) -> (Major, Minor) {
    let Code { major, minor } = error.code();
    (major, minor)
}

/// The sentence of a minor code: that of the last error if it has this code, else the one that all errors with it share.
fn sentence(minor: Minor) -> Option<String> {
    let remembered = LAST.try_with(|last| {
        let last = last.try_borrow().ok()?;
        last.as_ref().filter(|last| last.minor == minor).and_then(|last| bytes::copy_text(&last.sentence).ok())
    });
    if let Ok(Some(sentence)) = remembered {
        return Some(sentence);
    }
    if minor == 0 {
        return Some("The NTLM mechanism reported no error".to_owned());
    }
    Error::sentence_of(minor)
}

/// `gss_display_status`, RFC 2744 5.11.
pub(super) fn display(
    status: u32, status_type: core::ffi::c_int, mech: Oid, _message_context: Out<u32>, text: Out<Malloced>,
) -> Result<Major> {
    text.ensure_given()?;
    ensure_ntlm(&mech)?;
    if status_type != GSS_C_MECH_CODE {
        return Err(ApiMisuse::BadStatus.into());
    }
    text.put(Malloced::text(&sentence(status).ok_or(ApiMisuse::BadStatus)?)?);
    Ok(COMPLETE)
}

const GSS_C_MECH_CODE: core::ffi::c_int = 2;

/// Compares the numbers of the table of errors, which does not know the C types of GSS-API.
macro_rules! same_majors {
    ($($name:ident = $theirs:ident,)+) => {
        const _: () = assert!($(major::$name == g::$theirs)&&+);
    };
}

same_majors! {
    CALL_INACCESSIBLE_READ = _GSS_S_CALL_INACCESSIBLE_READ, CALL_INACCESSIBLE_WRITE = _GSS_S_CALL_INACCESSIBLE_WRITE,
    BAD_MECH = _GSS_S_BAD_MECH, BAD_NAME = _GSS_S_BAD_NAME, BAD_NAMETYPE = _GSS_S_BAD_NAMETYPE,
    BAD_BINDINGS = _GSS_S_BAD_BINDINGS, BAD_STATUS = _GSS_S_BAD_STATUS, BAD_SIG = _GSS_S_BAD_SIG,
    NO_CRED = _GSS_S_NO_CRED, NO_CONTEXT = _GSS_S_NO_CONTEXT, DEFECTIVE_TOKEN = _GSS_S_DEFECTIVE_TOKEN,
    DEFECTIVE_CREDENTIAL = _GSS_S_DEFECTIVE_CREDENTIAL, FAILURE = _GSS_S_FAILURE, BAD_QOP = _GSS_S_BAD_QOP,
    UNAUTHORIZED = _GSS_S_UNAUTHORIZED, UNAVAILABLE = _GSS_S_UNAVAILABLE, DUPLICATE_TOKEN = _GSS_S_DUPLICATE_TOKEN,
    GAP_TOKEN = _GSS_S_GAP_TOKEN,
}

#[cfg(test)]
mod tests {
    use crate::error::CredentialError;

    use super::*;

    #[test]
    fn the_last_error_has_its_own_words() {
        let error =
            Error::Credential(CredentialError::Unreadable { path: "/x/users".to_owned(), reason: "gone".to_owned() });
        let (_, minor) = remember(&error);
        assert!(sentence(minor).unwrap().contains("/x/users"));
        std::thread::spawn(move || assert!(!sentence(minor).unwrap().contains("/x/users"))).join().unwrap();
    }
}
