"""Extended Protection: handshakes in HTTP inside TLS, with channel bindings made from the server's certificate (RFC 5929's
tls-server-end-point), and an attacker in between who has another certificate.

The acceptor is ours. Its clients are ours, pyspnego and requests-ntlm, which have their own NTLM, and curl.
"""

import base64
import collections
import hashlib
import http.client
import http.server
import itertools
import os
import ssl
import subprocess
import threading

from harness import (
    ALICE, CHANNEL_BOUND, PASSWORD, PATIENCE, SIGNED,
    GssFailure, OneOfOurs, PeerTest, World, plugin, require_curl, require_module, require_program,
)

POLICIES = ("off", "when-sent", "required")
# The hash of a certificate's signature, and the hash of its tls-server-end-point.
DIGESTS = (("sha1", "sha256"), ("sha256", "sha256"), ("sha384", "sha384"), ("sha512", "sha512"))

Certificate = collections.namedtuple("Certificate", "path key binding")


def setUpModule():
    require_module("spnego", "pyspnego")
    require_module("requests_ntlm", "requests-ntlm")
    global spnego, requests, requests_ntlm, x509
    import requests
    import requests_ntlm
    import spnego.channel_bindings
    from cryptography import x509


def certificate(world, name, digest="sha256", hashed="sha256"):
    """A certificate for localhost, signed with `digest`, and its bindings, made with the hash `hashed`."""
    path, key = (os.path.join(world.path, name + suffix) for suffix in (".pem", ".key"))
    subprocess.run(
        [
            require_program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-" + digest, "-nodes", "-days", "1", "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:localhost",
            "-keyout", key, "-out", path,
        ],
        env=world.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=True,
    )
    with open(path) as file:
        der = ssl.PEM_cert_to_DER_cert(file.read())
    return Certificate(path, key, b"tls-server-end-point:" + hashlib.new(hashed, der).digest())


def binding_seen(connection):
    """The bindings that a client makes from the certificate that it sees."""
    der = connection.sock.getpeercert(binary_form=True)
    name = x509.load_der_x509_certificate(der).signature_hash_algorithm.name
    return b"tls-server-end-point:" + hashlib.new("sha256" if name in ("md5", "sha1") else name, der).digest()


def sent(binding):
    """The bindings as in a token: the MD5 of RFC 2744's structure, here without addresses."""
    return hashlib.md5(bytes(16) + len(binding).to_bytes(4, "little") + binding).digest()


def connect(port, trusted):
    return http.client.HTTPSConnection(
        "localhost", port, timeout=PATIENCE, context=ssl.create_default_context(cafile=trusted.path)
    )


def ask(connection, authorization):
    """The status, the offered schemes, and the body of an answer."""
    connection.request("GET", "/", headers={"Authorization": authorization} if authorization else {})
    with connection.getresponse() as answer:
        return answer.status, answer.headers.get_all("WWW-Authenticate") or [], answer.read()


