"""sendgovd with a private redis-server: every message is charged against limits that never bind."""
import os
import pwd
import shutil
import smtplib
import time

from procs import Proc, answers, cpu_seconds, free_port, need, wait_for, write

# A limit of every kind, high enough not to bind at any speed: what is measured is the price of asking. Two
# routes, so that one daemon serves plain and TLS messages: the sender's domain chooses. Per message the store
# is asked for the warm-up's day and hour cap (route), the mailbox's minute window and the client's rate: four
# limits in three scopes.
CONFIG = """\
node: bench
hostname: relay.bench.test
state: {state}
user: {user}
redis: {{url: "unix:{redis}"}}
admin: {{socket: {state}/control{admin}}}
log: {{level: {level}}}
smtp: {{connections: 5000, connections_per_ip: 5000, unauthenticated: 5000, connections_per_minute: 1000000,
  connections_burst: 1000000, messages: 1000000}}
tls: {{cert_file: {cert}, key_file: {key}}}
listeners:
  plain: {{address: "127.0.0.1:{plain}", tls: off}}
  tls: {{address: "127.0.0.1:{tls}", tls: required}}
clients:
  load: {{networks: [127.0.0.0/8], senders: ["*"]{client}}}
schedules:
  high: {{curve: table, table: [1000000000]}}
routes:
  plain: {{upstream: "127.0.0.1:{sink}", tls: off, domains: [plain.test], warmup: high, pool: {pool},
    messages_per_connection: 1000}}
  tls: {{upstream: "localhost:{sink}", tls: starttls, tls_ca_file: {cert}, domains: [tls.test],
    warmup: high, pool: {pool}, messages_per_connection: 1000}}
mailboxes:
  relay@plain.test: {{route: plain, auth: none, connections: {pool}}}
  relay@tls.test: {{route: tls, auth: none, connections: {pool}}}
limits:
  mailbox-minute: {{scope: mailbox, unit: messages, window: 1_000_000_000/min}}
  client-rate: {{scope: client, unit: messages, rate: 100_000_000/min, burst: 1000000}}
{sections}"""


class Redis:
    """As an installation has it: appendonly, noeviction; on a unix socket."""

    def __init__(self, folder):
        program = need("redis-server", "redis-server")
        self.socket = os.path.join(folder, "redis.sock")
        self.proc = Proc(folder, "redis", [
            program, "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "777", "--dir", folder,
            "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
            "--maxmemory-policy", "noeviction", "--daemonize", "no"])
        wait_for("redis-server", lambda: self.proc.check() or os.path.exists(self.socket))

    def stop(self):
        self.proc.stop()


class Sendgov:
    name = "sendgov"
    # What a variant adds: settings of admin and of the client (each begins with a comma), whole sections
    extra = {"admin": "", "client": "", "sections": ""}

    def __init__(self, setup, sink):
        self.setup, self.sink = setup, sink
        self.ports = {False: free_port(), True: free_port()}
        self.state = os.path.join(setup.folder, "state")
        self.config = os.path.join(setup.folder, "sendgov.yaml")
        self.redis = self.proc = self.pid = None

    def start(self):
        setup = self.setup
        self.redis = Redis(setup.folder)
        os.mkdir(self.state)
        user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self.state, user)
        write(self.config,
              CONFIG.format(state=self.state, user=user, redis=self.redis.socket, plain=self.ports[False],
                            tls=self.ports[True], sink=self.sink.port, cert=setup.cert, key=setup.key,
                            pool=setup.args.pool, level=setup.args.log_level, **self.extra))
        self.launch()
        wait_for("sendgovd, the first message (new counters are closed for a while)", self.relays, 30)

    def launch(self):
        self.proc = Proc(self.setup.folder, "sendgovd", [self.setup.sendgovd, "-c", self.config])
        self.pid = self.proc.pid
        wait_for("sendgovd", lambda: self.proc.check() or answers(self.ports[False]))

    def answer(self):
        """What one message is answered; empty while it is refused. New counters are closed for a while."""
        self.proc.check()
        try:
            client = smtplib.SMTP("127.0.0.1", self.ports[False], timeout=10)
            try:
                client.ehlo()
                client.mail("load@plain.test")
                client.rcpt("rcpt@example.org")
                code, text = client.data("From: <load@plain.test>\r\n\r\nbegin\r\n")
                return text.decode() if code == 250 else ""
            finally:
                client.close()
        except (smtplib.SMTPException, OSError):
            return ""

    def takes(self):
        """Is a message answered 250?"""
        return self.answer() != "" or self.pause()

    def relays(self):
        """One message must reach the upstream inline before anything is measured."""
        return "relayed" in self.answer() or self.pause()

    @staticmethod
    def pause():
        time.sleep(0.2)
        return False

    def port(self, tls):
        return self.ports[tls]

    def cpu(self):
        self.proc.check()
        return cpu_seconds(self.pid)

    def helper_cpu(self):
        return cpu_seconds(self.redis.proc.pid)

    def stop(self):
        for one in (self.proc, self.redis):
            if one is not None:
                one.stop()
