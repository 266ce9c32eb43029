"""A bare SMTP client that does exactly what it is told, good manners or not."""
import base64
import contextlib
import select
import socket
import ssl


class Reply:
    def __init__(self, lines):
        self.lines = lines
        self.code = int(lines[-1][:3]) if lines[-1][:3].isdigit() else 0
        self.text = "\n".join(line[4:] for line in lines)
        words = self.text.split()
        self.enhanced = words[0] if words and words[0].count(".") == 2 else ""

    def __str__(self):
        return "\n".join(self.lines)

    __repr__ = __str__


class Closed(Exception):
    """The server closed the connection where a reply was due."""


class Client:
    def __init__(self, port, host="127.0.0.1", source=None, tls=None, timeout_s=15, banner=True, server_name="localhost"):
        self.sock = socket.create_connection((host, port), timeout_s, source_address=(source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.server_name = server_name
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name)
        self.banner = self.reply() if banner else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        while b"\n" not in self.buffer:
            try:
                data = self.sock.recv(65536)
            except (ConnectionError, ssl.SSLError) as e:
                raise Closed(str(e)) from e
            if not data:
                raise Closed(f"after {self.buffer!r}")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"a reply line without CRLF: {line!r}"
        return line[:-1].decode("latin-1")

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return Reply(lines)

    def cmd(self, command):
        self.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return self.reply()

    def extra(self, wait_s=0.2):
        """What arrives unasked within wait_s."""
        pending = getattr(self.sock, "pending", lambda: 0)
        if not self.buffer and not pending() and not select.select([self.sock], [], [], wait_s)[0]:
            return b""
        with contextlib.suppress(OSError):
            self.buffer += self.sock.recv(65536)
        return self.buffer

    def closed(self, wait_s=5):
        """Did the server close, with nothing more to read?"""
        self.sock.settimeout(wait_s)
        try:
            return not self.buffer and self.sock.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True
        except OSError:
            return False

    # manners
    def ehlo(self, name="client.example"):
        self.features = {line[4:].split(" ")[0].upper(): line[4:].partition(" ")[2] for line in self.cmd("EHLO " + name).lines[1:]}
        return self.features

    def starttls(self, context):
        reply = self.cmd("STARTTLS")
        assert reply.code == 220, reply
        self.sock = context.wrap_socket(self.sock, server_hostname=self.server_name)
        return self.ehlo()

    def auth_plain(self, user, password):
        return self.cmd(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()))

    def auth_login(self, user, password):
        reply = self.cmd("AUTH LOGIN")
        if reply.code != 334:
            return reply
        reply = self.cmd(base64.b64encode(user.encode()))
        return reply if reply.code != 334 else self.cmd(base64.b64encode(password.encode()))

    def mail(self, sender, recipients, body, parameters=""):
        """One whole message; the reply that decided. A refused transaction is reset."""
        if isinstance(recipients, str):
            recipients = [recipients]
        reply = self.cmd(f"MAIL FROM:<{sender}>{parameters}")
        for recipient in recipients if reply.code == 250 else []:
            reply = self.cmd(f"RCPT TO:<{recipient}>")
            if reply.code >= 300:
                break
        if reply.code == 250:
            reply = self.cmd("DATA")
        if reply.code == 354:
            self.send(stuff(body) + b".\r\n")
            return self.reply()
        self.cmd("RSET")
        return reply

    def quit(self):
        reply = self.cmd("QUIT")
        self.close()
        return reply


def stuff(body):
    """Wire form of a CRLF body, without the final dot."""
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    body = body.replace(b"\r\n.", b"\r\n..")
    return b"." + body if body.startswith(b".") else body


def tls_context(ca=None, cert=None, least=None):
    context = ssl.create_default_context(cafile=ca)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(*cert)
    if least:
        context.minimum_version = least
    return context


def message(sender="app@contoso.com", to="someone@fabrikam.com", message_id="<1@test>", subject="test", text=b"Hello.\r\n"):
    head = (f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: {message_id}\r\n\r\n")
    return head.encode() + text
