"""python3-gssapi with our mechanism in this process, as an application uses it: both sides in one program."""

import contextlib
import faulthandler
import os
import unittest
import unittest.mock

from harness import (
    ALICE, ANON, ANONYMOUS, CAROL_HASH, CAROL_PASSWORD, CHANNEL_BOUND, CONF, INTEG, MUTUAL, NTLM_OID, PASSWORD, REPLAY, SEALED,
    SEQUENCE, SIGNED, TRANS, UNPROTECTED, Party, PeerTest, Side, World, enter, handshake, message, plugin, require_module,
)

BAD_MIC = 6 << 16
DUPLICATE, OLD, UNSEQ, GAP = 0x2, 0x4, 0x8, 0x10


def setUpModule():
    require_module("gssapi", "python3-gssapi")
    # If the mechanism crashes, so does this process: print in which test.
    faulthandler.enable()
    global world, gssapi, raw, exceptions, Context, NTLM, SPNEGO
    world = World(plugin())
    enter(world)
    import gssapi
    from gssapi import exceptions, raw

    import gsspeer

    gsspeer.hello(plugin())
    NTLM, SPNEGO = gsspeer.NTLM, gsspeer.SPNEGO

    class Context(gssapi.SecurityContext):
        pass

    # The failing step raises the error, not the next call. This cannot be set in the class body, because the metaclass
    # overwrites it there.
    Context.__DEFER_STEP_ERRORS__ = False


def user_name(text):
    return gssapi.Name(text, gssapi.NameType.user)


def with_password(user=ALICE, password=PASSWORD, mech=None):
    return raw.acquire_cred_with_password(
        user_name(user), password.encode(), mechs=[mech or NTLM], usage="initiate"
    ).creds


def from_store(store, usage="initiate", user=None, mech=None):
    return gssapi.Credentials(
        name=user and user_name(user), usage=usage, mechs=[mech or NTLM],
        store={key.encode(): value.encode() for key, value in store.items()},
    )


def initiator(creds=None, mech=None, flags=SEALED, **options):
    return Context(
        name=gssapi.Name("host@localhost", gssapi.NameType.hostbased_service), creds=creds, mech=mech or NTLM,
        flags=raw.IntEnumFlagSet(raw.RequirementFlag, flags), usage="initiate", **options,
    )


def acceptor(creds=None, **options):
    return Context(creds=creds, usage="accept", **options)


def establish(client, server):
    token = None
    while not client.complete:
        token = client.step(token)
        if token:
            token = server.step(token)
    if not server.complete:
        raise AssertionError("the initiator has finished, but the acceptor waits for a token")
    return client, server


def text_of(error):
    """The text of this error that a person reads."""
    return error.gen_message()


@contextlib.contextmanager
def variable(**values):
    """Environment variables for one test; None removes one."""
    with unittest.mock.patch.dict(os.environ):
        for key, value in values.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        yield


