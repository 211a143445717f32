"""Sessions of django.contrib.auth and tokens of django-oauth-toolkit, on loopback.

Where the data lies is told by `LAB_DATABASE`: the path of an SQLite file, or a `postgresql://` or
`mysql://` address. Everything in here is made up.
"""

import os
from urllib.parse import unquote, urlsplit


def database(where):
    url = urlsplit(where)
    if not url.scheme:
        # Twenty seconds: a second writer waits for the first one, the driver under test included.
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": where,
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
        }
    engines = {"postgresql": "postgresql", "mysql": "mysql"}
    return {
        "ENGINE": f"django.db.backends.{engines[url.scheme]}",
        "NAME": url.path.removeprefix("/"),
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": unquote(url.username),
        "PASSWORD": unquote(url.password),
    }


SECRET_KEY = "a-made-up-signing-key-of-the-lab"
ALLOWED_HOSTS = ["127.0.0.1"]
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "urls"
DATABASES = {"default": database(os.environ["LAB_DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "oauth2_provider",
]
# The tables are made from the models at once: a few hundred milliseconds instead of seconds.
MIGRATION_MODULES = {app.rsplit(".", 1)[-1]: None for app in INSTALLED_APPS}

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "oauth2_provider.middleware.OAuth2TokenMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
AUTHENTICATION_BACKENDS = [
    "oauth2_provider.backends.OAuth2Backend",
    "django.contrib.auth.backends.ModelBackend",
]
# The strong default costs a quarter of a second for each sign-in, and nothing here is worth it.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SESSION_ENGINE = os.environ.get("LAB_SESSIONS", "django.contrib.sessions.backends.db")
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/me"
LOGOUT_REDIRECT_URL = "/login"

OAUTH2_PROVIDER = {
    "SCOPES": {"read": "Read mail", "introspection": "See other clients' tokens"},
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    # Grants are made by the password grant here: no browser sits in front of the tests.
    "PKCE_REQUIRED": False,
}
