"""impacket (from PyPI): its functions for NTLM as client and as server, its SPNEGO, its LDAP client, and its SMB server.

impacket's client sends no MIC, and its server checks none; impacketpeer's server checks it.
"""

import contextlib
import hashlib
import itertools
import os
import socket
import ssl
import struct
import subprocess
import sys
import unittest.mock
import uuid

from harness import (
    ALICE, ANON, ANONYMOUS, CAROL_HASH, CHANNEL_BOUND, CONF, ESS, HERE, INTEG, KEY_EXCH, NEG_56, NEG_128, PASSWORD,
    PATIENCE, SEAL, SEALED, SIGN, SIGNED, SIZES, UNPROTECTED, USER_FILE,
    GssFailure, LineProcess, OneOfOurs, PeerTest, Side, World, flip, message, negotiated, plugin, require_module,
    require_program, spnego_loses_mic,
)

ANGSTROM = ("Ångström", "Grüße, Ω 密碼")
USERS = USER_FILE + "EXAMPLE:%s:%s\nEXAMPLE:guest:\n" % ANGSTROM
STRENGTHS = {"128": (0, 64), "56": (NEG_128, 56), "40": (NEG_128 | NEG_56, 40)}
# What its client can send: its settings, and the LM levels at which it is served.
RESPONSES = {
    "NTLMv2": ({}, range(6)),
    "NTLMv2 without ESS": ({"without": ESS}, range(6)),
    "NTLMv1 with ESS": ({"v2": False}, range(3)),
    "NTLMv1": ({"v2": False, "without": ESS}, range(3)),
}


# smbprotocol's names of the mechanisms.
PROTOCOLS = {"ntlm": "ntlm", "spnego": "negotiate"}


def setUpModule():
    require_module("impacket", "impacket")
    global ntlm, Client, LdapServer, NTLMSSP, Refused, Server, ThroughSpnego
    from impacket import ntlm
    from impacketpeer import NTLMSSP, Client, LdapServer, Refused, Server, ThroughSpnego


def hashed(binding):
    """Channel bindings without addresses, as in a token."""
    return hashlib.md5(bytes(16) + struct.pack("<I", len(binding)) + binding).digest()


class ImpacketTest(OneOfOurs, PeerTest):
    def setUp(self):
        self.world = World(plugin(), USERS)
        self.names = ("context %d" % n for n in itertools.count())


