"""Debian's pidgin-sipe logs in to a registrar that uses our acceptor.

sipe has its own NTLM for [MS-SIPAE]: it reads our CHALLENGE_MESSAGE, signs what it sends, and closes the connection if one of our
signatures is wrong. The registrar below knows only the SIP that this needs, and can be told to make errors; the registrar of
tests/sip is tested at the end.

sipe always uses extended session security, answers with NTLMv2 and sends no MIC. It accepts an answer to a REGISTER without a
signature, but not with a wrong one, and does not detect replays. Debian's package cuts off names and passwords at the first
character beyond ASCII; the tests use none.
"""

import base64
import email
import glob
import itertools
import os
import re
import secrets
import socket
import subprocess

from harness import (
    ALICE, CAROL_PASSWORD, ESS, HERE, INTEG, KEY_EXCH, PASSWORD, PATIENCE, SIGN, GssFailure, LineProcess, Party,
    PeerTest, World, flip, negotiated, require, require_program,
)

# The header of RFC 2743 3.1 with NTLM's identifier and nothing in it, which starts a connectionless acceptor.
NOTHING_YET = bytes.fromhex("600c060a2b06010401823702020a")
# Flags of a context, and NegotiateFlags.
CONNECTIONLESS, DATAGRAM, IDENTIFY = 0x10000, 0x40, 0x100000
# The sequence number of every signature in [MS-SIPAE].
NUMBER = 100
REALM, SERVER, OPAQUE = "SIP Communications Service", "sip.example.com", "0123ABCD"
VERSIONS = (2, 3, 4)
ANSWERS = {200: "OK", 401: "Unauthorized"}
# libpurple's numbers for the reason why a connection ended.
NETWORK_ERROR, AUTHENTICATION_FAILED = 0, 2
WRONG_SIGNATURE = "connection-error %d Invalid message signature received" % NETWORK_ERROR
REFUSED = "connection-error %d Authentication failed" % AUTHENTICATION_FAILED


def uri(value):
    return re.search("<([^>]*)>", value)[1]


def tag(value):
    found = re.search(";tag=([^;]*)", value)
    return found[1] if found else ""


def parameters(value):
    """The quoted values of an Authorization header."""
    return dict(re.findall(r'([\w-]+)="([^"]*)"', value or ""))


def signed_text(version, headers, rand, num, code=None):
    """The signed text of a message; a response also has a code."""
    number, method = headers["CSeq"].split()
    parts = ["NTLM", rand, num, REALM, SERVER, headers["Call-ID"], number, method, uri(headers["From"]), tag(headers["From"])]
    if version == 2:
        parts += [tag(headers["To"])]
    else:
        # No side asserts an identity, by sip: or tel:.
        parts += [uri(headers["To"]), tag(headers["To"]), "", ""]
    parts += [headers.get("Expires", "")]
    parts += [] if code is None else [str(code)]
    return "".join("<%s>" % part for part in parts).encode()


class Message:
    """A request or a response of sipe."""

    def __init__(self, text):
        self.line, headers = text.split("\r\n", 1)
        self.headers = email.message_from_string(headers)
        words = self.line.split()
        self.code = int(words[1]) if words[0] == "SIP/2.0" else None
        self.method = self.headers["CSeq"].split()[1]
        self.proof = parameters(self.headers["Authorization"])

    def signed_text(self, version):
        return signed_text(version, self.headers, self.proof["crand"], self.proof["cnum"], self.code)


