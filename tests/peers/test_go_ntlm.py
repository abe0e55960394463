"""go-ntlm (Debian: golang-github-thomsonreuterseikon-go-ntlm-dev, which is source; golang-go compiles it) as client and as server.

Its client makes no NEGOTIATE_MESSAGE, and sets DATAGRAM in every AUTHENTICATE_MESSAGE, whatever was agreed on; its server sets it
in every CHALLENGE_MESSAGE. Nevertheless both speak connection-oriented NTLM. They sign, but do not seal, and have no MIC.
"""

import base64
import itertools
import json
import os
import struct
import subprocess
import unittest

from harness import (
    ALICE, ESS, HERE, INTEG, KEY_EXCH, NEG_128, NTLM, PASSWORD, PATIENCE, SIGN, SIGNED, SIZES, UNICODE,
    GssFailure, LineProcess, OneOfOurs, PeerTest, Side, World, flip, message, plugin, require, require_program,
    temporary_directory,
)

SOURCES = "/usr/share/gocode"
NEG_VERSION, DATAGRAM, DATAGRAM_FLAG = 0x2000000, 0x40, 0x10000
NEGOTIATE = struct.pack(
    "<8sLL16x8s", b"NTLMSSP\0", 1, UNICODE | NTLM | SIGN | ESS | KEY_EXCH | NEG_128 | NEG_VERSION, bytes([6, 1, 0, 0, 0, 0, 0, 15])
)
# The token that starts a connectionless handshake.
CONNECTIONLESS = bytes.fromhex("600c060a2b06010401823702020a")


def setUpModule():
    require(os.path.isdir(SOURCES + "/src/github.com/ThomsonReutersEikon/go-ntlm"), "golang-github-thomsonreuterseikon-go-ntlm-dev")
    go = require_program("go", "golang-go")
    global directory, program
    directory = temporary_directory()
    program = directory + "/gontlmpeer"
    subprocess.run(
        [go, "build", "-o", program, os.path.join(HERE, "gontlmpeer.go")], cwd=directory, timeout=10 * PATIENCE, check=True,
        env={"PATH": os.environ["PATH"], "HOME": directory, "GOPATH": SOURCES, "GO111MODULE": "off", "GOTOOLCHAIN": "local"},
    )


class Go:
    """A side made of go-ntlm, with the methods of a Side that only signs."""

    def __init__(self, user="alice", domain="EXAMPLE", password=PASSWORD):
        self.process = LineProcess([program], {})
        self.account = {"user": user, "domain": domain, "password": password}
        self.sent, self.received = itertools.count(), itertools.count()

    def ask(self, do, **more):
        said = {key: base64.b64encode(value).decode() if isinstance(value, bytes) else value for key, value in more.items()}
        answer = json.loads(self.process.ask(json.dumps({"do": do, **self.account, **said})))
        if "error" in answer:
            raise GssFailure("FAILURE", 0, 0, answer["error"])
        return base64.b64decode(answer.get("token", ""))

    def get_mic(self, data):
        return self.ask("sign", data=data, number=next(self.sent))

    def verify_mic(self, data, mic):
        self.ask("verify", data=data, token=mic, number=next(self.received))

    def close(self):
        self.process.close()


class GoTest(OneOfOurs, PeerTest):
    def setUp(self):
        self.world = World(plugin())
        self.ours = self.party()

    def go(self, **account):
        go = Go(**account)
        self.addCleanup(go.close)
        return go


class WeAccept(GoTest):
    def accept(self, go, negotiate=NEGOTIATE):
        self.ours.serve()
        challenge = self.ours.accept(context="c", cred="server", token=negotiate)["token"]
        authenticate = go.ask("answer", token=challenge)
        self.assertTrue(struct.unpack_from("<L", authenticate, 60)[0] & DATAGRAM, "what this test is about")
        return self.ours.accept(context="c", cred="server", token=authenticate)

    def test_serves_its_client(self):
        answer = self.accept(self.go())
        self.assertEqual((answer["more"], answer["source"], answer["flags"] & (INTEG | DATAGRAM_FLAG)), (False, ALICE, INTEG))

    def test_signs_with_its_client_where_both_mean_connectionless(self):
        go = self.go()
        answer = self.accept(go, CONNECTIONLESS)
        self.assertEqual(answer["flags"] & (INTEG | DATAGRAM_FLAG), INTEG | DATAGRAM_FLAG)
        for number in (100, 7):
            self.ours.set_seq_num(context="c", number=number)
            for size in SIZES:
                self.ours.verify_mic(context="c", data=message(size), mic=go.ask("sign", data=message(size), number=number))
                signature = self.ours.get_mic(context="c", data=message(size))["mic"]
                go.ask("verify", data=message(size), token=signature, number=number)
                with self.assertRaises(GssFailure):
                    go.ask("verify", data=message(size), token=flip(signature), number=number)

    def test_refuses_wrong_passwords_and_unknown_users(self):
        for account in ({"password": "wrong"}, {"user": "nobody"}, {"domain": "ELSEWHERE"}):
            with self.subTest(account):
                self.ours = self.party()
                self.assertNotServed(self.accept, go=self.go(**account))

    def test_serves_a_name_in_other_letters(self):
        self.assertEqual(self.accept(self.go(user="ALICE", domain="example"))["source"], ALICE)


class WeInitiate(GoTest):
    def initiate(self, go, password=PASSWORD, flags=SIGNED):
        self.ours.log_on(password=password)
        self.ours.init(context="c", cred="user", flags=flags)
        challenge = go.ask("challenge")
        self.assertTrue(struct.unpack_from("<L", challenge, 20)[0] & DATAGRAM, "what this test is about")
        answer = self.ours.init(context="c", cred="user", flags=flags, token=challenge)
        self.assertFalse(answer["more"])
        go.ask("judge", token=answer["token"])
        return answer

    def test_logs_on_to_its_server(self):
        go = self.go()
        answer = self.initiate(go)
        self.assertEqual(answer["flags"] & INTEG, INTEG)
        self.converse(Side(self.ours, "c"), go, wrap=False)

    def test_is_refused_with_a_wrong_password(self):
        with self.assertRaises(GssFailure):
            self.initiate(self.go(), password="wrong")
