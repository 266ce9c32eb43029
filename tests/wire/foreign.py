"""Programs nobody here wrote: clients that send a file through a relay, and servers that receive."""
import contextlib
import glob
import json
import os
import re
import shutil
import smtplib
import socket
import subprocess
import time

from ports import free_port
from process import Process, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


def run(argv, data=None, timeout_s=45, **more):
    done = subprocess.run(argv, input=data, capture_output=True, timeout=timeout_s, **more)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


# Each client: send(rig, port, tls, login, sender, recipients, content) -> None or AssertionError. content has CRLF lines. tls: off,
# starttls, implicit.
def swaks(rig, port, tls, login, sender, recipients, content):
    file = os.path.join(rig.folder, "swaks.eml")
    with open(file, "wb") as f:
        f.write(content.replace(b"\r\n", b"\n"))
    argv = ["swaks", "--server", f"localhost:{port}", "--from", sender, "--to", ",".join(recipients), "--data", "@" + file,
            "--no-data-fixup", "--suppress-data", "--timeout", "30", "-4"]
    with open(file, "wb") as f:  # without fixup swaks sends the bytes as they are, and adds the dot
        f.write(content.replace(b"\r\n.", b"\r\n..") + b".")
    argv += {"off": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[tls]
    if tls != "off":
        argv += ["--tls-verify", "--tls-ca-path", rig.ca.cert]
    if login:
        argv += ["--auth", "LOGIN", "--auth-user", login[0], "--auth-password", login[1]]
    status, text = run(argv)
    assert status == 0, text[-3000:]


def msmtp(rig, port, tls, login, sender, recipients, content):
    file = os.path.join(rig.folder, "msmtprc")
    with open(file, "w", encoding="ascii") as f:
        os.chmod(file, 0o600)
        f.write(f"defaults\nlogfile -\naccount default\nhost localhost\nport {port}\nfrom {sender}\n")
        f.write(f"tls {'off' if tls == 'off' else 'on'}\ntls_starttls {'on' if tls == 'starttls' else 'off'}\n")
        if tls != "off":
            f.write(f"tls_trust_file {rig.ca.cert}\n")
        if login:
            f.write(f"auth plain\nuser {login[0]}\npassword {login[1]}\n")
    status, text = run(["msmtp", "-C", file, "--", *recipients], content.replace(b"\r\n", b"\n"))
    assert status == 0, text[-3000:]


def python_smtplib(rig, port, tls, login, sender, recipients, content):
    from smtp_client import tls_context
    context = tls_context(rig.ca.cert)
    make = (lambda: smtplib.SMTP_SSL("localhost", port, context=context)) if tls == "implicit" else (
        lambda: smtplib.SMTP("localhost", port))
    with make() as session:
        if tls == "starttls":
            session.starttls(context=context)
        if login:
            session.login(*login)
        refused = session.sendmail(sender, recipients, content)
        assert refused == {}


def npm_folder(rig):
    """The packages of tests/wire/npm, installed from the registry into the rig's folder."""
    folder = os.path.join(rig.folder, "npm")
    if not os.path.exists(folder):
        shutil.copytree(os.path.join(HERE, "npm"), folder)
        status, text = run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel", "error"], cwd=folder, timeout_s=180)
        assert status == 0, "npm ci (the packages nodemailer and smtp-server from the npm registry) failed: " + text[-2000:]
    return folder


def nodemailer(rig, port, tls, login, sender, recipients, content):
    job = {"port": port, "tls": tls, "ca": rig.ca.cert, "login": login, "from": sender, "to": recipients,
           "content": content.decode("latin-1")}
    status, text = run(["node", os.path.join(npm_folder(rig), "send.js")], json.dumps(job).encode())
    assert status == 0, text[-3000:]


class Postfix:
    """A Postfix of its own: configuration, queue and ports in the rig's folder."""

    def __init__(self, rig, name, settings, master=""):
        self.folder = os.path.join(rig.folder, name)
        self.config, self.queue, self.data = (os.path.join(self.folder, x) for x in ("etc", "queue", "data"))
        for path in (self.folder, self.config, self.queue, self.data):
            os.makedirs(path)
            os.chmod(path, 0o755)
        shutil.chown(self.data, "postfix")
        self.port = free_port()
        self.log = os.path.join(self.folder, "maillog")
        base = {"compatibility_level": "3.6", "queue_directory": self.queue, "data_directory": self.data, "maillog_file": self.log,
                "maillog_file_prefixes": "/tmp, /var", "myhostname": name + ".example", "mydestination": "",
                "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8",
                "alias_maps": "", "smtpd_relay_restrictions": "permit_mynetworks, reject", "message_size_limit": "50000000",
                "mailbox_size_limit": "0", "virtual_mailbox_limit": "0", "default_database_type": "hash",
                "smtpd_client_restrictions": "", "smtp_host_lookup": "native", "disable_dns_lookups": "yes",
                "ignore_mx_lookup_error": "yes", "smtpd_tls_loglevel": "1", **settings}
        with open(os.path.join(self.config, "main.cf"), "w", encoding="ascii") as f:
            f.writelines(f"{key} = {value}\n" for key, value in base.items())
        with open("/usr/share/postfix/master.cf.dist", encoding="utf-8") as f:
            lines = f.read().splitlines()
        lines = [re.sub(r"^(\S+\s+\S+\s+\S+\s+\S+\s+)y", r"\1n", line)  # Debian runs parts of it in a chroot
                 for line in lines if not line.startswith("smtp      inet")]
        lines.append(f"127.0.0.1:{self.port} inet n - n - - smtpd")
        with open(os.path.join(self.config, "master.cf"), "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n" + master)
        self._command("start")
        wait_until(self._listens, 20, f"Postfix {name} to listen ({self.text()[-500:]})")
        rig.adopt(self)

    def _listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _command(self, word):
        status, text = run(["/usr/sbin/postfix", "-c", self.config, word])
        assert status == 0, f"postfix {word}: {text}{self.text()}"

    def text(self):
        with contextlib.suppress(OSError), open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()
        return ""

    def flush(self):
        run(["/usr/sbin/postqueue", "-c", self.config, "-f"])

    def submit(self, sender, recipients, content):
        with smtplib.SMTP("127.0.0.1", self.port) as session:
            assert session.sendmail(sender, recipients, content) == {}

    def stop(self):
        run(["/usr/sbin/postfix", "-c", self.config, "stop"])


def postfix_client(rig, port, tls, login, sender, recipients, content):
    """Postfix as an MTA that has us as its relayhost."""
    name = f"pfclient{port}{'auth' if login else ''}"
    postfix = next((o for o in rig.others if isinstance(o, Postfix) and o.folder.endswith(name)), None)
    if postfix is None:
        settings = {"relayhost": f"[localhost]:{port}", "smtp_tls_security_level": "none" if tls == "off" else "secure",
                    "smtp_tls_CAfile": rig.ca.cert, "smtp_tls_secure_cert_match": "localhost",
                    "smtp_tls_wrappermode": "yes" if tls == "implicit" else "no", "minimal_backoff_time": "5s",
                    "queue_run_delay": "5s", "smtp_address_preference": "ipv4"}
        if login:
            secret = os.path.join(rig.folder, name + ".sasl")
            with open(secret, "w", encoding="ascii") as f:
                f.write(f"[localhost]:{port} {login[0]}:{login[1]}\n")
            settings.update(smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="texthash:" + secret,
                            smtp_sasl_security_options="noanonymous", smtp_sasl_tls_security_options="noanonymous")
        postfix = Postfix(rig, name, settings)
    postfix.submit(sender, recipients, content)


CLIENTS = {"swaks": swaks, "msmtp": msmtp, "smtplib": python_smtplib, "nodemailer": nodemailer, "postfix": postfix_client}


class MaildirPostfix(Postfix):
    """Postfix as the upstream; it delivers everything into one Maildir."""

    def __init__(self, rig, name="pfserver"):
        self.maildir = os.path.join(rig.folder, name + "-mail")
        os.makedirs(self.maildir)
        os.chmod(self.maildir, 0o777)
        super().__init__(rig, name, {
            "virtual_mailbox_domains": "static:all", "virtual_mailbox_maps": "static:all/", "virtual_mailbox_base": self.maildir,
            "virtual_minimum_uid": "1", "virtual_uid_maps": "static:65534", "virtual_gid_maps": "static:65534",
            "smtpd_tls_security_level": "may", "smtpd_tls_cert_file": rig.cert[0], "smtpd_tls_key_file": rig.cert[1]})

    def wait_mail(self, needle, count=1, timeout_s=30):
        """The delivered copies that hold needle."""
        def find():
            found = []
            for path in glob.glob(os.path.join(self.maildir, "all", "new", "*")):
                with open(path, "rb") as f:
                    data = f.read()
                if needle in data:
                    found.append(data)
            return found if len(found) >= count else None
        return wait_until(find, timeout_s, f"{count} mails at Postfix:\n{self.text()[-2000:]}", 0.05)


class SmtpServer:
    """smtp-server of npm as the upstream; it writes each content to a file."""

    def __init__(self, rig):
        folder = npm_folder(rig)
        self.out = os.path.join(rig.folder, "smtp-server")
        os.makedirs(self.out, exist_ok=True)
        self.process = Process(["node", os.path.join(folder, "sink.js"), rig.cert[0], rig.cert[1], self.out],
                               os.path.join(self.out, "log"))
        self.port = int(self.process.wait_log("listening on ").rpartition(" ")[2])
        rig.adopt(self)

    def wait_mail(self, needle, timeout_s=30):
        def find():
            for path in glob.glob(os.path.join(self.out, "*.eml")):
                with open(path, "rb") as f:
                    data = f.read()
                if needle in data:
                    with open(path[:-4] + ".json", encoding="utf-8") as f:
                        return json.load(f), data
            return None
        return wait_until(find, timeout_s, "the mail at smtp-server", 0.05)

    def stop(self):
        self.process.stop()


def big_text(megabytes, seed):
    """CRLF text with dots, tabs and 8-bit-free noise; no line over 900 bytes."""
    line = (f"{seed:06d} .leading dots, tabs\tand spaces  " + "x" * 60 + "\r\n").encode()
    block = b".\r\n..\r\n...three\r\n" + line * 100
    times = int(megabytes * 1_000_000) // len(block) + 1
    return block * times


def stamp():
    return str(time.monotonic_ns())
