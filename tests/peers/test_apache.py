"""Apache httpd with mod_auth_gssapi as a server with our mechanism, and curl as its client.

Inside SPNEGO (`Negotiate`) curl also uses our mechanism. Without it (`NTLM`) curl uses its own NTLM, which sends no MIC.
"""

import base64
import collections
import concurrent.futures
import functools
import hashlib
import http.client
import itertools
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import (
    ALICE, CAROL_HASH, CAROL_PASSWORD, NTLM_OID, PASSWORD, PATIENCE, SIGNED, USER_FILE,
    GssFailure, OneOfOurs, PeerTest, PolicyFile, SystemLog, World, flip, free_ports, message, plugin, require, require_curl,
    require_program, spnego_loses_mic,
)

# Debian's default; in mpm_event any thread may serve a connection. If all threads are busy, or the time is over, it closes
# connections in the middle of a handshake; so there are more threads than clients, and the time is long.
MODULES = (
    "mpm_event authn_core authz_core authz_user auth_basic auth_gssapi alias cgi env headers session session_cookie ssl"
).split()
PROGRAM, MODULE_PATH = "/usr/sbin/apache2", "/usr/lib/apache2/modules"
BOUND = "GssapiConnectionBound On\n"
ONLY_NTLM = "GssapiAllowedMech ntlmssp\n"
NTLM_BOUND = ONLY_NTLM + BOUND
# The settings of each place of the server; sections do not inherit the module's directives.
PLACES = {
    "ntlm": NTLM_BOUND,
    # If no mechanism is named, Kerberos is also offered.
    "any": BOUND,
    "once": NTLM_BOUND + "GssapiNegotiateOnce On",
    "unbound": ONLY_NTLM,
    "persistent": NTLM_BOUND + "GssapiSignalPersistentAuth On",
    "basic": NTLM_BOUND + "GssapiBasicAuth On",
    "basic-any": "GssapiBasicAuth On",
    "basic-mech": "GssapiBasicAuth On\nGssapiBasicAuthMech ntlmssp",
    "keyfile": NTLM_BOUND + "GssapiBasicAuth On\nGssapiCredStore ntlmssp_keyfile:{root}/keyfile",
    "no-keyfile": NTLM_BOUND + "GssapiBasicAuth On\nGssapiCredStore ntlmssp_keyfile:{root}/nowhere",
    "session": NTLM_BOUND + "GssapiUseSessions On\nSession On\nSessionCookieName gss path=/session",
    "session-basic": ONLY_NTLM + "GssapiBasicAuth On\nGssapiUseSessions On\nSession On\nSessionCookieName gss path=/session",
    "local": NTLM_BOUND + "GssapiLocalName On",
    "tls-only": NTLM_BOUND + "GssapiSSLonly On",
    "named": NTLM_BOUND + "GssapiAcceptorName HTTP@localhost",
    "called": NTLM_BOUND + "GssapiAcceptorName {{HOSTNAME}}",
    "mic": NTLM_BOUND + """GssapiNameAttributes NTLM_MIC urn:gss-ntlm:mic
        <RequireAll>
        Require valid-user
        # To name the user keeps it from being asked before there is one.
        Require expr "%{{REMOTE_USER}} != '' && %{{reqenv:NTLM_MIC}} == 'verified'"
        </RequireAll>""",
    "json": NTLM_BOUND + """GssapiNameAttributes json
        Header always set X-Attributes "expr=%{{reqenv:GSS_NAME_ATTRS_JSON}}" """,
    "digest": NTLM_BOUND + "SetHandler cgi-script\nOptions ExecCGI",
    "git": NTLM_BOUND + "SetEnv GIT_PROJECT_ROOT {root}/documents/repositories\nSetEnv GIT_HTTP_EXPORT_ALL\n",
}
GIT_BACKEND = "/usr/lib/git-core/git-http-backend"
CONFIGURATION = """\
ServerRoot {root}
ServerName localhost
PidFile {root}/httpd.pid
DefaultRuntimeDir {root}
Mutex file:{root}
{modules}
{user}
ServerLimit 2
StartServers 2
ThreadLimit 64
ThreadsPerChild 64
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
Listen 127.0.0.1:{port}
Listen 127.0.0.1:{tls_port} https
ErrorLog {root}/error.log
LogLevel info ssl:notice
DocumentRoot {root}/documents
MaxKeepAliveRequests 0
KeepAliveTimeout 60
ScriptAlias /git/ {git}/
<Location />
AuthType GSSAPI
AuthName test
Require valid-user
Header always set X-Who "expr=%{{REMOTE_USER}}|%{{reqenv:GSS_MECH}}"
</Location>
{places}
<VirtualHost 127.0.0.1:{tls_port}>
SSLEngine On
SSLCertificateFile {root}/certificate.pem
SSLCertificateKeyFile {root}/key.pem
</VirtualHost>
"""
# Answers with a digest of the posted data.
DIGEST = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec sha256sum\n"
ACCOUNTS = USER_FILE + f"""\
EXAMPLE:jürgen:Grüße: 1€
OTHER:olga:Other
dave:1001:{32 * "X"}:{CAROL_HASH}:[UD         ]:LCT-00000000:
"""

