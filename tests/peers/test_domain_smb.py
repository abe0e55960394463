"""smbprotocol (from PyPI) as users of an Active Directory domain on a share of its domain controller, with our mechanism.

SMB uses only NTLM's tokens, directly or inside SPNEGO, and the session key, from which it makes its own keys for signing and
encryption: with a wrong key, reading and writing fails.
"""

import os
import shutil

import domain
from harness import (
    SEAL, SEALED, SIGN, SIGNED, UNPROTECTED,
    GssFailure, Peer, PeerTest, World, flip, message, negotiated, plugin, require_module,
)

SMB = 445
# The tests' own directory on the share.
DIRECTORY = "gss-ntlm"
PROTOCOLS = ("ntlm", "negotiate")
# Dialects, and whether they can encrypt.
DIALECTS = {0x202: False, 0x210: False, 0x300: True, 0x302: True, 0x311: True}
CIPHERS = {1: "AES-128-CCM", 2: "AES-128-GCM", 3: "AES-256-CCM", 4: "AES-256-GCM"}
SIGNING_ALGORITHMS = {0: "HMAC-SHA256", 1: "AES-CMAC", 2: "AES-GMAC"}
SPNEGO = b"\x06\x06\x2b\x06\x01\x05\x05\x02"
# The beginnings of a plain and an encrypted message, after its length; the place of a plain message's command; the first two
# commands.
PLAIN, ENCRYPTED = b"\xfeSMB", b"\xfdSMB"
COMMAND = slice(16, 18)
NEGOTIATE, SESSION_SETUP = b"\0\0", b"\1\0"
# Errors of the server (MS-ERREF 2.3).
LOGON_FAILURE, ACCOUNT_DISABLED, ACCOUNT_EXPIRED = 0xC000006D, 0xC0000072, 0xC0000193
ACCOUNT_LOCKED_OUT, PASSWORD_MUST_CHANGE = 0xC0000234, 0xC0000224
ACCESS_DENIED = 0xC0000022


def remote(name=""):
    return "\\\\%s\\share\\%s\\%s" % (domain.DC_HOST, DIRECTORY, name)


class DomainSmb(PeerTest):
    def setUp(self):
        require_module("smbprotocol", "smbprotocol")
        require_module("gssapi", "python3-gssapi")
        self.dc = domain.shared().dc
        self.world = World(plugin(), domain.account("alice"))
        self.trace = self.world.write("trace", "")
        os.mkdir(self.local(""))
        os.chmod(self.local(""), 0o777)
        self.addCleanup(shutil.rmtree, self.local(""))
        traced = {"GSSNTLMSSP_DEBUG": self.trace}
        self.client = Peer("smbpeer.py", self.world, traced, self.dc.prefix(self.world.path), plugin=self.world.library)
        self.addCleanup(self.close_cleanly, self.client)

    def log_on_as(self, line):
        self.world.write("users", line)

    def connect(self, protocol, port=SMB, flags=SEALED, **more):
        """Returns facts about the connection, and what our mechanism says about its side."""
        self.world.write("trace", "")
        session = self.client.connect(server=domain.DC_HOST, port=port, protocol=protocol, flags=flags, **more)
        self.assertEqual(len(session["key"]), 16)
        return session, self.handshake()

    def refused(self, status, protocol, **more):
        with self.assertRaises(GssFailure) as caught:
            self.connect(protocol, **more)
        self.assertEqual(hex(caught.exception.status), hex(status), str(caught.exception))

    def handshake(self):
        return domain.handshake(self.trace)

    def local(self, name):
        return self.dc.path(os.path.join(domain.SHARE, DIRECTORY, name))

    def use_share(self, data):
        """Write a file and read one, and compare both with the server's disk; returns the owner of the file there."""
        with open(self.local("given"), "wb") as file:
            file.write(data)
        self.assertTrue(self.client.read(path=remote("given"))["data"] == data, "what was read is not what is there")
        os.unlink(self.local("given"))
        self.assertEqual(self.client.write(path=remote("taken"), data=data)["size"], len(data))
        with open(self.local("taken"), "rb") as file:
            self.assertTrue(file.read() == data, "what was written is not what is there")
            owner = os.fstat(file.fileno()).st_uid
        self.assertEqual(self.client.list(path=remote())["names"], ["taken"])
        self.client.remove(path=remote("taken"))
        self.assertEqual(os.listdir(self.local("")), [])
        return owner

    def uid(self, user):
        sid = self.dc.must_run(["wbinfo", "--name-to-sid", domain.DOMAIN + "\\" + user]).split()[0]
        return int(self.dc.must_run(["wbinfo", "--sid-to-uid", sid]))

    def wire(self, *arguments):
        wire = domain.Wire(self.dc, SMB, *arguments)
        self.addCleanup(wire.close)
        return wire


