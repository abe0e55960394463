"""MIT krb5's own GSS-API test programs, from its source, with NTLM in place of Kerberos.

They take their mechanisms from one file, common.c. It is compiled with NTLM's identifier in mech_krb5. What a program requires of
Kerberos only is changed in the compiled copy; EDITS says why. A correct mechanism makes each program print and end as the tests
expect.

GSSNTLM_KRB5_SOURCE  an unpacked source of krb5; default: scripts/krb5-source fetches the source of the installed release into the
                     directory krb5-source beside the plugin's directory, below cargo's target directory
"""

import collections
import os
import re
import struct
import subprocess
import unittest

from harness import ALICE, HERE, PASSWORD, PATIENCE, USER_FILE, World, plugin, require, require_program

TARGET = "h:HTTP@www.example.com"
NTLM = b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a"
NTLM_TEXT = "{ 1 3 6 1 4 1 311 2 2 10 }"
TRANS, SIGN, SEAL = 0x100, 0x2C, 0x3C

# Every program of krb5's src/tests/gssapi, and how much of it applies to NTLM. A release with another program fails the test.
WHOLE = {
    "reload": "the library is loaded, unloaded and loaded again, and we with it",
    "t_accname": "the acceptor's name",
    "t_bindings": "channel bindings, equal, different and missing, with and without DCE_STYLE",
    "t_ccselect": "the initiator's name as the acceptor sees it",
    "t_context": "a context through SPNEGO",
    "t_credstore": "credentials from a store; none is put into one",
    "t_imp_name": "names before a mechanism has them",
    "t_inq_cred": "name and lifetime of credentials",
    "t_inq_mechs_name": "the mechanisms that know a type of names",
    "t_oid": "object identifiers; releasing one asks every mechanism",
    "t_saslname": "SASL names and attributes of every mechanism",
    "t_srcattrs": "the attributes of a client's name",
    # Only in krb5 1.22 and later.
    "t_iakerb": "two credentials, one with a password, and a context",
}
PART = {
    "t_add_cred": "the second mechanism is IAKERB, which needs a keytab",
    "t_ciflags": "shows the flags instead of comparing them with Kerberos'",
    "t_enctypes": "up to the SASL SSF; then it wants Kerberos' keys",
    "t_err": "no NEGOTIATE_MESSAGE is a replay: the error that it waits for does not come",
    "t_export_cred": "nothing is delegated, so the delegated credential is not handed on",
    "t_export_name": "no composite form",
    "t_inq_ctx": "shows the flags instead of comparing them with Kerberos'; its second mechanism is NTLM, too",
    "t_iov": "no token without encryption",
    "t_lifetime": "with the two more messages that NTLM takes",
    "t_namingexts": "no attributes to set, no composite form",
    "t_spnego": "without the wrong identifier that Kerberos has for Microsoft; the hint names NTLM",
    "t_store_cred": "stores for a target in place of another cache",
}
NOT = {
    "ccinit": "makes a cache of Kerberos tickets",
    "ccrefresh": "sets the refresh time of a cache of Kerberos tickets",
    "t_gssexts": "a service acts for a user by a ticket of the KDC",
    "t_imp_cred": "makes credentials of a cache and a keytab",
    "t_invalid": "malformed tokens of Kerberos, in contexts that it builds out of krb5's own structures",
    "t_pcontok": "a token that deletes a context, made with Kerberos' keys",
    "t_prf": "Kerberos' pseudo-random function, in contexts that it builds out of krb5's own structures",
    "t_s4u": "a service acts for a user by a ticket of the KDC",
    "t_s4u2proxy_krb5": "the same with a delegated ticket",
}

