//! libwbclient.so.0, as `wbclient.h` of Samba describes it (interface 0.12 and later).

use core::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr::{self, NonNull},
};
use std::ffi::CString;

use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    host::{Host, Membership},
    sys::once_box::OnceBox,
};

/// A claim, for `wbcCtxAuthenticateUserEx`.
pub(super) struct Logon {
    pub(super) user: CString,
    /// May be empty.
    pub(super) domain: CString,
    /// May be empty.
    pub(super) workstation: CString,
    pub(super) challenge: [u8; 8],
    /// One of the two responses is empty.
    pub(super) nt_response: Vec<u8>,
    pub(super) lm_response: Vec<u8>,
}

/// What winbindd knows about an account.
#[derive(Default)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) domain: String,
    pub(super) full_name: String,
    pub(super) user_principal_name: String,
    pub(super) dns_domain: String,
    pub(super) logon_server: String,
    pub(super) is_guest: bool,
    /// The SID of the account, that of its primary group, then those of its other groups.
    pub(super) sids: Vec<String>,
    pub(super) session_key: Key,
    /// The first eight bytes of the LM hash, then zeros.
    pub(super) lm_hash: Key,
}

/// A key in the heap, so that moving it leaves no copy on the stack.
pub(super) type Key = Box<Zeroizing<[u8; 16]>>;

/// Why a request failed.
pub(super) enum Failure {
    Refused {
        status: u32,
        name: String,
    },
    /// winbindd does not run, or has closed the connection.
    Unavailable,
    /// winbindd runs, but this process may not ask it.
    NotPermitted,
    OddReply(&'static str),
    /// Another `wbcErr`.
    Other(c_int),
}

/// The functions that we use.
pub(super) struct Library {
    create: unsafe extern "C" fn() -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    free_memory: unsafe extern "C" fn(*mut c_void),
    ping: unsafe extern "C" fn(*mut c_void) -> c_int,
    interface_details: unsafe extern "C" fn(*mut c_void, *mut *mut InterfaceDetails) -> c_int,
    look_up_domain_controller: LookUpDomainController,
    authenticate_user: unsafe extern "C" fn(
        *mut c_void,
        *const AuthUserParams,
        *mut *mut AuthUserInfo,
        *mut *mut AuthErrorInfo,
    ) -> c_int,
    credential_cache: unsafe extern "C" fn(
        *mut c_void,
        *mut CredentialCacheParams,
        *mut *mut CredentialCacheInfo,
        *mut *mut AuthErrorInfo,
    ) -> c_int,
}

type LookUpDomainController = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    *mut c_void,
    *const c_char,
    u32,
    *mut *mut DomainControllerInfo,
) -> c_int;

// `wbcErr`.
const SUCCESS: c_int = 0;
const WINBIND_NOT_AVAILABLE: c_int = 6;

/// `struct wbcInterfaceDetails`.
#[repr(C)]
struct InterfaceDetails {
    interface_version: u32,
    winbind_version: *const c_char,
    winbind_separator: c_char,
    netbios_name: *const c_char,
    netbios_domain: *const c_char,
    dns_domain: *const c_char,
}

/// `struct wbcDomainControllerInfoEx`.
#[repr(C)]
struct DomainControllerInfo {
    dc_unc: *const c_char,
    dc_address: *const c_char,
    dc_address_type: u16,
    domain_guid: *const c_void,
    domain_name: *const c_char,
    forest_name: *const c_char,
    dc_flags: u32,
    dc_site_name: *const c_char,
    client_site_name: *const c_char,
}

/// The longest name of an NTSTATUS that is shown, in characters.
const LONGEST_STATUS: usize = 64;

/// DS_RETURN_DNS_NAME of [MS-NRPC] 3.5.4.3.1.
const RETURN_DNS_NAME: u32 = 0x4000_0000;

/// `struct wbcAuthUserParams` at level RESPONSE.
#[repr(C)]
struct AuthUserParams {
    account_name: *const c_char,
    domain_name: *const c_char,
    workstation_name: *const c_char,
    flags: u32,
    parameter_control: u32,
    level: c_int,
    password: Password,
}

