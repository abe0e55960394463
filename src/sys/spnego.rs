//! The SPNEGO that calls us. The one of krb5 1.21.0 to 1.22.1 loses the mechListMIC of a NegTokenResp, so that a handshake inside
//! it fails if the AUTHENTICATE_MESSAGE has a MIC (RFC 4178 5, [MS-SPNG] 3.3.5.1). Distributions repair it without changing the
//! version, so we find out what the library does.

use core::{
    cell::Cell,
    ffi::{CStr, c_void},
    mem::transmute,
    ptr::null_mut,
    sync::atomic::{AtomicU8, Ordering},
};

use libgssapi_sys as g;

use super::System;
use crate::host::Host as _;

/// Whether the SPNEGO of this process loses the mechListMIC. The first call finds out.
pub(super) fn loses_mech_list_mic() -> bool {
    match FOUND.load(Ordering::Relaxed) {
        SOUND => false,
        LOSES => true,
        _ => probe(),
    }
}

/// Whether this call came through an SPNEGO that loses the mechListMIC. If the stack does not tell: whether it may have come so.
pub(super) fn is_called_by_lossy_spnego() -> bool {
    if matches!(FOUND.load(Ordering::Relaxed), NO_SPNEGO | SOUND) {
        return false;
    }
    match stack::is_in_spnego() {
        Some(is_in_spnego) => is_in_spnego && loses_mech_list_mic(),
        None if loses_mech_list_mic() => {
            System.log(format_args!(
                "This krb5 loses the mechListMIC of SPNEGO, and on this processor NTLM servers cannot see whether SPNEGO calls \
                 them, so they ask no client for a MIC: update krb5"
            ));
            true
        }
        None => false,
    }
}

/// Whether this call came through SPNEGO; `None` if it may have and the stack does not tell.
pub(super) fn is_called_by_spnego() -> Option<bool> {
    if FOUND.load(Ordering::Relaxed) == NO_SPNEGO { Some(false) } else { stack::is_in_spnego() }
}

/// Notes that SPNEGO has asked a question that only SPNEGO asks. Before its first question it makes no other call.
pub(crate) fn note() {
    let _ = FOUND.compare_exchange(NO_SPNEGO, UNKNOWN, Ordering::Relaxed, Ordering::Relaxed);
}

/// Whether this thread is finding out. If so, the C edge answers at once, without a credential.
pub(crate) fn is_probing() -> bool {
    IS_PROBING.get()
}

thread_local! {
    static IS_PROBING: Cell<bool> = const { Cell::new(false) };
}

const NO_SPNEGO: u8 = 0;
const UNKNOWN: u8 = 1;
const SOUND: u8 = 2;
const LOSES: u8 = 3;
/// There is no lock: threads that find out at the same time find the same, and a forked child waits for no thread.
static FOUND: AtomicU8 = AtomicU8::new(NO_SPNEGO);

fn probe() -> bool {
    IS_PROBING.set(true);
    let loses = mechglue().and_then(|mechglue| mechglue.loses_mech_list_mic());
    IS_PROBING.set(false);
    System.trace(format_args!(
        "SPNEGO: {}",
        match loses {
            Some(true) => "this libgssapi_krb5 loses the mechListMIC (krb5 1.21.0 to 1.22.1 do): no MIC inside SPNEGO",
            Some(false) => "this libgssapi_krb5 keeps the mechListMIC",
            None => "it is not clear whether this libgssapi_krb5 keeps the mechListMIC; we assume that it does",
        }
    ));
    let loses = loses == Some(true);
    FOUND.store(if loses { LOSES } else { SOUND }, Ordering::Relaxed);
    loses
}

type Accept = unsafe extern "C" fn(
    *mut g::OM_uint32,
    *mut g::gss_ctx_id_t,
    g::gss_cred_id_t,
    g::gss_buffer_t,
    g::gss_channel_bindings_t,
    *mut g::gss_name_t,
    *mut g::gss_OID,
    g::gss_buffer_t,
    *mut g::OM_uint32,
    *mut g::OM_uint32,
    *mut g::gss_cred_id_t,
) -> g::OM_uint32;
type Delete = unsafe extern "C" fn(*mut g::OM_uint32, *mut g::gss_ctx_id_t, g::gss_buffer_t) -> g::OM_uint32;

