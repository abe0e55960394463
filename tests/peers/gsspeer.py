"""One GSS-API party as a process.

One process cannot have two mechanisms with the same OID. Therefore each side of a conversation is a process with its own
GSS_MECH_CONFIG. Credentials and contexts stay in it; commands refer to them by names.
"""

import contextlib
import ctypes
import os
import socket
import sys
import threading

import gssapi.raw as gss
from gssapi.raw import sec_contexts

from peerloop import answer, decode, encode, serve

NTLM = gss.OID.from_int_seq("1.3.6.1.4.1.311.2.2.10")
SPNEGO = gss.OID.from_int_seq("1.3.6.1.5.5.2")
MECHANISMS = {"ntlm": NTLM, "spnego": SPNEGO}
MECH_CONCRETE = "1.3.6.1.5.5.13.1"
SESSION_KEY = gss.OID.from_int_seq("1.2.840.113554.1.2.2.5.5")
SASL_SSF = gss.OID.from_int_seq("1.2.840.113554.1.2.2.5.15")
DEBUG = gss.OID.from_int_seq("1.3.6.1.4.1.7165.655.1.4")
NEG_FLAGS = gss.OID.from_int_seq("1.3.6.1.4.1.7165.655.1.5")
SET_SEQ_NUM = gss.OID.from_int_seq("1.3.6.1.4.1.7165.655.1.1")

ROUTINE_ERRORS = (
    "COMPLETE BAD_MECH BAD_NAME BAD_NAMETYPE BAD_BINDINGS BAD_STATUS BAD_MIC NO_CRED NO_CONTEXT DEFECTIVE_TOKEN "
    "DEFECTIVE_CREDENTIAL CREDENTIALS_EXPIRED CONTEXT_EXPIRED FAILURE BAD_QOP UNAUTHORIZED UNAVAILABLE "
    "DUPLICATE_ELEMENT NAME_NOT_MN"
).split()


def display(name):
    """The displayed name; None for GSS_C_NO_NAME, for which python-gssapi returns a Name that cannot be read."""
    try:
        return None if name is None else gss.display_name(name, name_type=False).name.decode()
    except gss.NameReadError:
        return None


def bindings(application_data, addresses=None):
    """`addresses`: the IPv4 addresses of the initiator and the acceptor."""
    if application_data is None:
        return None
    made = gss.ChannelBindings(application_data=decode(application_data))
    if addresses:
        made.initiator_address_type = made.acceptor_address_type = gss.AddressType.ip
        made.initiator_address, made.acceptor_address = map(socket.inet_aton, addresses)
    return made


def describe(error):
    """A GSSError as plain data. A major status that is only a calling error is given by its number instead of a name."""
    routine = (error.maj_code >> 16) & 0xFF
    name = ROUTINE_ERRORS[routine] if 0 < routine < len(ROUTINE_ERRORS) else hex(error.maj_code)
    texts = error.get_all_statuses(error.maj_code, True) + error.get_all_statuses(error.min_code, False)
    return {"major": name, "status": error.maj_code, "minor": error.min_code, "text": "; ".join(texts)}


def mapped(wanted):
    """The files in this process's memory map whose paths contain `wanted`."""
    with open("/proc/self/maps") as maps:
        return sorted({line.split(maxsplit=5)[5].strip() for line in maps if wanted in line and "/" in line})


class _DlInfo(ctypes.Structure):
    _fields_ = [
        ("fname", ctypes.c_char_p),
        ("fbase", ctypes.c_void_p),
        ("sname", ctypes.c_char_p),
        ("saddr", ctypes.c_void_p),
    ]


def owner_of_gss_calls():
    """The library in which python-gssapi's call of gss_init_sec_context ends: it must be the mechglue."""
    calls = ctypes.CDLL(sec_contexts.__file__)
    info = _DlInfo()
    dladdr = ctypes.CDLL(None).dladdr
    if not dladdr(ctypes.cast(calls.gss_init_sec_context, ctypes.c_void_p), ctypes.byref(info)):
        raise RuntimeError("gss_init_sec_context is in no library")
    return os.path.basename(info.fname.decode())


class _Buffer(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("value", ctypes.c_char_p)]


class _Oid(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("elements", ctypes.c_char_p)]


def c_oid(oid):
    return ctypes.byref(_Oid(len(bytes(oid)), bytes(oid)))


def mech_invoke(oid, value):
    """Calls gssspi_mech_invoke, which python-gssapi does not have."""
    minor = ctypes.c_uint32()
    major = ctypes.CDLL("libgssapi_krb5.so.2").gssspi_mech_invoke(
        ctypes.byref(minor), c_oid(NTLM), c_oid(oid), ctypes.byref(_Buffer(len(value), value))
    )
    if major:
        raise RuntimeError("gssspi_mech_invoke: major %#x, minor %#x" % (major & 0xFFFFFFFF, minor.value))


