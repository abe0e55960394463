"""Cyrus SASL's mechanism GSS-SPNEGO, as LDAP, IMAP and SMTP programs use it: its sample client and server, and connections of
libsasl2 without a program.

The security properties of the client decide what it asks of GSS-API: maxssf above 1 sealing, 1 signing, 0 neither (by
GSS_KRB5_CRED_NO_CI_FLAGS_X). The layer is what was then negotiated, and its strength is the mechanism's.
"""

import base64
import glob
import itertools

from harness import (
    ALICE, ESS, KEY_EXCH, NEG_128, PASSWORD, SEAL, SIGN,
    GssFailure, LineProcess, Peer, PeerTest, Side, World, c_plugin, flip, message, negotiated, plugin, require,
    require_program,
)

MECHANISM = "GSS-SPNEGO"
# maxssf of the client, the strength of the layer, and the negotiated protection.
LAYERS = ((256, 64, SIGN | SEAL), (2, 64, SIGN | SEAL), (1, 1, SIGN), (0, 0, 0))
# The mechanisms of client and server. The C mechanism does not know GSS_KRB5_CRED_NO_CI_FLAGS_X.
PAIRS = (("ours", "ours"), ("ours", "C"), ("C", "ours"))
# Results of libsasl2.
FAIL, BAD_AUTH = -1, -13
# maxbufsize of saslpeer's connections.
BUFFER = 65536
WRONG = "The user name or the password is wrong"


class CyrusTest(PeerTest):
    def setUp(self):
        require(glob.glob("/usr/lib/*/sasl2/libgssapiv2.so"), "libsasl2-modules-gssapi-mit")
        self.worlds = {"ours": World(plugin())}

    def world(self, kind="ours"):
        if kind not in self.worlds:
            require(c_plugin(), "gss-ntlmssp")
            self.worlds[kind] = World(c_plugin())
        return self.worlds[kind]

    def users(self, text):
        """The environment of a party with another user file."""
        return {"NTLM_USER_FILE": self.world().write("other-users", text)}


class Sample(LineProcess):
    """sasl-sample-client or sasl-sample-server. Lines that begin with its letter are for the other program."""

    def __init__(self, world, program, letter, options, environment):
        super().__init__(
            [require_program(program, "sasl2-bin"), *options],
            # Use no configuration of this machine.
            world.environment(SASL_CONF_PATH=world.path, **environment),
            cwd=world.path,
            # The samples need a terminal: they would not write to a pipe before a buffer is full.
            prefix=(require_program("stdbuf", "coreutils"), "-oL"),
        )
        self.letter = letter

    def read_until(self, beginning):
        """The rest of the next line that begins so."""
        while not (line := self.read_line()).startswith(beginning):
            pass
        return line[len(beginning) :]

    def say(self):
        return base64.b64decode(self.read_until(self.letter + ": "))

    def hear(self, letter, data):
        self.child.stdin.write(b"%s: %s\n" % (letter.encode(), base64.b64encode(data)))