/// Functions of the mechglue. We export functions of the same names, so they are looked up in its library.
struct Mechglue {
    accept: Accept,
    delete: Delete,
}

fn mechglue() -> Option<Mechglue> {
    let accept = of_mechglue(c"gss_accept_sec_context")?;
    let delete = of_mechglue(c"gss_delete_sec_context")?;
    Some(Mechglue {
        // SAFETY: the function of this name has the signature of the library's header.
        accept: unsafe { transmute::<*mut c_void, Accept>(accept) },
        // SAFETY: as above.
        delete: unsafe { transmute::<*mut c_void, Delete>(delete) },
    })
}

fn of_mechglue(name: &CStr) -> Option<*mut c_void> {
    // This loads nothing: we are linked to this library, so it stays.
    // SAFETY: the name is a C string.
    let library = unsafe { libc::dlopen(c"libgssapi_krb5.so.2".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if library.is_null() {
        return None;
    }
    // SAFETY: `library` is an open handle, and the name a C string.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    // SAFETY: the handle is from the dlopen above.
    unsafe { libc::dlclose(library) };
    if found.is_null() { None } else { Some(found) }
}

/// A NegTokenInit for NTLM, with the first eight bytes of its messages as the token.
const INIT: &[u8] =
    b"\x60\x28\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x1e\x30\x1c\xa0\x0e\x30\x0c\x06\x0a\x2b\x06\x01\x04\x01\
    \x82\x37\x02\x02\x0a\xa2\x0a\x04\x08NTLMSSP\0";
/// A NegTokenResp that has only a mechListMIC. Without it the token is empty, which is an error.
const MIC_ALONE: &[u8] = b"\xa1\x16\x30\x14\xa3\x12\x04\x100123456789abcdef";

impl Mechglue {
    /// Whether a mechListMIC is lost; `None` if the acceptor does not get that far.
    fn loses_mech_list_mic(&self) -> Option<bool> {
        let mut context = null_mut();
        let answer = match self.step(&mut context, INIT) {
            g::_GSS_S_CONTINUE_NEEDED => match self.step(&mut context, MIC_ALONE) {
                g::_GSS_S_CONTINUE_NEEDED => Some(false),
                g::_GSS_S_DEFECTIVE_TOKEN => Some(true),
                _ => None,
            },
            _ => None,
        };
        if !context.is_null() {
            // SAFETY: the mechglue has put the context there, and only this code has it.
            unsafe { (self.delete)(&mut 0, &raw mut context, null_mut()) };
        }
        answer
    }

    fn step(&self, context: &mut g::gss_ctx_id_t, token: &[u8]) -> g::OM_uint32 {
        let mut input = g::gss_buffer_desc { length: token.len(), value: token.as_ptr().cast_mut().cast() };
        let mut output = g::gss_buffer_desc { length: 0, value: null_mut() };
        // SAFETY: the token is only read. The places that RFC 2744 5.1 requires are writable; the others may be NULL.
        let major = unsafe {
            (self.accept)(
                &mut 0,
                context,
                null_mut(),
                &raw mut input,
                null_mut(),
                null_mut(),
                null_mut(),
                &raw mut output,
                null_mut(),
                null_mut(),
                null_mut(),
            )
        };
        // SAFETY: the mechglue has filled `output`. We export no function of this name, so this calls the library's.
        unsafe { g::gss_release_buffer(&mut 0, &raw mut output) };
        major
    }
}

/// What the stack tells.
#[cfg(not(target_arch = "arm"))]
mod stack {
    use core::{
        ffi::{c_int, c_void},
        ops::Range,
        slice,
    };

    use crate::sys::once_box::OnceBox;

    /// Whether this call came through SPNEGO: then the mechglue's library called itself before it called us. `None` if the stack
    /// does not tell. The walk stops at the first frame of the program.
    pub(super) fn is_in_spnego() -> Option<bool> {
        let mut walk = Walk { modules: modules()?, waiting: 0, is_at_program: false };
        // SAFETY: `each` expects a `Walk`.
        unsafe { _Unwind_Backtrace(each, (&raw mut walk).cast()) };
        verdict(walk.waiting, walk.is_at_program)
    }

    /// What a walk has found. A walk that ends inside the mechglue's library, which may have no unwind tables, does not tell what
    /// called that library.
    const fn verdict(waiting: usize, is_at_program: bool) -> Option<bool> {
        match (waiting, is_at_program) {
            (2.., _) => Some(true),
            (1, true) => Some(false),
            (0, _) | (1, false) => None,
        }
    }

    unsafe extern "C" {
        /// See the C++ ABI for exception handling, level 1. libgcc_s has it.
        fn _Unwind_Backtrace(each: extern "C" fn(*mut c_void, *mut c_void) -> c_int, walk: *mut c_void) -> c_int;
        fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    }

    struct Walk {
        modules: &'static Modules,
        /// How many functions of the mechglue's library are on the stack.
        waiting: usize,
        /// Whether the walk has reached the caller of that library.
        is_at_program: bool,
    }

    extern "C" fn each(frame: *mut c_void, walk: *mut c_void) -> c_int {
        /// _URC_NO_REASON.
        const GO_ON: c_int = 0;
        /// _URC_NORMAL_STOP.
        const STOP: c_int = 4;
        // SAFETY: `frame` is the frame that the walk has reached.
        let address = unsafe { _Unwind_GetIP(frame) };
        // SAFETY: `is_in_spnego` has passed a `Walk`, and uses it only after the walk.
        let walk = unsafe { &mut *walk.cast::<Walk>() };
        if walk.modules.mechglue.contains(&address) {
            walk.waiting = walk.waiting.saturating_add(1);
            GO_ON
        } else if walk.modules.ours.contains(&address) && walk.waiting == 0 {
            GO_ON
        } else {
            walk.is_at_program = true;
            STOP
        }
    }

    /// The addresses of our library and of the mechglue's. Neither is ever unloaded.
    struct Modules {
        ours: Range<usize>,
        mechglue: Range<usize>,
    }

    fn modules() -> Option<&'static Modules> {
        static FOUND: OnceBox<Modules> = OnceBox::new();
        if let Some(found) = FOUND.get() {
            return Some(found);
        }
        let mechglue = super::of_mechglue(c"gss_accept_sec_context")?;
        let found = Modules { ours: module_of((&raw const FOUND).addr())?, mechglue: module_of(mechglue.addr())? };
        Some(FOUND.set(found))
    }

    /// The addresses of the module that contains this one.
    fn module_of(address: usize) -> Option<Range<usize>> {
        let mut search = Search { address, found: None };
        // SAFETY: `look` expects a `Search`.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        search.found
    }

    struct Search {
        address: usize,
        found: Option<Range<usize>>,
    }

    unsafe extern "C" fn look(module: *mut libc::dl_phdr_info, _size: usize, search: *mut c_void) -> c_int {
        // SAFETY: dl_iterate_phdr passes the description of a module, which is valid during this call.
        let module = unsafe { &*module };
        // SAFETY: `module_of` has passed a `Search`, and uses it only afterwards.
        let search = unsafe { &mut *search.cast::<Search>() };
        if module.dlpi_phdr.is_null() {
            return 0;
        }
        // SAFETY: the module has that many headers.
        let headers = unsafe { slice::from_raw_parts(module.dlpi_phdr, usize::from(module.dlpi_phnum)) };
        let base = usize::try_from(module.dlpi_addr).unwrap_or_default();
        let segments = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(|header| {
            let start = base.wrapping_add(usize::try_from(header.p_vaddr).unwrap_or_default());
            start..start.wrapping_add(usize::try_from(header.p_memsz).unwrap_or_default())
        });
        let whole = segments.reduce(|whole, part| whole.start.min(part.start)..whole.end.max(part.end));
        search.found = whole.filter(|whole| whole.contains(&search.address));
        c_int::from(search.found.is_some())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_walk_that_does_not_reach_the_program_tells_nothing() {
            assert_eq!(verdict(0, true), None, "no mechglue on the stack");
            assert_eq!([verdict(1, true), verdict(1, false)], [Some(false), None]);
            assert_eq!([verdict(2, true), verdict(2, false)], [Some(true); 2], "two calls are enough");
        }

        #[test]
        fn a_call_without_a_mechglue_says_nothing_about_spnego() {
            assert_eq!(is_in_spnego(), None);
        }
    }
}

/// What the stack tells: nothing, because the libraries of this architecture have no unwind tables.
#[cfg(target_arch = "arm")]
mod stack {
    pub(super) const fn is_in_spnego() -> Option<bool> {
        None
    }
}