def hello(plugin):
    """Load the mechanism and check that it came from the file `plugin`; otherwise a test could pass with another plugin."""
    by_attributes = gss.indicate_mechs_by_attrs(None, None, None)
    if NTLM not in by_attributes:
        raise RuntimeError("the mechglue did not load an NTLM mechanism from " + plugin)
    owner = owner_of_gss_calls()
    if not owner.startswith("libgssapi_krb5.so"):
        raise RuntimeError("gss_init_sec_context comes from " + owner)
    real = os.path.realpath(plugin)
    if real not in mapped(os.path.basename(real)):
        raise RuntimeError(real + " is not in the memory map")
    known = {"libgss_ntlm.so", "gssntlmssp.so"} - {os.path.basename(real)}
    strangers = [path for name in known for path in mapped("/" + name)]
    if strangers:
        raise RuntimeError("another NTLM mechanism is loaded: " + ", ".join(strangers))
    # The mechglue accepts any library as a mechanism; only one that answers is a mechanism.
    attributes = sorted(oid.dotted_form for oid in gss.inquire_attrs_for_mech(NTLM).mech_attrs)
    if MECH_CONCRETE not in attributes:
        raise RuntimeError(real + " has no mechanism attributes")
    return {"library": real, "attributes": attributes}


class Party:
    """The state of one process; every public method is a command."""

    def __init__(self):
        self.creds = {}
        self.contexts = {}

    def hello(self, plugin):
        return hello(plugin)

    def acquire(self, cred, usage, user=None, password=None, store=None, mech="ntlm", neg=None, service=None):
        """`service` names an acceptor, `user` an initiator."""
        name = None if user is None else gss.import_name(user.encode(), gss.NameType.user)
        name = gss.import_name(service.encode(), gss.NameType.hostbased_service) if service else name
        mechs = [MECHANISMS[mech]]
        if password is not None:
            # With Python's surrogateescape a test can give a password that is not UTF-8.
            secret = password.encode("utf-8", "surrogateescape")
            acquired = gss.acquire_cred_with_password(name, secret, mechs=mechs, usage=usage)
        elif store is not None:
            pairs = {key.encode(): value.encode() for key, value in store.items()}
            acquired = gss.acquire_cred_from(pairs, name, mechs=mechs, usage=usage)
        else:
            acquired = gss.acquire_cred(name, mechs=mechs, usage=usage)
        if neg:
            gss.set_neg_mechs(acquired.creds, [MECHANISMS[one] for one in neg])
        self.creds[cred] = acquired.creds
        return {}

    def set_neg_flags(self, cred, flags):
        """Set what the initiator `cred` offers in place of the mechanism's own choice."""
        gss.set_cred_option(NEG_FLAGS, self.creds[cred], flags.to_bytes(4, sys.byteorder))
        return {}

    def trace(self, path):
        """Trace to this file from now on; an empty name stops the trace."""
        mech_invoke(DEBUG, path.encode())
        return {}

    def inquire_cred(self, cred):
        found = gss.inquire_cred_by_mech(self.creds[cred], NTLM)
        return {"name": display(found.name), "usage": found.usage}

    def init(self, context, flags, cred=None, target=None, mech="ntlm", binding=None, token=None):
        service = gss.import_name((target or "host@localhost").encode(), gss.NameType.hostbased_service)
        # Keep the context object even if this step fails, as an application would: the next call must then get an error,
        # not crash.
        slot = self.contexts.setdefault(context, gss.SecurityContext())
        step = gss.init_sec_context(
            service,
            self.creds[cred] if cred else None,
            slot,
            MECHANISMS[mech],
            gss.IntEnumFlagSet(gss.RequirementFlag, flags),
            channel_bindings=bindings(binding),
            input_token=decode(token),
        )
        return {"token": encode(step.token), "more": step.more_steps, "flags": int(step.flags)}

    def accept(self, context, token, cred=None, binding=None, addresses=None):
        slot = self.contexts.setdefault(context, gss.SecurityContext())
        step = gss.accept_sec_context(
            decode(token), self.creds[cred] if cred else None, slot, bindings(binding, addresses)
        )
        return {
            "token": encode(step.token),
            "more": step.more_steps,
            "flags": int(step.flags),
            "source": display(step.initiator_name),
        }

    def set_seq_num(self, context, number):
        """Set the sequence number of all messages of a connectionless context, in both directions."""
        gss.set_sec_context_option(SET_SEQ_NUM, self.contexts[context], number.to_bytes(4, sys.byteorder))
        return {}

    def source(self, context):
        """The initiator of an established context, with all of its attributes: {attribute: [value, ...]}."""
        name = gss.inquire_context(self.contexts[context], initiator_name=True, target_name=False).initiator_name
        attributes = {
            key.decode(): [value.decode() for value in gss.get_name_attribute(name, key).values]
            for key in gss.inquire_name(name).attrs
        }
        return {"name": display(name), "attributes": attributes}

    def local_name(self, context):
        """The account on this computer that the initiator stands for, as gss_userok asks for it through SPNEGO."""
        name = gss.inquire_context(self.contexts[context], initiator_name=True, target_name=False).initiator_name
        (value,) = gss.get_name_attribute(name, b"local-login-user").values
        return {"name": value.decode()}

    def canonicalize(self, name, kind="user"):
        """What the mechanism makes of a name of this type."""
        imported = gss.import_name(name.encode(), getattr(gss.NameType, kind))
        return {"name": display(gss.canonicalize_name(imported, NTLM))}

    def account(self, user):
        """The account on this computer that this user stands for."""
        name = gss.canonicalize_name(gss.import_name(user.encode(), gss.NameType.user), NTLM)
        (value,) = gss.get_name_attribute(name, b"local-login-user").values
        return {"account": value.decode()}

    def descriptors(self, path):
        """How many descriptors of this process are of that file."""
        found = 0
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                found += os.readlink("/proc/self/fd/" + number) == path
        return {"count": found}

    def maps(self, library):
        """Whether this process has opened a library of that name."""
        return {"open": bool(mapped(library))}

    def export_cred(self, cred):
        return {"token": encode(gss.export_cred(self.creds[cred]))}

    def import_cred(self, cred, token):
        self.creds[cred] = gss.import_cred(decode(token))
        return {}

    def wrap(self, context, data, conf=True):
        wrapped = gss.wrap(self.contexts[context], decode(data), conf)
        return {"data": encode(wrapped.message), "conf": wrapped.encrypted}

    def unwrap(self, context, data):
        plain = gss.unwrap(self.contexts[context], decode(data))
        return {"data": encode(plain.message), "conf": plain.encrypted}

    def get_mic(self, context, data):
        return {"mic": encode(gss.get_mic(self.contexts[context], decode(data)))}

    def verify_mic(self, context, data, mic):
        gss.verify_mic(self.contexts[context], decode(data), decode(mic))
        return {}

    def wrap_iov(self, context, data, before, after):
        """Seal `data` between two buffers that are only signed; the answer has the signature as `mic`."""
        message = self.message(None, data, before, after)
        gss.wrap_iov(self.contexts[context], message)
        return {"mic": encode(message[1].value), "data": encode(message[2].value)}

    def unwrap_iov(self, context, mic, data, before, after):
        message = self.message(decode(mic), data, before, after)
        gss.unwrap_iov(self.contexts[context], message)
        return {"data": encode(message[2].value)}

    @staticmethod
    def message(signature, data, before, after):
        kind = gss.IOVBufferType
        return gss.IOV(
            (kind.sign_only, decode(before)), (kind.header, not signature, signature), (kind.data, decode(data)),
            (kind.sign_only, decode(after)), std_layout=False,
        )

    def iov(self, context, call, buffers):
        """Make the IOV call of this name with `buffers`: each is a type with its bytes, or without bytes if the mechanism is to
        allocate the buffer. Answers with their contents afterwards."""
        message = gss.IOV(
            *((gss.IOVBufferType[kind], value is None, decode(value)) for kind, value in buffers), std_layout=False
        )
        getattr(gss, call)(self.contexts[context], message)
        return {"buffers": [encode(buffer.value or b"") for buffer in message]}

    def wrap_aead(self, context, data, beside):
        wrapped = gss.wrap_aead(self.contexts[context], decode(data), decode(beside))
        return {"data": encode(wrapped.message), "conf": wrapped.encrypted}

    def unwrap_aead(self, context, data, beside):
        plain = gss.unwrap_aead(self.contexts[context], decode(data), decode(beside))
        return {"data": encode(plain.message), "conf": plain.encrypted}

    def wrap_size_limit(self, context, size, conf=True):
        return {"size": gss.wrap_size_limit(self.contexts[context], size, conf)}

    def inquire(self, context, target=True):
        """`target`: whether to ask for the target name; not every mechanism has one on the accepting side."""
        found = gss.inquire_context(self.contexts[context], target_name=target)
        return {
            "initiator": display(found.initiator_name),
            "target": display(found.target_name),
            "mech": found.mech.dotted_form if found.mech else None,
            "flags": int(found.flags),
            "local": found.locally_init,
            "open": found.complete,
        }

    def session_key(self, context):
        return {"key": encode(gss.inquire_sec_context_by_oid(self.contexts[context], SESSION_KEY)[0])}

    def ssf(self, context):
        (value,) = gss.inquire_sec_context_by_oid(self.contexts[context], SASL_SSF)
        return {"ssf": int.from_bytes(value, "big")}

    def export(self, context):
        """Export a context; the handle no longer exists afterwards."""
        return {"token": encode(gss.export_sec_context(self.contexts.pop(context)))}

    def import_(self, context, token):
        self.contexts[context] = gss.import_sec_context(decode(token))
        return {}

    def become_nobody(self):
        """Drop root's rights. A process that starts without them may not even be able to read this program."""
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        return {}

    def drop(self, context=None, cred=None):
        self.contexts.pop(context, None)
        self.creds.pop(cred, None)
        return {}

    def together(self, lines):
        """Run the commands in these lines at the same time, each in its own thread; answers with all of their answers."""
        answers = [None] * len(lines)

        def run(at):
            answers[at] = answer(self, lines[at], gss.GSSError, describe)

        threads = [threading.Thread(target=run, args=(at,)) for at in range(len(lines))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"answers": answers}


if __name__ == "__main__":
    serve(Party(), gss.GSSError, describe)