class Logon(unittest.TestCase):
    """The sources of passwords and hashes, on either side."""

    def assertAccepted(self, creds=None, server_creds=None, user=ALICE, mech=None):
        client, server = establish(initiator(creds, mech), acceptor(server_creds))
        self.assertEqual(str(server.initiator_name), user)
        self.assertEqual(str(client.initiator_name), user)
        self.assertEqual(server.unwrap(client.wrap(b"ping", True).message).message, b"ping")
        self.assertEqual(client.unwrap(server.wrap(b"pong", True).message).message, b"pong")

    def test_accepts_a_password(self):
        for mech in (NTLM, SPNEGO):
            with self.subTest(mech=mech.dotted_form):
                self.assertAccepted(with_password(mech=mech), mech=mech)

    def test_accepts_the_user_file_by_name(self):
        self.assertAccepted(gssapi.Credentials(name=user_name(ALICE), usage="initiate", mechs=[NTLM]))

    def test_accepts_the_first_entry_of_the_user_file_for_no_name(self):
        creds = gssapi.Credentials(usage="initiate", mechs=[NTLM])
        self.assertEqual(str(creds.name), ALICE)
        self.assertAccepted(creds)

    def test_accepts_the_default_initiator(self):
        for mech in (NTLM, SPNEGO):
            with self.subTest(mech=mech.dotted_form):
                self.assertAccepted(None, mech=mech)

    def test_accepts_with_a_credential_of_the_acceptor(self):
        for mech in (NTLM, SPNEGO):
            with self.subTest(mech=mech.dotted_form):
                creds = gssapi.Credentials(usage="accept", mechs=[mech])
                self.assertAccepted(with_password(mech=mech), creds, mech=mech)

    def test_accepts_an_smbpasswd_entry(self):
        self.assertAccepted(with_password("carol", CAROL_PASSWORD), user="carol")
        self.assertAccepted(gssapi.Credentials(name=user_name("carol"), usage="initiate", mechs=[NTLM]), user="carol")

    def test_accepts_a_password_of_the_cred_store(self):
        for key in ("ntlmssp_password", "password"):
            with self.subTest(key):
                self.assertAccepted(from_store({key: PASSWORD}, user=ALICE))

    def test_accepts_a_hash_of_the_cred_store(self):
        self.assertAccepted(from_store({"ntlmssp_nthash": CAROL_HASH}, user="carol"), user="carol")

    def test_accepts_a_domain_of_the_cred_store(self):
        store = {"ntlmssp_domain": "EXAMPLE", "ntlmssp_password": PASSWORD}
        self.assertAccepted(from_store(store, user="alice"))

    def test_accepts_a_keyfile_of_the_cred_store_on_both_sides(self):
        keyfile = world.write("keyfile", "EXAMPLE:erin:Key File\n")
        creds = from_store({"ntlmssp_keyfile": keyfile}, user="EXAMPLE\\erin")
        server = from_store({"ntlmssp_keyfile": keyfile}, usage="accept")
        self.assertAccepted(creds, server, user="EXAMPLE\\erin")

    def test_accepts_a_store_with_only_keys_of_other_mechanisms(self):
        self.assertAccepted(with_password(), from_store({"keytab": "FILE:/nowhere"}, usage="accept"))

    def test_accepts_an_entry_without_domain_for_any_domain(self):
        client, server = establish(initiator(with_password("ELSEWHERE\\dora", "No Domain")), acceptor())
        self.assertEqual(str(server.initiator_name), "dora")

    def test_accepts_passwords_with_colons_and_lines_with_carriage_returns(self):
        users = world.write("odd-users", "# comment: EXAMPLE:alice:not this\r\n\r\nEXAMPLE:frank:a:b::c\r\n")
        with variable(NTLM_USER_FILE=users):
            self.assertAccepted(with_password("EXAMPLE\\frank", "a:b::c"), user="EXAMPLE\\frank")

    def test_refuses_a_disabled_account(self):
        line = "carol:1000:%s:%s:[UD         ]:LCT-00000000:\n" % ("X" * 32, CAROL_HASH)
        with variable(NTLM_USER_FILE=world.write("disabled", line)):
            with self.assertRaises(exceptions.GSSError):
                establish(initiator(with_password("carol", CAROL_PASSWORD)), acceptor())

    def test_accepts_a_credential_that_was_exported_and_imported(self):
        for creds in (with_password(), gssapi.Credentials(name=user_name(ALICE), usage="initiate", mechs=[NTLM])):
            self.assertAccepted(raw.import_cred(raw.export_cred(creds)))

    def test_accepts_a_credential_for_both_usages(self):
        creds = gssapi.Credentials(name=user_name(ALICE), usage="both", mechs=[NTLM])
        self.assertAccepted(creds, creds)

    def test_accepts_nobody_without_a_user_file(self):
        token = initiator(with_password()).step()
        with variable(NTLM_USER_FILE=None):
            with self.assertRaises(exceptions.GSSError):
                gssapi.Credentials(usage="accept", mechs=[NTLM])
            with self.assertRaises(exceptions.GSSError):
                acceptor().step(token)
            with self.assertRaises(exceptions.GSSError):
                gssapi.Credentials(usage="initiate", mechs=[NTLM])

    def test_accepts_what_was_added_to_a_credential(self):
        # python-gssapi can only add to an existing credential, and needs a name.
        spnego = with_password(mech=SPNEGO)
        store = {b"password": PASSWORD.encode()}
        for name, creds in (
            ("the user file", raw.add_cred(spnego, user_name(ALICE), NTLM, "initiate").creds),
            ("a store", raw.add_cred_from(store, spnego, user_name(ALICE), NTLM, "initiate").creds),
        ):
            with self.subTest(name):
                self.assertEqual(raw.inquire_cred(creds).mechs, {SPNEGO, NTLM})
                for mech in (NTLM, SPNEGO):
                    self.assertAccepted(creds, mech=mech)
        service = gssapi.Name("host@localhost", gssapi.NameType.hostbased_service)
        creds = raw.add_cred(gssapi.Credentials(usage="accept", mechs=[SPNEGO]), service, NTLM, "accept").creds
        self.assertAccepted(with_password(), creds)

    def test_refuses_to_add_what_is_there(self):
        creds = gssapi.Credentials(name=user_name(ALICE), usage="initiate", mechs=[NTLM])
        with self.assertRaises(exceptions.DuplicateCredentialsElementError):
            raw.add_cred(creds, user_name(ALICE), NTLM, "initiate")

    def test_tells_what_a_credential_is(self):
        for creds, name, usage in (
            (with_password(), ALICE, "initiate"),
            (gssapi.Credentials(usage="initiate", mechs=[NTLM]), ALICE, "initiate"),
            (gssapi.Credentials(name=user_name(ALICE), usage="both", mechs=[NTLM]), ALICE, "both"),
            (raw.import_cred(raw.export_cred(with_password())), ALICE, "initiate"),
            (gssapi.Credentials(usage="accept", mechs=[NTLM]), None, "accept"),
        ):
            with self.subTest(name=name, usage=usage):
                found = raw.inquire_cred(creds)
                self.assertEqual((found.usage, found.mechs), (usage, {NTLM}))
                if name:
                    self.assertEqual(raw.display_name(found.name).name.decode(), name)

    def test_accepts_each_kind_of_credential_that_was_exported_and_imported(self):
        again = lambda creds: raw.import_cred(raw.export_cred(creds))
        self.assertAccepted(again(from_store({"ntlmssp_nthash": CAROL_HASH}, user="carol")), user="carol")
        self.assertAccepted(again(gssapi.Credentials(name=user_name(ALICE), usage="both", mechs=[NTLM])))
        self.assertAccepted(again(with_password(mech=SPNEGO)), mech=SPNEGO)

    def test_looks_nowhere_else_where_the_store_names_a_keyfile(self):
        keyfile = world.write("other-keyfile", "EXAMPLE:erin:Key File\n")
        with self.assertRaises(exceptions.GSSError):
            from_store({"ntlmssp_keyfile": keyfile}, user=ALICE)
        with self.assertRaises(exceptions.GSSError):
            self.assertAccepted(with_password(), from_store({"ntlmssp_keyfile": keyfile}, usage="accept"))

    def test_refuses_a_credential_of_the_wrong_usage(self):
        with self.assertRaises(exceptions.MissingCredentialsError):
            initiator(gssapi.Credentials(usage="accept", mechs=[NTLM])).step()
        token = initiator(with_password()).step()
        with self.assertRaises(exceptions.MissingCredentialsError):
            acceptor(with_password()).step(token)


