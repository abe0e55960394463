"""Answers of winbindd that a real one rarely gives, and the requests to it.

tests/c/wbclient.c is a fake libwbclient that answers what a test tells it. Only the mechanism under test sees it. Samba is not
needed.
"""

import contextlib
import functools
import hashlib
import hmac
import itertools
import json
import os
import struct
import subprocess
import time

from harness import (
    ALICE, CAROL_HASH, CAROL_PASSWORD, CONF, ESS, HERE, INTEG, PASSWORD, PATIENCE, SEAL, SEALED, SIGN, SIGNED, UNPROTECTED,
    GssFailure, Party, PeerTest, Side, World, flip, handshake, message, negotiated, require, require_program,
)
from peerloop import decode, encode

USER = "AD\\alice"
NT_HASH = bytes.fromhex(CAROL_HASH)
# The SessionBaseKey of NTLMv1, which is MD4 of that hash ([MS-NLMP] 4.2.2.1.3).
V1_KEY = bytes.fromhex("d87262b0cde4b1cb7499becccdf10784")

# Where Samba's wbclient.h is, on every distribution.
WBCLIENT_H = "/usr/include/samba-4.0"
# wbcErr.
UNKNOWN_FAILURE, NOT_AVAILABLE, AUTH_ERROR, LAST_ERROR = 2, 6, 10, 13
FUNCTIONS = (
    "wbcCtxCreate", "wbcCtxFree", "wbcFreeMemory", "wbcCtxPing", "wbcCtxInterfaceDetails", "wbcCtxLookupDomainControllerEx",
    "wbcCtxAuthenticateUserEx", "wbcCtxCredentialCache",
)

# Offsets of fields in messages, and AvIds ([MS-NLMP] 2.2.1, 2.2.2.1).
LM_RESPONSE, NT_RESPONSE, DOMAIN_NAME, USER_NAME, WORKSTATION, FLAGS, MIC = 12, 20, 28, 36, 44, 60, 72
TARGET_NAME, SERVER_CHALLENGE, TARGET_INFO = 12, 24, 40
NB_COMPUTER, NB_DOMAIN, DNS_COMPUTER, DNS_DOMAIN, DNS_TREE = 1, 2, 3, 4, 5
TARGET_TYPE_DOMAIN, TARGET_TYPE_SERVER = 0x10000, 0x20000


@functools.cache
def false_library(*options):
    """The path of the fake library, compiled with these preprocessor options."""
    path = os.path.join(World().path, "libwbclient.so.0")
    source = os.path.join(HERE, "..", "c", "wbclient.c")
    require(os.path.exists(os.path.join(WBCLIENT_H, "wbclient.h")), "Samba's wbclient.h (libwbclient-dev)")
    command = [require_program("cc", "gcc"), "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Werror", "-I" + WBCLIENT_H]
    subprocess.run([*command, *options, "-o", path, source], check=True, timeout=5 * PATIENCE)
    return path


def sid(authority, *parts, count=None):
    """A SID and its text; `count` is the number of parts that it claims to have."""
    padded = parts + (0,) * (15 - len(parts))
    count = len(parts) if count is None else count
    packed = struct.pack("=BB6s15II", 1, count, authority.to_bytes(6, "big"), *padded, 7)
    shown = str(authority) if authority < 1 << 32 else "0x%012x" % authority
    return packed, "-".join(["S", "1", shown, *map(str, parts)])


def sids(*given):
    """These SIDs as in the answer."""
    return {"num_sids": len(given), "sids": b"".join(packed for packed, _ in given)}


ACCOUNT_SID, USERS_SID, GROUP_SID = (sid(5, 21, 1, 2, 3, last) for last in (1000, 513, 4294967295))
# What the domain says about the account, without the session key.
ACCOUNT = {"info": 1, "account_name": "Alice", "domain_name": "AD", **sids(ACCOUNT_SID, USERS_SID, GROUP_SID)}
DETAILS = {"info": 1, "netbios_name": "MEMBER", "netbios_domain": "AD", "dns_domain": "ad.example"}
CONTROLLER = {"info": 1, "forest_name": "forest.example"}


def field(token, at):
    length, _, offset = struct.unpack_from("<HHI", token, at)
    return token[offset : offset + length]


def with_field(token, at, data):
    """`token` with `data` in this field, appended at its end."""
    return token[:at] + struct.pack("<HHI", len(data), len(data), len(token)) + token[at + 8 :] + data


def hmac_md5(key, data):
    return hmac.new(key, data, hashlib.md5).digest()


def session_base_key(token):
    """A domain controller's answer to an AUTHENTICATE_MESSAGE with NTLMv2 made with CAROL_PASSWORD."""
    user = field(token, USER_NAME).decode("utf-16-le", "surrogatepass").upper().encode("utf-16-le", "surrogatepass")
    return hmac_md5(hmac_md5(NT_HASH, user + field(token, DOMAIN_NAME)), field(token, NT_RESPONSE)[:16])


def target_info(challenge):
    """The AV pairs of a CHALLENGE_MESSAGE, as {AvId: text}."""
    rest, found = field(challenge, TARGET_INFO), {}
    while rest:
        kind, length = struct.unpack_from("<HH", rest)
        found[kind] = rest[4 : 4 + length]
        rest = rest[4 + length :]
    return {kind: value.decode("utf-16-le") for kind, value in found.items() if NB_COMPUTER <= kind <= DNS_TREE}


class Member(Party):
    """A party for which the test is winbindd."""

    def __init__(self, library=None, **environment):
        world = World()
        self.path, self.trace_file = world.path, os.path.join(world.path, "trace")
        self.say()
        unset = dict.fromkeys(("NTLM_USER_FILE", "NETBIOS_COMPUTER_NAME", "NETBIOS_DOMAIN_NAME"))
        settings = {
            "LD_LIBRARY_PATH": os.path.dirname(library or false_library()), "FALSE_WBCLIENT": world.path,
            "GSSNTLMSSP_DEBUG": self.trace_file,
        }
        super().__init__(world, **{**unset, **settings, **environment})

    def say(self, details=DETAILS, controller=CONTROLLER, **calls):
        """Set what the library answers from now on; values that are None have no line."""
        calls |= {"details": details, "controller": controller}
        lines = []
        for call, settings in calls.items():
            for key, value in settings.items():
                value = value.encode() if isinstance(value, str) else value
                if value is not None:
                    lines.append("%s.%s=%s\n" % (call, key, value.hex() if isinstance(value, bytes) else value))
        # Other threads may read the file at the same time.
        path = os.path.join(self.path, "answers")
        with open(path + ".new", "w") as file:
            file.writelines(lines)
        os.replace(path + ".new", path)

    def heard(self, *names):
        """The calls with these names, or all calls, each a dict of the arguments."""
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.path, "calls")) as file:
            lines = [dict(word.split("=", 1) for word in line.split()) for line in file]
            return [line for line in lines if not names or line["call"] in names]
        return []

    def wait_for(self, call, count):
        """Wait until so many of these calls were made."""
        end = time.monotonic() + PATIENCE
        while len(self.heard(call)) < count:
            if time.monotonic() > end:
                raise AssertionError("no %d calls of %s: %s" % (count, call, self.heard()))
            time.sleep(0.01)

    def open_connections(self):
        return len(self.heard("create")) - len(self.heard("free"))

    def wait_until_closed(self):
        """Until no connection is open: that of a request whose caller has stopped waiting ends late."""
        end = time.monotonic() + PATIENCE
        while self.open_connections() > 0:
            if time.monotonic() > end:
                raise AssertionError("connections stay open: %s" % self.heard())
            time.sleep(0.01)

    def trace_text(self):
        with open(self.trace_file) as file:
            return file.read()


