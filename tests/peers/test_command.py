"""The command gss-ntlm: what it says of tokens, with pyspnego as a second opinion, and of user files.

GSSNTLM_COMMAND is the path of the command under test; without it, it is built.
"""

import base64
import fcntl
import functools
import glob
import json
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import tempfile
import termios
import unittest

import harness

VECTORS = os.path.join(os.path.dirname(harness.HERE), "vectors")
OK, WRONG, USAGE, IMPOSSIBLE = 0, 1, 2, 3
# pyspnego's names of the AV_PAIRs of text, and ours.
TEXTS = {
    "MSV_AV_NB_COMPUTER_NAME": "MsvAvNbComputerName",
    "MSV_AV_NB_DOMAIN_NAME": "MsvAvNbDomainName",
    "MSV_AV_DNS_COMPUTER_NAME": "MsvAvDnsComputerName",
    "MSV_AV_DNS_DOMAIN_NAME": "MsvAvDnsDomainName",
    "MSV_AV_DNS_TREE_NAME": "MsvAvDnsTreeName",
    "MSV_AV_TARGET_NAME": "MsvAvTargetName",
}


@functools.lru_cache
def command():
    path = os.environ.get("GSSNTLM_COMMAND")
    return path or subprocess.run(
        [os.path.join(harness.HERE, "../../scripts/build-command")], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def run(*arguments, given=b""):
    """The status of the command, and what it wrote."""
    done = subprocess.run([command(), *arguments], input=given, capture_output=True, timeout=harness.PATIENCE)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def messages():
    """Every message of NTLM that the vectors have, valid or not."""
    found = set()

    def walk(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for part in value:
                walk(part)
        elif isinstance(value, str) and re.fullmatch("4e544c4d53535000([0-9a-f]{2})*", value):
            found.add(bytes.fromhex(value))

    for path in glob.glob(VECTORS + "/*.json"):
        with open(path, encoding="utf-8") as vectors:
            walk(json.load(vectors))
    return sorted(found)


def decoded(tokens, *options):
    """What the command says of each token, which may also be that it is wrong."""
    lines = "".join("NTLM %s\n" % base64.b64encode(token).decode() for token in tokens)
    status, out, err = run("decode", "--json", *options, given=lines.encode())
    assert status in (OK, WRONG) and not err, (status, err)
    return json.loads(out)["tokens"]


def printable(text):
    """The text without control characters, as they are or escaped."""
    return re.sub(r"\\u\{[0-9a-f]+\}|[\0-\x1f]", "", text)


def is_decoded(report):
    return report["type"].endswith("_MESSAGE")


def der(tag, *contents):
    content = b"".join(contents)
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    long = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(long)]) + long + content


NTLM = bytes.fromhex("060a2b06010401823702020a")
SPNEGO = bytes.fromhex("06062b0601050502")


def first_token_of_spnego(token):
    return der(0x60, SPNEGO, der(0xA0, der(0x30, der(0xA0, der(0x30, NTLM)), der(0xA2, der(0x04, token)))))