class WeAccept(ImpacketTest):
    def accept(self, client, our_binding=None, mech="ntlm", party=None):
        """Returns our side and our last answer."""
        party = party or self.ours
        name = next(self.names)
        party.serve(mech=mech)
        answer = party.accept(context=name, cred="server", token=client.negotiate(), binding=our_binding)
        self.sent = client.authenticate(answer["token"])
        answer = party.accept(context=name, cred="server", token=self.sent, binding=our_binding)
        self.assertFalse(answer["more"])
        return Side(party, name), answer

    def check(self, ours, client, talks=True):
        self.assertEqual(ours.session_key(), client.session.session_key())
        if talks:
            self.converse(ours, client.session)

    def setUp(self):
        super().setUp()
        self.ours = self.party()

    def test_serves_each_response_at_the_levels_that_allow_it(self):
        for level in self.at_each_level(**self.WEAK):
            for name, (options, levels) in RESPONSES.items():
                with self.subTest(name, level=level):
                    client = Client("alice", PASSWORD, **options)
                    if level in levels:
                        ours, answer = self.accept(client)
                        self.assertEqual(answer["source"], ALICE)
                        self.assertEqual(answer["flags"] & (INTEG | CONF), INTEG | CONF)
                        self.check(ours, client)
                    else:
                        self.assertNotServed(self.accept, client=client)

    def test_speaks_every_kind_of_session(self):
        self.ours = self.party(LM_COMPAT_LEVEL="1")
        for response, strength, exchange, sealing in itertools.product(RESPONSES, STRENGTHS, (True, False), (True, False)):
            options, _ = RESPONSES[response]
            lacking, ssf = STRENGTHS[strength]
            without = options.get("without", 0) | lacking | (0 if exchange else KEY_EXCH) | (0 if sealing else SEAL)
            with self.subTest(response, strength=strength, key_exchange=exchange, sealing=sealing):
                client = Client("alice", PASSWORD, **options | {"without": without})
                ours, answer = self.accept(client)
                self.assertEqual(answer["flags"] & (INTEG | CONF), INTEG | CONF if sealing else INTEG)
                self.assertEqual(bool(negotiated(self.sent) & KEY_EXCH), exchange)
                self.check(ours, client)
                self.assertEqual(self.ours.ssf(context=ours.context)["ssf"], ssf if sealing else 1)

    def test_accepts_who_asks_for_nothing(self):
        for response in ("NTLMv2", "NTLMv1 with ESS", "NTLMv1"):
            with self.subTest(response):
                options, _ = RESPONSES[response]
                self.ours = self.party(LM_COMPAT_LEVEL="1")
                client = Client("alice", PASSWORD, signing=False, **options)
                ours, answer = self.accept(client)
                self.assertEqual((answer["source"], answer["flags"] & (INTEG | CONF)), (ALICE, 0))
                self.check(ours, client, talks=False)

    def test_carries_messages_of_every_size(self):
        client = Client("alice", PASSWORD)
        ours, _ = self.accept(client)
        for size in (0, *SIZES):
            for sender, receiver in ((ours, client.session), (client.session, ours)):
                self.carry(sender, receiver, message(size))
                self.sign(sender, receiver, message(size))

    def test_knows_users_however_they_are_spelled(self):
        for user, domain, password, source in (
            ("alice", "EXAMPLE", PASSWORD, ALICE), ("ALICE", "EXAMPLE", PASSWORD, ALICE),
            ("aLiCe", "example", PASSWORD, ALICE), ("alice", "", PASSWORD, ALICE),
            ("alice@EXAMPLE", "", PASSWORD, ALICE), ("Alice@example", "", PASSWORD, ALICE),
            ("dora", "", "No Domain", "dora"), ("DORA", "ELSEWHERE", "No Domain", "dora"),
            (ANGSTROM[0], "EXAMPLE", ANGSTROM[1], "EXAMPLE\\" + ANGSTROM[0]),
            (ANGSTROM[0].upper(), "Example", ANGSTROM[1], "EXAMPLE\\" + ANGSTROM[0]),
            ("guest", "EXAMPLE", "", "EXAMPLE\\guest"),
        ):
            with self.subTest(user=user, domain=domain):
                client = Client(user, password, domain)
                ours, answer = self.accept(client)
                self.assertEqual(answer["source"], source)
                self.check(ours, client)

    def test_accepts_a_hash_in_place_of_the_password(self):
        for user, nt_hash, source in (
            ("alice", ntlm.compute_nthash(PASSWORD), ALICE), ("carol", bytes.fromhex(CAROL_HASH), "carol"),
        ):
            for v2, level in ((True, "3"), (False, "2")):
                with self.subTest(user, v2=v2):
                    self.ours = self.party(LM_COMPAT_LEVEL=level)
                    client = Client(user, nt_hash=nt_hash, v2=v2)
                    ours, answer = self.accept(client)
                    self.assertEqual(answer["source"], source)
                    self.check(ours, client)

    def test_refuses_who_does_not_prove_it(self):
        self.ours = self.party(LM_COMPAT_LEVEL="1")
        for name, (options, _) in RESPONSES.items():
            with self.subTest(name):
                self.assertNotServed(self.accept, client=Client("alice", "Battery Staple", **options))
                self.assertNotServed(self.accept, client=Client("nobody", PASSWORD, **options))
        for options in ({"nt_hash": bytes(16)}, {"password": PASSWORD, "domain": "ELSEWHERE"}, {"password": ""}):
            with self.subTest(**options):
                self.assertNotServed(self.accept, client=Client("alice", **options))

    def test_compares_channel_bindings(self):
        strict = self.party(GSS_NTLM_CHANNEL_BINDINGS="required")
        one = hashed(b"one channel")
        for party in (self.ours, strict):
            _, answer = self.accept(Client("alice", PASSWORD, binding=one), b"one channel", party=party)
            self.assertTrue(answer["flags"] & CHANNEL_BOUND)
            client = Client("alice", PASSWORD, binding=one)
            self.assertRefused("BAD_BINDINGS", self.accept, client=client, our_binding=b"another channel", party=party)
        for theirs, binding in ((b"", b"one channel"), (one, None)):
            _, answer = self.accept(Client("alice", PASSWORD, binding=theirs), binding)
            self.assertFalse(answer["flags"] & CHANNEL_BOUND)
            client = Client("alice", PASSWORD, binding=theirs)
            self.assertRefused("BAD_BINDINGS", self.accept, client=client, our_binding=binding, party=strict)

    def test_takes_room_for_a_mic_for_no_mic(self):
        # With a version the message has 16 bytes for a MIC, which are 0, and no flag that says there is one.
        version = b"\x0a\0\x61\x4a\0\0\0\x0f"
        client = Client("alice", PASSWORD, version=version)
        ours, _ = self.accept(client)
        self.assertEqual(self.sent[64:88], version + bytes(16))
        self.check(ours, client)
        self.assertEqual(self.ours.source(context=ours.context)["attributes"]["urn:gss-ntlm:mic"], ["none"])
        for version in (version, None):
            party = self.party(GSS_NTLM_REQUIRE_MIC="yes")
            self.assertNotServed(self.accept, client=Client("alice", PASSWORD, version=version), party=party)

    def test_serves_anonymous_clients_where_that_is_allowed(self):
        self.assertNotServed(self.accept, client=Client("", domain="", signing=False))
        party = self.party(GSS_NTLM_ANONYMOUS="yes")
        ours, answer = self.accept(Client("", domain="", signing=False), party=party)
        self.assertEqual((answer["source"], answer["flags"] & ANON), (ANONYMOUS, ANON))

    def test_refuses_what_was_tampered_with(self):
        client = Client("alice", PASSWORD)
        ours, _ = self.accept(client)
        token, mic = client.session.wrap(message(64)), client.session.get_mic(message(64))
        for position in (0, 4, 12, -1):
            with self.assertRaises(GssFailure):
                ours.unwrap(flip(token, position))
        self.assertEqual(ours.unwrap(token), message(64))
        with self.assertRaises(GssFailure):
            ours.verify_mic(message(65), mic)
        ours.verify_mic(message(64), mic)
        with self.assertRaises(Refused):
            client.session.unwrap(flip(ours.wrap(message(64))))

    def test_speaks_through_spnego(self):
        kerberos = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"
        self.ours = self.party(LM_COMPAT_LEVEL="1")
        for mechanisms in ((NTLMSSP,), (NTLMSSP, kerberos)):
            for name, (options, _) in RESPONSES.items():
                with self.subTest(name, mechanisms=len(mechanisms)):
                    client = ThroughSpnego(Client("alice", PASSWORD, **options), mechanisms)
                    ours, answer = self.accept(client, mech="spnego")
                    self.assertEqual(answer["source"], ALICE)
                    self.check(ours, client)
        self.assertNotServed(self.accept, client=ThroughSpnego(Client("alice", "Battery Staple")), mech="spnego")