class Samples(CyrusTest):
    """The two sample programs, with a message in each direction through the layer."""

    CLIENT = ("-m", MECHANISM, "-s", "host", "-n", "localhost")
    SERVER = ("-m", MECHANISM, "-s", "host", "-d", "localhost")

    def pass_on(self, sender, receiver):
        data = sender.say()
        receiver.hear(sender.letter, data)
        return data

    def talk(self, client=CLIENT, server=SERVER, kinds=("ours", "ours"), client_environment={}, server_environment={}):
        """Runs both programs to their ends. Returns the strength of the layer, the flags of the AUTHENTICATE_MESSAGE, and the
        mechanism that the client chose."""
        client = Sample(self.world(kinds[0]), "sasl-sample-client", "C", client, client_environment)
        self.addCleanup(client.close)
        server = Sample(self.world(kinds[1]), "sasl-sample-server", "S", server, server_environment)
        self.addCleanup(server.close)
        # A list of mechanisms and the NEGOTIATE_MESSAGE; the CHALLENGE_MESSAGE and its answer; SPNEGO's last token and nothing.
        said = []
        for _ in range(3):
            self.pass_on(server, client)
            said.append(self.pass_on(client, server))
        self.assertEqual(said[2], b"")
        strength = int(self.established(server))
        messages = [(self.pass_on(server, client), b"srv message 1\0")]
        self.assertEqual(int(self.established(client)), strength)
        client.read_until("recieved decoded message 'srv message 1'")
        messages.append((self.pass_on(client, server), b"client message 1\0"))
        server.read_until("recieved decoded message 'client message 1'")
        for sent, plain in messages:
            if strength:
                self.assertEqual(len(sent), 4 + 16 + len(plain))
                self.assertNotIn(plain[:-1], sent)
            else:
                self.assertEqual(sent, plain)
        self.assertEqual((client.close(), server.close()), (0, 0))
        return strength, negotiated(said[1][said[1].index(b"NTLMSSP\0\3") :]), said[0].split(b"\0")[0].decode()

    def established(self, side):
        self.assertEqual(side.read_until("Username: "), ALICE)
        return side.read_until("SSF: ")

    def refused(self, who, words, **choices):
        with self.assertRaisesRegex(RuntimeError, r"(?s)sasl-sample-%s ended \(status 1\): .*%s" % (who, words)):
            self.talk(**choices)

    def test_speak_through_each_layer(self):
        for kinds, (limit, strength, protection) in itertools.product(PAIRS, LAYERS):
            with self.subTest(client=kinds[0], server=kinds[1], maxssf=limit):
                client = (*self.CLIENT, "-b", "max=%d" % limit)
                if kinds[0] == "C" and limit == 0:
                    self.refused("client", "Starting SASL negotiation", client=client, kinds=kinds)
                    continue
                found, flags, _ = self.talk(client=client, kinds=kinds)
                self.assertEqual((found, flags & (SIGN | SEAL)), (strength, protection))
                if strength:
                    self.assertEqual(flags & (ESS | NEG_128 | KEY_EXCH), ESS | NEG_128 | KEY_EXCH)

    def test_need_no_layer_inside_another(self):
        inside = ("-e", "ssf=256")
        for limit, strength in (("1", 0), ("256", 1), ("512", 64)):
            with self.subTest(maxssf=limit):
                client = (*self.CLIENT, *inside, "-b", "max=" + limit)
                self.assertEqual(self.talk(client=client, server=(*self.SERVER, *inside))[0], strength)

    def test_choose_it_among_all_that_there_are(self):
        _, _, chosen = self.talk(client=self.CLIENT[2:], server=self.SERVER[2:])
        self.assertEqual(chosen, MECHANISM)

    def test_speak_where_everything_is_asked_for(self):
        for options in ("noplain,noactive,noanonymous", "passcred"):
            with self.subTest(options):
                self.assertEqual(self.talk(client=(*self.CLIENT, "-f", options))[0], 64)

    def test_server_refuses_a_wrong_password(self):
        environment = self.users("EXAMPLE:alice:Battery Staple\n")
        for kind in ("ours", "C"):
            with self.subTest(client=kind):
                self.refused("server", WRONG, kinds=(kind, "ours"), client_environment=environment)

    def test_client_is_refused_with_a_wrong_password_by_the_c_mechanism(self):
        environment = self.users("EXAMPLE:alice:Battery Staple\n")
        words = "Performing SASL negotiation: authentication failure"
        self.refused("server", words, kinds=("ours", "C"), client_environment=environment)

    def test_server_refuses_a_user_whom_it_does_not_know(self):
        self.refused("server", WRONG, client_environment=self.users("EXAMPLE:nobody:%s\n" % PASSWORD))

    def test_client_needs_a_password(self):
        words = "SPNEGO cannot find mechanisms to negotiate"
        self.refused("client", words, client_environment={"NTLM_USER_FILE": None})

    def test_server_needs_accounts(self):
        # SPNEGO asks every mechanism for a credential, and krb5 keeps the error of its own Kerberos.
        self.refused("server", "No credentials were supplied", server_environment={"NTLM_USER_FILE": "/nonexistent"})

    def test_server_refuses_clients_without_the_layer_that_it_wants(self):
        for minimum, limit, words in (("sign", 0, "does not offer integrity"), ("seal", 1, "does not offer confidentiality")):
            with self.subTest(minimum):
                environment = {"GSS_NTLM_MINIMUM": minimum}
                self.assertEqual(self.talk(server_environment=environment)[0], 64)
                client = (*self.CLIENT, "-b", "max=%d" % limit)
                self.refused("server", words, client=client, server_environment=environment)

    # The server gives its credential, which has the service's name, only with the first token.
    def test_server_refuses_who_means_another_service(self):
        required = {"GSS_NTLM_TARGET_NAME": "required"}
        self.assertEqual(self.talk(server_environment=required)[0], 64)
        for service, host in (("ldap", "localhost"), ("host", "www.example.com")):
            with self.subTest(service=service, host=host):
                client = ("-m", MECHANISM, "-s", service, "-n", host)
                self.assertEqual(self.talk(client=client)[0], 64)
                self.refused("server", "did not name this service", client=client, server_environment=required)