Answer = collections.namedtuple("Answer", "status connects who mech")
# X-Who without a user, and the end of a failed handshake.
NOBODY = "|"
REFUSED = ((401, NOBODY), (None, NOBODY))
WRONG = "The user name or the password is wrong"


def children(parent):
    """The child processes of `parent`."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue  # The process has ended meanwhile.
        if int(fields[1]) == parent:
            found.add(int(name))
    return found


class Httpd:
    """A server in its own World."""

    def __init__(self, policy=None, **environment):
        require(os.path.isfile(PROGRAM), "apache2-bin")
        require(os.path.isfile(MODULE_PATH + "/mod_auth_gssapi.so"), "libapache2-mod-auth-gssapi")
        self.world = World(user_file=ACCOUNTS)
        self.system_log = SystemLog(self.world)
        self.root = self.world.path
        self.port, self.tls_port = free_ports(2)
        self.furnish()
        # The server ends with this process, even if it is killed.
        prefix = ["setpriv", "--pdeathsig", "TERM", *self.system_log.prefix]
        if policy is not None:
            prefix += PolicyFile(self.world, policy).prefix
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, PROGRAM, "-f", self.root + "/httpd.conf", "-DFOREGROUND"],
                env=self.world.environment(GSSNTLMSSP_DEBUG=self.trace, **environment), cwd=self.root, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )
        try:
            self.wait_until_it_serves()
        except BaseException:
            self.stop()
            raise

    def furnish(self):
        """Writes all files of the server, also those of the accounts, for the user that its processes run as."""
        self.world.library = shutil.copy(plugin(), self.root)
        self.world.write("mech", "gss-ntlm %s %s\n" % (NTLM_OID, self.world.library))
        self.world.write("keyfile", "KEYS:kate:Of The Keyfile\n")
        self.log, self.trace = self.world.write("error.log", ""), self.world.write("trace", "")
        os.makedirs(self.root + "/documents")
        for place in PLACES:
            self.world.write("documents/" + place, DIGEST if place == "digest" else place)
        os.chmod(self.root + "/documents/digest", 0o700)
        subprocess.run(
            [
                require_program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                "-keyout", self.root + "/key.pem", "-out", self.root + "/certificate.pem",
            ],
            env=self.world.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=True,
        )
        self.world.write("httpd.conf", CONFIGURATION.format(
            root=self.root, port=self.port, tls_port=self.tls_port, git=GIT_BACKEND,
            # If root starts the server, it serves as another user.
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            modules="\n".join("LoadModule %s_module %s/mod_%s.so" % (name, MODULE_PATH, name) for name in MODULES),
            places="\n".join(
                "<Location /%s>\nGssapiPublishMech On\n%s\n</Location>" % (place, settings.format(root=self.root))
                for place, settings in PLACES.items()
            ),
        ))
        if os.geteuid() == 0:
            account = pwd.getpwnam("www-data")
            for folder, _, files in os.walk(self.root):
                for path in (folder, *(os.path.join(folder, file) for file in files)):
                    os.chown(path, account.pw_uid, account.pw_gid)

    def wait_until_it_serves(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.tls_port), timeout=PATIENCE):
                    break
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("httpd does not answer: " + self.told())
                time.sleep(0.05)
        while len(children(self.process.pid)) < 2:
            if time.monotonic() > end:
                raise RuntimeError("httpd does not have its two child processes: " + self.told())
            time.sleep(0.05)
        self.children = children(self.process.pid)

    def told(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                # Its session has the parent and the children.
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.system_log.close()
        self.world.remove()


class ApacheTest(OneOfOurs, PeerTest):
    environment = {}
    # The policy file of the server.
    policy = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.httpd = Httpd(cls.policy, **cls.environment)
        cls.addClassCleanup(cls.httpd.stop)
        cls.world = cls.httpd.world

    def setUp(self):
        self.told_before = len(self.httpd.told())
        os.truncate(self.httpd.trace, 0)
        self.addCleanup(self.check_that_it_lives)

    def told(self):
        """The server's log of this test."""
        return self.httpd.told()[self.told_before:]

    def traced(self):
        """The trace of the server's mechanism in this test."""
        with open(self.httpd.trace) as trace:
            return trace.read()

    def check_that_it_lives(self):
        self.assertIsNone(self.httpd.process.poll(), self.told())
        self.assertEqual(children(self.httpd.process.pid) & self.httpd.children, self.httpd.children, self.told())
        self.assertNotIn("exit signal", self.told())

    def url(self, place, tls=False, host="localhost"):
        scheme, port = ("https", self.httpd.tls_port) if tls else ("http", self.httpd.port)
        return "%s://%s:%d/%s" % (scheme, host, port, place)

    @functools.cache
    def accounts(self, user, password):
        """A user file with one account."""
        domain, _, name = user.rpartition("\\")
        handle, path = tempfile.mkstemp(dir=self.world.path)
        with open(handle, "w", encoding="utf-8") as file:
            file.write("%s:%s:%s\n" % (domain, name, password))
        return path

    def curl(self, url, *options, user=ALICE, password=PASSWORD, output=os.devnull, policy=None):
        """The answers that one run of curl gets. `user` with `password` is the only account of its user file."""
        prefix = PolicyFile(self.world, policy).prefix if policy is not None else []
        accounts = self.accounts(user, password)
        done = subprocess.run(
            [
                *prefix, require_curl(), "--disable", "--ipv4", "--silent", "--show-error", "--max-time", str(PATIENCE),
                "--cacert", self.httpd.root + "/certificate.pem", "--output", output,
                "--write-out", "%{http_code}|%{num_connects}|%header{x-who}\n", *options, url,
            ],
            env=self.world.environment(NTLM_USER_FILE=accounts), cwd=self.world.path,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=2 * PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stderr + self.told())
        self.curl_told = done.stderr
        answers = [line.split("|") for line in done.stdout.splitlines()]
        return [Answer(int(status), int(connects), who, mech) for status, connects, who, mech in answers]

    def curl_ways(self, user=ALICE, password=PASSWORD):
        """The options of curl for our mechanism inside SPNEGO, and for its own NTLM."""
        yield "Negotiate", ("--negotiate", "--user", ":")
        yield "NTLM", ("--ntlm", "--user", "%s:%s" % (user, password))

    def each_way(
        self, place, options, only=None, tls=False, host="localhost", query="", user=ALICE, password=PASSWORD, **about
    ):
        """The answers to both kinds of handshake, or only to the kind `only`."""
        for scheme, way in self.curl_ways(user, password):
            if only in (None, scheme):
                url = self.url(place, tls, host) + query
                yield scheme, self.curl(url, *way, *options, user=user, password=password, **about)

    def assertServed(self, place, *options, who=ALICE, **about):
        for scheme, answers in self.each_way(place, options, **about):
            expected = {(200, who, scheme + "/NTLM")}
            self.assertEqual({(answer.status, *answer[2:]) for answer in answers}, expected, scheme + self.told())

    def assertNotServed(self, place, says, **about):
        """The server's log contains `says`."""
        before = len(self.told())
        for scheme, (answer,) in self.each_way(place, (), **about):
            self.assertEqual((answer.status, answer.who), (401, ""), scheme + self.told())
            self.assertIn(says, self.told()[before:], scheme)
            before = len(self.told())

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.httpd.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, place, authorization=None):
        """The status and the headers of an answer."""
        connection.request("GET", "/" + place, headers={"Authorization": authorization} if authorization else {})
        with connection.getresponse() as answer:
            answer.read()
            return answer.status, answer.headers

    def handshakes(self):
        return self.told().count("authenticated with")