#[repr(C)]
union Password {
    hashes: [u8; 32],
    response: PasswordResponse,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct PasswordResponse {
    challenge: [u8; 8],
    nt_length: u32,
    nt_data: *const u8,
    lm_length: u32,
    lm_data: *const u8,
}

/// WBC_AUTH_USER_LEVEL_RESPONSE.
const LEVEL_RESPONSE: c_int = 3;
/// WBC_MSV1_0_ALLOW_SERVER_TRUST_ACCOUNT and WBC_MSV1_0_ALLOW_WORKSTATION_TRUST_ACCOUNT: accounts of computers may log on too.
const ALLOW_COMPUTERS: u32 = 0x0000_0020 | 0x0000_0800;

/// `struct wbcAuthUserInfo`.
#[repr(C)]
struct AuthUserInfo {
    user_flags: u32,
    account_name: *const c_char,
    user_principal: *const c_char,
    full_name: *const c_char,
    domain_name: *const c_char,
    dns_domain_name: *const c_char,
    acct_flags: u32,
    user_session_key: [u8; 16],
    lm_session_key: [u8; 8],
    logon_count: u16,
    bad_password_count: u16,
    times: [u64; 6],
    logon_server: *const c_char,
    logon_script: *const c_char,
    profile_path: *const c_char,
    home_directory: *const c_char,
    home_drive: *const c_char,
    num_sids: u32,
    sids: *const SidWithAttr,
}

/// WBC_AUTH_USER_INFO_GUEST.
const GUEST: u32 = 1;

/// `struct wbcSidWithAttr`.
#[repr(C)]
#[derive(Clone, Copy)]
struct SidWithAttr {
    sid: Sid,
    attributes: u32,
}

/// `struct wbcDomainSid`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sid {
    sid_rev_num: u8,
    num_auths: u8,
    id_auth: [u8; 6],
    sub_auths: [u32; 15],
}

impl Sid {
    /// In the form of [MS-DTYP] 2.4.2.1; `None` if it says to have more parts than a SID can have.
    fn to_text(self) -> Option<String> {
        let [a, b, c, d, e, f] = self.id_auth;
        let authority = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let parts = self.sub_auths.get(..usize::from(self.num_auths))?;
        let authority = if authority < 1 << 32 { authority.to_string() } else { format!("{authority:#014x}") };
        let start = format!("S-{}-{authority}", self.sid_rev_num);
        Some(parts.iter().fold(start, |text, part| format!("{text}-{part}")))
    }
}

/// `struct wbcAuthErrorInfo`.
#[repr(C)]
struct AuthErrorInfo {
    nt_status: u32,
    nt_string: *const c_char,
    pam_error: i32,
    display_string: *const c_char,
    authoritative: u8,
}

/// `struct wbcCredentialCacheParams`.
#[repr(C)]
struct CredentialCacheParams {
    account_name: *const c_char,
    domain_name: *const c_char,
    level: c_int,
    num_blobs: usize,
    blobs: *mut NamedBlob,
}

/// WBC_CREDENTIAL_CACHE_LEVEL_NTLMSSP.
const LEVEL_NTLMSSP: c_int = 1;

/// `struct wbcNamedBlob`.
#[repr(C)]
#[derive(Clone, Copy)]
struct NamedBlob {
    name: *const c_char,
    flags: u32,
    data: *mut u8,
    length: usize,
}

/// `struct wbcCredentialCacheInfo`.
#[repr(C)]
struct CredentialCacheInfo {
    num_blobs: usize,
    blobs: *const NamedBlob,
}

/// The library, which is opened by the first call; `None` if it is not installed.
pub(super) fn get(host: &dyn Host) -> Option<&'static Library> {
    static LIBRARY: OnceBox<Option<Library>> = OnceBox::new();
    if let Some(library) = LIBRARY.get() {
        return library.as_ref();
    }
    // Two threads may open it at the same time: dlopen(3) gives both the same library.
    let library = Library::open();
    if library.is_none() {
        host.trace(format_args!(
            "winbind: there is no libwbclient.so.0, or it is too old: only the accounts of the user file are known"
        ));
    }
    LIBRARY.set(library).as_ref()
}