class WeInitiate(ImpacketTest):
    def initiate(self, server, party, flags=SEALED, user=ALICE, password=PASSWORD, binding=None):
        """Returns our side, our last answer, and the AV_PAIRs that the server got."""
        name = next(self.names)
        party.log_on(user=user, password=password)
        common = {"context": name, "cred": "user", "flags": flags, "binding": binding}
        challenge = server.challenge(party.init(**common)["token"])
        answer = party.init(**common, token=challenge)
        self.assertFalse(answer["more"])
        self.sent = answer["token"]
        return Side(party, name), answer, server.judge(self.sent)

    def check(self, ours, server):
        self.assertEqual(ours.session_key(), server.session.session_key())
        self.converse(ours, server.session)

    def test_speaks_every_kind_of_session(self):
        for level in self.at_each_level(**self.WEAK):
            for ess, strength, exchange in itertools.product((True, False), STRENGTHS, (True, False)):
                lacking, ssf = STRENGTHS[strength]
                without = (0 if ess else ESS) | lacking | (0 if exchange else KEY_EXCH)
                for flags in (SEALED, SIGNED):
                    with self.subTest(level=level, ess=ess, strength=strength, key_exchange=exchange, flags=flags):
                        server = Server("alice", PASSWORD, without)
                        ours, answer, info = self.initiate(server, self.ours, flags)
                        self.assertEqual(server.name, ALICE)
                        self.assertEqual(info is not None, level > 2)
                        self.assertEqual(bool(negotiated(self.sent) & ESS), ess and level > 0)
                        self.assertEqual(answer["flags"] & (INTEG | CONF), flags & (INTEG | CONF))
                        self.assertEqual(self.ours.ssf(context=ours.context)["ssf"], ssf if flags & CONF else 1)
                        self.check(ours, server)

    def test_says_what_it_means(self):
        ours = self.party()
        server = Server("alice", PASSWORD)
        _, _, info = self.initiate(server, ours, binding=b"one channel")
        self.assertTrue(server.has_mic)
        self.assertEqual(info[ntlm.NTLMSSP_AV_CHANNEL_BINDINGS][1], hashed(b"one channel"))
        self.assertEqual(info[ntlm.NTLMSSP_AV_TARGET_NAME][1].decode("utf-16le"), "host/localhost")
        self.assertEqual(info[ntlm.NTLMSSP_AV_HOSTNAME], server.info[ntlm.NTLMSSP_AV_HOSTNAME])

    def test_logs_on_to_a_server_that_does_not_say_its_netbios_names(self):
        for id in (ntlm.NTLMSSP_AV_DNS_HOSTNAME, ntlm.NTLMSSP_AV_DOMAINNAME, ntlm.NTLMSSP_AV_HOSTNAME):
            with self.subTest(id):
                server = Server("alice", PASSWORD)
                server.info = ntlm.AV_PAIRS()
                server.info[id] = "nas".encode("utf-16le")
                ours, _, _ = self.initiate(server, self.party())
                self.check(ours, server)

    def test_logs_on_to_a_server_that_says_nothing_only_where_it_may(self):
        def silent():
            server = Server("alice", PASSWORD)
            server.info = ntlm.AV_PAIRS()
            return server

        failure = self.assertRefused("FAILURE", self.initiate, server=silent(), party=self.party())
        self.assertIn("GSS_NTLM_TARGET_INFO", failure.text)
        server = silent()
        ours, _, _ = self.initiate(server, self.party(GSS_NTLM_TARGET_INFO="optional"))
        self.check(ours, server)
        with self.assertRaises(Refused):
            self.initiate(silent(), self.party(GSS_NTLM_TARGET_INFO="optional"), password="wrong")

    def test_sends_no_mic_to_a_server_without_a_clock(self):
        server = Server("alice", PASSWORD, timestamp=False)
        ours, _, _ = self.initiate(server, self.party())
        self.assertFalse(server.has_mic)
        self.check(ours, server)

    def test_asks_for_nothing(self):
        for level in self.at_each_level():
            with self.subTest(level=level):
                server = Server("alice", PASSWORD)
                ours, answer, _ = self.initiate(server, self.ours, UNPROTECTED)
                self.assertEqual(answer["flags"] & (INTEG | CONF), 0)
                self.assertEqual(ours.session_key(), server.session.session_key())

    def test_logs_on_with_letters_of_every_kind(self):
        server = Server(*ANGSTROM)
        ours, _, _ = self.initiate(server, self.party(), user="EXAMPLE\\" + ANGSTROM[0], password=ANGSTROM[1])
        self.check(ours, server)

    def test_is_refused_with_a_wrong_password(self):
        for level in self.at_each_level():
            with self.subTest(level=level), self.assertRaises(Refused):
                self.initiate(Server("alice", "Battery Staple"), self.ours)

    def test_refuses_a_server_without_what_was_asked_for(self):
        ours = self.party()
        for flags, without in ((SIGNED, SIGN | SEAL), (SEALED, SEAL)):
            self.assertNotServed(self.initiate, server=Server("alice", PASSWORD, without), party=ours, flags=flags)