class Registrar:
    """One connection. `number` is the sequence number of its contexts; `spoil` changes their new signatures."""

    contexts = itertools.count()

    def __init__(self, listener, party, version=4, events=None, expires=7200):
        self.party, self.version, self.events, self.expires = party, version, events, expires
        self.connection, _ = listener.accept()
        self.connection.settimeout(PATIENCE)
        self.stream = self.connection.makefile("rb")
        self.context, self.source, self.failure, self.authenticate = None, None, None, None
        self.number, self.numbers, self.verified = NUMBER, itertools.count(1), []
        self.spoil = lambda signature: signature

    def close(self):
        self.stream.close()
        self.connection.close()

    def receive(self):
        """The next message; None if sipe has closed the connection."""
        lines = []
        while not lines or lines[-1]:
            try:
                line = self.stream.readline()
            except ConnectionResetError:
                line = b""
            if not line:
                return None
            # Empty lines before a message are keep-alives.
            if lines or line.strip():
                lines.append(line.decode().rstrip("\r\n"))
        message = Message("\r\n".join(lines))
        self.stream.read(int(message.headers["Content-Length"]))
        return message

    def rest(self):
        """All messages that sipe sends before it closes the connection."""
        return list(iter(self.receive, None))

    def serve(self):
        """Answer one request, and return the request and the answer; None if sipe has closed the connection."""
        request = self.receive()
        if request is None:
            return None
        self.client = uri(request.headers["From"])
        code, more = self.judge(request)
        self.answer(request, code, more)
        return request.method, code

    def judge(self, request):
        """The code of the answer, and its header."""
        data = request.proof.get("gssapi-data")
        if data == "":
            return 401, self.ask(self.start())
        if self.context is None:
            return 401, self.ask()
        try:
            if data:
                self.finish(base64.b64decode(data))
            if data is None or self.version == 4:
                self.verify(request)
        except GssFailure as failure:
            self.failure = failure
            return 401, self.ask()
        return 200, {}

    def ask(self, challenge=None):
        value = 'NTLM realm="%s", targetname="%s", version=%d' % (REALM, SERVER, self.version)
        if challenge:
            value += ', opaque="%s", gssapi-data="%s"' % (OPAQUE, base64.b64encode(challenge).decode())
        return {"WWW-Authenticate": value}

    def start(self):
        self.context = "sip %d" % next(self.contexts)
        return self.party.accept(context=self.context, cred="server", token=NOTHING_YET)["token"]

    def finish(self, token):
        self.authenticate = token
        step = self.party.accept(context=self.context, cred="server", token=token)
        if step["more"] or step["token"]:
            raise AssertionError("the acceptor has another token")
        self.source, self.flags = step["source"], step["flags"]
        self.party.set_seq_num(context=self.context, number=self.number)

    def forget(self):
        """Like a registrar that was started again: it has no contexts."""
        self.context = None

    def verify(self, message):
        signature = bytes.fromhex(message.proof["response"])
        self.party.verify_mic(context=self.context, data=message.signed_text(self.version), mic=signature)
        self.verified.append(message)

    def sign(self, headers, code=None):
        """Add the signature to the headers of a message."""
        rand, num = secrets.token_hex(4), str(next(self.numbers))
        text = signed_text(self.version, headers, rand, num, code)
        signature = self.party.get_mic(context=self.context, data=text)["mic"]
        headers["Authentication-Info"] = (
            'NTLM qop="auth", opaque="%s", realm="%s", targetname="%s", srand="%s", snum="%s", rspauth="%s"'
            % (OPAQUE, REALM, SERVER, rand, num, self.spoil(signature).hex())
        )

    def send(self, line, headers):
        lines = [line, *("%s: %s" % header for header in headers.items()), "Content-Length: 0", "", ""]
        self.connection.sendall("\r\n".join(lines).encode())

    def answer(self, request, code, more):
        headers = {name: request.headers[name] for name in ("Via", "From", "To", "Call-ID", "CSeq")}
        if not tag(headers["To"]):
            headers["To"] += ";tag=registrar"
        if code == 200:
            if request.headers["Expires"] != "0":
                headers["Expires"] = str(self.expires)
            if request.method == "REGISTER" and self.events:
                headers["Allow-Events"] = self.events
            self.sign(headers, code)
        self.send("SIP/2.0 %d %s" % (code, ANSWERS[code]), headers | more)

    def request(self, method):
        headers = {
            "Via": "SIP/2.0/tcp 127.0.0.1;branch=z9hG4bK" + secrets.token_hex(4),
            "From": "<sip:%s>;tag=%s" % (SERVER, secrets.token_hex(4)),
            "To": "<%s>" % self.client,
            "Call-ID": secrets.token_hex(8),
            "CSeq": "1 " + method,
        }
        self.sign(headers)
        self.send("%s %s SIP/2.0" % (method, self.client), headers)


