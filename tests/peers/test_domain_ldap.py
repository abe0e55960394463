"""OpenLDAP's tools with Cyrus SASL's GSS-SPNEGO, as users of an Active Directory domain, with Samba's LDAP server.

Between the tool and the mechanism are libldap, libsasl2 with its GSS-API plugin, and the mechglue's SPNEGO. There is no Kerberos:
it has no realm and no ticket here.
"""

import base64
import collections
import glob
import hashlib
import os
import re
import struct
import subprocess

import domain
import test_command
from harness import (
    ESS, KEY_EXCH, NEG_128, PATIENCE, SEAL, SIGN,
    PeerTest, World, flip, message, negotiated, plugin, require, require_program, spnego_loses_mic,
)

LDAP, LDAPS = 389, 636
ALICE = "CN=alice," + domain.USERS
# maxssf of the client, the strength of the layer, and the negotiated protection. 256 is the same as no limit.
LAYERS = ((256, 64, SIGN | SEAL), (2, 64, SIGN | SEAL), (1, 1, SIGN))
SEALED, SIGNED, BARE = "maxssf=256", "maxssf=1", "maxssf=0"
# LDAP results, which are the exit statuses of the tools.
STRONG_AUTH_REQUIRED, INVALID_CREDENTIALS, INSUFFICIENT_ACCESS, UNWILLING = 8, 49, 50, 53
# If the tool did not reach the server, its status comes from exit(-result).
LOCAL_ERROR, SERVER_DOWN = 256 - 2, 256 - 1
# The texts of Samba and Active Directory with INVALID_CREDENTIALS.
WRONG_PASSWORD, DISABLED, EXPIRED, MUST_CHANGE, LOCKED = "52e", "533", "701", "773", "775"
# The data that Samba puts into one packet of the layer, and the length of the signature.
PACKET, SIGNATURE = 1 << 17, 16

ADMINISTRATOR = domain.account(domain.ADMINISTRATOR, domain.ADMINISTRATOR_PASSWORD)


def attributes(ldif):
    """The attributes of the entries in unwrapped LDIF, as {name: [value, ...]} with values in bytes."""
    found = collections.defaultdict(list)
    for name, encoded, value in re.findall(r"^([\w;-]+):(:?) ?(.*)$", ldif, re.M):
        found[name].append(base64.b64decode(value) if encoded else value.encode())
    return found


def packets(stream):
    """The layer's packets in one direction of a connection, after the messages of the bind."""
    stream = bytes(stream)
    while stream[:1] == b"\x30":
        length, size = stream[1], 2
        if length & 0x80:
            size += length & 0x7F
            length = int.from_bytes(stream[2:size], "big")
        stream = stream[size + length :]
    found = []
    while stream:
        length, = struct.unpack(">I", stream[:4])
        found.append(stream[4 : 4 + length])
        stream = stream[4 + length :]
    return found


class DomainLdap(PeerTest):
    def setUp(self):
        for program in ("ldapsearch", "ldapmodify", "ldapwhoami"):
            require_program(program, "ldap-utils")
        require(glob.glob("/usr/lib/*/sasl2/libgssapiv2.so"), "libsasl2-modules-gssapi-mit")
        self.dc = domain.shared().dc
        self.world = World(plugin(), domain.account("alice"))
        self.trace = os.path.join(self.world.path, "trace")

    def log_on_as(self, line):
        self.world.write("users", line)

    def run_tool(self, program, *arguments, props=SEALED, scheme="ldap", port=LDAP, status=0, **environment):
        """The tool ends with `status`; returns its standard output and standard error."""
        self.world.write("trace", "")
        ended = self.dc.run(
            [program, "-H", "%s://%s:%d" % (scheme, domain.DC_HOST, port), "-Y", "GSS-SPNEGO", "-O", props, *arguments],
            environment=self.world.environment(
                GSSNTLMSSP_DEBUG=self.trace,
                LDAPTLS_CACERT=domain.CERTIFICATE,
                # No configuration of this machine.
                SASL_CONF_PATH=self.world.path,
                **environment,
            ),
        )
        self.assertEqual(ended.returncode, status, ended.stdout[-2000:] + ended.stderr)
        return ended

    def search(self, base, *arguments, scope="base", **more):
        ended = self.run_tool("ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", base, "-s", scope, *arguments, **more)
        self.said = ended.stderr
        return attributes(ended.stdout)

    def modify(self, ldif, **more):
        return self.run_tool("ldapmodify", "-f", self.world.write("ldif", ldif), **more)

    def refused(self, status, words, **more):
        ended = self.run_tool("ldapsearch", "-LLL", "-b", "", "-s", "base", status=status, **more)
        self.assertEqual(ended.stdout, "")
        self.assertIn(words, ended.stderr)

    def handshake(self):
        return domain.handshake(self.trace)

    def assertLoggedOn(self, account="alice", options=(), **more):
        """The server has authenticated this account, and did so with our mechanism."""
        # The first one is the user's own.
        user, = self.search("", *options, "tokenGroups", **more)["tokenGroups"][:1]
        handshake = self.handshake()
        self.assertEqual(handshake.mic, not spnego_loses_mic())
        found = self.search(domain.USERS, *options, "(sAMAccountName=%s)" % account, "objectSid", scope="one", **more)
        self.assertEqual([user], found["objectSid"])
        return handshake

    def wire(self, *arguments, **options):
        wire = domain.Wire(self.dc, *arguments, **options)
        self.addCleanup(wire.close)
        return wire