impl Library {
    fn open() -> Option<Self> {
        // SAFETY: the name is a C string. The library is never closed.
        let handle = unsafe { libc::dlopen(c"libwbclient.so.0".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        let handle = NonNull::new(handle)?;
        /// # Safety
        /// `handle` is an open library, in which `name` is a function of the type `F`.
        unsafe fn find<F: Copy>(handle: NonNull<c_void>, name: &CStr) -> Option<F> {
            // SAFETY: the caller promises an open library.
            let found = NonNull::new(unsafe { libc::dlsym(handle.as_ptr(), name.as_ptr()) })?;
            const { assert!(size_of::<F>() == size_of::<NonNull<c_void>>()) };
            // SAFETY: the caller promises a function of that type, which has the size of a pointer.
            Some(unsafe { core::mem::transmute_copy(&found) })
        }
        Some(Self {
            // SAFETY: the type is that of wbclient.h.
            create: unsafe { find(handle, c"wbcCtxCreate") }?,
            // SAFETY: as above.
            free: unsafe { find(handle, c"wbcCtxFree") }?,
            // SAFETY: as above.
            free_memory: unsafe { find(handle, c"wbcFreeMemory") }?,
            // SAFETY: as above.
            ping: unsafe { find(handle, c"wbcCtxPing") }?,
            // SAFETY: as above.
            interface_details: unsafe { find(handle, c"wbcCtxInterfaceDetails") }?,
            // SAFETY: as above.
            look_up_domain_controller: unsafe { find(handle, c"wbcCtxLookupDomainControllerEx") }?,
            // SAFETY: as above.
            authenticate_user: unsafe { find(handle, c"wbcCtxAuthenticateUserEx") }?,
            // SAFETY: as above.
            credential_cache: unsafe { find(handle, c"wbcCtxCredentialCache") }?,
        })
    }
}

/// A connection to winbindd. libwbclient opens it with the first request.
pub(super) struct Connection {
    library: &'static Library,
    context: NonNull<c_void>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the context is live, and only this value has it.
        unsafe { (self.library.free)(self.context.as_ptr()) };
    }
}

/// A structure that libwbclient has allocated.
struct Owned<T> {
    library: &'static Library,
    value: *mut T,
}

impl<T> Owned<T> {
    const fn none(library: &'static Library) -> Self {
        Self { library, value: ptr::null_mut() }
    }

    /// The structure, if there is one.
    fn get(&self) -> Option<&T> {
        // SAFETY: the pointer is NULL, or libwbclient has put a structure there, which lives until `drop`.
        unsafe { self.value.as_ref() }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is NULL, or this library has allocated it; it was not freed before.
        unsafe { (self.library.free_memory)(self.value.cast()) };
    }
}

impl Connection {
    pub(super) fn new(library: &'static Library) -> Option<Self> {
        // SAFETY: the function has no arguments.
        let context = NonNull::new(unsafe { (library.create)() })?;
        Some(Self { library, context })
    }

    /// Whether winbindd answers.
    pub(super) fn ping(&self) -> bool {
        // SAFETY: the context is live.
        SUCCESS == unsafe { (self.library.ping)(self.context.as_ptr()) }
    }

    /// What winbindd calls this computer and its domain: `None` without an answer, `Some(None)` for a computer in no domain.
    pub(super) fn names(&self) -> Option<Option<Membership>> {
        let mut details = Owned::<InterfaceDetails>::none(self.library);
        // SAFETY: the context is live and `details` writable.
        let code = unsafe { (self.library.interface_details)(self.context.as_ptr(), &raw mut details.value) };
        let details = details.get().filter(|_| code == SUCCESS)?;
        // NULL means that winbindd does not know the domain: it is the workgroup of a computer that is in no domain.
        if details.dns_domain.is_null() {
            return Some(None);
        }
        Some(Some(Membership {
            // SAFETY: the strings of the structure are NULL or C strings.
            computer: unsafe { name(details.netbios_name) },
            // SAFETY: as above.
            domain: unsafe { name(details.netbios_domain) },
            // SAFETY: as above.
            dns_domain: unsafe { name(details.dns_domain) },
        }))
    }

    /// The DNS name of the forest that `domain` is in, as its domain controller says.
    pub(super) fn tree(&self, domain: &CStr) -> Option<String> {
        let mut info = Owned::<DomainControllerInfo>::none(self.library);
        let place = &raw mut info.value;
        let (context, no_guid, no_site) = (self.context.as_ptr(), ptr::null_mut(), ptr::null());
        let look_up = self.library.look_up_domain_controller;
        // SAFETY: the context is live, the domain a C string, `info` writable; the others may be NULL.
        let code = unsafe { look_up(context, domain.as_ptr(), no_guid, no_site, RETURN_DNS_NAME, place) };
        let info = info.get().filter(|_| code == SUCCESS)?;
        // SAFETY: the strings of the structure are NULL or C strings.
        Some(unsafe { name(info.forest_name) })
    }