class Sessions(DomainSmb):
    def test_are_signed_in_every_dialect(self):
        for protocol in PROTOCOLS:
            for dialect in DIALECTS:
                with self.subTest(protocol, dialect=hex(dialect)):
                    session, _ = self.connect(protocol, dialect=dialect)
                    self.assertEqual(
                        (session["dialect"], session["signed"], session["encrypted"]), (dialect, True, False)
                    )
                    self.use_share(message(70000))
                    self.client.disconnect()

    def test_are_encrypted_in_every_dialect_that_can(self):
        for protocol in PROTOCOLS:
            for dialect in (dialect for dialect, can in DIALECTS.items() if can):
                with self.subTest(protocol, dialect=hex(dialect)):
                    session, _ = self.connect(protocol, dialect=dialect, encrypt=True)
                    self.assertEqual((session["dialect"], session["encrypted"]), (dialect, True))
                    self.use_share(message(70000))
                    self.client.disconnect()

    def test_are_encrypted_with_every_cipher(self):
        for protocol in PROTOCOLS:
            for cipher, name in CIPHERS.items():
                with self.subTest(protocol, cipher=name):
                    session, _ = self.connect(protocol, encrypt=True, preferred_encryption_algos=[cipher])
                    self.assertEqual((session["cipher"], session["encrypted"]), (cipher, True))
                    self.use_share(message(1000))
                    self.client.disconnect()

    def test_are_signed_with_every_algorithm(self):
        for protocol in PROTOCOLS:
            for algorithm, name in SIGNING_ALGORITHMS.items():
                with self.subTest(protocol, algorithm=name):
                    session, _ = self.connect(protocol, preferred_signing_algos=[algorithm])
                    self.assertTrue(session["signed"])
                    self.use_share(message(1000))
                    self.client.disconnect()

    def test_have_a_key_whatever_was_asked_of_ntlm(self):
        for protocol in PROTOCOLS:
            for flags, protection in ((SEALED, SIGN | SEAL), (SIGNED, SIGN), (UNPROTECTED, 0)):
                for encrypt in (False, True):
                    with self.subTest(protocol, flags=flags, encrypt=encrypt):
                        _, handshake = self.connect(protocol, flags=flags, encrypt=encrypt)
                        # SPNEGO always asks for integrity.
                        wanted = protection | (SIGN if protocol == "negotiate" else 0)
                        self.assertEqual(handshake.flags & (SIGN | SEAL), wanted)
                        self.use_share(message(1000))
                        self.client.disconnect()

    def test_carry_megabytes(self):
        for protocol in PROTOCOLS:
            for encrypt in (False, True):
                with self.subTest(protocol, encrypt=encrypt):
                    self.connect(protocol, encrypt=encrypt)
                    self.use_share(message(1 << 20) + os.urandom(2 << 20))
                    self.client.disconnect()

    def test_are_on_the_wire_what_they_should_be(self):
        for protocol in PROTOCOLS:
            for encrypt in (False, True):
                with self.subTest(protocol, encrypt=encrypt):
                    wire = self.wire()
                    _, handshake = self.connect(protocol, port=wire.port, encrypt=encrypt)
                    secret = os.urandom(1000)
                    self.use_share(secret)
                    self.client.disconnect()
                    for direction, said in wire.said.items():
                        self.assertEqual(secret in said, not encrypt)
                        self.assertEqual(ENCRYPTED in said, encrypt)
                    sent = bytes(wire.said["sent"])
                    first, last = sent.index(b"NTLMSSP\0\1"), sent.index(b"NTLMSSP\0\3")
                    self.assertEqual(SPNEGO in sent[:first], protocol == "negotiate")
                    self.assertEqual(negotiated(sent[last:]), handshake.flags)

    def test_break_when_somebody_changes_a_message(self):
        for encrypt, spoiled, words in (
            (False, "sent", hex(ACCESS_DENIED)),
            (False, "received", "Server message signature could not be verified"),
            (True, "sent", "SMB socket was closed"),
            (True, "received", "InvalidTag"),
        ):
            for protocol in PROTOCOLS:
                with self.subTest(protocol, encrypt=encrypt, spoiled=spoiled):
                    def change(way, data):
                        early = data[4:8] == PLAIN and data[COMMAND] in (NEGOTIATE, SESSION_SETUP)
                        return flip(data) if way == spoiled and not early else data

                    wire = self.wire(change)
                    self.connect(protocol, port=wire.port, encrypt=encrypt)
                    with self.assertRaisesRegex((GssFailure, RuntimeError), words):
                        self.client.list(path=remote())


