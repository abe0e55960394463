"""An SMB client as a process: smbclient of smbprotocol (from PyPI), with the NTLM of the system's GSS-API.

smbprotocol gets its tokens from pyspnego, which since release 0.7 uses GSS-API for Kerberos only and has its own NTLM. Here
Context replaces it.
"""

import uuid

import gssapi
import gssapi.raw as gss
import smbclient
import spnego
from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBException, SMBOSError, SMBResponseException

import gsspeer
from peerloop import decode, encode, serve


class Context:
    """A security context with the methods that smbprotocol uses."""

    def __init__(self, party, flags, username, password, service, hostname, protocol):
        mech = {"negotiate": "spnego", "ntlm": "ntlm"}[protocol]
        party.acquire("smb", "initiate", username, password, mech=mech, neg=["ntlm"] if mech == "spnego" else None)
        self.context = gssapi.SecurityContext(
            name=gssapi.Name("%s@%s" % (service, hostname), gssapi.NameType.hostbased_service),
            creds=gssapi.Credentials(party.creds["smb"]), mech=gsspeer.MECHANISMS[mech], flags=flags, usage="initiate",
        )

    def step(self, token):
        return self.context.step(token)

    @property
    def complete(self):
        return self.context.complete

    @property
    def session_key(self):
        return gss.inquire_sec_context_by_oid(self.context, gsspeer.SESSION_KEY)[0]


def describe(error):
    if isinstance(error, gss.GSSError):
        return gsspeer.describe(error)
    status = {SMBResponseException: "status", SMBOSError: "ntstatus"}
    number = next((getattr(error, name) for kind, name in status.items() if isinstance(error, kind)), 0)
    return {"major": type(error).__name__, "status": number, "minor": 0, "text": str(error)}


class Party(gsspeer.Party):
    """One session; every public method is a command."""

    def connect(self, server, port, protocol, flags, user=None, password=None, encrypt=False, **options):
        """`options`: the options of smbprotocol's Connection.connect."""
        def client(username, password, service, hostname, protocol, options):
            return Context(self, flags, username, password, service, hostname, protocol)

        spnego.client = client
        connection = Connection(uuid.uuid4(), server, port)
        self.session = {"port": port, "connection_cache": {"%s:%d" % (server, port): connection}}
        connection.connect(**options)
        session = smbclient.register_session(
            server, user, password, encrypt=encrypt, auth_protocol=protocol, **self.session
        )
        return {
            "dialect": connection.dialect, "cipher": connection.cipher_id, "encrypted": session.encrypt_data,
            "signed": session.signing_required, "key": encode(session.full_session_key),
        }

    def write(self, path, data):
        with smbclient.open_file(path, mode="xb", **self.session) as file:
            return {"size": file.write(decode(data))}

    def read(self, path):
        with smbclient.open_file(path, mode="rb", **self.session) as file:
            return {"data": encode(file.read())}

    def list(self, path):
        return {"names": smbclient.listdir(path, **self.session)}

    def remove(self, path):
        smbclient.remove(path, **self.session)
        return {}

    def disconnect(self):
        smbclient.reset_connection_cache(connection_cache=self.session["connection_cache"])
        return {}


if __name__ == "__main__":
    serve(Party(), (gss.GSSError, SMBException), describe)
