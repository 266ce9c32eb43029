"""What can never start is refused alike by sendgovd -t, check-config, a start and a reload, with file, line and column."""
import json
import os
import re

import pytest

from node import ROOT, check_config, give, program, write
from process import Process
from rig import Rig

import subprocess


@pytest.fixture(scope="module")
def site():
    with Rig() as rig:
        rig.other = rig.ca.issue("other", ("DNS:localhost",))
        for path in rig.other:
            give(path)
        rig.no_cert = write(rig.folder + "/no-cert.pem", "this is none\n", 0o644)
        rig.bad_users = write(rig.folder + "/bad-users", "# logins\nerp hunter2-plain\n")
        rig.open_folder = os.path.join(rig.folder, "open-spool")
        os.mkdir(rig.open_folder)
        give(rig.open_folder, 0o777)
        rig.a_file = write(rig.folder + "/a-file", "x", 0o644)
        yield rig


def change(config, where, value):
    at = config
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value


# setting, value, what the complaint says
NEVER = {
    "no certificate": (("tls", "cert_file"), lambda s: s.no_cert, "no-cert.pem"),
    "no key": (("tls", "key_file"), lambda s: s.bad_users, "private key"),
    "another's key": (("tls", "key_file"), lambda s: s.other[1], "does not belong"),
    "listener's certificate": (("listeners", "apps", "cert_file"), lambda s: s.no_cert, "no-cert.pem"),
    "client CA": (("listeners", "apps", "client_ca_file"), lambda s: s.no_cert, "authorities"),
    "upstream CA": (("routes", "contoso", "tls_ca_file"), lambda s: s.no_cert, "authorities"),
    "users file": (("users_file",), lambda s: s.bad_users, "bad-users:2: a line is login:hash"),
    "root": (("user",), lambda s: "root", "running on as root"),
    "group": (("admin", "groups"), lambda s: ["nosuchgroup"], "groupadd nosuchgroup"),
    "state": (("state",), lambda s: "/nonexistent/a/state", "/nonexistent/a"),
    "state is a file": (("state",), lambda s: s.a_file, "no folder"),
    "socket": (("admin", "socket"), lambda s: "/nonexistent/control", "/nonexistent"),
    "temp": (("smtp", "temp_folder"), lambda s: "/nonexistent/tmp", "/nonexistent/tmp"),
    "spool": (("spool", "folder"), lambda s: "/nonexistent/a/spool", "/nonexistent/a"),
    "spool is a file": (("spool", "folder"), lambda s: s.a_file, "no folder"),
    "spool open to all": (("spool", "folder"), lambda s: s.open_folder, "mode 0777"),
    "no spool": (("clients", "local", "accept"), lambda s: "spool", "switched off by spool.enabled"),
    "one port": (("admin", "http"), lambda s: None, "admin.http"),
    "long socket": (("redis", "url"), lambda s: "unix:/" + 200 * "x", "107 bytes"),
}
ONLY_ROOT = {"nobody of that name": (("user",), lambda s: "nosuchuser", "useradd --system nosuchuser")}
if os.geteuid() == 0:
    NEVER.update(ONLY_ROOT)
# Refused by a reload for another reason.
FIXED = ("root", "state", "state is a file", "spool", "spool is a file", "spool open to all", "nobody of that name")


def spoil(site, config, case):
    where, value, _ = NEVER[case]
    value = value(site)
    if case == "one port":
        value = config["listeners"]["plain"]["address"]
    if "spool" in case:
        config["spool"] = {"enabled": case != "no spool"}
    if case.startswith("listener's"):
        config["listeners"]["apps"]["key_file"] = config["tls"]["key_file"]
    change(config, where, value)


def place(path, where, text):
    """The line of the last key, as the complaint names it."""
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    found = re.search(r"sendgov\.yaml:(\d+):(\d+): ", text)
    assert found, text
    return lines[int(found.group(1)) - 1][:int(found.group(2))]