class Established(unittest.TestCase):
    """The properties of an established context."""

    def pair(self, mech=None, flags=SEALED, **options):
        client = initiator(with_password(mech=mech), mech, flags, **options)
        return establish(client, acceptor(**options))

    def test_tells_names_mechanism_and_role(self):
        for mech in (NTLM, SPNEGO):
            with self.subTest(mech=mech.dotted_form):
                client, server = self.pair(mech)
                self.assertEqual((client.locally_initiated, server.locally_initiated), (True, False))
                self.assertEqual(str(client.target_name), "host/localhost")
                for context in (client, server):
                    self.assertEqual(str(context.initiator_name), ALICE)
                    self.assertTrue(context.complete)
                    self.assertTrue(context.lifetime is None or context.lifetime > 36 * 3600)

    def test_tells_the_flags_that_were_negotiated_and_no_others(self):
        for mech in (NTLM, SPNEGO):
            for flags in (SEALED, SIGNED, SEALED | MUTUAL):
                with self.subTest(mech=mech.dotted_form, flags=flags):
                    expected = (flags & (INTEG | CONF)) | REPLAY | SEQUENCE
                    watched = INTEG | CONF | REPLAY | SEQUENCE | MUTUAL | CHANNEL_BOUND
                    for context in self.pair(mech, flags):
                        self.assertEqual(int(context.actual_flags) & watched, expected)
                        self.assertTrue(int(context.actual_flags) & TRANS)

    def test_has_no_protection_where_none_was_asked_for(self):
        client, server = self.pair(flags=UNPROTECTED)
        self.assertEqual(int(client.actual_flags) & (INTEG | CONF), 0)
        self.assertEqual(int(server.actual_flags) & (INTEG | CONF), 0)
        with self.assertRaises(exceptions.GSSError):
            client.wrap(b"no key for this", True)

    def test_tells_the_session_key_and_strength(self):
        import gsspeer

        for flags, strength in ((SEALED, 64), (SIGNED, 1)):
            client, server = self.pair(flags=flags)
            keys = {raw.inquire_sec_context_by_oid(context, gsspeer.SESSION_KEY)[0] for context in (client, server)}
            self.assertEqual([len(key) for key in keys], [16])
            for context in (client, server):
                (ssf,) = raw.inquire_sec_context_by_oid(context, gsspeer.SASL_SSF)
                self.assertEqual(int.from_bytes(ssf, "big"), strength)
            with self.assertRaises(exceptions.OperationUnavailableError):
                raw.inquire_sec_context_by_oid(client, raw.OID.from_int_seq("1.3.6.1.4.1.311.2.2.99"))

    def test_says_when_channel_bindings_matched(self):
        binding = raw.ChannelBindings(application_data=b"one channel")
        for mech in (NTLM, SPNEGO):
            with self.subTest(mech=mech.dotted_form):
                _, server = self.pair(mech, channel_bindings=binding)
                self.assertTrue(int(server.actual_flags) & CHANNEL_BOUND)

    def test_accepts_channel_bindings_with_addresses(self):
        binding = raw.ChannelBindings(
            application_data=b"one channel",
            initiator_address_type=raw.AddressType.ip, initiator_address=b"\x7f\0\0\1",
            acceptor_address_type=raw.AddressType.ip, acceptor_address=b"\x7f\0\0\2",
        )
        _, server = self.pair(channel_bindings=binding)
        self.assertTrue(int(server.actual_flags) & CHANNEL_BOUND)

    def test_refuses_channel_bindings_that_differ(self):
        for mech in (NTLM, SPNEGO):
            with self.subTest(mech=mech.dotted_form), self.assertRaises(exceptions.BadChannelBindingsError):
                establish(
                    initiator(with_password(mech=mech), mech, channel_bindings=raw.ChannelBindings(application_data=b"a")),
                    acceptor(channel_bindings=raw.ChannelBindings(application_data=b"b")),
                )

    def test_carries_messages_of_any_size_and_none(self):
        for mech in (NTLM, SPNEGO):
            client, server = self.pair(mech)
            for size in (0, 1, 100000):
                with self.subTest(mech=mech.dotted_form, size=size):
                    wrapped = client.wrap(message(size), True)
                    self.assertTrue(wrapped.encrypted)
                    self.assertEqual(server.unwrap(wrapped.message).message, message(size))
                    client.verify_signature(message(size), server.get_signature(message(size)))

    def test_says_that_a_wrapped_message_was_sealed_although_that_was_not_asked_for(self):
        client, server = self.pair(flags=SIGNED)
        wrapped = client.wrap(b"signed is sealed", False)
        self.assertTrue(wrapped.encrypted)
        self.assertNotIn(b"signed", wrapped.message)
        self.assertTrue(server.unwrap(wrapped.message).encrypted)

    def test_leaves_room_for_the_signature(self):
        client, _ = self.pair()
        self.assertEqual([client.get_wrap_size_limit(size) for size in (1000, 16, 3)], [984, 0, 0])

    def test_goes_on_after_export_and_import(self):
        for mech in (NTLM, SPNEGO):
            with self.subTest(mech=mech.dotted_form):
                client, server = self.pair(mech)
                server.unwrap(client.wrap(b"before", True).message)
                client.unwrap(server.wrap(b"before", True).message)
                client, server = (Context(token=context.export()) for context in (client, server))
                self.assertEqual(server.unwrap(client.wrap(b"after", True).message).message, b"after")
                self.assertEqual(client.unwrap(server.wrap(b"after", True).message).message, b"after")
                self.assertEqual(str(server.initiator_name), ALICE)
                self.assertEqual(str(client.target_name), "host/localhost")

    def test_goes_on_after_export_and_import_of_half_open_contexts(self):
        client, server = initiator(with_password()), acceptor()
        challenge = server.step(client.step())
        client, server = (raw.import_sec_context(raw.export_sec_context(context)) for context in (client, server))
        service = gssapi.Name("host@localhost", gssapi.NameType.hostbased_service)
        flags = raw.IntEnumFlagSet(raw.RequirementFlag, SEALED)
        step = raw.init_sec_context(service, with_password(), client, NTLM, flags, input_token=challenge)
        self.assertFalse(raw.accept_sec_context(step.token, None, server).more_steps)
        self.assertEqual(raw.unwrap(server, raw.wrap(client, b"after", True).message).message, b"after")

    def test_refuses_a_replayed_message_and_says_what_is_wrong_with_it(self):
        client, server = self.pair()
        tokens = [client.wrap(text, True).message for text in (b"first", b"second", b"third")]
        server.unwrap(tokens[0])
        for token, supplements in ((tokens[0], DUPLICATE | OLD), (tokens[2], GAP | UNSEQ)):
            with self.assertRaises(exceptions.GSSError) as caught:
                server.unwrap(token)
            self.assertEqual(caught.exception.routine_code, BAD_MIC)
            self.assertTrue(caught.exception.supplementary_code & supplements, hex(caught.exception.maj_code))
        self.assertEqual([server.unwrap(token).message for token in tokens[1:]], [b"second", b"third"])

    def test_refuses_a_token_after_the_handshake_and_stays_usable(self):
        client, server = self.pair()
        # python-gssapi knows that the contexts are complete: give the token to the call below it.
        service = gssapi.Name("host@localhost", gssapi.NameType.hostbased_service)
        with self.assertRaises(exceptions.GSSError):
            raw.init_sec_context(service, with_password(), client, NTLM, input_token=b"NTLMSSP\0more")
        with self.assertRaises(exceptions.GSSError):
            raw.accept_sec_context(b"NTLMSSP\0more", None, server)
        self.assertEqual(server.unwrap(client.wrap(b"still here", True).message).message, b"still here")


