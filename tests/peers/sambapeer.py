"""One party of Samba's GENSEC as a process: the NTLMSSP that Samba's servers and tools use, with signing and sealing.

A server needs a source of passwords. Here this is a directory with one account, which the command `hello` makes: the smallest one
that Samba's authentication accepts.
"""

import os
import time

import samba
from samba import NTSTATUSError, auth, gensec, param
from samba.credentials import DONT_USE_KERBEROS, Credentials
from samba.dcerpc import dcerpc, echo, security
from samba.ndr import ndr_pack

from peerloop import decode, encode, serve

FEATURES = {"sign": gensec.FEATURE_SIGN, "seal": gensec.FEATURE_SEAL, "session key": gensec.FEATURE_SESSION_KEY}
MECHANISMS = {"ntlm": "ntlmssp", "spnego": "spnego"}
AUTH_TYPES = {"ntlm": dcerpc.DCERPC_AUTH_TYPE_NTLMSSP, "spnego": dcerpc.DCERPC_AUTH_TYPE_SPNEGO}
AUTH_LEVELS = {"integrity": dcerpc.DCERPC_AUTH_LEVEL_INTEGRITY, "privacy": dcerpc.DCERPC_AUTH_LEVEL_PRIVACY}
BASE = "DC=example"
CONFIGURATION = "CN=Configuration," + BASE
SERVER = "CN=NTDS Settings," + CONFIGURATION
DOMAIN_SID = "S-1-5-21-1-2-3"
NEVER = str(2**63 - 1)
# GROUP_TYPE_ACCOUNT_GROUP | GROUP_TYPE_SECURITY_ENABLED
GLOBAL_GROUP = str(2 - 2**31)

# A process has only one configuration, whatever its objects say. Therefore each context sets it first.
DEFAULTS = {
    "client ntlmv2 auth": "yes", "client lanman auth": "no", "ntlm auth": "ntlmv2-only", "lanman auth": "no",
    "ntlmssp_client:unicode": "yes", "ntlmssp_client:lm_key": "no",
    "ntlmssp_client:ntlm2": "yes", "ntlmssp_client:128bit": "yes", "ntlmssp_client:56bit": "no",
    "ntlmssp_client:keyexchange": "yes", "ntlmssp_client:alwayssign": "yes",
    "ntlmssp_server:ntlm2": "yes", "ntlmssp_server:128bit": "yes", "ntlmssp_server:56bit": "yes",
    "ntlmssp_server:keyexchange": "yes", "ntlmssp_server:alwayssign": "yes", "ntlmssp_server:allow_lm_key": "no",
}


def directory(path, configuration, user, password):
    """A database with `user`. It stores the attributes that Samba's modules would compute, because these modules are not used."""
    made = samba.Ldb(path, lp=configuration)
    made.add({
        "dn": "@ROOTDSE", "defaultNamingContext": BASE, "rootDomainNamingContext": BASE, "dsServiceName": SERVER,
        "configurationNamingContext": CONFIGURATION, "schemaNamingContext": "CN=Schema," + CONFIGURATION,
    })
    made.add({"dn": "@PARTITION", "backendStore": "tdb"})
    made.add({"dn": "@MODULES", "@LIST": "rootdse,extended_dn_in,extended_dn_out_ldb,partition"})

    def add(dn, sid=None, **attributes):
        entry = {"dn": dn, "objectGUID": os.urandom(16)}
        if sid:
            entry["objectSid"] = ndr_pack(security.dom_sid(sid))
        made.add(entry | {name.replace("_", "-"): value for name, value in attributes.items()})

    add("CN=users," + BASE, DOMAIN_SID + "-513", objectClass=["top", "group"], sAMAccountName="users", groupType=GLOBAL_GROUP)
    secret = Credentials()
    secret.set_password(password)
    now = str(samba.unix2nttime(int(time.time())))
    add(BASE, DOMAIN_SID, objectClass=["top", "domain"])
    add(SERVER, objectClass=["top", "nTDSDSA"], msDS_isRODC="FALSE")
    add(
        "CN=user," + BASE, DOMAIN_SID + "-1000", objectClass=["top", "user"], sAMAccountName=user,
        unicodePwd=bytes(secret.get_nt_hash()), primaryGroupID="513", userAccountControl="512", pwdLastSet=now,
        accountExpires="0", msDS_User_Account_Control_Computed="0", msDS_UserPasswordExpiryTimeComputed=NEVER,
        # So new that Samba does not write another one, which would fail in a directory without its modules.
        lastLogonTimestamp=now,
    )
    # Open it again: the modules are read when a database is opened.
    return samba.Ldb(path, lp=configuration)