@pytest.mark.parametrize("case", NEVER)
def test_what_never_starts_is_refused_by_all(site, case):
    where, _, expected = NEVER[case]
    node = site.node("never" + str(list(NEVER).index(case)), alone=True)
    good = json.dumps(node.config)
    spoil(site, node.config, case)
    node.write_config()
    status, checked = check_config(node.file)
    assert status == 1 and expected in checked, checked
    if case != "one port":
        assert f'"{where[-1]}"' in place(node.file, where, checked), checked
    ctl = subprocess.run([program("sendgovctl"), "check-config", node.file], capture_output=True, text=True, timeout=30, check=False)
    assert ctl.returncode == 1 and ctl.stderr.strip() in checked, (ctl, checked)
    started = Process([program("sendgovd"), "-c", node.file], os.path.join(node.folder, "start.log"))
    assert started.child.wait(20) == 1
    assert ctl.stderr.strip() in started.text(), started.text()
    if case in FIXED:
        return
    spoiled = json.dumps(node.config, indent=2)
    node.config = json.loads(good)
    node.write_config()
    node.start()
    write(node.file, spoiled, 0o644)
    refused = node.ctl("reload", check=False)
    assert refused.returncode == 1 and ctl.stderr.strip() in refused.stdout + refused.stderr, refused
    assert "hunter2" not in checked + refused.stdout + refused.stderr + node.log()
    assert node.stop() == 0


@pytest.mark.parametrize("key, value", [("state", "{}/elsewhere"), ("node", "other"), ("user", "daemon"),
                                        ("spool", {"folder": "{}/elsewhere"}), ("spool", {"enabled": False})])
def test_what_needs_a_restart_is_refused_with_its_place(site, key, value):
    inner = next(iter(value)) if key == "spool" else key
    node = site.node("fixed" + key + inner, alone=True, spool={"enabled": True}).start()
    node.config[key] = json.loads(json.dumps(value).replace("{}", node.folder))
    node.write_config()
    refused = node.ctl("reload", check=False)
    assert refused.returncode == 1 and "needs a restart" in refused.stderr, refused
    assert f'"{inner}"' in place(node.file, (key,), refused.stderr), refused
    assert node.stop() == 0


def test_a_spool_that_goes_bad_is_named_alike_by_all(site):
    """Its folder cannot change while the daemon runs; what others may do in it can."""
    node = site.node("spoolgone", alone=True)
    folder = os.path.join(node.folder, "spool")
    os.mkdir(folder)
    give(folder, 0o700)
    node.config["spool"] = {"folder": folder}
    node.write_config()
    node.start()
    node.ctl("reload")
    os.chmod(folder, 0o720)
    refused = node.ctl("reload", check=False)
    status, checked = check_config(node.file)
    said = re.search(r"sendgov\.yaml:\d+:\d+: \S+ has mode 0720; .*", checked)
    assert status == 1 and said, checked
    assert refused.returncode == 1 and said.group(0) in refused.stderr, refused
    assert '"folder"' in place(node.file, (), checked), checked
    assert node.stop() == 0
    again = Process([program("sendgovd"), "-c", node.file], os.path.join(node.folder, "again.log"))
    assert again.child.wait(20) == 1
    assert said.group(0) in again.text(), again.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_spool_of_root_is_given_away(site):
    """Copied there by root, or made by it at its first start; but not what only has a name there."""
    node = site.node("spoolroot", alone=True)
    folder, victim = os.path.join(node.folder, "spool"), os.path.join(node.folder, "victim")
    node.config["spool"] = {"folder": folder}
    node.write_config()
    os.mkdir(folder, 0o700)
    for path in (victim, folder + "/lock", folder + "/spool.copied", folder + "/notes"):
        write(path, "x")
        os.chown(path, 0, 0)
    os.link(victim, folder + "/spool.linked")
    node.start()
    assert os.stat(folder).st_uid == os.stat(folder + "/lock").st_uid == os.stat(folder + "/spool.copied").st_uid != 0
    assert os.stat(victim).st_uid == os.stat(folder + "/notes").st_uid == 0
    assert node.stop() == 0


