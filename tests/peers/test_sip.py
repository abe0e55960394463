"""The SIP registrar and client of tests/sip: connectionless NTLM of [MS-SIPAE], with plain GSS calls in C.

There is also an attacker between them who changes messages, and the C mechanism on either side.
"""

import contextlib
import json
import os
import random
import re
import socket
import subprocess
import threading
import unittest
import zlib

from harness import (
    ALICE, CAROL_PASSWORD, ESS, HERE, KEY_EXCH, NEG_128, NTLM, PASSWORD, PATIENCE, SIGN, UNICODE, World, c_plugin, end, plugin,
    require,
)

ROOT = os.path.dirname(os.path.dirname(HERE))
DATAGRAM, IDENTIFY = 0x40, 0x100000
VERSIONS = (2, 3, 4)
# Exit statuses of the client.
FINE, FAILED, NOT_ACCEPTED, NOT_GENUINE = 0, 1, 3, 4
NO_ESS = UNICODE | SIGN | DATAGRAM | NTLM | KEY_EXCH
# Values of NEG_FLAGS of an initiator, and whether they have extended session security.
OFFERS = ((None, True), (NO_ESS | ESS | NEG_128, True), (NO_ESS, False))
# An attacker's changes to signed values: the header field, the old text and the new text.
SIGNED = (
    ("From", "alice@", "alyce@"), ("From", "tag=", "tag=f"), ("Call-ID", ": ", ": f"), ("Expires", "60", "61"),
    ("Authorization", 'crand="', 'crand="f'), ("Authorization", 'cnum="', 'cnum="1'),
    ("Authorization", 'response="01', 'response="02'), ("Authorization", 'opaque="', 'opaque="f'),
)
SIGNED_FROM_3 = (("To", "bob@", "eve@"), ("To", "\r", "\r\nP-Asserted-Identity: <sip:eve@example.test>\r"))
UNSIGNED = (("Max-Forwards", "70", "69"), ("Via", "branch=", "branch=f"), ("Content-Type", "plain", "fancy"))


def vectors():
    """The captured sessions."""
    folder = os.environ.get("GSSNTLM_VECTORS") or os.path.join(ROOT, "tests", "vectors")
    with open(os.path.join(folder, "sip.json")) as file:
        return json.load(file)


class SipTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world = World(plugin())
        cls.programs = cls.world.path
        subprocess.run(
            [os.path.join(ROOT, "tests", "sip", "build"), cls.programs, "-fsanitize=address,undefined"],
            check=True, timeout=120,
        )

    def environment(self, world, **more):
        # What is lost at the end of the process is not tested here.
        return world.environment(ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="halt_on_error=1", **more)

    def registrar(self, *options, world=None, **environment):
        """Starts a registrar; returns its port. Its output is in `self.registrar_told`."""
        world = world or self.world
        path = os.path.join(self.programs, "registrar.log")
        with open(path, "w") as log:
            child = subprocess.Popen(
                [os.path.join(self.programs, "registrar"), *options],
                env=self.environment(world, **environment), cwd=world.path,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )
        self.addCleanup(child.stdout.close)
        self.addCleanup(end, child)
        self.serving = child
        # If it has died, this is an empty line.
        line = child.stdout.readline()
        self.assertTrue(line, self.registrar_told())
        return int(line)

    def registrar_told(self):
        with open(os.path.join(self.programs, "registrar.log")) as log:
            return log.read()

    def client(self, port, *options, password=PASSWORD, world=None, **environment):
        """Runs a client to its end; returns its status and its output."""
        world = world or self.world
        ended = subprocess.run(
            [os.path.join(self.programs, "client"), "-p", str(port), *options],
            env=self.environment(world, SIP_PASSWORD=password, **environment), cwd=world.path,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=3 * PATIENCE,
        )
        told = ended.stderr.decode()
        self.assertNotIn("ERROR: AddressSanitizer", told)
        self.assertNotIn("runtime error", told)
        return ended.returncode, told

    def assertEnds(self, status, port, *options, **more):
        ended, told = self.client(port, *options, **more)
        self.assertEqual(ended, status, told + self.registrar_told())
        self.assertIsNone(self.serving.poll(), self.registrar_told())
        return told

    def signed(self, message, sender, version, status=0):
        """The signed text of a message, and the status of the program that prints it."""
        ended = subprocess.run(
            [os.path.join(self.programs, "buffer"), sender, str(version)],
            input=message if isinstance(message, bytes) else message.encode(),
            env=self.environment(self.world), stdout=subprocess.PIPE, timeout=PATIENCE,
        )
        if status is not None:
            self.assertEqual(ended.returncode, status)
        return ended.returncode, ended.stdout.decode(errors="replace").removesuffix("\n")


