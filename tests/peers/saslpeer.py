"""One party of Cyrus SASL as a process: a client or server of libsasl2's mechanism GSS-SPNEGO, with its security layer.

The library has no Python module, so it is called with ctypes.
"""

import ctypes

import gsspeer
from peerloop import decode, encode, serve

OK, CONTINUE = 0, 1
# Properties of a connection, flags of a new connection, and kinds of callbacks (sasl.h).
USERNAME, SSF, CHANNEL_BINDING, HTTP_REQUEST, SEC_PROPS = 0, 1, 21, 22, 101
NEED_HTTP = 0x10
CB_LIST_END, CB_LOG = 0, 2
SERVICE = b"host"
HOST = b"localhost"
MECHANISM = b"GSS-SPNEGO"


# The structures of sasl.h.


class Properties(ctypes.Structure):
    _fields_ = [
        ("min_ssf", ctypes.c_uint), ("max_ssf", ctypes.c_uint), ("maxbufsize", ctypes.c_uint),
        ("security_flags", ctypes.c_uint), ("names", ctypes.c_void_p), ("values", ctypes.c_void_p),
    ]


class ChannelBinding(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("critical", ctypes.c_int), ("length", ctypes.c_ulong), ("data", ctypes.c_char_p)]


class HttpRequest(ctypes.Structure):
    _fields_ = [
        ("method", ctypes.c_char_p), ("uri", ctypes.c_char_p), ("entity", ctypes.c_char_p), ("length", ctypes.c_ulong),
        ("non_persist", ctypes.c_uint),
    ]


class Callback(ctypes.Structure):
    _fields_ = [("id", ctypes.c_ulong), ("call", ctypes.c_void_p), ("context", ctypes.c_void_p)]


Log = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)


class SaslError(Exception):
    """An unsuccessful result of libsasl2, and its text."""


def describe(error):
    code, name, text = error.args
    return {"major": name, "status": code, "minor": 0, "text": text}


class Connection:
    """A connection of either side, and the objects that must live as long."""

    def __init__(self, role, handle):
        self.role, self.handle, self.kept = role, handle, []
        self.started = False


class Party:
    """The state of one process; every public method is a command."""

    def __init__(self):
        self.connections = {}
        self.said = []
        self.sasl = ctypes.CDLL("libsasl2.so.2")
        self.sasl.sasl_errdetail.restype = self.sasl.sasl_errstring.restype = ctypes.c_char_p
        self.log_call = Log(lambda context, level, text: self.said.append(text.decode(errors="replace")) or OK)
        log = Callback(CB_LOG, ctypes.cast(self.log_call, ctypes.c_void_p), None)
        self.callbacks = (Callback * 2)(log, Callback(CB_LIST_END, None, None))
        self.checked(self.sasl.sasl_client_init(self.callbacks))
        self.checked(self.sasl.sasl_server_init(self.callbacks, b"gss-ntlm-peer"))

    def checked(self, code, connection=None):
        if code in (OK, CONTINUE):
            return code
        name = self.sasl.sasl_errstring(code, None, None).decode()
        text = self.sasl.sasl_errdetail(connection.handle).decode(errors="replace") if connection else name
        raise SaslError(code, name, text)

    def hello(self, plugin):
        # The mechanism in this process is the plugin: libsasl2's plugin and python-gssapi use the same mechglue.
        return gsspeer.hello(plugin)

    def new(self, context, role, properties={}, binding=None, http=False):
        """Make a connection of `role` client or server; `properties` are those of sasl_security_properties_t."""
        handle = ctypes.c_void_p()
        flags = NEED_HTTP if http else 0
        if role == "client":
            code = self.sasl.sasl_client_new(SERVICE, HOST, None, None, None, flags, ctypes.byref(handle))
        else:
            code = self.sasl.sasl_server_new(SERVICE, HOST, None, None, None, None, flags, ctypes.byref(handle))
        self.checked(code)
        made = self.connections[context] = Connection(role, handle)
        self.set(made, SEC_PROPS, Properties(**{"max_ssf": 2**32 - 1, "maxbufsize": 65536, **properties}))
        if binding:
            binding = decode(binding)
            self.set(made, CHANNEL_BINDING, ChannelBinding(b"tls-server-end-point", False, len(binding), binding))
        if http:
            self.set(made, HTTP_REQUEST, HttpRequest(b"GET", b"/", b"", 0, 0))
        return {}

    def set(self, connection, number, value):
        connection.kept.append(value)
        self.checked(self.sasl.sasl_setprop(connection.handle, number, ctypes.byref(value)), connection)

    def step(self, context, token=None):
        """`token` is None before the other side has sent anything."""
        connection = self.connections[context]
        given = decode(token) or b""
        out, length = ctypes.c_void_p(), ctypes.c_uint()
        answer = (ctypes.byref(out), ctypes.byref(length))
        sasl, handle = self.sasl, connection.handle
        if connection.role == "client" and not connection.started:
            code = sasl.sasl_client_start(handle, MECHANISM, None, *answer, ctypes.byref(ctypes.c_char_p()))
        elif connection.role == "client":
            code = sasl.sasl_client_step(handle, given, len(given), None, *answer)
        elif not connection.started:
            code = sasl.sasl_server_start(handle, MECHANISM, given, len(given), *answer)
        else:
            code = sasl.sasl_server_step(handle, given, len(given), *answer)
        connection.started = True
        code = self.checked(code, connection)
        return {"token": encode(ctypes.string_at(out, length.value) if out else b""), "more": code == CONTINUE}

    def properties(self, context):
        connection = self.connections[context]
        name, strength = ctypes.c_char_p(), ctypes.POINTER(ctypes.c_uint)()
        for number, value in ((USERNAME, name), (SSF, strength)):
            self.checked(self.sasl.sasl_getprop(connection.handle, number, ctypes.byref(value)), connection)
        return {"user": name.value.decode(), "ssf": strength.contents.value}

    def layer(self, call, context, data):
        data = decode(data)
        out, length = ctypes.c_void_p(), ctypes.c_uint()
        connection = self.connections[context]
        self.checked(call(connection.handle, data, len(data), ctypes.byref(out), ctypes.byref(length)), connection)
        return {"data": encode(ctypes.string_at(out, length.value) if length.value else b"")}

    def wrap(self, context, data):
        return self.layer(self.sasl.sasl_encode, context, data)

    def unwrap(self, context, data):
        return self.layer(self.sasl.sasl_decode, context, data)

    def log(self):
        """What the library has logged since the last call."""
        said, self.said = self.said, []
        return {"lines": said}

    def drop(self, context):
        self.sasl.sasl_dispose(ctypes.byref(self.connections.pop(context).handle))
        return {}


if __name__ == "__main__":
    serve(Party(), SaslError, describe)