class Users(DomainSmb):
    def test_log_on_by_each_of_their_names(self):
        for name, line, user in (
            *domain.SPELLINGS,
            ("a hash", self.dc.must_run(["pdbedit", "--list", "--smbpasswd-style", "alice"]), "alice"),
        ):
            for protocol in PROTOCOLS:
                with self.subTest(name, protocol=protocol):
                    self.log_on_as(line)
                    self.connect(protocol, encrypt=True)
                    self.assertEqual(self.use_share(b"mine"), self.uid(user))
                    self.client.disconnect()

    def test_log_on_with_a_password_of_their_own(self):
        for user, password, name in (
            (domain.DOMAIN + "\\alice", domain.PASSWORD, "alice"),
            ("alice@" + domain.DNS_DOMAIN, domain.PASSWORD, "alice"),
            (domain.UPN.replace("@", "\\@"), domain.PASSWORD, domain.UPN_USER),
            (domain.DOMAIN + "\\" + domain.UNICODE_USER, domain.UNICODE_PASSWORD, domain.UNICODE_USER),
            # The password is in the user file.
            (domain.DOMAIN + "\\alice", None, "alice"),
        ):
            for protocol in PROTOCOLS:
                with self.subTest(user, protocol=protocol):
                    self.connect(protocol, encrypt=True, user=user, password=password)
                    self.assertEqual(self.use_share(b"mine"), self.uid(name))
                    self.client.disconnect()

    def test_are_refused_with_a_word_why(self):
        for name, line, status in (
            ("a wrong password", domain.account("alice", "Battery Staple"), LOGON_FAILURE),
            ("no such user", domain.account("nobody"), LOGON_FAILURE),
            ("disabled", domain.account(domain.DISABLED), ACCOUNT_DISABLED),
            ("expired", domain.account(domain.EXPIRED), ACCOUNT_EXPIRED),
            ("locked out", domain.account(domain.LOCKED), ACCOUNT_LOCKED_OUT),
            ("a password that must be changed", domain.account(domain.MUST_CHANGE), PASSWORD_MUST_CHANGE),
        ):
            for protocol in PROTOCOLS:
                with self.subTest(name, protocol=protocol):
                    self.log_on_as(line)
                    self.refused(status, protocol)
                    self.handshake()

    def test_need_a_password(self):
        self.log_on_as("")
        for protocol in PROTOCOLS:
            with self.subTest(protocol):
                self.assertRefused("NO_CRED", self.connect, protocol=protocol)