def said(call, key):
    """A text argument of the library."""
    return bytes.fromhex(call[key]).decode()


class WinbindTest(PeerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clients = {}
        cls.numbers = iter(range(1_000_000))

    @classmethod
    def client(cls, **environment):
        """A party without winbind that has passwords."""
        key = tuple(environment.items())
        if key not in cls.clients:
            cls.clients[key] = party = Party(World(), GSS_NTLM_WINBIND="no", **environment)
            cls.addClassCleanup(cls.close_cleanly, cls, party)
        return cls.clients[key]

    def name(self):
        return "context %d" % next(self.numbers)

    def member(self, library=None, **environment):
        party = Member(library, **environment)
        self.addCleanup(self.leave, party)
        return party

    def leave(self, party):
        """End a party, and check that it used no freed memory and freed everything."""
        self.close_cleanly(party)
        contexts, answers = set(), set()
        for call in party.heard():
            if call["call"] == "create":
                contexts.add(call["created"])
                continue
            if call["call"] == "free":
                contexts.remove(call["context"])
            elif call["call"] == "give":
                answers.remove(call["answer"])
                self.assertEqual(call["wiped"], "1", "keys were left in memory that was given back")
            elif call["call"] != "woke":
                self.assertIn(call["context"], contexts, call)
                self.assertNotEqual(int(call["thread"]), party.process.child.pid, "the caller waits for the library")
            answers |= {call[key] for key in ("info", "nt_status") if key in call}
        self.assertEqual([contexts - {"(nil)"}, answers], [set(), set()])

    def assertOneLine(self, text):
        self.assertTrue(text.isprintable(), ascii(text[:1000]))


class AcceptorTest(WinbindTest):
    def server(self, *arguments, **environment):
        server = self.member(*arguments, **environment)
        server.serve()
        return server

    def reach(self, server, client=None, flags=SEALED, user=USER, change=lambda token: token):
        """A handshake up to the point where the domain is asked: the context's name, the CHALLENGE_MESSAGE, and the answer to
        it, changed by `change`. `self.asked` is the client."""
        self.asked = client or self.client()
        self.asked.log_on(user=user, password=CAROL_PASSWORD)
        name = self.name()
        negotiate = self.asked.init(context=name, flags=flags, cred="user")["token"]
        challenge = server.accept(context=name, token=negotiate, cred="server")["token"]
        return name, challenge, change(self.asked.init(context=name, flags=flags, cred="user", token=challenge)["token"])

    def log_on(self, server, answer={}, others={}, **options):
        """A handshake whose account the domain accepts, with `answer` changing the domain's answer; `others` are answers to
        other calls. Returns both sides and the acceptor's last answer."""
        name, _, token = self.reach(server, **options)
        key = session_base_key(token) if len(field(token, NT_RESPONSE)) > 24 else V1_KEY
        server.say(authenticate={**ACCOUNT, "session_key": key, **answer}, **others)
        last = server.accept(context=name, token=token, cred="server")
        return Side(self.asked, name), Side(server, name), last

    def good(self, server, **options):
        one, other, last = self.log_on(server, **options)
        self.assertEqual(last["source"], "AD\\Alice")
        self.assertEqual(one.session_key(), other.session_key())
        if last["flags"] & CONF:
            self.carry(one, other, message(100))
            self.carry(other, one, message(100))
        return other

    def refusal(self, server, answer={}, **options):
        """The error after this answer, which lets no client in. The next handshake succeeds."""
        failure = self.assertRefused("FAILURE", self.log_on, server=server, answer=answer, **options)
        self.assertOneLine(failure.text)
        self.good(server)
        return failure.text

    def attributes(self, side):
        found = side.party.source(context=side.context)["attributes"]
        return {name.rpartition(":")[2]: value for name, (value,) in found.items()}


class WhatIsSaidOfAnAccount(AcceptorTest):
    def test_all_of_it_is_in_the_source_name(self):
        server = self.server()
        more = {
            "full_name": "Alice Liddell\nof Oxford", "user_principal": "alice@ad.example", "dns_domain_name": "ad.example",
            "logon_server": "D\u00d6C",
        }
        found = self.attributes(self.log_on(server, more)[1])
        expected = {
            "sids": ",".join(text for _, text in (ACCOUNT_SID, USERS_SID, GROUP_SID)), "primary-group": USERS_SID[1],
            "full-name": more["full_name"], "user-principal-name": "alice@ad.example", "dns-domain": "ad.example",
            "logon-server": "D\u00d6C", "domain": "AD", "version": "NTLMv2", "mic": "verified",
        }
        self.assertEqual(found, found | expected)
        self.assertNotIn("guest", found)
        # A field that is empty, NULL or not UTF-8 is no reason to refuse a client.
        for value, shown in ((None, None), ("", None), (b"A\xff", "A\ufffd"), (70000 * "l", 70000 * "l")):
            other = self.log_on(server, dict.fromkeys(more, value))[1]
            self.assertEqual(self.attributes(other).get("full-name"), shown)

    def test_every_sid_is_there_and_goes_along_with_the_context(self):
        server, elsewhere = self.server(), self.member()
        for count in (2, 1000, 5000):
            # All authorities and all lengths, in turn.
            given = [
                sid((5, (1 << 32) - 1, 1 << 32, (1 << 48) - 1)[at % 4], *(at * part % (1 << 32) for part in range(at % 16)))
                for at in range(count)
            ]
            with self.subTest(count):
                other = self.log_on(server, sids(*given))[1]
                before = server.source(context=other.context)
                self.assertEqual(before["attributes"]["urn:gssntlmssp:sids"], [",".join(text for _, text in given)])
                self.assertEqual(before["attributes"]["urn:gss-ntlm:primary-group"], [given[1][1]])
                elsewhere.import_(context="again", token=server.export(context=other.context)["token"])
                self.assertEqual(elsewhere.source(context="again"), before)

    def test_a_guest_is_let_in_where_anybody_is(self):
        guest = {"user_flags": 1}
        text = self.refusal(self.server(), guest)
        self.assertIn("treats the client as a guest", text)
        open_to_all = self.server(GSS_NTLM_ANONYMOUS="yes")
        # All flags except that of guests.
        self.assertNotIn("guest", self.attributes(self.log_on(open_to_all, {"user_flags": 0xFFFFFFFE})[1]))
        one, other, last = self.log_on(open_to_all, guest)
        self.assertEqual(last["source"], "AD\\Alice")
        self.assertEqual(self.attributes(other)["guest"], "yes")
        self.carry(one, other, message(100))
        for wrong in (bytes(16), 16 * b"k"):
            self.assertIn("MIC", self.refusal(open_to_all, {**guest, "session_key": wrong}))

    def test_a_guest_is_not_protected(self):
        # If the domain gives no key, everybody knows the key.
        server = self.server(GSS_NTLM_ANONYMOUS="yes", GSS_NTLM_MINIMUM="sign")
        guest = {"user_flags": 1, "session_key": bytes(16)}
        self.refusal(server, guest, client=self.client(GSS_NTLM_MIC="off"), flags=SIGNED)


class WhatMakesNoSense(AcceptorTest):
    def test_is_an_error_that_says_so(self):
        server = self.server()
        no_name, no_sid, wrong_sid = "does not name the account", "has no SID of the account", "has a SID that is none"
        for what, answer, words in (
            ("nothing", {"info": None}, "it is empty"),
            ("no name", {"account_name": None}, no_name),
            ("an empty name", {"account_name": ""}, no_name),
            ("a backslash", {"account_name": "AD\\Alice"}, no_name),
            ("like another account's UPN", {"account_name": "@ad.example"}, no_name),
            ("like nobody", {"account_name": "Anonymous Logon", "domain_name": "NT Authority"}, no_name),
            ("70000 letters", {"account_name": 70000 * "a"}, no_name),
            ("not UTF-8", {"account_name": b"Al\xe9"}, no_name),
            ("no domain", {"domain_name": None}, no_name),
            ("an empty domain", {"domain_name": ""}, no_name),
            ("a domain with a backslash", {"domain_name": "A\\D"}, no_name),
            ("a domain of 70000 letters", {"domain_name": 70000 * "D"}, no_name),
            ("a domain that is not UTF-8", {"domain_name": b"\xc4D"}, no_name),
            ("no SIDs", {"num_sids": 0, "sids": None}, no_sid),
            ("0 SIDs", {"num_sids": 0}, no_sid),
            ("SIDs nowhere", {"num_sids": 5, "sids": None}, no_sid),
            ("one SID", sids(ACCOUNT_SID), no_sid),
            ("a SID of 16 parts", sids(ACCOUNT_SID, USERS_SID, sid(5, *range(15), count=16)), wrong_sid),
            ("a SID of 255 parts", sids(sid(5, 21, count=255), USERS_SID), wrong_sid),
            ("no key", {"session_key": None}, "has no session key"),
            ("a key of zeros", {"session_key": bytes(16)}, "has no session key"),
        ):
            with self.subTest(what):
                text = self.refusal(server, answer)
                self.assertIn("The answer of winbindd is invalid, it", text)
                self.assertIn(words, text)
        self.assertIn("MIC", self.refusal(server, {"session_key": 16 * b"k"}))

    def test_no_memory_for_a_connection_is_an_error(self):
        server = self.member()
        server.say(create={"code": 1})
        self.assertIn("winbindd does not answer", self.assertRefused("NO_CRED", server.serve).text)
        server.say()
        server.serve()
        self.good(server)


class WhyNobodyIsLetIn(AcceptorTest):
    def error(self, status, string, code=AUTH_ERROR):
        return {"code": code, "nt_status": status, "nt_string": string, "info": None}

    def test_is_said_by_name_and_number(self):
        server = self.server()
        for status, name, words in (
            (0xC0000072, "ACCOUNT_DISABLED", "enable the account"),
            (0xC0000234, "ACCOUNT_LOCKED_OUT", "unlock the account"),
            (0xC0000193, "ACCOUNT_EXPIRED", "extend the account"),
            (0xC0000071, "PASSWORD_EXPIRED", "change the password"),
            (0xC0000224, "PASSWORD_MUST_CHANGE", "change the password"),
            (0xC000006E, "ACCOUNT_RESTRICTION", "when and from where"),
            (0xC000006F, "INVALID_LOGON_HOURS", "when and from where"),
            (0xC0000070, "INVALID_WORKSTATION", "when and from where"),
            (0xC000015B, "LOGON_TYPE_NOT_GRANTED", "when and from where"),
            (0xC0000413, "AUTHENTICATION_FIREWALL_FAILED", "when and from where"),
            (0xC000005E, "NO_LOGON_SERVERS", "reach a domain controller"),
            (0xFFFFFFFF, "SOMETHING_NEW", "check the logs"),
            (0x00000001, "WAIT_1", "check the logs"),
        ):
            shown = "NT_STATUS_%s (0x%08X)" % (name, status)
            # Even if the library also says that the call succeeded, or returns facts about an account.
            for more in ({}, {"code": 0}, {"code": NOT_AVAILABLE}, {"code": 0, "info": 1}):
                with self.subTest(name, **more):
                    text = self.refusal(server, {**self.error(status, "NT_STATUS_" + name), **more})
                    self.assertIn(shown, text)
                    self.assertIn(words, text)
            self.assertIn("refused AD\\alice by winbind: " + shown, server.trace_text())

    def test_is_for_the_trace_alone_where_it_is_name_or_password(self):
        server = self.server()
        texts = set()
        for status, name in ((0xC0000064, "NO_SUCH_USER"), (0xC000006A, "WRONG_PASSWORD"), (0xC000006D, "LOGON_FAILURE")):
            texts.add(self.refusal(server, self.error(status, "NT_STATUS_" + name)))
            self.assertIn("refused AD\\alice by winbind: NT_STATUS_%s (0x%08X)" % (name, status), server.trace_text())
        self.assertEqual(len(texts), 1, texts)
        self.assertIn("STATUS_LOGON_FAILURE", texts.pop())

    def test_may_have_no_name_or_a_strange_one(self):
        server = self.server()
        for given, shown in (
            (None, "an NTSTATUS without a name (0xC0000072)"), ("", "an NTSTATUS without a name (0xC0000072)"),
            ("two\nlines\r\t\x1b[31m\x7f\x85", "two\\nlines\\r\\t\\u{1b}[31m\\u{7f}\\u{85} (0xC0000072)"),
            (b"\xff\xfe", "\ufffd\ufffd (0xC0000072)"),
        ):
            with self.subTest(given):
                self.assertIn(shown, self.refusal(server, self.error(0xC0000072, given)))
        lines = server.trace_text().splitlines()
        self.assertTrue(all(line.split()[1] == "[%d]" % server.process.child.pid for line in lines))
        # Its length does not change the error.
        self.assertIn("enable the account", self.refusal(server, self.error(0xC0000072, 70000 * "N")))

    def test_may_be_an_error_of_the_library(self):
        server = self.server()
        for code in (*range(1, LAST_ERROR + 1), -1, 0x7FFFFFFF):
            if code == NOT_AVAILABLE:
                continue
            # Without an NTSTATUS, or with one that has no meaning.
            for error in (self.error(None, None, code), self.error(0, "NT_STATUS_OK", code), {"code": code, "info": 1}):
                with self.subTest(**error):
                    self.assertIn("an error that has no NTSTATUS", self.refusal(server, error))
            self.assertIn("libwbclient's error %d\n" % code, server.trace_text())

    def test_may_be_a_winbindd_that_is_away_or_keeps_the_program_off(self):
        server = self.server()
        away = self.error(None, None, NOT_AVAILABLE)
        self.assertIn("winbindd does not let this program", self.refusal(server, away))
        for code in (UNKNOWN_FAILURE, NOT_AVAILABLE):
            text = self.refusal(server, away, others={"ping": {"code": code}})
            self.assertIn("winbindd does not answer: start winbindd", text)
        server.say(ping={"code": NOT_AVAILABLE})
        self.assertIn("winbindd does not answer", self.assertRefused("NO_CRED", server.serve, cred="another").text)
        self.good(server)


class WhatIsAsked(AcceptorTest):
    def last(self, server):
        return server.heard("authenticate")[-1]

    def test_is_what_the_client_says(self):
        server = self.server()
        client = self.client(NETBIOS_COMPUTER_NAME="DESK")
        for user, account, domain in (
            (USER, "alice", "AD"), ("M\u00fcller@ad.example", "M\u00fcller", "ad.example"), ("alice", "alice", None),
            ("alice\\@ad.example", "alice@ad.example", None), ("AD\\al ice$", "al ice$", "AD"),
        ):
            with self.subTest(user):
                name, challenge, token = self.reach(server, client=client, user=user)
                server.say(authenticate={**ACCOUNT, "session_key": session_base_key(token)})
                server.accept(context=name, token=token, cred="server")
                call = self.last(server)
                self.assertEqual([said(call, "account"), said(call, "workstation")], [account, "DESK"])
                self.assertEqual(said(call, "domain") if "domain" in call else None, domain)
                self.assertEqual(bytes.fromhex(call["challenge"]), challenge[SERVER_CHALLENGE : SERVER_CHALLENGE + 8])
                response = field(token, NT_RESPONSE)
                self.assertEqual([call["nt"], call["nt_length"]], [response.hex(), str(len(response))])
                # With NTLMv2 the domain must check nothing else.
                self.assertNotIn("lm", call)
                self.assertEqual(call["lm_length"], "0")
                # By a response; computers may log on.
                self.assertEqual([call["level"], call["flags"], int(call["control"])], ["3", "0", 0x820])

    def test_has_no_workstation_where_the_client_names_none(self):
        server = self.server()
        self.log_on(
            server, client=self.client(GSS_NTLM_MIC="off"), change=lambda token: with_field(token, WORKSTATION, b"")
        )
        self.assertNotIn("workstation", self.last(server))

    def test_is_ntlm_v1_of_both_challenges_with_extended_session_security(self):
        for level, extended in (("1", True), ("0", False)):
            with self.subTest(level):
                server = self.server(LM_COMPAT_LEVEL=level)
                name, challenge, token = self.reach(server, client=self.client(LM_COMPAT_LEVEL=level))
                self.assertEqual(bool(negotiated(token) & ESS), extended)
                server.say(authenticate={**ACCOUNT, "session_key": V1_KEY})
                server.accept(context=name, token=token, cred="server")
                self.carry(Side(self.asked, name), Side(server, name), message(100))
                call, sent = self.last(server), challenge[SERVER_CHALLENGE : SERVER_CHALLENGE + 8]
                combined = hashlib.md5(sent + field(token, LM_RESPONSE)[:8]).digest()[:8]
                self.assertEqual(bytes.fromhex(call["challenge"]), combined if extended else sent)
                self.assertEqual([call["nt"], call["nt_length"]], [field(token, NT_RESPONSE).hex(), "24"])
                self.assertEqual(call["lm_length"], "0")

    def test_is_lm_alone_where_that_is_allowed(self):
        server = self.server(LM_COMPAT_LEVEL="0")
        options = {"client": self.client(LM_COMPAT_LEVEL="0"), "change": lambda token: with_field(token, NT_RESPONSE, b"")}
        self.assertIn("LM hash", self.refusal(server, **options))
        _, other, last = self.log_on(server, {"lm_session_key": bytes.fromhex("e52cac67419a9a22")}, **options)
        self.assertEqual([last["source"], self.attributes(other)["version"]], ["AD\\Alice", "LM"])
        call = self.last(server)
        self.assertEqual([call["lm_length"], call["nt_length"], "nt" in call], ["24", "0", False])
        self.assertEqual(len(call["lm"]), 48)

    def test_is_nothing_where_no_account_can_be_called_so(self):
        server = self.server()
        self.good(server, user="AD\\" + 254 * "a")
        self.assertEqual(len(said(self.last(server), "account")), 254)
        self.good(server, user=127 * "\u00fc" + "@AD")
        before = len(server.heard("authenticate"))

        def named(at, name):
            return lambda token: with_field(token, at, name.encode("utf-16-le", "surrogatepass"))

        names = [255 * "a", 128 * "\u00fc", "a\0b", "\ud800", "al\nice", "al\x7fice", "al\x85ice", "\\alice"]
        names += ["al%sice" % letter for letter in '*?"<>|/\\:']
        for at, name in itertools.product((USER_NAME, DOMAIN_NAME), names):
            with self.subTest(at=at, name=name):
                # A client without MIC, which only its name can stop.
                options = {"client": self.client(GSS_NTLM_MIC="off"), "change": named(at, name)}
                failure = self.assertRefused("FAILURE", self.log_on, server=server, **options)
                self.assertIn("STATUS_LOGON_FAILURE", failure.text)
                self.assertOneLine(failure.text)
        for workstation in (255 * "W", "W\nS"):
            client = self.client(NETBIOS_COMPUTER_NAME=workstation)
            failure = self.assertRefused("FAILURE", self.log_on, server=server, client=client)
            self.assertIn("STATUS_LOGON_FAILURE", failure.text)
        self.assertEqual(len(server.heard("authenticate")), before)
        self.good(server)


class HowLongItTakes(AcceptorTest):
    IMPATIENT = {"GSS_NTLM_WINBIND_TIMEOUT": "1"}

    def timed_out(self, call, **arguments):
        """The call fails because the time limit for winbindd is over."""
        start = time.monotonic()
        failure = self.assertRefused("FAILURE", call, **arguments)
        took = time.monotonic() - start
        self.assertIn("winbindd did not answer in time", failure.text)
        self.assertIn("GSS_NTLM_WINBIND_TIMEOUT", failure.text)
        self.assertGreater(took, 0.9)
        return took

    def test_is_not_for_ever(self):
        server = self.server(**self.IMPATIENT)
        self.good(server)
        took = self.timed_out(self.log_on, server=server, answer={"sleep": 3000})
        self.assertLess(took, 2.5)
        # The first request still runs when others are answered.
        self.good(server)
        self.assertEqual([server.open_connections(), server.heard("woke")], [1, []])
        server.wait_until_closed()
        self.good(server)

    def test_does_not_keep_the_program_from_ending(self):
        server = Member(**self.IMPATIENT)
        self.addCleanup(server.close)
        server.serve()
        self.timed_out(self.log_on, server=server, answer={"sleep": 4000})
        start = time.monotonic()
        self.close_cleanly(server)
        self.assertLess(time.monotonic() - start, 2.5)
        self.assertEqual(server.heard("woke"), [])

    def test_is_no_matter_if_the_answer_comes_when_the_program_ends(self):
        # The library answers at about the time limit, and when the process ends.
        for sleep in (1000, 1040):
            server = Member(**self.IMPATIENT)
            self.addCleanup(server.close)
            server.serve()
            with contextlib.suppress(GssFailure):
                self.log_on(server, {"sleep": sleep})
            self.close_cleanly(server)

    def test_is_bounded_for_every_question(self):
        server = self.member(**self.IMPATIENT)
        server.say(ping={"sleep": 2000})
        start = time.monotonic()
        self.assertIn("winbindd does not answer", self.assertRefused("NO_CRED", server.serve).text)
        self.assertLess(time.monotonic() - start, 2.5)
        # It is not asked again for a while, so that not every credential waits for it.
        start = time.monotonic()
        self.assertRefused("NO_CRED", server.serve)
        self.assertLess(time.monotonic() - start, 0.5)
        self.assertEqual(len(server.heard("ping")), 1)
        client = self.member(**self.IMPATIENT)
        client.say(probe={"sleep": 2000})
        self.timed_out(client.acquire, cred="user", usage="initiate", user=USER)
        for party in (server, client):
            party.wait_until_closed()

    def test_is_bounded_for_names_too(self):
        client = self.client()
        client.log_on()
        for asked in ("details", "controller"):
            with self.subTest(asked):
                server = Member(NTLM_USER_FILE=World().user_file, **self.IMPATIENT)
                self.addCleanup(server.close)
                server.say(**{asked: {**DETAILS, "sleep": 4000}})
                start = time.monotonic()
                server.serve()
                _, last = handshake(client, server, context=self.name())
                self.assertLess(time.monotonic() - start, 2.5)
                self.assertEqual([last["source"], len(server.heard(asked)), server.heard("woke")], [ALICE, 1, []])
                self.close_cleanly(server)


class ThreadsAndSignals(AcceptorTest):
    def accept_together(self, server, tokens):
        """The answers to these tokens of contexts, processed at the same time, each in its own thread."""
        lines = [
            json.dumps({"do": "accept", "context": name, "token": encode(token), "cred": "server"}) for name, token in tokens
        ]
        return [answer["ok"] for answer in server.together(lines=lines)["answers"]]

    def test_each_request_has_its_own_connection(self):
        # A program may close all descriptors that it did not open, and open others by the same numbers: libwbclient would write
        # to these, or close them.
        server = self.server()
        connection = os.path.join(server.path, "connection")
        for _ in range(5):
            self.good(server)
            self.refusal(server, {"info": None})
            self.assertEqual([server.descriptors(path=connection)["count"], server.open_connections()], [0, 0])
        created = [call["created"] for call in server.heard("create")]
        calls = [call["context"] for call in server.heard("ping", "details", "controller", "authenticate")]
        self.assertEqual(created, calls)
        self.assertGreater(len(calls), 10)

    def test_threads_ask_at_the_same_time(self):
        server = self.server(LM_COMPAT_LEVEL="2")
        client = self.client(LM_COMPAT_LEVEL="2")
        for _ in range(2):
            started = [self.reach(server, client=client) for _ in range(4)]
            # The calls really overlap.
            server.say(authenticate={**ACCOUNT, "session_key": V1_KEY, "sleep": 500})
            start = time.monotonic()
            answers = self.accept_together(server, [(name, token) for name, _, token in started])
            self.assertLess(time.monotonic() - start, 1.5)
            self.assertEqual([answer["source"] for answer in answers], 4 * ["AD\\Alice"])
            for name, _, _ in started:
                self.carry(Side(client, name), Side(server, name), message(100))
            server.wait_until_closed()
            calls = server.heard("authenticate")[-4:]
            self.assertEqual(len({call["context"] for call in calls}), 4)
            self.assertEqual(len({call["thread"] for call in calls}), 4)

    def test_calls_that_nobody_waits_for_have_a_limit(self):
        server = self.server(GSS_NTLM_WINBIND_TIMEOUT="1")
        started = [self.reach(server) for _ in range(33)]
        server.say(authenticate={**ACCOUNT, "sleep": 3000})
        lines = [
            json.dumps({"do": "accept", "context": name, "token": encode(token), "cred": "server"})
            for name, _, token in started[:32]
        ]
        texts = {answer["error"]["text"] for answer in server.together(lines=lines)["answers"]}
        self.assertEqual(["winbindd did not answer in time" in text for text in texts], [True])
        name, _, token = started[32]
        start = time.monotonic()
        failure = self.assertRefused("FAILURE", server.accept, context=name, token=token, cred="server")
        self.assertIn("winbindd did not answer in time", failure.text)
        self.assertLess(time.monotonic() - start, 0.5)
        self.assertEqual(len(server.heard("authenticate")), 32)
        server.wait_for("woke", 32)
        self.good(server)

    def test_all_that_come_first_at_once_are_told_the_same_names(self):
        for settings in ({}, {"NTLM_USER_FILE": World().user_file}):
            with self.subTest(**settings):
                server = self.member(**settings)
                server.say(details={**DETAILS, "sleep": 300})
                # A party that has a name does not ask for another one yet.
                server.serve(user="service")
                self.assertEqual(server.heard("details"), [])
                names = [self.name() for _ in range(4)]
                client = self.client()
                client.log_on(user=USER, password=CAROL_PASSWORD)
                tokens = [client.init(context=name, flags=SEALED, cred="user")["token"] for name in names]
                answers = self.accept_together(server, zip(names, tokens))
                found = [target_info(decode(answer["token"])).get(NB_COMPUTER) for answer in answers]
                self.assertEqual(found, 4 * ["MEMBER"])
                server.wait_until_closed()

    def test_a_library_that_writes_to_a_closed_pipe_ends_nobody(self):
        server = self.server()
        self.good(server, answer={"pipe": 1})
        self.good(server)

    def test_a_signal_is_the_programs_own(self):
        server = self.server()
        self.good(server, answer={"signals": 5})
        # The signal interrupts the program's thread, not the library's.
        self.assertEqual(int(server.heard("authenticate")[-1]["interrupted"]), server.process.child.pid)


class WithoutTheLibrary(AcceptorTest):
    def assertWithout(self, library):
        alone = self.member(library)
        for call in (alone.serve, alone.acquire):
            arguments = {} if call == alone.serve else {"cred": "user", "usage": "initiate", "user": USER}
            with self.assertRaises(GssFailure) as caught:
                call(**arguments)
            self.assertEqual(caught.exception.major, "NO_CRED")
            self.assertIn("NTLM_USER_FILE", caught.exception.text)
        self.assertIn("there is no libwbclient.so.0, or it is too old", alone.trace_text())
        self.assertEqual(alone.heard(), [])

    def test_there_is_the_user_file(self):
        world = World()
        with open(false_library(), "rb") as library:
            header = library.read(64)
        for what, content in (("empty", b""), ("text", b"This is no library\n"), ("a header", header)):
            with self.subTest(what):
                library = world.write("libwbclient.so.0", content)
                self.assertWithout(library)
                server = self.server(library, NTLM_USER_FILE=world.user_file)
                client = self.client()
                client.log_on()
                one, last = handshake(client, server, context=self.name())
                self.assertEqual(last["source"], ALICE)
                self.assertIn("STATUS_LOGON_FAILURE", self.assertRefused("FAILURE", self.log_on, server=server).text)

    def test_half_of_its_functions_are_none(self):
        for function in FUNCTIONS:
            with self.subTest(function):
                self.assertWithout(false_library("-D%s=anotherFunction" % function))


class WhatTheComputerIsCalled(AcceptorTest):
    def challenge(self, details=DETAILS, controller=CONTROLLER, **environment):
        """The CHALLENGE_MESSAGE of a server that has a user file; the handshake then succeeds."""
        server = self.member(NTLM_USER_FILE=World().user_file, **environment)
        server.say(details=details, controller=controller)
        server.serve()
        client = self.client()
        client.log_on()
        name = self.name()
        negotiate = client.init(context=name, flags=SEALED, cred="user")["token"]
        challenge = server.accept(context=name, token=negotiate, cred="server")["token"]
        token = client.init(context=name, flags=SEALED, cred="user", token=challenge)["token"]
        self.assertEqual(server.accept(context=name, token=token, cred="server")["source"], ALICE)
        self.server_of_challenge = server
        return challenge

    def test_is_what_winbind_says(self):
        challenge = self.challenge()
        found = target_info(challenge)
        host, _, own_domain = os.uname().nodename.partition(".")
        self.assertEqual(found.pop(DNS_COMPUTER), os.uname().nodename if own_domain else host + ".ad.example")
        others = {NB_COMPUTER: "MEMBER", NB_DOMAIN: "AD", DNS_DOMAIN: "ad.example", DNS_TREE: "forest.example"}
        self.assertEqual(found, others)
        self.assertEqual(field(challenge, TARGET_NAME).decode("utf-16-le"), "AD")
        self.assertTrue(negotiated(challenge) & TARGET_TYPE_DOMAIN)
        (asked,) = self.server_of_challenge.heard("controller")
        self.assertEqual([said(asked, "domain"), asked["guid"], "site" in asked], ["ad.example", "(nil)", False])
        # DS_RETURN_DNS_NAME ([MS-NRPC] 3.5.4.3.1).
        self.assertEqual(int(asked["flags"]), 0x40000000)

    def test_is_no_members_if_winbind_has_no_domain_but_the_computer(self):
        challenge = self.challenge({**DETAILS, "netbios_domain": "MEMBER"})
        found = target_info(challenge)
        self.assertEqual([found.get(at) for at in (NB_COMPUTER, NB_DOMAIN, DNS_TREE)], ["MEMBER", "MEMBER", None])
        self.assertTrue(negotiated(challenge) & TARGET_TYPE_SERVER)
        self.assertFalse(self.server_of_challenge.heard("controller"))

    def test_is_what_the_host_is_called_if_winbind_does_not_say(self):
        short = os.uname().nodename.partition(".")[0].upper()[:15]

        def all_of(name):
            return {"info": 1, "netbios_name": name, "netbios_domain": name, "dns_domain": name}

        for what, details in (
            ("an error", {**DETAILS, "code": UNKNOWN_FAILURE}), ("nothing", {}),
            ("a workgroup in the place of a domain", {**DETAILS, "dns_domain": None}), ("no names", all_of(None)),
            ("empty names", all_of("")), ("no UTF-8", all_of(b"\xff")), ("70000 letters", all_of(70000 * "n")),
        ):
            with self.subTest(what):
                challenge = self.challenge(details)
                found = target_info(challenge)
                self.assertEqual([found.get(at) for at in (NB_COMPUTER, NB_DOMAIN, DNS_TREE)], [short, short, None])
                self.assertEqual(field(challenge, TARGET_NAME).decode("utf-16-le"), short)
                self.assertTrue(negotiated(challenge) & TARGET_TYPE_SERVER)

    def test_is_without_what_winbind_does_not_know(self):
        for what, details, controller, missing in (
            ("no DNS domain", {"dns_domain": ""}, CONTROLLER, {DNS_DOMAIN, DNS_TREE}),
            ("a DNS domain that is none", {"dns_domain": "*"}, CONTROLLER, {DNS_DOMAIN, DNS_TREE}),
            ("no domain controller", {}, {"code": UNKNOWN_FAILURE}, {DNS_TREE}),
            ("one that fails with an answer", {}, {**CONTROLLER, "code": UNKNOWN_FAILURE}, {DNS_TREE}),
            ("no answer", {}, {}, {DNS_TREE}),
            *(("forest", {}, {"info": 1, "forest_name": name}, {DNS_TREE}) for name in (None, "", b"\xff", 70000 * "f")),
        ):
            with self.subTest(what):
                found = target_info(self.challenge({**DETAILS, **details}, controller))
                self.assertEqual([found[NB_COMPUTER], found[NB_DOMAIN]], ["MEMBER", "AD"])
                self.assertEqual({DNS_COMPUTER, DNS_DOMAIN, DNS_TREE} - set(found) - {DNS_COMPUTER}, missing)

    def test_has_dns_names_in_lower_case(self):
        found = target_info(self.challenge({**DETAILS, "dns_domain": "AD.Example"}))
        self.assertEqual(found[DNS_DOMAIN], "ad.example")

    def test_may_be_long(self):
        long = {"netbios_name": 254 * "N", "netbios_domain": 254 * "D", "dns_domain": 254 * "d"}
        found = target_info(self.challenge({**DETAILS, **long}))
        self.assertEqual([found[NB_COMPUTER], found[NB_DOMAIN], found[DNS_DOMAIN]], list(long.values()))

    def test_is_what_the_environment_says_first(self):
        found = target_info(self.challenge(NETBIOS_COMPUTER_NAME="OTHER"))
        self.assertEqual([found[NB_COMPUTER], found[NB_DOMAIN]], ["OTHER", "AD"])
        found = target_info(self.challenge(NETBIOS_DOMAIN_NAME="ELSEWHERE"))
        self.assertEqual([found[NB_COMPUTER], found[NB_DOMAIN]], ["MEMBER", "ELSEWHERE"])

    def test_is_not_asked_for_where_winbind_is_left_out(self):
        self.challenge(GSS_NTLM_WINBIND="no")
        self.assertEqual(self.server_of_challenge.heard(), [])

    def test_is_not_asked_for_again_and_again(self):
        server = self.member(NTLM_USER_FILE=World().user_file)
        server.say(details={})
        server.serve()
        for _ in range(3):
            self.reach(server)
        self.assertEqual(len(server.heard("details")), 1)


class WhatCostsNothing(AcceptorTest):
    """Names that a computer knows by itself: winbindd hangs, and a call that asked it would take seconds."""

    HANGS = {"ping": {"sleep": 20000}, "details": {**DETAILS, "sleep": 20000}}

    def hanging(self, **environment):
        party = Member(**environment)
        self.addCleanup(self.close_cleanly, party)
        party.say(**self.HANGS)
        self.start = time.monotonic()
        return party

    def assertNothingAsked(self, party):
        self.assertLess(time.monotonic() - self.start, 4)
        self.assertEqual(party.heard(), [])
        self.assertFalse(party.maps(library="libwbclient")["open"])

    def test_is_a_name(self):
        party = self.hanging()
        host = os.uname().nodename
        for name, kind, shown in (
            ("HTTP@www.example.org", "hostbased_service", "HTTP/www.example.org"), ("HTTP", "hostbased_service", "HTTP/" + host),
            ("AD\\alice", "user", "AD\\alice"), ("alice@ad.example", "user", "ad.example\\alice"), ("alice", "user", "alice"),
            ("0", "string_uid", "root"),
        ):
            with self.subTest(name):
                self.assertEqual(party.canonicalize(name=name, kind=kind)["name"], shown)
        self.assertNothingAsked(party)

    def test_is_an_initiator_with_a_secret_of_its_own(self):
        server = self.client()
        server.serve()
        for how in ("password", "user file"):
            party = self.hanging(**({"NTLM_USER_FILE": World().user_file} if how == "user file" else {}))
            if how == "password":
                party.log_on()
            else:
                party.acquire(cred="user", usage="initiate", user=ALICE)
            for target in ("HTTP@www.example.org", "HTTP"):
                with self.subTest(how=how, target=target):
                    name = self.name()
                    token = party.init(context=name, flags=SEALED, cred="user", target=target)["token"]
                    token = server.accept(context=name, token=token, cred="server")["token"]
                    token = party.init(context=name, flags=SEALED, cred="user", target=target, token=token)["token"]
                    server.accept(context=name, token=token, cred="server")
                    short = os.uname().nodename.partition(".")[0].upper()[:15]
                    self.assertEqual(field(token, WORKSTATION).decode("utf-16-le"), short)
            self.assertNothingAsked(party)

    def test_is_an_acceptor_until_it_says_its_names(self):
        party = self.hanging(NTLM_USER_FILE=World().user_file)
        party.serve()
        party.serve(cred="named", user="HTTP")
        self.assertNothingAsked(party)


class WhatAnAccountIsCalledHere(AcceptorTest):
    def accounts(self, *domains, details=DETAILS, **environment):
        party = self.member(**environment)
        party.say(details=details)
        found = [party.account(user=domain + "\\root")["account"] for domain in domains]
        if "sleep" in details:
            party.wait_until_closed()
        return found

    def test_has_no_domain_if_it_is_of_this_computer(self):
        self.assertEqual(self.accounts("MEMBER", "AD", "OTHER"), ["root", "AD\\root", "OTHER\\root"])

    def test_keeps_the_domain_that_the_host_name_begins_with(self):
        # A host may have the name of the domain that it is a member of, and winbindd may not answer.
        short = os.uname().nodename.partition(".")[0].upper()[:15]
        with_domain = short + "\\root"
        self.assertEqual(self.accounts(short, details={**DETAILS, "netbios_domain": short}), [with_domain])
        self.assertEqual(self.accounts(short, details={"code": NOT_AVAILABLE}), [with_domain])
        hanging = {**DETAILS, "sleep": 2000}
        self.assertEqual(self.accounts(short, details=hanging, GSS_NTLM_WINBIND_TIMEOUT="1"), [with_domain])
        # winbindd may say that the computer is in no domain: its domain is a workgroup, and has no DNS name.
        self.assertEqual(self.accounts(short, details={**DETAILS, "dns_domain": None}), ["root"])
        # Without winbind there is no domain.
        self.assertEqual(self.accounts(short, GSS_NTLM_WINBIND="no"), ["root"])
        self.assertEqual(self.accounts("MEMBER", details={"code": NOT_AVAILABLE}, NETBIOS_COMPUTER_NAME="MEMBER"), ["root"])


class CachedLogon(WinbindTest):
    """An initiator without a password. Another party that has one makes its messages: the same that winbind would make for
    the same NEGOTIATE_MESSAGE and CHALLENGE_MESSAGE."""

    def setUp(self):
        self.acceptor = self.client(LM_COMPAT_LEVEL="0")
        self.acceptor.serve()

    def initiator(self, user=ALICE, **environment):
        party = self.member(**environment)
        party.say(details={**DETAILS, "netbios_domain": "EXAMPLE"})
        party.acquire(cred="user", usage="initiate", user=user)
        return party

    def answer(self, party, twin=None, flags=SEALED, twin_flags=None, blobs=None, others={}, **more):
        """Make `party` answer a challenge as `twin` would. `blobs` makes blobs from the token and the key, `more` is added to this
        answer, `others` are answers to other calls. Returns the context's name and the step."""
        twin = twin or self.client()
        twin.log_on()
        name = self.name()
        negotiate = party.init(context=name, flags=flags, cred="user")["token"]
        challenge = self.acceptor.accept(context=name, token=negotiate, cred="server")["token"]
        its = {"context": name, "flags": twin_flags or flags, "cred": "user"}
        twin.init(**its)
        token = twin.init(**its, token=challenge)["token"]
        key = twin.session_key(context=name)["key"]
        given = (blobs or self.right)(token, key)
        answer = {"info": 1, "blobs": len(given), "num_blobs": len(given)}
        for at, (blob, data) in enumerate(given):
            answer |= {"name%d" % at: blob, "data%d" % at: data}
        party.say(details={**DETAILS, "netbios_domain": "EXAMPLE"}, answer={**answer, **more}, **others)
        self.messages = negotiate, challenge, token
        mine = party.init(context=name, flags=flags, cred="user", token=challenge)
        return name, mine

    @staticmethod
    def right(token, key):
        return ("auth_blob", token), ("session_key", key)

    def good(self, party, **options):
        name, mine = self.answer(party, **options)
        theirs = self.acceptor.accept(context=name, token=mine["token"], cred="server")
        self.assertEqual(theirs["source"], ALICE)
        one, other = Side(party, name), Side(self.acceptor, name)
        self.assertEqual(one.session_key(), other.session_key())
        if mine["flags"] & CONF:
            self.carry(one, other, message(100))
            self.carry(other, one, message(100))
        return name, mine

    def refusal(self, party, majors="FAILURE", **options):
        failure = self.assertRefused(majors, self.answer, party=party, **options)
        self.assertOneLine(failure.text)
        self.good(party)
        return failure.text

    def test_is_asked_with_both_messages_and_forwarded_as_it_is(self):
        party = self.initiator()
        for flags in (SEALED, SIGNED, UNPROTECTED):
            _, mine = self.good(party, flags=flags)
            negotiate, challenge, token = self.messages
            self.assertEqual(mine["token"], token)
            self.assertEqual(mine["flags"] & (CONF | INTEG), flags & (CONF | INTEG))
            call = party.heard("answer")[-1]
            self.assertEqual([said(call, "account"), said(call, "domain"), call["level"]], ["alice", "EXAMPLE", "1"])
            self.assertEqual([call["negotiate_blob"], call["challenge_blob"]], [negotiate.hex(), challenge.hex()])
        (probe,) = party.heard("probe")
        self.assertEqual([said(probe, "account"), said(probe, "domain"), probe["level"]], ["alice", "EXAMPLE", "1"])

    def test_is_not_told_the_time_where_there_is_to_be_no_mic(self):
        # MsvAvTimestamp and its length; the random bytes of a challenge practically never contain these.
        time = "07000800"
        for setting in ("auto", "off"):
            party = self.initiator(GSS_NTLM_MIC=setting)
            self.good(party, twin=self.client(GSS_NTLM_MIC=setting))
            call = party.heard("answer")[-1]
            self.assertIn("negotiate_blob", call)
            self.assertEqual(time in call["challenge_blob"], setting == "auto")

    def test_is_that_of_the_domain_that_winbind_names(self):
        for user, account, domain in (
            ("alice", "alice", "EXAMPLE"), ("alice@AD.Example", "alice", "EXAMPLE"), ("alice@other", "alice", "other"),
            ("alice\\@ad.example", "alice@ad.example", "EXAMPLE"),
        ):
            (probe,) = self.initiator(user).heard("probe")
            self.assertEqual([said(probe, "account"), said(probe, "domain")], [account, domain])
        self.assertEqual(self.initiator("alice").inquire_cred(cred="user")["name"], ALICE)

    def test_is_not_asked_for_under_names_that_nobody_has(self):
        party = self.member()
        for name in ("al*ce", "EX?MPLE\\alice", "a:b", "al\nice", 255 * "a", 255 * "D" + "\\alice", 128 * "\u00fc"):
            with self.subTest(name):
                failure = self.assertRefused("NO_CRED", party.acquire, cred="user", usage="initiate", user=name)
                self.assertOneLine(failure.text)
        self.assertEqual(party.heard("probe"), [])

    def test_is_none_if_winbind_says_so_or_fails(self):
        party = self.member()
        for code in range(1, LAST_ERROR + 1):
            for error in ({}, {"nt_status": 0xC000005F, "nt_string": "NT_STATUS_NO_SUCH_LOGON_SESSION"}):
                party.say(probe={"code": code, **error})
                failure = self.assertRefused("NO_CRED", party.acquire, cred="user", usage="initiate", user=ALICE)
                self.assertIn("no credentials for EXAMPLE\\alice", failure.text)
        party.say(ping={"code": NOT_AVAILABLE})
        failure = self.assertRefused("NO_CRED", party.acquire, cred="user", usage="initiate", user=ALICE)
        self.assertIn("NTLM_USER_FILE", failure.text)

    def test_may_be_gone_when_it_is_needed(self):
        party = self.initiator()
        for code in range(1, LAST_ERROR + 1):
            for error in ({}, {"nt_status": 0xC000006A, "nt_string": "NT_STATUS_WRONG_PASSWORD"}):
                with self.subTest(code, **error):
                    text = self.refusal(party, "NO_CRED", code=code, info=None, **error)
                    self.assertIn("log on so that winbindd keeps the password", text)
        away = {"ping": {"code": NOT_AVAILABLE}}
        self.assertIn("winbindd does not answer", self.refusal(party, code=NOT_AVAILABLE, info=None, others=away))

    def test_is_no_help_if_its_answer_makes_no_sense(self):
        party = self.initiator()
        no_message, wrong_message = "has no AUTHENTICATE_MESSAGE", "is no AUTHENTICATE_MESSAGE"
        wrong_key, wrong_mic = "no session key of 16 bytes", "its MIC or its key is wrong"

        def instead(data):
            return {"blobs": lambda token, key: (("auth_blob", data), ("session_key", key))}

        def changed(change):
            return {"blobs": lambda token, key: (("auth_blob", change(token)), ("session_key", key))}

        def keyed(change):
            return {"blobs": lambda token, key: (("auth_blob", token), ("session_key", change(key)))}

        challenge = self.acceptor.accept(context="c", token=self.any_negotiate(), cred="server")["token"]
        for what, answer, words in (
            ("nothing", {"info": None}, "it is empty"),
            ("no blobs", {"blobs": lambda token, key: ()}, no_message),
            ("blobs nowhere", {"blobs": lambda token, key: (), "num_blobs": 3}, no_message),
            ("only a key", {"blobs": lambda token, key: (("session_key", key),)}, no_message),
            ("another name", {"blobs": lambda token, key: (("AUTH_BLOB", token), ("session_key", key))}, no_message),
            ("no name", {"blobs": lambda token, key: ((None, token), ("session_key", key))}, no_message),
            ("data nowhere", instead(None), no_message),
            ("no data", instead(b""), wrong_message),
            ("one byte", instead(b"N"), wrong_message),
            ("the beginning", instead(b"NTLMSSP\0\3\0\0\0"), wrong_message),
            ("a CHALLENGE_MESSAGE", instead(challenge), wrong_message),
            ("garbage", instead(message(300)), wrong_message),
            ("a MiB", instead(bytes(1 << 20)), wrong_message),
            ("a MiB at the end", changed(lambda token: token + bytes(1 << 20)), wrong_message),
            ("more at the end", changed(lambda token: token + b"more"), wrong_mic),
            *(("a part", changed(lambda token, part=part: token[: len(token) * part // 8]), wrong_message) for part in range(8)),
            ("all but a byte", changed(lambda token: token[:-1]), wrong_message),
            ("another MIC", changed(lambda token: flip(token, MIC)), wrong_mic),
            ("no MIC", changed(lambda token: token[:MIC] + bytes(16) + token[MIC + 16 :]), wrong_mic),
            ("another name in it", changed(lambda token: with_field(token, USER_NAME, b"b\0o\0b\0")), "somebody else's"),
            ("no key", {"blobs": lambda token, key: (("auth_blob", token),)}, wrong_key),
            ("a key nowhere", keyed(lambda key: None), wrong_key),
            ("an empty key", keyed(lambda key: b""), wrong_key),
            ("15 bytes of key", keyed(lambda key: key[:15]), wrong_key),
            ("17 bytes of key", keyed(lambda key: key + b"k"), wrong_key),
            ("another key", keyed(flip), wrong_mic),
            ("a key of zeros", keyed(lambda key: bytes(16)), wrong_mic),
            ("NTLMv1", {"twin": self.client(LM_COMPAT_LEVEL="1")}, "does not use NTLMv2"),
        ):
            with self.subTest(what):
                text = self.refusal(party, **answer)
                self.assertIn("The answer of winbindd is invalid, it", text)
                self.assertIn(words, text)

    def any_negotiate(self):
        client = self.client()
        client.log_on()
        return client.init(context=self.name(), flags=SEALED, cred="user")["token"]

    def test_may_say_more_than_is_needed(self):
        party = self.initiator()
        more = (("new_spnego", b""), (None, None), (None, b"data"), ("something", message(70000)))
        self.good(party, blobs=lambda token, key: more + self.right(token, key)[::-1])

    def test_must_give_the_protection_that_was_asked_for(self):
        party = self.initiator()
        for asked, given in ((SEALED, SIGNED), (SEALED, UNPROTECTED), (SIGNED, UNPROTECTED)):
            with self.subTest(asked=asked, given=given):
                text = self.refusal(party, flags=asked, twin_flags=given)
                self.assertIn("did not agree to the protection", text)

        def with_more(token, key):
            flags = struct.pack("<I", negotiated(token) | SIGN | SEAL)
            return self.right(token[:FLAGS] + flags + token[FLAGS + 4 :], key)

        # Flags that were not agreed to are ignored.
        _, mine = self.answer(party, twin=self.client(GSS_NTLM_MIC="off"), flags=UNPROTECTED, blobs=with_more)
        self.assertFalse(mine["flags"] & (CONF | INTEG))

    def test_may_use_ntlm_v1_where_the_mechanism_would(self):
        party = self.initiator(LM_COMPAT_LEVEL="1")
        self.good(party, twin=self.client(LM_COMPAT_LEVEL="1"))

    def test_is_not_waited_for_forever(self):
        party = self.initiator(GSS_NTLM_WINBIND_TIMEOUT="1")
        self.assertIn("winbindd did not answer in time", self.refusal(party, sleep=2000))
        party.wait_until_closed()
