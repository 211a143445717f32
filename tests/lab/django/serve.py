"""Starts the project of this folder on a port that the system chooses.

    LAB_DATABASE=... python serve.py

Makes the tables, the users and the OAuth applications, prints `ready http://127.0.0.1:PORT`, and
ends when its standard input ends, so that no test leaves it behind.
"""

import os
import sys
import threading

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
# A driver for MySQL that needs no compiler; Django asks for it by the other one's name.
if os.environ["LAB_DATABASE"].startswith("mysql:"):
    import pymysql

    pymysql.install_as_MySQLdb()

import django

django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from oauth2_provider.models import Application

USERS = ["mail", "calendar"]
# The role's client has grants of its own and of users; the auditor sees tokens as a resource
# server would.
APPLICATIONS = {
    "mail-agent": Application.GRANT_PASSWORD,
    "mail-service": Application.GRANT_CLIENT_CREDENTIALS,
    "auditor": Application.GRANT_CLIENT_CREDENTIALS,
}


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def fill():
    call_command("migrate", run_syncdb=True, verbosity=0)
    for name in USERS:
        User.objects.create_user(name, password=f"{name}-made-up-password-of-the-lab")
    for name, grant in APPLICATIONS.items():
        Application.objects.create(
            name=name,
            client_id=name,
            client_secret=f"{name}-made-up-secret-of-the-lab",
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=grant,
        )


fill()
server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
server.set_app(get_wsgi_application())
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"ready http://127.0.0.1:{server.server_port}", flush=True)
sys.stdin.read()
