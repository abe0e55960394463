"""Samba as the other side: its two programs that speak NTLM, and the settings of smb.conf for every dialect."""

import base64
import glob

from harness import ALICE, PASSWORD, LineProcess, Peer, require, require_module, require_program

LEVELS = range(6)
V1 = {"client ntlmv2 auth": "no"}
PLAIN_V1 = V1 | {"ntlmssp_client:ntlm2": "no"}
LM = PLAIN_V1 | {"client lanman auth": "yes"}

# What a client can send: its settings, the LM levels at which an acceptor serves it, and whether the session has ESS. An LM
# response alone is not in the list: with send_nt_response=no Samba 4.17 sends an NT response nevertheless, and then two Samba
# sides have different keys.
RESPONSES = {
    "NTLMv2": ({}, LEVELS, True),
    "NTLMv1 with ESS": (V1, range(3), True),
    "NTLMv1": (PLAIN_V1, range(3), False),
    "LM and NTLMv1": (LM, range(3), False),
    "LM and NTLMv1, LM_KEY": (LM | {"ntlmssp_client:lm_key": "yes"}, range(3), False),
}
SERVES_V1 = {"ntlm auth": "ntlmv1-permitted"}
# Settings of either role, and the strength that gss_inquire_sec_context_by_oid returns for a sealed context.
STRENGTHS = {
    "128": ({"128bit": "yes", "56bit": "yes"}, 64),
    "56": ({"128bit": "no", "56bit": "yes"}, 56),
    "40": ({"128bit": "no", "56bit": "no"}, 40),
}


def of_role(role, settings):
    return {"ntlmssp_%s:%s" % (role, name): value for name, value in settings.items()}


def require_gensec():
    """Require Samba's Python module, and the two database modules that sambapeer's directory needs."""
    require_module("samba", "python3-samba")
    require(glob.glob("/usr/lib/*/samba/ldb/extended_dn_out.so"), "samba-dsdb-modules")


class Gensec(Peer):
    """A sambapeer process: Samba's NTLMSSP, as a client and as a server that has the account ALICE."""

    def __init__(self, world):
        super().__init__("sambapeer.py", world, {}, smb_conf=world.smb_conf(), user=ALICE, password=PASSWORD)


class NtlmAuth(LineProcess):
    """An ntlm_auth helper: `tell` sends a command with a token and returns the answer's code and fields."""

    def __init__(self, world, protocol, password=PASSWORD, features=None, options={}):
        program = require_program("ntlm_auth", "winbind")
        domain, user = ALICE.split("\\")
        super().__init__(
            [
                program, "--configfile=" + world.smb_conf(), "--helper-protocol=" + protocol,
                "--username=" + user, "--domain=" + domain, "--password=" + password,
                *("--option=%s=%s" % option for option in options.items()),
            ],
            world.environment(),
            cwd=world.path,
        )
        if features:
            code, _ = self.tell("SF " + features)
            assert code == "OK", code

    def tell(self, command, token=None):
        answer = self.ask(command if token is None else command + " " + base64.b64encode(token).decode())
        code, *fields = answer.split(" ")
        return code, fields

    def session_key(self):
        code, (key,) = self.tell("GK")
        assert code == "GK", code
        return base64.b64decode(key)

    def negotiated(self):
        code, (flags,) = self.tell("GF")
        assert code == "GF", code
        return int(flags, 16)