class Anonymous(unittest.TestCase):
    def anonymous_name(self):
        return gssapi.Name(b"", gssapi.NameType.anonymous)

    def ways(self):
        """The credential and the flags of an anonymous client."""
        yield None, UNPROTECTED | ANON
        yield None, SEALED | ANON
        yield gssapi.Credentials(name=self.anonymous_name(), usage="initiate", mechs=[NTLM]), SEALED

    def test_serves_anonymous_clients_where_that_is_allowed(self):
        for creds, flags in self.ways():
            with self.subTest(flags=flags), variable(GSS_NTLM_ANONYMOUS="yes"):
                client, server = establish(initiator(creds, flags=flags), acceptor())
                for context in (client, server):
                    self.assertTrue(int(context.actual_flags) & ANON)
                    self.assertEqual(str(context.initiator_name), ANONYMOUS)
                found = raw.get_name_attribute(server.initiator_name, b"urn:gss-ntlm:version")
                self.assertEqual(found.values, [b"anonymous"])
                if flags & CONF:
                    self.assertEqual(server.unwrap(client.wrap(b"nobody", True).message).message, b"nobody")

    def test_refuses_anonymous_clients_elsewhere(self):
        for creds, flags in self.ways():
            for switch in (None, "no"):
                with self.subTest(flags=flags, switch=switch), variable(GSS_NTLM_ANONYMOUS=switch):
                    with self.assertRaises(exceptions.GSSError):
                        establish(initiator(creds, flags=flags), acceptor())

    def test_does_not_say_anonymous_of_others(self):
        with variable(GSS_NTLM_ANONYMOUS="yes"):
            for context in establish(initiator(with_password()), acceptor()):
                self.assertFalse(int(context.actual_flags) & ANON)