# The changes to a program, as pairs of old and new text. If the old text is missing, the test fails.
EDITS = {
    # The name type of principals exists in Kerberos only.
    "t_add_cred": [('"p:does/not/match@WRONG_REALM"', '"u:nobody@ELSEWHERE"')],
    "t_ciflags": [(
        "assert(flags == expflags);",
        'printf("%s %#x %#x\\n", mech == &mech_spnego ? "spnego" : "raw", inflags, flags);',
    )],
    "t_export_cred": [(
        "    export_import_cred(&delegated_cred);\n",
        '    if (delegated_cred != GSS_C_NO_CREDENTIAL)\n        errout("a delegated credential");\n    return 0;\n',
    )],
    "t_inq_ctx": [(
        "assert(out_flags == expected_flags);",
        'printf("%s %s %s %#x\\n", gss_oid_equal(out_mech_type, &mech_spnego) ? "spnego" : "raw",\n'
        '           out_locally_init ? "initiator" : "acceptor", out_open ? "open" : "half", out_flags);',
    )],
    # A Kerberos context is established with the first token.
    "t_lifetime": [(
        'check_gsserr("gss_init_sec_context", major, minor);',
        """check_gsserr("NEGOTIATE_MESSAGE", major, minor);
    major = gss_accept_sec_context(&minor, &actx, acred, &itok, GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL, &atok, NULL, NULL,
                                   NULL);
    check_gsserr("CHALLENGE_MESSAGE", major, minor);
    major = gss_init_sec_context(&minor, icred, &ictx, tname, &mech_krb5, 0, time_req, GSS_C_NO_CHANNEL_BINDINGS, &atok, NULL,
                                 &itok, NULL, &time_rec);
    check_gsserr("AUTHENTICATE_MESSAGE", major, minor);
""",
    )],
    "t_namingexts": [
        ("    test_greet_authz_data(name);\n", ""),
        ("    test_export_import_name(source_name);\n", ""),
    ],
    "t_store_cred": [('elem.key = "ccache";\n            elem.value = dest', 'elem.key = "ntlmssp_target";\n            elem.value = dest')],
    "t_spnego": [
        ("    test_mskrb_oid(target_name, verifier_cred_handle);\n", ""),
        ("    test_mskrb_oid(target_name, GSS_C_NO_CREDENTIAL);\n", ""),
        # NTLM's identifier is one byte longer, and so is everything that contains it.
        (r'"\x60\x47\x06\x06"', r'"\x60\x48\x06\x06"'),
        (r'"\xA0\x3D\x30\x3B"', r'"\xA0\x3E\x30\x3C"'),
        (
            r'"\xA0\x0D\x30\x0B\x06\x09" "\x2A\x86\x48\x86\xF7\x12\x01\x02\x02"',
            r'"\xA0\x0E\x30\x0C\x06\x0A" "\x2B\x06\x01\x04\x01\x82\x37\x02\x02\x0A"',
        ),
    ],
}
# For t_iov: each part without encryption becomes another part with encryption.
SEALED_ALWAYS = [("(ictx, actx, 0);", "(ictx, actx, 1);"), ("(actx, ictx, 0);", "(actx, ictx, 1);")]
# For t_iov and t_enctypes: Kerberos can seal even if it was not asked for.
ASKING_TO_SEAL = [("GSS_C_SEQUENCE_FLAG |", "GSS_C_SEQUENCE_FLAG | GSS_C_CONF_FLAG |")]

# The few things that a program uses from the private headers of krb5's source.
HEADERS = {
    "k5-platform.h": "#include <assert.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n",
    "k5-int.h": """\
#include "k5-platform.h"
#include <krb5.h>
#define load_32_be(p) \\
    ((unsigned)((unsigned char *)(p))[0] << 24 | ((unsigned char *)(p))[1] << 16 | ((unsigned char *)(p))[2] << 8 | \\
     ((unsigned char *)(p))[3])
#define krb5int_parse_enctype_list(context, profile, list, defaults, result) KRB5_PROG_ETYPE_NOSUPP
""",
}

Result = collections.namedtuple("Result", "status out err")


def source():
    """The directory of the programs."""
    place = os.environ.get("GSSNTLM_KRB5_SOURCE")
    if not place:
        fetch = os.path.join(HERE, "..", "..", "scripts", "krb5-source")
        cache = os.path.join(os.path.dirname(os.path.dirname(os.environ["GSSNTLM_PLUGIN"])), "krb5-source")
        fetched = subprocess.run([fetch, cache], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=900)
        require(fetched.returncode == 0, "the source of MIT krb5 (scripts/krb5-source)")
        place = fetched.stdout.strip()
    return os.path.join(place, "src", "tests", "gssapi")


def edited(text, edits, name):
    for old, new in edits:
        if old not in text:
            raise AssertionError("%s.c of this krb5 lacks this text: %s" % (name, old))
        text = text.replace(old, new)
    return text


def keytab(principal, realm):
    """A keytab with one key that fits nothing, so that Kerberos has a credential, which is never used."""
    counted = [struct.pack(">H", len(part)) + part.encode() for part in (realm, principal)]
    entry = struct.pack(">H", 1) + b"".join(counted) + struct.pack(">IIBHH", 1, 0, 1, 18, 32) + bytes(32)
    return b"\x05\x02" + struct.pack(">i", len(entry)) + entry


