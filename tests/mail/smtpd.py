"""A real SMTP server for the tests: aiosmtpd on a free port of 127.0.0.1.

usage: smtpd.py FOLDER [tls|starttls] [login]

Writes FOLDER/port once it listens, and each mail as FOLDER/mail-N: a line with the envelope as JSON, an empty one, the
mail as it came. FOLDER/cert.pem and FOLDER/key.pem are its certificate. The login is user/sesame. Recipients that begin
with "refused" are refused.
"""

import asyncio
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Keep:
    def __init__(self, folder):
        self.folder, self.count = folder, 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        head = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "helo": session.host_name,
            "tls": session.ssl is not None,
            "login": bool(session.authenticated),
        }
        path = os.path.join(self.folder, f"mail-{self.count}")
        with open(path + ".tmp", "wb") as file:
            file.write(json.dumps(head).encode() + b"\n\n" + envelope.original_content)
        os.rename(path + ".tmp", path)
        self.count += 1
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    fine = (data.login, data.password) == (b"user", b"sesame")
    return AuthResult(success=fine, handled=fine)


async def main(folder, how):
    context = None
    if "tls" in how or "starttls" in how:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    keep = Keep(folder)
    login = {"authenticator": authenticate, "auth_required": True} if "login" in how else {}
    if "login" in how:
        login["auth_require_tls"] = "starttls" in how

    def protocol():
        starttls = {"tls_context": context, "require_starttls": True} if "starttls" in how else {}
        return SMTP(keep, hostname="test", enable_SMTPUTF8=False, **starttls, **login)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        protocol, "127.0.0.1", 0, ssl=context if "tls" in how else None
    )
    path = os.path.join(folder, "port")
    with open(path + ".tmp", "w") as file:
        file.write(str(server.sockets[0].getsockname()[1]))
    os.rename(path + ".tmp", path)
    await server.serve_forever()


asyncio.run(main(sys.argv[1], sys.argv[2:]))