    /// Asks the domain whether `logon` is right.
    pub(super) fn authenticate(&self, logon: &Logon) -> Result<Account, Failure> {
        let Logon { user, domain, workstation, challenge, nt_response, lm_response } = logon;
        let or_null = |text: &CString| if text.is_empty() { ptr::null() } else { text.as_ptr() };
        // The length fits: in the message it has 16 bits.
        let of = |response: &[u8]| match u32::try_from(response.len()) {
            Ok(length) if length > 0 => (length, response.as_ptr()),
            _ => (0, ptr::null()),
        };
        let ((nt_length, nt_data), (lm_length, lm_data)) = (of(nt_response), of(lm_response));
        let params = AuthUserParams {
            account_name: user.as_ptr(),
            domain_name: or_null(domain),
            workstation_name: or_null(workstation),
            flags: 0,
            parameter_control: ALLOW_COMPUTERS,
            level: LEVEL_RESPONSE,
            password: Password {
                response: PasswordResponse { challenge: *challenge, nt_length, nt_data, lm_length, lm_data },
            },
        };
        let mut info = Owned::<AuthUserInfo>::none(self.library);
        let mut error = Owned::<AuthErrorInfo>::none(self.library);
        let (info_place, error_place) = (&raw mut info.value, &raw mut error.value);
        let authenticate = self.library.authenticate_user;
        // SAFETY: the context is live, the strings and responses in `params` live as long as `logon`, both places are writable.
        let code = unsafe { authenticate(self.context.as_ptr(), &raw const params, info_place, error_place) };
        // The keys are wiped even if the answer is of no use.
        // SAFETY: the pointer is NULL, or a structure that only this value has, as libwbclient has filled it.
        let account = unsafe { info.value.as_mut() }.map(|info| unsafe { Account::take(info) });
        // libwbclient may fill an error and return success.
        if code != SUCCESS || error.get().is_some_and(|error| error.nt_status != 0) {
            return Err(self.failure(code, &error));
        }
        account.unwrap_or(Err(Failure::OddReply("it is empty")))
    }

    /// The meaning of a `wbcErr`.
    fn failure(&self, code: c_int, error: &Owned<AuthErrorInfo>) -> Failure {
        match error.get() {
            Some(error) if error.nt_status != 0 => {
                // SAFETY: the strings of the structure are NULL or C strings.
                let name = unsafe { text(error.nt_string) };
                Failure::Refused { status: error.nt_status, name: name.chars().take(LONGEST_STATUS).collect() }
            }
            // libwbclient also says so if this process may not open the pipe of winbindd for privileged programs.
            _ if code == WINBIND_NOT_AVAILABLE && self.ping() => Failure::NotPermitted,
            _ if code == WINBIND_NOT_AVAILABLE => Failure::Unavailable,
            _ => Failure::Other(code),
        }
    }

    /// Whether winbindd has a cached logon of that account: a request without messages asks only this.
    pub(super) fn has_cached_logon(&self, user: &CStr, domain: &CStr) -> bool {
        self.use_cached_logon(user, domain, &mut []).is_ok()
    }

    /// winbindd's answer to `challenge` for that account: AUTHENTICATE_MESSAGE and ExportedSessionKey.
    pub(super) fn respond(
        &self, user: &CStr, domain: &CStr, negotiate: &[u8], challenge: &[u8],
    ) -> Result<(Vec<u8>, Key), Failure> {
        let blob = |name: &'static CStr, data: &[u8]| NamedBlob {
            name: name.as_ptr(),
            flags: 0,
            data: data.as_ptr().cast_mut(),
            length: data.len(),
        };
        let mut both = [blob(c"challenge_blob", challenge), blob(c"negotiate_blob", negotiate)];
        let info = self.use_cached_logon(user, domain, &mut both)?;
        let mut answer = None;
        let mut key = None;
        let info = info.get().ok_or(Failure::OddReply("it is empty"))?;
        for at in 0..if info.blobs.is_null() { 0 } else { info.num_blobs } {
            // SAFETY: the structure has `num_blobs` blobs.
            let place = unsafe { info.blobs.add(at) };
            // SAFETY: as above.
            let NamedBlob { name, data, length, .. } = unsafe { place.read() };
            if name.is_null() || data.is_null() {
                continue;
            }
            // SAFETY: the name is a C string, which lives as long as `info`.
            let name = unsafe { CStr::from_ptr(name) };
            // SAFETY: the blob has that length, lives as long as `info`, and no other reference to it exists.
            let data = unsafe { core::slice::from_raw_parts_mut(data, length) };
            match name.to_bytes() {
                b"auth_blob" => answer = Some(data.to_vec()),
                b"session_key" => {
                    let mut copy = Key::default();
                    if data.len() == copy.len() {
                        copy.copy_from_slice(data);
                        key = Some(copy);
                    }
                    data.zeroize();
                }
                _ => {}
            }
        }
        let authenticate = answer.ok_or(Failure::OddReply("it has no AUTHENTICATE_MESSAGE"))?;
        let key = key.ok_or(Failure::OddReply("it has no session key of 16 bytes"))?;
        Ok((authenticate, key))
    }