class Decode(unittest.TestCase):
    def test_pyspnego_says_the_same_of_every_message(self):
        harness.require_module("spnego", "pyspnego")
        from spnego.__main__ import parse_token

        tokens = messages()
        compared = 0
        for token, ours in zip(tokens, decoded(tokens)):
            try:
                theirs = parse_token(token)["Data"]
            except (ValueError, OverflowError, struct.error):
                continue  # It takes right lengths for granted.
            if not is_decoded(ours) or not isinstance(theirs, dict):
                continue
            compared += 1
            with self.subTest(token.hex()):
                if theirs["NegotiateFlags"] and "flags" in ours and ours["flags"].startswith("0x"):
                    self.assertEqual(int(ours["flags"], 16), theirs["NegotiateFlags"]["raw"])
                if "server_challenge" in ours:
                    self.assertEqual(ours["server_challenge"].upper(), theirs["ServerChallenge"])
                version = theirs["Version"]
                if "version" in ours and isinstance(version, dict):
                    self.assertEqual(
                        ours["version"], "%(Major)d.%(Minor)d.%(Build)d, revision %(NTLMRevision)d" % version
                    )
                payload = theirs["Payload"]
                names = {"domain": "DomainName", "user": "UserName", "workstation": "Workstation", "target_name": "TargetName"}
                for key, name in names.items():
                    # It shows names of a NEGOTIATE_MESSAGE whose flag says that there are none.
                    if ours.get(key, "none") != "none" or (payload.get(name) and ours["type"] != "NEGOTIATE_MESSAGE"):
                        self.assertEqual(printable(ours[key]), printable(payload[name]))
                info = payload.get("TargetInfo") or []
                for pair in info if isinstance(info, list) else []:
                    if pair["AvId"].startswith("MSV_AV_EOL"):
                        break
                    name = TEXTS.get(pair["AvId"].split()[0])
                    if name:
                        # A list where there are several.
                        self.assertIn(pair["Value"] or "none", ours["target_info"][name])
        self.assertGreater(compared, 200)

    def test_a_response_is_shown_only_with_unsafe(self):
        tokens = [token for token, ours in zip(messages(), decoded(messages())) if ours["type"] == "AUTHENTICATE_MESSAGE"]
        shown = 0
        for token, ours, unsafe in zip(tokens, decoded(tokens), decoded(tokens, "--unsafe")):
            length, at = int.from_bytes(token[20:22], "little"), int.from_bytes(token[24:28], "little")
            proof = token[at : at + min(length, 16)].hex()
            if length >= 24 and proof.strip("0"):
                shown += 1
                self.assertNotIn(proof, json.dumps(ours))
                self.assertIn(proof, json.dumps(unsafe))
        self.assertGreater(shown, 50)

    def test_spnego_is_taken_apart(self):
        token = messages()[-1]
        for inside in token, bytes(16):
            status, out, _ = run("decode", first_token_of_spnego(inside).hex())
            self.assertIn("SPNEGO's NegTokenInit", out)
            self.assertIn("mechanisms  NTLM (1.3.6.1.4.1.311.2.2.10)", out)
        mic = bytes.fromhex("01000000aabbccddeeff001100000000")
        state = der(0xA1, der(0x30, der(0xA0, der(0x0A, b"\1")), der(0xA1, NTLM), der(0xA3, der(0x04, mic))))
        status, out, _ = run("decode", base64.b64encode(state).decode())
        self.assertEqual(status, OK)
        self.assertIn("accept-incomplete (1)", out)
        self.assertIn("NTLMSSP_MESSAGE_SIGNATURE, 16 bytes", out)
        self.assertNotIn("aabbccdd", out)

    def test_the_signature_of_sip_shows_its_number(self):
        status, out, _ = run("decode", "0100000002030405060708090a64000000"[:24] + "64000000")
        self.assertEqual((status, re.search(r"sequence number +(\d+)", out)[1]), (OK, "100"))

    def test_bad_input_is_refused_in_words(self):
        deep = b"NTLMSSP\0\1\0\0\0\0\0\0\0"
        for _ in range(40):
            deep = first_token_of_spnego(deep)
        huge = b"NTLMSSP\0\2\0\0\0" + bytes(1 << 20)
        for token, words in [
            (deep, "too many tokens in tokens"),
            (deep[:-1], "its DER is wrong"),
            (b"NTLMSSP\0", "cut off"),
            (b"NTLMSSP\0\4\0\0\0" + bytes(40), "MessageType"),
            (der(0x60, b"\6\1"), "its DER is wrong"),
            (b"\xa1\x84\xff\xff\xff\xff", "its DER is wrong"),
        ]:
            status, out, _ = run("decode", given=base64.b64encode(token))
            self.assertEqual(status, WRONG, out)
            self.assertIn(words, out)
        status, out, _ = run("decode", given=huge)
        self.assertEqual(status, WRONG)
        self.assertIn("the token itself has a wrong length", out)
        for given in b"", b"hello", b"WWW-Authenticate: NTLM\r\n", b"\xff" * 100, bytes(1 << 20):
            status, out, err = run("decode", given=given)
            self.assertEqual((status, out), (IMPOSSIBLE, ""))
            self.assertIn("there is no token", err)
        self.assertEqual(run("decode", given=b"A" * ((16 << 20) + 1))[0], IMPOSSIBLE)
        self.assertEqual(run("decode", "--nonsense")[0], USAGE)

    def test_much_input_takes_neither_long_nor_much_memory(self):
        token = base64.b64encode(b"NTLMSSP\0\1\0\0\0\0\0\0\0")
        pairs = 8000 * b"\x20\0\0\0" + 4000 * b"\6\0\4\0\1\0\0\0" + bytes(4)
        challenge = b"NTLMSSP\0\2\0\0\0" + bytes(4) + b"\x30\0\0\0\1\0\x80\0" + bytes(16)
        challenge += len(pairs).to_bytes(2, "little") * 2 + b"\x30\0\0\0" + pairs
        for given, status in [
            (b"A" * 100_000 + b": " + b"NTLM %s " % token * 5000, OK),
            (b"NTLMSSP\0" * 9000, WRONG),
            (b"NTLMSSP\0" * (1 << 20), IMPOSSIBLE),
            (b"NTLM %s\n" % token * 400_000, IMPOSSIBLE),
            (b"NTLM " * (1 << 19), IMPOSSIBLE),
            (base64.b64encode(bytes(3 << 20)), IMPOSSIBLE),
            (challenge, OK),
        ]:
            limits = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            done = subprocess.run(
                [command(), "decode"], input=given, capture_output=True, timeout=harness.PATIENCE, preexec_fn=limits
            )
            self.assertEqual(done.returncode, status, (given[:50], done.stderr[:100]))

    def test_what_comes_twice_is_shown_twice(self):
        pairs = b"\6\0\4\0\1\0\0\0\6\0\4\0\2\0\0\0" + 4 * b"\0"
        token = b"NTLMSSP\0\2\0\0\0" + bytes(4) + b"\x30\0\0\0\1\0\x80\0" + bytes(16)
        token += len(pairs).to_bytes(2, "little") * 2 + b"\x30\0\0\0" + pairs
        self.assertEqual(decoded([token])[0]["target_info"]["MsvAvFlags"], ["0x1 CONSTRAINED", "0x2 MIC"])

    def test_an_odd_mechanism_hides_nothing(self):
        odd = der(0x06, b"\x69" + 18 * b"\xff" + b"\x7f")
        token = first_token_of_spnego(b"NTLMSSP\0\1\0\0\0\0\0\0\0")
        token = der(0xA0, der(0x30, der(0xA0, der(0x30, odd, NTLM)), der(0xA2, der(0x04, token))))
        status, out, _ = run("decode", token.hex())
        self.assertEqual(status, OK, out)
        self.assertIn("NEGOTIATE_MESSAGE", out)
        self.assertIn("ffffff7f NTLM (", out)

    def test_control_characters_are_escaped(self):
        name = "\x1b[31m\n\u202e".encode("utf-16le")
        token = b"NTLMSSP\0\2\0\0\0" + len(name).to_bytes(2, "little") * 2 + b"\x20\0\0\0\5\0\0\0" + bytes(8) + name
        for options in [], ["--json"]:
            status, out, _ = run("decode", *options, given=token)
            self.assertEqual(status, OK)
            self.assertNotIn("\x1b", out)
            self.assertNotIn("\u202e", out)
            self.assertIn("u{1b}[31m", out)