class Layers(DomainLdap):
    def test_are_what_the_client_limits_them_to(self):
        for limit, strength, protection in LAYERS:
            with self.subTest(maxssf=limit):
                handshake = self.assertLoggedOn(props="maxssf=%d" % limit)
                self.assertEqual(handshake.user, domain.DOMAIN + "\\alice")
                self.assertEqual(handshake.flags & (SIGN | SEAL), protection)
                self.assertEqual(handshake.flags & (ESS | NEG_128 | KEY_EXCH), ESS | NEG_128 | KEY_EXCH)
                self.assertIn("SASL/GSS-SPNEGO authentication started\n", self.said)
                self.assertIn("SASL username: %s\\alice\nSASL SSF: %d\n" % (domain.DOMAIN, strength), self.said)
                self.assertIn("SASL data security layer installed.\n", self.said)

    def test_are_demanded_where_there_is_no_tls(self):
        self.refused(STRONG_AUTH_REQUIRED, "Strong(er) authentication required (8)", props=BARE)
        self.assertEqual(self.handshake().flags & (SIGN | SEAL), 0)

    def test_hide_what_is_said_from_whoever_is_on_the_way(self):
        # If only signing was negotiated, the layer seals nevertheless.
        for props, protection in ((SEALED, SIGN | SEAL), (SIGNED, SIGN)):
            with self.subTest(props):
                wire = self.wire(LDAP)
                found = self.search(ALICE, "displayName", props=props, port=wire.port)
                self.assertEqual(found["displayName"], [b"Alice Liddell"])
                sent, received = bytes(wire.said["sent"]), bytes(wire.said["received"])
                last = sent[sent.index(b"NTLMSSP\0\3") :]
                self.assertEqual(negotiated(last), self.handshake().flags)
                self.assertEqual(negotiated(last) & (SIGN | SEAL), protection)
                self.assertIn("alice".encode("utf-16-le"), last)
                # The search; the entry and the result. The client's unbind is another packet.
                self.assertGreaterEqual(len(packets(sent)), 1)
                self.assertGreaterEqual(len(packets(received)), 1)
                for packet in packets(sent) + packets(received):
                    self.assertGreater(len(packet), SIGNATURE)
                    self.assertEqual(packet[:4], b"\1\0\0\0")
                for secret in (b"displayName", b"Alice Liddell"):
                    self.assertNotIn(secret, sent + received)

    def test_break_when_somebody_changes_a_message(self):
        for props in (SEALED, SIGNED):
            for spoiled in ("sent", "received"):
                with self.subTest(props, spoiled=spoiled):
                    # A packet begins with its length; the messages of the bind do not.
                    wire = self.wire(
                        LDAP, lambda way, data: flip(data) if way == spoiled and data[:1] == b"\0" else data
                    )
                    self.refused(SERVER_DOWN, "Can't contact LDAP server", props=props, port=wire.port)

    def test_do_not_come_about_weaker_than_asked_for(self):
        for taken, name in ((SEAL, "NTLMSSP_NEGOTIATE_SEAL"), (SIGN | SEAL, "NTLMSSP_NEGOTIATE_SIGN")):
            with self.subTest(name):
                def change(way, data):
                    place = data.find(b"NTLMSSP\0\2")
                    if place < 0:
                        return data
                    place += 20
                    flags, = struct.unpack_from("<I", data, place)
                    return data[:place] + struct.pack("<I", flags & ~taken) + data[place + 4 :]

                wire = self.wire(LDAP, change)
                self.refused(LOCAL_ERROR, name, port=wire.port)
                self.assertNotIn(b"NTLMSSP\0\3", wire.said["sent"])