class Git(ApacheTest):
    """git, which uses libcurl for HTTP: the account is the first of its user file."""

    def git(self, *command, **about):
        # git uses the same libcurl.
        require_curl()
        environment = self.world.environment(
            NTLM_USER_FILE=self.accounts(**about), GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0", GIT_AUTHOR_NAME="alice",
            GIT_AUTHOR_EMAIL="alice@example.com", GIT_COMMITTER_NAME="alice", GIT_COMMITTER_EMAIL="alice@example.com",
        )
        return subprocess.run(
            ["git", "-c", "http.emptyAuth=true", "-c", "init.defaultBranch=main", *command], env=environment,
            cwd=self.world.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=2 * PATIENCE,
        )

    def must(self, *command):
        done = self.git(*command, user=ALICE, password=PASSWORD)
        self.assertEqual(done.returncode, 0, done.stdout + self.told())
        return done.stdout

    def test_pushes_and_clones(self):
        require_program("git", "git")
        require(os.path.isfile(GIT_BACKEND), "git")
        repository = "documents/repositories/project.git"
        self.must("init", "--quiet", "--bare", repository)
        self.must("-C", repository, "config", "http.receivepack", "true")
        if os.geteuid() == 0:
            account = pwd.getpwnam("www-data")
            for folder, _, files in os.walk(os.path.join(self.world.path, "documents/repositories")):
                for path in (folder, *(os.path.join(folder, file) for file in files)):
                    os.chown(path, account.pw_uid, account.pw_gid)
        self.must("init", "--quiet", "work")
        # More than the megabyte that git may send before it is authorized: it goes in pieces.
        self.world.write("work/file", random.Random(1).randbytes(3_000_000))
        self.must("-C", "work", "add", "file")
        self.must("-C", "work", "commit", "--quiet", "--message=one")
        url = self.url("git/project.git")
        self.must("-C", "work", "push", "--quiet", url, "main")
        self.must("clone", "--quiet", url, "again")
        with open(self.world.path + "/work/file", "rb") as one, open(self.world.path + "/again/file", "rb") as other:
            self.assertEqual(one.read(), other.read())
        self.assertGreaterEqual(self.handshakes(), 2)
        refused = self.git("ls-remote", url, user=ALICE, password="wrong")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(WRONG, self.told())