def flags_told(told, message):
    """The NegotiateFlags of a message, as a program printed them."""
    return int(re.search("%s.* NegotiateFlags (0x[0-9a-f]+)" % message, told)[1], 16)


class Sessions(SipTest):
    def check(self, version, ess, told):
        self.assertIn("LOGGED ON with version %d" % version, told)
        self.assertIn("LOGGED OFF", told)
        registrar = self.registrar_told()
        self.assertEqual(told.count("AN ATTACKER"), 3 if version == 2 else 4)
        self.assertEqual(registrar.count("AN ATTACKER"), 3)
        self.assertEqual(told.count(": BAD"), 2)
        self.assertEqual(registrar.count(": BAD"), 2 if version == 2 else 3)
        for said in (told, registrar):
            self.assertEqual(said.count("a replay"), 1)
        chosen = flags_told(told, "AUTHENTICATE_MESSAGE")
        self.assertEqual(bool(chosen & ESS), ess)
        self.assertEqual(chosen & (DATAGRAM | KEY_EXCH), DATAGRAM | KEY_EXCH)

    def test_signs_and_notices_what_is_forged_or_replayed(self):
        for version in VERSIONS:
            for offer, ess in OFFERS:
                with self.subTest(version=version, offer=offer):
                    port = self.registrar("-v", str(version), "-a")
                    options = () if offer is None else ("-f", "%x" % offer)
                    self.check(version, ess, self.assertEnds(FINE, port, "-a", *options))

    def test_makes_a_challenge_that_clients_of_sip_want(self):
        port = self.registrar()
        self.assertEnds(FINE, port)
        wanted = DATAGRAM | IDENTIFY | SIGN | ESS | KEY_EXCH | UNICODE | NTLM
        self.assertEqual(flags_told(self.registrar_told(), "CHALLENGE_MESSAGE") & wanted, wanted)

    def test_agrees_on_the_lower_version(self):
        for ours, theirs in ((2, 4), (3, 4), (4, 3), (4, 2), (3, 2)):
            with self.subTest(registrar=ours, client=theirs):
                port = self.registrar("-v", str(ours))
                told = self.assertEnds(FINE, port, "-v", str(theirs))
                self.assertIn("LOGGED ON with version %d" % min(ours, theirs), told)

    def test_begins_in_each_way(self):
        for start in ("framed", "signature", "negotiate"):
            with self.subTest(start=start):
                port = self.registrar("-s", start)
                # With a MIC and without one.
                self.assertEnds(FINE, port)
                self.assertEnds(FINE, port, GSS_NTLM_MIC="off")

    def test_a_registrar_that_does_not_ask_serves_recent_clients(self):
        """It begins with the header. The default minimum then holds, and other beginnings are refused."""
        port = self.registrar("-f", "none")
        self.assertEnds(FINE, port)
        self.assertEnds(NOT_ACCEPTED, port, "-f", "%x" % NO_ESS)
        self.assertIn("GSS_NTLM_MINIMUM=sign-as-asked", self.registrar_told())
        self.assertEnds(FINE, self.registrar("-f", "none", GSS_NTLM_MINIMUM="sign-as-asked"), "-f", "%x" % NO_ESS)
        for start in ("signature", "negotiate"):
            with self.subTest(start=start):
                self.assertEnds(FAILED, self.registrar("-f", "none", "-s", start))
                self.assertEnds(FINE, self.registrar("-f", "none", "-s", start, GSS_NTLM_DATAGRAM="yes"))
        self.assertEnds(FAILED, self.registrar(GSS_NTLM_DATAGRAM="no"))

    def test_serves_one_after_the_other(self):
        port = self.registrar()
        self.assertEnds(FINE, port)
        self.assertEnds(NOT_ACCEPTED, port, password="wrong")
        self.assertEnds(FINE, port, "-u", "carol", "-i", "sip:carol@example.test", password=CAROL_PASSWORD)
        self.assertEnds(FINE, port)

    def test_finds_the_password_in_the_user_file(self):
        self.assertEnds(FINE, self.registrar(), password=None)

    def test_lets_messages_overtake_each_other(self):
        port = self.registrar()
        self.assertEnds(FINE, port, "-n", "255")
        self.assertNotIn("a replay", self.registrar_told())
        self.assertEnds(FAILED, port, "-n", "256")
        self.assertIn("a replay", self.registrar_told())