class Users(unittest.TestCase):
    def check(self, text, mode=0o600):
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            os.chmod(file.name, mode)
            return run("users", "check", file.name)

    def test_each_line_is_told_of(self):
        status, out, err = self.check(
            b"# a comment\n\nDOM:alice:secret\n:bob:x \n"
            + ("carol:1000:%s:%s:[UD         ]:LCT-00000000:\n" % (32 * "X", harness.CAROL_HASH)).encode()
            + b"nonsense\nDOM:\xff:x\n"
            + 5000 * b"x"
            + b"\nDOM:last:"
        )
        self.assertEqual((status, err), (WRONG, ""))
        for line in [
            r"^line 3: DOM\\alice, a password$",
            "^line 4: bob, in every domain, a password$",
            "^note: the password of line 4 of .* ends with a blank → remove",
            "^line 5: carol, in every domain, a hash, disabled$",
            "^WRONG: line 6 of .* is not an entry",
            "^WRONG: line 7 of .* is not UTF-8",
            "^WRONG: line 8 of .* is too long",
            "^WRONG: line 9 of .* has an empty password and no end",
        ]:
            self.assertRegex(out, "(?m)" + line)
        self.assertNotIn("secret", out)
        self.assertNotIn(harness.CAROL_HASH, out)

    def test_who_may_read_it_matters(self):
        self.assertEqual(self.check(b"DOM:alice:x\n")[0], OK)
        status, out, _ = self.check(b"DOM:alice:x\n", 0o644)
        self.assertEqual(status, WRONG)
        self.assertIn("→ chmod o-r", out)
        status, out, _ = self.check(b"DOM:alice:x\n", 0o602)
        self.assertEqual(status, WRONG)
        self.assertIn("everybody may write to it", out)
        for path in "/nonexistent", "/", "/dev/null":
            status, _, err = run("users", "check", path)
            self.assertEqual(status, IMPOSSIBLE, path)
            self.assertIn(path, err)