class Krb5Programs(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cc = require_program("cc", "gcc")
        cls.source = source()
        cls.world = World()
        cls.built = {}
        for name, text in HEADERS.items():
            cls.world.write(name, text)
        cls.world.write("common.h", cls.text("common.h"))

    @classmethod
    def text(cls, file):
        with open(os.path.join(cls.source, file)) as source:
            return source.read()

    @classmethod
    def common(cls, second):
        """common.c with NTLM in place of Kerberos. `second` is what mech_iakerb stands for: IAKERB itself, or also NTLM."""
        text = cls.text("common.c")
        code = '{ %d, "%s" }' % (len(NTLM), "".join("\\%03o" % byte for byte in NTLM))
        for name in ("mech_krb5",) if second == "iakerb" else ("mech_krb5", "mech_iakerb"):
            text, times = re.subn(r"(gss_OID_desc %s = )\{[^}]*\}" % name, lambda match: match[1] + code, text)
            if times != 1:
                raise AssertionError("common.c of this krb5 has another definition of %s" % name)
        return text

    def program(self, name, more=(), second="iakerb"):
        """The program's path; compiles it at the first call."""
        edits = [*EDITS.get(name, ()), *more]
        key = (name, tuple(edits), second)
        if key not in self.built:
            binary = os.path.join(self.world.path, "%s-%d" % (name, len(self.built)))
            common = self.world.write("common-%s.c" % second, self.common(second))
            main = self.world.write(os.path.basename(binary) + ".c", edited(self.text(name + ".c"), edits, name))
            # The compiler's warnings concern krb5.
            command = [self.cc, "-O1", "-w", "-I" + self.world.path, "-I/usr/include/gssapi", "-o", binary, main]
            if name != "reload":
                command.append(common)
            command += ["-lgssapi_krb5", "-lkrb5", "-lk5crypto", "-ldl"]
            compiled = subprocess.run(
                command, env=self.world.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=5 * PATIENCE,
            )
            self.assertEqual(compiled.returncode, 0, "%s does not compile:\n%s" % (name, compiled.stdout))
            self.built[key] = binary
        return self.built[key]

    def run_program(self, name, *arguments, more=(), second="iakerb", under=(), **environment):
        ended = subprocess.run(
            [*under, self.program(name, more, second), *arguments], env=self.world.environment(**environment),
            cwd=self.world.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=10 * PATIENCE if under else PATIENCE,
        )
        result = Result(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))
        # A status below zero is a signal: the program crashed, or one of its assertions failed.
        self.assertGreaterEqual(result.status, 0, "%s %s\n%s%s" % (name, arguments, result.out, result.err))
        return result

    def says(self, name, *arguments, **more):
        """The program succeeds; returns its output."""
        result = self.run_program(name, *arguments, **more)
        self.assertEqual((result.status, result.err), (0, ""), (name, arguments, result.out))
        return result.out

    def refuses(self, words, name, *arguments, **more):
        """The program fails with an error that contains these words."""
        result = self.run_program(name, *arguments, **more)
        self.assertEqual(result.status, 1, (name, arguments, result))
        self.assertIn(words, result.err, (name, arguments))
        return result

    def test_knows_every_program(self):
        present = {file[:-2] for file in os.listdir(self.source) if file.endswith(".c")} - {"common"}
        self.assertEqual(present - {*WHOLE, *PART, *NOT}, set(), "programs that nobody has read yet")
        for name in {*WHOLE, *PART}:
            self.assertTrue(any(test.startswith("test_" + name) for test in dir(self)), "no test runs " + name)

    def test_reload(self):
        self.assertEqual(self.says("reload"), "")
        # This proves something only if the plugin is in the process.
        log = self.run_program("reload", LD_DEBUG="files").err
        self.assertIn("calling init: " + os.path.realpath(plugin()), log)

    def test_t_accname(self):
        self.assertEqual(self.says("t_accname", TARGET, TARGET), "HTTP/www.example.com\n")
        self.assertRegex(self.says("t_accname", TARGET, "h:ftp"), r"^ftp/.")
        self.assertIn("TESTHOST", self.says("t_accname", TARGET))

    def test_t_accname_of_another_service(self):
        other = "h:ftp@www.example.com"
        self.assertEqual(self.says("t_accname", TARGET, other), "ftp/www.example.com\n")
        self.assertEqual(self.says("t_accname", TARGET, TARGET, GSS_NTLM_TARGET_NAME="required"), "HTTP/www.example.com\n")
        self.refuses("gss_accept_sec_context: ", "t_accname", TARGET, other, GSS_NTLM_TARGET_NAME="required")

    def test_t_add_cred(self):
        # IAKERB gets credentials without a server if there is a keytab for each direction.
        path = self.world.write("keytab", keytab("service", "EXAMPLE.COM"))
        self.assertEqual(self.says("t_add_cred", KRB5_KTNAME="FILE:" + path, KRB5_CLIENT_KTNAME="FILE:" + path), "")

    def test_t_bindings(self):
        modes = [(), ("-s",)]
        if "[-b]" in self.text("t_bindings.c"):
            # From krb5 1.22 on it can ask for CHANNEL_BOUND, which has a meaning in Kerberos only.
            modes += [("-b",), ("-s", "-b")]
        for mech in modes:
            for initiator, acceptor, bound in (
                ("-", "-", "no"), ("a", "-", "no"), ("-", "a", "no"), ("a", "a", "yes"), ("", "", "yes"), ("", "-", "no"),
            ):
                with self.subTest(mech=mech, initiator=initiator, acceptor=acceptor):
                    self.assertEqual(self.says("t_bindings", *mech, TARGET, initiator, acceptor), bound + "\n")
            for initiator, acceptor in (("a", "x"), ("a", ""), ("", "a"), ("a", "aa")):
                with self.subTest(mech=mech, initiator=initiator, acceptor=acceptor):
                    self.refuses(
                        "gss_accept_sec_context: Incorrect channel bindings were supplied",
                        "t_bindings", *mech, TARGET, initiator, acceptor,
                    )

    def test_t_bindings_under_a_policy(self):
        def run(policy, initiator, acceptor):
            return self.run_program("t_bindings", TARGET, initiator, acceptor, GSS_NTLM_CHANNEL_BINDINGS=policy)

        self.assertEqual(run("off", "a", "x"), (0, "no\n", ""))
        self.assertEqual(run("required", "a", "a"), (0, "yes\n", ""))
        for initiator, acceptor in (("-", "a"), ("a", "-"), ("-", "-"), ("a", "x")):
            with self.subTest(initiator=initiator, acceptor=acceptor):
                self.assertEqual(run("required", initiator, acceptor).status, 1)

    def test_t_ccselect(self):
        self.assertEqual(self.says("t_ccselect", TARGET), ALICE + "\n")
        for asked, seen in (
            ("-", ALICE), ("u:" + ALICE, ALICE), ("u:alice@EXAMPLE", ALICE), ("u:dora", "dora"), ("u:CAROL", "carol"),
        ):
            with self.subTest(asked):
                self.assertEqual(self.says("t_ccselect", TARGET, asked), seen + "\n")
        for asked in ("u:nobody", "u:ELSEWHERE\\alice", "p:alice", "e:alice"):
            with self.subTest(asked):
                self.refuses("gss_acquire_cred: ", "t_ccselect", TARGET, asked)

    def test_t_ciflags(self):
        # SPNEGO asks for integrity unless the credential says not to. Sealing includes signing, and signed messages have
        # numbers.
        wanted = [
            ("raw", 0, TRANS), ("spnego", 0, TRANS | SIGN),
            ("raw", 0x8, TRANS | SIGN), ("spnego", 0x8, TRANS | SIGN),
            ("raw", 0, TRANS), ("spnego", 0, TRANS | SIGN),
        ] + [
            (mech, asked, TRANS | given)
            for mech, order in (("raw", (0, 0x10, 0x20, 0x30)), ("spnego", (0, 0x20, 0x10, 0x30)))
            for asked, given in ((asked, {0: 0, 0x20: SIGN}.get(asked, SEAL)) for asked in order)
        ]
        printed = [line.split() for line in self.says("t_ciflags", TARGET).splitlines()]
        self.assertEqual([(mech, int(asked, 0), int(given, 0)) for mech, asked, given in printed], wanted)

    def test_t_context(self):
        self.assertEqual(self.says("t_context", TARGET), "")

    def test_t_context_without_accounts(self):
        for accounts in ("/nonexistent", self.world.write("no-users", "# nobody\n"), None):
            with self.subTest(accounts):
                self.refuses("gss_init_sec_context: ", "t_context", TARGET, NTLM_USER_FILE=accounts)

    def test_t_credstore(self):
        alice, users = "u:" + ALICE, self.world.write("store-users", USER_FILE)
        for arguments in (
            ("-i", alice, "password", PASSWORD),
            ("-i", alice, "ntlmssp_password", PASSWORD),
            ("-i", alice, "ntlmssp_nthash", "A4F49C406510BDCAB6824EE7C30FD852"),
            ("-i", "u:alice", "ntlmssp_domain", "EXAMPLE", "password", PASSWORD),
            ("-i", "u:dora", "ntlmssp_keyfile", users),
            ("-i", "", "ntlmssp_keyfile", users),
            ("-a", "", "ntlmssp_keyfile", users),
            ("-a", TARGET, "ntlmssp_keyfile", users),
            ("-b", "", "ntlmssp_keyfile", users),
            # These keys belong to other mechanisms.
            ("-i", "u:dora", "ccache", "FILE:nowhere"),
            ("-a", "", "keytab", "FILE:nowhere"),
        ):
            with self.subTest(arguments):
                self.assertEqual(self.says("t_credstore", *arguments), "")

    def test_t_credstore_takes_the_key_file_alone(self):
        only_dora = self.world.write("only-dora", ":dora:No Domain\n")
        for arguments in (
            ("-i", "u:" + ALICE, "ntlmssp_keyfile", only_dora),
            ("-i", "", "ntlmssp_keyfile", "/nonexistent"),
            ("-a", "", "ntlmssp_keyfile", "/nonexistent"),
            ("-b", "", "ntlmssp_keyfile", "/nonexistent"),
        ):
            with self.subTest(arguments):
                self.refuses("gss_acquire_cred_from: ", "t_credstore", *arguments)

    def test_t_credstore_refuses_what_is_no_secret(self):
        for arguments in (
            ("-i", "u:" + ALICE, "ntlmssp_nthash", "A4F49C40"),
            ("-i", "u:" + ALICE, "ntlmssp_nthash", "not hexadecimal digits, but long"),
            # A password without a name.
            ("-i", "", "password", PASSWORD),
        ):
            with self.subTest(arguments):
                self.refuses("gss_acquire_cred_from: ", "t_credstore", *arguments)

    def test_t_credstore_accepts_a_first_token_twice(self):
        # The token proves nothing. NTLM's protection from replay is the response to the challenge.
        self.assertEqual(self.says("t_credstore", "-r", "-a", TARGET), "")

    def test_t_credstore_stores_nothing(self):
        # A credential may have parts of other mechanisms, and the mechglue takes the answer of the last for that of all.
        self.assertEqual(self.says("t_credstore", "-s", "", "ccache", "FILE:nowhere"), "")

    def test_t_enctypes(self):
        # NTLM does not have Kerberos' keys.
        asking = self.refuses("gss_export_lucid_sec_context(initiator): ", "t_enctypes", TARGET, more=ASKING_TO_SEAL)
        self.assertIn("not available or unsupported", asking.err)
        # Without confidentiality the strength is that of a signature, which Kerberos never has.
        self.refuses("SSF value not within acceptable range (56-256)", "t_enctypes", TARGET)

    def test_t_err(self):
        for mech in ((), ("--spnego",)):
            with self.subTest(mech):
                ended = self.refuses("gss_accept_sec_context(2): expected major code GSS_S_FAILURE", "t_err", *mech, TARGET)
                self.assertEqual(ended.err.count("\n"), 1)

    def test_t_export_cred(self):
        for mech in ("-k", "-s"):
            for names in ((), ("-i", "u:dora"), ("-a", TARGET), ("-i", "u:" + ALICE, "-a", TARGET)):
                with self.subTest(mech=mech, names=names):
                    self.assertEqual(self.says("t_export_cred", mech, *names, TARGET), "")

    def exported_name(self, name, mech="-k"):
        return bytes.fromhex(self.says("t_export_name", mech, name))

    def test_t_export_name(self):
        for name, shown in (("u:" + ALICE, ALICE), ("u:dora", "dora"), (TARGET, "HTTP/www.example.com")):
            with self.subTest(name):
                token = self.exported_name(name)
                head = b"\x04\x01" + struct.pack(">HBB", len(NTLM) + 2, 6, len(NTLM)) + NTLM
                self.assertEqual(token[:len(head)], head)
                size, = struct.unpack_from(">I", token, len(head))
                self.assertEqual(len(token), len(head) + 4 + size)
                self.assertIn(shown.encode(), token[len(head) + 4:])
        self.assertEqual(self.exported_name("u:" + ALICE), self.exported_name("u:alice@EXAMPLE"))
        different = ["u:" + ALICE, "u:alice", "u:ELSEWHERE\\alice", "u:dora", TARGET, "h:ftp@www.example.com"]
        self.assertEqual(len({self.exported_name(name) for name in different}), len(different))

    def test_t_export_name_of_spnego(self):
        self.assertEqual(self.exported_name("u:xyz", "-s").hex(), "0401000806062b06010505020000000378797a")

    def test_t_export_name_refuses_others_names(self):
        self.refuses("gss_canonicalize_name: A supplied name was of an unsupported type", "t_export_name", "-k", "p:alice")
        self.refuses("gss_export_name: The operation or option is not available", "t_export_name", "-k", "-c", "u:dora")

    def test_t_iakerb(self):
        require(os.path.exists(os.path.join(self.source, "t_iakerb.c")), "t_iakerb.c")
        for password in (PASSWORD, "-"):
            self.assertEqual(self.says("t_iakerb", "u:" + ALICE, password, TARGET, TARGET, second="ntlm"), "")
        self.refuses(
            "gss_accept_sec_context: ", "t_iakerb", "u:" + ALICE, "Battery Staple", TARGET, TARGET, second="ntlm"
        )

    def test_t_imp_name(self):
        self.assertEqual(self.says("t_imp_name"), "")

    def test_t_inq_cred(self):
        for arguments, name in (
            ((), ALICE), (("-k",), ALICE), (("-s",), ALICE), (("-b",), ALICE), (("-k", "-b"), ALICE), (("-s", "-b"), ALICE),
            (("-k", "u:dora"), "dora"), (("-s", "u:dora"), "dora"), (("-k", "u:CAROL"), "carol"),
            (("-k", "-a", TARGET), "HTTP/www.example.com"), (("-s", "-a", TARGET), "HTTP/www.example.com"),
            (("-a", TARGET), "HTTP/www.example.com"), (("-k", "-b", TARGET), "HTTP/www.example.com"),
        ):
            with self.subTest(arguments):
                # -1 is GSS_C_INDEFINITE.
                self.assertEqual(self.says("t_inq_cred", *arguments), "name: %s\nlifetime: -1\n" % name)
        for arguments in (("-a",), ("-k", "-a"), ("-s", "-a")):
            with self.subTest(arguments):
                self.assertRegex(self.says("t_inq_cred", *arguments), r"^name: .*TESTHOST\nlifetime: -1\n$")

    def test_t_inq_cred_refuses(self):
        ended = self.refuses("gss_acquire_cred: No credentials were supplied", "t_inq_cred", "-k", "u:nobody")
        # The file that it looked for.
        self.assertIn(self.world.user_file, ended.err)
        self.refuses("gss_acquire_cred: ", "t_inq_cred", "-s", "u:nobody")
        self.refuses("gss_acquire_cred: An invalid name was supplied", "t_inq_cred", "-k", "p:alice")

    def test_t_inq_ctx(self):
        # The program asks for SEQUENCE, MUTUAL, CONF and INTEG, once with DCE_STYLE. SPNEGO does not export a context that is
        # not yet established.
        self.assertEqual(self.says("t_inq_ctx", ALICE, PASSWORD, TARGET, second="ntlm"), """\
raw initiator half 0x13c
raw initiator half 0x13c
spnego initiator half 0x3c
raw acceptor half 0x13c
raw acceptor half 0x13c
spnego acceptor half 0
raw initiator open 0x13c
raw acceptor open 0x13c
""")

    def test_t_inq_mechs_name(self):
        for name, ours in (("u:x", True), ("h:host", True), (TARGET, True), ("p:a@b", False), ("e:x", False), ("c:x", False)):
            with self.subTest(name):
                self.assertEqual(NTLM_TEXT in self.says("t_inq_mechs_name", name).splitlines(), ours)

    def test_t_iov(self):
        for mech in ((), ("-s",)):
            for asking in ([], ASKING_TO_SEAL):
                with self.subTest(mech=mech, asking=bool(asking)):
                    self.assertEqual(self.says("t_iov", *mech, TARGET, more=SEALED_ALWAYS + asking), "")

    def test_t_iov_sets_no_more_than_it_must(self):
        # A buffer that the library allocates, or points into a stream, has no address and no length at first.
        valgrind = require_program("valgrind", "valgrind"), "-q", "--error-exitcode=99", "--num-callers=30"
        for mech in ((), ("-s",)):
            with self.subTest(mech):
                self.assertEqual(self.says("t_iov", *mech, TARGET, more=SEALED_ALWAYS, under=valgrind), "")

    def test_t_iov_says_that_it_encrypts(self):
        # The message is sealed though the program did not ask for it, because a token cannot say that it is not. The program
        # expects the state that it asked for.
        for mech in ((), ("-s",)):
            with self.subTest(mech):
                self.assertEqual(self.run_program("t_iov", *mech, TARGET), (1, "", "gss_wrap_iov(std) conf\n"))

    def test_t_lifetime(self):
        for asked in ((), ("3600",), ("0",)):
            with self.subTest(asked):
                self.assertEqual(self.says("t_lifetime", TARGET, *asked), "indefinite\n" * 10)

    def test_t_namingexts(self):
        for mech in ((), ("--spnego",)):
            with self.subTest(mech):
                printed = self.says("t_namingexts", *mech, "u:" + ALICE)
                self.assertIn("Target name:\t" + ALICE, printed)
                self.assertIn("Source name:\t" + ALICE, printed)

    def test_t_oid(self):
        self.assertEqual(self.says("t_oid"), "")

    def test_t_saslname(self):
        paragraph = self.says("t_saslname").split("OID        : %s\n" % NTLM_TEXT)[1].split("---")[0]
        facts = dict(re.findall(r"^([^:]+?) *: *(.*?) *$", paragraph, re.MULTILINE))
        attributes = facts.pop("Mech attrs").split()
        self.assertEqual(facts, {"SASL mech": "GS2-NTLM", "Mech name": "NTLM", "Mech desc": "NTLM Mechanism"})
        wanted = (
            "MECH_CONCRETE AUTH_INIT AUTH_INIT_INIT INTEG_PROT CONF_PROT MIC WRAP REPLAY_DET OOS_DET CBINDINGS CTX_TRANS"
        ).split()
        anonymous = "GSS_C_MA_AUTH_INIT_ANON"
        self.assertEqual(sorted({*attributes} - {anonymous}), sorted("GSS_C_MA_" + name for name in wanted))

    def test_t_spnego(self):
        self.assertEqual(self.says("t_spnego", TARGET), "Source name:\t%s\nSource mech:\t%s\n" % (ALICE, NTLM_TEXT))

    def test_t_srcattrs(self):
        paragraph = re.compile(r"^Attribute (\S+) (\w*) (\w*)\n\n(.*)\n\n([0-9a-f\n]*)\n\n", re.MULTILINE)
        shown = paragraph.findall(self.says("t_srcattrs", TARGET))
        for name, authenticated, complete, text, value in shown:
            with self.subTest(name):
                self.assertEqual((authenticated, complete), ("Authenticated", "Complete"))
                self.assertEqual(bytes.fromhex(value).decode(), text)
        facts = {name: text for name, _, _, text, _ in shown}
        wanted = {"domain": "EXAMPLE", "mic": "verified", "channel-bindings": "none", "version": "NTLMv2"}
        self.assertEqual({name: facts.get("urn:gss-ntlm:" + name) for name in wanted}, wanted)

    def test_t_store_cred(self):
        runtime = os.path.join(self.world.path, "runtime")
        os.makedirs(runtime, 0o700, exist_ok=True)
        store = {"GSS_NTLM_STORE": "runtime", "XDG_RUNTIME_DIR": runtime}
        self.says("t_store_cred", "-i", "FILE:nowhere", "*.example.org", **store)
        self.refuses("A credential is stored for *.example.org already", "t_store_cred", "-i", "FILE:nowhere", "*.example.org", **store)
        self.says("t_store_cred", "-i", "-o", "-d", "FILE:nowhere", "*.example.org", **store)
        self.refuses("The store of credentials has no such target", "t_store_cred", "-i", "FILE:nowhere", "a*", **store)
        self.refuses("No credential may be stored", "t_store_cred", "-o", "FILE:nowhere", "FILE:elsewhere")
        self.assertEqual(os.listdir(os.path.join(runtime, "gss-ntlm")), ["*.example.org"])