class ItsSmbServer(ImpacketTest):
    """smbprotocol (from PyPI) logs in to impacket's SMB server with the tokens of our initiator. Server and client sign with
    the session key."""

    SPNEGO_WITHOUT_MIC = {"GSS_NTLM_MIC": "raw-only"}

    def setUp(self):
        require_module("smbprotocol", "smbprotocol")
        super().setUp()
        self.world.write("file", b"the content")
        program = os.path.join(HERE, "impacketpeer.py")
        server = LineProcess(
            [sys.executable, program, self.world.path, "alice", PASSWORD], self.world.environment(), cwd=self.world.path
        )
        self.addCleanup(server.close)
        self.port = int(server.read_line())

    @contextlib.contextmanager
    def session(self, party, mech="ntlm", signing=True, **who):
        from smbprotocol.connection import Connection
        from smbprotocol.session import Session

        name = next(self.names)
        party.log_on(mech=mech, **who)
        system = OurLogin(party, context=name, cred="user", mech=mech, flags=SIGNED, target="cifs@localhost")
        connection = Connection(uuid.uuid4(), "127.0.0.1", self.port, require_signing=signing)
        connection.connect(timeout=PATIENCE)
        try:
            session = Session(connection, None, require_encryption=False, auth_protocol=PROTOCOLS[mech])
            with unittest.mock.patch("smbprotocol.session.spnego.client", lambda *arguments, **more: system):
                session.connect()
            yield session
        finally:
            connection.disconnect(close=False)

    def read(self, session):
        from smbprotocol import open as smb
        from smbprotocol.tree import TreeConnect

        tree = TreeConnect(session, r"\\127.0.0.1\SHARE")
        tree.connect()
        file = smb.Open(tree, "file")
        file.create(
            smb.ImpersonationLevel.Impersonation, smb.FilePipePrinterAccessMask.GENERIC_READ,
            smb.FileAttributes.FILE_ATTRIBUTE_NORMAL, smb.ShareAccess.FILE_SHARE_READ, smb.CreateDisposition.FILE_OPEN,
            smb.CreateOptions.FILE_NON_DIRECTORY_FILE,
        )
        return file.read(0, 100)

    def test_lets_us_read_a_file_signed(self):
        ours = self.party()
        for user in (ALICE, "alice", "ELSEWHERE\\ALICE"):
            with self.subTest(user), self.session(ours, user=user) as session:
                self.assertTrue(session.signing_required)
                self.assertEqual(self.read(session), b"the content")

    def test_lets_us_in_through_spnego(self):
        # impacket sends no mechListMIC, which SPNEGO waits for if the AUTHENTICATE_MESSAGE has a MIC. If it has none, impacket
        # does not find the key for signatures.
        if not spnego_loses_mic():
            with self.assertRaises(GssFailure), self.session(self.party(), mech="spnego", signing=False):
                pass
        without_mic = {} if spnego_loses_mic() else self.SPNEGO_WITHOUT_MIC
        with self.session(self.party(**without_mic), mech="spnego", signing=False) as session:
            self.assertTrue(session.session_id)

    def test_refuses_us_with_a_wrong_password(self):
        from smbprotocol.exceptions import LogonFailure

        for mech in ("ntlm", "spnego"):
            ours = self.party(**self.SPNEGO_WITHOUT_MIC)
            with self.subTest(mech), self.assertRaises(LogonFailure), self.session(ours, mech, password="Battery Staple"):
                pass

    def test_refuses_us_with_ntlmv1(self):
        from smbprotocol.exceptions import LogonFailure

        with self.assertRaises(LogonFailure), self.session(self.party(LM_COMPAT_LEVEL="2")):
            pass