class SipeTest(PeerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        flags = subprocess.run(
            [require_program("pkg-config", "pkg-config"), "--cflags", "--libs", "purple"], capture_output=True, text=True
        )
        require(flags.returncode == 0, "libpurple-dev")
        places = ("/usr/lib/purple-2", "/usr/lib/*/purple-2", "/usr/local/lib/purple-2")
        require(any(glob.glob(place + "/libsipe.so") for place in places), "pidgin-sipe")
        cls.world = World()
        cls.program = os.path.join(cls.world.path, "purple")
        source = os.path.join(HERE, "..", "c", "purple.c")
        compiler = [require_program("cc", "gcc"), "-Wall", "-Wextra", "-Werror", "-o", cls.program, source]
        subprocess.run(compiler + flags.stdout.split(), check=True)

    def start_sipe(self, port, user=ALICE, password=PASSWORD):
        # Each has its own directory, so that nothing is remembered, and cannot use our mechanism.
        home = World(self.world.library)
        self.addCleanup(home.remove)
        account = "%s@example.com,%s" % (user.split("\\")[-1], user)
        command = [self.program, home.path, "127.0.0.1:%d" % port, account, password, str(PATIENCE)]
        sipe = LineProcess(command, home.environment(GSS_MECH_CONFIG="/dev/null", NTLM_USER_FILE=None))
        self.addCleanup(sipe.close)
        self.assertEqual(sipe.read_line(), "signing-on")
        return sipe


class PidginSipe(SipeTest):
    def setUp(self):
        super().setUp()
        self.party = Party(self.world)
        self.addCleanup(self.close_cleanly, self.party)
        self.party.serve()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.addCleanup(self.listener.close)

    def connect(self, user=ALICE, password=PASSWORD, **registrar):
        """sipe, and the registrar to which it has just connected."""
        sipe = self.start_sipe(self.listener.getsockname()[1], user, password)
        registrar = Registrar(self.listener, self.party, **registrar)
        self.addCleanup(registrar.close)
        return sipe, registrar

    def assertServes(self, registrar, *expected):
        self.assertEqual([registrar.serve() for _ in expected], list(expected), registrar.failure)

    def handshake(self, registrar, last=200):
        """The three requests of [MS-SIPAE]: without credentials, with empty data, and with the AUTHENTICATE_MESSAGE."""
        self.assertServes(registrar, ("REGISTER", 401), ("REGISTER", 401), ("REGISTER", last))

    def log_in(self, **options):
        sipe, registrar = self.connect(**options)
        self.handshake(registrar)
        self.assertEqual(sipe.read_line(), "signed-on")
        return sipe, registrar

    def log_out(self, sipe, registrar):
        """sipe also signs its last messages. It no longer waits for answers."""
        sipe.child.stdin.close()
        messages = registrar.rest()
        for message in messages:
            registrar.verify(message)
        self.assertEqual((messages[-1].method, messages[-1].headers["Expires"]), ("REGISTER", "0"))
        self.assertEqual(sipe.close(), 0, sipe.errors)

    def assertGivesUp(self, sipe, registrar, line):
        self.assertEqual(sipe.read_line(), line)
        self.assertEqual(sipe.close(), 1, sipe.errors)
        self.assertNotIn(200, [message.code for message in registrar.rest()])

    def test_logs_in(self):
        users = ((ALICE, PASSWORD), ("carol", CAROL_PASSWORD), ("dora", "No Domain"))
        for version, (user, password) in itertools.product(VERSIONS, users):
            with self.subTest(version=version, user=user):
                sipe, registrar = self.log_in(user=user, password=password, version=version)
                self.assertEqual(registrar.source, user)
                self.assertEqual(registrar.flags & (INTEG | CONNECTIONLESS), INTEG | CONNECTIONLESS)
                wanted = SIGN | DATAGRAM | ESS | IDENTIFY | KEY_EXCH
                self.assertEqual(negotiated(registrar.authenticate) & wanted, wanted)
                self.assertEqual(len(registrar.verified), int(version == 4))
                self.log_out(sipe, registrar)
                self.assertEqual(len(registrar.verified), 1 + int(version == 4))

    def test_signs_requests_and_responses_of_both_sides(self):
        for version in VERSIONS:
            with self.subTest(version):
                sipe, registrar = self.log_in(version=version, events="vnd-microsoft-roaming-contacts")
                self.assertServes(registrar, ("SUBSCRIBE", 200))
                for _ in range(3):
                    registrar.request("OPTIONS")
                    answer = registrar.receive()
                    self.assertEqual((answer.method, answer.code), ("OPTIONS", 200))
                    registrar.verify(answer)
                self.log_out(sipe, registrar)

    def test_verifies_in_any_order_and_as_often_as_asked(self):
        sipe, registrar = self.log_in(events="vnd-microsoft-roaming-contacts")
        self.assertServes(registrar, ("SUBSCRIBE", 200))
        self.log_out(sipe, registrar)
        messages = [
            {"context": registrar.context, "data": message.signed_text(4), "mic": bytes.fromhex(message.proof["response"])}
            for message in registrar.verified
        ]
        self.assertGreater(len(messages), 2)
        for message in reversed(messages):
            self.party.verify_mic(**message)
            data, mic = message["data"], message["mic"]
            forged = [{"data": wrong} for wrong in (flip(data), data + b"<>", data[:-1])]
            forged += [{"mic": flip(mic, position)} for position in (0, 4, 11, 12, 15)]
            forged += [{"mic": other["mic"]} for other in messages if other is not message]
            for wrong in forged:
                self.assertRefused("BAD_MIC", self.party.verify_mic, **message | wrong)
                self.party.verify_mic(**message)

    def test_refuses_a_wrong_password(self):
        for version in VERSIONS:
            for user, password in ((ALICE, "Battery Staple"), ("EXAMPLE\\nobody", PASSWORD), ("carol", PASSWORD)):
                with self.subTest(version=version, user=user):
                    sipe, registrar = self.connect(user=user, password=password, version=version)
                    self.handshake(registrar, last=401)
                    self.assertIn(registrar.failure.major, ("FAILURE", "UNAUTHORIZED", "NO_CRED", "DEFECTIVE_CREDENTIAL"))
                    self.assertIsNone(registrar.source)
                    self.assertGivesUp(sipe, registrar, REFUSED)

    def test_refuses_a_request_with_another_number(self):
        # Only version 4 signs the request that logs in.
        for number in (0, 1, 0x100, 100 << 24):
            with self.subTest(number):
                sipe, registrar = self.connect()
                registrar.number = number
                self.handshake(registrar, last=401)
                self.assertEqual(registrar.failure.major, "BAD_MIC")
                self.assertGivesUp(sipe, registrar, REFUSED)

    def test_sipe_refuses_another_number(self):
        for number in (0, 1, 0x100, 100 << 24):
            with self.subTest(number):
                sipe, registrar = self.connect(version=3)
                registrar.number = number
                self.handshake(registrar)
                self.assertGivesUp(sipe, registrar, WRONG_SIGNATURE)

    def test_sipe_refuses_a_wrong_signature(self):
        for version, position in itertools.product(VERSIONS, (0, 4, 11, 12, 15)):
            with self.subTest(version=version, position=position):
                sipe, registrar = self.connect(version=version)
                registrar.spoil = lambda signature: flip(signature, position)
                self.handshake(registrar)
                self.assertGivesUp(sipe, registrar, WRONG_SIGNATURE)

    def test_sipe_refuses_a_wrong_signature_later(self):
        sipe, registrar = self.log_in()
        registrar.spoil = flip
        registrar.request("OPTIONS")
        self.assertGivesUp(sipe, registrar, WRONG_SIGNATURE)

    def test_logs_in_again(self):
        # sipe registers again half a minute before the old registration ends.
        sipe, registrar = self.log_in(expires=31)
        first = registrar.context
        self.assertServes(registrar, ("REGISTER", 200))
        registrar.forget()
        self.assertServes(registrar, ("REGISTER", 401))
        self.handshake(registrar)
        self.assertNotEqual(registrar.context, first)
        self.log_out(sipe, registrar)


class DemonstratedRegistrar(SipeTest):
    """The registrar of tests/sip, which is a C program."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        subprocess.run([os.path.join(HERE, "..", "sip", "build"), cls.world.path], check=True)

    def start(self, *options, password=PASSWORD):
        """sipe and the registrar that it logs in to."""
        # It prints what it does on standard error.
        command = ["/bin/sh", "-c", 'exec "$0" "$@" 2>&1', os.path.join(self.world.path, "registrar"), *options]
        registrar = LineProcess(command, self.world.environment())
        self.addCleanup(registrar.close)
        self.addCleanup(registrar.child.terminate)
        port = int(registrar.read_line())
        return self.start_sipe(port, password=password), registrar

    def read_until(self, registrar, words):
        """The registrar's output up to a line with these words."""
        lines = [registrar.read_line()]
        while words not in lines[-1]:
            lines.append(registrar.read_line())
        return "\n".join(lines)

    def test_logs_in(self):
        for version in VERSIONS:
            with self.subTest(version):
                sipe, registrar = self.start("-v", str(version))
                self.assertEqual(sipe.read_line(), "signed-on")
                said = self.read_until(registrar, "BENOTIFY to the subscriber")
                self.assertIn("it is " + ALICE, said)
                # In version 4 the REGISTER; then the SUBSCRIBE and the answer to NOTIFY.
                self.assertEqual(said.count("): good"), 2 + int(version == 4), said)
                self.assertEqual(sipe.close(), 0, sipe.errors)

    def test_refuses_a_wrong_password(self):
        sipe, registrar = self.start(password="Battery Staple")
        self.assertEqual(sipe.read_line(), REFUSED)
        self.assertEqual(sipe.close(), 1)
        self.read_until(registrar, "an AUTHENTICATE_MESSAGE")
        self.assertNotIn(ALICE, self.read_until(registrar, "401 Unauthorized"))

    def test_sipe_notices_the_attacker(self):
        sipe, registrar = self.start("-a")
        self.assertEqual(sipe.read_line(), "signed-on")
        self.assertEqual(sipe.read_line(), WRONG_SIGNATURE)
        self.assertEqual(sipe.close(), 1)
        self.read_until(registrar, "AN ATTACKER")