class Refusals(SipTest):
    def test_a_wrong_password_and_a_stranger(self):
        port = self.registrar()
        for version in VERSIONS:
            for options, password in (((), "wrong"), (("-u", "EXAMPLE\\nobody"), PASSWORD), ((), PASSWORD.lower())):
                with self.subTest(version=version, options=options):
                    told = self.assertEnds(NOT_ACCEPTED, port, "-v", str(version), *options, password=password)
                    self.assertNotIn("LOGGED ON", told)
        self.assertNotIn("COMPLETE", self.registrar_told())

    def test_another_users_address(self):
        port = self.registrar()
        self.assertEnds(NOT_ACCEPTED, port, "-i", "sip:bob@example.test")
        self.assertIn("403 Forbidden", self.registrar_told())

    def test_a_client_without_connectionless_ntlm(self):
        """The registrar refuses a connection-oriented handshake, which the same acceptor accepts elsewhere."""
        port = self.registrar()
        for data in ("TlRMTVNTUAABAAAAl4II4gAAAAAAAAAAAAAAAAAAAAAKAGFKAAAADw==", "AAAA", "!", "TlRMTVNTUAADAAAA"):
            with Talk(port) as talk:
                code, opaque = talk.begin()
                self.assertEqual(code, 401)
                code, challenge = talk.ask('opaque="%s", gssapi-data="%s"' % (opaque, data))
                self.assertEqual(code, 401)
                self.assertNotIn("gssapi-data", challenge)

    def test_handshakes_out_of_order(self):
        port = self.registrar()
        for words in (
            'opaque="00000000", gssapi-data="TlRMTVNTUAADAAAA"',
            'crand="00000000", cnum="1", response="%s"' % (32 * "0"),
            "", 'version=5, gssapi-data=""', 'version=x, gssapi-data=""',
        ):
            with self.subTest(words=words), Talk(port) as talk:
                code, challenge = talk.ask(words)
                self.assertEqual(code, 401)
                self.assertNotIn("gssapi-data", challenge)
                # The connection still works.
                self.assertEqual(talk.begin()[0], 401)
        self.assertEnds(FINE, port)

    def test_what_is_no_sip(self):
        port = self.registrar("-w", "1")
        fine = Talk.REQUEST % ("", "")
        for text in (
            "", "\r\n\r\n", "\0", "REGISTER\r\n\r\n", "x" * 70000, "GET / HTTP/1.1\r\n\r\n", fine[:-2],
            fine.replace("Content-Length: 0", "Content-Length: -1"), fine.replace("Length: 0", "Length: 99999999999"),
            fine.replace("Content-Length: 0", "Content-Length: 65536"), fine.replace("Length: 0", "Length: 5") + "four",
            fine.replace("CSeq: 1 REGISTER", "CSeq: 1 MESSAGE"), fine.replace("CSeq: 1 REGISTER", "CSeq:"),
            fine.replace("Call-ID", "Fall-ID"), fine.replace("Max-Forwards: 70", "t: <sip:eve@example.test>"),
            fine.replace("Max-Forwards: 70", "Max Forwards: 70"), fine.replace("Max-Forwards: 70", "\r"),
            fine.replace("Max-Forwards: 70\r\n", "X: y\r\n" * 200), "SIP/2.0 abc\r\n" + fine.split("\r\n", 1)[1],
        ):
            with self.subTest(text=text[:200]), socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(text.encode())
                    self.assertEqual(connection.recv(100), b"")
                self.assertIsNone(self.serving.poll(), self.registrar_told())
        self.assertEnds(FINE, port)
        self.assertNotIn("AddressSanitizer", self.registrar_told())