class Apache(ApacheTest):
    @functools.cached_property
    def client(self):
        client = self.party()
        client.log_on()
        return client

    def test_has_loaded_the_plugin_under_test(self):
        for process in self.httpd.children:
            with open("/proc/%d/maps" % process) as maps:
                self.assertIn(self.world.library, maps.read())

    def test_serves_curl(self):
        for tls in (False, True):
            self.assertServed("ntlm", tls=tls)

    def test_serves_where_kerberos_is_offered_too(self):
        self.assertServed("any")

    def test_reads_a_negotiate_message_of_32_bytes(self):
        self.curl(self.url("ntlm"), "--ntlm", "--user", "%s:%s" % (ALICE, PASSWORD), "--verbose")
        sent = re.findall(r"^> Authorization: NTLM (\S+)", self.curl_told, re.MULTILINE)
        negotiate, authenticate = map(base64.b64decode, sent)
        self.assertEqual(len(negotiate), 32)
        self.assertEqual(authenticate[8], 3)

    def test_offers_what_the_place_allows(self):
        one, both = ["Negotiate"], ["Negotiate", "NTLM"]
        for place, offered in (
            ("ntlm", both), ("any", both), ("once", both), ("unbound", one), ("basic", [*both, 'Basic realm="test"']),
        ):
            with self.subTest(place=place):
                status, headers = self.ask(self.connect(), place)
                self.assertEqual((status, headers.get_all("WWW-Authenticate")), (401, offered))

    def test_offers_negotiate_once(self):
        for place, offered in (("ntlm", ["Negotiate", "NTLM"]), ("once", None)):
            with self.subTest(place=place):
                status, headers = self.ask(self.connect(), place, "Negotiate AAAA")
                self.assertEqual((status, headers.get_all("WWW-Authenticate")), (401, offered))
        self.assertServed("once")

    def test_needs_the_connection_for_a_handshake(self):
        self.assertNotServed("unbound", only="Negotiate", says="Mechanism needs continuation")

    def test_authenticates_a_connection_once(self):
        ways = itertools.product(("ntlm", "persistent"), self.curl_ways())
        for count, (place, (scheme, options)) in enumerate(ways, 1):
            with self.subTest(place=place, scheme=scheme):
                answers = self.curl(self.url(place) + "?[1-6]", *options)
                self.assertEqual([answer.status for answer in answers], [200] * 6)
                self.assertEqual([answer.connects for answer in answers], [1, 0, 0, 0, 0, 0])
                self.assertEqual({answer.who for answer in answers}, {ALICE})
                self.assertEqual(self.handshakes(), count)

    def test_serves_the_account_of_the_user_file(self):
        # curl ignores the name that it is given with -u.
        self.assertServed("ntlm", "--user", "carol:" + CAROL_PASSWORD, only="Negotiate")

    def test_takes_what_is_posted(self):
        back = os.path.join(self.world.path, "back")
        for size in (0, 1, 1000, 3000000):
            # A client that waits for "100 Continue" and gets a 401 instead loses the connection.
            options = ("--data-binary", "@" + self.world.write("sent", message(size)), "--header", "Expect:")
            for tls, scheme in itertools.product((False, True), ("Negotiate", "NTLM")):
                self.assertServed("digest", *options, tls=tls, only=scheme, output=back)
                with open(back) as file:
                    self.assertEqual(file.read().split()[0], hashlib.sha256(message(size)).hexdigest())

    def test_takes_posts_one_after_the_other(self):
        sent = self.world.write("sent", message(100000))
        self.assertServed("digest", "--data-binary", "@" + sent, query="?[1-4]")
        self.assertEqual(self.handshakes(), 2)

    def test_compares_no_target_unless_told_to(self):
        self.assertServed("named", host="127.0.0.1")

    def test_refuses_a_wrong_password(self):
        self.httpd.system_log.events()
        self.assertNotServed("ntlm", password="Battery Staple", says=WRONG)
        self.assertEqual(self.traced().count("refused EXAMPLE\\alice: wrong password"), 2)
        # One line for each of the two handshakes.
        events = self.httpd.system_log.events()
        self.assertEqual(sorted(event["layer"] for event in events), ["raw", "spnego"], events)
        for event in events:
            told = {name: event.get(name) for name in ("event", "reason", "account", "domain", "program", "ntlm", "mic")}
            self.assertEqual(told, {
                "event": "server-refused", "reason": "bad-password", "account": "alice", "domain": "EXAMPLE",
                "program": PROGRAM, "ntlm": "v2", "mic": event["mic"],
            })

    def test_refuses_an_unknown_user(self):
        self.assertNotServed("ntlm", user="EXAMPLE\\nobody", says=WRONG)
        self.assertNotServed("ntlm", user="ELSEWHERE\\alice", says=WRONG)
        self.assertNotIn("wrong password", self.traced())

    def test_refuses_a_disabled_account(self):
        self.assertNotServed("ntlm", user="dave", password=CAROL_PASSWORD, says=WRONG)

    def test_calls_the_user_as_the_file_does(self):
        self.assertServed("ntlm", user="example\\ALICE")
        self.assertServed("ntlm", user="ANYWHERE\\Dora", password="No Domain", who="dora")
        self.assertServed("ntlm", user="carol", password=CAROL_PASSWORD, who="carol")
        # curl's own NTLM treats each byte as a character.
        self.assertServed("ntlm", user="EXAMPLE\\jürgen", password="Grüße: 1€", who="EXAMPLE\\jürgen", only="Negotiate")

    def test_knows_the_local_account(self):
        self.assertServed("local", who="alice")
        # An account of another domain than the server's own.
        self.assertServed("local", user="OTHER\\olga", password="Other", who="OTHER\\olga")

    def test_serves_by_tls_alone_where_told_to(self):
        self.assertServed("tls-only", tls=True)
        self.assertNotServed("tls-only", says="Not a TLS connection")

    def test_knows_the_accounts_of_its_keyfile_alone(self):
        self.assertServed("keyfile", user="KEYS\\kate", password="Of The Keyfile", who="KEYS\\kate")
        self.assertNotServed("keyfile", says=WRONG)
        self.assertNotServed("ntlm", user="KEYS\\kate", password="Of The Keyfile", says=WRONG)

    def test_says_that_its_keyfile_is_not_there(self):
        self.assertNotServed("no-keyfile", only="NTLM", says="nowhere cannot be read: No such file")

    def basic(self, place, user, password, *options):
        (answer,) = self.curl(self.url(place), "--basic", "--user", "%s:%s" % (user, password), *options)
        return answer

    def test_takes_a_password_by_basic_authentication(self):
        for place in ("basic", "basic-any", "basic-mech", "session-basic"):
            for user, password, who in (
                (ALICE, PASSWORD, ALICE), ("alice@example", PASSWORD, ALICE), ("alice", PASSWORD, ALICE),
                ("Carol", CAROL_PASSWORD, "carol"), ("EXAMPLE\\jürgen", "Grüße: 1€", "EXAMPLE\\jürgen"),
            ):
                with self.subTest(place=place, user=user):
                    self.assertEqual(self.basic(place, user, password)[2:], (who, "Basic/NTLM"), self.told())
        self.assertEqual(self.basic("keyfile", "KEYS\\kate", "Of The Keyfile").who, "KEYS\\kate")

    def test_refuses_by_basic_authentication(self):
        for place in ("basic", "basic-any", "basic-mech", "session-basic", "keyfile"):
            for user, password in (
                (ALICE, "Battery Staple"), (ALICE, ""), ("EXAMPLE\\nobody", PASSWORD), ("dave", CAROL_PASSWORD),
                ("carol", CAROL_HASH), ("HTTP@localhost", PASSWORD), ("@", "@"), ("\\", "\\"), ("x" * 2000, PASSWORD),
            ):
                with self.subTest(place=place, user=user):
                    answer = self.basic(place, user, password)
                    self.assertEqual((answer.status, answer.who), (401, ""), self.told())
        self.assertEqual(self.basic("keyfile", ALICE, PASSWORD).status, 401)
        self.assertEqual(self.basic("ntlm", ALICE, PASSWORD).status, 401)

    def test_knows_a_session_again(self):
        jar = os.path.join(self.world.path, "jar")
        for count, (scheme, options) in enumerate(self.curl_ways(), 1):
            with self.subTest(scheme=scheme):
                (first,) = self.curl(self.url("session"), *options, "--cookie-jar", jar)
                self.assertEqual(first.who, ALICE)
                with open(jar) as file:
                    cookie = re.search(r"\tgss\t(\S+)", file.read())[1]
                (second,) = self.curl(self.url("session"), "--cookie", "gss=" + cookie)
                self.assertEqual((second.status, second.who), (200, ALICE), self.told())
                middle = len(cookie) // 2
                other = cookie[:middle] + ("B" if cookie[middle] == "A" else "A") + cookie[middle + 1:]
                (spoiled,) = self.curl(self.url("session"), "--cookie", "gss=" + other)
                self.assertEqual(spoiled.status, 401, self.told())
                self.assertEqual(self.handshakes(), count)

    def test_tells_the_attributes_of_the_name(self):
        head = os.path.join(self.world.path, "head")
        for (scheme, options), mic, workstation in zip(
            self.curl_ways(), ("none" if spnego_loses_mic() else "verified", "none"), ("TESTHOST", "WORKSTATION")
        ):
            with self.subTest(scheme=scheme):
                self.curl(self.url("json"), *options, "--dump-header", head)
                with open(head) as file:
                    # Only the last answer has the name. Its backslash is not escaped as JSON requires.
                    told = re.findall("^X-Attributes: (.+)$", file.read(), re.MULTILINE)[-1].replace("\\", "\\\\")
                told = json.loads(told)
                self.assertEqual(told["name"], ALICE)
                attributes = {name: attribute["values"][0]["display"] for name, attribute in told["attributes"].items()}
                self.assertEqual(attributes, {
                    "urn:gss-ntlm:domain": "EXAMPLE", "urn:gss-ntlm:workstation": workstation, "urn:gss-ntlm:mic": mic,
                    "urn:gss-ntlm:channel-bindings": "none", "urn:gss-ntlm:version": "NTLMv2",
                })
                # Without a MIC an attacker may have written this name.
                self.assertEqual(told["attributes"]["urn:gss-ntlm:workstation"]["authenticated"], mic == "verified")

    def test_admits_by_an_attribute_of_the_name(self):
        if spnego_loses_mic():
            answer = self.curl(self.url("mic"), *dict(self.curl_ways())["Negotiate"])[-1]
            self.assertEqual((answer.status, *answer[2:]), (401, ALICE, "Negotiate/NTLM"))
        else:
            self.assertServed("mic", only="Negotiate")
        (answer,) = self.curl(self.url("mic"), *dict(self.curl_ways())["NTLM"])
        self.assertEqual(answer[2:], (ALICE, "NTLM/NTLM"))
        self.assertEqual(answer.status, 401)

    def test_serves_sixty_at_a_time(self):
        users = ((ALICE, PASSWORD, ALICE), ("dora", "No Domain", "dora"), ("carol", CAROL_PASSWORD, "carol"))
        jobs = [
            (scheme, options, tls, user, password, who)
            for user, password, who in users for scheme, options in self.curl_ways(user, password) for tls in (False, True)
        ] * 5

        def answers(job):
            _, options, tls, user, password, _ = job
            return self.curl(self.url("ntlm", tls), *options, user=user, password=password)

        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
            for (scheme, *_, who), answered in zip(jobs, pool.map(answers, jobs)):
                self.assertEqual(answered, [Answer(200, 1, who, scheme + "/NTLM")])
        self.assertEqual(self.handshakes(), 60)

    def test_serves_one_curl_with_many_connections(self):
        # A handshake begins in one connection and continues in another, which is authenticated meanwhile.
        many = ("--parallel", "--parallel-immediate", "--parallel-max", "20")
        self.assertServed("ntlm", *many, query="?[1-20]")

    def handshake(self, scheme="NTLM", mech="ntlm", spoil=lambda step, token: token):
        """The status of a handshake with our tokens, each changed by `spoil`, and the user. If our client refuses an answer,
        there is no status."""
        connection, token = self.connect(), None
        try:
            for step in (1, 3):
                token = self.client.init(context="c", mech=mech, flags=SIGNED, token=token, cred="user")["token"]
                sent = base64.b64encode(spoil(step, token)).decode()
                status, headers = self.ask(connection, "ntlm", "%s %s" % (scheme, sent))
                # The header has a token, or the names of the offered schemes.
                _, _, token = (headers["WWW-Authenticate"] or "").partition(" ")
                if not token:
                    break
                token = base64.b64decode(token)
        except GssFailure:
            return None, NOBODY
        finally:
            self.client.drop(context="c")
            connection.close()
        return status, headers["X-Who"]

    def test_takes_tokens_of_ours(self):
        self.assertEqual(self.handshake(), (200, ALICE + "|NTLM/NTLM"))
        self.assertEqual(self.handshake("Negotiate", "spnego"), (200, ALICE + "|Negotiate/NTLM"))
        # Clients without Kerberos also send tokens without SPNEGO here.
        self.assertEqual(self.handshake("Negotiate"), (200, ALICE + "|Negotiate/NTLM"))

    def test_keeps_handshakes_apart(self):
        handshakes = [("context %d" % number, self.connect()) for number in range(40)]
        challenges = []
        for context, connection in handshakes:
            token = self.client.init(context=context, flags=SIGNED, cred="user")["token"]
            status, headers = self.ask(connection, "ntlm", "NTLM " + base64.b64encode(token).decode())
            challenges.append(base64.b64decode(headers["WWW-Authenticate"].split()[1]))
        # Half of the handshakes never end.
        for (context, connection), challenge in list(zip(handshakes, challenges))[::-2]:
            token = self.client.init(context=context, flags=SIGNED, cred="user", token=challenge)["token"]
            status, headers = self.ask(connection, "ntlm", "NTLM " + base64.b64encode(token).decode())
            self.assertEqual((status, headers["X-Who"]), (200, ALICE + "|NTLM/NTLM"))

    def test_refuses_tokens_with_a_bit_changed(self):
        for scheme, mech in (("NTLM", "ntlm"), ("Negotiate", "ntlm"), ("Negotiate", "spnego")):
            for spoiled, position in [*((1, at) for at in range(0, 40, 3)), *((3, at) for at in range(0, 300, 9))]:
                def spoil(step, token):
                    return flip(token, position % len(token)) if step == spoiled else token

                with self.subTest(scheme=scheme, mech=mech, spoiled=spoiled, position=position):
                    answer = self.handshake(scheme, mech, spoil)
                    # SPNEGO does not protect all of its fields.
                    harmless = [(200, ALICE + "|Negotiate/NTLM")] if mech == "spnego" else []
                    self.assertIn(answer, [*REFUSED, *harmless])
        self.assertEqual(self.handshake()[0], 200)

    def test_refuses_tokens_cut_short_or_prolonged(self):
        for scheme, mech in (("NTLM", "ntlm"), ("Negotiate", "ntlm"), ("Negotiate", "spnego")):
            for spoiled, size in [*((1, size) for size in range(0, 36, 5)), *((3, size) for size in range(0, 250, 17))]:
                def spoil(step, token):
                    return token[:size] if step == spoiled else token

                with self.subTest(scheme=scheme, mech=mech, spoiled=spoiled, size=size):
                    self.assertIn(self.handshake(scheme, mech, spoil), REFUSED)
        for size in (1, 5000):
            self.assertEqual(self.handshake(spoil=lambda step, token: token + bytes(size))[0], 401)
        self.assertEqual(self.handshake()[0], 200)

    def test_refuses_garbage(self):
        chance = random.Random(5)
        heads = [b"", b"NTLMSSP\0", *(b"NTLMSSP\0%c\0\0\0" % kind for kind in range(5))]
        heads.append(b"\x60\x82\x01\x00\x06\x06+\x06\x01\x05\x05\x02")
        tokens = [head + chance.randbytes(size) for head in heads for size in (0, 1, 24, 60, 300, 5900)]
        texts = [base64.b64encode(token).decode() for token in tokens]
        texts += ["!", "====", "A", "TlRMTVNTUA", "A" * 20000, "TlRMTVNTUAAB" + "A" * 8000]
        for scheme, text in itertools.product(("NTLM", "Negotiate", "Basic"), texts):
            with self.subTest(scheme=scheme, text=text[:40]):
                connection = self.connect()
                status, headers = self.ask(connection, "basic", "%s %s" % (scheme, text))
                self.assertIn(status, (400, 401))
                self.assertIn(headers["X-Who"], (None, NOBODY))
                connection.close()
        for authorization in ("", "NTLM", "Negotiate", "Basic", "Bearer x", "NTLM,Negotiate"):
            with self.subTest(authorization=authorization):
                self.assertEqual(self.ask(self.connect(), "basic", authorization)[0], 401)
        self.assertEqual(self.handshake()[0], 200)

    def test_refuses_garbage_in_the_middle(self):
        chance = random.Random(6)
        for scheme, mech in (("NTLM", "ntlm"), ("Negotiate", "spnego")):
            for size in (0, 1, 70, 3000):
                garbage = chance.randbytes(size)
                for head in (b"", b"NTLMSSP\0\3\0\0\0"):
                    answer = self.handshake(scheme, mech, lambda step, token: head + garbage if step == 3 else token)
                    self.assertEqual(answer, (401, NOBODY))
        self.assertEqual(self.handshake()[0], 200)


