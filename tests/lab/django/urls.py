"""A site with a page that names its user, a sign-in and a sign-out; and the OAuth endpoints.

| path              | what it does                                                              |
|-------------------|---------------------------------------------------------------------------|
| `GET /me`         | `{"user": NAME, "id": ID}`, or 401 `{"error": "login"}`                   |
| `GET /mailbox`    | the same as a page, or a redirect to the sign-in                          |
| `/login`          | Django's own form: `username`, `password`, `csrfmiddlewaretoken`          |
| `POST /logout`    | Django's own, which checks the CSRF token                                 |
| `POST /logout-lies` | answers like it, and ends nothing                                       |
| `POST /everywhere` | ends every session of the user                                           |
| `GET /api/me`     | `{"user": NAME}` for an OAuth access token, 403 without                   |
| `/o/...`          | django-oauth-toolkit: `token`, `revoke_token`, `introspect`               |
"""

from django.contrib.auth import logout, views
from django.contrib.auth.decorators import login_required
from django.contrib.sessions.models import Session
from django.http import HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.template import engines
from django.urls import include, path
from django.views.decorators.http import require_POST
from oauth2_provider.views.generic import ProtectedResourceView

FORM = """<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{{ csrf_token }}">
<input name="username"><input name="password" type="password"></form>"""


class Login(views.LoginView):
    def render_to_response(self, context, **_):
        return HttpResponse(engines["django"].from_string(FORM).render(context, self.request))


def me(request):
    if not request.user.is_authenticated:
        return JsonResponse({"error": "login"}, status=401)
    return JsonResponse({"user": request.user.username, "id": request.user.id})


@login_required
def mailbox(request):
    name, token = request.user.username, get_token(request)
    form = f'<form action="/logout" method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{token}"></form>'
    return HttpResponse(f"<p>Signed in as {name}</p>{form}")


@require_POST
def logout_lies(request):
    return redirect("/login")


@require_POST
def everywhere(request):
    mine = str(request.user.id)
    for session in Session.objects.all():
        if session.get_decoded().get("_auth_user_id") == mine:
            session.delete()
    logout(request)
    return redirect("/login")


class ApiMe(ProtectedResourceView):
    def get(self, request):
        return JsonResponse({"user": request.resource_owner.username})


urlpatterns = [
    path("me", me),
    path("mailbox", mailbox),
    path("login", Login.as_view()),
    path("logout", views.LogoutView.as_view()),
    path("logout-lies", logout_lies),
    path("everywhere", everywhere),
    path("api/me", ApiMe.as_view()),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
]