    fn use_cached_logon(
        &self, user: &CStr, domain: &CStr, blobs: &mut [NamedBlob],
    ) -> Result<Owned<CredentialCacheInfo>, Failure> {
        let mut params = CredentialCacheParams {
            account_name: user.as_ptr(),
            domain_name: if domain.is_empty() { ptr::null() } else { domain.as_ptr() },
            level: LEVEL_NTLMSSP,
            num_blobs: blobs.len(),
            blobs: blobs.as_mut_ptr(),
        };
        let mut info = Owned::none(self.library);
        let mut error = Owned::none(self.library);
        let (info_place, error_place) = (&raw mut info.value, &raw mut error.value);
        let cache = self.library.credential_cache;
        // SAFETY: the context is live, the strings and blobs are readable during the call, both places are writable.
        let code = unsafe { cache(self.context.as_ptr(), &raw mut params, info_place, error_place) };
        if code == SUCCESS { Ok(info) } else { Err(self.failure(code, &error)) }
    }
}

impl Account {
    /// The account that `info` describes. The keys in `info` are wiped.
    ///
    /// # Safety
    /// libwbclient has filled `info`: its strings are NULL or C strings, and it has as many SIDs as it says.
    unsafe fn take(info: &mut AuthUserInfo) -> Result<Self, Failure> {
        let mut account = Self::default();
        account.session_key.copy_from_slice(&info.user_session_key);
        account.lm_hash.iter_mut().zip(&info.lm_session_key).for_each(|(to, from)| *to = *from);
        info.user_session_key.zeroize();
        info.lm_session_key.zeroize();
        account.is_guest = info.user_flags & GUEST != 0;
        for (place, value) in [(&mut account.user, info.account_name), (&mut account.domain, info.domain_name)] {
            // SAFETY: the caller promises NULL or a C string.
            *place = unsafe { name(value) };
        }
        for (place, value) in [
            (&mut account.full_name, info.full_name),
            (&mut account.user_principal_name, info.user_principal),
            (&mut account.dns_domain, info.dns_domain_name),
            (&mut account.logon_server, info.logon_server),
        ] {
            // SAFETY: the caller promises NULL or a C string.
            *place = unsafe { text(value) };
        }
        let count = usize::try_from(info.num_sids).unwrap_or(usize::MAX);
        for at in 0..if info.sids.is_null() { 0 } else { count } {
            // SAFETY: the caller promises that many SIDs.
            let place = unsafe { info.sids.add(at) };
            // SAFETY: as above.
            let sid = unsafe { place.read() }.sid;
            account.sids.push(sid.to_text().ok_or(Failure::OddReply("it has a SID that is none"))?);
        }
        Ok(account)
    }
}

/// A name from libwbclient; empty if it is NULL, or not UTF-8: with its wrong bytes replaced it could be another's name.
///
/// # Safety
/// `string` is NULL or a C string.
unsafe fn name(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller promises a C string, and it is not NULL.
    unsafe { CStr::from_ptr(string) }.to_str().unwrap_or_default().to_owned()
}