class Party:
    """The state of one process; every public method is a command."""

    def __init__(self):
        self.contexts = {}

    def hello(self, smb_conf, user, password):
        """`user` is DOMAIN\\name, for the account of the server and for the client."""
        self.smb_conf = smb_conf
        self.domain, self.user = user.split("\\")
        self.password = password
        path = os.path.join(os.path.dirname(smb_conf), "sam-%d.ldb" % os.getpid())
        self.directory = directory(path, self.settings({})["lp_ctx"], self.user, password)
        return {"attributes": []}

    def settings(self, options):
        configuration = param.LoadParm()
        configuration.load(self.smb_conf)
        unknown = set(options) - set(DEFAULTS)
        if unknown:
            raise ValueError("no default for %s" % ", ".join(unknown))
        for name, value in (DEFAULTS | options).items():
            configuration.set(name, value)
        return {"lp_ctx": configuration, "target_hostname": "testhost"}

    @staticmethod
    def credentials(configuration):
        made = Credentials()
        made.guess(configuration)
        made.set_kerberos_state(DONT_USE_KERBEROS)
        return made

    def log_on(self, credentials, password=None):
        credentials.set_domain(self.domain)
        credentials.set_username(self.user)
        credentials.set_password(password or self.password)

    def start(
        self, context, role, mech="ntlm", features=(), options={}, password=None, anonymous=False, dce_level=None
    ):
        """Make a context of `role` client or server. `options` are settings of smb.conf. With a `dce_level` it is a context of
        DCE/RPC, and the level decides its features."""
        settings = self.settings(options)
        credentials = self.credentials(settings["lp_ctx"])
        if role == "client":
            if anonymous:
                credentials.set_anonymous()
            else:
                self.log_on(credentials, password)
            started = gensec.Security.start_client(settings)
            started.set_target_service("host")
        else:
            methods = ["anonymous", "sam"] if anonymous else ["sam"]
            judge = auth.AuthContext(lp_ctx=settings["lp_ctx"], ldb=self.directory, methods=methods)
            started = gensec.Security.start_server(settings, judge)
        started.set_credentials(credentials)
        for feature in features:
            started.want_feature(FEATURES[feature])
        if dce_level:
            started.start_mech_by_authtype(AUTH_TYPES[mech], AUTH_LEVELS[dce_level])
        else:
            started.start_mech_by_name(MECHANISMS[mech])
        self.contexts[context] = started
        return {}

    def step(self, context, token=None):
        done, token = self.contexts[context].update(decode(token) or b"")
        return {"token": encode(token), "more": not done}

    def features(self, context):
        return {name: self.contexts[context].have_feature(feature) for name, feature in FEATURES.items()}

    def session_key(self, context):
        return {"key": encode(self.contexts[context].session_key())}

    def wrap(self, context, data):
        return {"data": encode(self.contexts[context].wrap(decode(data)))}

    def unwrap(self, context, data):
        return {"data": encode(self.contexts[context].unwrap(decode(data)))}

    def get_mic(self, context, data):
        data = decode(data)
        return {"mic": encode(self.contexts[context].sign_packet(data, data))}

    def verify_mic(self, context, data, mic):
        data = decode(data)
        self.contexts[context].check_packet(data, data, decode(mic))
        return {}

    def sign_packet(self, context, data, pdu):
        """The signature of `data` inside a larger packet."""
        return {"mic": encode(self.contexts[context].sign_packet(decode(data), decode(pdu)))}

    def check_packet(self, context, data, pdu, mic):
        self.contexts[context].check_packet(decode(data), decode(pdu), decode(mic))
        return {}

    def connect(self, context, binding, options={}):
        """Open a DCE/RPC connection to the interface rpcecho, for `request`."""
        configuration = self.settings(options)["lp_ctx"]
        credentials = self.credentials(configuration)
        self.log_on(credentials)
        self.contexts[context] = echo.rpcecho(binding, configuration, credentials)
        self.contexts[context].request_timeout = 10
        return {}

    def request(self, context, number, data):
        return {"data": encode(self.contexts[context].request(number, decode(data)))}

    def drop(self, context):
        self.contexts.pop(context, None)
        return {}


def describe(error):
    status, text = error.args
    return {"major": "NTSTATUS", "status": status, "minor": 0, "text": text}


if __name__ == "__main__":
    serve(Party(), NTSTATUSError, describe)