class Megabytes(DomainLdap):
    """An entry with a large value, which is written and read back."""

    ENTRY = "CN=gss-ntlm," + domain.USERS
    PHOTO = message(1 << 19) + os.urandom(1 << 20)

    def setUp(self):
        super().setUp()
        self.log_on_as(ADMINISTRATOR)
        self.modify("dn: %s\nchangetype: add\nobjectClass: user\n" % self.ENTRY)
        self.addCleanup(self.modify, "dn: %s\nchangetype: delete\n" % self.ENTRY)

    def write_photo(self, **more):
        photo = base64.b64encode(self.PHOTO).decode()
        self.modify("dn: %s\nchangetype: modify\nreplace: jpegPhoto\njpegPhoto:: %s\n" % (self.ENTRY, photo), **more)

    def assertPhoto(self, **more):
        photo, = self.search(self.ENTRY, "jpegPhoto", **more)["jpegPhoto"]
        # Do not print a megabyte of differences.
        self.assertTrue(photo == self.PHOTO, "another photo than was written")

    def test_go_through_both_ways(self):
        for props in (SEALED, SIGNED):
            with self.subTest(props):
                wire = self.wire(LDAP)
                self.write_photo(props=props, port=wire.port)
                self.assertGreater(sum(map(len, packets(wire.said["sent"]))), len(self.PHOTO))
                wire = self.wire(LDAP)
                self.assertPhoto(props=props, port=wire.port)
                sizes = [len(packet) for packet in packets(wire.said["received"])]
                self.assertGreater(len(sizes), len(self.PHOTO) // PACKET)
                self.assertEqual(max(sizes), PACKET)

    def test_go_through_small_buffers(self):
        for props in (SEALED, SIGNED):
            for size in (4096, 65536):
                with self.subTest(props, maxbufsize=size):
                    wire = self.wire(LDAP)
                    self.write_photo(props="%s,maxbufsize=%d" % (props, size), port=wire.port)
                    sizes = [len(packet) for packet in packets(wire.said["sent"])]
                    self.assertGreaterEqual(len(sizes), len(self.PHOTO) // size)
                    # Cyrus SASL counts only the data in the buffer's size.
                    self.assertEqual(max(sizes), size + SIGNATURE)
                    self.assertPhoto(props=props)
        # GSS-SPNEGO has no way to tell the server the size of the client's buffer.
        self.assertPhoto(props="maxbufsize=%d" % PACKET)

    def test_go_in_many_messages_on_one_connection(self):
        numbers = ["%d: %s" % (number, "x" * (number % 50)) for number in range(300)]
        change = "dn: %s\nchangetype: modify\nreplace: info\ninfo: " % self.ENTRY
        for props in (SEALED, SIGNED):
            with self.subTest(props):
                self.modify("\n\n".join(change + number for number in numbers) + "\n", props=props)
                self.assertEqual(self.search(self.ENTRY, "info")["info"], [numbers[-1].encode()])
                # Page by page, a thousand entries in all.
                found = self.search(domain.USERS, "-E", "pr=100/noprompt", "(cn=group-*)", "cn", scope="one", props=props)
                wanted = {b"group-%d" % number for number in range(domain.GROUPS)}
                self.assertEqual(set(found["cn"]), wanted)


class Users(DomainLdap):
    def test_change_the_directory(self):
        self.addCleanup(self.modify, "dn: %s\nchangetype: modify\nreplace: telephoneNumber\n" % ALICE)
        for number, props in enumerate((SEALED, SIGNED)):
            with self.subTest(props):
                change = "dn: %s\nchangetype: modify\nreplace: telephoneNumber\ntelephoneNumber: %d\n" % (ALICE, number)
                said = self.modify(change, props=props)
                self.assertIn("modifying entry", said.stdout)
                self.handshake()
                found = self.search(ALICE, "telephoneNumber")
                self.assertEqual(found["telephoneNumber"], [b"%d" % number])

    def test_may_do_what_the_account_may(self):
        # So the server knows which account this is.
        change = "dn: %s\nchangetype: modify\nreplace: jpegPhoto\njpegPhoto: x\n" % ALICE
        said = self.modify(change, status=INSUFFICIENT_ACCESS)
        self.assertIn("Insufficient access", said.stderr)

    def test_ask_who_they_are(self):
        for props in (SEALED, SIGNED):
            with self.subTest(props):
                said = self.dc.run(
                    ["ldapwhoami", "-H", "ldap://" + domain.DC_HOST, "-Y", "GSS-SPNEGO", "-O", props],
                    environment=self.world.environment(SASL_CONF_PATH=self.world.path),
                )
                self.assertIn("SASL username: %s\\alice\n" % domain.DOMAIN, said.stderr)
                # Old releases of Samba do not have this operation, and say so through the layer.
                if "Extended Operation(1.3.6.1.4.1.4203.1.11.3) not supported" not in said.stderr:
                    self.assertEqual((said.returncode, said.stdout), (0, "u:%s\\alice\n" % domain.DOMAIN))

    def test_log_on_by_each_of_their_names(self):
        for name, line, user in domain.SPELLINGS:
            with self.subTest(name):
                self.log_on_as(line)
                self.assertLoggedOn(user)

    def test_log_on_with_a_hash(self):
        # The directory keeps no LM hash.
        line = self.dc.must_run(["pdbedit", "--list", "--smbpasswd-style", "alice"])
        self.assertRegex(line, r"^alice:\d+:X{32}:[0-9A-F]{32}:\[U *\]:LCT-[0-9A-F]{8}:\n$")
        for name in (line, domain.DOMAIN + "\\" + line):
            with self.subTest(name):
                self.log_on_as(name)
                self.assertLoggedOn()

    def test_are_refused_with_a_word_why(self):
        for name, line, code in (
            ("a wrong password", domain.account("alice", "Battery Staple"), WRONG_PASSWORD),
            ("no such user", domain.account("nobody"), WRONG_PASSWORD),
            ("disabled", domain.account(domain.DISABLED), DISABLED),
            ("expired", domain.account(domain.EXPIRED), EXPIRED),
            ("locked out", domain.account(domain.LOCKED), LOCKED),
            ("a password that must be changed", domain.account(domain.MUST_CHANGE), MUST_CHANGE),
        ):
            with self.subTest(name):
                self.log_on_as(line)
                self.refused(INVALID_CREDENTIALS, "Invalid credentials (49)")
                self.handshake()
                self.refused(INVALID_CREDENTIALS, "AcceptSecurityContext error, data %s," % code)

    def test_need_a_password(self):
        self.refused(LOCAL_ERROR, "SPNEGO cannot find mechanisms to negotiate", NTLM_USER_FILE=None)
        self.log_on_as("")
        self.refused(LOCAL_ERROR, "has no usable entry: add a line")
        self.refused(LOCAL_ERROR, "The user file /nonexistent cannot be read", NTLM_USER_FILE="/nonexistent")

    def test_log_on_once(self):
        """With what gss-ntlm login has stored, for this server alone."""
        runtime = os.path.join(self.world.path, "runtime-%s" % os.urandom(4).hex())
        os.mkdir(runtime, 0o700)
        stored = {"NTLM_USER_FILE": None, "GSS_NTLM_STORE": "runtime", "XDG_RUNTIME_DIR": runtime}

        def log_on(target, password):
            subprocess.run(
                [test_command.command(), "login", "--target", target, domain.DOMAIN + "\\alice"], input=password + "\n", text=True,
                check=True, capture_output=True, env=self.world.environment(**stored), timeout=PATIENCE,
            )

        log_on("ldap/elsewhere", domain.PASSWORD)
        self.refused(LOCAL_ERROR, "", **stored)
        log_on("ldap/" + domain.DC_HOST, domain.PASSWORD)
        self.assertLoggedOn(**stored)
        log_on("*", "Battery Staple")
        self.assertLoggedOn(**stored)
        log_on("ldap/" + domain.DC_HOST, "Battery Staple")
        self.refused(INVALID_CREDENTIALS, "Invalid credentials (49)", **stored)


class Tls(DomainLdap):
    def test_stands_in_for_the_layer(self):
        for limit in (0, 1):
            for scheme, port, options in (("ldaps", LDAPS, ()), ("ldap", LDAP, ("-ZZ",))):
                with self.subTest(scheme, maxssf=limit):
                    handshake = self.assertLoggedOn(options=options, scheme=scheme, port=port, props="maxssf=%d" % limit)
                    self.assertEqual(handshake.flags & (SIGN | SEAL), 0)
                    self.assertIn("SASL SSF: 0\n", self.said)

    def test_goes_with_no_other_layer(self):
        self.refused(UNWILLING, "Sign or Seal are not allowed if TLS is used", scheme="ldaps", port=LDAPS)

    def test_carries_megabytes(self):
        found = self.search(
            domain.USERS, "(cn=group-*)", "cn", "objectSid", scope="one", scheme="ldaps", port=LDAPS, props=BARE
        )
        self.assertEqual(len(found["cn"]), domain.GROUPS)

    def test_binds_the_channel(self):
        der = self.dc.must_run(["openssl", "x509", "-in", domain.CERTIFICATE, "-fingerprint", "-sha256", "-noout"])
        binding = b"tls-server-end-point:" + bytes.fromhex(der.split("=")[1].replace(":", ""))
        sent = b"\x0a\0\x10\0" + hashlib.md5(bytes(16) + struct.pack("<I", len(binding)) + binding).digest()
        for setting, present in (("tls-endpoint", True), ("none", False)):
            with self.subTest(setting):
                wire = self.wire(LDAPS, tls=True)
                self.search("", scheme="ldaps", port=wire.port, props=BARE, LDAPSASL_CBINDING=setting)
                self.handshake()
                last = bytes(wire.said["sent"]).split(b"NTLMSSP\0\3")[1]
                self.assertEqual(sent in last, present)