def test_an_address_in_the_way_of_a_wider_one_is_named(site):
    """The old one is ours and closes only when nothing can fail any more, so it takes two reloads."""
    node = site.node("wider", alone=True).start()
    narrow = node.config["listeners"]["devices"]["address"]
    wide = narrow.replace("127.0.0.1", "0.0.0.0")
    devices = node.config["listeners"]["devices"]
    devices["address"] = wide
    node.write_config()
    refused = node.ctl("reload", check=False)
    assert refused.returncode == 1 and f"sendgovd itself still listens on {narrow}" in refused.stderr, refused
    assert '"address"' in place(node.file, (), refused.stderr)
    del node.config["listeners"]["devices"]
    node.write_config()
    node.ctl("reload")
    node.config["listeners"]["devices"] = devices
    node.write_config()
    node.ctl("reload")
    assert wide in node.ctl("status")
    assert node.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_read_is_told_so(site):
    node = site.node("unreadable", alone=True)
    as_other = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"]
    done = subprocess.run([*as_other, program("sendgovctl"), "check-config", node.file], capture_output=True, text=True, timeout=30,
                          check=False)
    assert done.returncode == 1 and re.search(r"sendgov\.yaml:\d+:\d+: .*Permission denied for uid \d+; check as the user", done.stderr), done


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_secrets_of_root_alone_are_told_at_the_start(site):
    """They are read once as root; a reload could not."""
    node = site.node("rootonly", alone=True)
    secret = os.path.join(node.folder, "root.secret")
    with open(site.upstream_password, encoding="utf-8") as f:
        write(secret, f.read())
    os.chown(secret, 0, 0)
    for mailbox in node.config["mailboxes"].values():
        mailbox["password_file"] = secret
    node.write_config()
    status, checked = check_config(node.file)
    assert status == 0 and re.search(r"sendgov\.yaml:\d+:\d+: warning: \S+root\.secret cannot be read by user nobody", checked), checked
    node.start()
    told = [r for r in node.log_events("config") if "root.secret cannot be read by user nobody" in json.dumps(r)]
    assert len(told) == 1, node.log()
    assert "users cannot be read" not in node.log()
    assert node.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_root_made_belongs_to_the_user(site):
    """Started as root once, and as its own user from then on."""
    node = site.node("handover", alone=True)
    node.config["admin"]["socket"] = os.path.join(node.config["state"], "control")
    node.write_config()
    node.start()
    assert node.stop() == 0
    state = node.config["state"]
    owners = {name: os.stat(os.path.join(state, name)).st_uid for name in os.listdir(state)}
    assert {"lock", "store.journal"} <= set(owners) and 0 not in owners.values(), owners
    node.process = Process(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", program("sendgovd"), "-c", node.file],
                           os.path.join(node.folder, "log"))
    node.wait_ready()
    assert node.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_gives_away_only_what_is_the_daemons(site):
    """The folder is the user's: what it put there under a name of ours must not become its own."""
    node = site.node("hostile", alone=True)
    state, victim = node.config["state"], os.path.join(node.folder, "victim")
    os.mkdir(state)
    give(state, 0o750)
    with open(victim, "w", encoding="utf-8") as f:
        f.write("x")
    os.link(victim, os.path.join(state, "lock"))
    node.start()
    assert os.stat(victim).st_uid == 0
    assert node.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_state_folder_of_root_is_told_of(site):
    node = site.node("rootstate", alone=True)
    os.mkdir(node.config["state"], 0o755)
    node.start()
    assert "state cannot be written by user nobody" in node.log(), node.log()
    assert node.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("groups", ["--clear-groups", "--groups=daemon"])
def test_the_control_socket_goes_to_a_group_the_daemon_is_in(site, groups):
    """Not started as root, a process can give a file only to a group of its own; systemd: SupplementaryGroups=."""
    node = site.node("group" + groups.strip("-").replace("=", "-"), alone=True)
    folder = os.path.join(node.folder, "run")
    os.mkdir(folder)
    give(folder, 0o755)
    node.config.update(admin={"socket": folder + "/control", "http": f"127.0.0.1:{node.http}", "groups": ["daemon"]}, state=folder + "/state")
    node.write_config()
    node.process = Process(["setpriv", "--reuid=nobody", "--regid=nogroup", groups, program("sendgovd"), "-c", node.file],
                           os.path.join(node.folder, "log"))
    node.wait_ready()
    told = [json.dumps(r) for r in node.log_events("control-socket")]
    looked = subprocess.run(["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", program("sendgovctl"), "-s", folder + "/control",
                             "status"], capture_output=True, text=True, timeout=30, check=False)
    if groups == "--clear-groups":
        assert len(told) == 1 and "SupplementaryGroups=daemon" in told[0], told
        assert looked.returncode == 1 and "the daemon may be outside it" in looked.stderr, looked
    else:
        assert told == [] and looked.returncode == 0, (told, looked)
    assert node.stop() == 0


def test_the_unit_lets_groups_reach_the_socket():
    """As systemd reads it: later filters win, so chown(2) must come back after the filter that takes it away."""
    with open(os.path.join(ROOT, "conf", "systemd", "sendgov.service.in"), encoding="utf-8") as f:
        lines = [line.strip() for line in f]
    filters = [line for line in lines if line.startswith("SystemCallFilter=")]
    assert filters[-1] == "SystemCallFilter=@chown" and "~@privileged" in filters[-2], filters
    assert "RuntimeDirectoryMode=0755" in lines and "StateDirectoryMode=0750" in lines