class Talk(http.server.BaseHTTPRequestHandler):
    """One connection of a client, which the server answers."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    disable_nagle_algorithm = True

    def do_GET(self):
        status, offers, body = self.server.answer(self.client_address, self.headers.get("Authorization"))
        self.send_response(status)
        for offer in offers:
            self.send_header("WWW-Authenticate", offer)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class TlsServer(http.server.ThreadingHTTPServer):
    def __init__(self, certificate):
        super().__init__(("127.0.0.1", 0), Talk)
        self.certificate = certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.path, certificate.key)
        # The connection's thread does the TLS handshake.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Server(TlsServer):
    """Authenticates each connection with the party `acceptor` and its credential for the mechanism at hand; `binding` is what
    it gives as channel bindings."""

    def __init__(self, certificate, acceptor):
        self.acceptor, self.binding = acceptor, certificate.binding
        self.turn = threading.Lock()
        self.accepted, self.refused = [], []
        super().__init__(certificate)

    def answer(self, client, authorization):
        if not authorization:
            return 401, ["Negotiate", "NTLM"], b""
        scheme, _, token = authorization.partition(" ")
        context = "%s:%d" % client
        with self.turn:
            try:
                step = self.acceptor.accept(context=context, token=base64.b64decode(token), binding=self.binding)
                if not step["more"]:
                    step["attributes"] = self.acceptor.source(context=context)["attributes"]
                    self.accepted.append(step)
            except GssFailure as failure:
                self.refused.append(failure)
                return 401, [], b""
        answer = base64.b64encode(step["token"] or b"").decode()
        return 401 if step["more"] else 200, ["%s %s" % (scheme, answer)] if answer else [], b""


class Relay(TlsServer):
    """An attacker with another certificate, who passes all requests to another server, with the tokens changed by `change`."""

    def __init__(self, certificate, server):
        self.server = server
        self.connections = {}
        self.change = lambda token: token
        super().__init__(certificate)

    def answer(self, client, authorization):
        if client not in self.connections:
            self.connections[client] = connect(self.server.server_port, self.server.certificate)
        if authorization:
            scheme, _, token = authorization.partition(" ")
            token = self.change(base64.b64decode(token))
            authorization = "%s %s" % (scheme, base64.b64encode(token).decode())
        return ask(self.connections[client], authorization)

    def close(self):
        super().close()
        for connection in self.connections.values():
            connection.close()


class TlsTest(OneOfOurs, PeerTest):
    def setUp(self):
        self.world = World(plugin())
        self.client = self.party()
        for mech in ("ntlm", "spnego"):
            self.client.log_on(cred=mech, mech=mech)
        self.names = itertools.count()

    def serve(self, certificate, **environment):
        server = Server(certificate, self.party(**environment))
        self.addCleanup(server.close)
        return server

    def relay(self, certificate, server):
        relay = Relay(certificate, server)
        self.addCleanup(relay.close)
        return relay

    # The clients: each returns the status that it ended with. `bound` says whether it sends bindings.

    def exchange(self, server, scheme, bound, begin):
        """A handshake in one connection; `begin` returns the function that makes each token from the previous one."""
        connection = connect(server.server_port, server.certificate)
        self.addCleanup(connection.close)
        connection.connect()
        step = begin(binding_seen(connection) if bound else None)
        status, token = 401, None
        while status == 401:
            made = base64.b64encode(step(token)).decode()
            status, offers, _ = ask(connection, "%s %s" % (scheme, made))
            if not offers:
                break
            token = base64.b64decode(offers[0].split()[1])
            if status == 200:
                # The last token of SPNEGO.
                self.assertFalse(step(token))
        return status

    def ours(self, server, bound, mech):
        context = "context %d" % next(self.names)

        def begin(binding):
            def step(token):
                return self.client.init(
                    context=context, mech=mech, cred=mech, flags=SIGNED, target="HTTP@localhost", token=token, binding=binding
                )["token"]

            return step

        return self.exchange(server, {"ntlm": "NTLM", "spnego": "Negotiate"}[mech], bound, begin)

    def pyspnego(self, server, bound, mech):
        protocol, options = {
            "ntlm": ("ntlm", spnego.NegotiateOptions.use_ntlm),
            "spnego": ("negotiate", spnego.NegotiateOptions.use_negotiate),
        }[mech]

        def begin(binding):
            made = spnego.channel_bindings.GssChannelBindings(application_data=binding) if bound else None
            return spnego.client(
                ALICE, PASSWORD, hostname="localhost", service="HTTP", protocol=protocol, options=options,
                channel_bindings=made,
            ).step

        return self.exchange(server, {"ntlm": "NTLM", "spnego": "Negotiate"}[mech], bound, begin)

    def requests_ntlm(self, server, bound):
        with requests.Session() as session:
            session.trust_env = False
            session.auth = requests_ntlm.HttpNtlmAuth(ALICE, PASSWORD, send_cbt=bound)
            url = "https://localhost:%d/" % server.server_port
            return session.get(url, verify=server.certificate.path, timeout=PATIENCE).status_code

    def curl(self, server, *options):
        done = subprocess.run(
            [
                require_curl(), "--disable", "--ipv4", "--silent", "--max-time", str(PATIENCE),
                "--cacert", server.certificate.path, "--output", os.devnull, "--write-out", "%{http_code}", *options,
                "https://localhost:%d/" % server.server_port,
            ],
            env=self.world.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=2 * PATIENCE, check=True,
        )
        return int(done.stdout)

    def clients(self):
        yield "ours", lambda *how: self.ours(*how, "ntlm")
        yield "ours inside SPNEGO", lambda *how: self.ours(*how, "spnego")
        yield "pyspnego", lambda *how: self.pyspnego(*how, "ntlm")
        yield "pyspnego inside SPNEGO", lambda *how: self.pyspnego(*how, "spnego")
        yield "requests-ntlm", self.requests_ntlm

    def assertServed(self, status, server, bound):
        """The handshake succeeded; `bound` says whether the bindings were compared."""
        self.assertEqual((status, server.refused), (200, []))
        accepted = server.accepted.pop()
        self.assertEqual(accepted["source"], ALICE)
        self.assertEqual(bool(accepted["flags"] & CHANNEL_BOUND), bound)
        self.assertEqual(accepted["attributes"]["urn:gss-ntlm:channel-bindings"], ["matched" if bound else "none"])

    def assertBadBindings(self, status, server, why):
        self.assertEqual((status, server.accepted), (401, []))
        refused = server.refused.pop()
        self.assertEqual(refused.major, "BAD_BINDINGS", str(refused))
        self.assertIn(why, refused.text)


class TlsBindings(TlsTest):
    def setUp(self):
        super().setUp()
        self.certificate = certificate(self.world, "right")
        self.other = certificate(self.world, "wrong")

    def assertOutcome(self, policy, server, client, bound, is_relayed=False):
        """The result of a handshake whose client is `bound` or not, and whose server gives bindings or none."""
        status = client(self.relay(self.other, server) if is_relayed else server, bound)
        if policy == "required" and not (bound and server.binding):
            self.assertBadBindings(status, server, "There are no channel bindings")
        elif policy != "off" and bound and server.binding and is_relayed:
            self.assertBadBindings(status, server, "The channel bindings of client and server differ")
        else:
            self.assertServed(status, server, policy != "off" and bound and server.binding is not None)

    def test_compares_as_the_policy_says(self):
        for policy in POLICIES:
            server = self.serve(self.certificate, GSS_NTLM_CHANNEL_BINDINGS=policy)
            for has_some in (True, False):
                server.binding = self.certificate.binding if has_some else None
                for (name, client), bound, is_relayed in itertools.product(self.clients(), (True, False), (False, True)):
                    with self.subTest(policy=policy, has_some=has_some, client=name, bound=bound, is_relayed=is_relayed):
                        self.assertOutcome(policy, server, client, bound, is_relayed)

    def test_compares_when_sent_unless_told_otherwise(self):
        server = self.serve(self.certificate)
        for (name, client), bound, is_relayed in itertools.product(self.clients(), (True, False), (False, True)):
            with self.subTest(client=name, bound=bound, is_relayed=is_relayed):
                self.assertOutcome("when-sent", server, client, bound, is_relayed)

    def test_serves_curl_as_far_as_it_sends_bindings(self):
        # Only newer versions of curl send bindings, and only inside SPNEGO.
        lenient = self.serve(self.certificate)
        strict = self.serve(self.certificate, GSS_NTLM_CHANNEL_BINDINGS="required")
        for options in (("--negotiate", "--user", ":"), ("--ntlm", "--user", "%s:%s" % (ALICE, PASSWORD))):
            with self.subTest(option=options[0]):
                status = self.curl(lenient, *options)
                bound = bool(lenient.accepted[0]["flags"] & CHANNEL_BOUND)
                self.assertServed(status, lenient, bound)
                if options[0] == "--ntlm":
                    self.assertFalse(bound)
                self.assertOutcome("required", strict, lambda server, _: self.curl(server, *options), bound)

    def test_hashes_the_certificate_as_it_is_signed(self):
        for digest, hashed in DIGESTS:
            server = self.serve(certificate(self.world, digest, digest, hashed), GSS_NTLM_CHANNEL_BINDINGS="required")
            for name, client in self.clients():
                with self.subTest(digest=digest, client=name):
                    self.assertOutcome("required", server, client, True)

    def test_refuses_another_kind_of_bindings(self):
        server = self.serve(self.certificate, GSS_NTLM_CHANNEL_BINDINGS="required")
        for binding in (self.certificate.binding[:-1], self.certificate.binding.upper(), b"tls-unique:" + bytes(12), b""):
            server.binding = binding
            for name, client in self.clients():
                with self.subTest(binding=binding, client=name):
                    self.assertBadBindings(client(server, True), server, "The channel bindings of client and server differ")

    def test_refuses_bindings_that_were_changed_on_the_way(self):
        server = self.serve(self.certificate)
        relay = self.relay(self.other, server)
        for instead, (name, client) in itertools.product((sent(self.certificate.binding), bytes(16)), self.clients()):
            with self.subTest(instead=instead.hex(), client=name):
                changed = []

                def change(token):
                    changed.append(sent(self.other.binding) in token)
                    return token.replace(sent(self.other.binding), instead)

                relay.change = change
                self.assertEqual((client(relay, True), server.accepted), (401, []))
                self.assertIn(True, changed)
                # The bindings are part of what the response covers.
                self.assertEqual(server.refused.pop().major, "FAILURE")