class WithTargetNameRequired(ApacheTest):
    environment = {"GSS_NTLM_TARGET_NAME": "required"}

    def test_serves_who_means_the_acceptor(self):
        self.assertServed("named", only="Negotiate")

    def test_refuses_who_means_another_service(self):
        self.assertNotServed("named", host="127.0.0.1", only="Negotiate", says="did not name this service")

    def test_refuses_who_means_none(self):
        self.assertNotServed("named", only="NTLM", says="did not name this service")

    def test_serves_by_each_name_that_it_is_called_by(self):
        for host in ("localhost", "127.0.0.1"):
            self.assertServed("called", host=host, only="Negotiate")

    def test_compares_nothing_without_a_name_of_its_own(self):
        self.assertServed("ntlm")


class WithTargetNameAudited(ApacheTest):
    environment = {"GSS_NTLM_TARGET_NAME": "audit"}

    def test_traces_who_means_another_service(self):
        for host, noted in (("localhost", False), ("127.0.0.1", True)):
            self.assertServed("named", host=host, only="Negotiate")
            self.assertEqual("the client's target is HTTP/127.0.0.1, ours is HTTP/localhost" in self.traced(), noted)
        self.assertServed("named", only="NTLM")
        self.assertIn("the client's target is not named, ours is HTTP/localhost", self.traced())