/// A text from libwbclient; empty if it is NULL.
///
/// # Safety
/// `string` is NULL or a C string.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller promises a C string, and it is not NULL.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        mem::offset_of,
        process::{Command, Stdio},
    };

    use super::*;

    /// Assertions in C that a structure of wbclient.h has the size of ours, and its members of these names the places of ours.
    macro_rules! same_layout {
        ($theirs:ident, $ours:ident: $($($member:ident).+),+) => {
            [
                asserted(format_args!("sizeof(struct {}) == {}", stringify!($theirs), size_of::<$ours>())),
                $(same_place!($theirs, stringify!($($member).+), $ours, $($member).+)),+
            ]
            .concat()
        };
    }

    macro_rules! same_place {
        ($theirs:ident, $place:expr, $ours:ident, $($member:ident).+) => {
            asserted(format_args!(
                "offsetof(struct {}, {}) == {}",
                stringify!($theirs),
                $place,
                offset_of!($ours, $($member).+)
            ))
        };
    }

    fn asserted(claim: std::fmt::Arguments<'_>) -> String {
        format!("_Static_assert({claim}, \"{claim}\");\n")
    }

    #[test]
    #[ignore = "it needs a C compiler (cc, or what $CC names) and Debian's libwbclient-dev"]
    fn every_structure_and_number_is_that_of_the_header() {
        let allowed = "(WBC_MSV1_0_ALLOW_SERVER_TRUST_ACCOUNT | WBC_MSV1_0_ALLOW_WORKSTATION_TRUST_ACCOUNT)";
        let numbers = [
            ("WBC_ERR_SUCCESS", i64::from(SUCCESS)),
            ("WBC_ERR_WINBIND_NOT_AVAILABLE", i64::from(WINBIND_NOT_AVAILABLE)),
            ("WBC_LOOKUP_DC_RETURN_DNS_NAME", i64::from(RETURN_DNS_NAME)),
            ("WBC_AUTH_USER_LEVEL_RESPONSE", i64::from(LEVEL_RESPONSE)),
            ("WBC_AUTH_USER_INFO_GUEST", i64::from(GUEST)),
            ("WBC_CREDENTIAL_CACHE_LEVEL_NTLMSSP", i64::from(LEVEL_NTLMSSP)),
            (allowed, i64::from(ALLOW_COMPUTERS)),
        ];
        let program = [
            numbers.map(|(name, ours)| asserted(format_args!("{name} == {ours}"))).concat(),
            same_layout!(wbcInterfaceDetails, InterfaceDetails: interface_version, winbind_version, winbind_separator,
                netbios_name, netbios_domain, dns_domain),
            same_layout!(wbcDomainControllerInfoEx, DomainControllerInfo: dc_unc, dc_address, dc_address_type, domain_guid,
                domain_name, forest_name, dc_flags, dc_site_name, client_site_name),
            same_layout!(wbcAuthUserParams, AuthUserParams: account_name, domain_name, workstation_name, flags,
                parameter_control, level, password.response.challenge, password.response.nt_length,
                password.response.nt_data, password.response.lm_length, password.response.lm_data),
            same_layout!(wbcAuthUserInfo, AuthUserInfo: user_flags, account_name, user_principal, full_name, domain_name,
                dns_domain_name, acct_flags, user_session_key, lm_session_key, logon_count, bad_password_count,
                logon_server, logon_script, profile_path, home_directory, home_drive, num_sids, sids),
            same_place!(wbcAuthUserInfo, "logon_time", AuthUserInfo, times),
            same_layout!(wbcSidWithAttr, SidWithAttr: sid, attributes),
            same_layout!(wbcDomainSid, Sid: sid_rev_num, num_auths, id_auth, sub_auths),
            same_layout!(wbcAuthErrorInfo, AuthErrorInfo: nt_status, nt_string, pam_error, display_string, authoritative),
            same_layout!(wbcCredentialCacheParams, CredentialCacheParams: account_name, domain_name, level, num_blobs, blobs),
            same_layout!(wbcNamedBlob, NamedBlob: name, flags),
            same_place!(wbcNamedBlob, "blob.data", NamedBlob, data),
            same_place!(wbcNamedBlob, "blob.length", NamedBlob, length),
            same_layout!(wbcCredentialCacheInfo, CredentialCacheInfo: num_blobs, blobs),
        ]
        .concat();

        #[expect(clippy::disallowed_methods, reason = "the compiler of the architecture that the test is built for")]
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut child = Command::new(compiler)
            .args(["-std=gnu11", "-fsyntax-only", "-I/usr/include/samba-4.0", "-xc", "-"])
            .args(
                ["stdbool.h", "stddef.h", "stdint.h", "time.h", "wbclient.h"].map(|header| format!("-include{header}")),
            )
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "the compiler has said what differs");
    }
}