class Connections(CyrusTest):
    """Connections of libsasl2, with everything that a program may set and send."""

    numbers = itertools.count()

    def peer(self, kind="ours", **environment):
        world = self.world(kind)
        peer = Peer("saslpeer.py", world, {"SASL_CONF_PATH": world.path, **environment}, plugin=world.library)
        self.addCleanup(self.close_cleanly, peer)
        return peer

    def peers(self, kinds=("ours", "ours"), **environment):
        return [self.peer(kind, **environment) for kind in kinds]

    def establish(self, client, server, of_client={}, of_server={}, strength=64):
        """Connects two peers; `of_client` and `of_server` are arguments of saslpeer's `new`. Returns both Sides."""
        name = "connection %d" % next(self.numbers)
        for peer, role, options in ((client, "client", of_client), (server, "server", of_server)):
            peer.new(context=name, role=role, **options)
            self.addCleanup(peer.drop, context=name)
        theirs = {"token": None, "more": True}
        while theirs["more"]:
            ours = client.step(context=name, token=theirs["token"])
            theirs = server.step(context=name, token=ours["token"])
        self.assertFalse(ours["more"])
        for peer in (client, server):
            self.assertEqual(peer.properties(context=name), {"user": ALICE, "ssf": strength})
        return Side(client, name), Side(server, name)

    def converse(self, one, other, layer=True):
        for size in (1, 64, 1000, 60000):
            for sender, receiver in ((one, other), (other, one)):
                sent = sender.wrap(message(size))
                self.assertEqual(len(sent), size + (4 + 16 if layer else 0))
                self.assertEqual(receiver.unwrap(sent), message(size))

    def assertResult(self, result, call, **arguments):
        """The call fails with this result of libsasl2."""
        with self.assertRaises(GssFailure) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.status, result, str(caught.exception))
        return caught.exception

    def test_carry_messages_through_each_layer(self):
        for kinds in PAIRS:
            peers = self.peers(kinds)
            for limit, strength, _ in LAYERS:
                with self.subTest(client=kinds[0], server=kinds[1], maxssf=limit):
                    properties = {"properties": {"max_ssf": limit}}
                    if kinds[0] == "C" and limit == 0:
                        self.assertResult(FAIL, self.establish, client=peers[0], server=peers[1], of_client=properties)
                        continue
                    self.converse(*self.establish(*peers, of_client=properties, strength=strength), layer=bool(strength))

    def test_carry_messages_in_pieces_and_several_at_once(self):
        for limit, strength in ((256, 64), (1, 1)):
            with self.subTest(maxssf=limit):
                ends = self.establish(*self.peers(), of_client={"properties": {"max_ssf": limit}}, strength=strength)
                for sender, receiver in (ends, ends[::-1], ends):
                    stream = b"".join(sender.wrap(message(size)) for size in range(1, 40))
                    cut = [stream[start : start + 17] for start in range(0, len(stream), 17)]
                    self.assertEqual(b"".join(map(receiver.unwrap, cut)), b"".join(map(message, range(1, 40))))
                    stream = b"".join(sender.wrap(message(size)) for size in range(1, 40))
                    self.assertEqual(receiver.unwrap(stream), b"".join(map(message, range(1, 40))))

    def test_carry_a_megabyte(self):
        # A packet has the size of the sender's buffer plus the signature; the receiver's buffer must have room for it.
        larger = {"properties": {"maxbufsize": BUFFER + 16}}
        client, server = self.peers()
        one, other = self.establish(client, server, of_server=larger)
        sent = one.wrap(message(1 << 20))
        self.assertEqual(len(sent), (1 << 20) + (1 << 20) // BUFFER * (4 + 16))
        self.assertEqual(other.unwrap(sent), message(1 << 20))

    def test_refuse_what_was_tampered_with(self):
        client, server = self.peers()
        for limit, strength in ((256, 64), (1, 1)):
            properties = {"properties": {"max_ssf": limit}}
            for position in (4, 8, 16, -1):
                with self.subTest(maxssf=limit, position=position):
                    for direction in (1, -1):
                        sender, receiver = self.establish(client, server, properties, strength=strength)[::direction]
                        sent = sender.wrap(message(64))
                        self.assertResult(FAIL, receiver.unwrap, data=flip(sent, position))
            one, other = self.establish(client, server, properties, strength=strength)
            sent = one.wrap(message(64))
            other.unwrap(sent)
            self.assertResult(FAIL, other.unwrap, data=sent)

    def test_keep_connections_apart(self):
        client, server = self.peers()
        pairs = [self.establish(client, server) for _ in range(5)]
        for _ in range(2):
            for one, other in pairs:
                self.converse(one, other)
        self.assertResult(FAIL, pairs[0][1].unwrap, data=pairs[1][0].wrap(b"for another"))

    def test_speak_at_every_level(self):
        for level in range(6):
            with self.subTest(level=level):
                self.converse(*self.establish(*self.peers(LM_COMPAT_LEVEL=str(level))))

    def test_compare_channel_bindings(self):
        client, server = self.peers()
        strict = self.peer(GSS_NTLM_CHANNEL_BINDINGS="required")
        one, another = {"binding": b"one channel"}, {"binding": b"another channel"}
        for acceptor in (server, strict):
            self.establish(client, acceptor, one, one)
            self.assertResult(BAD_AUTH, self.establish, client=client, server=acceptor, of_client=one, of_server=another)
            self.assertIn("Incorrect channel bindings were supplied", " ".join(acceptor.log()["lines"]))
        self.establish(client, server, {}, one)
        self.establish(client, server, one, {})
        self.assertResult(BAD_AUTH, self.establish, client=client, server=strict, of_client={}, of_server=one)
        self.assertResult(BAD_AUTH, self.establish, client=client, server=strict, of_client=one, of_server={})

    def test_log_on_by_http(self):
        # HTTP has no layer, whatever was negotiated.
        http = {"http": True}
        self.establish(*self.peers(), http, http, strength=0)

    def test_server_says_what_went_wrong(self):
        server = self.peer()
        client = self.peer(**self.users("EXAMPLE:alice:Battery Staple\n"))
        self.assertResult(BAD_AUTH, self.establish, client=client, server=server)
        self.assertRegex("\n".join(server.log()["lines"]), WRONG)