class WithMicRequired(ApacheTest):
    environment = {"GSS_NTLM_REQUIRE_MIC": "yes"}

    def test_serves_who_sends_one(self):
        if spnego_loses_mic():
            # Then no client sends a MIC inside SPNEGO.
            self.assertNotServed("ntlm", only="Negotiate", says="MIC")
        else:
            self.assertServed("ntlm", only="Negotiate")

    def test_refuses_who_sends_none(self):
        self.assertNotServed("ntlm", only="NTLM", says="MIC")


class WithChannelBindingsRequired(ApacheTest):
    environment = {"GSS_NTLM_CHANNEL_BINDINGS": "required"}

    def test_serves_nobody(self):
        # The module gives no channel bindings.
        for tls in (False, True):
            self.assertNotServed("ntlm", tls=tls, says="channel bindings")


class WithPolicyFile(ApacheTest):
    policy = '[server "HTTP/*"]\nchannel-bindings = required\n'

    def test_serves_nobody_where_the_service_requires_what_the_module_does_not_give(self):
        self.assertNotServed("named", only="Negotiate", says="There are no channel bindings to compare")

    def test_serves_where_there_is_no_such_service(self):
        self.assertServed("ntlm")


class WithPolicyOfTheClient(ApacheTest):
    NTLM_INSIDE_NEGOTIATE = ("--negotiate", "--user", ":", "--verbose")

    def asked(self, host, policy):
        """The status for curl with that policy, and what it told, with the tokens that it sent."""
        (*_, answer) = self.curl(self.url("ntlm", host=host), *self.NTLM_INSIDE_NEGOTIATE, policy=policy)
        sent = re.findall(r"> Authorization: Negotiate (\S+)", self.curl_told)
        return answer.status, self.curl_told, b"".join(map(base64.b64decode, sent))

    def test_sends_no_response_inside_negotiate_where_that_is_denied(self):
        status, told, sent = self.asked("localhost", "[client]\ninside-spnego = deny\n")
        self.assertEqual(status, 401, told)
        self.assertNotIn(b"NTLMSSP\0\3", sent)
        self.assertNotIn("AUTHENTICATE_MESSAGE", self.traced())
        self.assertIn("SPNEGO has chosen NTLM to HTTP/localhost, which is denied by line 2 of /etc/gss/ntlm.conf", told)
        self.assertServed("ntlm", only="NTLM")
        status, told, sent = self.asked("localhost", "[client]\ninside-spnego = audit\n")
        self.assertEqual(status, 200, told)
        self.assertIn(b"NTLMSSP\0\3", sent)

    def test_goes_to_the_allowed_targets_alone(self):
        policy = '[client]\noutgoing = deny\n[client "HTTP/127.0.0.1"]\noutgoing = allow\n'
        self.assertEqual(self.asked("127.0.0.1", policy)[0], 200, self.told())
        status, told, sent = self.asked("localhost", policy)
        self.assertEqual((status, sent), (401, b""), told)
        self.assertIn("NTLM to HTTP/localhost is denied by line 2 of /etc/gss/ntlm.conf", told)

    def test_uses_no_ntlm_with_a_mistake_in_the_file(self):
        status, told, sent = self.asked("localhost", "[client]\noutgoing = denny\n")
        self.assertEqual((status, sent), (401, b""), told)
        self.assertIn("NTLM is off, because of line 2 of the policy file /etc/gss/ntlm.conf: outgoing must be allow, audit or deny", told)