class Talk:
    """A plain connection to a registrar, without NTLM."""

    REQUEST = (
        "REGISTER sip:alice@example.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1\r\nMax-Forwards: 70\r\n"
        "From: <sip:alice@example.test>;tag=1\r\nTo: <sip:alice@example.test>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n"
        "%s%sContent-Length: 0\r\n\r\n"
    )

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, words):
        """The code and the challenge of the answer to a REGISTER with this NTLM header."""
        self.connection.sendall((self.REQUEST % ("Authorization: NTLM ", words + "\r\n")).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = self.connection.recv(10000)
            if not more:
                raise AssertionError("the registrar has closed the connection")
            answer += more
        answer = answer.decode()
        return int(answer.split()[1]), re.search("WWW-Authenticate: (.*)\r", answer)[1]

    def begin(self):
        code, challenge = self.ask('version=4, gssapi-data=""')
        return code, re.search('opaque="([^"]*)"', challenge)[1]


class Between:
    """An attacker between client and registrar: `change` is called with each message and its sender."""

    def __init__(self, test, port, change):
        self.change = change
        self.listener = socket.create_server(("127.0.0.1", 0))
        test.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        self.server = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        test.addCleanup(self.thread.join, PATIENCE)

    def run(self):
        self.listener.settimeout(PATIENCE)
        with self.server, self.listener.accept()[0] as client:
            client.settimeout(PATIENCE)
            other = threading.Thread(target=self.carry, args=(self.server, client, "registrar"))
            other.start()
            self.carry(client, self.server, "client")
            other.join(PATIENCE)

    def carry(self, source, target, sender):
        pending = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                pending += data
                while b"\r\n\r\n" in pending:
                    head, pending = pending.split(b"\r\n\r\n", 1)
                    # Neither side sends a body in a separate packet.
                    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
                    body, pending = pending[:length], pending[length:]
                    target.sendall(self.change((head + b"\r\n\r\n" + body).decode(), sender).encode())
        # Also if one side broke off: the registrar serves no other client before it knows.
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def changed(message, field, old, new):
    """The message with `old` replaced in a header field; `old` may include the end of the field."""
    lines = message.split("\r\n")
    for i, line in enumerate(lines):
        if line.startswith(field + ":") and old in line + "\r":
            lines[i] = (line + "\r").replace(old, new, 1)[:-1]
    return "\r\n".join(lines)


class Attacks(SipTest):
    """An attacker on the network."""

    def attack(self, port, status, change, version=4, options=()):
        met = []

        def spoil(message, sender):
            spoiled = change(message, sender)
            if spoiled != message:
                met.append(message)
            return spoiled

        told = self.assertEnds(status, Between(self, port, spoil).port, "-v", str(version), *options)
        self.assertTrue(met, "nothing was changed")
        return told

    def test_changes_of_requests_are_noticed(self):
        port = self.registrar()
        for version in VERSIONS:
            for change in SIGNED + (SIGNED_FROM_3 if version > 2 else ()):
                with self.subTest(version=version, change=change):
                    told = self.attack(
                        port, FAILED,
                        lambda message, sender: changed(message, *change) if message.startswith("MESSAGE") else message, version,
                    )
                    self.assertIn("the answer should be 200, not 401", told)

    def test_changes_of_answers_are_noticed(self):
        port = self.registrar()
        of_answers = [(field.replace("Authorization", "Authentication-Info"), old, new) for field, old, new in SIGNED]
        names = (("crand", "srand"), ("cnum", "snum"), ("response", "rspauth"))
        for version in VERSIONS:
            for field, old, new in of_answers + [("SIP/2.0 200 OK", "", "")]:
                for theirs, ours in names:
                    old, new = old.replace(theirs, ours), new.replace(theirs, ours)

                def change(message, sender):
                    if sender != "registrar" or "SUBSCRIBE\r" not in message or not message.startswith("SIP/2.0 200"):
                        return message
                    if old:
                        return changed(message, field, old.replace("60", "600"), new.replace("61", "601"))
                    return message.replace("SIP/2.0 200", "SIP/2.0 201")

                with self.subTest(version=version, field=field, old=old):
                    self.attack(port, NOT_GENUINE, change, version)

    def test_the_end_of_the_handshake_is_protected(self):
        port = self.registrar()

        def forge(message, sender):
            return message.replace('rspauth="01', 'rspauth="02')

        for version in VERSIONS:
            with self.subTest(version=version):
                self.assertNotIn("LOGGED ON", self.attack(port, NOT_GENUINE, forge, version))
        # Version 4 also signs the request with the AUTHENTICATE_MESSAGE.
        told = self.attack(port, NOT_ACCEPTED, lambda message, sender: changed(message, "Expires", "600", "601"))
        self.assertNotIn("LOGGED ON", told)

    def test_messages_that_come_again_are_noticed(self):
        """Every message is sent twice, by both sides. The client no longer waits for the answers to the copies."""
        port = self.registrar()
        seen = {"client": [], "registrar": []}

        def repeat(message, sender):
            if not message.startswith(("MESSAGE", "BENOTIFY")):
                return message
            seen[sender].append(message)
            return "".join(reversed(seen[sender]))

        told = self.attack(port, FINE, repeat)
        # The second of three messages comes with one old one, the third with two.
        self.assertEqual(self.registrar_told().count("a replay"), 3)
        self.assertEqual(told.count("a replay"), 0)

    def test_a_signature_says_little_without_extended_session_security(self):
        """The signature is a CRC32 under the key stream of the previous message. GSS_NTLM_MINIMUM refuses such sessions."""
        seen = {}

        def signed(message):
            return self.signed(message, "client", 4)[1].encode()

        def forge(message, sender):
            if sender != "client" or not message.startswith(("SUBSCRIBE", "MESSAGE")):
                return message
            text, signature = signed(message), bytes.fromhex(re.search('response="(.*?)"', message)[1])
            if not seen:
                seen.update(text=text, signature=signature)
                return message
            forged = changed(message, "Expires", "60", "61")
            checksum = zlib.crc32(seen["text"]) ^ zlib.crc32(signed(forged)) ^ int.from_bytes(seen["signature"][8:12], "little")
            made = seen["signature"][:8] + checksum.to_bytes(4, "little") + seen["signature"][12:]
            return forged.replace(signature.hex(), made.hex())

        for offer, status in ((NO_ESS, FINE), (NO_ESS | ESS | NEG_128, FAILED)):
            with self.subTest(status=status):
                seen.clear()
                self.attack(self.registrar(), status, forge, options=("-f", "%x" % offer))
        self.assertEnds(NOT_ACCEPTED, self.registrar(GSS_NTLM_MINIMUM="ess"), "-f", "%x" % NO_ESS)

    def test_what_is_not_signed_can_be_changed(self):
        """This is so in [MS-SIPAE]; only TLS protects from it."""
        port = self.registrar()
        changes = [lambda message, change=change: changed(message, *change) for change in UNSIGNED]
        changes += [lambda message: message.replace("hello", "hallo")]
        for change in changes:
            self.attack(port, FINE, lambda message, sender: change(message) if sender == "client" else message)


class CMechanism(SipTest):
    """gss-ntlmssp as the client with our registrar, and as the registrar with our client."""

    def setUp(self):
        super().setUp()
        require(c_plugin(), "gss-ntlmssp")
        self.theirs = World(c_plugin())

    def test_as_the_client(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                port = self.registrar("-v", str(version), "-a")
                self.assertEnds(FINE, port, "-a", world=self.theirs)
                self.assertEnds(NOT_ACCEPTED, port, world=self.theirs, password="wrong")

    def test_as_the_registrar(self):
        """Its acceptor begins only with a NEGOTIATE_MESSAGE, and its MIC covers this message, which no client knows."""
        for version in VERSIONS:
            with self.subTest(version=version):
                port = self.registrar("-v", str(version), "-a", "-s", "negotiate", "-f", "e2988257", world=self.theirs)
                self.assertEnds(FINE, port, "-a", GSS_NTLM_MIC="off")
                self.assertEnds(NOT_ACCEPTED, port, password="wrong", GSS_NTLM_MIC="off")

    def test_as_both(self):
        """The two programs do not depend on our mechanism."""
        port = self.registrar("-a", "-s", "negotiate", "-f", "e2988257", world=self.theirs)
        self.assertEnds(FINE, port, "-a", world=self.theirs)


class SignedText(SipTest):
    """The signed text of a message."""

    def test_of_captured_messages(self):
        ocs, communicator = vectors()["captured"][:2]
        self.assertEqual(self.signed(ocs["sip_message"], "server", 2)[1], ocs["buffer"])
        for kind, sender in (("request", "client"), ("response", "server")):
            self.assertEqual(self.signed(communicator[kind]["sip_message"], sender, 4)[1], communicator[kind]["buffer"])

    def answer(self, *fields):
        return "\r\n".join((
            "SIP/2.0 180 Ringing", 'Authentication-Info: NTLM qop="auth", realm="R", srand="S", snum="11", targetname="T"',
            'From: "Said \\"<sip:x@y>\\"" <sip:sender@company.com;transport=tls>;tag=2420628112;epid=1',
            "To: sip:recipient@company.com;epid=2;tag=7aee15546a", "Call-ID: I", "CSeq: 1 INVITE", *fields,
            "Content-Length: 0", "", "",
        ))

    def test_of_identities(self):
        first = "<NTLM><S><11><R><T><I><1><INVITE><sip:sender@company.com;transport=tls><2420628112>"
        second = first + "<sip:recipient@company.com><7aee15546a>"
        sip, tel = "P-Asserted-Identity: <SIP:recipient@company.com>", "P-Asserted-Identity: <tel:+1;ext=2>"
        for fields, three in (
            ((), "<><><>"),
            ((sip,), "<SIP:recipient@company.com><><>"),
            ((sip, tel, "Expires: 7"), "<SIP:recipient@company.com><tel:+1;ext=2><7>"),
            ((tel, sip), "<SIP:recipient@company.com><tel:+1;ext=2><>"),
            ((sip + ', "A, B" <tel:+1;ext=2>',), "<SIP:recipient@company.com><tel:+1;ext=2><>"),
            ((sip.replace("Asserted", "Preferred"),), "<SIP:recipient@company.com><><>"),
            ((sip, tel.replace("Asserted", "Preferred")), "<SIP:recipient@company.com><><>"),
            (("p-asserted-identity : <mailto:x@y>",), "<><><>"),
            (("Subject: folded\r\n here", "Expires:\r\n\t8"), "<><><8>"),
        ):
            with self.subTest(fields=fields):
                self.assertEqual(self.signed(self.answer(*fields), "server", 4)[1], second + three + "<180>")
        expected = first + "<7aee15546a><7><180>"
        self.assertEqual(self.signed(self.answer(sip, "Expires: 7"), "server", 2)[1], expected)

    def test_has_no_two_readings(self):
        """With a bracket in a value, a part of one value could be read as another value."""
        for wanted, instead in (("Call-ID: I", "Call-ID: I><1"), ("tag=7", "tag=<7"), ('srand="S', 'srand="S><')):
            self.signed(self.answer().replace(wanted, instead), "server", 4, status=4)

    def test_of_spoiled_messages(self):
        """Nothing is read or written beyond the end of a buffer: the sanitizers check this."""
        ocs, communicator = vectors()["captured"][:2]
        dice = random.Random(4)
        for text, sender in ((ocs["sip_message"], "server"), (communicator["request"]["sip_message"], "client")):
            for _ in range(150):
                spoiled = bytearray(text.encode())
                for _ in range(dice.choice((1, 3, 10))):
                    at = dice.randrange(len(spoiled) + 1)
                    what = dice.randrange(4)
                    if what == 0:
                        spoiled[at : at + 1] = bytes([dice.randrange(256)])
                    elif what == 1:
                        del spoiled[at : at + dice.randrange(30)]
                    elif what == 2:
                        spoiled[at:at] = bytes([dice.choice(b'<>"\\;,=\r\n\0 :')])
                    else:
                        spoiled = spoiled[: at + 1]
                self.assertIn(self.signed(bytes(spoiled), sender, 0, status=None)[0], (0, 3, 4), bytes(spoiled))


class Examples(SipTest):
    """The programs that doc/SIP.md explains."""

    def test_compile_and_run(self):
        for name in ("sip", "dce"):
            with self.subTest(name=name):
                program = os.path.join(self.world.path, "example-" + name)
                source = os.path.join(ROOT, "doc", "example", name + ".c")
                subprocess.run(
                    ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I" + os.path.join(ROOT, "include"),
                     "-o", program, source, "-lgssapi_krb5"],
                    check=True, timeout=60,
                )
                ended = subprocess.run(
                    [program, ALICE, PASSWORD], env=self.world.environment(), cwd=self.world.path,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
                )
                self.assertEqual(ended.returncode, 0, ended.stdout.decode())


if __name__ == "__main__":
    unittest.main()