class OtherProcesses(PeerTest):
    """Contexts that continue in another process, and the effect of its environment."""

    def party(self, **environment):
        party = Party(World(), **environment)
        self.addCleanup(self.close_cleanly, party)
        return party

    def pair(self, mech, level):
        client, server = self.party(LM_COMPAT_LEVEL=level), self.party(LM_COMPAT_LEVEL=level)
        client.log_on(mech=mech)
        server.serve(mech=mech)
        return client, server

    def move(self, party, heir):
        heir.import_(context="c", token=party.export(context="c")["token"])
        return heir

    def test_goes_on_with_established_contexts(self):
        heirs = self.party(), self.party()
        # Level 0: no extended session security, so that both directions share one RC4 state.
        for mech, level in (("ntlm", "3"), ("ntlm", "0"), ("spnego", "3"), ("spnego", "0")):
            with self.subTest(mech=mech, level=level):
                client, server = self.pair(mech, level)
                handshake(client, server, mech=mech)
                self.converse(Side(client, "c"), Side(server, "c"))
                key = client.session_key(context="c")["key"]
                flags = server.inquire(context="c", target=False)["flags"]
                before = server.source(context="c")
                client, server = self.move(client, heirs[0]), self.move(server, heirs[1])
                self.converse(Side(client, "c"), Side(server, "c"))
                self.assertEqual(client.session_key(context="c")["key"], key)
                self.assertEqual(server.inquire(context="c", target=False)["flags"], flags)
                self.assertEqual(server.source(context="c"), before)

    def test_goes_on_with_half_open_contexts(self):
        for level in ("0", "3"):
            with self.subTest(level=level):
                client, server = self.pair("ntlm", level)
                heir, successor = self.pair("ntlm", level)
                sent = client.init(context="c", cred="user", flags=SEALED)["token"]
                client = self.move(client, heir)
                challenge = server.accept(context="c", cred="server", token=sent)["token"]
                server = self.move(server, successor)
                answer = client.init(context="c", cred="user", flags=SEALED, token=challenge)
                accepted = server.accept(context="c", cred="server", token=answer["token"])
                self.assertFalse(answer["more"] or accepted["more"])
                self.assertEqual(accepted["source"], ALICE)
                self.converse(Side(client, "c"), Side(server, "c"))

    def test_says_which_response_a_client_gave(self):
        for level, version in (("0", "NTLMv1"), ("2", "NTLMv1"), ("3", "NTLMv2")):
            with self.subTest(level=level):
                client, server = self.pair("ntlm", level)
                handshake(client, server)
                known = server.source(context="c")["attributes"]
                self.assertEqual(known["urn:gss-ntlm:version"], [version])
                self.assertEqual(known["urn:gss-ntlm:mic"], ["verified" if version == "NTLMv2" else "none"])

    def test_traces_where_the_environment_says_so(self):
        path = os.path.join(world.path, "trace of the environment")
        client, server = self.party(GSSNTLMSSP_DEBUG=path), self.party()
        client.log_on()
        server.serve()
        handshake(client, server)
        self.assert_trace(path)

    def test_traces_where_the_application_says_so(self):
        path = os.path.join(world.path, "trace of the application")
        client, server = self.pair("ntlm", "3")
        handshake(client, server, "before")
        server.trace(path=path)
        handshake(client, server)
        server.trace(path="")
        size = os.path.getsize(path)
        handshake(client, server, "after")
        self.assertEqual(os.path.getsize(path), size)
        self.assert_trace(path)

    def assert_trace(self, path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for mentioned in ("NEGOTIATE_MESSAGE", "CHALLENGE_MESSAGE", "AUTHENTICATE_MESSAGE", ALICE):
            self.assertIn(mentioned, text)
        for secret in (PASSWORD, CAROL_HASH):
            self.assertNotIn(secret.lower(), text.lower())
        # A hash, a key or a response would be a long number in the trace.
        self.assertNotRegex(text, "[0-9a-fA-F]{32}")


class Names(unittest.TestCase):
    def shown(self, text, name_type=None):
        return str(gssapi.Name(text, name_type or gssapi.NameType.user).canonicalize(NTLM))

    def test_shows_users_and_services(self):
        self.assertEqual(self.shown("EXAMPLE\\alice"), "EXAMPLE\\alice")
        self.assertEqual(self.shown("alice"), "alice")
        self.assertEqual(self.shown("alice@EXAMPLE"), "EXAMPLE\\alice")
        self.assertEqual(self.shown("host@localhost", gssapi.NameType.hostbased_service), "host/localhost")

    def test_shows_enterprise_names_so_that_they_cannot_be_mistaken(self):
        for text, shown in (
            ("alice\\@suffix", "alice\\@suffix"),
            ("\\alice@suffix", "alice\\@suffix"),
            ("alice\\@suffix@DOM", "DOM\\alice@suffix"),
            ("DOM\\alice@suffix", "DOM\\alice@suffix"),
        ):
            with self.subTest(text):
                self.assertEqual(self.shown(text), shown)

    def every_name(self):
        user, service, nobody = gssapi.NameType.user, gssapi.NameType.hostbased_service, gssapi.NameType.anonymous
        for text, kind in (
            ("EXAMPLE\\alice", user), ("alice", user), ("alice@EXAMPLE", user), ("alice\\@suffix", user),
            ("alice\\@suffix@DOM", user), ("EXAMPLE\\\u00c9mile \u4e2d", user), ("host@localhost", service),
            ("host", service), ("", nobody),
        ):
            yield kind, gssapi.Name(text.encode(), kind).canonicalize(NTLM)

    def test_imports_again_what_it_shows(self):
        for kind, name in self.every_name():
            with self.subTest(str(name)):
                shown = raw.display_name(name)
                again = gssapi.Name(shown.name, shown.name_type).canonicalize(NTLM)
                # An anonymous name is not even equal to itself (RFC 2743 2.4.3).
                self.assertEqual(raw.compare_name(name, again), kind != gssapi.NameType.anonymous)
                self.assertEqual(str(again), str(name))

    def test_imports_again_what_it_exports(self):
        for kind, name in self.every_name():
            with self.subTest(str(name)):
                exported = raw.export_name(name)
                self.assertEqual(exported[:4], b"\x04\x01\x00\x0c")
                again = raw.import_name(exported, gssapi.NameType.export)
                self.assertEqual(raw.compare_name(name, again), kind != gssapi.NameType.anonymous)
                self.assertEqual(raw.export_name(raw.canonicalize_name(again, NTLM)), exported)

    def test_imports_what_the_c_mechanism_exports(self):
        # The C mechanism has no gss_export_name: the mechglue exports the displayed name.
        oid = b"\x06\x0a" + bytes(NTLM)
        shown = b"EXAMPLE\\alice"
        token = b"\x04\x01" + len(oid).to_bytes(2, "big") + oid + len(shown).to_bytes(4, "big") + shown
        name = raw.import_name(token, gssapi.NameType.export)
        self.assertTrue(raw.compare_name(name, user_name(ALICE).canonicalize(NTLM)))

    def test_compares_names(self):
        name = lambda text: user_name(text).canonicalize(NTLM)
        for one, other, same in (
            ("EXAMPLE\\alice", "alice@EXAMPLE", True),
            ("EXAMPLE\\alice", "example\\ALICE", True),
            ("EXAMPLE\\alice", "alice", False),
            ("EXAMPLE\\alice", "OTHER\\alice", False),
            ("EXAMPLE\\alice", "EXAMPLE\\bob", False),
            ("alice\\@EXAMPLE", "alice@EXAMPLE", False),
        ):
            with self.subTest(one=one, other=other):
                self.assertEqual(raw.compare_name(name(one), name(other)), same)
                self.assertEqual(raw.compare_name(name(other), name(one)), same)
        service = gssapi.Name("host@localhost", gssapi.NameType.hostbased_service).canonicalize(NTLM)
        self.assertFalse(raw.compare_name(service, name("host")))

    def test_duplicates_names(self):
        for _, name in self.every_name():
            with self.subTest(str(name)):
                again = raw.duplicate_name(name)
                self.assertEqual(raw.export_name(again), raw.export_name(name))

    def test_tells_what_is_known_of_a_client(self):
        binding = raw.ChannelBindings(application_data=b"one channel")
        for options, expected in (
            ({}, {"domain": b"EXAMPLE", "version": b"NTLMv2", "mic": b"verified", "channel-bindings": b"none"}),
            ({"channel_bindings": binding}, {"version": b"NTLMv2", "channel-bindings": b"matched"}),
        ):
            with self.subTest(expected=expected):
                _, server = establish(initiator(with_password(), **options), acceptor(**options))
                for name in (server.initiator_name, raw.duplicate_name(server.initiator_name)):
                    self.assertTrue(raw.inquire_name(name).is_mech_name)
                    for attribute, value in expected.items():
                        found = raw.get_name_attribute(name, b"urn:gss-ntlm:" + attribute.encode())
                        self.assertEqual((found.values, found.complete), ([value], True))

    def test_tells_nothing_of_a_name_of_nobody_who_was_authenticated(self):
        self.assertFalse(raw.inquire_name(user_name(ALICE).canonicalize(NTLM)).attrs)

    def test_knows_no_other_attributes(self):
        _, server = establish(initiator(with_password()), acceptor())
        for name in (b"urn:gss-ntlm:nothing", b""):
            with self.assertRaises(exceptions.OperationUnavailableError):
                raw.get_name_attribute(server.initiator_name, name)
        for change in (raw.set_name_attribute, raw.delete_name_attribute):
            with self.assertRaises(exceptions.GSSError):
                arguments = ([b"x"],) if change is raw.set_name_attribute else ()
                change(server.initiator_name, b"urn:gss-ntlm:domain", *arguments)

    def test_says_which_name_types_it_knows(self):
        types = raw.inquire_names_for_mech(NTLM)
        for one in (gssapi.NameType.user, gssapi.NameType.hostbased_service, gssapi.NameType.anonymous):
            self.assertIn(one, types)

    def test_gives_every_credential_a_name(self):
        for creds in (with_password(), gssapi.Credentials(usage="accept", mechs=[NTLM])):
            self.assertTrue(str(raw.display_name(raw.inquire_cred_by_mech(creds, NTLM).name).name))

    def test_has_a_sasl_name(self):
        found = raw.inquire_saslname_for_mech(NTLM)
        self.assertEqual((found.sasl_mech_name, found.mech_name), (b"GS2-NTLM", b"NTLM"))
        self.assertEqual(raw.inquire_mech_for_saslname(b"GS2-NTLM").dotted_form, NTLM_OID)


class Errors(unittest.TestCase):
    """The texts that a person reads after a failure."""

    def refused(self, *majors, call):
        with self.assertRaises(majors or (exceptions.GSSError,)) as caught:
            call()
        self.assertTrue(text_of(caught.exception).strip())
        return caught.exception

    def test_says_the_same_of_a_wrong_password_and_an_unknown_user(self):
        for mech in (NTLM, SPNEGO):
            with self.subTest(mech=mech.dotted_form):
                wrong, unknown = (
                    self.refused(call=lambda: establish(initiator(creds, mech), acceptor()))
                    for creds in (with_password(password="Battery Staple", mech=mech), with_password("EXAMPLE\\nobody", mech=mech))
                )
                self.assertEqual(text_of(wrong), text_of(unknown))
                self.assertEqual((wrong.maj_code, wrong.min_code), (unknown.maj_code, unknown.min_code))

    def test_leaves_a_refused_acceptor_context_refusing(self):
        server = acceptor()
        client = initiator(with_password(password="Battery Staple"))
        self.refused(call=lambda: establish(client, server))
        self.refused(exceptions.MissingContextError, call=lambda: server.get_signature(b"data"))
        self.refused(
            exceptions.MissingContextError, call=lambda: raw.accept_sec_context(b"NTLMSSP\0" + bytes(60), None, server)
        )

    def test_names_a_user_file_that_cannot_be_read(self):
        missing = os.path.join(world.path, "no-such-file")
        directory = os.path.join(world.path, "a-directory")
        os.makedirs(directory, exist_ok=True)
        for path in (missing, directory):
            for usage in ("initiate", "accept"):
                with self.subTest(path=path, usage=usage):
                    error = self.refused(
                        call=lambda: from_store({"ntlmssp_keyfile": path}, usage, usage == "initiate" and ALICE or None)
                    )
                    self.assertIn(path, text_of(error))
                    with variable(NTLM_USER_FILE=path):
                        name = user_name(ALICE) if usage == "initiate" else None
                        error = self.refused(call=lambda: gssapi.Credentials(name=name, usage=usage, mechs=[NTLM]))
                        self.assertIn(path, text_of(error))

    def test_refuses_a_user_file_that_others_may_write(self):
        path = world.write("open-users", "EXAMPLE:alice:%s\n" % PASSWORD)
        os.chmod(path, 0o666)
        error = self.refused(call=lambda: from_store({"ntlmssp_keyfile": path}, "initiate", ALICE))
        self.assertIn(path, text_of(error))

    def test_refuses_a_name_that_has_no_secret(self):
        self.refused(call=lambda: gssapi.Credentials(name=user_name("EXAMPLE\\nobody"), usage="initiate", mechs=[NTLM]))

    def test_names_the_message_that_was_cut_short(self):
        negotiate = initiator(with_password()).step()
        for length in (9, 12, 15):
            error = self.refused(exceptions.InvalidTokenError, call=lambda: acceptor().step(negotiate[:length]))
            self.assertIn("NEGOTIATE", text_of(error), "cut to %d" % length)

        for length in (0, 8, 12, 20, 31, -1):
            client, server = initiator(with_password()), acceptor()
            challenge = server.step(client.step())
            error = self.refused(exceptions.InvalidTokenError, call=lambda: client.step(challenge[:length]))
            self.assertIn("CHALLENGE", text_of(error), "cut to %d" % length)

        for length in (8, 12, 20, 51, -1):
            client, server = initiator(with_password()), acceptor()
            authenticate = client.step(server.step(client.step()))
            error = self.refused(exceptions.InvalidTokenError, call=lambda: server.step(authenticate[:length]))
            self.assertIn("AUTHENTICATE", text_of(error), "cut to %d" % length)

    def test_refuses_messages_in_the_wrong_order(self):
        client, server = initiator(with_password()), acceptor()
        negotiate = client.step()
        challenge = server.step(negotiate)
        for call in (
            lambda: initiator(with_password()).step(challenge),
            lambda: acceptor().step(challenge),
            lambda: client.step(negotiate),
            lambda: server.step(negotiate),
        ):
            self.refused(exceptions.InvalidTokenError, exceptions.MissingContextError, call=call)

    def test_refuses_short_message_tokens(self):
        client, server = establish(initiator(with_password()), acceptor())
        self.refused(exceptions.InvalidTokenError, call=lambda: server.unwrap(bytes(15)))
        self.refused(exceptions.InvalidTokenError, call=lambda: server.verify_signature(b"data", bytes(15)))
        self.refused(exceptions.InvalidTokenError, call=lambda: server.verify_signature(b"data", bytes(17)))
        self.assertEqual(server.unwrap(client.wrap(b"on", True).message).message, b"on")