class WithUserFileToMend(ApacheTest):
    environment = {"NTLM_USER_FILE": "/nonexistent/users"}

    def test_tells_the_system_log_once_in_each_process(self):
        for scheme, answers in [answer for place in 3 * ("ntlm", "any") for answer in self.each_way(place, ())]:
            self.assertEqual({(answer.status, answer.who) for answer in answers}, {(401, "")}, scheme + self.told())
        self.assertEqual(self.httpd.system_log.events(), [], "a credential that cannot be acquired is no handshake")
        told = self.httpd.system_log.lines()
        sentence = "The user file /nonexistent/users cannot be read: No such file or directory"
        speakers = [line.partition(": ")[0] for line in told if sentence in line]
        self.assertEqual(len(speakers), len(told), told)
        of_children = {"<84>gss-ntlm[%d]" % child for child in self.httpd.children}
        self.assertTrue(speakers and set(speakers) <= of_children and len(set(speakers)) == len(speakers), told)


class WithSwitchToMend(ApacheTest):
    environment = {"GSS_NTLM_REQUIRED_MIC": "yes"}

    def test_tells_the_system_log(self):
        self.assertNotServed("ntlm", says="")
        self.assertIn("GSS_NTLM_REQUIRED_MIC is not a setting of gss-ntlm", "".join(self.httpd.system_log.lines()))