class Hash(unittest.TestCase):
    def test_its_line_has_the_hash_that_others_compute(self):
        status, out, _ = run("hash", "DOM\\carol", given=harness.CAROL_PASSWORD.encode() + b"\n")
        self.assertEqual(status, OK)
        self.assertIn(":%s:" % harness.CAROL_HASH, out)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(out)
            file.flush()
            self.assertIn("line 1: DOM\\carol, a hash\n", run("users", "check", file.name)[1])
        for name in "alice", "alice@DOM":
            self.assertEqual(run("hash", name, given=b"x")[0], OK)
        for name in "", "a:b", "DOM:\\a", "a\nb", "DOM\\":
            status, out, err = run("hash", name, given=b"x")
            self.assertEqual((status, out), (IMPOSSIBLE, ""), name)
            self.assertTrue(err.startswith("gss-ntlm: "), err)

    def test_the_password_is_the_first_line(self):
        for given in b"Password", b"Password\n", b"Password\r\n", b"Password\nmore\n":
            self.assertIn(harness.CAROL_HASH, run("hash", "carol", given=given)[1], given)
        for given, words in (b"", "no password"), (b"\n", "no password"), (b"x" * 65_537, "longer than 65,536 bytes"):
            status, out, err = run("hash", "carol", given=given)
            self.assertEqual((status, out), (IMPOSSIBLE, ""))
            self.assertIn(words, err)
        self.assertEqual(run("hash", "carol", given=b"x" * 65_536 + b"\n")[0], OK)

    def test_the_password_comes_from_a_descriptor(self):
        read, write = os.pipe()
        os.write(write, harness.CAROL_PASSWORD.encode() + b"\nmore")
        os.close(write)
        done = subprocess.run(
            [command(), "hash", "--password-fd", str(read), "carol"], pass_fds=[read], capture_output=True, text=True, check=True
        )
        os.close(read)
        self.assertIn(harness.CAROL_HASH, done.stdout)
        with tempfile.TemporaryFile() as file:
            number = str(file.fileno())
            done = subprocess.run(
                [command(), "hash", "--password-fd", number, "carol"], pass_fds=[file.fileno()], capture_output=True, text=True
            )
        self.assertEqual(done.returncode, IMPOSSIBLE)
        self.assertIn("give a pipe", done.stderr)

    def test_the_password_that_a_person_types_is_not_shown(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        echo = lambda: bool(termios.tcgetattr(theirs)[3] & termios.ECHO)
        self.assertTrue(echo())

        def start():
            return subprocess.Popen(
                [command(), "hash", "carol"],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )

        process = start()
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        shown = b""

        def read_until(end):
            nonlocal shown
            while end not in shown:
                self.assertTrue(select.select([ours], [], [], harness.PATIENCE)[0], shown)
                shown += os.read(ours, 100)

        read_until(b"Password of carol: ")
        os.write(ours, harness.CAROL_PASSWORD.encode() + b"\n")
        read_until(b":LCT-00000000:")
        self.assertEqual(process.wait(harness.PATIENCE), OK)
        self.assertIn(harness.CAROL_HASH.encode(), shown)
        self.assertNotIn(harness.CAROL_PASSWORD.encode() + b"\r", shown)
        self.assertTrue(echo())

        # Who gives up gets the terminal back as it was.
        shown = b""
        process = start()
        read_until(b"Password of carol: ")
        self.assertFalse(echo())
        os.write(ours, b"\3")
        self.assertEqual(process.wait(harness.PATIENCE), -signal.SIGINT)
        self.assertTrue(echo())


class Manual(unittest.TestCase):
    def test_it_has_what_the_help_has(self):
        with open(os.path.join(harness.HERE, "../../doc/gss-ntlm.1"), encoding="utf-8") as page:
            page = page.read()
        entries = set(re.findall(r"^\.It Cm (.*)$", page, re.M))
        commands, options = set(), {"--help", "--version"}

        def walk(*names):
            status, out, _ = run(*names, "--help")
            self.assertEqual(status, OK)
            options.update(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", out, re.M))
            inner = re.search(r"\nCommands:\n((?: +.*\n)+)", out)
            if not inner:
                commands.add(names)
                return re.search(r"^Usage: gss-ntlm (.*)", out, re.M)[1]
            for name in re.findall(r"^ +([\w-]+)", inner[1], re.M):
                if name != "help":
                    walk(*names, name)

        walk()
        self.assertEqual(len(entries), len(commands))
        for names in commands:
            self.assertTrue([entry for entry in entries if entry.startswith(" ".join(names) + " ")], names)
        self.assertEqual({"-" + option for option in re.findall(r"Fl (-[\w-]+)", page)}, options)
        status = run("--help")[1].split("Exit status:")[1]
        numbers = re.findall(r"^\.It (\d)\n(.*)\.$", page, re.M)
        self.assertEqual([number for number, _ in numbers], ["0", "1", "2", "3"])
        for number, words in numbers:
            self.assertIn("%s, %s" % (number, words[0].lower() + words[1:]), " ".join(status.split()))


class Handshakes(unittest.TestCase):
    """gss-ntlm test, whose gss calls must go to the library, as those of any program."""

    def setUp(self):
        self.world = harness.World()
        self.addCleanup(self.world.remove)

    def run_test(self, *arguments, given="", prefix=(), **environment):
        done = subprocess.run(
            [*prefix, command(), "test", *arguments], input=given, capture_output=True, text=True, timeout=harness.PATIENCE,
            env=self.world.environment(**environment),
        )
        return done.returncode, done.stdout, done.stderr

    def test_its_gss_calls_go_to_the_library(self):
        symbols = subprocess.run(["nm", command()], capture_output=True, text=True, check=True, timeout=harness.PATIENCE).stdout
        called = re.findall(r"^ +U (gss\w+)@", symbols, re.M) or re.findall(r"^ +U (gss\w+)$", symbols, re.M)
        self.assertIn("gss_init_sec_context", called)
        self.assertEqual(re.findall(r"^[0-9a-f]+ \w (gss_\w+)$", symbols, re.M), [])
        status, out, bindings = self.run_test(LD_DEBUG="bindings")
        self.assertEqual(status, OK, out)
        bound = re.findall(r"binding file \S*gss-ntlm \S+ to (\S+) .*`gss_init_sec_context'", bindings)
        self.assertTrue(bound and all("libgssapi_krb5.so.2" in library for library in bound), bound)

    def test_a_made_up_account(self):
        said = (
            "ok: NTLM alone: TEST\\somebody logs on, and messages are signed and encrypted\n"
            "ok: NTLM inside SPNEGO: TEST\\somebody logs on, and messages are signed and encrypted\n"
        )
        self.assertEqual(self.run_test(NTLM_USER_FILE="/nonexistent"), (OK, said, ""))
        self.assertFalse([name for name in os.listdir(self.world.path) if name.startswith("gss-ntlm-")], "it is removed")
        status, out, _ = self.run_test(GSS_MECH_CONFIG="/dev/null")
        self.assertEqual((status, out.count("WRONG: ")), (WRONG, 2), out)
        self.assertIn("An unsupported mechanism was requested", out)
        status, out, _ = self.run_test(GSS_NTLM_MIC="x")
        self.assertEqual((status, out.count("WRONG: "), out.count("GSS_NTLM_MIC must be")), (WRONG, 2, 1), out)

    def test_an_account_of_the_user_file(self):
        status, out, _ = self.run_test("--user", harness.ALICE, given=harness.PASSWORD + "\n")
        self.assertEqual((status, out.count("EXAMPLE\\alice logs on")), (OK, 2), out)
        status, out, _ = self.run_test("--user", harness.ALICE, given="wrong\n")
        self.assertEqual((status, out.count("The user name or the password is wrong")), (WRONG, 2), out)
        own = self.world.write("own.conf", '[client "HTTP/*"]\noutgoing = deny\n')
        status, out, _ = self.run_test(
            "--user", harness.ALICE, "--target", "HTTP@srv", given=harness.PASSWORD + "\n", GSS_NTLM_CONFIG=own
        )
        self.assertEqual((status, out.count("line 2 of %s" % own)), (WRONG, 2), out)

    def test_an_address(self):
        for address, words in (
            ("ftp://x", "must begin with http:"), ("-x", "no address"), ("a b", "no address"), ("a\nb", "no address"), ("", "no address"),
        ):
            status, _, err = self.run_test("--server=" + address)
            self.assertEqual(status, USAGE)
            self.assertIn(words, err)
        programs = os.path.join(self.world.path, "programs")
        os.mkdir(programs)
        os.symlink("/usr/bin/timeout", programs + "/timeout")
        status, out, err = self.run_test("--server", "localhost", PATH=programs)
        self.assertEqual((status, out.count("is not installed"), err), (IMPOSSIBLE, 2, "gss-ntlm: no server was asked\n"), out)
        for code, words in (
            ("200", "ok: http://localhost/: you"), ("403", "the server answers 403"), ("500", "the server answers 500"),
            ("401", "the server refuses this account"),
        ):
            trace = 'echo "1 [2] initiator: sends AUTHENTICATE_MESSAGE of x" >$GSSNTLMSSP_DEBUG'
            path = self.world.write("programs/curl", "#!/bin/sh\n%s; printf %s\n" % (trace, code))
            os.chmod(path, 0o755)
            self.assertIn(words, self.run_test("--server", "http://localhost/", PATH=programs)[1])


class Completion(unittest.TestCase):
    def test_bash_completes(self):
        script = run("completion", "bash")[1]
        for words, expected in [
            (["gss-ntlm", ""], "decode hash users"),
            (["gss-ntlm", "users", "ch"], "check"),
            (["gss-ntlm", "decode", "--un"], "--unsafe"),
            (["gss-ntlm", "completion", "z"], "zsh"),
        ]:
            function = re.search(r"complete -F (\S+)", script)[1]
            line = "COMP_WORDS=(%s) COMP_CWORD=%d; %s gss-ntlm '%s' '%s'; echo \"${COMPREPLY[*]}\"" % (
                " ".join("'%s'" % word for word in words), len(words) - 1, function, words[-1], words[-2]
            )
            done = subprocess.run(["bash", "-c", script + line], capture_output=True, text=True, timeout=harness.PATIENCE)
            self.assertIn(expected, done.stdout, (words, done.stderr))

    def test_zsh_reads_its_script(self):
        self.assertTrue(run("completion", "zsh")[1].startswith("#compdef gss-ntlm\n"))
        self.assertEqual(run("completion", "fish")[0], USAGE)


class Build(unittest.TestCase):
    def test_none_of_the_plugin_is_in_it(self):
        symbols = subprocess.run(["nm", "--defined-only", command()], capture_output=True, text=True, check=True).stdout
        self.assertIn(" main\n", symbols)
        self.assertEqual(re.findall(r" [A-Z] (gssi?_\w+|gssspi_\w+)\n", symbols), [])
        features = subprocess.run(
            ["cargo", "check", "--all-features", "--bin", "gss-ntlm"],
            cwd=os.path.join(harness.HERE, "../.."),
            env=dict(os.environ, LIBGSSAPI_IMPL="mit"),
            capture_output=True,
            text=True,
        )
        self.assertNotEqual(features.returncode, 0)
        self.assertIn("the command must not contain the plugin", features.stderr)


if __name__ == "__main__":
    unittest.main()
