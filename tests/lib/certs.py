"""Certificates for one test run, made with the openssl command. Nothing of them is kept in the tree."""
import os
import subprocess


class Authority:
    """A private CA in a folder; issue() gives (chain file, key file)."""

    def __init__(self, folder, name="sendgov test CA"):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.cert = os.path.join(folder, "ca.pem")
        self.key = os.path.join(folder, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                 "-out", self.cert, "-days", "3650", "-subj", f"/CN={name}",
                 "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, alt_names=("DNS:localhost", "IP:127.0.0.1"), days=365, usage="serverAuth,clientAuth"):
        """A certificate with CN=name. days < 0: it has expired."""
        base = os.path.join(self.folder, name.replace("*", "star"))
        key, request, cert, extensions = base + ".key", base + ".csr", base + ".pem", base + ".ext"
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                 "-out", request, "-subj", f"/CN={name}")
        with open(extensions, "w", encoding="ascii") as f:
            f.write(f"basicConstraints=CA:FALSE\nextendedKeyUsage={usage}\n")
            if alt_names:
                f.write("subjectAltName=" + ",".join(alt_names) + "\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-out", cert,
                 "-days", str(days), "-extfile", extensions)
        return cert, key


def self_signed(folder, name="localhost"):
    cert, key = os.path.join(folder, name + "-self.pem"), os.path.join(folder, name + "-self.key")
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
             "-days", "365", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1")
    return cert, key


def public_key_pin(cert):
    """SHA-256 of the public key, hex."""
    pem = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, check=True, capture_output=True).stdout
    return subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der, check=True,
                          capture_output=True).stdout.split()[0].decode()


def _openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr.strip()}")