class ItsLdapClient(ImpacketTest):
    """impacket's LDAP client, and our acceptor in a small server: LDAP in a sealed layer and in TLS."""

    def server(self, party, binding=None, sealed=True, tls=None):
        name = next(self.names)

        def accept(token, mech):
            party.serve(cred=mech, mech=mech)
            return party.accept(context=name, cred=mech, token=token, binding=binding)

        return LdapServer(accept, Side(party, name) if sealed else None, tls)

    @contextlib.contextmanager
    def client(self, server, scheme="ldap", **options):
        from impacket.ldap.ldap import LDAPConnection

        # impacket can use the standard ports only.
        place = (socket.AF_INET, socket.SOCK_STREAM, 0, "", server.listener.getsockname())
        with unittest.mock.patch("socket.getaddrinfo", lambda *arguments: [place]):
            client = LDAPConnection(scheme + "://localhost", **options)
        try:
            yield client
        finally:
            client.close()
            server.join(PATIENCE)

    def search(self, client, base=""):
        return str(client.search(searchBase=base)[0]["objectName"])

    def assertRefused(self, client, *arguments, **more):
        from impacket.ldap.ldap import LDAPSessionError

        with self.assertRaisesRegex(LDAPSessionError, "invalidCredentials"):
            client.login(*arguments, **more)

    def test_talks_sealed(self):
        ours = self.party()
        for who in ({"password": PASSWORD}, {"nthash": ntlm.compute_nthash(PASSWORD).hex()}):
            with self.client(self.server(ours)) as client:
                client.login("alice", domain="EXAMPLE", **who)
                for size in (0, 1, 1000, 20000, 7):
                    self.assertEqual(self.search(client, size * "x"), ALICE + " " + size * "x")

    def test_talks_in_the_clear(self):
        ours = self.party()
        for way in ("sasl", "sicilyNegotiate"):
            with self.subTest(way), self.client(self.server(ours, sealed=False), signing=False) as client:
                client.login("alice", PASSWORD, "EXAMPLE", authenticationChoice=way)
                self.assertEqual(self.search(client), ALICE + " ")

    def test_is_refused_with_a_wrong_password(self):
        ours = self.party()
        for way in ("sasl", "sicilyNegotiate"):
            with self.subTest(way), self.client(self.server(ours), signing=False) as client:
                self.assertRefused(client, "alice", "Battery Staple", "EXAMPLE", authenticationChoice=way)

    def test_is_bound_to_the_channel(self):
        tls, binding = self.certificate("ours")
        _, another = self.certificate("another")
        strict = self.party(GSS_NTLM_CHANNEL_BINDINGS="required")
        for way in ("sasl", "sicilyNegotiate"):
            with self.subTest(way):
                with self.client(self.server(strict, binding, sealed=False, tls=tls), "ldaps") as client:
                    client.login("alice", PASSWORD, "EXAMPLE", authenticationChoice=way)
                    self.assertEqual(self.search(client), ALICE + " ")
                with self.client(self.server(strict, another, sealed=False, tls=tls), "ldaps") as client:
                    self.assertRefused(client, "alice", PASSWORD, "EXAMPLE", authenticationChoice=way)
                # A client without channel bindings.
                with self.client(self.server(strict, binding, sealed=False), signing=False) as client:
                    self.assertRefused(client, "alice", PASSWORD, "EXAMPLE", authenticationChoice=way)

    def certificate(self, name):
        """A server with its own certificate: a TLS context, and the tls-server-end-point (RFC 5929)."""
        path = os.path.join(self.world.path, name + ".pem")
        command = [
            require_program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-sha256", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", path, "-out", path + ".crt",
        ]
        subprocess.run(
            command, env=self.world.environment(), check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, capture_output=True
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path + ".crt", path)
        with open(path + ".crt") as file:
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).digest()
        return context, b"tls-server-end-point:" + digest


class OurLogin:
    """Our initiator with the methods of pyspnego's contexts."""

    def __init__(self, party, **common):
        self.party, self.common, self.complete = party, common, False

    def step(self, token):
        answer = self.party.init(**self.common, token=token)
        self.complete = not answer["more"]
        return answer["token"]

    @property
    def session_key(self):
        return self.party.session_key(context=self.common["context"])["key"]
