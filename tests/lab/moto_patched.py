"""moto with one difference: an access key whose status is not Active is refused, as at AWS."""

import sys

from moto.iam import access_control
from moto.server import main

original = access_control.IAMUserAccessKey.__init__


def init(self, *args, **kwargs):
    original(self, *args, **kwargs)
    for user in self.backend.list_users("/", None, None):
        for key in user.access_keys:
            if key.access_key_id == self._access_key_id and key.status != "Active":
                raise access_control.CreateAccessKeyFailure(reason="InvalidId")


access_control.IAMUserAccessKey.__init__ = init
main(sys.argv[1:])
